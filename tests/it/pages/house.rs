//! Who is connected, could money be lost, is it healthy: keys, endpoints, backups, the seed's words, the machine.

use serde_json::json;
use tollhouse::event::Event;
use tollhouse::types::{Msat, PaymentHash};

use super::{HOUR, clean, logged_in, look_at};
use crate::admin_app::{AdminApp, PASSWORD, PATIENCE};
use crate::chromium::{Chromium, Tab};
use crate::webhooks::Receiver;

/// What an outsider would like to be markup.
const CANARY: &str = "\"><img src=x onerror=alert(1)><script>alert(2)</script>";

/// Nothing of what outsiders said became markup.
async fn is_text(tab: &Tab<'_>) {
    let marked = "document.querySelectorAll('img[src=x],script:not([nonce])').length";
    assert_eq!(tab.value(marked).await, 0);
}

/// Types into the field that `selector` finds.
async fn fill(tab: &Tab<'_>, selector: &str, text: &str) {
    tab.click(selector).await;
    tab.types(text).await;
}

async fn paid(app: &AdminApp, n: u8) {
    let event = Event::PaymentReceived {
        payment_hash: PaymentHash::from_bytes([n; 32]),
        amount_msat: Msat::from_sat(5).expect("small"),
        service: None,
        route: None,
        over_msat: Msat::ZERO,
        opening_fee_msat: Msat::ZERO,
        late: false,
    };
    app.ledger.log(event).await.expect("logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn integrations_are_legible_and_what_others_say_is_text() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let key = app.key(&[tollhouse::web::keys::Scope::Admin]).await;
    look_at(&app, &session, &[("integrations-empty", "/integrations")]).await;
    let wallet = json!({ "label": CANARY, "scopes": ["wallet"], "per_day_msat": 5_000_000, "expires_in_secs": 86_400 });
    assert_eq!(app.change("/api/v1/keys", &key, wallet).await.status(), 201);
    let read = json!({ "label": "dashboard", "scopes": ["read", "integrate"] });
    assert_eq!(app.change("/api/v1/keys", &key, read).await.status(), 201);
    app.ledger.revoke_api_key(3).await.expect("revoked");
    let receiver = Receiver::start(&[200, 500]).await;
    for (label, topics) in [(CANARY, json!([])), ("accounting", json!(["payment.received", "alarm.raised"]))]
    {
        let ask = json!({ "url": receiver.url, "label": label, "topics": topics, "allow_private": true });
        assert_eq!(app.change("/api/v1/webhooks", &key, ask).await.status(), 201);
    }
    for n in 1..=3 {
        paid(&app, n).await;
    }
    receiver.got(|got| got.len() >= 6).await;
    let pages = [
        ("integrations", "/integrations"),
        ("endpoint", "/integrations/webhooks/1"),
        ("new-key", "/integrations/keys/new"),
        ("new-endpoint", "/integrations/webhooks/new"),
    ];
    look_at(&app, &session, &pages).await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    for (_, path) in pages {
        tab.open(&format!("{}{path}", app.origin)).await;
        is_text(&tab).await;
    }
    clean(&app, &tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_behind_the_password_shown_once_and_revoked() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    // The password was said when the page was claimed; later it is asked for again.
    app.clock.advance(HOUR / 10);
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    tab.open(&format!("{}/integrations", app.origin)).await;
    tab.click("a[href='/integrations/keys/new']").await;
    tab.until("!!document.querySelector('#label')").await;
    fill(&tab, "#label", "dashboard").await;
    tab.click("main form button[type=submit]").await;
    tab.until("!!document.querySelector('.refusal')").await;
    assert!(tab.text(".refusal").await.contains("at least one scope"));
    assert_eq!(tab.value("document.querySelector('#label').value").await, "dashboard", "kept");
    tab.click("input[name=read]").await;
    tab.value("document.querySelector('#lasts').value = '7'; 1").await;
    tab.click("main form button[type=submit]").await;
    tab.until("document.querySelector('h1')?.textContent.startsWith('Make the key')").await;
    let question = tab.text("main").await;
    for said in ["see revenue", "ends by itself in 7 days", "shown once"] {
        assert!(question.contains(said), "{said}: {question}");
    }
    fill(&tab, "#password", PASSWORD).await;
    tab.click("main form button[type=submit]").await;
    tab.until("!!document.querySelector('#secret')").await;
    let key = tab.text("#secret").await;
    assert!(key.starts_with("tollhouse_"), "{key}");
    assert_eq!(app.read("/api/v1/status", &key).await.status(), 200);
    assert_eq!(app.read("/api/v1/keys", &key).await.status(), 403);
    tab.click("main a.button").await;
    tab.until("location.pathname === '/integrations' && !!document.querySelector('.cards')").await;
    assert!(!tab.text("body").await.contains(&key), "it is shown once");

    tab.click("form[action$='/1/revoke'] button").await;
    tab.until("document.querySelector('h1')?.textContent.startsWith('Revoke')").await;
    tab.click("main form button[type=submit]").await;
    tab.until("!!document.querySelector('.said')").await;
    assert_eq!(app.read("/api/v1/status", &key).await.status(), 401);

    // One that ends by itself.
    let admin = app.key(&[tollhouse::web::keys::Scope::Admin]).await;
    let ask = json!({ "label": "short", "scopes": ["read"], "expires_in_secs": 60 });
    let made: serde_json::Value = app.change("/api/v1/keys", &admin, ask).await.json().await.expect("JSON");
    let short = made["key"].as_str().expect("a key");
    assert_eq!(app.read("/api/v1/status", short).await.status(), 200);
    app.clock.advance(HOUR / 60);
    assert_eq!(app.read("/api/v1/status", short).await.status(), 401);
    clean(&app, &tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_added_tested_switched_and_its_deliveries_made_again() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let receiver = Receiver::start(&[200]).await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    tab.open(&format!("{}/integrations/webhooks/new", app.origin)).await;
    fill(&tab, "#label", "accounting").await;
    fill(&tab, "#url", &receiver.url).await;
    tab.click("input[name='payment.received']").await;
    tab.click("main form button[type=submit]").await;
    tab.until("!!document.querySelector('.refusal')").await;
    assert!(tab.text(".refusal").await.contains("allow_private"), "{}", tab.text(".refusal").await);
    assert_eq!(tab.value("document.querySelector('#url').value").await, json!(receiver.url));
    assert_eq!(tab.value("document.querySelector(\"input[name='payment.received']\").checked").await, true);
    tab.click("input[name=allow_private]").await;
    tab.click("main form button[type=submit]").await;
    tab.until("!!document.querySelector('#secret')").await;
    let secret = tab.text("#secret").await;

    paid(&app, 1).await;
    let got = receiver.got(|got| got.len() == 1).await;
    assert!(got[0].is_signed_with(&secret) && got[0].told()["type"] == "payment.received");
    let page = format!("{}/integrations/webhooks/1", app.origin);
    let noted = async {
        loop {
            tab.open(&page).await;
            if tab.text("main").await.contains("answered 200") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noted).await.expect("the answer is noted");
    tab.click("form[action$='/test'] button").await;
    tab.until("document.querySelector('.said')?.textContent.includes('arrived')").await;
    assert_eq!(receiver.got(|got| got.len() == 2).await[1].told()["type"], "webhook.test");
    tab.click("form[action$='/redeliver'] button").await;
    tab.until("document.querySelector('.said')?.textContent.includes('once more')").await;
    let got = receiver.got(|got| got.len() == 3).await;
    assert_eq!(got[2].id, got[0].id, "the same message again");

    receiver.answer(500);
    tab.click("form[action$='/test'] button").await;
    tab.until("document.querySelector('.refusal')?.textContent.includes('500')").await;
    tab.click("form[action$='/disable'] button").await;
    tab.until("document.querySelector('.dot.bad')?.textContent.includes('by the operator')").await;
    tab.click("form[action$='/enable'] button").await;
    tab.until("document.querySelector('.dot.good')?.textContent === 'Enabled'").await;
    tab.click("form[action$='/remove'] button").await;
    tab.until("document.querySelector('h1')?.textContent.startsWith('Remove')").await;
    tab.click("main form button[type=submit]").await;
    tab.until("!!document.querySelector('.said')").await;
    assert!(app.ledger.webhooks().await.expect("rows").is_empty());
    clean(&app, &tab);
}
