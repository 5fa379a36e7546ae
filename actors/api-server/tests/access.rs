//! Who may ask: every operation in every role, the tokens, the cookie, foreign pages, and the record of changes.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod support;

use nsfl_store::AccessStore as _;
use nsfl_types::UserRole;
use serde_json::{Value, json};
use support::{Server, guarded, server};

/// A server that needs tokens, and one of each role.
async fn with_tokens() -> (Server, Vec<(UserRole, String)>) {
    let server = guarded(vec![]).await;
    let file = server.folder.path().join("token");
    nsfl_api_server::first_token(server.access.as_ref(), &file).await.unwrap();
    // read by the next life of the api-server
    server.root.restart_child("api-server").await.unwrap();
    let server = server.found_again().await;
    let admin = std::fs::read_to_string(file).unwrap().trim().to_owned();
    let mut tokens = vec![];
    for role in [UserRole::Viewer, UserRole::Operator] {
        let body = json!({"name": format!("a {role}"), "role": role}).to_string();
        let made = server.ask("POST", "/tokens", &[("authorization", &bearer(&admin))], body).await;
        assert_eq!(made.status, 201, "{made:?}");
        tokens.push((role, made.json()["token"].as_str().unwrap().to_owned()));
    }
    tokens.push((UserRole::Admin, admin));
    (server, tokens)
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_for_its_role_and_those_above_and_for_nobody_else() {
    let (server, tokens) = with_tokens().await;
    let admin = bearer(&tokens[2].1);
    let description = server.ask("GET", "/openapi.json", &[("authorization", &admin)], "").await.json();
    let mut seen = 0;
    for (path, operations) in description["paths"].as_object().unwrap() {
        let path = path.trim_start_matches("/api/v1").replace(['{', '}'], "");
        for (method, operation) in operations.as_object().unwrap() {
            let (method, needed) = (method.to_uppercase(), &operation["x-role"]);
            let needed: Option<UserRole> = serde_json::from_value(needed.clone()).unwrap();
            let code = |answer: &support::Answer| {
                serde_json::from_slice::<Value>(&answer.body).map(|body| body["code"].clone()).unwrap_or_default()
            };
            let nobody = server.ask(&method, &path, &[], "").await;
            if needed.is_some() {
                assert_eq!(
                    (nobody.status, nobody.headers["www-authenticate"].as_bytes()),
                    (401, &b"Bearer"[..]),
                    "{path}"
                );
            }
            for (role, token) in &tokens {
                let answer = server.ask(&method, &path, &[("authorization", &bearer(token))], "").await;
                let refused =
                    answer.status == 401 || code(&answer) == "forbidden" || (method == "HEAD" && answer.status == 403);
                assert_eq!(
                    refused,
                    needed.is_some_and(|needed| *role < needed),
                    "{method} {path} as {role}: {answer:?}"
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 35, "{seen} operations");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_listed_without_its_text_and_worth_nothing_once_revoked() {
    let (server, tokens) = with_tokens().await;
    let (viewer, admin) = (bearer(&tokens[0].1), bearer(&tokens[2].1));
    assert_eq!(server.ask("GET", "/clients", &[("authorization", &viewer)], "").await.status, 200);
    let list = server.ask("GET", "/tokens", &[("authorization", &admin)], "").await;
    assert!(tokens.iter().all(|(_, token)| !String::from_utf8_lossy(&list.body).contains(token)));
    let listed = list.json()["tokens"].as_array().unwrap().clone();
    let of_viewer = listed.iter().find(|token| token["name"] == "a viewer").unwrap();
    assert!(of_viewer["last_used"].is_string() && of_viewer["created_by"] == "first-admin", "{of_viewer}");
    let path = format!("/tokens/{}", of_viewer["id"].as_str().unwrap());
    assert_eq!(server.ask("DELETE", &path, &[("authorization", &admin)], "").await.status, 200);
    let revoked = server.ask("GET", "/clients", &[("authorization", &viewer)], "").await;
    assert_eq!((revoked.status, revoked.json()["code"].clone()), (401, json!("unauthenticated")));
    let bad = server.ask("POST", "/tokens", &[("authorization", &admin)], r#"{"name":"x","role":"root"}"#).await;
    assert_eq!(bad.status, 400, "{bad:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_come_as_the_password_of_a_login_or_as_the_cookie_of_a_session() {
    use base64::Engine as _;
    let (server, tokens) = with_tokens().await;
    let token = &tokens[1].1;
    let basic = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("me:{token}")));
    let who = server.ask("GET", "/session", &[("authorization", &basic)], "").await.json();
    assert_eq!(who, json!({"name": "a operator", "role": "operator", "by": "token"}));
    assert_eq!(server.ask("GET", "/session", &[], "").await.status, 401);
    assert_eq!(server.ask("POST", "/session", &[], r#"{"token":"nsfl_wrong"}"#).await.status, 401);
    let begun = server.ask("POST", "/session", &[], json!({"token": token}).to_string()).await;
    assert_eq!((begun.status, begun.json()), (200, who.clone()));
    let cookie = begun.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(server.ask("GET", "/session", &[("cookie", cookie)], "").await.json(), who);
    let ended = server.ask("DELETE", "/session", &[("cookie", cookie)], "").await;
    assert!(ended.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_changes_nothing_and_a_name_that_leads_here_opens_nothing() {
    let server = server(vec![], None).await;
    let job = json!({"id": "a", "runtime": "builtin", "task_entry": "classifier", "output": "out"}).to_string();
    let host = server.url.trim_start_matches("http://").trim_end_matches("/api/v1").to_owned();
    let post = async |headers: &[(&str, &str)]| {
        let answer = server.ask("POST", "/namespaces/default/jobs", headers, job.clone()).await;
        (answer.status, answer.json()["code"].clone())
    };
    let refused = (403, json!("wrong-origin"));
    assert_eq!(post(&[("origin", "https://evil.example")]).await, refused);
    assert_eq!(post(&[("sec-fetch-site", "cross-site")]).await, refused);
    assert_eq!(post(&[("sec-fetch-site", "same-site")]).await, refused);
    assert_eq!(post(&[("origin", "null")]).await, refused);
    let named = server.ask("GET", "/clients", &[("host", "evil.example")], "").await;
    assert_eq!((named.status, named.json()["code"].clone()), refused);
    assert_eq!(server.audit().await.len(), 0, "nothing was let through");
    assert_eq!(post(&[("sec-fetch-site", "same-origin"), ("origin", &format!("http://{host}"))]).await.0, 201);
    let again = post(&[("origin", &format!("http://{host}"))]).await;
    assert_eq!(again, (403, json!("job-exists")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_says_who_asked_for_a_change_and_what_came_of_it() {
    let (server, tokens) = with_tokens().await;
    let before = server.audit().await.len();
    for (role, token) in &tokens {
        let path = format!("/namespaces/default/jobs/{role}");
        server.ask("DELETE", &path, &[("authorization", &bearer(token))], "").await;
        server.ask("GET", &path, &[("authorization", &bearer(token))], "").await;
    }
    server.ask("DELETE", "/namespaces/default/jobs/nobody", &[], "").await;
    let admin = bearer(&tokens[2].1);
    let log = server.ask("GET", "/audit?newest=true&limit=3", &[("authorization", &admin)], "").await.json();
    let shown: Vec<_> =
        log["entries"].as_array().unwrap().iter().map(|e| (&e["who"], &e["role"], &e["status"])).collect();
    let said = [("a viewer", "viewer", 403), ("a operator", "operator", 200), ("first-admin", "admin", 200)];
    assert_eq!(serde_json::to_value(&shown).unwrap(), json!(said));
    assert_eq!(log["entries"][0]["path"], "/api/v1/namespaces/default/jobs/viewer");
    assert_eq!((&log["entries"][0]["method"], &log["entries"][0]["from"]), (&json!("DELETE"), &json!("127.0.0.1")));
    assert_eq!(server.audit().await.len(), before + 3, "looking is not recorded, nor who is nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_old_goes_and_a_newer_one_stays() {
    let server = server(vec![], None).await;
    server.ask("DELETE", "/namespaces/default/jobs/a", &[], "").await;
    let recorded = server.audit().await;
    let old = nsfl_store::AuditRecord { at: nsfl_types::Timestamp(7), ..recorded[0].clone() };
    server.access.append_audit(old).await.unwrap();
    // looked at as a life begins, and then every hour
    server.root.restart_child("api-server").await.unwrap();
    let gone = async {
        while server.audit().await.len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone).await.unwrap();
    assert_eq!(server.audit().await, recorded);
}

impl Server {
    async fn audit(&self) -> Vec<nsfl_store::AuditRecord> {
        self.access.audit(0, 1000).await.unwrap()
    }
}
