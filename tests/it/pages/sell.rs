//! What is sold, in the browser: a service made, seen in a real 402, changed, seen changed; tried out and paid.

use axum::Router;
use axum::routing::any;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tollhouse::catalog::spec::Spec;
use tollhouse::storefront::Run;

use super::{clean, logged_in, look_at, looked_at};
use crate::admin_app::AdminApp;
use crate::chromium::{Chromium, Tab};

/// Markup where only text belongs.
const MARKUP: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)>";

/// An API that answers everything.
pub(super) async fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let answer = async |body: String| format!("{{\"rate\": \"1.07\", \"asked\": {}}}", body.len());
    TaskTracker::new().spawn(async move { axum::serve(listener, Router::new().fallback(any(answer))).await });
    format!("http://{address}")
}

/// Puts services on sale, as a file has them.
pub(super) async fn sell(app: &AdminApp, text: &str) {
    let file: Value = toml::from_str(text).expect("TOML");
    let given = file["service"].as_array().expect("a list").iter().map(Spec::read).collect();
    app.op.parts.storefront.put(given, Run::Real).await.expect("they can be sold");
}

/// Puts `text` in the place of what a field holds.
pub(super) async fn fill(tab: &Tab<'_>, id: &str, text: &str) {
    let field = format!("document.getElementById({})", json!(id));
    tab.value(&format!("{field}.closest('details') && ({field}.closest('details').open = true); {field}.focus(); {field}.select && {field}.select()")).await;
    if text.is_empty() {
        tab.value(&format!("{field}.value = ''")).await;
    } else {
        tab.types(text).await;
    }
}

async fn choose(tab: &Tab<'_>, id: &str, word: &str) {
    tab.value(&format!("document.getElementById({}).value = {}", json!(id), json!(word))).await;
}

const SHOP: &str = r#"
[[service]]
name = "weather"
title = "Weather"
description = "Forecasts for every place, an hour at a time."
host = "weather.example.com"
upstream = "http://127.0.0.1:9000"
upstream_headers = { Authorization = { env = "UPSTREAM_KEY", prefix = "Bearer " }, X-Plan = "gold-plan-key" }
price = "0.002 USD"
fallback = "5 sat"
offers = ["request", { pack = 1000, price = "4000 sat" }, { pass = "1 day", price = "0.50 USD" }, { balance = "10000 sat", price = "9000 sat" }]
free = { requests = 20, per = "day" }
mode = "shadow"

[[service]]
name = "downloads"
path = "/files"
upstream = "http://127.0.0.1:9001"
tiers = [{ up_to = "10 MB", price = "2 sat" }, { price = "1 sat" }]
per = "1 MB"
ceiling = "500 sat"
offers = [{ balance = "1000 sat" }]
mode = "off"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn prices_are_legible() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let empty = [("services-empty", "/services"), ("service-new", "/services/new")];
    look_at(&app, &session, &empty).await;
    sell(&app, include_str!("../../../templates/sample_service.toml")).await;
    sell(&app, SHOP).await;
    let pages = [
        ("services", "/services"),
        ("service", "/services/sample"),
        ("service-silent", "/services/sample?said=saved&silent=sample"),
        ("service-edit", "/services/weather/edit"),
        ("service-route", "/services/sample/routes/2"),
        ("service-text", "/services/weather/text"),
        ("service-try", "/services/sample/try"),
    ];
    look_at(&app, &session, &pages).await;
    for path in ["/services/weather/edit", "/services/weather/text"] {
        let page = app.get(path).header("cookie", &session).send().await.expect("an answer");
        assert!(
            !page.text().await.expect("a page").contains("gold-plan-key"),
            "{path} shows what may be a key"
        );
    }
}

/// The 402's price in millisatoshi for a request at the gateway, as a stranger gets it.
async fn asked_for(app: &AdminApp, path: &str) -> u64 {
    let answer = app.client.get(format!("{}{path}", app.gateway)).send().await.expect("an answer");
    assert_eq!(answer.status(), 402, "{path}");
    let body: Value = answer.json().await.expect("JSON");
    body["amountMsat"].as_u64().expect("a price")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_made_changed_tried_and_taken_away() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    let origin = &app.origin;

    // What is wrong is said at its field, and what was typed stays.
    tab.open(&format!("{origin}/services")).await;
    tab.click("a[href='/services/new']").await;
    tab.until("document.querySelector('#upstream')").await;
    fill(&tab, "name", "rates").await;
    fill(&tab, "upstream", &upstream().await).await;
    fill(&tab, "path", "/v1").await;
    fill(&tab, "amount", "7").await;
    tab.click("form.form button[type=submit]").await;
    tab.until("document.querySelector('.refusal a[href=\"#amount\"]')").await;
    assert!(tab.text("#amount_wrong").await.contains("Write \"7 sat\""));
    assert_eq!(tab.value("document.querySelectorAll('details[open]').length").await, 0, "no fault in them");
    let kept =
        tab.value("document.querySelector('#amount').value + document.querySelector('#path').value").await;
    assert_eq!(kept, "7/v1");
    assert_eq!(tab.value("document.querySelector('#amount').ariaInvalid").await, "true");
    looked_at(&app.origin, &tab, "service-wrong").await;
    assert!(app.op.parts.storefront.stock().is_empty());

    // Mended, it is on sale at once.
    fill(&tab, "amount", "7 sat").await;
    tab.click("form.form button[type=submit]").await;
    tab.until("document.querySelector('.said')?.textContent.includes('on sale')").await;
    assert_eq!(asked_for(&app, "/v1/rates").await, 7_000);

    // Changed, it is asked for at the new price, and only what was changed is another.
    let before = app.op.parts.storefront.stock()[0].spec.clone();
    tab.click("a[href$='/edit']").await;
    tab.until("document.querySelector('#amount')?.value === '7 sat'").await;
    fill(&tab, "amount", "9 sat").await;
    choose(&tab, "offer1_what", "pack").await;
    fill(&tab, "offer1_much", "100").await;
    fill(&tab, "offer1_price", "400 sat").await;
    tab.click("form.form button[type=submit]").await;
    tab.until("document.querySelector('.said')?.textContent.includes('Saved')").await;
    assert_eq!(asked_for(&app, "/v1/rates").await, 9_000);
    let mut after = app.op.parts.storefront.stock()[0].spec.clone();
    assert_eq!(serde_json::to_value(&after.terms.offers).expect("JSON")[1]["pack"], 100);
    after.terms = before.terms.clone();
    assert_eq!(after, before);

    // A route has a price of its own; one by a formula says where the formula is wrong.
    tab.click("a[href$='/routes/new']").await;
    tab.until("document.querySelector('#pricing, [name=pricing]')").await;
    fill(&tab, "path", "/v1/history/{day}").await;
    tab.click("[name=pricing][value=formula]").await;
    fill(&tab, "formula", "sat(2) + request.sise_bytes").await;
    tab.click("form.form button[type=submit]").await;
    tab.until("document.querySelector('.refusal a[href=\"#formula\"]')").await;
    looked_at(&app.origin, &tab, "service-route-wrong").await;
    fill(&tab, "formula", "sat(2) + request.size_bytes * 10").await;
    fill(&tab, "description", MARKUP).await;
    tab.click("form.form button[type=submit]").await;
    tab.until("document.querySelector('.said')").await;
    assert_eq!(asked_for(&app, "/v1/history/monday").await, 2_000);
    assert_eq!(asked_for(&app, "/v1/rates").await, 9_000);

    // As a customer: what it would cost and why, the 402, its payment, the answer.
    tab.click("a[href$='/try']").await;
    tab.until("document.querySelector('#target')").await;
    fill(&tab, "target", MARKUP).await;
    tab.click("button[value=price]").await;
    tab.until("document.querySelector('.refusal')").await;
    assert_eq!(tab.value("document.querySelector('#target').value").await, MARKUP);
    looked_at(&app.origin, &tab, "service-try-wrong").await;
    fill(&tab, "target", "/v1/history/monday?note=%3Cscript%3E").await;
    tab.click("button[value=price]").await;
    tab.until("document.querySelector('#cost')").await;
    assert_eq!(tab.text("#cost").await, "It costs 2 sat");
    assert_eq!(tab.value("location.hash").await, "#cost", "the answer is in sight, below a long form");
    looked_at(&app.origin, &tab, "service-price").await;
    tab.click("button[value=ask]").await;
    tab.until("document.querySelector('#status')?.textContent.startsWith('402')").await;
    looked_at(&app.origin, &tab, "service-402").await;
    tab.click("button[value=pay]").await;
    tab.until("document.querySelector('#status')?.textContent.startsWith('200')").await;
    assert!(tab.text("#answer pre").await.contains("1.07"));
    looked_at(&app.origin, &tab, "service-paid").await;
    let sums = app.ledger.revenue(app.op.parts.clock.now()).await.expect("sums");
    assert_eq!(sums.total.msat(), 2_000);

    // Another page's change is not undone by a form that was opened before it.
    tab.open(&format!("{origin}/services/rates/edit")).await;
    let mut spec = app.op.parts.storefront.stock()[0].spec.clone();
    spec.title = Some(MARKUP.to_owned());
    app.clock.advance(std::time::Duration::from_secs(5));
    app.op.parts.storefront.put(vec![(spec, Vec::new())], Run::Real).await.expect("changed");
    tab.click("form.form button[type=submit]").await;
    tab.until("document.querySelector('.refusal')?.textContent.includes('changed meanwhile')").await;
    tab.open(&format!("{origin}/services/rates")).await;
    looked_at(&app.origin, &tab, "service-canary").await;
    tab.open(&format!("{origin}/services")).await;
    looked_at(&app.origin, &tab, "services-canary").await;

    // Off, in its form: asked about with all that was typed.
    tab.open(&format!("{origin}/services/rates/edit")).await;
    tab.click("[name=mode][value=off]").await;
    fill(&tab, "description", MARKUP).await;
    tab.click("form.form button[type=submit]").await;
    tab.until("document.querySelector('h1')?.textContent.startsWith('Turn “rates” off')").await;
    looked_at(&app.origin, &tab, "service-off").await;
    assert_eq!(asked_for(&app, "/v1/rates").await, 9_000, "asking is not doing");
    tab.click("button[type=submit].button").await;
    tab.until("document.querySelector('.said')?.textContent.includes('It is off')").await;
    assert_eq!(app.op.parts.storefront.stock()[0].spec.description.as_deref(), Some(MARKUP));
    tab.click("button[value=on]").await;
    tab.until("document.querySelector('.said')?.textContent.includes('on sale')").await;

    // Turned off, and taken away behind a question.
    tab.click("button[value=shadow]").await;
    tab.until("document.querySelector('h1')?.textContent.includes('for nothing?')").await;
    looked_at(&app.origin, &tab, "service-shadow").await;
    assert_eq!(asked_for(&app, "/v1/rates").await, 9_000, "asking is not doing");
    tab.click("button[type=submit].button").await;
    tab.until("document.querySelector('.said')?.textContent.includes('pay nothing')").await;
    let open = app.client.get(format!("{}/v1/rates", app.gateway)).send().await.expect("an answer");
    assert_eq!(open.status(), 200);
    tab.click("button[value=off]").await;
    tab.until("document.querySelector('h1')?.textContent.startsWith('Turn “rates” off')").await;
    tab.click("button[type=submit].button").await;
    tab.until("document.querySelector('.dot.bad') && document.querySelector('.said')").await;
    let closed = app.client.get(format!("{}/v1/rates", app.gateway)).send().await.expect("an answer");
    assert_eq!(closed.status(), 404);
    tab.click("button[formaction$='/delete']").await;
    tab.until("document.querySelector('h1')?.textContent.startsWith('Remove')").await;
    looked_at(&app.origin, &tab, "service-delete").await;
    tab.click("button[type=submit].button").await;
    tab.until("location.pathname === '/services' && document.querySelector('.said')").await;
    assert!(app.op.parts.storefront.stock().is_empty());
    clean(&app, &tab);
    assert!(app.ledger.audit().await.expect("it reads").ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_says_everything_and_a_files_service_is_left_to_its_file() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let post = async |path: &str, form: &[(&str, &str)]| {
        app.post(path).header("cookie", &session).form(form).send().await.expect("an answer")
    };
    let refused =
        post("/services/new/text", &[("toml", "[[service]]\nname = \"a\"\nprise = \"5 sat\"\n")]).await;
    assert_eq!(refused.status(), 422);
    let page = refused.text().await.expect("a page");
    assert!(page.contains("there is no such setting") && page.contains("prise = "), "{page}");
    let broken = post("/services/new/text", &[("toml", "[[service]]\nname = ")]).await;
    assert!(broken.text().await.expect("a page").contains("Line 2"));

    assert_eq!(post("/services/new/text", &[("toml", SHOP)]).await.status(), 303);
    let stock = app.op.parts.storefront.stock();
    let key = json!(stock[0].spec.upstream_headers["X-Plan"]);
    assert_eq!(key, "gold-plan-key");
    // The text that is shown goes back as it came: nothing changes, the key least of all.
    let shown = stock[0].spec.redacted().to_toml();
    let seen = stock[0].changed_at.millis().to_string();
    let same = post("/services/weather/text", &[("toml", &shown), ("seen", &seen)]).await;
    assert_eq!(same.headers()["location"], "/services/weather?said=same");
    let other = shown.replace("name = \"weather\"", "name = \"climate\"");
    assert_eq!(post("/services/weather/text", &[("toml", &other), ("seen", &seen)]).await.status(), 422);

    // A service of a file is shown, tried, and not changed.
    let file = tollhouse::storefront::OwnedServices {
        file: "/etc/tollhouse/services.toml".into(),
        specs: vec![stock[1].spec.clone()],
    };
    app.op.parts.storefront.own(vec![file]).await.expect("it is the file's");
    let page = app.get("/services/downloads").header("cookie", &session).send().await.expect("an answer");
    let page = page.text().await.expect("a page");
    assert!(page.contains("/etc/tollhouse/services.toml") && !page.contains("/services/downloads/edit"));
    for path in ["edit", "text", "mode", "delete", "routes/new"] {
        let refused = post(&format!("/services/downloads/{path}"), &[("mode", "on")]).await;
        assert_eq!(refused.status(), 409, "{path}");
    }
    assert_eq!(post("/services/none/edit", &[]).await.status(), 404);
}
