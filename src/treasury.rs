//! Calls that move coins: each is one recorded operation, whatever dies in between (MONEY rule 14).
//!
//! Invariants: the intent is on disk before the node is asked; a key names one operation for good; one deed
//! is asked of the node at a time, and no coins are chosen before the wallet knows what the deeds before spend; what a crash left without an outcome is looked up and never repeated: it
//! is `unclear` until the node tells, or the operator settles it.
//!
//! A new kind is a variant of [`Deed`], its call in `act` and its look-up in `fate`.

mod act;
mod arrived;
mod chronicle;
mod close_fees;
mod confirmed;
mod costs;
mod deed;
mod deposits;
mod fate;
mod held;
mod history;
mod labels;
mod mark;
mod most;
mod moved;
mod once;
mod preview;
mod reserve;
mod settled;
mod standing;
mod travelling;
mod verdict;
mod void;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::moment::Moment;
use crate::ports::{Coins, FeeRate, NodeControl, NodeFault, NodeWatch};
use crate::store::{
    BegunOperation, LONGEST_OPERATION_KEY, Ledger, OperationRow, OperationState, RuleRun, StoreError,
};
use crate::types::Timestamp;

pub use chronicle::KnownChannel;
pub use costs::ChannelFees;
pub use deed::{Deed, FeeChoice};
pub use held::Held;
pub use history::WalletHistory;
pub use labels::{Purpose, WalletTx, transaction};
use mark::Mark;
pub use most::Most;
pub use moved::Moved;
pub use preview::{Preview, nothing_back, too_little};
pub use reserve::{RESERVE_SAT, of_each_channel, reserve_missing};
pub use standing::{OpenChannel, PendingSplice, SpliceWay};
pub use verdict::Verdict;

/// A close waits so long for the channels to be noted.
const BEFORE_CLOSE: Duration = Duration::from_secs(2);

/// How often open operations are looked up.
const LOOK: Duration = Duration::from_secs(2);

/// What the treasury works with.
#[derive(Clone)]
pub struct TreasuryParts {
    /// Where operations are recorded.
    pub ledger: Ledger,
    /// Tells the node's state.
    pub node: Arc<dyn NodeWatch>,
    /// Opens and closes channels.
    pub control: Arc<dyn NodeControl>,
    /// Sends coins and splices.
    pub coins: Arc<dyn Coins>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its tasks are counted.
    pub tasks: TaskTracker,
}

/// Moves coins. Clones share everything.
#[derive(Clone)]
pub struct Treasury(Arc<Inner>);

struct Inner {
    parts: TreasuryParts,
    /// One deed at a time: what the node looked like before it says what came of it.
    turn: Semaphore,
    /// How long a deed waits for the wallet to learn what those before it spend.
    patience: Duration,
    noted: Mutex<chronicle::Noted>,
    learnt: settled::Learnt,
    voids: void::Voids,
    /// When this run began.
    begun: Timestamp,
}

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum TreasuryError {
    /// The key is empty, too long, or not plain text.
    #[error("a key is 1 to {LONGEST_OPERATION_KEY} visible ASCII characters")]
    BadKey,
    /// The key names an operation that asked for something else.
    #[error("the key names operation {}, which asked for something else", .0.id)]
    KeyTaken(Box<OperationRow>),
    /// What is asked for makes no sense.
    #[error("{text}")]
    Senseless {
        /// Stable word.
        code: &'static str,
        /// Why.
        text: String,
    },
    /// The node could not be asked what it has.
    #[error("the node cannot be asked now: {0}")]
    Node(#[from] NodeFault),
    /// Nobody can say what a transaction must pay now.
    #[error("no fee can be estimated now, so nothing was sent: {0}")]
    NoFeeRates(NodeFault),
    /// The wallet does not know yet which coins an operation before it spends.
    #[error(
        "nothing was done: operation {} ({}) has chosen coins of the wallet, or is about to, and its transaction is \
         not seen yet, so this could spend the same ones; try again in a minute", .0.id, .0.kind
    )]
    CoinsBusy(Box<OperationRow>),
    /// The chain asks for more than what was agreed to, and what comes late is worth nothing.
    #[error("a transaction must pay {now} now, and {agreed} was agreed to; nothing was sent")]
    Dearer {
        /// The chain's.
        now: FeeRate,
        /// Whoever asked agreed to it.
        agreed: FeeRate,
    },
    /// There is no such operation.
    #[error("there is no operation {0}")]
    Unknown(i64),
    /// Only one whose end nobody else will tell can be settled.
    #[error(
        "operation {} is {}: only one that is unclear, that waits for another node without a transaction, or \
         whose transaction is in no block after fifteen days can be settled",
        .0.id, .0.state.word()
    )]
    NotUnclear(Box<OperationRow>),
    /// What is known of a send may be older than the block that it is in.
    #[error(
        "nothing was noted: whether the transaction is in a block is not known before the wallet is in step with \
         the chain again ({0}); say it again then"
    )]
    OutOfStep(NodeFault),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The appliance is stopping.
    #[error("the appliance is stopping")]
    Stopping,
}

/// How an operation stands, as far as one look tells.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    state: OperationState,
    /// Added to what is known of it already.
    facts: Value,
}

impl Finding {
    fn new(state: OperationState, facts: Value) -> Finding {
        Finding { state, facts }
    }

    fn failed(why: impl Into<String>) -> Finding {
        Finding::new(OperationState::Failed, json!({ "reason": why.into() }))
    }
}

/// On whose word a deed is done.
#[derive(Default)]
struct Terms {
    /// The fee rate that was agreed to.
    most: Option<FeeRate>,
    /// Nothing is done while the chain asks for more.
    in_time: bool,
    /// The rule that ran.
    rule: Option<RuleRun>,
}

impl Treasury {
    /// Nothing is looked up before [`Treasury::watch`].
    pub fn new(parts: TreasuryParts) -> Treasury {
        Treasury(Arc::new(Inner {
            begun: parts.clock.now(),
            parts,
            turn: Semaphore::new(1),
            patience: settled::PATIENCE,
            noted: Mutex::default(),
            learnt: Mutex::default(),
            voids: void::Voids::default(),
        }))
    }

    /// Does `deed` once, however often it is asked under `key`, and gives how the operation stands. It is
    /// carried through even when the caller goes away.
    ///
    /// # Errors
    /// When nothing was recorded and nothing done; an operation that failed is no error.
    pub async fn run(&self, key: &str, deed: Deed) -> Result<OperationRow, TreasuryError> {
        self.carried(key, deed, Terms::default()).await
    }

    /// The same, of which the fee rate was agreed to: where the rate that the deed chooses has risen meanwhile, its
    /// transaction pays `most` all the same. It is no part of the deed: the key names it whatever was agreed to.
    ///
    /// # Errors
    /// As of [`Treasury::run`].
    pub async fn run_at_most(
        &self,
        key: &str,
        deed: Deed,
        most: Option<FeeRate>,
    ) -> Result<OperationRow, TreasuryError> {
        self.carried(key, deed, Terms { most, ..Terms::default() }).await
    }

    /// The same for a rule; that it ran, and why, is told with the operation.
    ///
    /// # Errors
    /// As of [`Treasury::run`].
    pub async fn run_for(&self, key: &str, deed: Deed, rule: RuleRun) -> Result<OperationRow, TreasuryError> {
        self.carried(key, deed, Terms { rule: Some(rule), ..Terms::default() }).await
    }

    async fn carried(&self, key: &str, deed: Deed, terms: Terms) -> Result<OperationRow, TreasuryError> {
        let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        if key.is_empty() || key.len() > LONGEST_OPERATION_KEY || !visible {
            return Err(TreasuryError::BadKey);
        }
        let (this, key) = (self.clone(), key.to_owned());
        let work = self.0.parts.tasks.spawn(async move { this.carry_out(&key, &deed, terms).await });
        work.await.map_err(|_| TreasuryError::Stopping)?
    }

    async fn carry_out(
        &self,
        key: &str,
        deed: &Deed,
        Terms { most, in_time, rule }: Terms,
    ) -> Result<OperationRow, TreasuryError> {
        let ledger = &self.0.parts.ledger;
        if let Some(known) = ledger.operation_of_key(key).await? {
            return same(known, deed);
        }
        self.check(deed)?;
        let _turn = self.turn_to(deed).await?;
        // Asked again inside the turn.
        if let Some(known) = ledger.operation_of_key(key).await? {
            return same(known, deed);
        }
        let market = self.rate(deed).await?;
        if let (true, Some(now), Some(agreed)) = (in_time, market, most)
            && now > agreed
        {
            return Err(TreasuryError::Dearer { now, agreed });
        }
        let rate = market.map(|rate| most.map_or(rate, |most| rate.min(most).max(FeeRate::FLOOR)));
        let mark = self.mark(deed).await?;
        let begun = ledger.begin_marked_operation(key, deed.kind(), deed.ask(), mark.value(), rule).await?;
        let id = match begun {
            BegunOperation::New(id) => id,
            BegunOperation::Known(row) | BegunOperation::Another(row) => return same(row, deed),
        };
        Moment::Intended.reached();
        if matches!(deed, Deed::CloseChannel { .. } | Deed::ForceCloseChannel { .. }) {
            self.note_before_close().await;
        }
        let found = self.act(deed, rate).await;
        Moment::Asked.reached();
        self.note(id, OperationState::Intended, found).await
    }

    /// Notes what is in the channels, so that what a close costs is known to the satoshi. No close waits for a chain source.
    async fn note_before_close(&self) {
        match tokio::time::timeout(BEFORE_CLOSE, self.note_channels()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the channels could not be noted before a close"),
            Err(_) => tracing::debug!("the channels could not be noted in time before a close"),
        }
    }

    /// Notes what was found of an operation that stood as `was`; what the node told meanwhile goes before it.
    async fn note(
        &self,
        id: i64,
        was: OperationState,
        found: Finding,
    ) -> Result<OperationRow, TreasuryError> {
        Ok(self.0.parts.ledger.note_facts(id, was, found.state, found.facts).await?)
    }

    /// Looks up what became of every operation without an end.
    ///
    /// # Errors
    /// When the ledger fails, or the node cannot be asked.
    pub async fn reconcile(&self) -> Result<(), TreasuryError> {
        let ledger = &self.0.parts.ledger;
        if ledger.open_operations().await?.is_empty() {
            return Ok(());
        }
        let _turn = self.0.turn.acquire().await.map_err(|_| TreasuryError::Stopping)?;
        // Asked again inside the turn: none of these is being done now.
        let open = ledger.open_operations().await?;
        self.learn(open.clone()).await?;
        for row in open {
            if let Some(found) = self.fate(&row).await? {
                self.note(row.id, row.state, found).await?;
            }
        }
        Ok(())
    }

    /// Follows open operations to their end, and channels to when their coins are back, until `stop`. Begin when the node runs.
    pub async fn watch(self, stop: CancellationToken) {
        let work = async {
            loop {
                if let Err(error) = self.reconcile().await {
                    tracing::debug!(%error, "open operations could not be looked up yet");
                }
                if let Err(error) = self.note_channels().await {
                    tracing::debug!(%error, "the channels could not be noted yet");
                } else {
                    if let Err(error) = self.note_deposits().await {
                        tracing::debug!(%error, "deposits could not be noted yet");
                    }
                    if let Err(error) = self.note_close_fees().await {
                        tracing::debug!(%error, "what closes cost could not be noted yet");
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = stop.run_until_cancelled(work).await;
    }

    /// The operations, newest first.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn operations(&self, before: i64, limit: u32) -> Result<Vec<OperationRow>, TreasuryError> {
        let mut rows = self.0.parts.ledger.operations(before, limit).await?;
        self.tell_closes(&mut rows).await?;
        Ok(rows)
    }

    /// The operation that a key names, if one does.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn operation_of_key(&self, key: &str) -> Result<Option<OperationRow>, TreasuryError> {
        Ok(self.0.parts.ledger.operation_of_key(key).await?)
    }

    /// One operation.
    ///
    /// # Errors
    /// When the ledger fails, or there is none.
    pub async fn operation(&self, id: i64) -> Result<OperationRow, TreasuryError> {
        let mut row = self.0.parts.ledger.operation(id).await?.ok_or(TreasuryError::Unknown(id))?;
        self.tell_closes(std::slice::from_mut(&mut row)).await?;
        Ok(row)
    }

    /// Adds to closes that are done what became known of their channels since: an operation ends when the channel is gone,
    /// which is before its closing transaction is found.
    async fn tell_closes(&self, rows: &mut [OperationRow]) -> Result<(), TreasuryError> {
        let closes = |row: &OperationRow| {
            row.state == OperationState::Done
                && matches!(row.kind.as_str(), "close_channel" | "force_close_channel")
        };
        let local_ids: Vec<String> =
            rows.iter().filter(|row| closes(row)).filter_map(|row| Mark::of(&row.outcome).local_id).collect();
        if local_ids.is_empty() {
            return Ok(());
        }
        let local_ids: Vec<&str> = local_ids.iter().map(String::as_str).collect();
        let records = self.0.parts.ledger.channel_records(&local_ids).await?;
        for row in rows.iter_mut().filter(|row| closes(row)) {
            let local_id = Mark::of(&row.outcome).local_id;
            let Some(record) = records.iter().find(|record| Some(&record.local_id) == local_id.as_ref())
            else {
                continue;
            };
            row.outcome["channel_id"] = record.channel_id.as_str().into();
            row.outcome["spends"] = json!(record.funding);
            row.outcome["closing_txid"] = json!(record.closing_txid);
            row.outcome["came_sat"] = json!(record.came_sat);
            row.outcome["closing_cost_msat"] = json!(record.closing_cost_msat);
        }
        Ok(())
    }
}

fn same(known: OperationRow, deed: &Deed) -> Result<OperationRow, TreasuryError> {
    if known.kind == deed.kind() && known.ask == deed.ask() {
        Ok(known)
    } else {
        Err(TreasuryError::KeyTaken(Box::new(known)))
    }
}

#[cfg(test)]
mod tests;
