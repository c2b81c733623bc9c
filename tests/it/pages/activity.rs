//! Activity and the account: what happened in one list, found by what it is about, and tables whose amounts
//! sum to what is left.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollhouse::event::Event;
use tollhouse::ledger::Bought;
use tollhouse::store::{
    BegunOperation, Brought, ChannelEnd, ChannelSeen, ChannelsSeen, Intent, OperationState, OutgoingState,
};
use tollhouse::types::{Msat, PaymentHash, Preimage, Severity};
use tollhouse::web::keys::Scope;

use super::{business, clean, logged_in, look_at};
use crate::admin_app::{AdminApp, ok};
use crate::chromium::Chromium;

const CANARY: &str = "<img src=x onerror=alert(1)>\"><script>alert(2)</script>";

/// Something of everything, with the words of outsiders in it.
async fn eventful() -> AdminApp {
    let app = business().await;
    let sat = |sat| Msat::from_sat(sat).expect("small");
    let hash = |n| PaymentHash::from_bytes([n; 32]);
    // A formula where text of others can stand, a channel opened for a payment, one paid twice.
    let bought = Bought {
        quote: Some("=1+1 USD at 64000".to_owned()),
        ..Bought::request(
            "llm".parse().expect("a name"),
            "chat".parse().expect("a name"),
            sat(300),
            app.op.parts.clock.now().plus(std::time::Duration::from_secs(60)),
        )
    };
    app.ledger.receive_less(hash(201), sat(250), sat(50), Some(bought)).await.expect("received");
    app.ledger.receive(hash(202), sat(70), None).await.expect("received");
    app.ledger.receive(hash(202), sat(70), None).await.expect("told again");
    for n in 1..=2u8 {
        let preimage = Preimage::from_bytes([n; 32]);
        let payment_hash = preimage.payment_hash();
        let intent =
            Intent { payment_hash, bolt11: String::new(), amount: sat(1_000), max_fee: sat(9), wallet: None };
        app.ledger.intend(intent).await.expect("noted");
        let end = match n {
            1 => OutgoingState::Succeeded { preimage, fee: Msat::new(1_250).expect("small") },
            _ => OutgoingState::Failed { reason: CANARY.to_owned() },
        };
        app.ledger.settle_outgoing(payment_hash, end).await.expect("settled");
    }
    let events = [
        Event::ChannelReady { channel_id: "ab".repeat(32), peer: format!("02{}", "cd".repeat(32)) },
        Event::ChannelClosed {
            channel_id: "ab".repeat(32),
            peer: format!("02{}", "cd".repeat(32)),
            reason: CANARY.to_owned(),
            cause: String::new(),
            local_id: "7".to_owned(),
        },
        Event::AlarmRaised {
            code: "chain_stale".to_owned(),
            subject: None,
            severity: Severity::Warning,
            text: format!("the chain is stale {CANARY}"),
            fix: "look".to_owned(),
        },
        Event::VaultMoved { txid: "ef".repeat(32), received_sat: 50_000, sent_sat: 0, height: Some(230) },
        Event::RuleRested {
            rule: "pay_out".to_owned(),
            code: "not_needed".to_owned(),
            why: "of 1234567 sat 20000 sat are wanted".to_owned(),
        },
        Event::SeedVerified,
        Event::ServiceChanged {
            service: "llm".parse().expect("a name"),
            before: None,
            after: Some(json!({})),
        },
        Event::Started { version: "0.1.0".to_owned(), clean: false },
    ];
    for event in events {
        app.ledger.log(event).await.expect("logged");
    }
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_is_legible_found_by_subject_and_paged() {
    let app = eventful().await;
    let session = app.claimed().await;
    look_at(&app, &session, &[("activity", "/activity"), ("activity-channels", "/activity?about=channels")])
        .await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    tab.open(&format!("{}/activity", app.origin)).await;
    let all = tab.text("main").await;
    for said in
        ["Payment received", "Channel closed", "Alarm", "+50,000 sat", "−1,001.25 sat", "Perhaps paid twice"]
    {
        assert!(all.contains(said), "{said}: {all}");
    }
    assert_eq!(tab.value("document.querySelectorAll('img, script:not([nonce])').length").await, 0);
    assert!(all.contains("<img src=x onerror=alert(1)>"), "what others said is text");
    tab.click(".pages a").await;
    tab.until("location.search.startsWith('?before=')").await;
    tab.until("document.querySelectorAll('.events tbody tr').length > 0").await;
    tab.click(".choices a[href='/activity?about=channels']").await;
    tab.until("location.search === '?about=channels' && !!document.querySelector('.events')").await;
    assert_eq!(tab.value("document.querySelectorAll('.events tbody tr').length").await, 2);
    clean(&app, &tab);
}

/// The rows of a CSV file.
fn rows(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows = reader.deserialize::<BTreeMap<String, String>>();
    rows.map(|row| row.expect("a row of the head's length")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_the_money_sums_to_what_is_left_and_holds_no_formula() {
    let app = eventful().await;
    let session = app.claimed().await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.open(&format!("{}/revenue", app.origin)).await;
    let link = "document.querySelectorAll('a[download]')[1].href";
    tab.until("document.querySelectorAll('a[download]').length === 2").await;
    assert!(tab.value(link).await.as_str().expect("an address").ends_with("/api/v1/revenue.csv"));
    let text = tab.value(&format!("fetch({link}).then((answer) => answer.text())")).await;
    let text = text.as_str().expect("a file");
    let rows = rows(text);
    let sum: i64 = rows.iter().map(|row| row["amount_msat"].parse::<i64>().expect("a number")).sum();
    let key = app.key(&[Scope::Read]).await;
    let account = ok(app.read("/api/v1/account", &key).await).await;
    assert_eq!(sum, account["balance_msat"].as_i64().expect("a number"));
    let audit = app.ledger.audit().await.expect("it reads");
    assert!(audit.ok);
    let (received, kept, twice) =
        (audit.sums.received_msat, audit.sums.opening_fees_msat, audit.sums.surplus_msat);
    assert_eq!(sum, received - kept + twice - 1_000_000 - 1_250);
    let of = |kind: &str| rows.iter().filter(|row| row["kind"] == kind).count();
    let kinds = ["opening_fee", "possible_surplus", "paid", "routing_fee"];
    assert_eq!(kinds.map(of), [1, 1, 1, 1]);
    let neutral = rows.iter().find(|row| row["quote"].contains("=1+1")).expect("it is there");
    assert_eq!(neutral["quote"], "'=1+1 USD at 64000");
    assert!(rows.iter().any(|row| row["amount_sat"] == "-1.25"));
    // What stands beside it is of the time on the page alone.
    tab.open(&format!("{}/revenue?range=24h", app.origin)).await;
    let link = "document.querySelectorAll('a[download]')[0].href";
    let text = tab.value(&format!("fetch({link}).then((answer) => answer.text())")).await;
    let of_today = self::rows(text.as_str().expect("a file"));
    let day = app.op.parts.clock.now().minus(super::HOUR * 24);
    let newest = app.ledger.payments(100, None).await.expect("it reads");
    let came = newest.iter().filter(|row| row.received_at > day).count();
    assert_eq!(of_today.iter().filter(|row| row["kind"] == "received").count(), came);
    assert!((1..rows.len()).contains(&of_today.len()), "{} of {}", of_today.len(), rows.len());
    clean(&app, &tab);

    // Everything that happened, too; and nobody who is not known gets it.
    let events = app.read("/api/v1/activity.csv", &key).await.text().await.expect("a file");
    let mut reader = csv::Reader::from_reader(events.as_bytes());
    let listed = reader.records().inspect(|row| assert!(row.is_ok())).count();
    let mut known = 0;
    let mut before = String::new();
    loop {
        let page: Value = ok(app.read(&format!("/api/v1/activity?limit=37{before}"), &key).await).await;
        known += page["activity"].as_array().expect("a list").len();
        match page["next_before"].as_i64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(listed, known);
    assert_eq!(app.get("/api/v1/revenue.csv").send().await.expect("an answer").status(), 401);
    assert_eq!(app.read("/api/v1/activity?about=nothing", &key).await.status(), 400);
}

/// A deposit to the vault, and a splice with all that the node tells of it, are one line each; in the table each is a
/// movement once.
#[tokio::test]
async fn one_deed_is_one_line_and_one_sum() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let (channel, peer) = ("ab".repeat(32), format!("02{}", "cd".repeat(32)));
    let ready = || Event::ChannelReady { channel_id: channel.clone(), peer: peer.clone() };
    app.ledger.log(ready()).await.expect("logged");
    let ask = json!({ "channel_id": channel, "amount_sat": 100_000, "address": "=1+1" });
    let begun = app.ledger.begin_operation("out", "splice_out", ask).await.expect("noted");
    let BegunOperation::New(id) = begun else { panic!("it is new") };
    app.ledger.note_operation(id, OperationState::Sent, json!({})).await.expect("noted");
    app.ledger.splice_agreed(channel.clone(), format!("{}:0", "5e".repeat(32))).await.expect("noted");
    app.ledger.log(ready()).await.expect("logged");
    let outcome = app.ledger.operation(id).await.expect("it reads").expect("it is there").outcome;
    let mut outcome = outcome.as_object().expect("facts").clone();
    outcome.insert("fee_sat".to_owned(), json!(183));
    app.ledger.note_operation(id, OperationState::Done, outcome.into()).await.expect("noted");
    let moved =
        |height| Event::VaultMoved { txid: "ef".repeat(32), received_sat: 50_000, sent_sat: 0, height };
    for height in [None, Some(230)] {
        app.ledger.log(moved(height)).await.expect("logged");
    }
    // Another one goes to the own wallet: its fee alone is gone.
    let ask = json!({ "channel_id": "7d".repeat(32), "amount_sat": 20_000, "address": "bcrt1qown" });
    let begun = app.ledger.begin_operation("own", "splice_out", ask).await.expect("noted");
    let BegunOperation::New(own) = begun else { panic!("it is new") };
    let outcome = json!({ "txid": "8d".repeat(32), "fee_sat": 171, "to_own_sat": 20_000 });
    app.ledger.note_operation(own, OperationState::Done, outcome).await.expect("noted");
    let page = async || {
        let get = app.get("/activity").header("cookie", &session).send().await;
        get.expect("an answer").text().await.expect("text")
    };
    let told = page().await;
    assert!(told.contains("done, to an address of your own wallet; its fee was 171 sat"), "{told}");
    let lines = |told: &str, words: &str| told.matches(words).count();
    let counts = ["+50,000", "−100,183", "−100,000", "Channel ready", "new size", "waits for a block"]
        .map(|words| lines(&told, words));
    assert_eq!(counts, [1, 1, 0, 1, 0, 0], "{told}");
    // One of the other side's is told by what the node says.
    app.ledger.splice_agreed(channel.clone(), format!("{}:0", "6f".repeat(32))).await.expect("noted");
    app.ledger.log(ready()).await.expect("logged");
    let told = page().await;
    let counts =
        ["Channel ready", "Channel has its new size", "new size waits"].map(|words| lines(&told, words));
    assert_eq!(counts, [1, 1, 1], "{told}");

    let key = app.key(&[Scope::Read]).await;
    let text = app.read("/api/v1/activity.csv", &key).await.text().await.expect("a file");
    let rows = rows(&text);
    let sum: i64 = rows.iter().filter_map(|row| row["amount_msat"].parse::<i64>().ok()).sum();
    assert_eq!(sum, (50_000 - 100_183 - 171) * 1_000);
    let words = "splice out: done, to an address of your own wallet";
    let own = rows.iter().find(|row| row["what"] == words).expect("it is there");
    assert_eq!((own["amount_sat"].as_str(), own["moved_sat"].as_str()), ("-171", "20000"));
    let done = rows.iter().find(|row| row["what"] == "splice out: done").expect("it is there");
    let told = ["amount_sat", "channel_id", "txid", "operation"].map(|name| done[name].as_str());
    let (txid, id) = ("5e".repeat(32), id.to_string());
    assert_eq!(told, ["-100183", &channel, &txid, &id]);
    assert!(done["event"].starts_with("{") && done["event"].contains("\"fee_sat\":183"), "{done:?}");
    let vault = rows.iter().filter(|row| row["kind"] == "vault_moved");
    let vault: Vec<(&str, &str)> = vault.map(|row| (&*row["what"], &*row["amount_sat"])).collect();
    let (seen, mined) = ("coins came to the vault, in no block yet", "coins came to the vault, in block 230");
    assert_eq!(vault, [(mined, "50000"), (seen, "")]);
    closed_and_costed(&app, &session, &key, sum).await;
    let free = |row: &BTreeMap<String, String>| row.values().all(|cell| !cell.starts_with(['=', '+', '@']));
    assert!(rows.iter().all(free), "no cell is a formula");
}

/// A close has what it cost in its line and its row, from when it is known what came back: with that the rows add up to
/// what is less than before.
async fn closed_and_costed(app: &AdminApp, session: &str, key: &str, before: i64) {
    let (channel_id, peer) = ("7c".repeat(32), format!("02{}", "cd".repeat(32)));
    let seen = ChannelSeen {
        local_id: "7".to_owned(),
        channel_id: channel_id.clone(),
        peer: peer.clone(),
        funding: Some("f7:0".to_owned()),
        capacity_sat: 50_000,
        outbound: true,
        announced: false,
        ready: true,
        ours_sat: Some(49_000),
        side_msat: Some(49_817_400),
    };
    let seen = ChannelsSeen { open: vec![seen], ..ChannelsSeen::default() };
    app.ledger.note_channels(seen, 100).await.expect("noted");
    let (reason, cause) = ("because".to_owned(), "forced_by_us".to_owned());
    let end = ChannelEnd { local_id: "7".to_owned(), channel_id, peer, reason, cause };
    app.ledger.end_channel(end).await.expect("noted");
    let table = async || {
        let text = app.read("/api/v1/activity.csv", key).await.text().await.expect("a file");
        let rows = rows(&text);
        let closed = rows.iter().find(|row| row["kind"] == "channel_closed").expect("it is there").clone();
        let home = rows.iter().find(|row| row["kind"] == "channel_coins_home").cloned();
        let sum: i64 = rows.iter().filter_map(|row| row["amount_msat"].parse::<i64>().ok()).sum();
        (closed, home, sum)
    };
    let (closed, home, sum) = table().await;
    assert_eq!((closed["amount_sat"].as_str(), home, sum), ("", None, before));
    assert_eq!(closed["what"], "channel closed: forced_by_us; what closing it costs is not known yet");
    app.ledger.note_came("7", Brought { amount_sat: 48_474, height: 260 }).await.expect("noted");
    let (closed, home, sum) = table().await;
    assert_eq!(closed["what"], "channel closed: forced_by_us");
    assert_eq!((closed["amount_sat"].as_str(), sum), ("-1343.4", before - 1_343_400));
    assert_eq!(
        home.map(|row| (row["amount_sat"].clone(), row["moved_sat"].clone())),
        Some((String::new(), "48474".to_owned()))
    );
    let get = app.get("/activity?about=channels").header("cookie", session).send().await;
    let told = get.expect("an answer").text().await.expect("text");
    assert!(told.contains("closing it cost 1,343.4 sat") && told.contains("−1,343.4"), "{told}");
}

/// A move of coins is one line, its newest, however many pages lie between its steps.
#[tokio::test]
async fn a_move_stands_once_on_all_pages() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let log = async |times: usize| {
        for _ in 0..times {
            app.ledger.log(Event::SeedVerified).await.expect("logged");
        }
    };
    let ask = json!({ "channel_id": "ab".repeat(32) });
    let BegunOperation::New(id) =
        app.ledger.begin_operation("end", "close_channel", ask).await.expect("noted")
    else {
        panic!("it is new")
    };
    log(60).await;
    let sent = json!({ "txid": "cd".repeat(32) });
    app.ledger.note_operation(id, OperationState::Sent, sent).await.expect("noted");
    log(60).await;
    let lines = async |before: &str| {
        let get = app.get(&format!("/activity{before}")).header("cookie", &session).send().await;
        let page = get.expect("an answer").text().await.expect("text");
        page.matches(&format!("href=\"/operations/{id}\"")).count()
    };
    let rows = app.ledger.activity(None, None, 200).await.expect("rows");
    let pages: Vec<String> =
        rows.chunks(50).skip(1).map(|rows| format!("?before={}", rows[0].id + 1)).collect();
    assert_eq!(pages.len(), 2);
    assert_eq!([lines("").await, lines(&pages[0]).await, lines(&pages[1]).await], [0, 1, 0]);
    app.ledger.note_operation(id, OperationState::Done, json!({})).await.expect("noted");
    assert_eq!([lines("").await, lines(&pages[0]).await, lines(&pages[1]).await], [1, 0, 0]);
    // A page of older steps alone still leads on.
    let older = app.get("/activity?about=coins&before=100").header("cookie", &session).send().await;
    let older = older.expect("an answer").text().await.expect("text");
    assert!(older.contains("how those ended") && older.contains(">Newest</a>"), "{older}");
}
