//! A newcomer's whole way in a browser, on a real regtest world: the claim link, a service, its 402, its payment.
//! And what a stranger's page can do meanwhile: nothing.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tollhouse::sandbox::world::{World, WorldAsk};

use crate::admin_app::PASSWORD;
use crate::appliance::TURN;
use crate::chromium::{Chromium, LEGIBLE, Tab};

/// What the API answers whom was paid for; a browser must show it as text.
const FORECAST: &str = "{\"weather\":\"\\\"><img src=x onerror=alert(1)><script>alert(1)</script>\"}";

async fn any() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// An API, and on another path a page that tries to have the operator's browser do something.
async fn elsewhere(admin: String, tasks: &TaskTracker) -> String {
    let listener = any().await;
    let port = listener.local_addr().expect("bound").port();
    let lure = format!(
        "<form method=post action='{admin}/start/hide'></form><form id=out method=post action='{admin}/logout'></form>
         <script>document.forms[0].submit()</script>"
    );
    let router =
        Router::new().route("/", get(async || FORECAST)).route("/lure", get(async move || Html(lure)));
    tasks.spawn(async move { axum::serve(listener, router).await });
    format!("http://127.0.0.1:{port}")
}

/// Claims with the link, and stands on the first steps.
async fn claim(tab: &Tab<'_>, link: &str) {
    tab.open(link).await;
    tab.types(PASSWORD).await;
    tab.press("Tab").await;
    tab.types(PASSWORD).await;
    tab.press("Enter").await;
    tab.until("location.pathname === '/start' && document.readyState === 'complete'").await;
}

async fn fill(tab: &Tab<'_>, field: &str, text: &str) {
    tab.value(&format!("document.querySelector('#{field}').select()")).await;
    tab.types(text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_claim_link_to_the_first_paid_request() {
    let _turn = TURN.lock().await;
    let dir = tempfile::tempdir().expect("a folder");
    let ask = WorldAsk { dir: dir.path(), gateway: any().await, admin: any().await, progress: &|_| {} };
    let world = World::start(ask).await.expect("a world");
    let admin = world.shop.admin_url();
    let tasks = TaskTracker::new();
    let api = elsewhere(admin.clone(), &tasks).await;
    let browser = Chromium::start();
    let tab = browser.tab().await;
    tab.looks(1440, 900, "light").await;
    claim(&tab, world.shop.claim_link().expect("nobody claimed it")).await;
    let steps = tab.text(".steps").await;
    assert!(steps.contains("A first payment") && steps.contains("The seed’s words"), "{steps}");

    // The chain source of the world is a real one, and answers.
    tab.open(&format!("{admin}/start/chain")).await;
    tab.click("form[action='/start/chain'] button").await;
    tab.until("document.querySelector('.cards .dot.good')?.textContent.includes('It answers')").await;

    // A service: mistakes are named and what was typed stays.
    tab.open(&format!("{admin}/start/service")).await;
    fill(&tab, "name", "weather").await;
    fill(&tab, "upstream", &api).await;
    fill(&tab, "price", "five").await;
    tab.press("Enter").await;
    tab.until("document.querySelector('.refusal')").await;
    assert!(tab.text(".refusal").await.starts_with("Price: "), "{}", tab.text(".refusal").await);
    assert_eq!(tab.value("document.querySelector('#upstream').value").await, json!(api));
    assert_eq!(tab.value("document.querySelector('[aria-invalid]').id").await, "price");
    fill(&tab, "price", "7 sat").await;
    tab.press("Enter").await;
    tab.until("location.pathname === '/start/payment' && document.readyState === 'complete'").await;
    assert!(tab.text(".said").await.contains("It is on sale"));
    let curl = tab.text(".copyable.first code").await;
    assert_eq!(curl, format!("curl -i '{}/weather'", world.shop.gateway_url()));

    // The 402, its payment, the answer; and the payment arrives on the page.
    tab.click("form[action='/start/payment'] button").await;
    tab.until("document.querySelector('h1')?.textContent === 'The first payment is made'").await;
    let told = tab.text(".timeline").await;
    assert!(told.contains("402 Payment Required") && told.contains("wants 7 sat"), "{told}");
    assert!(told.contains("Paid 7 sat") && told.contains("200 OK") && told.contains("weather"), "{told}");
    assert!(told.contains("<img src=x"), "what an API answers is shown as text: {told}");
    assert_eq!(tab.value("document.querySelectorAll('img[src=x],script:not([nonce])').length").await, 0);
    tab.until("document.querySelector('.payments tbody .amount')?.textContent.includes('7 sat')").await;
    tab.until("document.querySelector('.payments .what')?.textContent.includes('weather')").await;
    for (width, height) in [(360, 740), (768, 1024), (1440, 900)] {
        for scheme in ["light", "dark"] {
            tab.looks(width, height, scheme).await;
            tab.picture(&format!("start-payment-{width}-{scheme}")).await;
            assert_eq!(tab.value(LEGIBLE).await, json!([]), "{width} {scheme}");
        }
    }
    assert_eq!(tab.accessible().await, json!([]));
    tab.looks(1440, 900, "light").await;
    tab.click(".timeline a").await;
    tab.until("location.pathname.startsWith('/payments/')").await;
    assert!(tab.text("main").await.contains("weather"));

    // Home is through with the list, and shows what was earned.
    tab.open(&format!("{admin}/")).await;
    assert_eq!(
        tab.value("document.querySelector('#steps')").await,
        json!(null),
        "{}",
        tab.text("main").await
    );
    assert!(tab.text(".figure").await.starts_with('7'));

    // A second service of that name would change the first one: it is refused.
    tab.open(&format!("{admin}/start/service")).await;
    fill(&tab, "name", "weather").await;
    fill(&tab, "upstream", &api).await;
    fill(&tab, "price", "9 sat").await;
    tab.press("Enter").await;
    tab.until("document.querySelector('.refusal')?.textContent.includes('already')").await;
    assert_eq!(tab.complaints(), Vec::<String>::new());

    super::lightning_demo::a_payout_to_the_payer(&tab, &admin).await;
    super::lightning_demo::a_channel_to_the_payer(&world, &tab, &admin).await;
    strangers(&browser, &tab, &admin, &api).await;

    tab.open(&format!("{admin}/")).await;
    tab.click(".leave button").await;
    tab.until("location.pathname === '/login'").await;
    tab.open(&format!("{admin}/start")).await;
    assert_eq!(tab.value("location.pathname").await, "/login");
    world.stop().await;
}

/// A foreign page's form, and a name that suddenly points here, reach nothing.
async fn strangers(browser: &Chromium, tab: &Tab<'_>, admin: &str, api: &str) {
    let foreign = api.replace("127.0.0.1", "evil.test");
    tab.open(&format!("{foreign}/lure")).await;
    tab.until("document.body.innerText.includes('cross_site')").await;
    assert_eq!(
        tab.value("location.pathname").await,
        "/start/hide",
        "the form came here, with the browser's word"
    );
    tab.open(&format!("{admin}/")).await;
    assert_eq!(tab.value("location.pathname").await, "/", "still logged in");

    let rebound = browser.tab().await;
    rebound.open(&admin.replace("127.0.0.1", "evil.test")).await;
    rebound.until("document.body.innerText.includes('unknown_host')").await;
}
