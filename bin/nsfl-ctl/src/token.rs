//! `token` and `audit`: who may ask the server, and who changed what.

use crate::cli::{Audit, Token};
use crate::fault::Fault;
use crate::get::show;
use crate::print::{or_dash, result, table, talk};
use crate::rest::{Rest, escaped};
use nsfl_rest_model::{Audit as Log, AuditEntry, MadeToken, Tokens};
use serde_json::json;

pub(crate) fn token(rest: &Rest, what: Token) -> Result<(), Fault> {
    match what {
        Token::Create { name, role } => {
            let made: MadeToken = rest.make("/api/v1/tokens", &json!({"name": name, "role": role}))?;
            talk(&format!("token {} of {} with role {}; it is shown this once", made.id, made.name, made.role));
            result(&format!("{}\n", made.token))
        }
        Token::List { output } => show(rest, "/api/v1/tokens", output, |body: Tokens| tokens_table(&body)),
        Token::Revoke { id } => rest.delete(&format!("/api/v1/tokens/{}", escaped(&id))),
    }
}

pub(crate) fn audit(rest: &Rest, args: &Audit) -> Result<(), Fault> {
    let from = args.after.map_or_else(|| "newest=true".to_owned(), |after| format!("after={after}"));
    let path = format!("/api/v1/audit?{from}&limit={}", args.limit);
    show(rest, &path, args.output, |log: Log| audit_table(&log.entries))
}

fn tokens_table(tokens: &Tokens) -> String {
    let row = |token: &nsfl_rest_model::Token| {
        let short = |at: Option<nsfl_rest_model::Time>| or_dash(at.map(|at| at.short()));
        let (used, revoked) = (short(token.last_used), short(token.revoked));
        [token.id.clone(), token.name.clone(), token.role.to_string(), token.created.short(), used, revoked]
    };
    table(["ID", "NAME", "ROLE", "CREATED (UTC)", "LAST USED", "REVOKED"], tokens.tokens.iter().map(row))
}

fn audit_table(entries: &[AuditEntry]) -> String {
    let row = |entry: &AuditEntry| {
        [
            entry.id.to_string(),
            entry.at.short(),
            entry.who.clone(),
            entry.role.to_string(),
            entry.from.clone(),
            or_dash(entry.status),
            format!("{} {}", entry.method, entry.path),
        ]
    };
    table(["ID", "AT (UTC)", "WHO", "ROLE", "FROM", "STATUS", "REQUEST"], entries.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_log_is_a_row_a_request() {
        let log: Log = serde_json::from_value(json!({"last": 8, "entries": [
            {"id": 7, "at": "2026-01-02T03:04:05Z", "who": "ada", "role": "operator", "from": "10.0.0.9", "method": "PUT",
             "path": "/api/v1/actors/selector:restart", "status": 200},
            {"id": 8, "at": "2026-01-02T03:04:06Z", "who": "first-admin", "role": "admin", "from": "127.0.0.1",
             "method": "DELETE", "path": "/api/v1/clients/c1", "status": null},
        ]}))
        .unwrap();
        insta::assert_snapshot!(audit_table(&log.entries));
    }
}
