//! What customers and the APIs behind the gateway write where they can: a user agent, a path, an answer, an address. On
//! no page does it become markup, and what says who a customer is goes into no log.

use axum::Router;
use axum::routing::any;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tollhouse::web::keys::Scope;
use tracing::Level;
use tracing_subscriber::EnvFilter;

use super::sell::{fill, sell};
use super::{clean, is_text, logged_in};
use crate::admin_app::AdminApp;
use crate::chromium::Chromium;

/// Markup where only text belongs.
const MARKUP: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)>";
/// What a customer's program calls itself.
const AGENT: &str = "Mozilla/5.0 \"><script>alert(1)</script><img src=x onerror=alert(2)>";
/// The markup in an address.
const TYPED: &str = "%22%3E%3Cimg%20src=x%20onerror=alert(2)%3E";

/// An API whose every answer would like to be a page.
async fn api(tasks: &TaskTracker) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let answer = async || ([("x-note", MARKUP), ("content-type", "text/html")], MARKUP);
    tasks.spawn(async move { axum::serve(listener, Router::new().fallback(any(answer))).await });
    format!("http://{address}")
}

/// One thread runs everything here, so that what it is told to log by is what everything is logged by.
#[tokio::test]
async fn what_customers_and_upstreams_write_is_text_on_every_page() {
    let app = AdminApp::start().await;
    let log = tracing_subscriber::fmt().with_ansi(false).with_env_filter(EnvFilter::new("tollhouse=trace"));
    let _logged = tracing::subscriber::set_default(log.with_writer(app.op.parts.log.clone()).finish());
    let session = app.claimed().await;
    let there = api(&TaskTracker::new()).await;
    let odd = format!("http://127.0.0.1:1/{MARKUP}");
    for (name, upstream) in [("there", &there), ("odd", &odd)] {
        sell(&app, &format!("[[service]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = '{upstream}'\nprice = \"5 sat\"\n"))
            .await;
    }

    // A customer asks, without a token and with one; the second API cannot be reached.
    let key = app.key(&[Scope::Admin]).await;
    let mut hashes = Vec::new();
    for (name, paid) in [("there", 200), ("odd", 502)] {
        let ask = json!({ "service": name, "budget": "50 sat", "label": MARKUP });
        let given: Value = app.change("/api/v1/tokens/grant", &key, ask).await.json().await.expect("JSON");
        let url = format!("{}/{name}/{TYPED}?q={TYPED}", app.gateway);
        let customer = || app.client.get(&url).header("user-agent", AGENT).header("referer", AGENT);
        assert_eq!(customer().send().await.expect("an answer").status(), 402);
        let credential = given["authorization"].as_str().expect("a credential");
        let answer = customer().header("authorization", credential).send().await.expect("an answer");
        assert_eq!(answer.status(), paid, "{name}");
        hashes.push(given["payment_hash"].as_str().expect("a hash").to_owned());
    }
    app.ledger.barrier().await;

    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    let own = [
        "/",
        "/revenue",
        "/services",
        "/services?silent=odd",
        "/services/there",
        "/services/odd",
        "/services/odd/edit",
        "/services/odd/text",
        "/tokens",
        &format!("/tokens?search={TYPED}"),
        &format!("/payments/{}", hashes[0]),
        &format!("/payments/{}", hashes[1]),
        "/activity",
        "/system",
        "/system?level=warn",
    ];
    // Links that somebody might send.
    let sent = [
        format!("/{TYPED}"),
        format!("/services/{TYPED}"),
        format!("/payments/{TYPED}"),
        format!("/operations/{TYPED}"),
        format!("/lightning/channels/{TYPED}"),
        format!("/claim?token={TYPED}"),
        format!("/lightning/open?to={TYPED}"),
        format!("/start/payment?service={TYPED}&said={TYPED}&silent={TYPED}"),
        format!("/services?said={TYPED}&silent={TYPED}"),
        format!("/revenue?range={TYPED}&service={TYPED}&route={TYPED}"),
        format!("/system?level={TYPED}&said={TYPED}"),
    ];
    for path in own.into_iter().chain(sent.iter().map(String::as_str)) {
        tab.open(&format!("{}{path}", app.origin)).await;
        is_text(&tab, path).await;
    }
    tab.open(&format!("{}/payments/{}", app.origin, hashes[0])).await;
    let requests = tab.text("section[aria-labelledby=spends]").await;
    assert!(requests.contains("delivered") && !requests.contains("onerror"), "{requests}");
    tab.open(&format!("{}/services/odd", app.origin)).await;
    let page = tab.text("main").await;
    assert!(page.contains("Could not be reached") && page.contains("127.0.0.1:1"), "{page}");

    // The operator as a customer sees what the API answered, as text.
    tab.open(&format!("{}/services/there/try", app.origin)).await;
    fill(&tab, "target", &format!("/there/{TYPED}")).await;
    tab.click("button[value=ask]").await;
    tab.until("document.querySelector('#status')?.textContent.startsWith('402')").await;
    is_text(&tab, "the 402").await;
    tab.click("button[value=pay]").await;
    tab.until("document.querySelector('#status')?.textContent.startsWith('200')").await;
    is_text(&tab, "the answer").await;
    let answer = tab.value("document.querySelector('#answer').textContent").await;
    let told = answer.as_str().expect("text").matches(MARKUP).count();
    assert!(told >= 2, "its body and its header: {answer}");
    clean(&app, &tab);

    // The log tells of what failed, and of nobody who asked.
    let lines = app.op.parts.log.lines(Level::TRACE, 0, 2_000);
    assert!(lines.iter().any(|line| line.text.contains("could not be forwarded")), "{lines:?}");
    for line in lines {
        assert!(!line.text.contains("q=%22") && !line.text.contains("Mozilla"), "{line:?}");
    }
}
