//! Coins through their whole life on a real bitcoind, moved with the commands that an operator types: in, out,
//! into channels and back, by agreement, by force, and by the other side's force, until they are spendable.

use std::collections::BTreeMap;

use bitcoin::Address;
use reqwest::Method;
use serde_json::{Value, json};

use crate::appliance::{Appliance, TURN, bitcoind_section, until};
use crate::bitcoind::Bitcoind;
use crate::e2e_run::fund;
use crate::esplora::Esplora;

/// LDK's delay of a forced close.
const DELAY: u32 = 144;

/// Runs a command that must succeed, and gives its JSON.
async fn does(node: &Appliance, command: &str, args: &[&str]) -> Value {
    let mut program = node.tool(command, args);
    program.arg("--json");
    let done = tokio::task::spawn_blocking(move || program.output()).await.expect("no panic");
    let done = done.expect("the program runs");
    let out = String::from_utf8(done.stdout).expect("UTF-8");
    assert_eq!(done.status.code(), Some(0), "{command} {args:?}: {out}");
    serde_json::from_str(&out).expect("one JSON object")
}

/// Waits until the operation has ended, and it is done.
async fn done(node: &Appliance, moved: &Value) -> Value {
    let path = format!("/api/v1/operations/{}", moved["operation"]);
    let ended = until("the operation's end", async || {
        let row = node.get(&path).await;
        (!row["ended_at"].is_null()).then_some(row)
    });
    let ended = ended.await;
    assert_eq!(ended["state"], "done", "{ended}");
    ended
}

/// Waits until something waits for a block, then mines some.
async fn confirm(bitcoind: &Bitcoind, blocks: u32) {
    until("a transaction", async || {
        let waiting = bitcoind.expect("getrawmempool", json!([])).await;
        waiting.as_array().filter(|waiting| !waiting.is_empty()).map(|_| ())
    })
    .await;
    bitcoind.mine(blocks).await;
}

async fn open(bitcoind: &Bitcoind, from: &Appliance, to: &Appliance) -> String {
    let place = format!("{}@{}", to.up().await["node_id"].as_str().expect("a key"), to.peers);
    let moved =
        does(from, "channels", &["open", &place, "--amount-sat", "300000", "--push-sat", "100000", "--yes"])
            .await;
    confirm(bitcoind, 6).await;
    let opened = done(from, &moved).await;
    let id = opened["outcome"]["channel_id"].as_str().expect("an id").to_owned();
    for node in [from, to] {
        node.node("a usable channel", |node| {
            let mut channels = node["channels"].as_array().into_iter().flatten();
            channels.any(|channel| channel["channel_id"] == id.as_str() && channel["usable"] == true)
        })
        .await;
    }
    id
}

/// The record of a closed channel, once it is as wanted; mines while it is not.
async fn record(bitcoind: &Bitcoind, node: &Appliance, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    until("the channel's record", async || {
        let closed = node.get("/api/v1/channels/closed").await;
        let mut rows = closed["channels"].as_array().into_iter().flatten();
        let row = rows.find(|row| row["channel_id"] == id).filter(|row| wanted(row)).cloned();
        if row.is_none() {
            bitcoind.mine(1).await;
            tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        }
        row
    })
    .await
}

fn returned(row: &Value) -> bool {
    row["returned_height"].is_u64() && row["closing_txid"].is_string() && row["came_sat"].is_u64()
}

async fn spendable(node: &Appliance) -> u64 {
    node.get("/api/v1/onchain").await["spendable_sat"].as_u64().expect("a number")
}

/// The wallet and what is still to come of a channel, each sum once.
async fn in_all(node: &Appliance, id: &str) -> (u64, u64, Value) {
    let coins = node.get("/api/v1/onchain").await;
    let part = |name: &str| -> u64 {
        let rows = coins[name].as_array().into_iter().flatten();
        let to_come = rows.filter(|row| row["channel_id"] == id && row["in_wallet"] == false);
        to_come.filter_map(|row| row["amount_sat"].as_u64()).sum()
    };
    let own = |name: &str| coins[name].as_u64().expect("a sum");
    let sum = own("total_sat") + own("splicing_sat") + part("claims") + part("sweeps") - own("leaving_sat");
    (coins["height"].as_u64().expect("a height"), sum, coins)
}

/// Mines `blocks`, one by one: at each height the wallet and what is still to come make up `wanted`, fees aside.
async fn counted_once(bitcoind: &Bitcoind, node: &Appliance, id: &str, wanted: u64, blocks: u32) {
    let right = |sum: u64| sum.abs_diff(wanted) < 5_000;
    for _ in 0..blocks {
        let (before, ..) = in_all(node, id).await;
        bitcoind.mine(1).await;
        let (height, sum, coins) = until("the block", async || {
            let seen = in_all(node, id).await;
            (seen.0 > before).then_some(seen)
        })
        .await;
        assert!(right(sum), "{sum} sat at height {height}, {wanted} wanted: {coins}");
    }
}

/// Waits for a sweep that the wallet has and no block: it is among the wallet's own coins, so that nothing is to come any
/// more; and no part of an open channel is listed as on its way.
async fn swept_and_counted_once(bitcoind: &Bitcoind, node: &Appliance, id: &str, wanted: u64) {
    let coins = until("the sweep, in no block", async || {
        let (_, sum, coins) = in_all(node, id).await;
        assert!(sum.abs_diff(wanted) < 5_000, "{sum} sat, {wanted} wanted: {coins}");
        let sweep = &coins["sweeps"][0];
        if sweep["txid"].is_null() {
            bitcoind.mine(1).await;
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            return None;
        }
        assert!(sweep["confirmed_height"].is_null(), "it is seen before its block: {coins}");
        (sweep["in_wallet"] == true).then_some(coins)
    })
    .await;
    // It may be spent at once, and it is in the history as what it brought.
    let brought = coins["sweeps"][0]["amount_sat"].as_u64().expect("a sum");
    let listed = node.get("/api/v1/onchain/transactions").await;
    let mut listed = listed["transactions"].as_array().into_iter().flatten();
    let sweep = listed.find(|tx| tx["txid"] == coins["sweeps"][0]["txid"]).expect("it is listed");
    assert_eq!((&sweep["amount_sat"], &sweep["outgoing"]), (&json!(brought), &json!(false)));
    let before = coins["spendable_sat"].as_u64().expect("a sum");
    counted_once(bitcoind, node, id, wanted, 2).await;
    let after = spendable(node).await;
    assert!(after.abs_diff(before) < 2_000, "{before} sat spendable before its block, {after} after it");
    let row = record(bitcoind, node, id, returned).await;
    assert_eq!(row["came_sat"], brought, "{row}");
}

/// An address of somebody else: of one kind or the other.
async fn away(bitcoind: &Bitcoind, kind: &str) -> String {
    let address: Address<_> =
        serde_json::from_value(bitcoind.expect("getnewaddress", json!(["", kind])).await)
            .expect("an address");
    address.assume_checked().to_string()
}

/// A chain, and two nodes on it with coins.
async fn world() -> (Bitcoind, Appliance, Appliance) {
    let bitcoind = Bitcoind::start().await;
    bitcoind.mine(101).await;
    let chain = bitcoind_section(bitcoind.port());
    let (shop, peer) = (Appliance::start(&chain, ""), Appliance::start(&chain, ""));
    shop.up().await;
    peer.up().await;
    fund(&bitcoind, &shop, &peer).await;
    (bitcoind, shop, peer)
}

#[tokio::test(flavor = "multi_thread")]
async fn coins_travel_and_come_back() {
    let _turn = TURN.lock().await;
    let (bitcoind, shop, peer) = world().await;
    assert_eq!(spendable(&shop).await, 1_000_000);

    // Out, at a rate that was chosen.
    let to = away(&bitcoind, "bech32").await;
    let sent = does(
        &shop,
        "wallet",
        &["send", &to, "--amount-sat", "50000", "--fee", "3.5", "--key", "rent", "--yes"],
    )
    .await;
    // What went is not shown as there, whether the wallet saw the transaction or not.
    let coins = does(&shop, "wallet", &["balance"]).await;
    let left = coins["total_sat"].as_u64().expect("a sum");
    assert!((949_000..=950_000).contains(&left) && coins["spendable_sat"] == left, "{coins}");
    let again = does(
        &shop,
        "wallet",
        &["send", &to, "--amount-sat", "50000", "--fee", "3.5", "--key", "rent", "--yes"],
    )
    .await;
    assert_eq!(again["operation"], sent["operation"]);
    // Another at once, of coins that the first one leaves, and not in its place.
    let next = away(&bitcoind, "bech32").await;
    let second =
        does(&shop, "wallet", &["send", &next, "--amount-sat", "30000", "--fee", "9", "--yes"]).await;
    confirm(&bitcoind, 6).await;
    let second = done(&shop, &second).await;
    let second = 30_000 + second["outcome"]["fee_sat"].as_u64().expect("a fee");
    let sent = done(&shop, &sent).await;
    assert_eq!(sent["outcome"]["sent_sat"], 50_000);
    let fee = sent["outcome"]["fee_sat"].as_u64().expect("a fee");
    assert!((400..700).contains(&fee), "3.5 sat/vB of 141 vB or more: {fee}");
    assert_eq!(spendable(&shop).await, 950_000 - fee - second);
    assert_eq!(
        bitcoind.expect("getreceivedbyaddress", json!([to, 1])).await.as_number().map(ToString::to_string),
        Some("0.0005".to_owned())
    );

    // Into a channel, more of it, some of it out again, and the rest by agreement.
    let id = open(&bitcoind, &shop, &peer).await;
    let short = &id[..12];
    let (_, whole, _) = in_all(&shop, &id).await;
    let spliced = does(&shop, "channels", &["splice-in", short, "--amount-sat", "100000", "--yes"]).await;
    let path = format!("/api/v1/operations/{}", spliced["operation"]);
    until("the splice", async || (!shop.get(&path).await["outcome"]["txid"].is_null()).then_some(())).await;
    // Counted once while it waits for a block, and at every height after it.
    let (_, sum, coins) = in_all(&shop, &id).await;
    assert!(sum.abs_diff(whole) < 5_000 && coins["splicing_sat"] == 100_000, "{whole} wanted: {coins}");
    counted_once(&bitcoind, &shop, &id, whole, 6).await;
    let (.., coins) = in_all(&shop, &id).await;
    assert_eq!(coins["splicing_sat"], 0, "{coins}");
    let spliced = done(&shop, &spliced).await;
    assert_eq!(spliced["outcome"]["capacity_sat"], 400_000);
    let fee = spliced["outcome"]["fee_sat"].as_u64().expect("a fee");
    assert!((100..5_000).contains(&fee), "{fee}");
    shop.node("the splice to be over", |node| node["channels"][0]["usable"] == true).await;
    let legacy = away(&bitcoind, "legacy").await;
    let path = format!("/api/v1/channels/{id}/splice-out?dry_run=true");
    let refused = shop.refused(&path, json!({ "address": legacy, "amount_sat": 60_000 })).await;
    assert_eq!(refused, (400, "bad_address".to_owned()));
    // Without an address it goes to the wallet.
    let ours = does(&shop, "channels", &["splice-out", short, "--amount-sat", "60000", "--dry-run"]).await;
    assert!(ours["lines"].to_string().contains("a fresh address of this node's own wallet"), "{ours}");
    let to = away(&bitcoind, "bech32").await;
    let spliced =
        does(&shop, "channels", &["splice-out", short, &to, "--amount-sat", "60000", "--yes"]).await;
    let path = format!("/api/v1/operations/{}", spliced["operation"]);
    until("the splice", async || (!shop.get(&path).await["outcome"]["txid"].is_null()).then_some(())).await;
    // What leaves is not counted in the channel any more, also before its block, and called no payment.
    let (.., coins) = in_all(&shop, &id).await;
    let leaving = coins["leaving_sat"].as_u64().expect("a sum");
    assert!((60_100..65_000).contains(&leaving), "{coins}");
    let held = shop.get("/api/v1/channels").await["channels"][0]["held"].clone();
    assert_eq!((&held["splicing_sat"], &held["under_way_sat"]), (&json!(leaving), &json!(0)), "{held}");
    confirm(&bitcoind, 6).await;
    let spliced = done(&shop, &spliced).await;
    let capacity = spliced["outcome"]["capacity_sat"].as_u64().expect("a capacity");
    assert!((335_000..340_000).contains(&capacity), "{capacity}");
    assert_eq!(spliced["outcome"]["fee_sat"], 340_000 - capacity);
    assert_eq!(leaving, 400_000 - capacity);
    let (.., coins) = in_all(&shop, &id).await;
    assert_eq!(coins["leaving_sat"], 0, "{coins}");
    shop.node("the splice to be over", |node| node["channels"][0]["usable"] == true).await;
    let before = spendable(&shop).await;
    let (_, whole, _) = in_all(&shop, &id).await;
    let closed = does(&shop, "channels", &["close", short, "--yes"]).await;
    let waiting = async || {
        let waiting = bitcoind.expect("getrawmempool", json!([])).await;
        waiting.as_array().filter(|waiting| !waiting.is_empty()).map(|_| ())
    };
    until("the closing transaction", waiting).await;
    counted_once(&bitcoind, &shop, &id, whole, 1).await;
    // What it paid is not due any more, however long the library goes on naming it.
    until("the record of it", async || {
        let closed = shop.get("/api/v1/channels/closed").await;
        (closed["channels"][0]["returned_height"].is_u64()).then_some(())
    })
    .await;
    let (_, _, coins) = in_all(&shop, &id).await;
    assert_eq!(coins["claims"][0]["in_wallet"], true, "{coins}");
    counted_once(&bitcoind, &shop, &id, whole, 6).await;
    done(&shop, &closed).await;
    let row = record(&bitcoind, &shop, &id, returned).await;
    assert_eq!((&row["cause"], row["sweeps"].as_array().map(Vec::len)), (&json!("agreed_by_us"), Some(0)));
    assert_eq!(row["capacity_sat"], capacity);
    assert!(row["opened_height"].as_u64() < row["closed_height"].as_u64(), "{row}");
    // Each size that it had is told, and the first one stays.
    let sizes = row["fundings"].as_array().into_iter().flatten().map(|one| one["capacity_sat"].clone());
    assert_eq!(sizes.collect::<Vec<_>>(), [json!(300_000), json!(400_000), json!(capacity)], "{row}");
    let theirs = record(&bitcoind, &peer, &id, returned).await;
    assert_eq!((&theirs["cause"], &theirs["closing_txid"]), (&json!("agreed_by_peer"), &row["closing_txid"]));
    let came = row["came_sat"].as_u64().expect("a sum");
    until("the coins", async || (spendable(&shop).await >= before + came).then_some(())).await;
    let listed = shop.get("/api/v1/onchain/transactions").await;
    let mut listed = listed["transactions"].as_array().into_iter().flatten();
    let closing = listed.find(|tx| tx["txid"] == row["closing_txid"]).expect("the wallet has it");
    assert_eq!(
        (&closing["amount_sat"], &closing["label"]),
        (&json!(came), &json!("Back from a closed channel"))
    );

    // By our force: the coins wait for the delay, and a sweep brings them.
    let id = open(&bitcoind, &shop, &peer).await;
    let closed = does(&shop, "channels", &["close", &id, "--force", "--yes"]).await;
    confirm(&bitcoind, 1).await;
    done(&shop, &closed).await;
    // Noted before further blocks come: its height is that of the close, however slow the machine is.
    until("the close", async || {
        let closed = shop.get("/api/v1/channels/closed").await;
        let mut rows = closed["channels"].as_array().into_iter().flatten();
        rows.any(|row| row["channel_id"] == id.as_str() && row["closed_height"].is_u64()).then_some(())
    })
    .await;
    // At the height that is named last the sweep may be sent, for the block after it.
    let matures = |row: &Value| {
        let closed = row["closed_height"].as_u64().unwrap_or(u64::MAX - u64::from(DELAY));
        row["claim_height"].as_u64().is_some_and(|due| due + 1 >= closed + u64::from(DELAY))
    };
    let row = record(&bitcoind, &shop, &id, matures).await;
    assert_eq!((&row["cause"], &row["returned_height"]), (&json!("forced_by_us"), &Value::Null));
    let due = row["claim_height"].as_u64().expect("a height");
    let (_, whole, _) = in_all(&shop, &id).await;
    bitcoind.mine(DELAY).await;
    swept_and_counted_once(&bitcoind, &shop, &id, whole).await;
    let row = record(&bitcoind, &shop, &id, returned).await;
    let sweep = &row["sweeps"][0];
    assert!(sweep["confirmed_height"].as_u64() >= Some(due), "{row}");
    assert_eq!(
        (sweep["confirmed_height"].as_u64(), row["sweeps"].as_array().map(Vec::len)),
        (row["returned_height"].as_u64(), Some(1))
    );

    // By the peer's force: ours are not delayed.
    let id = open(&bitcoind, &shop, &peer).await;
    does(&peer, "channels", &["close", &id, "--force", "--yes"]).await;
    confirm(&bitcoind, 1).await;
    let row = record(&bitcoind, &shop, &id, returned).await;
    assert!(
        ["forced_by_peer", "seen_on_chain"].contains(&row["cause"].as_str().unwrap_or_default()),
        "{row}"
    );

    // All of it: no channel is left, so nothing is kept back.
    let coins = does(&shop, "wallet", &["balance"]).await;
    assert_eq!(coins["reserved_sat"], 0, "{coins}");
    let to = away(&bitcoind, "bech32").await;
    let sent = does(&shop, "wallet", &["send", &to, "--all", "--fee", "slow", "--yes"]).await;
    confirm(&bitcoind, 6).await;
    let sent = done(&shop, &sent).await;
    let (all, fee) = (sent["outcome"]["sent_sat"].as_u64(), sent["outcome"]["fee_sat"].as_u64());
    assert_eq!(all.zip(fee).map(|(all, fee)| all + fee), coins["spendable_sat"].as_u64(), "{sent}");
    until("an empty wallet", async || (spendable(&shop).await == 0).then_some(())).await;
    for node in [&shop, &peer] {
        assert_eq!(node.get("/api/v1/audit").await["ok"], true);
    }

    // The log tells the one deposit, and each channel's coins when they were home; no close or splice as a deposit.
    let told = async |about: &str, kind: &str| {
        let all = shop.get(&format!("/api/v1/activity?limit=200&about={about}")).await;
        let rows = all["activity"].as_array().cloned().unwrap_or_default();
        rows.into_iter().filter(|row| row["kind"] == kind).collect::<Vec<Value>>()
    };
    let deposits = told("coins", "coins_arrived").await;
    assert_eq!(deposits.len(), 1, "{deposits:?}");
    assert_eq!(deposits[0]["amount_sat"], 1_000_000);
    let closed = shop.get("/api/v1/channels/closed").await;
    let home = until("all coins told as home", async || {
        let home = told("channels", "channel_coins_home").await;
        (home.len() >= 3).then_some(home)
    });
    assert_eq!((home.await.len(), closed["channels"].as_array().map(Vec::len)), (3, Some(3)));

    // With what each close cost, the rows of the table add up to what there is: nothing.
    for row in closed["channels"].as_array().into_iter().flatten() {
        assert!(row["closing_cost_msat"].as_u64().is_some_and(|msat| msat < 20_000_000), "{row}");
    }
    let (sum, rows) = summed(&shop).await;
    assert_eq!(sum, 0, "{rows:?} {closed}");
}

/// What the table of what happened adds up to, millisatoshi, and its rows.
async fn summed(node: &Appliance) -> (i64, Vec<BTreeMap<String, String>>) {
    let mut program = node.tool("activity", &["--csv"]);
    let table =
        tokio::task::spawn_blocking(move || program.output()).await.expect("no panic").expect("it runs");
    let mut table = csv::Reader::from_reader(table.stdout.as_slice());
    let rows: Vec<BTreeMap<String, String>> =
        table.deserialize().map(|row| row.expect("a row of the head's length")).collect();
    (rows.iter().filter_map(|row| row["amount_msat"].parse::<i64>().ok()).sum(), rows)
}

/// The closing transaction was signed for the least; the wallet adds one that pays for both.
#[tokio::test(flavor = "multi_thread")]
async fn what_brings_a_forced_close_into_a_block_is_told_as_its_cost() {
    let _turn = TURN.lock().await;
    let bitcoind = Bitcoind::start().await;
    bitcoind.mine(101).await;
    let esplora = Esplora::in_a_rush(&bitcoind, 25.0).await;
    let shop = Appliance::start(&format!("source = \"esplora\"\nurl = \"{}\"", esplora.url), "");
    let peer = Appliance::start(&bitcoind_section(bitcoind.port()), "");
    shop.up().await;
    peer.up().await;
    fund(&bitcoind, &shop, &peer).await;
    let id = open(&bitcoind, &shop, &peer).await;

    // Some of it to the wallet itself, which is known before the wallet lists it.
    let spliced = does(&shop, "channels", &["splice-out", &id[..12], "--amount-sat", "40000", "--yes"]).await;
    let kept = async |state: &str| {
        until("the splice", async || {
            let (_, rows) = summed(&shop).await;
            let mut rows = rows.into_iter().filter(|row| row["kind"] == "operation_changed");
            rows.find(|row| row["what"].starts_with(&format!("splice out: {state}")))
        })
        .await
    };
    let before = kept("sent").await;
    assert!(before["what"].ends_with("to an address of your own wallet"), "{before:?}");
    confirm(&bitcoind, 6).await;
    let spliced = done(&shop, &spliced).await;
    assert_eq!(spliced["outcome"]["to_own_sat"], 40_000, "{spliced}");
    let (after, fee) = (kept("done").await, spliced["outcome"]["fee_sat"].as_i64().expect("a fee"));
    assert_eq!((&*after["moved_sat"], &after["amount_sat"]), ("40000", &format!("-{fee}")));
    shop.node("the splice to be over", |node| node["channels"][0]["usable"] == true).await;

    let closed = does(&shop, "channels", &["close", &id, "--force", "--yes"]).await;
    until("the closing transaction and what pays for it", async || {
        let waiting = bitcoind.expect("getrawmempool", json!([])).await;
        (waiting.as_array().map(Vec::len) >= Some(2)).then_some(())
    })
    .await;
    bitcoind.mine(1).await;
    done(&shop, &closed).await;
    let paid = until("what the wallet paid for it", async || {
        let listed = shop.get("/api/v1/onchain/transactions").await;
        let mut listed = listed["transactions"].as_array().cloned().unwrap_or_default().into_iter();
        listed.find(|tx| tx["purpose"] == "close_fee")
    })
    .await;
    assert_eq!(
        (&paid["label"], &paid["channel_id"]),
        (&json!("Fee to close a channel by force"), &json!(id))
    );
    let (_, rows) = summed(&shop).await;
    let told = rows.iter().find(|row| row["kind"] == "close_fee_paid").expect("it is told");
    assert_eq!((&told["channel_id"], &json!(told["txid"])), (&id, &paid["txid"]));
    bitcoind.mine(DELAY).await;
    record(&bitcoind, &shop, &id, returned).await;
    // Each satoshi once: what came less what went is what there is.
    let coins = shop.get("/api/v1/onchain").await;
    let (sum, rows) = summed(&shop).await;
    let moves: Vec<_> =
        rows.iter().map(|row| (&row["what"], &row["amount_sat"], &row["moved_sat"])).collect();
    assert_eq!(sum / 1_000, coins["total_sat"].as_i64().expect("a sum"), "{moves:?} {paid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_that_is_told_can_leave_a_channel() {
    let _turn = TURN.lock().await;
    let (bitcoind, shop, peer) = world().await;
    let id = open(&bitcoind, &shop, &peer).await;
    let (path, to) = (format!("/api/v1/channels/{id}/splice-out"), away(&bitcoind, "bech32").await);
    let all = json!({ "address": to, "amount_sat": 300_000 });
    let plan = shop.post(&format!("{path}?dry_run=true"), all.clone()).await;
    let most = plan["figures"]["most_sat_about"].as_u64().expect("a sum");
    assert!(plan["enough"] == false && most > 190_000, "{plan}");
    // Who asked for it at once is told the same: the node only says that it cannot be.
    let (_, said) = shop.try_api(Method::POST, &path, Some(&all)).await.expect("an answer");
    let words = format!("at most about {most} sat can leave the channel now: of the ");
    assert!(
        said["code"] == "node_refused" && said["detail"].as_str().is_some_and(|it| it.contains(&words)),
        "{said}"
    );

    let amount = most.to_string();
    // Without an address it goes to the own wallet; under the same key it is the same splice.
    let args = ["splice-out", &id, "--amount-sat", &amount, "--yes", "--key", "most"];
    let spliced = does(&shop, "channels", &args).await;
    assert_eq!(does(&shop, "channels", &args).await["operation"], spliced["operation"]);
    confirm(&bitcoind, 6).await;
    let spliced = done(&shop, &spliced).await;
    assert_eq!(spliced["outcome"]["to_own_sat"], most, "{spliced}");
    let capacity = spliced["outcome"]["capacity_sat"].as_u64().expect("a capacity");
    assert!(capacity < 300_000 - most, "{spliced}");
}
