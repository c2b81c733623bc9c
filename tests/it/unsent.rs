//! A chain source that is away in the moment in which the node has a transaction for it: the library tries once.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::appliance::{Appliance, TURN, bitcoind_section, until};
use crate::bitcoind::Bitcoind;
use crate::e2e_run::{Upstream, fund, open_channel};

/// The way to a bitcoind, which can be closed and opened again.
struct Wire {
    port: u16,
    open: Arc<watch::Sender<bool>>,
    _stop: DropGuard,
}

impl Wire {
    async fn to(bitcoind: &Bitcoind) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (open, stop, tasks) =
            (Arc::new(watch::Sender::new(true)), CancellationToken::new(), TaskTracker::new());
        let (gate, ending, far) = (Arc::clone(&open), stop.clone(), bitcoind.port());
        tasks.clone().spawn(ending.clone().run_until_cancelled_owned(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut gate = gate.subscribe();
                tasks.spawn(ending.clone().run_until_cancelled_owned(async move {
                    if !*gate.borrow_and_update() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", far)).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = gate.wait_for(|open| !open) => {}
                    }
                }));
            }
        }));
        Wire { port, open, _stop: stop.drop_guard() }
    }

    fn close(&self) {
        self.open.send_replace(false);
    }

    fn open(&self) {
        self.open.send_replace(true);
    }
}

/// What of `node` waits for its chain source.
async fn unsent(node: &Appliance) -> Vec<Value> {
    node.get("/api/v1/chain").await["unsent"].as_array().cloned().unwrap_or_default()
}

async fn alarmed(node: &Appliance) -> Option<Value> {
    let alarms = node.get("/api/v1/health").await;
    let mut alarms = alarms["alarms"].as_array().into_iter().flatten();
    alarms.find(|alarm| alarm["code"] == "transactions_unsent").cloned()
}

/// What waits for a block.
async fn waiting(bitcoind: &Bitcoind) -> Vec<Value> {
    bitcoind.expect("getrawmempool", json!([])).await.as_array().cloned().unwrap_or_default()
}

/// What a command says, and what it ends with.
async fn says(node: &Appliance, command: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut program = node.tool(command, args);
    let done = tokio::task::spawn_blocking(move || program.output()).await.expect("no panic");
    let done = done.expect("the program runs");
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).concat();
    (done.status.code(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreed_close_that_no_source_took_is_published_when_one_is_back() {
    let _turn = TURN.lock().await;
    let (bitcoind, upstream) = (Bitcoind::start().await, Upstream::start().await);
    bitcoind.mine(101).await;
    let (ours, theirs) = (Wire::to(&bitcoind).await, Wire::to(&bitcoind).await);
    let mut shop = Appliance::start(&bitcoind_section(ours.port), "");
    let mut peer = Appliance::start(&bitcoind_section(theirs.port), &upstream.service());
    shop.up().await;
    peer.up().await;
    fund(&bitcoind, &peer, &shop).await;
    assert_eq!((unsent(&shop).await, alarmed(&shop).await), (Vec::new(), None));

    // Its source answers, and doctor says what it heard of it just now.
    let (_, told) = says(&shop, "doctor", &[]).await;
    assert!(told.contains("answers now, in") && told.contains("fee rates are known, as of"), "{told}");

    // Without a restart: what the wallet sends while nobody answers goes out when somebody does.
    ours.close();
    // Long before any limit of staleness: it is asked at once.
    let (exit, told) = says(&shop, "doctor", &[]).await;
    assert!(exit == Some(3) && told.contains("Asked now, the chain source"), "{told}");
    assert!(!told.contains("ok        chain") && !told.contains("ok        fees"), "{told}");
    let to = bitcoind.expect("getnewaddress", json!([])).await;
    let to = to.as_str().expect("an address");
    // Nobody can say what a normal fee is: neither before it is asked nor when it is done is one made up.
    for last in ["--dry-run", "--yes"] {
        let (exit, told) = says(&shop, "wallet", &["send", to, "--amount-sat", "20000", last]).await;
        assert!(
            exit == Some(1) && told.contains("No fee can be estimated now, so nothing was sent"),
            "{told}"
        );
    }
    let send = ["send", to, "--amount-sat", "20000", "--fee", "2", "--yes", "--key", "while-away"];
    let (exit, told) = says(&shop, "wallet", &send).await;
    assert!(
        exit == Some(0)
            && told.contains("is not on its way yet")
            && told.contains("no chain source took it yet"),
        "{told}"
    );
    let waits = until("a transaction that waits", async || unsent(&shop).await.into_iter().next()).await;
    let sent = shop.get("/api/v1/operations?key=while-away").await["operations"][0].clone();
    for (command, args, words) in [
        ("operations", &["show", "while-away"][..], "no chain source took it yet"),
        ("operations", &[], "not taken by a chain source yet"),
        ("wallet", &["history"], "Not taken: signed, and no chain source took it yet"),
    ] {
        let (_, told) = says(&shop, command, args).await;
        assert!(told.contains(words), "{command} {args:?}: {told}");
    }
    ours.open();
    until("the payment", async || waiting(&bitcoind).await.contains(&waits["txid"]).then_some(())).await;
    bitcoind.mine(6).await;
    let path = format!("/api/v1/operations/{}", sent["operation"]);
    let ended = until("the operation's end", async || {
        let row = shop.get(&path).await;
        (!row["ended_at"].is_null()).then_some(row)
    })
    .await;
    assert_eq!((&ended["state"], &ended["outcome"]["txid"]), (&json!("done"), &waits["txid"]), "{ended}");
    open_channel(&bitcoind, &peer, &shop).await;

    // Both sides agree, and neither reaches the chain.
    ours.close();
    theirs.close();
    let channel = shop.get("/api/v1/status").await["node"]["channels"][0]["channel_id"].clone();
    let path = format!("/api/v1/channels/{}", channel.as_str().expect("an id"));
    let (status, answer) = shop.try_api(reqwest::Method::DELETE, &path, None).await.expect("an answer");
    assert!(status.is_success(), "{answer}");
    let waits = until("a transaction that waits", async || unsent(&shop).await.into_iter().next()).await;
    let closed = until("the closed channel", async || {
        let closed = shop.get("/api/v1/channels/closed").await;
        closed["channels"].as_array().into_iter().flatten().find(|row| row["channel_id"] == channel).cloned()
    })
    .await;
    assert_eq!(
        (&closed["cause"], &closed["closing_txid"]),
        (&json!("agreed_by_us"), &Value::Null),
        "{closed}"
    );
    let txid = waits["txid"].as_str().expect("an id");
    let (_, told) = says(&shop, "channels", &["closed"]).await;
    assert!(
        told.contains(&format!("{txid} (not taken yet)")) && told.contains("waiting for a chain source"),
        "{told}"
    );
    let beginning = channel.as_str().and_then(|id| id.get(..8)).expect("an id");
    let (_, told) = says(&shop, "channels", &["show", beginning]).await;
    assert!(told.contains("no chain source took it"), "{told}");
    let (_, told) = says(&shop, "wallet", &["sweeps"]).await;
    assert!(!told.contains("open") && !told.contains("being swept"), "{told}");
    let alarm = until("the alarm", async || alarmed(&shop).await).await;
    assert!(
        alarm["text"].as_str().expect("a text").contains(waits["txid"].as_str().expect("an id")),
        "{alarm}"
    );

    // The other side never publishes it; and we are killed with it.
    peer.stop().await;
    shop.kill().await;
    assert_eq!(waiting(&bitcoind).await, Vec::<Value>::new());
    shop.start_again();
    ours.open();
    shop.up().await;
    until("the closing transaction", async || {
        waiting(&bitcoind).await.contains(&waits["txid"]).then_some(())
    })
    .await;
    assert_eq!(
        waiting(&bitcoind).await,
        [waits["txid"].clone()],
        "the agreed one, and no forced close beside it"
    );
    until("nothing that waits", async || unsent(&shop).await.is_empty().then_some(())).await;
    bitcoind.mine(6).await;
    let back = until("the coins", async || {
        let closed = shop.get("/api/v1/channels/closed").await;
        let mut rows = closed["channels"].as_array().into_iter().flatten();
        rows.find(|row| row["came_sat"].is_u64()).cloned()
    })
    .await;
    assert_eq!((&back["closing_txid"], &back["cause"]), (&waits["txid"], &json!("agreed_by_us")), "{back}");
    until("no alarm", async || alarmed(&shop).await.is_none().then_some(())).await;
}
