//! When a job is given up: it fails again and again and nothing is committed in between. How long the failures are apart
//! does not matter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The same failure so often, without a commit of progress in between.
pub(crate) const SAME: u32 = 10;
/// Failures of all kinds so often.
const ANY: u32 = 5 * SAME;

/// Counts the failures of a run's actors, across their lives.
#[derive(Clone)]
pub(crate) struct Patience(Arc<Inner>);

struct Inner {
    failures: Mutex<BTreeMap<String, u32>>,
    give_up: Box<dyn Fn(String) + Send + Sync>,
}

impl Patience {
    /// `give_up` is called with the reason, at each failure from then on: whoever hears of it may not have taken it in.
    pub(crate) fn new(give_up: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { failures: Mutex::default(), give_up: Box::new(give_up) }))
    }

    /// Something was committed that was not there before: what failed until then is over.
    pub(crate) fn got_on(&self) {
        self.failures().clear();
    }

    pub(crate) fn failed(&self, what: &str) {
        let (same, all) = {
            let mut failures = self.failures();
            let same = failures.entry(what.to_owned()).or_default();
            *same += 1;
            (*same, failures.values().sum::<u32>())
        };
        if same >= SAME {
            (self.0.give_up)(format!("failed {same} times without getting on, last: {what}"));
        } else if all >= ANY {
            (self.0.give_up)(format!("failed {all} times in several ways without getting on, last: {what}"));
        }
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.0.failures.lock().expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_failures_without_progress_between_them_are_given_up_and_no_others() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&heard);
        let patience = Patience::new(move |reason| said.lock().unwrap().push(reason));
        for _ in 0..3 {
            (1..SAME).for_each(|_| patience.failed("a: boom"));
            (1..SAME).for_each(|_| patience.failed("b: bang"));
            patience.got_on();
        }
        assert!(heard.lock().unwrap().is_empty());
        (0..SAME).for_each(|_| patience.failed("a: boom"));
        assert_eq!(*heard.lock().unwrap(), [format!("failed {SAME} times without getting on, last: a: boom")]);
        patience.got_on();
        (0..ANY).for_each(|n| patience.failed(&format!("way {n}")));
        assert_eq!(heard.lock().unwrap().len(), 2);
    }
}
