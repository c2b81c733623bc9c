//! The on-chain wallet in the browser: sending with the question before it, what a move became, the vault.

use std::sync::Arc;

use bitcoin::{Address, Amount, Network};
use tokio_util::sync::CancellationToken;
use tollhouse::ports::{ChainTx, Claim, CoinsView, Sweep, Waits};
use tollhouse::store::OperationState;

use super::{clean, logged_in, look_at};
use crate::admin_app::AdminApp;
use crate::bitcoind::Bitcoind;
use crate::chromium::{Chromium, Tab};
use crate::vault::{account, bitcoind_source};

const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

fn tx(n: u8, outgoing: bool, amount_sat: u64, confirmed_height: Option<u32>) -> ChainTx {
    ChainTx {
        txid: hex::encode([n; 32]),
        outgoing,
        amount_sat,
        fee_sat: outgoing.then_some(209),
        confirmed_height,
        settled: confirmed_height.is_some_and(|height| height < 225),
        at_secs: 1_760_000_000 + u64::from(n) * 600,
    }
}

/// A wallet with some history, and coins on their way home.
fn travelled(app: &AdminApp) {
    let mut wallet = app.node.wallet.lock().expect("no panic");
    wallet.coins = CoinsView {
        height: 231,
        total_sat: 1_734_500,
        spendable_sat: 1_504_500,
        reserved_sat: 25_000,
        reserve_wanted_sat: 50_000,
        claims: vec![Claim {
            channel_id: "1b".repeat(32),
            peer: "02".repeat(33),
            amount_sat: 412_000,
            waits: Waits::Confirmations,
            until_height: Some(361),
            in_wallet: false,
            open: false,
        }],
        sweeps: vec![Sweep {
            channel_id: Some("2c".repeat(32)),
            amount_sat: 96_500,
            txid: Some("3d".repeat(32)),
            sent_height: Some(230),
            confirmed_height: None,
            in_wallet: false,
        }],
        ..CoinsView::default()
    };
    wallet.transactions = (1..=30u8)
        .map(|n| tx(n, n.is_multiple_of(3), u64::from(n) * 12_345, (n < 30).then_some(200 + u32::from(n))))
        .collect();
}

/// Types into the field that `selector` finds.
async fn fill(tab: &Tab<'_>, selector: &str, text: &str) {
    tab.click(selector).await;
    tab.types(text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coins_are_legible() {
    let app = AdminApp::start().await;
    travelled(&app);
    let session = app.claimed().await;
    for (key, state) in [("sent", OperationState::Sent), ("unclear", OperationState::Unclear)] {
        let ask = serde_json::json!({ "address": ADDRESS, "amount_sat": 20_000, "fee": "normal" });
        let begun = app.ledger.begin_operation(key, "send", ask).await.expect("noted");
        let tollhouse::store::BegunOperation::New(id) = begun else { panic!("it is new") };
        let outcome = match state {
            OperationState::Sent => serde_json::json!({ "txid": "1e".repeat(32), "fee_sat": 209 }),
            _ => serde_json::json!({ "reason": "the appliance ended before the node's answer was noted" }),
        };
        app.ledger.note_operation(id, state, outcome).await.expect("noted");
    }
    // A splice that waits for its first block.
    app.node.channels.lock().expect("no panic").push(crate::admin_app::usable_channel(90_000, 10_000));
    let ask = serde_json::json!({ "channel_id": "11".repeat(32), "amount_sat": 200_000 });
    let before = serde_json::json!({ "before": { "height": 231, "local_id": "1", "total_sat": 1_934_700 } });
    let begun = app.ledger.begin_marked_operation("in", "splice_in", ask, before, None).await.expect("noted");
    let tollhouse::store::BegunOperation::New(id) = begun else { panic!("it is new") };
    let facts =
        serde_json::json!({ "txid": "4f".repeat(32), "spliced_to": format!("{}:0", "4f".repeat(32)) });
    let noted = app.ledger.note_facts(id, OperationState::Intended, OperationState::Sent, facts).await;
    assert_eq!(noted.expect("noted").state, OperationState::Sent);
    let page = app.get("/coins").header("cookie", &session).send().await.expect("an answer");
    let page = page.text().await.expect("text");
    let missing = "25,000 sat are missing of the 50,000 sat that are to be kept back";
    for said in [
        missing,
        "On its way into a channel",
        ">200,000<",
        "205,000 sat are on their way in",
        "4f4f4f",
        "Put into a channel",
        "/operations/1\">Sent<",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let pages = [
        ("coins", "/coins"),
        ("coins-send", "/coins/send"),
        ("coins-receive", "/coins/receive"),
        ("operation-sent", "/operations/1"),
        ("operation-unclear", "/operations/2"),
    ];
    look_at(&app, &session, &pages).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coins_are_sent_once_after_the_question_and_the_page_says_what_became_of_it() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    tab.open(&format!("{}/coins", app.origin)).await;
    tab.click("a[href='/coins/send']").await;
    tab.until("location.pathname === '/coins/send' && !!document.querySelector('#to')").await;

    // What is wrong is said, and nothing that was typed is lost.
    fill(&tab, "#to", "nonsense\"><script>").await;
    fill(&tab, "#amount", "20,000").await;
    tab.click("input[value=fast]").await;
    tab.click("main button[type=submit]").await;
    tab.until("!!document.querySelector('.refusal')").await;
    assert!(tab.text(".refusal").await.contains("is not a bitcoin address"));
    assert_eq!(tab.value("document.querySelector('#to').value").await, "nonsense\"><script>");
    assert_eq!(tab.value("document.querySelector('#amount').value").await, "20,000");
    assert_eq!(tab.value("document.querySelector('input[value=fast]').checked").await, true);
    assert_eq!(tab.value("document.querySelectorAll('script:not([nonce])').length").await, 0);

    tab.value("document.querySelector('#to').value = ''; 1").await;
    fill(&tab, "#to", ADDRESS).await;
    tab.click("main button[type=submit]").await;
    tab.until("document.querySelector('h1')?.textContent === 'Send 20,000 sat?'").await;
    let question = tab.text("main").await;
    for said in [ADDRESS, "9 sat/vB", "25,000 sat stay back", "cannot be undone"] {
        assert!(question.contains(said), "{said}: {question}");
    }
    assert!(app.node.sent.lock().expect("no panic").is_empty(), "asking sends nothing");
    tab.click("main button[type=submit]").await;
    tab.until("location.pathname === '/operations/1'").await;
    assert!(tab.text("main").await.contains("waits for a block"));
    assert_eq!(app.node.sent.lock().expect("no panic").len(), 1);
    clean(&app, &tab);

    // Six minutes later the password is asked for again.
    app.clock.advance(std::time::Duration::from_secs(360));
    tab.open(&format!("{}/coins/send", app.origin)).await;
    fill(&tab, "#to", ADDRESS).await;
    tab.click("input[name=all]").await;
    tab.click("main button[type=submit]").await;
    tab.until("!!document.querySelector('#password')").await;
    fill(&tab, "#password", "wrong horse battery").await;
    tab.click("main button[type=submit]").await;
    tab.until("!!document.querySelector('.refusal')").await;
    assert_eq!(app.node.sent.lock().expect("no panic").len(), 1);
    clean(&app, &tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_settled_by_the_operator() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let ask = serde_json::json!({ "address": ADDRESS, "amount_sat": 20_000, "fee": "normal" });
    app.ledger.begin_operation("k", "send", ask).await.expect("noted");
    let why = serde_json::json!({ "reason": "<img src=x onerror=alert(1)>" });
    app.ledger.note_operation(1, OperationState::Unclear, why).await.expect("noted");
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.open(&format!("{}/operations/1", app.origin)).await;
    let said = tab.text("main").await;
    assert!(said.contains("Unclear") && said.contains("may pay twice"), "{said}");
    assert_eq!(tab.value("document.querySelectorAll('img').length").await, 0);
    tab.click("button[value=failed]").await;
    tab.until("document.querySelector('h1')?.textContent === 'It failed?'").await;
    tab.click("main button[type=submit]").await;
    tab.until("document.querySelector('h1')?.textContent === 'Send 20,000 sat'").await;
    assert!(tab.text("main").await.contains("Not done"));
    let row = app.ledger.operation(1).await.expect("it reads").expect("it is there");
    assert_eq!(row.state, OperationState::Failed);
    clean(&app, &tab);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_wallet_shows_where_to_put_coins() {
    let app = AdminApp::start().await;
    app.node.wallet.lock().expect("no panic").coins = CoinsView::default();
    let session = app.claimed().await;
    look_at(&app, &session, &[("coins-empty", "/coins")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_is_set_and_its_deposit_is_seen() {
    let bitcoind = Bitcoind::start().await;
    bitcoind.mine(101).await;
    let app = AdminApp::watching(bitcoind_source(&bitcoind)).await;
    let stop = CancellationToken::new();
    app.op.parts.tracker.spawn(Arc::clone(&app.op.parts.vault).run(stop.clone()));
    let session = app.claimed().await;
    let browser = Chromium::start();
    let tab = logged_in(&app, &browser, &session).await;
    tab.looks(1440, 900, "light").await;
    tab.open(&format!("{}/coins", app.origin)).await;
    tab.click("a[href='/coins/vault']").await;
    tab.until("!!document.querySelector('#keys')").await;
    let (private, public) = account(Network::Regtest);

    // A private key is neither taken nor said again.
    let told = "document.querySelector('label[for=birthday]').innerText";
    assert_eq!(tab.value(told).await, "From block", "bitcoind is read block by block");
    assert_eq!(tab.value("document.querySelector('#birthday').value").await, "now");
    fill(&tab, "#keys", &private.to_string()).await;
    tab.click("main button[type=submit]").await;
    tab.until("!!document.querySelector('.refusal')").await;
    assert!(tab.text(".refusal").await.contains("private key"));
    let page = tab.value("document.documentElement.outerHTML").await;
    assert!(!page.as_str().expect("text").contains(&private.to_string()));

    fill(&tab, "#keys", &public.to_string()).await;
    tab.value("document.querySelector('#form').value = 'bip84'; 1").await;
    // A browser would not send it so.
    tab.value("Object.assign(document.querySelector('#birthday'), { required: false, value: '' }); 1").await;
    tab.click("main button[type=submit]").await;
    tab.until("document.querySelector('.refusal')?.innerText.includes('From block')").await;
    assert!(!tab.text(".refusal").await.contains('`'));
    assert_eq!(tab.value("document.querySelector('#keys').value").await, public.to_string(), "it was kept");
    let height = bitcoind.height().await;
    fill(&tab, "#birthday", &height.to_string()).await;
    tab.click("main button[type=submit]").await;
    tab.until("document.querySelector('h1')?.textContent === 'Watch this vault?'").await;
    let asked = tab.text("main").await;
    assert!(asked.contains("bcrt1q6rz28mcfaxtmd6v789l9rrlrusdprr9pz3cppk"), "{asked}");
    assert!(asked.contains(&format!("bitcoind is read from block {height} on.")), "{asked}");
    assert_eq!(app.op.parts.vault.view(), None, "asking sets nothing");
    tab.click("main button[type=submit]").await;
    tab.until("location.pathname === '/coins/vault' && !!document.querySelector('.said')").await;

    let known = async {
        while app.op.parts.vault.view().and_then(|view| view.scanned_at).is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(crate::admin_app::PATIENCE, known).await.expect("its past is known");
    tab.open(&format!("{}/coins/vault", app.origin)).await;
    tab.click("form[action='/coins/vault/address'] button").await;
    tab.until("location.pathname === '/coins/vault/address' && !!document.querySelector('.qr')").await;
    let address = tab.text(".copyable code").await;
    let to: Address<_> = address.parse().expect("an address");
    bitcoind.send(&to.assume_checked(), Amount::from_sat(70_000)).await;
    // On its way it is told apart from what is there.
    let under_way = async {
        while app.op.parts.vault.view().expect("a vault").balance.pending_sat < 70_000 {
            app.op.parts.vault.look_now();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(crate::admin_app::PATIENCE, under_way).await.expect("the deposit is on its way");
    look_at(&app, &session, &[("vault-waiting", "/coins/vault"), ("coins-vault-waiting", "/coins")]).await;
    tab.open(&format!("{}/coins/vault", app.origin)).await;
    let page = tab.text("main").await;
    assert!(page.contains("On its way, in no block yet") && !page.contains("Paid"), "{page}");
    bitcoind.mine(1).await;
    let seen = async {
        while app.op.parts.vault.view().expect("a vault").balance.confirmed_sat < 70_000 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(crate::admin_app::PATIENCE, seen).await.expect("the deposit is seen");
    tab.open(&format!("{}/coins/vault", app.origin)).await;
    assert_eq!(tab.text(".figure").await.replace('\n', " "), "70,000 sat");
    let page = tab.text("main").await;
    assert!(page.contains(&address) && page.contains("+70,000") && page.contains("Paid"), "{page}");
    clean(&app, &tab);
    let pages = [
        ("coins-with-vault", "/coins"),
        ("vault", "/coins/vault"),
        ("vault-address", "/coins/vault/address"),
        ("vault-set", "/coins/vault/set"),
        ("send-to-vault", "/coins/send?to=vault"),
    ];
    look_at(&app, &session, &pages).await;

    // To the vault: an address of it that nobody had.
    tab.open(&format!("{}/coins/send?to=vault", app.origin)).await;
    fill(&tab, "#amount", "5000").await;
    tab.click("main button[type=submit]").await;
    tab.until("document.querySelector('h1')?.textContent === 'Send 5,000 sat?'").await;
    tab.click("main button[type=submit]").await;
    tab.until("location.pathname.startsWith('/operations/')").await;
    let sent = app.node.sent.lock().expect("no panic").clone();
    assert!(sent[0].0.starts_with("bcrt1q") && sent[0].0 != address, "{sent:?}");

    tab.open(&format!("{}/coins/vault", app.origin)).await;
    tab.click("form[action='/coins/vault/remove'] button").await;
    tab.until("document.querySelector('h1')?.textContent === 'Remove this vault?'").await;
    tab.click("main button[type=submit]").await;
    tab.until("document.querySelector('.said')?.innerText.includes('not watched any more')").await;
    assert_eq!(app.op.parts.vault.view(), None);
    clean(&app, &tab);
    stop.cancel();
}
