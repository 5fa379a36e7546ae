//! Whose link has ended, as far as the run awaits them: told once as an event, and once when they are back. It changes
//! nothing about who counts: a client away for less than the round's time costs nothing.

use nsfl_types::ClientId;
use std::collections::{BTreeMap, BTreeSet};

/// What the coordinator knows of its clients' links. A client it has heard nothing of is taken to be there.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// The newest session heard of; news of an older one is ignored.
    sessions: BTreeMap<ClientId, u64>,
    away: BTreeSet<ClientId>,
    /// Those whose absence was told and who are still awaited.
    told: BTreeSet<ClientId>,
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Lost,
    Back,
}

impl Links {
    /// A session began, fell silent for longer than the grace period, was heard again or ended.
    pub(crate) fn note(&mut self, client: ClientId, session: u64, up: bool) {
        let newest = self.sessions.entry(client.clone()).or_default();
        if session < *newest {
            return;
        }
        *newest = session;
        if up {
            self.away.remove(&client)
        } else {
            self.away.insert(client)
        };
    }

    /// After a restart, once all have had time to come back: who is not among these is away.
    pub(crate) fn there(&mut self, there: &BTreeSet<ClientId>, awaited: &[ClientId]) {
        let heard = |client: &&ClientId| !self.sessions.contains_key(*client);
        self.away.extend(awaited.iter().filter(heard).filter(|client| !there.contains(*client)).cloned());
    }

    /// What is to be told now that these are awaited.
    pub(crate) fn news(&mut self, awaited: &[ClientId]) -> Vec<(ClientId, News)> {
        let awaited: BTreeSet<&ClientId> = awaited.iter().collect();
        self.told.retain(|client| awaited.contains(client));
        let back = self.told.difference(&self.away).map(|client| (client.clone(), News::Back));
        let lost = self.away.iter().filter(|c| awaited.contains(c) && !self.told.contains(*c));
        let news: Vec<_> = back.chain(lost.map(|client| (client.clone(), News::Lost))).collect();
        for (client, what) in &news {
            match what {
                News::Back => self.told.remove(client),
                News::Lost => self.told.insert(client.clone()),
            };
        }
        news
    }

    /// The awaited whose link has ended.
    pub(crate) fn away(&self, awaited: &[ClientId]) -> Vec<ClientId> {
        awaited.iter().filter(|client| self.away.contains(client)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn c(name: &str) -> ClientId {
        name.parse().unwrap()
    }

    #[test]
    fn the_end_of_an_awaited_clients_link_is_told_once_and_its_return_once() {
        let (mut links, awaited) = (Links::default(), [c("a"), c("b")]);
        links.note(c("a"), 1, false);
        links.note(c("x"), 2, false);
        assert_eq!(links.news(&awaited), [(c("a"), News::Lost)], "x is not awaited");
        assert_eq!(links.news(&awaited), []);
        assert_eq!(links.away(&awaited), [c("a")]);
        links.note(c("a"), 3, true);
        assert_eq!(links.news(&awaited), [(c("a"), News::Back)]);
        assert_eq!((links.news(&awaited), links.away(&awaited)), (vec![], vec![]));
    }

    #[test]
    fn news_of_an_older_session_changes_nothing() {
        let mut links = Links::default();
        links.note(c("a"), 2, true);
        links.note(c("a"), 1, false);
        assert_eq!(links.news(&[c("a")]), []);
    }

    #[test]
    fn one_that_is_away_when_its_round_opens_is_told_then_and_its_answer_ends_the_matter() {
        let mut links = Links::default();
        links.note(c("a"), 1, false);
        assert_eq!(links.news(&[]), []);
        assert_eq!(links.news(&[c("a")]), [(c("a"), News::Lost)]);
        assert_eq!(links.news(&[]), [], "no longer awaited: nothing to be told");
        links.note(c("a"), 1, true);
        assert_eq!(links.news(&[c("a")]), []);
    }

    #[test]
    fn after_a_restart_those_who_did_not_come_back_are_away() {
        let (mut links, awaited) = (Links::default(), [c("a"), c("b"), c("d")]);
        links.note(c("a"), 1, true);
        links.there(&[c("b")].into(), &awaited);
        assert_eq!(links.news(&awaited), [(c("d"), News::Lost)]);
        links.note(c("d"), 1, true);
        assert_eq!(links.news(&awaited), [(c("d"), News::Back)]);
    }
}
