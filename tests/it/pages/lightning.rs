//! The Lightning pages: what there is, a channel's life, and what is asked before anything moves.

use serde_json::json;
use tollhouse::ports::{FeeRate, UnsentView};
use tollhouse::store::OperationState;

use super::lightning_scene::{CANARY, channels, moves, page, seen};
use super::{business, clean, logged_in, look_at, looked_at};
use crate::admin_app::neighbours::ORDER_SAT;
use crate::admin_app::{AdminApp, MEMO, PASSWORD, START};
use crate::chromium::{Chromium, LEGIBLE, Tab};

/// A question stands there, drawn: what is clicked before it has its style may move away.
pub(crate) const ASKED: &str =
    "document.readyState === 'complete' && document.querySelector('input[name=key]')";

/// Writes `text` into a field in the place of what is there.
async fn fill(tab: &Tab<'_>, selector: &str, text: &str) {
    tab.value(&format!("document.querySelector({}).value = ''", json!(selector))).await;
    tab.click(selector).await;
    tab.types(text).await;
}

/// Answers a question with yes, and with the password when it asks for that.
async fn yes(tab: &Tab<'_>) {
    tab.until(ASKED).await;
    if tab.value("!!document.querySelector('#password')").await == json!(true) {
        tab.click("#password").await;
        tab.types(PASSWORD).await;
    }
    tab.click(".form .button").await;
}

/// Nothing that was written by others became a part of the page.
async fn unharmed(app: &AdminApp, tab: &Tab<'_>) {
    let found = tab.value("document.querySelectorAll('img[src=x],script:not([nonce])').length").await;
    assert_eq!(found, 0);
    clean(app, tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lightning_pages_are_legible() {
    let app = business().await;
    channels(&app).await;
    moves(&app).await;
    let session = app.claimed().await;
    let (open, closed) = (format!("/lightning/channels/{}", "ab".repeat(32)), page(6));
    let (force, unseen, recorded) = (format!("{open}/force-close"), page(7), page(3));
    look_at(
        &app,
        &session,
        &[
            // Of all pages the one that holds most: three channels, a splice, and the last payments.
            ("home-three-channels", "/"),
            ("lightning", "/lightning"),
            ("lightning-open", "/lightning/open"),
            ("lightning-channel", &open),
            ("lightning-channel-splicing", &recorded),
            ("lightning-closed", &closed),
            ("lightning-unseen", &unseen),
            ("lightning-force", &force),
            ("lightning-inbound", "/lightning/inbound"),
            ("lightning-order", "/lightning/inbound/orders/1"),
            ("lightning-payouts", "/lightning/payouts"),
            ("lightning-rules", "/lightning/rules"),
            ("lightning-peers", "/lightning/peers"),
        ],
    )
    .await;
    // Nothing can be received, and something is reserved.
    for channel in app.node.channels.lock().expect("no panic").iter_mut() {
        channel.receivable_msat = 0;
        channel.largest_receivable_msat = 0;
    }
    look_at(&app, &session, &[("lightning-full", "/lightning")]).await;
    // While the node is away nothing is made up.
    *app.node.down.lock().expect("no panic") = Some("the chain source does not answer".to_owned());
    look_at(
        &app,
        &session,
        &[
            ("lightning-away", "/lightning"),
            ("lightning-channel-away", &recorded),
            ("lightning-payouts-away", "/lightning/payouts"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_tells_its_life_and_is_closed_after_two_questions() {
    let app = business().await;
    channels(&app).await;
    let session = app.claimed().await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    tab.open(&format!("{}/lightning", app.origin)).await;
    assert!(tab.text(".figure").await.starts_with("1,301,000"));
    let closed = tab.text(".cards").await;
    let words =
        ["about 120,000 sat are back", "88,000 sat on their way, the last from block 370", "amount not seen"];
    for words in words.into_iter().chain(["the other side asked", "by you"]) {
        assert!(closed.contains(words), "{words}: {closed}");
    }
    assert!(closed.contains("channel 05050505…050505"), "{closed}");
    let open = tab.text(".channels").await;
    for words in [
        "channel 03030303…030303",
        "Ready, but the other node is away; a splice is under way",
        "A splice that takes 30,000 sat out of the channel waits for its confirmations.",
        "Held back: 5,000 sat of yours, and 5,000 sat by the other side; 660 sat for the anchors of its closing \
         transaction; 30,310 sat that leave with the splice",
    ] {
        assert!(open.contains(words), "{words}: {open}");
    }
    tab.open(&format!("{}{}", app.origin, page(3))).await;
    let splicing = tab.text("main").await;
    for words in [
        "500,000 sat until the splice is confirmed; then about 469,690 sat",
        "about 14,030 sat once the splice is confirmed; 44,340 sat before it",
    ] {
        assert!(splicing.contains(words), "{words}: {splicing}");
    }
    tab.open(&format!("{}{}", app.origin, page(7))).await;
    let unseen = tab.text("main").await;
    for words in ["how much that was, the node did not see", "Yours when last seen open", "120,000 sat"] {
        assert!(unseen.contains(words), "{words}: {unseen}");
    }
    assert!(!unseen.contains("Nothing of it was yours"), "{unseen}");
    tab.open(&format!("{}{}", app.origin, page(6))).await;
    let life = tab.text(".timeline").await;
    for words in ["Ready since block 200", "by force", "wait for block 370", "sweeps 87,000 sat", "onerror"] {
        assert!(life.contains(words), "{words}: {life}");
    }
    assert_eq!(tab.value("document.querySelectorAll('form[action*=channels]').length").await, 0);
    unharmed(&app, &tab).await;
    // Of one closed by agreement, the transaction is not on its way yet.
    let spends = vec![seen(7, true).funding.expect("a funding")];
    let unsent =
        UnsentView { txid: "e1".repeat(32), spends, why: "mempool min fee not met".to_owned(), since: START };
    app.node.unsent.lock().expect("no panic").push(unsent);
    tab.open(&format!("{}{}", app.origin, page(7))).await;
    let said = tab.text(".alarm").await;
    assert!(said.contains("e1e1e1e1…e1e1e1 is signed") && said.contains("mempool min fee not met"), "{said}");
    assert!(!said.contains(&"e1".repeat(32)), "{said}");
    looked_at(&app.origin, &tab, "lightning-unsent").await;
    tab.click(".alarm .ids summary").await;
    assert!(tab.text(".alarm").await.contains(&"e1".repeat(32)), "the whole of it is there for who asks");
    assert_eq!(tab.text("h1").await, "Channel with 03070707…070707");
    assert!(tab.text("main").await.contains("Channel 07070707…070707; the identifiers in full are below."));
    assert!(!tab.text("main").await.contains("is on its way to the on-chain wallet"));
    app.node.unsent.lock().expect("no panic").clear();
    tab.open(&format!("{}{}", app.origin, page(7))).await;
    assert!(!tab.text("main").await.contains("no chain source"), "it is on its way");

    // One that is opening is found by our own id of it.
    tab.open(&format!("{}/lightning/channels/4", app.origin)).await;
    assert!(tab.text(".timeline").await.contains("1 of 3"));

    // A slip keeps what was typed.
    let id = "ab".repeat(32);
    tab.open(&format!("{}/lightning/channels/{id}", app.origin)).await;
    tab.click("#base_sat").await;
    tab.types("x").await;
    tab.click("form[action$=fees] button").await;
    tab.until("document.readyState === 'complete' && document.querySelector('.refusal')").await;
    assert!(
        tab.value("document.querySelector('#base_sat').value")
            .await
            .as_str()
            .is_some_and(|it| it.contains('x'))
    );

    // More than there is is refused at the top, with the most that there is, which the form says beforehand.
    tab.open(&format!("{}/lightning/open", app.origin)).await;
    let most = "At most about 72,330 sat can go into a channel now";
    assert!(tab.text("#amount_sat-hint").await.starts_with(most));
    fill(&tab, "#node", &format!("02{}@198.51.100.9:9735", "aa".repeat(32))).await;
    fill(&tab, "#amount_sat", "1,000,000").await;
    tab.click(".form .button").await;
    tab.until("document.readyState === 'complete' && document.querySelector('.refusal')").await;
    let refused = tab.text(".refusal").await;
    assert!(refused.starts_with("There is not enough") && refused.contains(most), "{refused}");
    assert_eq!(tab.value("document.querySelectorAll('.lines').length").await, 0, "what will not happen");

    // By force: a box, then a question with the password.
    tab.open(&format!("{}/lightning/channels/{id}", app.origin)).await;
    tab.click("a[href$=force-close]").await;
    tab.until("document.readyState === 'complete' && document.querySelector('#sure')").await;
    tab.click("button.second").await;
    tab.until("document.readyState === 'complete' && document.querySelector('.refusal')").await;
    assert!(app.node.closed.lock().expect("no panic").is_empty());
    tab.click("#sure").await;
    tab.click("button.second").await;
    tab.until("document.querySelector('.grave') && document.querySelector('input[name=key]')").await;
    let asked = tab.text("main").await;
    for words in [
        "144 blocks",
        "You can receive 1,301,000 sat less",
        "How much comes back is not known",
        "cannot be undone",
    ] {
        assert!(asked.contains(words), "{words}: {asked}");
    }
    assert!(app.node.closed.lock().expect("no panic").is_empty());
    tab.looks(360, 740, "light").await;
    tab.picture("lightning-question-360-light").await;
    assert_eq!(tab.value(LEGIBLE).await, json!([]));
    yes(&tab).await;
    tab.until("location.pathname.startsWith('/operations/')").await;
    assert_eq!(app.node.closed.lock().expect("no panic").len(), 1);
    unharmed(&app, &tab).await;
}

/// Why a form was refused stands at the top of the page, with the way to the form.
async fn in_sight(tab: &Tab<'_>, form: &str) {
    let told = "document.querySelector('.refusal[role=alert]')";
    let seen = format!("{told}.getBoundingClientRect().bottom <= innerHeight && scrollY === 0");
    assert_eq!(tab.value(&seen).await, true, "it is below the fold");
    assert_eq!(tab.value(&format!("{told}.querySelector('a').getAttribute('href')")).await, form);
    assert_eq!(tab.value(&format!("!!document.querySelector('{form}')")).await, true, "{form}");
    assert_eq!(
        tab.value(&format!("{told}.compareDocumentPosition(document.querySelector('form.form')) & 4")).await,
        4
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn payouts_rules_peers_and_orders_are_asked_about_and_done() {
    let app = business().await;
    moves(&app).await;
    let session = app.claimed().await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    let open = async |path: &str| tab.open(&format!("{}{path}", app.origin)).await;

    // A payout to an offer: said first, then asked of the node once.
    open("/lightning/payouts").await;
    assert!(tab.text(".cards").await.contains("onerror"), "what an outsider wrote is text");
    unharmed(&app, &tab).await;
    // What was not done says why, and can be tried again.
    tab.click(".cards a[href*='again=']").await;
    tab.until("location.search.includes('again=') && document.readyState === 'complete'").await;
    assert_eq!(tab.value("document.querySelector('#to').value").await, CANARY);
    open("/lightning/payouts").await;
    fill(&tab, "#to", "lno1any").await;
    tab.click(".form .button").await;
    tab.until("document.readyState === 'complete' && document.querySelector('.refusal')").await;
    assert!(tab.text(".refusal").await.contains("the amount is missing"));
    assert_eq!(tab.value("document.querySelector('#to').value").await, "lno1any");
    fill(&tab, "#amount_sat", "20,000").await;
    tab.click(".form .button").await;
    tab.until(ASKED).await;
    let asked = tab.text("main").await;
    let words = ["Pay out 20,000 sat?", "200 sat at most", "You can then receive about 20,000 sat more"];
    for words in words.into_iter().chain([MEMO]) {
        assert!(asked.contains(words), "{words}: {asked}");
    }
    unharmed(&app, &tab).await;
    assert!(app.node.offers.lock().expect("no panic").is_empty());
    yes(&tab).await;
    tab.until("location.pathname.startsWith('/operations/')").await;
    assert_eq!(app.node.offers.lock().expect("no panic").len(), 1);

    // A rule: a slip keeps what was typed; then it is in force, then off.
    open("/lightning/rules").await;
    assert!(tab.text("main").await.contains("routing costs at most 0.25 % of each payment"));
    tab.click("section[aria-labelledby=pay_out] summary").await;
    fill(&tab, "#below", "5,000,000").await;
    tab.click("form[action$=pay_out] .button").await;
    tab.until("document.readyState === 'complete' && document.querySelector('.refusal')").await;
    assert_eq!(tab.value("document.querySelector('#below').value").await, "5,000,000");
    in_sight(&tab, "#pay_out").await;
    fill(&tab, "#until", "6000000").await;
    fill(&tab, "#max-fee", "1.5").await;
    tab.click("form[action$=pay_out] .button").await;
    yes(&tab).await;
    tab.until("document.readyState === 'complete' && document.querySelector('.said')").await;
    let terms = app.ledger.rule("pay_out").await.expect("it reads").expect("it is on");
    assert_eq!((&terms["until_sat"], &terms["max_fee_ppm"]), (&json!(6_000_000), &json!(15_000)));
    tab.click("section[aria-labelledby=pay_out] summary").await;
    tab.click("form[action$=off] .button").await;
    yes(&tab).await;
    tab.until(
        "document.readyState === 'complete' && document.querySelector('.said')?.textContent.includes('off')",
    )
    .await;
    assert_eq!(app.ledger.rule("pay_out").await.expect("it reads"), None);

    // Peers: a slip, then connected and forgotten.
    open("/lightning/peers").await;
    unharmed(&app, &tab).await;
    fill(&tab, "#node", "nobody").await;
    tab.click("form[action='/lightning/peers'] button").await;
    tab.until("document.readyState === 'complete' && document.querySelector('.refusal')").await;
    in_sight(&tab, "#node").await;
    fill(&tab, "#node", &format!("02{}@198.51.100.9", "aa".repeat(32))).await;
    tab.click("form[action='/lightning/peers'] button").await;
    tab.until("document.readyState === 'complete' && document.querySelector('.said')").await;
    assert!(tab.text(".cards").await.contains("198.51.100.9:9735"));
    let before = app.node.peers.lock().expect("no panic").len();
    tab.click(".cards form button").await;
    tab.until("document.readyState === 'complete' && document.querySelector('.said')?.textContent.includes('forgotten')").await;
    assert_eq!(app.node.peers.lock().expect("no panic").len(), before - 1);

    // An order: a price, the question, paid once.
    open("/lightning/inbound").await;
    fill(&tab, "#receivable_sat", "50").await;
    tab.click(".form .button").await;
    tab.until("document.readyState === 'complete' && document.querySelector('.refusal')").await;
    assert!(tab.text(".refusal").await.contains("100,000 to 10,000,000 sat"));
    in_sight(&tab, "#order").await;
    fill(&tab, "#receivable_sat", "2 000 000").await;
    tab.click(".form .button").await;
    tab.until("location.pathname === '/lightning/inbound/orders/2' && document.readyState === 'complete'")
        .await;
    unharmed(&app, &tab).await;
    tab.click("input[value=onchain] ~ .buttons button").await;
    tab.until(ASKED).await;
    // What its transaction costs is said, and agreed to.
    let asked = tab.text("main").await;
    for words in ["3,200 sat go to the provider", "The transaction pays 4 sat/vB: about 836 sat"] {
        assert!(asked.contains(words), "{words}: {asked}");
    }
    // Refused for now, it can be paid again, the same way.
    *app.node.down.lock().expect("no panic") = Some("the node rests".to_owned());
    yes(&tab).await;
    tab.until("document.readyState === 'complete' && document.querySelector('.refusal')").await;
    for path in [None, Some("/lightning/inbound/orders/2"), Some("/lightning/inbound")] {
        if let Some(path) = path {
            open(path).await;
        }
        let told = tab.text("main").await;
        let words: &[&str] = match path {
            None => &["The node rests. It is not paid, as far as is known", "Pay from the on-chain wallet"],
            Some("/lightning/inbound") => &["Not paid yet"],
            Some(_) => {
                &["nothing was sent. The Lightning node is not running now", "Pay from the on-chain wallet"]
            }
        };
        for words in words {
            assert!(told.contains(words), "{path:?}: {words}: {told}");
        }
        assert!(!told.contains("Pay over Lightning") && !told.contains("Being paid"), "{told}");
    }
    *app.node.down.lock().expect("no panic") = None;
    open("/lightning/inbound/orders/2").await;
    tab.picture("lightning-order-refused-1440-light").await;
    assert_eq!(tab.value(LEGIBLE).await, json!([]));
    tab.click("input[value=onchain] ~ .buttons button").await;
    yes(&tab).await;
    tab.until("location.pathname === '/lightning/inbound/orders/2' && !document.querySelector('form[action*=pay] input[name=key]')").await;
    app.ledger.begin_operation("inbound-order-2", "send", json!({})).await.expect("noted");
    open("/lightning/inbound/orders/2").await;
    let told = tab.text("main").await;
    assert!(told.contains("Being paid") && !told.contains("Pay from the on-chain wallet"), "{told}");
    // What became of its payment is hidden: one is led to where it is settled.
    let paying = app.ledger.operation_of_key("inbound-order-2").await.expect("reads").expect("noted");
    let why = json!({ "reason": "the node does not know it" });
    app.ledger.note_operation(paying.id, OperationState::Unclear, why).await.expect("noted");
    open("/lightning/inbound/orders/2").await;
    let told = tab.text("main").await;
    for words in ["Perhaps paid", "no other order should take its place", "The node does not know it."] {
        assert!(told.contains(words), "{words}: {told}");
    }
    tab.picture("lightning-order-unclear-1440-light").await;
    tab.click("a[href^='/operations/']").await;
    tab.until(&format!(
        "location.pathname === '/operations/{}' && document.readyState === 'complete'",
        paying.id
    ))
    .await;
    let ordered = app.node.ordered.lock().expect("no panic").clone();
    assert_eq!(ordered, [("inbound-order-2".to_owned(), ORDER_SAT, FeeRate::of_sat_per_kvb(4_000))]);
    unharmed(&app, &tab).await;
}
