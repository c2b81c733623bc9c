//! Who is connected, and is it healthy: keys, endpoints, how backups and the machine look.

use serde_json::json;
use tollhouse::event::Event;
use tollhouse::types::{Msat, PaymentHash};
use tollhouse::web::keys::Scope;
use tollhouse::web::{Configuration, SettingLine};

use super::{HOUR, clean, is_text, logged_in, look_at};
use crate::admin_app::{AdminApp, PASSWORD, PATIENCE, ok, problem};
use crate::chromium::{Chromium, Tab};
use crate::webhooks::Receiver;

/// What an outsider would like to be markup.
const CANARY: &str = "\"><img src=x onerror=alert(1)><script>alert(2)</script>";

/// Types into the field that `selector` finds.
pub(super) async fn fill(tab: &Tab<'_>, selector: &str, text: &str) {
    tab.click(selector).await;
    tab.types(text).await;
}

/// Waits until a page stands whole, its style too, and `expression` is true of it.
pub(super) async fn until(tab: &Tab<'_>, expression: &str) {
    tab.until(&format!("document.readyState === 'complete' && ({expression})")).await;
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
    let key = app.key(&[Scope::Admin]).await;
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
    for (name, path) in pages {
        tab.open(&format!("{}{path}", app.origin)).await;
        is_text(&tab, name).await;
    }
    tab.open(&format!("{}/integrations", app.origin)).await;
    let told = tab.text("main").await;
    assert!(told.contains("Failing, "), "what does not arrive is not told as well: {told}");
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
    until(&tab, "!!document.querySelector('#label')").await;
    fill(&tab, "#label", "dashboard").await;
    tab.click("main form button[type=submit]").await;
    until(&tab, "!!document.querySelector('.refusal')").await;
    assert!(tab.text(".refusal").await.contains("at least one scope"));
    assert_eq!(tab.value("document.querySelector('#label').value").await, "dashboard", "kept");
    assert_eq!(
        tab.value("document.querySelector('#lasts').value").await,
        "90",
        "it ends, unless one says else"
    );
    for scope in ["pay", "admin"] {
        let warned = format!("!!document.querySelector('label:has([name={scope}]) .wrong')");
        assert_eq!(tab.value(&warned).await, true, "{scope} warns before it is ticked");
    }
    tab.click("input[name=read]").await;
    tab.value("document.querySelector('#lasts').value = '7'; 1").await;
    tab.click("main form button[type=submit]").await;
    until(&tab, "document.querySelector('h1')?.textContent.startsWith('Make the key')").await;
    let question = tab.text("main").await;
    for said in ["see revenue", "ends by itself in 7 days", "shown once"] {
        assert!(question.contains(said), "{said}: {question}");
    }
    assert!(tab.text("footer").await.contains("Times in "), "the zone is told once");
    assert!(!question.contains("UTC"), "in a sentence a moment is of that zone, too: {question}");
    fill(&tab, "#password", PASSWORD).await;
    tab.click("main form button[type=submit]").await;
    until(&tab, "!!document.querySelector('#secret')").await;
    let key = tab.text("#secret").await;
    assert!(key.starts_with("tollhouse_"), "{key}");
    assert_eq!(app.read("/api/v1/status", &key).await.status(), 200);
    assert_eq!(app.read("/api/v1/keys", &key).await.status(), 403);
    tab.click("main a.button").await;
    until(&tab, "location.pathname === '/integrations' && !!document.querySelector('.cards')").await;
    assert!(!tab.text("body").await.contains(&key), "it is shown once");

    tab.click("form[action$='/1/revoke'] button").await;
    until(&tab, "document.querySelector('h1')?.textContent.startsWith('Revoke')").await;
    tab.click("main form button[type=submit]").await;
    until(&tab, "!!document.querySelector('.said')").await;
    assert_eq!(app.read("/api/v1/status", &key).await.status(), 401);

    // One that ends by itself.
    let admin = app.key(&[Scope::Admin]).await;
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
    tab.value("document.querySelectorAll('details').forEach(part => { part.open = true; }); 1").await;
    tab.click("input[name='payment.received']").await;
    tab.click("main form button[type=submit]").await;
    until(&tab, "!!document.querySelector('.refusal')").await;
    assert!(tab.text(".refusal").await.contains("tick it below"), "{}", tab.text(".refusal").await);
    assert_eq!(tab.value("document.querySelector('#url').value").await, json!(receiver.url));
    assert_eq!(tab.value("document.querySelector(\"input[name='payment.received']\").checked").await, true);
    tab.click("input[name=allow_private]").await;
    tab.click("main form button[type=submit]").await;
    until(&tab, "!!document.querySelector('#secret')").await;
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
    until(&tab, "document.querySelector('.said')?.textContent.includes('arrived')").await;
    assert_eq!(receiver.got(|got| got.len() == 2).await[1].told()["type"], "webhook.test");
    let newest = tab.text(".cards tbody tr").await;
    assert!(newest.contains("webhook.test") && newest.contains("answered 200"), "{newest}");
    assert!(!newest.contains("again"), "a test is made anew: {newest}");
    tab.click("form[action$='/redeliver'] button").await;
    until(&tab, "document.querySelector('.said')?.textContent.includes('once more')").await;
    let got = receiver.got(|got| got.len() == 3).await;
    assert_eq!(got[2].id, got[0].id, "the same message again");

    receiver.answer(500);
    tab.click("form[action$='/test'] button").await;
    until(&tab, "document.querySelector('.refusal')?.textContent.includes('500')").await;
    assert!(tab.text(".cards tbody tr").await.contains("Did not arrive"));
    assert_eq!(
        app.ledger.webhooks().await.expect("rows")[0].parked,
        0,
        "a test is no event that was given up"
    );
    tab.click("form[action$='/disable'] button").await;
    until(&tab, "document.querySelector('.dot.bad')?.textContent.includes('by the operator')").await;
    tab.click("form[action$='/enable'] button").await;
    until(&tab, "document.querySelector('.dot.good')?.textContent === 'Enabled'").await;
    tab.click("form[action$='/remove'] button").await;
    until(&tab, "document.querySelector('h1')?.textContent.startsWith('Remove')").await;
    tab.click("main form button[type=submit]").await;
    until(&tab, "!!document.querySelector('.said')").await;
    assert!(app.ledger.webhooks().await.expect("rows").is_empty());

    // One tick takes all of a kind, and nothing of another.
    tab.open(&format!("{}/integrations/webhooks/new", app.origin)).await;
    fill(&tab, "#label", "money").await;
    fill(&tab, "#url", &receiver.url).await;
    tab.click("input[name=allow_private]").await;
    tab.click("input[name=all_payments]").await;
    tab.click("main form button[type=submit]").await;
    until(&tab, "!!document.querySelector('#secret')").await;
    let chosen = app.ledger.webhooks().await.expect("rows")[0].topics.clone();
    let has = |topic: &str| chosen.split(' ').any(|one| one == topic);
    assert!(has("payment.received") && has("sale.attributed") && !has("alarm.raised"), "{chosen}");
    clean(&app, &tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_and_system_are_legible_and_what_others_say_is_text() {
    let app = AdminApp::told(Configuration {
        file: Some("/etc/tollhouse/tollhouse.toml".to_owned()),
        settings: [
            ("network", "regtest", "file", Some("line 3")),
            ("gateway.listen", CANARY, "env", Some("TOLLHOUSE_GATEWAY_LISTEN")),
            ("log", "info", "default", None),
        ]
        .map(|(setting, value, source, place)| SettingLine {
            setting: setting.to_owned(),
            value: value.to_owned(),
            source,
            place: place.map(str::to_owned),
        })
        .to_vec(),
        warnings: vec!["admin.listen: it can be reached from other machines: set `admin.hosts`".to_owned()],
    })
    .await;
    let session = app.claimed().await;
    let said = tracing_subscriber::fmt().with_ansi(false).with_writer(app.op.parts.log.clone()).finish();
    tracing::subscriber::with_default(said, || {
        tracing::info!(peer = CANARY, "a peer said its name");
        tracing::warn!(target: "ldk", "the peer 02{} is away", "ab".repeat(32));
        tracing::error!("the backup could not be written: no space left on the device");
    });
    look_at(&app, &session, &[("backup-none", "/backup")]).await;
    for _ in 0..3 {
        app.op.parts.backups.make().await.expect("made");
        app.clock.advance(HOUR);
    }
    look_at(
        &app,
        &session,
        &[("backup", "/backup"), ("system", "/system"), ("password", "/system/password")],
    )
    .await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.open(&format!("{}/system", app.origin)).await;
    is_text(&tab, "system").await;
    let log = tab.text(".log").await;
    assert!(log.contains("a peer said its name") && log.contains("<img src=x"), "{log}");
    tab.click("a[href='/system?level=error#log']").await;
    until(&tab, "location.search === '?level=error' && !!document.querySelector('.log')").await;
    let log = tab.text(".log").await;
    assert!(log.contains("no space left") && !log.contains("is away"), "{log}");
    tab.click("summary").await;
    until(&tab, "document.querySelector('details').open").await;
    // What is to be typed is drawn as that, without the marks around it.
    let warned = tab.text("section[aria-labelledby=settings] .say:has(.bad)").await;
    assert!(warned.ends_with("set admin.hosts"), "{warned}");
    let settings = tab.text("details").await;
    for told in ["line 3", "TOLLHOUSE_GATEWAY_LISTEN", "default"] {
        assert!(settings.contains(told), "{told}: {settings}");
    }
    is_text(&tab, "system").await;
    clean(&app, &tab);

    // The same for programs, and less for whoever helps.
    let admin = app.key(&[Scope::Admin]).await;
    let system = ok(app.read("/api/v1/system", &admin).await).await;
    assert_eq!(
        (&system["version"], &system["network"]),
        (&json!(env!("CARGO_PKG_VERSION")), &json!("regtest"))
    );
    assert!(
        system["memory_bytes"].as_u64() > Some(1_000_000) && system["disk_free_bytes"].as_u64() > Some(0)
    );
    assert!(system["files"].as_array().expect("files").iter().any(|file| file["name"] == "ledger.db"));
    let config = ok(app.read("/api/v1/config", &admin).await).await;
    assert_eq!(
        config["settings"][0],
        json!({ "setting": "network", "value": "regtest", "source": "file", "place": "line 3" })
    );
    let log = ok(app.read("/api/v1/log?level=warn&limit=1", &admin).await).await;
    assert_eq!((log["lines"][0]["level"].as_str(), log["last"].as_u64()), (Some("error"), Some(3)));
    assert_eq!(ok(app.read("/api/v1/log?after=3", &admin).await).await["lines"], json!([]));
    for bad in ["level=loud", "limit=0", "after=x"] {
        let refused = problem(app.read(&format!("/api/v1/log?{bad}"), &admin).await).await;
        assert_eq!((refused.0.as_u16(), refused.1.as_str()), (400, "bad_query"), "{bad}");
    }
    let text = app.read("/api/v1/diagnostics", &admin).await.text().await.expect("text");
    assert!(text.contains("no space left") && text.contains("network = regtest   (line 3)"), "{text}");
    assert!(!text.contains(&"ab".repeat(20)), "keys are cut short: {text}");
    let read = app.key(&[Scope::Read]).await;
    assert_eq!(app.read("/api/v1/system", &read).await.status(), 200);
    for closed in ["config", "log", "diagnostics"] {
        assert_eq!(app.read(&format!("/api/v1/{closed}"), &read).await.status(), 403, "{closed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_browser_finds_a_page_and_a_program_a_problem() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.open(&format!("{}/nope", app.origin)).await;
    until(&tab, "document.querySelector('h1')?.textContent === 'Nothing is here'").await;
    for (form, page) in [("/integrations/keys/1/revoke", "/integrations"), ("/backup/now", "/backup")] {
        tab.open(&format!("{}{form}", app.origin)).await;
        until(&tab, &format!("location.pathname === '{page}'")).await;
    }
    let key = app.key(&[Scope::Read]).await;
    for (path, answer) in [("/nope", (404, "not_found")), ("/backup/now", (405, "method_not_allowed"))] {
        let refused = problem(app.read(path, &key).await).await;
        assert_eq!((refused.0.as_u16(), refused.1.as_str()), answer, "{path}");
    }
    let page = app.get("/api/v1/nope").header("accept", "text/html").send().await.expect("an answer");
    assert_eq!(page.headers()["content-type"], "application/problem+json");
}
