//! kill -9 of the whole demo, real Lightning nodes included, in the middle of payments: the ledger stays
//! right, every paid token stays good, and a channel that LDK closes on such a restart is replaced.
//!
//! The payer dies in the same moment, so that its unresolved payments are part of the campaign, and
//! invoices are paid twice at once. How many channels are lost is LDK's affair: counted and reported.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::{Clock, SystemClock};
use tollhouse::event::Event;
use tollhouse::store::Ledger;
use tollhouse::types::Timestamp;

use crate::chance::{Chance, SaysSeed, count};
use demo::Demo;
use shoppers::{Shoppers, Stage};

mod demo;
mod restarts;
mod shoppers;

const SEED: &str = "TOLLHOUSE_KILL_SEED";
const CYCLES: &str = "TOLLHOUSE_SOAK_NODE_CYCLES";
/// A world lives at least and at most this long once it is ready, in milliseconds.
const LIFE: (u64, u64) = (300, 2_500);

#[test]
fn killed_nodes_come_back_with_their_money() {
    let seed = Chance::seed(SEED);
    let _says = SaysSeed(SEED, seed);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(campaign(count(CYCLES, 3), Chance::new(seed)));
}

async fn campaign(cycles: u64, mut chance: Chance) {
    let (mut done, mut lost) = (0, 0);
    while done < cycles {
        match world(cycles - done, &mut chance).await {
            Lived::ToTheEnd => done = cycles,
            Lived::Until(kills) => (done, lost) = (done + kills, lost + 1),
        }
    }
    eprintln!("{cycles} kills in all; {lost} times a node could not read its channel state any more");
    assert!(lost * 5 <= cycles.max(5), "nodes lose their channel state far too often");
}

/// How long a world was good.
enum Lived {
    ToTheEnd,
    /// After so many kills a node could not read its channel state (MONEY rule 15): LDK's affair, like the
    /// closed channels. The ledgers are right all the same.
    Until(u64),
}

async fn world(cycles: u64, chance: &mut Chance) -> Lived {
    let mut dir = tempfile::Builder::new().prefix("tollhouse-kill-").tempdir().expect("a folder");
    // What a failure leaves is worth a look.
    dir.disable_cleanup(true);
    eprintln!("the world is in {} (kept if this fails)", dir.path().display());
    let shoppers = Arc::<Shoppers>::default();
    for cycle in 0..=cycles {
        let Some(demo) = Demo::start(dir.path()).await else {
            report(dir.path(), cycle, &shoppers).await;
            dir.disable_cleanup(false);
            return Lived::Until(cycle);
        };
        check_status(&demo.status().await, &shoppers);
        if cycle == cycles {
            shoppers.finish(&demo).await;
            shoppers.no_faults("after the last start");
            check_status(&demo.status().await, &shoppers);
            demo.end();
            break;
        }
        let demo = Arc::new(demo);
        let (stop, crowd) = (CancellationToken::new(), TaskTracker::new());
        let throng = {
            let (shoppers, demo, stop, mut chance) =
                (shoppers.clone(), demo.clone(), stop.clone(), chance.fork());
            crowd.spawn(async move { shoppers.throng(&demo, &mut chance, stop).await })
        };
        tokio::time::sleep(Duration::from_millis(LIFE.0 + chance.below(LIFE.1 - LIFE.0))).await;
        demo.kill();
        stop.cancel();
        throng.await.expect("no shopper panics");
        shoppers.no_faults(&format!("in cycle {cycle}"));
    }
    report(dir.path(), cycles, &shoppers).await;
    dir.disable_cleanup(false);
    Lived::ToTheEnd
}

/// What the operator sees right after a start.
fn check_status(status: &Value, shoppers: &Shoppers) {
    let ledger = &status["ledger"];
    assert_eq!(ledger["ok"], true, "{ledger}");
    let sum = |name: &str| ledger[name].as_u64().unwrap_or_else(|| panic!("{name} in {ledger}"));
    let parts = ["units_left", "units_held", "units_spent", "units_expired", "units_revoked"];
    assert_eq!(sum("units_sold"), parts.into_iter().map(sum).sum::<u64>(), "{ledger}");
    let complete = shoppers.complete.load(Ordering::SeqCst);
    assert!(complete <= sum("units_spent") + sum("crash_restored"), "{complete} whole answers in {ledger}");
}

async fn report(dir: &Path, cycles: u64, shoppers: &Shoppers) {
    let (shop, closed_by_shop, charged) = books(&dir.join("shop")).await;
    let (payer, closed_by_payer, _) = books(&dir.join("payer")).await;
    let closed: BTreeMap<String, String> = closed_by_payer.into_iter().chain(closed_by_shop).collect();
    let audit = shop.audit().await.expect("it reads");
    assert!(audit.ok, "{audit:?}");
    let (mut paid, mut open, mut failed, mut unseen) = (0, 0, 0, 0);
    for sale in shoppers.sales() {
        let grant = shop.grant(sale.hash).await.expect("it reads").map(|row| row.grant);
        match sale.stage() {
            Stage::Paid(_) => {
                paid += 1;
                // Never presented, when the world ended before.
                let Some(grant) = grant else { continue };
                let complete = sale.complete.load(Ordering::SeqCst);
                assert_eq!((grant.held, grant.left + grant.spent), (0, 1), "{}", sale.hash);
                assert!(complete <= grant.spent + grant.crash_restored, "{grant:?}: {complete}");
                unseen += u64::from(complete == 0 && grant.spent > 0);
            }
            Stage::Open => open += 1,
            Stage::Failed(_) => failed += 1,
        }
    }
    let sums = audit.sums;
    eprintln!(
        "{cycles} kills of real nodes: {paid} sales paid, {failed} payments failed, {open} still open; \
         {} credited ({} not told yet), {} msat told twice; {} units restored after a crash, {charged} charged \
         after a second one, {unseen} charged without a whole answer; {} channels closed: {:?}",
        sums.payments,
        audit.payments_pending,
        sums.surplus_msat,
        sums.crash_restored,
        closed.len(),
        closed.values().collect::<Vec<_>>(),
    );
    let (least, most) = (paid - audit.payments_pending, paid + open + failed);
    assert!((least..=most).contains(&sums.payments), "{} payments credited of {paid} paid", sums.payments);
    assert!(audit.payments_pending == 0 || !closed.is_empty(), "a payment was never told: {audit:?}");
    assert!(unseen <= charged, "a unit was charged for nothing without a second crash");
    shop.close().await.expect("it closes");
    payer.close().await.expect("it closes");
}

/// A ledger at rest, the channels that it saw closing and why, and how many units a second crash charged.
async fn books(dir: &Path) -> (Ledger, BTreeMap<String, String>, u64) {
    let clock: Arc<dyn Clock> = SystemClock::new(Timestamp::default());
    let (ledger, opened) = Ledger::open(&dir.join("regtest/ledger.db"), clock).expect("the ledger opens");
    assert!(opened.clean, "the last end was orderly");
    let (mut closed, mut charged, mut after) = (BTreeMap::new(), 0, 0);
    loop {
        let events = ledger.events_after(after, 1_000).await.expect("it reads");
        let Some(last) = events.last() else { return (ledger, closed, charged) };
        after = last.id;
        for logged in events {
            match logged.event {
                Event::ChannelClosed { channel_id, reason, .. } => {
                    closed.insert(channel_id, reason);
                }
                Event::CrashRestored { restored: false, .. } => charged += 1,
                _ => {}
            }
        }
    }
}
