//! `Board`: what one reader has of a state, and what must be sent so that it has it all again. Pure: time is an argument.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// One row of a state: what names it, it as JSON, and digests of its JSON and of the part that matters at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Names it among the rows; JSON.
    pub(crate) key: String,
    /// All of it.
    pub(crate) json: String,
    pub(crate) whole: u64,
    pub(crate) matters: u64,
}

/// Figures that change all the time are not sent more often than this on their own account.
const FIGURES: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub(crate) struct Board {
    sent: HashMap<String, (u64, u64)>,
    begun: bool,
    figures: Option<Instant>,
}

impl Board {
    /// The message that brings the reader up to date, as JSON; none when it is. `name` is the rows' name in it.
    pub(crate) fn changes(&mut self, name: &str, rows: &[Row], now: Instant) -> Option<String> {
        let full = !std::mem::replace(&mut self.begun, true);
        let figures = self.figures.is_none_or(|last| now >= last + FIGURES);
        if figures {
            self.figures = Some(now);
        }
        let is_news = |row: &&Row| match self.sent.get(&row.key) {
            Some((whole, matters)) => *matters != row.matters || (figures && *whole != row.whole),
            None => true,
        };
        let news: Vec<&Row> = rows.iter().filter(is_news).collect();
        let here: BTreeSet<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let gone: Vec<String> = self.sent.keys().filter(|key| !here.contains(key.as_str())).cloned().collect();
        if !full && news.is_empty() && gone.is_empty() {
            return None;
        }
        for key in &gone {
            self.sent.remove(key);
        }
        for row in &news {
            self.sent.insert(row.key.clone(), (row.whole, row.matters));
        }
        let listed: Vec<&str> = news.iter().map(|row| row.json.as_str()).collect();
        Some(format!(r#"{{"full":{full},"{name}":[{}],"gone":[{}]}}"#, listed.join(","), gone.join(",")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn row(key: u8, matters: u64, figure: u64) -> Row {
        let json = json!({"key": key, "matters": matters, "figure": figure}).to_string();
        Row { key: format!("\"{key}\""), json, whole: matters * 1000 + figure, matters }
    }

    /// What the reader has after a message.
    fn apply(shown: &mut BTreeMap<u64, Value>, message: &str) {
        let message: Value = serde_json::from_str(message).unwrap();
        if message["full"] == true {
            shown.clear();
        }
        for gone in message["gone"].as_array().unwrap() {
            shown.remove(&gone.as_str().unwrap().parse().unwrap());
        }
        for row in message["rows"].as_array().unwrap() {
            shown.insert(row["key"].as_u64().unwrap(), row.clone());
        }
    }

    #[test]
    fn a_reader_has_what_matters_at_once_and_the_figures_after_a_while_whatever_happens() {
        let (mut board, mut shown, begin) = (Board::default(), BTreeMap::new(), Instant::now());
        let mut state = 1u64;
        let mut dice = |sides: u64| {
            // an ordinary linear congruence: the same steps each time
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % sides
        };
        for step in 0..2000 {
            let mut rows = Vec::new();
            for key in 0..6 {
                if dice(4) > 0 {
                    rows.push(row(key, dice(3), dice(5)));
                }
            }
            let now = begin + Duration::from_secs(step);
            if let Some(message) = board.changes("rows", &rows, now) {
                apply(&mut shown, &message);
            }
            let keys: Vec<u64> = shown.keys().copied().collect();
            let there: Vec<Value> = rows.iter().map(|row| serde_json::from_str(&row.json).unwrap()).collect();
            assert_eq!(keys, there.iter().map(|row| row["key"].as_u64().unwrap()).collect::<Vec<_>>());
            assert!(there.iter().all(|row| shown[&row["key"].as_u64().unwrap()]["matters"] == row["matters"]));
            let late = begin + Duration::from_secs(step) + FIGURES;
            if let Some(message) = board.changes("rows", &rows, late) {
                apply(&mut shown, &message);
            }
            assert_eq!(shown.values().cloned().collect::<Vec<_>>(), there, "with the figures");
            board.figures = Some(now);
        }
    }

    #[test]
    fn an_empty_state_is_told_once() {
        let (mut board, now) = (Board::default(), Instant::now());
        assert_eq!(board.changes("rows", &[], now).as_deref(), Some(r#"{"full":true,"rows":[],"gone":[]}"#));
        assert_eq!(board.changes("rows", &[], now), None);
    }
}
