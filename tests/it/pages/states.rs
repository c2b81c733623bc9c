//! States in which a page is seldom seen and has to be right all the same: nothing there yet, a form refused, a channel
//! on its way in or out, every kind of alarm, names as long and sums as large as they can be.

use serde_json::json;
use tollhouse::ports::{Alarm, ChainTx, ChannelView, CoinsView};
use tollhouse::store::{Arrival, BegunOperation, Findings, OperationState};
use tollhouse::types::{Msat, PaymentHash, Severity};

use super::sell::{fill, sell};
use super::{business, logged_in, look_at, looked_at};
use crate::admin_app::{AdminApp, usable_channel};
use crate::chromium::{Chromium, Tab};

/// All the coins that there can ever be, in satoshi.
const ALL_COINS_SAT: u64 = 2_100_000_000_000_000;
/// As long as a name can be.
const LONG_NAME: &str = "a-service-whose-name-is-as-long-as-any-name-here-can-ever-be-sold";
/// A path that no line holds.
const LONG_PATH: &str = "/a/v1/organisations/{organisation}/projects/{project}/environments/{environment}/deployments/{deployment}/logs";

/// A form: what its pictures are called, its page, what is typed into which field, and its button.
type Form<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

/// An empty shop that somebody claimed.
async fn fresh() -> (AdminApp, String) {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    (app, session)
}

/// A page as it comes.
async fn text(app: &AdminApp, session: &str, path: &str) -> String {
    let page = app.get(path).header("cookie", session).send().await.expect("an answer");
    page.text().await.expect("text")
}

/// Waits until a page stands on which something was refused.
async fn refused(tab: &Tab<'_>) {
    tab.until("document.querySelector('.refusal')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_yet_pages_are_legible() {
    let (app, session) = fresh().await;
    let pages = [
        ("home-nothing", "/"),
        ("revenue-nothing", "/revenue"),
        ("revenue-nothing-24h", "/revenue?range=24h"),
        ("lightning-nothing", "/lightning"),
        ("inbound-nothing", "/lightning/inbound"),
        ("payouts-nothing", "/lightning/payouts"),
        ("rules-nothing", "/lightning/rules"),
        ("peers-nothing", "/lightning/peers"),
        ("activity-nothing", "/activity"),
        ("grant-nothing", "/tokens/grant"),
        ("system-nothing", "/system"),
    ];
    look_at(&app, &session, &pages).await;
    let revenue = text(&app, &session, "/revenue").await;
    assert!(
        !revenue.contains("class=\"chart\"") && revenue.contains("Nothing was paid yet"),
        "no empty axes"
    );

    // The rest of the navigation, where there is no room for all of it.
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(360, 740, "light").await;
    tab.open(&format!("{}/tokens", app.origin)).await;
    tab.click(".more button").await;
    tab.until("document.querySelector('#more:popover-open')").await;
    for (width, height, scheme) in [(360, 740, "light"), (360, 740, "dark"), (768, 1024, "light")] {
        tab.looks(width, height, scheme).await;
        tab.picture(&format!("more-{width}-{scheme}")).await;
        super::fits(&tab, "more", width).await;
        assert_eq!(tab.value(crate::chromium::LEGIBLE).await, json!([]), "{width} {scheme}");
        assert_eq!(tab.accessible().await, json!([]), "{width} {scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_large_form_that_is_refused_is_legible() {
    let app = business().await;
    let session = app.claimed().await;
    sell(&app, "[[service]]\nname = \"rates\"\npath = \"/v1\"\nupstream = \"http://127.0.0.1:9000\"\nprice = \"5 sat\"\n")
        .await;
    let browser = Chromium::start();
    let channel = format!("/lightning/channels/{}", "ab".repeat(32));
    let node = format!("02{}@198.51.100.9:9735", "aa".repeat(32));
    let large = "900,000,000";
    let forms: [Form<'_>; 12] = [
        ("send", "/coins/send", &[("to", "nonsense"), ("amount", "20,000")], "main form .button"),
        (
            "send-too-much",
            "/coins/send",
            &[("to", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"), ("amount", large)],
            "main form .button",
        ),
        ("open", "/lightning/open", &[("node", &node), ("amount_sat", large)], "main form .button"),
        ("splice-in", &channel, &[("in_sat", "many")], "form[action$=splice-in] .button"),
        (
            "splice-out",
            &channel,
            &[("out_sat", "many"), ("address", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080")],
            "form[action$=splice-out] .button",
        ),
        ("fees", &channel, &[("base_sat", "1,0,0"), ("ppm", "many")], "form[action$=fees] .button"),
        (
            "payout",
            "/lightning/payouts",
            &[("to", "nobody at all"), ("amount_sat", "ten")],
            "main form .button",
        ),
        (
            "rule",
            "/lightning/rules",
            &[
                ("pay-to", "me@wallet.example"),
                ("below", "500"),
                ("until", "400"),
                ("pay-day", "1"),
                ("max-fee", "a lot"),
            ],
            "form[action$=pay_out] .button",
        ),
        ("order", "/lightning/inbound", &[("receivable_sat", "50")], "main form .button"),
        (
            "key",
            "/integrations/keys/new",
            &[("label", "dashboard"), ("per_day_sat", "ten"), ("per_payment_sat", "100")],
            "main form .button",
        ),
        (
            "endpoint",
            "/integrations/webhooks/new",
            &[("label", "books"), ("url", "ftp://books.example")],
            "main form .button",
        ),
        (
            "password",
            "/system/password",
            &[("password", "wrong horse battery"), ("new", "a new password"), ("again", "another password")],
            "main form .button",
        ),
    ];
    for (name, path, fields, button) in forms {
        let tab = logged_in(&app, &browser, &session).await;
        tab.looks(1440, 900, "light").await;
        tab.open(&format!("{}{path}", app.origin)).await;
        for (id, text) in fields {
            fill(&tab, id, text).await;
        }
        tab.click(button).await;
        refused(&tab).await;
        looked_at(&app.origin, &tab, &format!("refused-{name}")).await;
        assert!(!tab.text(".refusal").await.contains('`'), "{name}");
        // What was typed is still there, but for passwords.
        for (id, text) in fields.iter().filter(|_| name != "password") {
            let typed = tab.value(&format!("document.getElementById('{id}').value")).await;
            assert_eq!(typed, *text, "{name}: {id}");
        }
    }
}

/// A channel that is opened now, with so many confirmations.
fn opening(seen: u32) -> ChannelView {
    ChannelView {
        funding: Some(format!("{}:0", "5e".repeat(32))),
        confirmations: Some(seen),
        ready: false,
        usable: false,
        outbound: true,
        spendable_msat: 0,
        receivable_msat: 0,
        largest_receivable_msat: 0,
        ..usable_channel(400_000, 98_000)
    }
}

/// A move that is on its way; its number.
async fn under_way(app: &AdminApp, kind: &str, ask: serde_json::Value, outcome: serde_json::Value) -> i64 {
    let begun = app.ledger.begin_operation(kind, kind, ask).await.expect("noted");
    let BegunOperation::New(id) = begun else { panic!("it is new") };
    app.ledger.note_operation(id, OperationState::Sent, outcome).await.expect("noted");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_on_their_way_in_and_out_are_legible() {
    let (app, session) = fresh().await;
    app.node.channels.lock().expect("no panic").push(opening(1));
    let peer = "03".repeat(33);
    let ask = json!({ "peer": peer, "address": "203.0.113.7:9735", "amount_sat": 500_000, "push_msat": 0, "announce": false });
    let facts = json!({ "channel_id": "11".repeat(32), "local_id": "1", "txid": "5e".repeat(32) });
    let opened = under_way(&app, "open_channel", ask, facts).await;
    let pages = [
        ("opening-home", "/"),
        ("opening-lightning", "/lightning"),
        ("opening-channel", "/lightning/channels/1"),
        ("opening-operation", &format!("/operations/{opened}")),
        ("opening-activity", "/activity"),
    ];
    look_at(&app, &session, &pages).await;

    let page = text(&app, &session, "/lightning/channels/1").await;
    assert!(page.contains("once the channel is open") && !page.contains("node is away"), "{page}");
    assert!(!page.contains("splice-in") && !page.contains("0 sat can be received"), "{page}");

    *app.node.channels.lock().expect("no panic") =
        vec![ChannelView { usable: false, ..usable_channel(400_000, 98_000) }];
    let closed = under_way(&app, "close_channel", json!({ "channel_id": "11".repeat(32) }), json!({})).await;
    let channel = format!("/lightning/channels/{}", "11".repeat(32));
    let pages = [
        ("closing-lightning", "/lightning"),
        ("closing-channel", &channel),
        ("closing-operation", &format!("/operations/{closed}")),
    ];
    look_at(&app, &session, &pages).await;
    // Nothing is asked of it that cannot be any more, and what was asked is a click away.
    let page = text(&app, &session, &channel).await;
    assert!(page.contains("Being closed") && page.contains(&format!("/operations/{closed}\"")), "{page}");
    for gone in ["node is away", "splice-in", "/fees\"", "/close\""] {
        assert!(!page.contains(gone), "{gone}: {page}");
    }
    assert!(page.contains("/force-close\""), "{page}");
    for path in ["/", "/lightning"] {
        assert!(text(&app, &session, path).await.contains("Being closed"), "{path}");
    }
    // What came to nothing ends nothing.
    let failed = json!({ "reason": "the other side is not there" });
    app.ledger.note_operation(closed, OperationState::Failed, failed).await.expect("noted");
    assert!(!text(&app, &session, &channel).await.contains("Being closed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_of_every_kind_are_legible() {
    let app = business().await;
    let session = app.claimed().await;
    let id = |byte: &str| byte.repeat(32);
    let alarm = |code: &str, severity, text: String, fix: &str| Alarm::new(code, severity, text, fix);
    let standing = vec![
        alarm(
            "backup_old",
            Severity::Warning,
            "The newest copy of the ledger is 3 days old.".to_owned(),
            "See whether `/mnt/other-disk/tollhouse` can be written, and run `tollhouse backup now`.",
        ),
        alarm(
            "transactions_unsent",
            Severity::Critical,
            format!(
                "2 transactions of this node are signed and no chain source took them: {} (mempool min fee not met), {} (the source does not answer).",
                id("4f"),
                id("c3")
            ),
            "Look at the chain source; they are handed over again and again.",
        ),
        alarm(
            "peers_offline",
            Severity::Warning,
            format!("The other node of 1 channel has been away for 26 hours: 02{}.", id("cd")),
            "Ask its operator, or close the channel.",
        ),
        alarm(
            "monitor_large",
            Severity::Info,
            "The stored state of a channel has grown to 12 MB.".to_owned(),
            "It becomes small when the channel is closed and another one opened.",
        ),
    ];
    app.ledger.note_alarms(Findings { standing, notices: Vec::new(), watched: 0 }).await.expect("noted");
    look_at(&app, &session, &[("alarms-home", "/"), ("alarms-system", "/system")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_names_are_legible() {
    let (app, session) = fresh().await;
    let name = &LONG_NAME[..64];
    let text = format!(
        "[[service]]\nname = \"{name}\"\npath = \"/a\"\nupstream = \"http://upstream-with-a-long-name.internal.example.org:9000/base/of/all/of/it\"\nprice = \"5 sat\"\n\
         title = \"Everything that anybody ever wanted to know about the weather, the rates and the tides\"\n\
         [[service.route]]\npath = \"{LONG_PATH}\"\nname = \"{}\"\nprice = \"1234567 sat\"\n",
        name.replace("service", "routing")
    );
    sell(&app, &text).await;
    let key = app.key(&[tollhouse::web::keys::Scope::Admin]).await;
    let label =
        "A customer whose name is long, of a company that has a long one, too: in all one hundred letters!!!";
    let ask = json!({ "service": name, "budget": "20000000 sat", "label": label });
    let given: serde_json::Value =
        app.change("/api/v1/tokens/grant", &key, ask).await.json().await.expect("JSON");
    let payment = format!("/payments/{}", given["payment_hash"].as_str().expect("a hash"));
    let hook = json!({ "label": label, "allow_private": true, "url": "http://127.0.0.1:9/a/very/long/address/that/goes/on/and/on?with=many&parameters=of&every=kind&and=then&some=more" });
    let made = app.change("/api/v1/webhooks", &key, hook).await;
    assert_eq!(made.status(), 201, "{:?}", made.text().await);
    let service = format!("/services/{name}");
    let pages = [
        ("long-services", "/services"),
        ("long-service", &service),
        ("long-service-edit", &format!("{service}/edit")),
        ("long-service-try", &format!("{service}/try")),
        ("long-tokens", "/tokens"),
        ("long-token", &payment),
        ("long-integrations", "/integrations"),
        ("long-endpoint", "/integrations/webhooks/1"),
        ("long-activity", "/activity"),
        ("long-home", "/"),
    ];
    look_at(&app, &session, &pages).await;
    // A request that nothing is asked for, and one that no route takes.
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    for (word, target) in [
        ("dear", "/a/v1/organisations/1/projects/2/environments/3/deployments/4/logs"),
        ("nowhere", "/elsewhere"),
    ] {
        tab.looks(1440, 900, "light").await;
        tab.open(&format!("{}{service}/try", app.origin)).await;
        fill(&tab, "target", target).await;
        tab.click("button[value=price]").await;
        tab.until("document.querySelector('#cost') || document.querySelector('.refusal')").await;
        looked_at(&app.origin, &tab, &format!("dry-run-{word}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_costs_nothing_is_told_as_that() {
    let (app, session) = fresh().await;
    sell(&app, "[[service]]\nname = \"open\"\npath = \"/open\"\nupstream = \"http://127.0.0.1:9000\"\nprice = \"free\"\n").await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    tab.open(&format!("{}/services/open/try", app.origin)).await;
    fill(&tab, "target", "/open/today").await;
    tab.click("button[value=price]").await;
    tab.until("document.querySelector('#cost')").await;
    looked_at(&app.origin, &tab, "dry-run-free").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_as_large_as_they_can_be_are_legible() {
    let app = business().await;
    let session = app.claimed().await;
    let some = ALL_COINS_SAT / 10 - 7;
    *app.node.channels.lock().expect("no panic") =
        vec![ChannelView { reserved_sat: some / 100, ..usable_channel(some, some * 8) }];
    {
        let mut wallet = app.node.wallet.lock().expect("no panic");
        wallet.coins = CoinsView {
            height: 1_231_441,
            total_sat: some,
            spendable_sat: some - 1_000_000,
            reserved_sat: 25_000,
            reserve_wanted_sat: 50_000,
            ..CoinsView::default()
        };
        wallet.transactions = vec![ChainTx {
            txid: "7d".repeat(32),
            outgoing: true,
            amount_sat: some,
            fee_sat: Some(1_234_567_890),
            confirmed_height: Some(1_231_400),
            settled: true,
            at_secs: 1_760_000_000,
        }];
    }
    let amount = Msat::from_sat(some).expect("it fits");
    let arrival = Arrival { amount, kept: Msat::ZERO, rate: None };
    app.ledger.receive_as(PaymentHash::from_bytes([99; 32]), arrival, None).await.expect("received");
    super::sell(&app, 251, "chat", tollhouse::types::Kind::Request, 1, some / 2, 1).await;
    let channel = format!("/lightning/channels/{}", "11".repeat(32));
    let pages = [
        ("large-home", "/"),
        ("large-revenue", "/revenue"),
        ("large-lightning", "/lightning"),
        ("large-channel", &channel),
        ("large-coins", "/coins"),
        ("large-send", "/coins/send"),
        ("large-activity", "/activity"),
        ("large-payment", &format!("/payments/{}", hex::encode([251; 32]))),
    ];
    look_at(&app, &session, &pages).await;
}
