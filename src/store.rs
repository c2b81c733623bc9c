//! What is kept: the ledger (grants, holds, payments, events, the operator's settings) and the node's
//! bytes. The only module that speaks SQL.
//!
//! Invariants: one writer connection a file; a call that changes money returns after its commit is on
//! disk; readers are read-only and see committed data; a hold ends exactly once.

mod account;
mod activity;
mod alarms;
mod audit;
mod budgets;
mod bytes;
mod channels;
mod close_fees;
mod closings;
mod copying;
mod counters;
mod deliveries;
mod deposits;
mod epochs;
mod error;
mod flaw;
mod fundings;
mod generations;
mod grants;
mod holds;
mod hours;
mod incoming;
mod job;
mod lives;
mod lock;
mod offers;
mod operations;
mod operator;
mod orders;
mod outgoing;
mod outstanding;
mod page;
mod plan;
mod pool;
mod reach;
mod recall;
mod reports;
mod rows;
mod rules;
mod schema;
mod search;
mod services;
mod shadow;
mod spends;
mod splices;
mod standing;
mod sweep;
mod totals;
mod vaults;
mod waiting;
mod wallets;
mod webhooks;
mod worth;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rusqlite::OptionalExtension;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::event::{Event, LoggedEvent};
use crate::moment::Moment;
use crate::tally::{CommitTimes, Demands};
use crate::types::Timestamp;

pub use account::{Account, EntriesAfter, Entry, EntryKind};
pub use alarms::{AlarmRow, Findings};
pub use audit::AuditReport;
pub use budgets::{OverBudget, WalletLimits, WalletRow};
pub use bytes::NodeStore;
pub use channels::{Brought, ChannelRow, ChannelSeen, ChannelsSeen, ClaimSeen, SweepRow};
pub use close_fees::CloseFee;
pub use closings::{ChannelEnd, RecoveredChannel};
pub use copying::Extent;
pub use counters::CounterRow;
pub use deliveries::{DeliveryFilter, DeliveryRow, DeliveryState, TestSent, Tried, WaitingDelivery};
pub use deposits::Deposit;
pub use epochs::{EpochSums, Epochs};
pub use error::StoreError;
#[doc(hidden)]
pub use flaw::Flaw;
pub use fundings::{FundingRow, PendingFunding};
pub use generations::{Doubt, Found, Generation, Marks, NewGeneration, RESTORED};
pub use grants::{GrantRow, NewGrant};
pub use holds::{Reservation, ReserveError};
pub use incoming::{Arrival, Credit, PaymentRow, PaymentState};
pub use lock::{DirLock, Locked};
pub use offers::OfferEnd;
pub use operations::{
    BegunOperation, LONGEST_OPERATION_KEY, ORDER_KEYS, OperationRow, OperationState, RULE_KEYS, RuleRun,
    is_reserved_key,
};
pub use operator::{ApiKeyRow, NewApiKey};
pub use orders::{OrderRow, OrderState, OrderWay};
pub use outgoing::{CUT_OFF, Intended, Intent, OutgoingRow, OutgoingState, PAYMENT, UNLISTED};
pub use outstanding::{Alike, Left, Outstanding};
pub use reach::{Reach, StoredBytes};
pub use recall::Recall;
pub use reports::{HourSums, Revenue, RevenuePoint, RouteRevenue, SalesFilter, Step};
pub use search::{GrantFilter, GrantState};
pub use services::{ServiceChange, ServiceRow, StoredService};
pub use spends::{Charge, SpendRow};
pub use standing::Standing;
pub use totals::Totals;
pub use vaults::{NewVault, VaultAddressRow, VaultRow};
pub use wallets::{WalletPages, WalletPayment};
pub use webhooks::{Choose, NewWebhook, WebhookRow};
pub use worth::ReceivedSum;

use page::Page;
use pool::Readers;
use recall::Recalls;
use shadow::Shadow;
use writer::{Start, Writer};

/// What was found when the ledger was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The last stop was orderly, or the ledger is new.
    pub clean: bool,
    /// Holds that a crash had left open and that went back to their buyers.
    pub crash_restored: u64,
    /// Holds that a second crash had left open and that were charged.
    pub crash_charged: u64,
}

/// The ledger. A clone is another handle on the same one.
///
/// A future of its methods that is dropped before it is done may or may not have written; only
/// [`Ledger::reserve`] gives back what nobody received.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

struct Shared {
    writer: Writer,
    readers: Readers,
    newest: watch::Receiver<i64>,
    recalls: Arc<Recalls>,
    shadow: Arc<Shadow>,
    demands: Demands,
    flaw: Flaw,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}

impl Ledger {
    /// Opens or makes the ledger at `path`, brings its schema up to date, resolves every hold that a
    /// crash left open, and starts the writer. The caller holds the directory's [`DirLock`].
    ///
    /// # Errors
    /// When the file cannot be used, is another program's, or a newer version wrote it.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<(Ledger, Opened), StoreError> {
        Ledger::begin(path, clock, Flaw::None, None)
    }

    /// [`Ledger::open`] where another copy of the ledger was before: a new life begins.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_anew(
        path: &Path,
        clock: Arc<dyn Clock>,
        anew: NewGeneration,
    ) -> Result<(Ledger, Opened), StoreError> {
        Ledger::begin(path, clock, Flaw::None, Some(anew))
    }

    /// [`Ledger::open`] with a fault, for tests that show that they would find it.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    #[doc(hidden)]
    pub fn open_flawed(
        path: &Path,
        clock: Arc<dyn Clock>,
        flaw: Flaw,
    ) -> Result<(Ledger, Opened), StoreError> {
        Ledger::begin(path, clock, flaw, None)
    }

    fn begin(
        path: &Path,
        clock: Arc<dyn Clock>,
        flaw: Flaw,
        anew: Option<NewGeneration>,
    ) -> Result<(Ledger, Opened), StoreError> {
        let mut connection = schema::open(path)?;
        if flaw.is(Flaw::NeverSyncs) {
            connection.pragma_update(None, "synchronous", "OFF")?;
        }
        schema::claim(&connection, path)?;
        schema::migrate(&mut connection)?;
        let opening = connection.transaction()?;
        // A copy was made of a ledger at work: that it has no mark tells nothing of the last stop.
        let restored = anew.as_ref().is_some_and(|anew| anew.why == RESTORED);
        let clean = schema::take_clean_mark(&opening)? || restored;
        let run = schema::next_run(&opening)?;
        let mut page = Page::new(&opening, clock.now(), run);
        if let Some(anew) = &anew {
            generations::begin(&page, anew)?;
        }
        let (crash_restored, crash_charged) =
            if flaw.is(Flaw::ForgetsHolds) { (0, 0) } else { holds::resolve_crashed(&mut page)? };
        sweep::sweep(&mut page)?;
        page.add_up()?;
        Moment::Resolved.reached();
        opening.commit()?;
        let (newest, watched) = watch::channel(schema::newest_event(&connection)?);
        let shadow = Arc::new(Shadow::default());
        let demands = Demands::default();
        let (sweep, counts, counter) = (sweep::sweep, Arc::clone(&shadow), demands.clone());
        let start = Start { connection, clock, newest, run, sweep, shadow: counts, demands: counter, flaw };
        let writer = Writer::start(start)?;
        let (readers, recalls) = (Readers::of(path), Arc::default());
        let shared = Shared { writer, readers, newest: watched, recalls, shadow, demands, flaw };
        Ok((Ledger(Arc::new(shared)), Opened { clean, crash_restored, crash_charged }))
    }

    /// The latest instant that the ledger at `path` knows of, for the clock to start from (MONEY
    /// rule 9); the beginning of time when there is no ledger yet. Call it before [`Ledger::open`].
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn high_water(path: &Path) -> Result<Timestamp, StoreError> {
        if !path.exists() {
            return Ok(Timestamp::default());
        }
        let connection = schema::open(path)?;
        schema::high_water(&connection)
    }

    /// Waits until everything that was handed over before is on disk, the ends of holds too. Returns
    /// early when the ledger is closed or the disk fails, which the log tells.
    pub async fn barrier(&self) {
        let all_written = |page: &mut Page<'_>| page.waiting.clone().map_or(Ok(()), Err);
        if let Err(error) = self.0.writer.call(all_written).await {
            tracing::warn!(%error, "the ledger could not be waited for");
        }
    }

    /// Writes one event to the log and gives its number.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn log(&self, event: Event) -> Result<i64, StoreError> {
        self.0.writer.call(move |page| page.log(&event)).await
    }

    /// The number of the newest event. It tells of a change also when only the running sums moved, as
    /// when a request was charged. Only a wake: the log and the sums are the truth.
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.0.newest.clone()
    }

    /// Events after number `id`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn events_after(&self, id: i64, limit: u32) -> Result<Vec<LoggedEvent>, StoreError> {
        self.0.readers.read(move |connection| rows::events_after(connection, id, limit)).await
    }

    /// Writes what is still on its way, waits a few seconds for open holds, notes the orderly stop and
    /// closes the file. Later calls fail with [`StoreError::Closed`].
    ///
    /// # Errors
    /// When the last commit fails.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.0.readers.close().await;
        self.0.writer.close().await
    }

    /// Stops as a kill would: what was not committed is lost, and no clean mark is set.
    #[cfg(test)]
    async fn crash(&self) {
        self.0.readers.close().await;
        self.0.writer.crash().await;
    }

    /// How many transactions the writer committed since it started: many calls share one.
    pub fn commits(&self) -> u64 {
        self.0.writer.commits()
    }

    /// Where payments that are demanded are counted. The writer folds the counts into the sums by hour with the
    /// transaction that it makes once a minute anyway, with that of a payment, and with the last one: a demand by
    /// itself writes nothing, and a crash loses those of the last minute. They count in the hour of the fold.
    pub fn demands(&self) -> &Demands {
        &self.0.demands
    }

    /// How long those took.
    pub fn commit_times(&self) -> &CommitTimes {
        self.0.writer.commit_times()
    }
}

/// `None` for no row.
fn optional<T>(found: rusqlite::Result<T>) -> Result<Option<T>, StoreError> {
    Ok(found.optional()?)
}
