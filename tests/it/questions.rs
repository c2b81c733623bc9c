//! What a page asks before it acts: what was shown is what is done, and what comes to nothing can be sent again.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tollhouse::ports::FeeRate;
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, ok};

/// The answer to the form at `path`, and what it says.
async fn sent(app: &AdminApp, session: &str, path: &str, form: &str) -> (StatusCode, String) {
    let post = app.post(path).header("cookie", session).body(form.to_owned());
    let post = post.header("content-type", "application/x-www-form-urlencoded");
    let answer = post.send().await.expect("an answer");
    (answer.status(), answer.text().await.expect("text"))
}

#[tokio::test]
async fn coins_cost_the_fee_that_was_shown_and_no_page_takes_the_names_of_the_house() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let form = "to=bcrt1qaway&amount=50000&fee=fast";
    let (status, page) = sent(&app, &session, "/coins/send", form).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert!(page.contains("name=\"most_sat_per_kvb\" value=\"9000\""), "{page}");
    // As if the market had been at 4 sat/vB when it was shown.
    let agreed = format!("{form}&most_sat_per_kvb=4000");
    for key in ["inbound-order-7", "rule/empty", "payment-1"] {
        let (status, page) = sent(&app, &session, "/coins/send", &format!("{agreed}&key={key}")).await;
        assert!(status == StatusCode::OK && page.contains("Send 50,000 sat?"), "{status} {page}");
    }
    assert!(app.node.sent.lock().expect("not poisoned").is_empty(), "it was only asked");
    for _ in 0..2 {
        let (status, page) = sent(&app, &session, "/coins/send", &format!("{agreed}&key=00aa")).await;
        assert_eq!(status, StatusCode::SEE_OTHER, "{page}");
    }
    let rates: Vec<FeeRate> =
        app.node.sent.lock().expect("not poisoned").iter().map(|(_, _, rate)| *rate).collect();
    assert_eq!(rates, [FeeRate::of_sat_per_kvb(4_000).expect("allowed")], "once, at what was shown");
}

#[tokio::test]
async fn what_was_refused_is_not_called_made() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let form = "label=books&url=http://127.0.0.1:9&payment.received=on&key=00bb";
    for _ in 0..2 {
        let (status, page) = sent(&app, &session, "/integrations/webhooks", form).await;
        assert!(status.is_client_error() && !page.contains("Added already"), "{status} {page}");
    }
    let allowed = format!("{form}&allow_private=on");
    let (status, page) = sent(&app, &session, "/integrations/webhooks", &allowed).await;
    assert!(status == StatusCode::OK && page.contains("whsec_"), "{status} {page}");
    let (status, page) = sent(&app, &session, "/integrations/webhooks", &allowed).await;
    assert!(status == StatusCode::CONFLICT && page.contains("Added already"), "{status} {page}");
}

#[tokio::test]
async fn a_route_whose_requests_become_free_is_asked_about_as_that() {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Admin]).await;
    let route = json!([{ "path": "/api/one", "price": "2 sat" }]);
    let spec = json!({ "name": "api", "path": "/api", "price": "free", "upstream": "http://127.0.0.1:9", "route": route });
    let put = app.client.put(format!("{}/api/v1/services/api", app.origin)).bearer_auth(&key).json(&spec);
    ok(put.send().await.expect("an answer")).await;
    let session = app.claimed().await;
    app.clock.advance(Duration::from_secs(1));
    let stock = app.op.parts.storefront.stock();
    let own = stock.iter().find(|own| own.name.as_str() == "api").expect("it is sold");
    let seen = format!("seen={}", own.changed_at.millis());
    let (status, page) = sent(&app, &session, "/services/api/routes/0/delete", &seen).await;
    assert!(status == StatusCode::OK && page.contains("Remove the route /api/one?"), "{status} {page}");
    assert!(page.contains("nothing from then on"), "{page}");
}
