//! What the admin side writes into the log while secrets pass through it: not one of them (THREATS 17).

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tollhouse::web::keys::{self, Scope};
use tracing_subscriber::fmt::MakeWriter;

use crate::admin_app::{AdminApp, PASSWORD};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

// On one thread, so that the subscriber of this thread hears every handler.
#[tokio::test(flavor = "current_thread")]
async fn no_secret_reaches_the_log() {
    let log = Log::default();
    // The client's own log is not ours.
    let filter = "trace,reqwest=off,hyper_util::client=off";
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone()).with_ansi(false).finish();
    // While there is one subscriber in a process, a log line that another thread meets first is judged
    // by that thread's subscriber, that is none, and stays off. A second one ends that short cut.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let _here = tracing::subscriber::set_default(subscriber);

    let app = AdminApp::selling(vec![crate::forward_auth::service()]).await;
    let token = app.claim_token().await;
    app.get(&format!("/claim?token={token}")).send().await.expect("an answer");
    app.claim(&token, PASSWORD, "not the same one").await;
    let session = crate::admin_app::cookie(app.claim(&token, PASSWORD, PASSWORD).await.headers());
    let wrong = "wrong horse battery staple";
    for _ in 0..6 {
        app.login(wrong).await;
    }
    keys::ensure_admin_key(
        &app.ledger,
        app.op.parts.entropy.as_ref(),
        app.op.parts.clock.now(),
        app.dir.path(),
    )
    .await
    .expect("made");
    let admin_key = std::fs::read_to_string(app.dir.path().join("admin.key")).expect("readable");
    let key = app.key(&[Scope::Read]).await;
    app.get("/api/v1/status").bearer_auth(&key).send().await.expect("an answer");
    app.get("/").header("cookie", &session).send().await.expect("an answer");
    let ask = json!({ "service": "api", "budget": "100 sat", "label": "partner" });
    let given = app.change("/api/v1/tokens/grant", admin_key.trim(), ask).await;
    let given: Value = given.json().await.expect("JSON");
    let ask = json!({ "service": "api", "path": "/a", "authorization": given["authorization"] });
    let held = app.change("/api/v1/integration/verify", admin_key.trim(), ask).await;
    assert_eq!(held.status(), 200);
    let more = json!({ "label": "more", "scopes": ["read"] });
    let more: Value = app.change("/api/v1/keys", admin_key.trim(), more).await.json().await.expect("JSON");
    let said = |value: &Value| value.as_str().expect("text").to_owned();
    let (macaroon, preimage, more) = (said(&given["macaroon"]), said(&given["preimage"]), said(&more["key"]));
    tracing::debug!(op = ?app.op, "the state describes itself");

    let text = String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("UTF-8");
    assert!(text.contains("was claimed") && text.contains("the state describes itself"), "{text}");
    let id = session.split_once('=').expect("a cookie").1;
    for secret in [PASSWORD, wrong, &token, id, admin_key.trim(), &key, &macaroon, &preimage, &more] {
        assert!(!text.contains(secret), "{secret} in the log");
    }
}
