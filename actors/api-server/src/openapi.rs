//! The description of the interface (OpenAPI 3.1), made from the list of what is served.

use crate::operations::{OPERATIONS, Operation};
use serde_json::{Map, Value, json};

/// The whole description.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for Operation { method, path, summary, status, needs } in OPERATIONS {
        let operation = json!({
            "summary": summary,
            "x-role": needs,
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
