//! Keys for programs: made through the API, each reaching as far as its scopes and no further.

use reqwest::StatusCode;
use serde_json::json;
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, ok, problem};

const KEYS: &str = "/api/v1/keys";

#[tokio::test]
async fn a_key_is_shown_once_works_and_ends() {
    let app = AdminApp::start().await;
    let admin = app.key(&[Scope::Admin]).await;
    let ask = json!({ "label": " my app ", "scopes": ["read", "integrate", "read"] });
    let made = app.change(KEYS, &admin, ask).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let made: serde_json::Value = made.json().await.expect("JSON");
    assert_eq!((&made["label"], &made["scopes"]), (&json!("my app"), &json!(["read", "integrate"])));
    let key = made["key"].as_str().expect("a key");
    ok(app.read("/api/v1/status", key).await).await;

    let listed = ok(app.read(KEYS, &admin).await).await;
    let own = &listed["keys"].as_array().expect("rows")[1];
    assert_eq!((&own["id"], &own["scopes"]), (&made["id"], &json!(["read", "integrate"])));
    assert!(own["revoked_at"].is_null() && !listed.to_string().contains(key), "shown once");

    let path = format!("{KEYS}/{}", made["id"]);
    assert_eq!(app.delete(&path, &admin).await.status(), StatusCode::NO_CONTENT);
    let ended = (StatusCode::UNAUTHORIZED, "unauthenticated".to_owned());
    assert_eq!(problem(app.read("/api/v1/status", key).await).await, ended);
    let unknown = (StatusCode::NOT_FOUND, "unknown_key".to_owned());
    for gone in [path.as_str(), "/api/v1/keys/999", "/api/v1/keys/x", "/api/v1/keys/-1"] {
        assert_eq!(problem(app.delete(gone, &admin).await).await, unknown, "{gone}");
    }
    let listed = ok(app.read(KEYS, &admin).await).await;
    assert!(!listed["keys"][1]["revoked_at"].is_null(), "a revoked key stays in the list");
}

#[tokio::test]
async fn only_an_admin_makes_keys_and_only_sensible_ones() {
    let app = AdminApp::start().await;
    let denied = (StatusCode::FORBIDDEN, "missing_scope".to_owned());
    for scope in [Scope::Read, Scope::Pay, Scope::Integrate, Scope::ForwardAuth] {
        let key = app.key(&[scope]).await;
        let ask = json!({ "label": "more", "scopes": ["admin"] });
        assert_eq!(problem(app.change(KEYS, &key, ask).await).await, denied, "{scope:?}");
        assert_eq!(problem(app.read(KEYS, &key).await).await, denied, "{scope:?}");
        assert_eq!(problem(app.delete(&format!("{KEYS}/1"), &key).await).await, denied, "{scope:?}");
    }
    let admin = app.key(&[Scope::Admin]).await;
    for (ask, code) in [
        (json!({ "label": "", "scopes": ["read"] }), "bad_label"),
        (json!({ "label": "a\nb", "scopes": ["read"] }), "bad_label"),
        (json!({ "label": "x".repeat(101), "scopes": ["read"] }), "bad_label"),
        (json!({ "label": "a", "scopes": [] }), "bad_scope"),
        (json!({ "label": "a", "scopes": ["root"] }), "bad_scope"),
        (json!({ "label": "a", "scopes": ["read pay"] }), "bad_scope"),
        (json!({ "label": "a" }), "bad_body"),
        (json!({ "label": "a", "scopes": ["read"], "key": "mine" }), "bad_body"),
    ] {
        let refused = problem(app.change(KEYS, &admin, ask.clone()).await).await;
        assert_eq!(refused, (StatusCode::BAD_REQUEST, code.to_owned()), "{ask}");
    }
}
