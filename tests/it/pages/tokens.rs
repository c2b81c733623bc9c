//! Tokens in the browser: one given, used, found, taken back and refused.

use serde_json::{Value, json};
use tollhouse::web::keys::Scope;

use super::sell::{fill, sell, upstream};
use super::{business, clean, logged_in, look_at, looked_at};
use crate::admin_app::{AdminApp, PASSWORD};
use crate::appliance::tollhouse;
use crate::chromium::{Chromium, Tab};

/// Markup where only a name belongs.
const LABEL: &str = "Ann\"><script>alert(1)</script><img src=x onerror=alert(2)>";

/// Takes the credential that the page shows.
async fn credential(tab: &Tab<'_>) -> String {
    tab.until("document.querySelector('#authorization')").await;
    tab.text("#authorization").await
}

async fn asks(app: &AdminApp, credential: &str) -> u16 {
    let request = app.client.get(format!("{}/v1/rates", app.gateway)).header("authorization", credential);
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_legible() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    look_at(&app, &session, &[("tokens-empty", "/tokens")]).await;
    let app = business().await;
    sell(&app, include_str!("../../../templates/sample_service.toml")).await;
    let session = app.claimed().await;
    let pages = [
        ("tokens", "/tokens?state=live"),
        ("tokens-none", "/tokens?search=zzz"),
        ("token-grant", "/tokens/grant"),
        ("tokens-doubtful", "/tokens/doubtful"),
    ];
    look_at(&app, &session, &pages).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_given_used_found_taken_back_and_refused() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let upstream = upstream().await;
    sell(&app, &format!("[[service]]\nname = \"first\"\npath = \"/first\"\nupstream = \"{upstream}\"\nprice = \"5 sat\"\n\n[[service]]\nname = \"rates\"\npath = \"/v1/rates\"\nupstream = \"{upstream}\"\nprice = \"5 sat\"\n"))
        .await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;

    tab.open(&format!("{}/tokens", app.origin)).await;
    tab.click("a[href='/tokens/grant']").await;
    tab.until("document.querySelector('#label')").await;
    fill(&tab, "label", LABEL).await;
    fill(&tab, "budget", "twenty").await;
    tab.click("form.form button[type=submit]").await;
    tab.until("document.querySelector('.refusal')?.textContent.includes('Budget')").await;
    assert_eq!(tab.value("document.querySelector('#label').value").await, LABEL);
    assert_eq!(
        tab.value("document.querySelector('[aria-invalid]').id").await,
        "budget",
        "the field is marked"
    );
    let why = tab.text("#budget_wrong").await;
    assert!(why.contains("not an amount of money") && !why.contains("free"), "{why}");
    looked_at(&app.origin, &tab, "token-wrong").await;
    fill(&tab, "budget", "20 sat").await;
    tab.value("document.querySelector('select[name=service]').value = 'rates'").await;
    tab.click("form.form button[type=submit]").await;
    tab.until("document.querySelector('h1')?.textContent.startsWith('Give “Ann')").await;
    looked_at(&app.origin, &tab, "token-question").await;
    tab.click("button[type=submit].button").await;
    let given = credential(&tab).await;
    let line = tab.text("main").await;
    assert!(line.contains("/v1/rates'"), "it asks the service that it is for: {line}");
    looked_at(&app.origin, &tab, "token-given").await;

    // It is used, and the pages know; a search finds it by its label and by its hash.
    assert_eq!([asks(&app, &given).await, asks(&app, &given).await], [200, 200]);
    tab.open(&format!("{}/tokens", app.origin)).await;
    fill(&tab, "search", "ann").await;
    tab.click("form.search button").await;
    tab.until("location.search.includes('ann')").await;
    let line = tab.text(".cards tbody").await;
    assert!(line.contains("10 sat") && line.contains("Live") && !line.contains("–"), "{line}");
    looked_at(&app.origin, &tab, "tokens-found").await;
    tab.click(".cards tbody a").await;
    tab.until("location.pathname.startsWith('/payments/')").await;
    let hash = tab.value("location.pathname.split('/')[2]").await;
    let hash = hash.as_str().expect("a hash").to_owned();
    let found = app.get(&format!("/tokens?search={hash}")).header("cookie", &session).send().await;
    assert_eq!(found.expect("an answer").headers()["location"], format!("/payments/{hash}"));
    let part = app.get(&format!("/tokens?search={}", &hash[..8])).header("cookie", &session).send().await;
    assert!(part.expect("an answer").text().await.expect("a page").contains(&hash));

    // Taken back behind a question, which wants the password when it was not said of late.
    app.clock.advance(std::time::Duration::from_secs(600));
    tab.click("button[formaction$='/revoke'], form[action$='/revoke'] button").await;
    tab.until("document.querySelector('h1')?.textContent === 'Revoke this token?'").await;
    let asked = tab.text("main").await;
    assert!(asked.contains("10 sat, is gone") && asked.contains("nothing is owed for it"), "{asked}");
    looked_at(&app.origin, &tab, "token-revoke").await;
    assert_eq!(asks(&app, &given).await, 200, "asking is not doing");
    fill(&tab, "password", PASSWORD).await;
    tab.click("button[type=submit].button").await;
    tab.until("document.querySelector('.said')").await;
    looked_at(&app.origin, &tab, "token-revoked").await;
    assert_ne!(asks(&app, &given).await, 200);
    clean(&app, &tab);
    let audit = app.ledger.audit().await.expect("it reads");
    assert!(audit.ok, "{audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_answer_gives_one_token() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    sell(&app, "[[service]]\nname = \"rates\"\nupstream = \"http://127.0.0.1:1\"\nprice = \"5 sat\"\n").await;
    let form = [("label", "Bo"), ("service", "rates"), ("budget", "5 sat"), ("key", "one")];
    let give = async || {
        let asked = app.post("/tokens/grant").header("cookie", &session).form(&form);
        asked.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!([give().await, give().await], [201, 409]);
    let tokens = app.read("/api/v1/tokens", &app.key(&[Scope::Read]).await).await;
    let tokens: Value = tokens.json().await.expect("JSON");
    assert_eq!(tokens["tokens"].as_array().map(Vec::len), Some(1));
    assert_eq!(tokens["tokens"][0]["label"], json!("Bo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_token_owes_nothing_and_its_page_says_when_it_was_revoked() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let upstream = upstream().await;
    sell(&app, &format!("[[service]]\nname = \"rates\"\npath = \"/v1/rates\"\nupstream = \"{upstream}\"\nprice = \"5 sat\"\n"))
        .await;
    let key = app.key(&[Scope::Admin]).await;
    let page = async |path: &str| {
        let page = app.get(path).header("cookie", &session).send().await.expect("an answer");
        page.text().await.expect("a page")
    };
    assert!(page("/tokens").await.contains("Nothing is owed to buyers"), "and no sentence about 0 sat");
    for (per, left) in [
        (Value::Null, "Nothing is left of it."),
        (json!("day"), "Its budget is used up for now, and is not filled up again."),
    ] {
        let give = json!({ "service": "rates", "budget": "5 sat", "per": per, "label": "Di" });
        let given: Value = app.change("/api/v1/tokens/grant", &key, give).await.json().await.expect("JSON");
        let word = |name: &str| given[name].as_str().expect("text").to_owned();
        let here = format!("/payments/{}", word("payment_hash"));
        assert_eq!(asks(&app, &word("authorization")).await, 200);
        app.ledger.barrier().await;
        let posts = async |fields: &[(String, String)]| {
            let form = app.post(&format!("{here}/revoke")).header("cookie", &session).form(fields);
            form.send().await.expect("an answer")
        };
        let asked = posts(&[]).await.text().await.expect("a page");
        assert!(asked.contains(left) && asked.contains("nothing is owed for it"), "{asked}");
        assert!(!asked.contains("0 sat"), "{asked}");
        assert_eq!(posts(&super::sell_saved::hidden(&asked)).await.status().as_u16(), 303);
        let told = page(&here).await;
        for said in [
            "<dt>State</dt><dd>Revoked</dd>",
            "<dt>Revoked on</dt><dd><time",
            "<dt>Valid from</dt><dd><time",
            "<dt>Was to be valid until</dt><dd><time",
        ] {
            assert!(told.contains(said), "{said}: {told}");
        }
        assert_eq!(
            told.contains("<dt>Budget</dt><dd>5 sat in each 1 day</dd>"),
            per == json!("day"),
            "{told}"
        );
        assert!(!told.contains("/revoke\""), "it was: {told}");
    }
}

/// A ledger that was brought back from a copy, and two tokens that came since.
fn restored(app: &AdminApp) {
    let file = rusqlite::Connection::open(app.dir.path().join("ledger.db")).expect("the file");
    file.busy_timeout(std::time::Duration::from_secs(10)).expect("set");
    file.execute("INSERT INTO generations VALUES (2, 1, 1760000000000, 'restored', 9, 1, NULL)", [])
        .expect("begun");
    for n in [1u8, 2] {
        let came = "INSERT INTO doubts (payment_hash, kind, units, price_msat, presented_at) VALUES (?1, 'pack', 100, 400000, 1760000001000)";
        file.execute(came, [vec![n; 32]]).expect("it came");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_in_doubt_are_honoured_one_by_one_or_all() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    restored(&app);
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    tab.open(&format!("{}/tokens", app.origin)).await;
    tab.click(".refusal a").await;
    tab.until("document.querySelectorAll('tbody form').length === 2").await;
    looked_at(&app.origin, &tab, "tokens-in-doubt").await;
    tab.click("tbody form button").await;
    tab.until("document.querySelector('h1')?.textContent === 'Honour this token?'").await;
    tab.click("button[type=submit].button").await;
    tab.until("document.querySelector('.said') && document.querySelectorAll('tbody form').length === 1")
        .await;
    tab.click(".form button").await;
    tab.until("document.querySelector('h1')?.textContent.startsWith('Honour all')").await;
    looked_at(&app.origin, &tab, "tokens-honour").await;
    tab.click("button[type=submit].button").await;
    tab.until("document.querySelector('.said')?.textContent.startsWith('All of them')").await;
    let life = app.ledger.generation().await.expect("a life");
    assert_eq!(life.doubtful_below_epoch, 0);
    clean(&app, &tab);
}

/// What `tollhouse tokens list` prints, with `args`.
async fn listed(app: &AdminApp, key: &str, args: &[&str]) -> String {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = tollhouse(home.path(), &[&["tokens", "list"], args].concat());
    command.env("TOLLHOUSE_ADMIN_URL", &app.origin).env("TOLLHOUSE_ADMIN_KEY", key);
    let done = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let done = done.expect("the program runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_too_little_left_is_live_in_every_list_and_says_so_until_it_buys_again() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let upstream = upstream().await;
    sell(&app, &format!("[[service]]\nname = \"rates\"\npath = \"/v1\"\nupstream = \"{upstream}\"\nprice = \"5 sat\"\nroute = [{{ path = \"/v1/cheap\", price = \"2 sat\" }}]\n"))
        .await;
    let key = app.key(&[Scope::Admin]).await;
    let give = json!({ "service": "rates", "budget": "8 sat", "label": "Cy" });
    let given: Value = app.change("/api/v1/tokens/grant", &key, give).await.json().await.expect("JSON");
    let credential = given["authorization"].as_str().expect("a credential");
    let asks = async |path: &str| {
        let request = app.client.get(format!("{}{path}", app.gateway)).header("authorization", credential);
        request.send().await.expect("an answer").status().as_u16()
    };
    // It is among the live ones, wherever it is listed; whether what is left is said to be too little, and how much it is.
    let stands = async || {
        app.ledger.barrier().await;
        let page = async |state: &str| {
            let path = format!("/tokens?state={state}");
            let page = app.get(&path).header("cookie", &session).send().await.expect("an answer");
            page.text().await.expect("a page")
        };
        let (live, over) = (page("live").await, page("over").await);
        assert!(live.contains(">Cy<") && live.contains(">Live</span>") && !over.contains(">Cy<"), "{live}");
        let told: Value = app.read("/api/v1/tokens?state=live", &key).await.json().await.expect("JSON");
        let token = &told["tokens"][0];
        assert_eq!(token["state"], "left");
        assert_eq!(listed(&app, &key, &["--state", "live"]).await.matches("Cy").count(), 1);
        let all = listed(&app, &key, &[]).await;
        let line = all.lines().find(|line| line.contains("Cy")).expect("it is listed").to_owned();
        assert!(line.contains(" live "), "in the page's word: {line}");
        let said =
            [live.contains("sat, too little for a request"), line.contains("sat, too little for a request")];
        let little = token["too_little"].as_bool().expect("it says so");
        assert_eq!(said, [little; 2], "{line}");
        (little, token["units"]["left"].as_u64().expect("units"))
    };
    assert_eq!(asks("/v1/rates").await, 200);
    assert_eq!(stands().await, (false, 3_000));
    assert_ne!(asks("/v1/rates").await, 200);
    assert_eq!(stands().await, (true, 3_000));
    // It was enough for something else.
    assert_eq!(asks("/v1/cheap").await, 200);
    assert_eq!(stands().await, (false, 1_000));
    assert_ne!(asks("/v1/cheap").await, 200);
    assert_eq!(stands().await, (true, 1_000));
    assert!(app.ledger.audit().await.expect("it reads").ok);
}
