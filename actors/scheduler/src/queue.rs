//! Who goes next: asks the selector about waiting jobs while there are slots, in order of priority and age.

use crate::{ASK, RECHECK, Scheduler};
use nsfl_actor::{AskError, Context, Failure};
use nsfl_messages::{Cohort, SchedulerMsg, SelectRequest, SelectorMsg};
use nsfl_types::{JobKey, JobSpec};
use nsfl_workflow::JobInput;
use std::collections::BTreeSet;

impl Scheduler {
    /// Asks about every waiting job that may have a slot; answers come back as `Checked`.
    pub(crate) fn look_at_queue(&mut self, ctx: &Context<SchedulerMsg>) {
        let slots = self.args.max_running.saturating_sub(self.book.running());
        let waiting = self.book.waiting();
        if !waiting.is_empty() {
            self.recheck = Some(ctx.send_after(RECHECK, SchedulerMsg::ClientsChanged));
        }
        if slots == 0 {
            return;
        }
        for key in waiting {
            let Some(entry) = self.book.get_mut(&key).filter(|e| !e.checking) else { continue };
            entry.checking = true;
            let (selector, spec) = (self.args.selector.clone(), entry.spec.clone());
            let count = spec.hyper.client_num;
            let request = SelectRequest {
                spec: spec.clone(),
                count,
                except: BTreeSet::new(),
                used: BTreeSet::new(),
                seed: spec.seed,
            };
            let question = async move {
                let answer = selector.ask(ASK, |reply| SelectorMsg::Select { request, reply }).await;
                verdict(&spec, answer)
            };
            let to_msg = move |ready: Result<_, Failure>| SchedulerMsg::Checked {
                key,
                ready: ready.unwrap_or_else(|failure| Err(failure.to_string())),
            };
            ctx.spawn(question, to_msg);
        }
    }

    pub(crate) async fn on_checked(
        &mut self,
        key: &JobKey,
        ready: Result<(), String>,
        ctx: &Context<SchedulerMsg>,
    ) -> Result<(), Failure> {
        let Some(entry) = self.book.get_mut(key) else { return Ok(()) };
        entry.checking = false;
        let has_slot = self.book.running() < self.args.max_running;
        let input = match ready {
            Ok(()) if has_slot => JobInput::Scheduled,
            Ok(()) => JobInput::ClientsReady,
            Err(reason) => JobInput::ClientsMissing { reason },
        };
        self.input(key, input, ctx).await
    }
}

const SHOWN: usize = 5;

/// Whether enough clients fit, and if not, why: how many are there, and what keeps the others out.
fn verdict(spec: &JobSpec, answer: Result<Cohort, AskError>) -> Result<(), String> {
    let cohort = answer.map_err(|e| format!("the client selector did not answer: {e}"))?;
    let (have, want) = (cohort.clients.len(), spec.hyper.client_num as usize);
    if have >= want {
        return Ok(());
    }
    let mut why: Vec<String> =
        cohort.left_out.iter().take(SHOWN).map(|(client, why)| format!("{client}: {why}")).collect();
    if cohort.left_out.len() > SHOWN {
        why.push(format!("and {} more", cohort.left_out.len() - SHOWN));
    }
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
    Err(format!("waiting for clients: {have} of {want} are there{why}"))
}
