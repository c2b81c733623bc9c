//! The operator's pages in a real browser: what they say, how they look at every size, and that they ask
//! nobody else. Pictures go to `target/screens`.

use std::time::Duration;

use serde_json::json;
use tollhouse::ledger::{Draw, Ending, Sale};
use tollhouse::ports::ChannelView;
use tollhouse::pricing::Rate;
use tollhouse::store::{Arrival, SalesFilter, Step};
use tollhouse::types::{Kind, Msat, PaymentHash, TokenId};
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, START, ok};
use crate::chromium::{Chromium, LEGIBLE, Tab};

mod activity;
mod backups;
mod coins;
mod dearer;
mod doors;
mod first;
mod first_seed;
mod from_claim_to_payment;
pub(crate) mod hands;
mod house;
mod keyboard;
pub(crate) mod lightning;
mod lightning_demo;
mod lightning_scene;
mod lightning_splices;
mod lightning_world;
mod outsiders;
mod relay;
mod sell;
mod sell_saved;
mod states;
mod tokens;
mod words;

const HOUR: Duration = Duration::from_secs(3_600);

/// A first visit to any page, with its style, its typeface and its scripts, stays below this many bytes.
const LARGEST_PAGE: u64 = 90_000;
/// What a form is answered with comes after a first visit, and may have a 402 with its QR code in it.
const LARGEST_ANSWER: u64 = 105_000;

/// One sale: paid, and so many of its requests delivered.
async fn sell(app: &AdminApp, n: u8, route: &str, kind: Kind, units: u64, sat: u64, used: u64) {
    let hash = PaymentHash::from_bytes([n; 32]);
    let sold = Msat::from_sat(sat).expect("small");
    // Of some no rate was known.
    let rate = Rate::read("64000 USD", app.op.parts.clock.now()).filter(|_| !n.is_multiple_of(4));
    let arrival = Arrival { amount: sold, kept: Msat::ZERO, rate };
    app.ledger.receive_as(hash, arrival, None).await.expect("received");
    let service = if route == "chat" { "llm" } else { "rates" };
    for _ in 0..=n % 6 {
        app.ledger.demands().count(&service.parse().expect("a name"), &route.parse().expect("a name"));
    }
    let sale = Sale {
        payment_hash: hash,
        token_id: TokenId::from_bytes([n; 32]),
        service: service.parse().expect("a name"),
        route: route.parse().expect("a name"),
        kind,
        units,
        lasts: None,
        sold,
        covers: Msat::ZERO,
        quote: n.is_multiple_of(5).then(|| "0.32 USD@64000".to_owned()),
        valid_until: app.op.parts.clock.now().plus(HOUR * 48),
    };
    for _ in 0..used {
        let held = app.ledger.reserve(sale.clone(), Draw::one(sale.route.clone())).await.expect("held");
        held.end(Ending::Delivered);
    }
    app.ledger.barrier().await;
}

/// A shop with forty days of business and a channel.
async fn business() -> AdminApp {
    let app = AdminApp::start().await;
    app.node.channels.lock().expect("no panic").push(ChannelView {
        channel_id: "ab".repeat(32),
        peer: format!("02{}", "cd".repeat(32)),
        funding: Some(format!("{}:0", "ef".repeat(32))),
        capacity_sat: 1_953_345,
        spendable_msat: 612_345_000,
        receivable_msat: 1_301_000_000,
        largest_receivable_msat: 900_000_000,
        reserved_sat: 20_000,
        their_reserved_sat: 20_000,
        confirmations: Some(40),
        confirmations_required: Some(3),
        ready: true,
        usable: true,
        announced: false,
        outbound: false,
        ..ChannelView::default()
    });
    for n in 0..40u8 {
        let busy = u64::from(n % 7) + 1;
        sell(&app, n, "exchange-rates", Kind::Pack, busy * 10, busy * 150, busy * 3).await;
        sell(
            &app,
            n + 100,
            if n.is_multiple_of(3) { "chat" } else { "history" },
            Kind::Request,
            1,
            busy * 40,
            1,
        )
        .await;
        app.clock.advance(HOUR * 24);
    }
    sell(&app, 250, "exchange-rates", Kind::Request, 1, 15, 0).await;
    app
}

/// A person who is logged in, and to whom every page is a first visit.
async fn logged_in<'b>(app: &AdminApp, browser: &'b Chromium, session: &str) -> Tab<'b> {
    let tab = browser.tab().await;
    tab.keeps_nothing().await;
    let (name, value) = session.split_once('=').expect("a cookie");
    let set =
        json!({ "name": name, "value": value, "url": app.origin, "httpOnly": true, "sameSite": "Strict" });
    tab.call("Network.setCookie", set).await;
    tab
}

/// The page asked nobody but us, and broke none of its own rules.
fn clean(app: &AdminApp, tab: &Tab<'_>) {
    asked_only(&app.origin, tab);
}

fn asked_only(origin: &str, tab: &Tab<'_>) {
    for url in tab.asked() {
        assert!(url.starts_with(origin) || url.starts_with("about:"), "{url}");
    }
    assert_eq!(tab.complaints(), Vec::<String>::new());
}

/// Nothing that others wrote became a part of the page.
async fn is_text(tab: &Tab<'_>, name: &str) {
    let markup = "document.querySelectorAll('img[src=x],script:not([nonce])').length";
    assert_eq!(tab.value(markup).await, 0, "{name}: text became markup");
}

/// Nothing of the page is wider than its window. One that grows with what sticks out of it hides that it does.
async fn fits(tab: &Tab<'_>, name: &str, width: u32) {
    let window = tab.value("innerWidth").await;
    assert_eq!(window, width, "{name}: the window");
    let page = tab.value("document.documentElement.scrollWidth <= innerWidth").await;
    assert_eq!(page, true, "{name}: wider than a window of {width}");
}

/// Sums of five digits and more whose digits stand in no groups; what is typed or named is left out.
const UNGROUPED: &str = r"(() => {
    const page = document.querySelector('main')?.cloneNode(true);
    page?.querySelectorAll('code, pre, textarea, input, script, .code').forEach((it) => it.remove());
    return page?.textContent.match(/(?<![\w.,:])\d{5,}(\.\d+)?\s*sat\b/g) ?? [];
})()";

/// Looks at each page (its name and its address), as [`looked_at`].
async fn look_at(app: &AdminApp, session: &str, pages: &[(&str, &str)]) {
    let browser = Chromium::start();
    for (name, path) in pages {
        let tab = logged_in(app, &browser, session).await;
        tab.looks(1440, 900, "light").await;
        tab.open(&format!("{}{path}", app.origin)).await;
        let weight = tab.weight().await;
        assert!(weight < LARGEST_PAGE, "{name}: {weight} bytes");
        looked_at(&app.origin, &tab, name).await;
    }
}

/// Looks at the page of `origin` that stands there, in every size and light: it is no burden, nothing sticks out, everything can be read and pressed, axe-core has no serious finding, no text became markup,
/// nobody else is asked. Pictures are kept. A large light window is left.
async fn looked_at(origin: &str, tab: &Tab<'_>, name: &str) {
    let weight = tab.weight().await;
    assert!((2_000..LARGEST_ANSWER).contains(&weight), "{name}: {weight} bytes");
    for (width, height) in [(360, 740), (768, 1024), (1440, 900)] {
        for scheme in ["dark", "light"] {
            tab.looks(width, height, scheme).await;
            tab.value(
                "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(1))))",
            )
            .await;
            tab.picture(&format!("{name}-{width}-{scheme}")).await;
            fits(tab, name, width).await;
            assert_eq!(tab.value(LEGIBLE).await, json!([]), "{name} {width} {scheme}");
            // In the dark only the colours are others, and those are the same at every size.
            if scheme == "light" || width == 360 {
                assert_eq!(tab.accessible().await, json!([]), "{name} {width} {scheme}");
            }
        }
    }
    assert_eq!(tab.value(UNGROUPED).await, json!([]), "{name}: digits without groups");
    is_text(tab, name).await;
    asked_only(origin, tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_legible_in_every_size_and_light() {
    let app = business().await;
    let session = app.claimed().await;
    let one = format!("/payments/{}", "23".repeat(32));
    look_at(&app, &session, &[("home", "/"), ("revenue", "/revenue"), ("payment", &one)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revenue_says_what_sold_when_and_one_payment_opens() {
    let app = business().await;
    let session = app.claimed().await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    tab.open(&format!("{}/revenue?range=90d", app.origin)).await;
    let sums = app.ledger.revenue(app.op.parts.clock.now()).await.expect("sums");
    let shown = tab.text(".figure").await.replace([',', ' '], "");
    assert_eq!(
        shown.trim_end_matches("sat"),
        (sums.total.msat() / 1_000).to_string(),
        "90 days hold everything"
    );
    assert_eq!(tab.value("document.querySelectorAll('.chart rect').length").await, 40);
    let routes = tab.text(".cards").await;
    for route in ["exchange-rates", "history", "chat"] {
        assert!(routes.contains(route), "{routes}");
    }
    // What came was worth something in dollars where a rate was known, and nothing else is said of the rest.
    let facts = tab.text(".facts").await;
    assert!(facts.contains("USD when it came, for"), "{facts}");
    tab.click(".cards a[href*='route=history']").await;
    tab.until("document.querySelector('#earned')?.textContent === 'rates / history earned'").await;
    assert_eq!(tab.value("document.querySelectorAll('.cards tbody tr').length").await, 1);
    let only = SalesFilter { service: Some("rates".parse().expect("a name")), route: None };
    let (from, to) = (START, app.op.parts.clock.now().plus(HOUR));
    let both = app.ledger.revenue_by_route(from, to, Step::Day, only).await.expect("sums");
    let history = both.iter().find(|line| line.route.as_str() == "history").expect("it sold");
    let facts = tab.text(".facts").await;
    let asked = format!("{} of {}", history.sums.sales, history.sums.demands);
    assert!(facts.contains(&asked), "{asked}: {facts}");
    assert_eq!(
        tab.text(".figure").await.replace([',', ' '], ""),
        format!("{}sat", history.sums.earned_msat.msat() / 1_000)
    );
    tab.click("nav[aria-label=Route] a:first-child").await;
    tab.until("document.querySelector('#earned')?.textContent === 'rates earned'").await;
    tab.click(".choices a[href*='service=llm']").await;
    tab.until("document.querySelector('#earned')?.textContent === 'llm earned'").await;
    assert_eq!(tab.value("document.querySelectorAll('.cards tbody tr').length").await, 1);
    tab.click(".payments .what a").await;
    tab.until("location.pathname.startsWith('/payments/')").await;
    assert!(tab.text("main").await.contains("has not been presented yet"), "the newest was not used");
    let main = tab.text("main").await;
    assert!(main.contains("0.0096 USD when it came, at 64,000.00 USD for one bitcoin"), "{main}");
    let key = app.key(&[Scope::Read]).await;
    let told = ok(app.read("/api/v1/revenue", &key).await).await;
    let currencies: Vec<_> =
        told["received"].as_array().expect("a list").iter().map(|sum| &sum["currency"]).collect();
    assert_eq!(currencies, [&json!(null), &json!("USD")]);
    let newest = ok(app.read("/api/v1/payments?limit=1", &key).await).await;
    let newest = &newest["payments"][0];
    assert_eq!((&newest["rate"], &newest["worth"]), (&json!("64000 USD"), &json!("0.0096")));
    let unknown = app.get(&format!("/payments/{}", "ff".repeat(32))).header("cookie", &session).send().await;
    assert_eq!(unknown.expect("an answer").status(), 404);
    let stranger = app.get("/revenue").send().await.expect("an answer");
    assert_eq!(stranger.status(), 303);
    clean(&app, &tab);
    assert!(app.ledger.audit().await.expect("it reads").ok);
}
