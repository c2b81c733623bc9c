//! Customers for a running demo: paid requests at a steady rate, bounded in number at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::buyer::{Buyer, Wanted};
use super::place::DemoPlace;

/// Purchases under way at once; what is due beyond it is left out and counted as late.
const AT_ONCE: usize = 32;

/// So many failures on end mean that the demo is gone: the customers go home.
const PATIENCE: u64 = 10;

/// What the customers did so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Purchases that ended with the data.
    pub bought: AtomicU64,
    /// Purchases that failed.
    pub failed: AtomicU64,
    /// Failures since the last purchase that succeeded.
    pub failed_on_end: AtomicU64,
    /// Purchases that were due while too many were under way.
    pub late: AtomicU64,
}

/// Buys every `interval` until `stop`, or until `limit` purchases were begun. `told` hears of each
/// failure.
///
/// # Errors
/// When no HTTP client can be made.
pub async fn run(
    place: &DemoPlace,
    interval: Duration,
    limit: Option<u64>,
    tally: Arc<Tally>,
    told: Arc<dyn Fn(&str) + Send + Sync>,
    stop: CancellationToken,
) -> Result<()> {
    let buyer = Arc::new(Buyer::new(&place.payer, &place.payer_key)?);
    let (room, tasks) = (Arc::new(Semaphore::new(AT_ONCE)), TaskTracker::new());
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut begun = 0;
    while limit.is_none_or(|limit| begun < limit) {
        if tally.failed_on_end.load(Ordering::Relaxed) >= PATIENCE {
            told("nothing succeeds any more: giving up");
            break;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let Ok(turn) = Arc::clone(&room).try_acquire_owned() else {
            tally.late.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let wanted = wish(&place.gateway, begun);
        begun += 1;
        let (buyer, tally, told) = (Arc::clone(&buyer), Arc::clone(&tally), Arc::clone(&told));
        tasks.spawn(async move {
            match buy(&buyer, &wanted).await {
                Ok(()) => {
                    tally.bought.fetch_add(1, Ordering::Relaxed);
                    tally.failed_on_end.store(0, Ordering::Relaxed);
                }
                Err(error) => {
                    told(&format!("{error:#}"));
                    tally.failed.fetch_add(1, Ordering::Relaxed);
                    tally.failed_on_end.fetch_add(1, Ordering::Relaxed);
                }
            }
            drop(turn);
        });
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

async fn buy(buyer: &Buyer, wanted: &Wanted) -> Result<()> {
    let unpaid = buyer.ask(wanted, None).await?;
    if unpaid.status != 402 {
        bail!(
            "the gateway answered {}: {}",
            unpaid.status,
            unpaid.body["detail"].as_str().unwrap_or("no detail")
        );
    }
    let credential = buyer.pay(&unpaid.challenge()?).await?;
    let paid = buyer.ask(wanted, Some(&credential)).await?;
    if paid.status != 200 {
        bail!("the paid request got {}: {}", paid.status, paid.body);
    }
    Ok(())
}

/// Two requests for rates, then a translation, and so on.
fn wish(gateway: &str, number: u64) -> Wanted {
    if number % 3 == 2 {
        let to = if number.is_multiple_of(2) { "es" } else { "fr" };
        let body = json!({"text": "Good morning and thank you", "to": to});
        Wanted { url: format!("{gateway}/v1/translate"), body: Some(body) }
    } else {
        let base = if number.is_multiple_of(2) { "USD" } else { "EUR" };
        Wanted { url: format!("{gateway}/v1/exchange-rates?base={base}&quote=GBP,JPY,CHF"), body: None }
    }
}
