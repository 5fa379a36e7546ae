//! The tree of actors as text: the shape on the left, how each one is doing on the right.

use crate::print::{or_dash, table};
use nsfl_rest_model::Actor;

/// One row an actor, children below their parent.
pub(crate) fn render(root: &Actor) -> String {
    let mut rows = Vec::new();
    add(root, String::new(), "", &mut rows);
    table(["ACTOR", "KIND", "STATE", "RESTARTS", "MAILBOX", "HANDLED", "LAST ERROR"], rows)
}

fn add(actor: &Actor, shape: String, below: &str, rows: &mut Vec<[String; 7]>) {
    rows.push([
        format!("{shape}{}", actor.path),
        actor.kind.clone(),
        actor.state.clone(),
        actor.restarts.to_string(),
        format!("{}/{}", actor.mailbox.depth, actor.mailbox.capacity),
        actor.handled.to_string(),
        or_dash(actor.last_error.as_deref().map(first_line)),
    ]);
    let last = actor.children.len().saturating_sub(1);
    for (i, child) in actor.children.iter().enumerate() {
        let (branch, under) = if i == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        add(child, format!("{below}{branch}"), &format!("{below}{under}"), rows);
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn actor(path: &str, kind: &str, error: Value, children: Vec<Value>) -> Value {
        json!({
            "path": path, "kind": kind, "state": "running", "restarts": 1, "started": null, "handled": 42, "busy_us": 7,
            "mailbox": {"depth": 3, "capacity": 64, "high_water": 9, "oldest_ms": 0}, "last_error": error,
            "detail": {}, "children": children,
        })
    }

    #[test]
    fn children_stand_below_their_parent() {
        let job = actor("jobs/default.digits", "coordinator", json!("store failed\nmore"), vec![]);
        let jobs = actor("jobs", "supervisor", json!(null), vec![job]);
        let selector = actor("selector", "selector", json!(null), vec![]);
        let tree = actor("server", "supervisor", json!(null), vec![jobs, selector]);
        insta::assert_snapshot!(render(&serde_json::from_value(tree).unwrap()));
    }
}
