//! No sequence of sales, uses, copies and restores lets a unit be used twice, unless the operator honours its
//! token; and a restore by hand is found out as one by command is.

mod copies;
mod moments;
mod restoring;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;
use tempfile::TempDir;

use super::*;
use crate::clock::{CountingEntropy, FixedClock, SystemEntropy};
use crate::ledger::{Draw, Ending, ReserveRefused, Sale};
use crate::secrets::Secrets;
use crate::secrets::write_private;
use crate::store::{Intent, ReserveError, StoreError};
use crate::types::{Kind, Msat, PaymentHash, Timestamp};

/// One shop's directory, and how its ledger is.
struct Shop {
    dir: TempDir,
    clock: Arc<FixedClock>,
    epochs: Arc<Epochs>,
    ledger: Ledger,
}

fn owner() -> Owner {
    Owner { key: Zeroizing::new([9; 32]), network: "regtest".to_owned(), node_id: "02ab".repeat(16) }
}

impl Shop {
    fn open() -> Shop {
        Shop::with_master("07")
    }

    fn with_master(byte: &str) -> Shop {
        let dir = tempfile::tempdir().unwrap();
        let clock = FixedClock::at(Timestamp::from_secs(1_800_000_000));
        write_private(&dir.path().join("keys"), format!("1 {}\n", byte.repeat(32))).unwrap();
        let secrets =
            Secrets::load_or_create(dir.path(), bitcoin::Network::Regtest, &*SystemEntropy::new()).unwrap();
        let epochs = Arc::new(secrets.epochs().unwrap());
        let (ledger, _) = open_at(&dir, &epochs, &clock);
        Shop { dir, clock, epochs, ledger }
    }

    fn backups(&self) -> Arc<Backups> {
        let parts = BackupsParts {
            ledger: self.ledger.clone(),
            epochs: Arc::clone(&self.epochs),
            owner: owner(),
            data: self.dir.path().to_owned(),
            clock: self.clock.clone(),
            entropy: Arc::new(CountingEntropy::default()),
        };
        let dir = Some(self.dir.path().join("backups"));
        Backups::new(parts, BackupConfig { dir, keep: 100, ..BackupConfig::default() })
    }

    /// Stops in order, does `work` on the files, and starts again.
    async fn restart(&mut self, work: impl FnOnce(&Path)) {
        Witness::of(self.dir.path()).note(&self.ledger).await.unwrap();
        self.ledger.close().await.unwrap();
        work(self.dir.path());
        let (ledger, opened) = open_at(&self.dir, &self.epochs, &self.clock);
        assert_eq!(opened.crash_charged, 0);
        self.ledger = ledger;
    }

    async fn restore(&mut self, file: &Path) {
        let epochs = Arc::clone(&self.epochs);
        let file = file.to_owned();
        self.clock.advance(Duration::from_secs(1));
        let now = self.clock.now();
        self.restart(move |dir| {
            restore(&file, &owner(), dir, &epochs, now).unwrap();
        })
        .await;
    }

    async fn generation(&self) -> u64 {
        self.ledger.generation().await.unwrap().generation
    }

    fn sale(&self, number: u8, units: u64) -> Sale {
        let payment_hash = PaymentHash::from_bytes([number; 32]);
        Sale {
            payment_hash,
            token_id: self.epochs.ring().keys().token_id(&payment_hash),
            service: "rates".parse().unwrap(),
            route: "latest".parse().unwrap(),
            kind: if units == 1 { Kind::Request } else { Kind::Pack },
            units,
            lasts: None,
            sold: Msat::new(10_000).unwrap(),
            covers: Msat::ZERO,
            quote: None,
            valid_until: self.clock.now().plus(Duration::from_secs(3_600)),
        }
    }

    async fn use_once(&self, sale: &Sale) -> Result<(), ReserveRefused> {
        match self.ledger.reserve(sale.clone(), Draw::one(sale.route.clone())).await {
            Ok(held) => {
                held.end(Ending::Delivered);
                self.ledger.barrier().await;
                Ok(())
            }
            Err(ReserveError::Refused(refused)) => Err(refused),
            Err(ReserveError::Store(error)) => panic!("{error}"),
        }
    }

    async fn books_are_right(&self) {
        self.ledger.barrier().await;
        let audit = self.ledger.audit().await.unwrap();
        assert!(audit.ok, "{audit:?}");
    }
}

fn open_at(dir: &TempDir, epochs: &Epochs, clock: &Arc<FixedClock>) -> (Ledger, crate::store::Opened) {
    open_ledger(dir.path(), epochs, clock.clone(), &*SystemEntropy::new()).unwrap()
}

fn replace_by_hand(dir: &Path, bytes: &[u8]) {
    let path = dir.join(LEDGER_FILE);
    for ending in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.join(format!("{LEDGER_FILE}{ending}")));
    }
    std::fs::write(path, bytes).unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Sell(u64),
    Use(usize),
    Copy,
    CopyByHand,
    Restore(usize),
    RestoreByHand(usize),
    Honour(usize),
    HonourAll,
    Revoke(usize),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (1u64..4).prop_map(Step::Sell),
        12 => any::<usize>().prop_map(Step::Use),
        3 => Just(Step::Copy),
        2 => Just(Step::CopyByHand),
        2 => any::<usize>().prop_map(Step::Restore),
        2 => any::<usize>().prop_map(Step::RestoreByHand),
        2 => any::<usize>().prop_map(Step::Honour),
        1 => Just(Step::HonourAll),
        1 => any::<usize>().prop_map(Step::Revoke),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 5..40)
}

/// What really happened to a token, whatever the ledger knows.
struct Token {
    sale: Sale,
    used: u64,
    revoked: bool,
    /// It was sold in this life, or honoured in it.
    vouched: bool,
    honoured: bool,
}

async fn run(steps: Vec<Step>) {
    let mut shop = Shop::open();
    let mut tokens: Vec<Token> = Vec::new();
    let (mut copies, mut by_hand): (Vec<PathBuf>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    let mut generation = 1;
    for step in steps {
        shop.clock.advance(Duration::from_secs(1));
        let mut restored = false;
        let some = |at: usize, of: usize| (of > 0).then(|| at % of.max(1));
        match step {
            Step::Sell(units) => {
                let sale = shop.sale(u8::try_from(tokens.len()).unwrap(), units);
                tokens.push(Token { sale, used: 0, revoked: false, vouched: true, honoured: false });
            }
            Step::Use(at) => {
                let Some(at) = some(at, tokens.len()) else { continue };
                let token = &mut tokens[at];
                let outcome = shop.use_once(&token.sale).await;
                let good = token.used < token.sale.units && !token.revoked;
                match outcome {
                    Ok(()) => {
                        assert!(good || token.honoured, "a unit was used twice, or a revoked one once");
                        assert!(token.vouched, "nobody could prove that the token was good");
                        token.used += 1;
                    }
                    Err(ReserveRefused::Restored) => assert!(!token.vouched, "it was sold in this life"),
                    // A copy from before its sale knows nothing of what was used: that is what honouring means.
                    Err(refused) => assert!(!good || !token.vouched || token.honoured, "{refused}"),
                }
            }
            Step::Copy => {
                let made = shop.backups().make().await.unwrap();
                copies.push(shop.dir.path().join("backups").join(made.file));
            }
            Step::CopyByHand => {
                let mut bytes = Vec::new();
                shop.restart(|dir| bytes = std::fs::read(dir.join(LEDGER_FILE)).unwrap()).await;
                by_hand.push(bytes);
            }
            Step::Restore(at) => {
                let Some(at) = some(at, copies.len()) else { continue };
                shop.restore(&copies[at]).await;
                restored = true;
            }
            Step::RestoreByHand(at) => {
                let Some(at) = some(at, by_hand.len()) else { continue };
                shop.restart(|dir| replace_by_hand(dir, &by_hand[at])).await;
                restored = true;
            }
            Step::Honour(at) => {
                let Some(at) = some(at, tokens.len()) else { continue };
                let token = &mut tokens[at];
                let in_doubt = shop.ledger.generation().await.unwrap().doubtful_below_epoch > 0;
                shop.ledger.honour(token.sale.payment_hash).await.unwrap();
                if in_doubt && !token.vouched {
                    (token.vouched, token.honoured) = (true, true);
                }
            }
            Step::HonourAll => {
                if shop.ledger.honour_all().await.unwrap() {
                    for token in tokens.iter_mut().filter(|token| !token.vouched) {
                        (token.vouched, token.honoured) = (true, true);
                    }
                }
            }
            Step::Revoke(at) => {
                let Some(at) = some(at, tokens.len()) else { continue };
                shop.ledger.revoke(tokens[at].sale.payment_hash).await.unwrap();
                tokens[at].revoked = true;
            }
            Step::Restart => shop.restart(|_| {}).await,
        }
        if restored {
            generation += 1;
            for token in &mut tokens {
                (token.vouched, token.honoured) = (false, false);
            }
        }
        assert_eq!(shop.generation().await, generation, "a life begins with a restore and only then");
    }
    shop.books_are_right().await;
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]

    #[test]
    fn no_restore_lets_a_unit_be_used_twice(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.unwrap().block_on(run(steps));
    }
}

#[tokio::test]
async fn a_restored_ledger_parks_what_it_cannot_prove() {
    let mut shop = Shop::open();
    let (spent, kept, unseen, sent) =
        (shop.sale(1, 1), shop.sale(2, 3), shop.sale(3, 1), PaymentHash::from_bytes([8; 32]));
    shop.use_once(&spent).await.unwrap();
    shop.use_once(&kept).await.unwrap();
    let made = shop.backups().make().await.unwrap();
    let copy = shop.dir.path().join("backups").join(&made.file);
    // Sold, used and sent after the copy.
    shop.use_once(&kept).await.unwrap();
    shop.use_once(&unseen).await.unwrap();
    let intent = Intent {
        payment_hash: sent,
        bolt11: "lnbcrt1".to_owned(),
        amount: Msat::new(1_000).unwrap(),
        max_fee: Msat::ZERO,
        wallet: None,
    };
    shop.ledger.intend(intent.clone()).await.unwrap();
    let last_id = shop.ledger.events_after(0, 1_000).await.unwrap().last().unwrap().id;
    shop.restore(&copy).await;

    let life = shop.ledger.generation().await.unwrap();
    assert_eq!((life.generation, life.why.as_str(), life.doubtful_below_epoch), (2, "restored", 2));
    assert_eq!(shop.epochs.ring().keys().current_epoch(), 2);
    let events = shop.ledger.events_after(0, 1_000).await.unwrap();
    let first = events.iter().find(|event| event.generation == 2).unwrap();
    assert!(matches!(&first.event, Event::GenerationBegun { why, .. } if why == "restored"));
    assert!(first.id <= last_id, "numbers come again, and their life tells them apart");

    assert_eq!(shop.use_once(&spent).await, Err(ReserveRefused::Spent), "the copy knows that one");
    for _ in 0..2 {
        assert_eq!(shop.use_once(&kept).await, Err(ReserveRefused::Restored));
        assert_eq!(shop.use_once(&unseen).await, Err(ReserveRefused::Restored));
    }
    assert!(shop.ledger.standing(unseen.clone()).await.unwrap().doubtful);
    // The node tells again what came in the lost time: whether it was delivered, the copy cannot say.
    shop.ledger.receive(unseen.payment_hash, unseen.sold, None).await.unwrap();
    let told = async |shop: &Shop| shop.ledger.payment(unseen.payment_hash).await.unwrap().unwrap();
    assert_eq!((told(&shop).await.state.code(), told(&shop).await.perhaps_delivered), ("unredeemed", true));
    let doubts = shop.ledger.doubts(10).await.unwrap();
    assert_eq!(doubts.len(), 2, "each is listed once: {doubts:?}");
    let new = shop.sale(4, 1);
    shop.use_once(&new).await.unwrap();

    assert!(matches!(shop.ledger.intend(intent.clone()).await, Err(StoreError::Parked)));
    let operation = shop.ledger.begin_operation("key", "send", serde_json::json!({})).await;
    assert!(matches!(operation, Err(StoreError::Parked)));
    assert!(shop.ledger.release_payouts().await.unwrap());
    assert!(!shop.ledger.release_payouts().await.unwrap());
    shop.ledger.intend(intent).await.unwrap();

    assert!(shop.ledger.honour(kept.payment_hash).await.unwrap());
    assert!(!shop.ledger.honour(kept.payment_hash).await.unwrap());
    shop.use_once(&kept).await.unwrap();
    assert_eq!(shop.use_once(&unseen).await, Err(ReserveRefused::Restored));
    shop.restart(|_| {}).await;
    shop.use_once(&kept).await.unwrap();
    assert_eq!(shop.use_once(&kept).await, Err(ReserveRefused::Spent));
    assert!(told(&shop).await.perhaps_delivered);
    assert!(shop.ledger.honour_all().await.unwrap());
    assert!(!told(&shop).await.perhaps_delivered, "it is owed from now on");
    shop.use_once(&unseen).await.unwrap();
    shop.books_are_right().await;

    // A second restore doubts anew what was honoured.
    shop.restore(&copy).await;
    assert_eq!(shop.use_once(&kept).await, Err(ReserveRefused::Restored));
    assert_eq!(shop.use_once(&new).await, Err(ReserveRefused::Restored));
    assert_eq!(shop.generation().await, 3);
}

#[tokio::test]
async fn a_ledger_that_is_gone_is_doubted_too() {
    let mut shop = Shop::open();
    let sale = shop.sale(1, 1);
    shop.use_once(&sale).await.unwrap();
    shop.restart(|dir| std::fs::remove_file(dir.join(LEDGER_FILE)).unwrap()).await;
    assert_eq!(shop.ledger.generation().await.unwrap().why, "new_ledger");
    assert_eq!(shop.use_once(&sale).await, Err(ReserveRefused::Restored));
    shop.restart(|dir| std::fs::remove_file(dir.join("generation")).unwrap()).await;
    let life = shop.ledger.generation().await.unwrap();
    assert_eq!((life.generation, life.why.as_str()), (3, "unwitnessed"));
}

/// The whole directory goes along, and only the code opens it.
#[test]
fn a_directory_moves_whole_and_once() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = from.path().join("regtest");
    std::fs::create_dir_all(dir.join("logs")).unwrap();
    std::fs::create_dir_all(dir.join("recovery")).unwrap();
    let big: Vec<u8> = (0..=255u8).cycle().take(700_000).collect();
    for (name, bytes) in [
        ("seed", b"sealed".as_slice()),
        ("channels.db", &big),
        ("channels.db-wal", b"log"),
        ("channels.db-shm", b"shared"),
        ("logs/old.log", b"old"),
        ("recovery/snapshot", b"monitors"),
        (".backup-x", b"left"),
        ("empty", b""),
    ] {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
    let config = from.path().join("tollhouse.toml");
    std::fs::write(&config, "network = \"regtest\"\n").unwrap();
    let entropy = CountingEntropy::default();
    let code = MoveCode::new(&entropy);
    let moving = Moving { data_dir: from.path(), network: "regtest" };
    let file = from.path().join("all.move");
    let at = Timestamp::from_secs(1_800_000_000);
    // What fails leaves the directory as it was.
    let nowhere = from.path().join("gone").join("all.move");
    assert!(moving.export(&nowhere, &[], (&code, &entropy), at, &|_, _| {}).is_err());
    refuse_if_moved(&dir).unwrap();

    let last = std::cell::Cell::new((0, 0));
    let told = |done, total| last.set((done, total));
    let moved = moving.export(&file, std::slice::from_ref(&config), (&code, &entropy), at, &told).unwrap();
    assert_eq!(last.get(), (moved.bytes(), moved.bytes()));
    assert!(matches!(refuse_if_moved(&dir), Err(MoveFault::Moved { .. })));
    let again = moving.export(&from.path().join("b"), &[], (&code, &entropy), at, &|_, _| {});
    assert!(matches!(again, Err(MoveFault::Moved { .. })));

    assert!(matches!(MoveCode::read("one two"), Err(MoveFault::NotACode)));
    let other = MoveCode::new(&entropy);
    let wrong = import(&file, to.path(), &other, &|_, _| {});
    assert!(matches!(wrong, Err(MoveFault::Unreadable { .. })));
    assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 0, "nothing is left of a try");
    let typed = MoveCode::read(&format!("  {}\n", code.words().to_uppercase())).unwrap();
    let (_, left_out) = import(&file, to.path(), &typed, &|_, _| {}).unwrap();
    assert_eq!(left_out, Vec::<PathBuf>::new());
    let there = to.path().join("regtest");
    assert_eq!(std::fs::read(there.join("channels.db")).unwrap(), big);
    assert_eq!(std::fs::read(there.join("recovery/snapshot")).unwrap(), b"monitors");
    let mut names: Vec<String> = std::fs::read_dir(&there)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["channels.db", "channels.db-wal", "empty", "recovery", "seed"]);
    assert!(to.path().join("tollhouse.toml").exists());
    assert!(!file.exists() && from.path().join("all.move.imported").exists());
    let twice = import(&from.path().join("all.move.imported"), to.path(), &typed, &|_, _| {});
    assert!(matches!(twice, Err(MoveFault::Occupied(_))));

    moving.undo().unwrap();
    refuse_if_moved(&dir).unwrap();
    assert!(moving.undo().is_err());
}
