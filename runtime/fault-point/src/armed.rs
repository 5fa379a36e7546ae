//! What happens at a point in an armed build.

use rustix::process::{Signal, getpid, kill_process};
use std::fmt::Debug;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

struct Fault {
    point: String,
    action: Action,
    /// Times the point is still to be reached.
    left: AtomicU32,
}

#[derive(Debug, PartialEq)]
enum Action {
    Kill,
    Stop,
    Panic,
}

/// From how `Debug` writes an enum: `UpdateStored { key: … }` is `UpdateStored`.
pub(crate) fn variant(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '-');
    words.into_iter().find(|word| !word.is_empty()).unwrap_or_default().to_owned()
}

pub(crate) fn reach(name: &str) {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    let fault = FAULT.get_or_init(|| {
        let text = std::env::var("FAULT_POINT").ok()?;
        Some(parse(&text).unwrap_or_else(|| panic!("FAULT_POINT={text} is not <point>=kill|stop|panic[@<n>]")))
    });
    let Some(fault) = fault.as_ref().filter(|fault| fault.point == name) else { return };
    if fault.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) != Ok(1) {
        return;
    }
    match fault.action {
        Action::Kill => send(Signal::KILL),
        Action::Stop => send(Signal::STOP),
        Action::Panic => panic!("fault point {name}"),
    }
}

/// Another thread may be the one that takes the signal: this one does not go on before it has.
fn send(signal: Signal) {
    let _ = kill_process(getpid(), signal);
    std::thread::sleep(std::time::Duration::from_millis(50));
}

fn parse(text: &str) -> Option<Fault> {
    let (point, what) = text.split_once('=')?;
    let (action, nth) = what.split_once('@').unwrap_or((what, "1"));
    let action = match action {
        "kill" => Action::Kill,
        "stop" => Action::Stop,
        "panic" => Action::Panic,
        _ => return None,
    };
    Some(Fault { point: point.to_owned(), action, left: AtomicU32::new(nth.parse().ok().filter(|n| *n > 0)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_named_after_its_input_without_the_fields() {
        let names = [variant(&Some(3)), variant(&Option::<u8>::None), variant(&"forget"), variant(&format_args!("x"))];
        assert_eq!(names, ["Some", "None", "forget", "x"]);
    }

    #[test]
    fn a_fault_says_where_what_and_the_how_manieth_time() {
        let fault = parse("coordinator/UpdateStored/after-commit=stop@2").unwrap();
        assert_eq!(fault.point, "coordinator/UpdateStored/after-commit");
        assert_eq!((fault.action, fault.left.into_inner()), (Action::Stop, 2));
        for bad in ["", "a/b/c", "a/b/c=explode", "a/b/c=kill@0", "a/b/c=kill@x"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
