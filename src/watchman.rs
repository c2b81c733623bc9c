//! The watchman: looks at every part of the appliance every few seconds, and raises an alarm when a person
//! should know or do something.
//!
//! Invariants: what is the matter is decided by pure rules over [`Vitals`] ([`judge`]); an alarm is an event
//! when it is raised, when its severity changes and when it is over, and never because a figure moved or the
//! process started again. Looking changes nothing but the alarms. Parts that know themselves best come in as
//! [`Informant`]s.

mod chronicle;
mod codes;
mod disk;
mod footprint;
mod limits;
mod prices;
mod rules;
mod vitals;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::catalog::{Catalog, INVOICE_EXPIRY};
use crate::clock::Clock;
use crate::ports::{ChainWatch, Check, Informant, InvoiceAsk, Minter, NodePulse, NodeWatch, Pulse};
use crate::pricing::Exchange;
use crate::store::{AlarmRow, Findings, Ledger, OperationState, OrderState, StoreError};
use crate::types::{Msat, Severity, Timestamp};

pub use codes::{AlarmCode, CODES};
pub use disk::DiskSpace;
pub use footprint::Footprint;
pub use limits::AlarmLimits;
pub use prices::Prices;
pub use rules::{judge, unknown};
pub use vitals::{Readiness, Since, Unready, Vitals};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);
/// Between two questions for the time, and two looks at the monitors' sizes.
const SLOW_PAUSE: Duration = Duration::from_secs(60);

/// What the watchman looks at.
#[derive(Clone)]
pub struct WatchmanParts {
    /// Where alarms are kept, and the log.
    pub ledger: Ledger,
    /// The node's channels.
    pub node: Arc<dyn NodeWatch>,
    /// The node's pulse.
    pub pulse: Arc<dyn Pulse>,
    /// Which chain source the node uses, and whether it is heard of.
    pub chain: Arc<dyn ChainWatch>,
    /// Tells whether a price can be received.
    pub minter: Arc<dyn Minter>,
    /// Whether somebody would open a channel for a payment of this size.
    pub opens_for: Arc<dyn Fn(Msat) -> bool + Send + Sync>,
    /// What is sold.
    pub catalog: Arc<Catalog>,
    /// The rates that prices are changed at.
    pub exchange: Arc<dyn Exchange>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The directory whose disk must not fill up.
    pub dir: PathBuf,
}

/// How the appliance fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// When it was looked at.
    pub at: Timestamp,
    /// What was looked at, and what was found.
    pub checks: Vec<Check>,
    /// The alarms that stand, with since when.
    pub alarms: Vec<AlarmRow>,
}

impl Health {
    /// The worst alarm's severity.
    pub fn worst(&self) -> Option<Severity> {
        self.alarms.iter().map(|row| row.alarm.severity).max()
    }
}

/// Watches; see the module.
pub struct Watchman {
    parts: WatchmanParts,
    limits: AlarmLimits,
    informants: Mutex<Vec<Arc<dyn Informant>>>,
    begun: Timestamp,
    memory: tokio::sync::Mutex<Memory>,
}

/// What one look leaves for the next.
#[derive(Debug, Default)]
struct Memory {
    since: Since,
    asked_slowly: Option<Timestamp>,
    alarms: Vec<AlarmRow>,
    watched: Option<i64>,
}

impl fmt::Debug for Watchman {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchman").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Watchman {
    /// Nothing is looked at before [`Watchman::run`] or [`Watchman::look`].
    pub fn new(parts: WatchmanParts, limits: AlarmLimits) -> Arc<Watchman> {
        let begun = parts.clock.now();
        let (informants, memory) = (Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Watchman { parts, limits, informants, begun, memory })
    }

    /// From now on `informant` is asked too.
    pub fn hear(&self, informant: Arc<dyn Informant>) {
        self.informants.lock().unwrap_or_else(PoisonError::into_inner).push(informant);
    }

    /// Looks every few seconds until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            loop {
                if let Err(error) = self.look().await {
                    tracing::error!(%error, "the alarms could not be noted");
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let _ = stop.run_until_cancelled(work).await;
    }

    /// Looks now, notes what changed, and gives what was found.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn look(&self) -> Result<Health, StoreError> {
        let mut memory = self.memory.lock().await;
        let known = match memory.watched {
            Some(_) => std::mem::take(&mut memory.alarms),
            None => self.parts.ledger.alarms().await?,
        };
        let watched = match memory.watched {
            Some(watched) => watched,
            None => self.parts.ledger.watched().await?,
        };
        let vitals = self.vitals(&mut memory).await?;
        let standing: BTreeSet<String> = known.iter().map(|row| row.alarm.code.clone()).collect();
        let mut checks = judge(&vitals, &self.limits, &standing);
        let informants = self.informants.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for informant in informants {
            checks.extend(informant.checks().await);
        }
        let (notices, watched) = chronicle::read(&self.parts.ledger, watched).await?;
        let mut alarms: Vec<_> = checks.iter().flat_map(|check| check.alarms.clone()).collect();
        alarms.extend(unknown(&vitals, &self.limits, &known));
        let rows = self.parts.ledger.note_alarms(Findings { standing: alarms, notices, watched }).await?;
        tell(&known, &rows);
        (memory.alarms, memory.watched) = (rows.clone(), Some(watched));
        Ok(Health { at: vitals.now, checks, alarms: rows })
    }

    /// When the appliance came up.
    pub fn begun(&self) -> Timestamp {
        self.begun
    }

    /// What the appliance takes of its machine. Reads a few files.
    pub fn footprint(&self) -> Footprint {
        Footprint::of(&self.parts.dir)
    }

    /// The node's pulse.
    pub async fn pulse(&self) -> NodePulse {
        self.parts.pulse.pulse().await
    }

    /// Whether something can be sold at this moment.
    pub async fn ready(&self) -> Readiness {
        let (view, now) = (self.parts.node.view().await, self.parts.clock.now());
        if !view.running {
            return Err(Unready::NodeDown);
        }
        let synced = view.synced_at.map_or(Timestamp::default(), Timestamp::from_secs);
        if self.parts.chain.chain().stale || now.minus(self.limits.chain_stale) > synced {
            return Err(Unready::NotSynced);
        }
        match self.prices(now).smallest {
            Some(price) => self.can_receive(price).map_err(|_| Unready::CannotReceive),
            None => Ok(()),
        }
    }

    fn prices(&self, now: Timestamp) -> Prices {
        Prices::of(&self.parts.catalog.current(), self.parts.exchange.as_ref(), now)
    }

    /// An invoice that nobody will see: making one stores nothing.
    fn can_receive(&self, amount: Msat) -> Result<(), String> {
        let ask = InvoiceAsk { amount, description: String::new(), expiry: INVOICE_EXPIRY };
        match self.parts.minter.mint(&ask) {
            Err(why) if !(self.parts.opens_for)(amount) => Err(why.to_string()),
            _ => Ok(()),
        }
    }

    async fn vitals(&self, memory: &mut Memory) -> Result<Vitals, StoreError> {
        let WatchmanParts { ledger, node, pulse, clock, dir, .. } = &self.parts;
        let now = clock.now();
        let (view, beat) = (node.view().await, pulse.pulse().await);
        if view.running && memory.asked_slowly.is_none_or(|then| now >= then.plus(SLOW_PAUSE)) {
            memory.asked_slowly = Some(now);
            memory.since.largest_monitor_bytes = pulse.largest_monitor().await.unwrap_or(0);
            memory.since.source_time = match pulse.source_time().await {
                Ok(time) => Some((clock.now(), time)),
                Err(fault) => {
                    tracing::debug!(%fault, "the chain source did not tell the time");
                    None
                }
            };
        }
        memory.since.connected(now, view.channels.is_empty() || view.peers_connected > 0);
        memory.since.resumes(now, &view);
        let prices = self.prices(now);
        let unpayable = prices.smallest.and_then(|price| self.can_receive(price).err());
        let dearest = prices.highest.as_ref();
        let dearest_unpayable = dearest.is_some_and(|(price, _)| self.can_receive(*price).is_err());
        let open = ledger.open_operations().await?;
        let unclear = open.iter().filter(|row| row.state == OperationState::Unclear).count();
        let sent = open.iter().filter(|row| row.state == OperationState::Sent);
        let mut orders = ledger.open_orders().await?;
        orders.retain(|row| row.state != OrderState::Quoted);
        Ok(Vitals {
            now,
            begun: self.begun,
            view,
            beat,
            chain: self.parts.chain.chain(),
            since: memory.since.clone(),
            prices,
            unpayable,
            dearest_unpayable,
            disk: disk::space(dir),
            unclear_operations: unclear,
            sent_operations: sent.map(|row| row.begun_at).collect(),
            said_refunded: orders.iter().filter(|row| row.refund_is_said()).map(|row| row.id).collect(),
            open_orders: orders.into_iter().map(|row| (row.id, row.changed_at)).collect(),
        })
    }
}

/// Writes what is new to the log, once.
fn tell(before: &[AlarmRow], now: &[AlarmRow]) {
    let severity_of = |rows: &[AlarmRow], row: &AlarmRow| {
        let same = |other: &&AlarmRow| {
            (&other.alarm.code, &other.alarm.subject) == (&row.alarm.code, &row.alarm.subject)
        };
        rows.iter().find(same).map(|row| row.alarm.severity)
    };
    for row in now.iter().filter(|row| severity_of(before, row) != Some(row.alarm.severity)) {
        let (alarm, subject) = (&row.alarm, row.alarm.subject.as_deref());
        match alarm.severity {
            Severity::Info => tracing::info!(code = alarm.code, subject, fix = alarm.fix, "{}", alarm.text),
            Severity::Warning => {
                tracing::warn!(code = alarm.code, subject, fix = alarm.fix, "{}", alarm.text);
            }
            Severity::Critical => {
                tracing::error!(code = alarm.code, subject, fix = alarm.fix, "{}", alarm.text);
            }
        }
    }
    for row in before.iter().filter(|row| severity_of(now, row).is_none()) {
        tracing::info!(code = row.alarm.code, subject = row.alarm.subject.as_deref(), "the alarm is over");
    }
}

#[cfg(test)]
mod tests;
