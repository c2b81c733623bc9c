//! The vault, on each kind of chain source over a real bitcoind, and its face in the admin API.

use std::sync::Arc;

use bip39::Mnemonic;
use bitcoin::bip32::{DerivationPath, Xpriv, Xpub};
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{Address, Amount, Network};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::chain::{ChainSource, RpcAuth, Sources};
use tollhouse::clock::SystemClock;
use tollhouse::event::Event;
use tollhouse::ports::NoColdAddress;
use tollhouse::store::Ledger;
use tollhouse::types::Timestamp;
use tollhouse::vault::{Form, Vault, VaultAsk, VaultFault, VaultView};
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, ok};
use crate::appliance::until;
use crate::bitcoind::Bitcoind;
use crate::electrum::Electrum;
use crate::esplora::Esplora;

const WORDS: &str =
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

pub(crate) fn account(network: Network) -> (Xpriv, Xpub) {
    let secp = Secp256k1::new();
    let seed = Mnemonic::parse(WORDS).expect("words").to_seed("");
    let master = Xpriv::new_master(network, &seed).expect("a key");
    let path: DerivationPath = "m/84'/1'/0'".parse().expect("a path");
    let key = master.derive_priv(&secp, &path).expect("a key");
    (key, Xpub::from_priv(&secp, &key))
}

fn ask(birthday: Option<u32>, gap: u32) -> VaultAsk {
    VaultAsk { key: account(Network::Regtest).1.to_string(), form: Some(Form::Bip84), gap, birthday }
}

/// A vault that follows a chain source.
struct Watch {
    folder: TempDir,
    ledger: Ledger,
    vault: Arc<Vault>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Watch {
    async fn start(source: ChainSource) -> Watch {
        Watch::in_folder(TempDir::new().expect("a folder"), source).await
    }

    async fn in_folder(folder: TempDir, source: ChainSource) -> Watch {
        let clock = SystemClock::new(Timestamp::default());
        let (ledger, _) = Ledger::open(&folder.path().join("ledger.db"), clock.clone()).expect("a ledger");
        let sources = Arc::new(Sources::new(source.into()));
        let vault = Vault::open(ledger.clone(), sources, Network::Regtest, clock).await.expect("it opens");
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(Arc::clone(&vault).run(stop.clone()));
        Watch { folder, ledger, vault, stop, tasks }
    }

    async fn end(self) -> TempDir {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.ledger.close().await.expect("closed");
        self.folder
    }

    async fn sees(&self, what: &str, wanted: impl Fn(&VaultView) -> bool) -> VaultView {
        until(what, async || {
            self.vault.look_now();
            self.vault.view().filter(|view| wanted(view))
        })
        .await
    }

    async fn address(&self, deposit: &str) -> Address {
        let given = self.vault.next_address(deposit).await.expect("an address");
        given.address.parse::<Address<_>>().expect("an address").assume_checked()
    }

    /// Blocks of the transactions that were told of, in order.
    async fn told(&self) -> Vec<Option<u32>> {
        let events = self.ledger.events_after(0, 1_000).await.expect("events");
        let moved = events.into_iter().filter_map(|logged| match logged.event {
            Event::VaultMoved { height, .. } => Some(height),
            _ => None,
        });
        moved.collect()
    }
}

pub(crate) fn bitcoind_source(bitcoind: &Bitcoind) -> ChainSource {
    let (user, password) = (Bitcoind::USER.to_owned(), Bitcoind::PASSWORD.to_owned());
    let auth = RpcAuth::Password { user, password };
    ChainSource::Bitcoind { host: "127.0.0.1".to_owned(), port: bitcoind.port(), auth }
}

/// A deposit of long ago is found, fresh addresses are fresh, a new deposit is seen waiting and confirmed, and all is
/// there after a restart.
async fn deposits_are_seen(bitcoind: &Bitcoind, source: ChainSource) {
    // Somebody used the keys before: numbers 0 and 3.
    let old = Watch::start(bitcoind_source(bitcoind)).await;
    let height = u32::try_from(bitcoind.height().await).expect("a height");
    old.vault.set(ask(Some(height), 20)).await.expect("it is taken");
    old.sees("the old keys", |view| view.scanned_at.is_some()).await;
    for deposit in ["a", "b", "c", "d"] {
        let address = old.address(deposit).await;
        if ["a", "d"].contains(&deposit) {
            bitcoind.send(&address, Amount::from_sat(100_000)).await;
        }
    }
    bitcoind.mine(1).await;
    old.end().await;

    let watch = Watch::start(source.clone()).await;
    assert_eq!(watch.vault.next_address("x").await, Err(NoColdAddress::NotSet));
    let set = watch.vault.set(ask(Some(height.saturating_sub(3)), 5)).await.expect("it is taken");
    assert_eq!(set.first_address, "bcrt1q6rz28mcfaxtmd6v789l9rrlrusdprr9pz3cppk");
    let seen = watch.sees("what is in it", |view| view.scanned_at.is_some()).await;
    assert_eq!((seen.balance.confirmed_sat, seen.balance.pending_sat), (200_000, 0), "{seen:?}");
    assert_eq!((seen.next_index, seen.unpaid), (4, 0));
    assert_eq!(watch.told().await, [], "what lies in the past is no news");

    let first = watch.vault.next_address("first").await.expect("an address");
    assert_eq!(first.index, 4);
    assert_eq!(watch.vault.next_address("first").await, Ok(first.clone()), "the same deposit");
    let fresh = watch.address("second").await;
    bitcoind.send(&fresh, Amount::from_sat(50_000)).await;
    watch.sees("the deposit", |view| view.balance.pending_sat == 50_000).await;
    bitcoind.mine(1).await;
    let seen = watch.sees("its block", |view| view.balance.confirmed_sat == 250_000).await;
    assert_eq!((seen.balance.pending_sat, seen.next_index, seen.unpaid), (0, 6, 0));
    let tip = u32::try_from(bitcoind.height().await).expect("a height");
    // It is shown a moment before it is on disk.
    until("the events", async || (watch.told().await == [None, Some(tip)]).then_some(())).await;
    let history = watch.vault.history().expect("a vault");
    assert_eq!(history.len(), 3);
    assert_eq!((history[0].received_sat, history[0].height, &history[0].pays), (50_000, Some(tip), &vec![5]));

    for deposit in 6..11 {
        assert_eq!(
            watch.vault.next_address(&deposit.to_string()).await.map(|given| given.index),
            Ok(deposit)
        );
    }
    assert_eq!(watch.vault.next_address("too far").await, Err(NoColdAddress::Gap { gap: 5 }));

    let watch = Watch::in_folder(watch.end().await, source).await;
    let seen = watch.vault.view().expect("a vault");
    assert_eq!((seen.balance.confirmed_sat, seen.next_index, seen.unpaid), (250_000, 11, 5));
    assert_eq!(watch.vault.next_address("first").await, Ok(first));
    // Removed and set again, with a wider gap: what was handed out stays handed out.
    assert!(watch.vault.remove().await.expect("removed"));
    assert_eq!(watch.vault.view(), None);
    watch.vault.set(ask(Some(height.saturating_sub(3)), 9)).await.expect("it is taken");
    let seen = watch.sees("it again", |view| view.scanned_at.is_some()).await;
    assert_eq!((seen.balance.confirmed_sat, seen.next_index), (250_000, 11));
    assert_eq!(watch.vault.next_address("further").await.map(|given| given.index), Ok(11));
    watch.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_are_seen_on_bitcoind() {
    let bitcoind = Bitcoind::start().await;
    bitcoind.mine(110).await;
    deposits_are_seen(&bitcoind, bitcoind_source(&bitcoind)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_are_seen_on_esplora() {
    let bitcoind = Bitcoind::start().await;
    bitcoind.mine(110).await;
    let esplora = Esplora::new(&bitcoind).await;
    deposits_are_seen(&bitcoind, ChainSource::Esplora { url: esplora.url.clone() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_are_seen_on_electrum() {
    let bitcoind = Bitcoind::start().await;
    bitcoind.mine(110).await;
    let electrum = Electrum::new(&bitcoind).await;
    deposits_are_seen(&bitcoind, ChainSource::Electrum { url: electrum.url() }).await;
}

/// A deposit confirms, its block is taken back, and a longer chain has it later.
async fn taken_back(bitcoind: &Bitcoind, source: ChainSource) {
    let walks = matches!(source, ChainSource::Bitcoind { .. });
    let watch = Watch::start(source).await;
    if walks {
        assert!(matches!(watch.vault.set(ask(None, 20)).await, Err(VaultFault::BirthdayNeeded)));
    }
    watch.vault.set(ask(Some(0), 20)).await.expect("it is taken");
    watch.sees("the chain", |view| view.scanned_at.is_some()).await;
    bitcoind.send(&watch.address("one").await, Amount::from_sat(70_000)).await;
    let other = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    let empty = async |miner: &str| bitcoind.expect("generateblock", json!([miner, []])).await;
    let first = empty(other).await["hash"].clone();
    bitcoind.mine(2).await;
    watch.sees("the deposit", |view| view.balance.confirmed_sat == 70_000 && view.height == 113).await;
    bitcoind.expect("invalidateblock", json!([first])).await;
    if walks {
        // While the other chain is shorter, nothing is forgotten, and nothing called known.
        let seen = watch.sees("that blocks are away", |view| view.trouble.is_some()).await;
        assert_eq!((seen.height, seen.balance.confirmed_sat), (113, 70_000), "{seen:?}");
    }
    // Then it is longer. It has the deposit not yet, but pays the vault below where the deposit was.
    empty(&watch.address("two").await.to_string()).await;
    for _ in 0..3 {
        empty(other).await;
    }
    let height = u32::try_from(bitcoind.height().await).expect("a height");
    let mined = 50 * 100_000_000;
    watch.sees("the other chain", |view| view.height == height && view.balance.confirmed_sat == mined).await;
    watch.sees("that it waits again", |view| view.balance.pending_sat == 70_000).await;
    bitcoind.mine(1).await;
    watch
        .sees("its new block", |view| {
            view.balance.confirmed_sat == mined + 70_000 && view.height == height + 1
        })
        .await;
    watch.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_taken_back_takes_its_deposit_back_on_bitcoind() {
    let bitcoind = Bitcoind::start().await;
    bitcoind.mine(110).await;
    taken_back(&bitcoind, bitcoind_source(&bitcoind)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_taken_back_takes_its_deposit_back_on_esplora() {
    let bitcoind = Bitcoind::start().await;
    bitcoind.mine(110).await;
    let esplora = Esplora::new(&bitcoind).await;
    taken_back(&bitcoind, ChainSource::Esplora { url: esplora.url.clone() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_taken_back_takes_its_deposit_back_on_electrum() {
    let bitcoind = Bitcoind::start().await;
    bitcoind.mine(110).await;
    let electrum = Electrum::new(&bitcoind).await;
    taken_back(&bitcoind, ChainSource::Electrum { url: electrum.url() }).await;
}

async fn problem(answer: reqwest::Response, status: StatusCode, code: &str) -> Value {
    let got = answer.status();
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!((got, &body["code"]), (status, &json!(code)), "{body}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_takes_public_keys_only_and_says_what_is_watched() {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Admin]).await;
    let put = async |body: Value| {
        let request = app.client.put(format!("{}/api/v1/vault", app.origin)).bearer_auth(&key).json(&body);
        request.send().await.expect("an answer")
    };
    let get = async |path: &str| ok(app.read(path, &key).await).await;
    let post = async |path: &str, body: Value| app.change(path, &key, body).await;
    assert_eq!(get("/api/v1/vault").await, json!({ "vault": null }));
    problem(post("/api/v1/vault/address", json!({})).await, StatusCode::NOT_FOUND, "no_vault").await;
    let (private, public) = account(Network::Regtest);
    for text in [private.to_string(), format!("wpkh({private}/<0;1>/*)"), WORDS.to_owned()] {
        let body = problem(
            put(json!({ "key": text, "form": "bip84" })).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "private_key",
        )
        .await;
        assert!(!body.to_string().contains(&text[..12]), "{body}");
    }
    let main = account(Network::Bitcoin).1.to_string();
    problem(
        put(json!({ "key": main, "form": "bip84" })).await,
        StatusCode::UNPROCESSABLE_ENTITY,
        "wrong_network",
    )
    .await;
    let public = public.to_string();
    problem(put(json!({ "key": public })).await, StatusCode::UNPROCESSABLE_ENTITY, "form_needed").await;
    let gap = json!({ "key": public, "form": "bip84", "gap": 0 });
    problem(put(gap).await, StatusCode::UNPROCESSABLE_ENTITY, "bad_gap").await;
    assert_eq!(get("/api/v1/vault").await, json!({ "vault": null }));
    let set: Value = put(json!({ "key": public, "form": "bip84" })).await.json().await.expect("JSON");
    assert_eq!(set["vault"]["first_address"], "bcrt1q6rz28mcfaxtmd6v789l9rrlrusdprr9pz3cppk", "{set}");
    assert_eq!((&set["vault"]["gap"], &set["vault"]["form"]), (&json!(20), &json!("bip84")));
    // Its past is not known: an address could have been used.
    let answer = post("/api/v1/vault/address", json!({})).await;
    problem(answer, StatusCode::SERVICE_UNAVAILABLE, "vault_not_synced").await;
    assert_eq!(get("/api/v1/vault/addresses").await, json!({ "addresses": [] }));
    assert_eq!(get("/api/v1/vault/history").await, json!({ "transactions": [] }));
    assert_eq!(ok(app.delete("/api/v1/vault", &key).await).await, json!({ "removed": true }));
    assert!(app.read("/api/v1/chain", &key).await.status().is_success());
}
