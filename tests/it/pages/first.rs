//! The first steps on pages: the words, the chain, room to receive; Home's list and alarms.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tollhouse::ports::{Alarm, BoxFuture, Check, Informant, SourceAnswer};
use tollhouse::secrets::Seed;
use tollhouse::store::Findings;
use tollhouse::types::Severity;

use super::{business, clean, logged_in, look_at, words};
use crate::admin_app::{AdminApp, PASSWORD, ok, usable_channel};
use crate::chromium::Chromium;

/// A text that must never become markup.
const CANARY: &str = "\"><img src=x onerror=alert(1)><script>alert(1)</script>";

fn answers(app: &AdminApp) -> &Mutex<Vec<SourceAnswer>> {
    &app.node.chain_answers
}

fn two_sources() -> Vec<SourceAnswer> {
    let one = |name: &str, fault: Option<&str>, in_use| SourceAnswer {
        kind: "esplora",
        name: name.to_owned(),
        in_use,
        took_ms: 41,
        fault: fault.map(str::to_owned),
    };
    vec![
        one("esplora https://blocks.example/api", None, true),
        one("bitcoind 127.0.0.1:8332", Some(CANARY), false),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_steps_are_legible_in_every_size_and_light() {
    let app = AdminApp::start().await;
    *answers(&app).lock().expect("no panic") = two_sources();
    let session = app.claimed().await;
    app.op.parts.watchman.look().await.expect("it looks");
    let pages = [
        ("start-home", "/"),
        ("start", "/start"),
        ("start-seed", "/start/seed"),
        ("start-check", "/start/seed/check"),
        ("start-chain", "/start/chain"),
        ("start-receive", "/start/receive"),
    ];
    look_at(&app, &session, &pages).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_are_shown_once_and_checked_on_the_page() {
    let app = AdminApp::start().await;
    *answers(&app).lock().expect("no panic") = two_sources();
    let browser = Chromium::start();
    let tab = browser.tab().await;
    tab.looks(1440, 900, "light").await;
    let token = app.claim_token().await;
    tab.open(&format!("{}/claim?token={token}", app.origin)).await;
    tab.types(PASSWORD).await;
    tab.click("#again").await;
    tab.types(PASSWORD).await;
    tab.click("button").await;
    tab.until("location.pathname === '/start' && document.readyState === 'complete'").await;
    tab.click(".steps a[href='/start/seed']").await;
    tab.until("location.pathname === '/start/seed' && document.readyState === 'complete'").await;
    tab.click("form[action='/start/seed/words'] button").await;
    let own = words::shown(&tab).await;
    tab.picture("start-words-1440-light").await;

    // The watchman found before that nobody proved to have them.
    app.op.parts.watchman.hear(Arc::new(Paper(app.op.parts.seed.clone())));
    app.op.parts.watchman.look().await.expect("it looks");
    let alarmed = async || {
        let alarms = app.ledger.alarms().await.expect("alarms");
        alarms.iter().any(|row| row.alarm.code == "seed_not_verified")
    };
    assert!(alarmed().await);
    tab.click("a[href='/start/seed/check']").await;
    words::give_back(&tab, &words::wrong()).await;
    tab.until("document.querySelector('.refusal')").await;
    assert!(tab.text(".refusal").await.starts_with("Those are not the words"));
    words::give_back(&tab, &own).await;
    tab.until("location.search === '?said=checked'").await;
    assert!(tab.text(".said").await.contains("You have the words"));
    assert!(!alarmed().await, "the proof has the watchman look: the next page knows");
    assert_eq!(tab.value("document.querySelector(\"form[action='/start/seed/words']\")").await, json!(null));
    let key = app.key(&[tollhouse::web::keys::Scope::Read]).await;
    let list = ok(app.read("/api/v1/checklist", &key).await).await;
    assert_eq!(list["points"][1], json!({ "step": "words", "done": true, "needed": false }));
    let again = app.post("/start/seed/words").header("cookie", cookie_of(&tab).await);
    assert_eq!(again.form(&[("again", "yes")]).send().await.expect("an answer").status(), 409);

    tab.click(".onward a").await;
    tab.until("location.pathname === '/start/chain' && document.readyState === 'complete'").await;
    tab.click("form[action='/start/chain'] button").await;
    tab.until("document.querySelectorAll('tbody tr').length === 2").await;
    assert!(tab.text(".cards").await.contains("It answers, in 41 ms"));
    assert!(tab.text(".cards").await.contains(CANARY));
    assert_eq!(tab.value("document.querySelectorAll('img[src=x],script:not([nonce])').length").await, 0);
    let admin = app.key(&[tollhouse::web::keys::Scope::Admin]).await;
    let told = ok(app.change("/api/v1/chain/test", &admin, json!({})).await).await;
    assert_eq!(told["sources"][1]["fault"], CANARY);

    // Put away, and brought back.
    tab.open(&format!("{}/", app.origin)).await;
    tab.click("form[action='/start/hide'] button").await;
    tab.until("document.querySelector('#live') && !document.querySelector('#steps')").await;
    clean(&app, &tab);
}

/// Tells the watchman whether somebody proved to have the words.
struct Paper(Arc<Seed>);

impl Informant for Paper {
    fn checks(&self) -> BoxFuture<'_, Vec<Check>> {
        let alarm = Alarm::new("seed_not_verified", Severity::Info, "Nobody proved yet", "Prove it.");
        let proved = self.0.status().verified_at.is_some();
        let check = Check::fine("seed", "encrypted").with((!proved).then_some(alarm));
        Box::pin(async move { vec![check] })
    }
}

async fn cookie_of(tab: &crate::chromium::Tab<'_>) -> String {
    let cookies = tab.call("Network.getCookies", json!({})).await;
    let one = &cookies["cookies"][0];
    format!("{}={}", one["name"].as_str().expect("a name"), one["value"].as_str().expect("a value"))
}

#[tokio::test(flavor = "multi_thread")]
async fn home_says_what_is_the_matter_and_where_to_mend_it() {
    let app = business().await;
    let session = app.claimed().await;
    *app.node.channels.lock().expect("no panic") = vec![usable_channel(10_000, 0)];
    app.op.parts.watchman.look().await.expect("it looks");
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    tab.open(&format!("{}/", app.origin)).await;
    tab.picture("home-alarms-1440-light").await;
    assert!(tab.text("#balances-title").await.contains("opens a channel"));
    assert!(
        tab.value("document.querySelectorAll('.alarms li').length").await.as_u64().expect("a number") >= 1
    );
    // What a part says of itself may repeat what a peer or a server said.
    let foreign = Alarm::new("odd", Severity::Critical, CANARY, CANARY).about(CANARY);
    // An id is cut short, and there in full for who asks; sums stand in groups.
    let id = "ab".repeat(32);
    let text = format!("A transaction of ours waits ({id}: away); 1234567 sat.");
    let long = Alarm::new("transactions_unsent", Severity::Warning, text, "Wait for 20000 sat.");
    let found = Findings { standing: vec![foreign, long], notices: Vec::new(), watched: 0 };
    app.ledger.note_alarms(found).await.expect("noted");
    tab.open(&format!("{}/", app.origin)).await;
    assert!(tab.text(".alarms").await.contains("<script>alert(1)"));
    assert_eq!(tab.value("document.querySelectorAll('img[src=x],script:not([nonce])').length").await, 0);
    let told = tab.text(".alarms").await;
    assert!(
        told.contains("(abababab…ababab: away); 1,234,567 sat.") && told.contains("20,000 sat"),
        "{told}"
    );
    assert!(!told.contains(&id), "{told}");
    tab.click(".alarms .ids summary").await;
    assert!(tab.text(".alarms").await.contains(&id));
    tab.looks(360, 740, "light").await;
    tab.picture("home-alarms-360-light").await;
    super::fits(&tab, "alarms with ids", 360).await;
    assert_eq!(tab.value(super::LEGIBLE).await, json!([]));
    tab.looks(1440, 900, "light").await;
    let wide = tab.value("document.querySelector('time').textContent.includes('UTC')").await;
    assert_eq!(wide, json!(false), "the script makes times local");
    clean(&app, &tab);
}

/// What can wait stays on Home once all that is needed is done, and System says that it is left.
#[tokio::test]
async fn the_list_stays_while_a_step_that_can_wait_is_open() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    *app.node.channels.lock().expect("no panic") = vec![usable_channel(1_000_000, 0)];
    super::sell::sell(&app, include_str!("../../../templates/sample_service.toml")).await;
    super::sell(&app, 1, "history", tollhouse::types::Kind::Request, 1, 40, 1).await;
    let key = app.key(&[tollhouse::web::keys::Scope::Read]).await;
    let list = ok(app.read("/api/v1/checklist", &key).await).await;
    let left: Vec<_> =
        list["left"].as_array().expect("a list").iter().filter_map(|one| one.as_str()).collect();
    assert_eq!((&list["done"], left), (&json!(true), vec!["words"]), "{list}");
    let page = async |path: &str| {
        let answer = app.get(path).header("cookie", &session).send().await.expect("an answer");
        answer.text().await.expect("text")
    };
    let home = page("/").await;
    assert!(home.contains("id=\"steps\"") && home.contains("href=\"/start/seed\""), "{home}");
    assert!(home.contains("<a href=\"/services\">Something to sell</a>"), "a ticked step leads on: {home}");
    let system = page("/system").await;
    assert!(system.contains("Left to do: <a href=\"/start/seed\">the seed’s words on paper</a>"), "{system}");
    let hide = app.post("/start/hide").header("cookie", &session).form(&[("", ""); 0]).send().await;
    assert!(hide.expect("an answer").status().is_redirection());
    assert!(!page("/").await.contains("id=\"steps\""), "it was put away");
    assert!(page("/system").await.contains("Left to do:"), "and is left to do all the same");
}
