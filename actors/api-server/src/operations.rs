//! Everything that is offered below `/api/v1`: for the description, and for who may ask. What is not listed is not done.

use UserRole::{Admin, Operator, Viewer};
use nsfl_types::UserRole;

/// One operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    /// HTTP method, lower case.
    pub(crate) method: &'static str,
    /// Path below `/api/v1`, with `{names}`.
    pub(crate) path: &'static str,
    /// What it does.
    pub(crate) summary: &'static str,
    /// Status of its success.
    pub(crate) status: u16,
    /// Who may ask for it; none: everybody.
    pub(crate) needs: Option<UserRole>,
}

const fn op(
    method: &'static str,
    path: &'static str,
    needs: Option<UserRole>,
    status: u16,
    summary: &'static str,
) -> Operation {
    Operation { method, path, summary, status, needs }
}

const fn get(path: &'static str, needs: UserRole, summary: &'static str) -> Operation {
    op("get", path, Some(needs), 200, summary)
}

const fn put(path: &'static str, summary: &'static str) -> Operation {
    op("put", path, Some(Operator), 200, summary)
}

pub(crate) const OPERATIONS: &[Operation] = &[
    op("get", "/health", None, 200, "OK while the server serves"),
    op("get", "/session", None, 200, "Who asks, and in which role"),
    op("post", "/session", None, 200, "Begin a session with a token: it comes back as a cookie"),
    op("delete", "/session", None, 200, "Forget the cookie"),
    get("/version", Viewer, "Version of the server"),
    get("/openapi.json", Viewer, "This description"),
    get("/namespaces", Viewer, "The namespaces"),
    get("/tokens", Admin, "Every token, without its text"),
    op("post", "/tokens", Some(Admin), 201, "Make a token; its text is shown this once"),
    op("delete", "/tokens/{id}", Some(Admin), 200, "Revoke a token"),
    get("/audit", Admin, "Who changed what: ?after=ID, at most ?limit=N, or the last N with ?newest=true"),
    get("/events", Viewer, "What happened, over all jobs: ?after=ID&limit=N&newest=true, ?job=NS/ID, ?client=, ?kind="),
    get(
        "/logs",
        Viewer,
        "The server's last log lines: ?after=N&limit=N&newest=true, ?level=, ?job=, ?client=, ?actor=, ?text=",
    ),
    get(
        "/live",
        Viewer,
        "A stream (text/event-stream) of ?topics=jobs,rounds,clients,actors,events,logs, which goes on after Last-Event-ID",
    ),
    get("/clients", Viewer, "Every known client"),
    get("/clients/{client}", Viewer, "One client, with the tasks that are awaited of it"),
    op("delete", "/clients/{client}", Some(Operator), 200, "Close its link, forget it and turn it away"),
    put("/clients/{client}:cordon", "Give a client no new tasks"),
    put("/clients/{client}:uncordon", "Let a client take part again, also a removed one"),
    get("/actors", Viewer, "The tree of actors; of a client that shows it with ?client=ID"),
    get("/actors/{path}", Viewer, "One actor with those below it"),
    put("/actors/{path}:restart", "End an actor orderly and start it again"),
    put("/actors/{path}:stop", "End an actor; it stays ended until it is restarted"),
    get(
        "/actors/{path}:trace",
        Operator,
        "A stream (text/event-stream) of the messages an actor handles, for ?seconds=60 at most",
    ),
    get("/backup", Admin, "The server's state as one archive, for `nsfl-ctl restore`"),
    op("post", "/namespaces/{ns}/jobs", Some(Operator), 201, "Create a job from its document"),
    get("/namespaces/{ns}/jobs", Viewer, "The jobs of a namespace"),
    get(
        "/namespaces/{ns}/jobs/{id}",
        Viewer,
        "One job with its status and checkpoints, who is awaited and how far each is, and what failed last",
    ),
    put("/namespaces/{ns}/jobs/{id}", "Replace the document of a job that waits or rests"),
    op("delete", "/namespaces/{ns}/jobs/{id}", Some(Operator), 200, "Remove a job; also when absent"),
    put("/namespaces/{ns}/jobs/{id}:start", "Run a job again"),
    put("/namespaces/{ns}/jobs/{id}:stop", "End a job's run"),
    get("/namespaces/{ns}/jobs/{id}/rounds", Viewer, "The rounds of the last run, the newest with its clients"),
    get(
        "/namespaces/{ns}/jobs/{id}/rounds/{round}",
        Viewer,
        "One round of the last run in full: attempts, clients, why each failed with traceback and last lines",
    ),
    get("/namespaces/{ns}/jobs/{id}/metrics", Viewer, "The metrics of the last run, a list a metric"),
    get(
        "/namespaces/{ns}/jobs/{id}/events",
        Viewer,
        "What happened, after ?after=ID: a list of at most ?limit=N, or with Accept: text/event-stream a stream, \
         which ends with the job's run when ?until_end=true and also brings how far clients are (task-progress)",
    ),
    get("/namespaces/{ns}/files/{path}", Viewer, "A file of the namespace's storage, whole or one range"),
    op("head", "/namespaces/{ns}/files/{path}", Some(Viewer), 200, "Its length"),
    op("put", "/namespaces/{ns}/files/{path}", Some(Operator), 201, "Store a file, atomically"),
];

/// Who may ask; `pattern` is that of a route. What is not in the table is refused anyway: to look at that is enough.
pub(crate) fn needs(method: &str, pattern: &str) -> Option<UserRole> {
    let path = pattern.trim_start_matches("/api/v1").replace(":.*}", "}");
    let listed = OPERATIONS.iter().find(|op| op.path == path && op.method.eq_ignore_ascii_case(method));
    listed.map_or(Some(Viewer), |op| op.needs)
}

/// Whether it is recorded who asked: changes, the server's whole state, and a look into an actor's messages.
pub(crate) fn is_audited(method: &str, pattern: &str) -> bool {
    let read = matches!(method, "GET" | "HEAD" | "OPTIONS");
    let session = pattern.ends_with("/session");
    (!read && !session) || pattern.ends_with("/backup") || pattern.ends_with(":trace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_looks_needs_less_than_whoever_changes() {
        for op in OPERATIONS {
            let open = op.path == "/health" || op.path == "/session";
            assert_eq!(op.needs.is_none(), open, "{op:?}");
            if op.method != "get" && op.method != "head" && !open {
                assert!(op.needs >= Some(Operator), "{op:?}");
            }
        }
        assert_eq!(needs("PUT", "/api/v1/namespaces/{ns}/files/{path:.*}"), Some(Operator));
        assert_eq!(needs("GET", "/api/v1/audit"), Some(Admin));
        assert_eq!(needs("GET", "/metrics"), Some(Viewer));
    }
}
