//! The description of the interface (OpenAPI 3.1), made from the list of what is served.

use serde_json::{Map, Value, json};

/// One operation: method, path below `/api/v1`, what it does, status of its success.
pub(crate) const OPERATIONS: &[(&str, &str, &str, u16)] = &[
    ("get", "/health", "OK while the server serves", 200),
    ("get", "/version", "Version of the server", 200),
    ("get", "/openapi.json", "This description", 200),
    ("get", "/namespaces", "The namespaces", 200),
    ("get", "/clients", "Every known client", 200),
    ("get", "/clients/{client}", "One client", 200),
    ("get", "/actors", "The tree of actors", 200),
    ("get", "/backup", "The server's state as one archive, for `nsfl-ctl restore`", 200),
    ("post", "/namespaces/{ns}/jobs", "Create a job from its document", 201),
    ("get", "/namespaces/{ns}/jobs", "The jobs of a namespace", 200),
    (
        "get",
        "/namespaces/{ns}/jobs/{id}",
        "One job with its status and checkpoints, who is awaited and how far each is, and what failed last",
        200,
    ),
    ("put", "/namespaces/{ns}/jobs/{id}", "Replace the document of a job that waits or rests", 200),
    ("delete", "/namespaces/{ns}/jobs/{id}", "Remove a job; also when absent", 200),
    ("put", "/namespaces/{ns}/jobs/{id}:start", "Run a job again", 200),
    ("put", "/namespaces/{ns}/jobs/{id}:stop", "End a job's run", 200),
    ("get", "/namespaces/{ns}/jobs/{id}/rounds", "The rounds of the last run, the newest with its clients", 200),
    (
        "get",
        "/namespaces/{ns}/jobs/{id}/rounds/{round}",
        "One round of the last run in full: attempts, clients, why each failed with traceback and last lines",
        200,
    ),
    ("get", "/namespaces/{ns}/jobs/{id}/metrics", "The metrics of the last run, a list a metric", 200),
    (
        "get",
        "/namespaces/{ns}/jobs/{id}/events",
        "What happened, after ?after=ID: a list of at most ?limit=N, or with Accept: text/event-stream a stream, \
         which ends with the job's run when ?until_end=true and also brings how far clients are (task-progress)",
        200,
    ),
    ("get", "/namespaces/{ns}/files/{path}", "A file of the namespace's storage, whole or one range", 200),
    ("head", "/namespaces/{ns}/files/{path}", "Its length", 200),
    ("put", "/namespaces/{ns}/files/{path}", "Store a file, atomically", 201),
];

/// The whole description.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for (method, path, summary, status) in OPERATIONS {
        let operation = json!({
            "summary": summary,
            "parameters": parameters(path),
            "responses": {
                status.to_string(): {"description": "success"},
                "default": {"description": "not done", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}},
            },
        });
        let item = paths.entry(format!("/api/v1{path}")).or_insert_with(|| json!({}));
        item[*method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "NSFL", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {"schemas": {"Answer": {
            "type": "object",
            "required": ["state"],
            "properties": {
                "state": {"enum": ["SUCCESSFUL", "FAILED"]},
                "reason": {"type": "string"},
                "code": {"enum": nsfl_types::Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>()},
            },
        }}},
    })
}

fn parameters(path: &str) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})).collect()
}
