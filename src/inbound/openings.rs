//! Invoices whose payment opens a channel (bLIP-52, LSPS2): made only when a price cannot be received
//! otherwise, seldom, and at a price that the operator accepted.
//!
//! Invariants: what an opening costs is known before an invoice is made, from a list that is asked for in
//! the background and never for a customer; no more invoices are made in an hour than the limit says,
//! restarts included, and no customer's network takes more than its share of them; one is made at a time;
//! what is remembered is bounded by that limit, and what the node keeps of those that nobody paid is
//! removed.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::node::config::JustInTime;
use crate::ports::{
    InvoiceAsk, NotOpened, OPENING_EXPIRY, OpeningInvoice, OpeningNode, OpeningTerms, UnpaidOpening,
};
use crate::throttle::Network;
use crate::types::{Msat, Timestamp};

/// The list of fees is asked for anew after this time, at the latest.
const TERMS_AGE: Duration = Duration::from_secs(600);

/// Waits between two tries to get it: doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Someone whose connection was lost is given this long to come back before another channel is opened.
const PEER_GRACE: Duration = Duration::from_secs(120);

/// The node accepts a payment until two hours after its invoice ran out; then its record can go.
const KEPT_AFTER_EXPIRY: Duration = Duration::from_secs(3 * 3_600);

const HOUR: Duration = Duration::from_secs(3_600);

/// One customer's network may have a share of the hour's invoices: one in so many.
const SHARES: u32 = 3;

/// Opens channels for payments.
pub struct Openings {
    node: Arc<dyn OpeningNode>,
    policy: JustInTime,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    making: Semaphore,
    stale: Notify,
}

struct State {
    terms: Result<Vec<OpeningTerms>, String>,
    asked_at: Option<Timestamp>,
    /// Those of the last hour; as many as the limit at most.
    made: VecDeque<(Timestamp, Option<Network>)>,
    /// Since when a channel waits for its peer.
    asleep_since: Option<Timestamp>,
}

/// How channels are opened for payments, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OpeningsView {
    /// The LSP's public key.
    pub node: String,
    /// Its address.
    pub address: String,
    /// The LSP told what it wants.
    pub known: bool,
    /// Why not.
    pub problem: Option<String>,
    /// When it was asked last.
    pub asked_at: Option<Timestamp>,
    /// What it wants.
    pub terms: Vec<OpeningTerms>,
    /// The least price that a channel is opened for, what we accept as a fee taken into account.
    pub least_msat: Option<Msat>,
    /// What the LSP would keep of it.
    pub least_fee_msat: Option<Msat>,
    /// The most that one opening may cost, satoshi.
    pub max_fee_sat: u64,
    /// The same in hundredths of the payment.
    pub max_fee_percent: u32,
    /// Invoices in an hour.
    pub max_per_hour: u32,
    /// Of them, made in the last hour.
    pub made_last_hour: usize,
}

impl Openings {
    /// Over `node`, as `policy` says.
    pub fn new(node: Arc<dyn OpeningNode>, policy: JustInTime, clock: Arc<dyn Clock>) -> Arc<Openings> {
        let state = State {
            terms: Err("it has not been asked yet".to_owned()),
            asked_at: None,
            made: VecDeque::new(),
            asleep_since: None,
        };
        Arc::new(Openings {
            node,
            policy,
            clock,
            state: Mutex::new(state),
            making: Semaphore::new(1),
            stale: Notify::new(),
        })
    }

    /// What opening a channel for a payment of `amount` costs.
    ///
    /// # Errors
    /// When none is opened for it.
    pub fn fee(&self, amount: Msat) -> Result<Msat, NotOpened> {
        self.fee_by(&self.state().terms, amount)
    }

    fn fee_by(&self, terms: &Result<Vec<OpeningTerms>, String>, amount: Msat) -> Result<Msat, NotOpened> {
        let terms = terms.as_ref().map_err(|why| NotOpened::Away(why.clone()))?;
        let now = self.clock.now();
        let valid = || terms.iter().filter(|line| line.valid_until > now);
        let (Some(smallest), Some(largest)) =
            (valid().map(|line| line.smallest_msat).min(), valid().map(|line| line.largest_msat).max())
        else {
            return Err(NotOpened::Away("its list of fees has run out".to_owned()));
        };
        let fits = valid().filter(|line| (line.smallest_msat..=line.largest_msat).contains(&amount));
        let Some(fee) = fits.filter_map(|line| line.fee(amount)).min() else {
            if amount > largest {
                return Err(NotOpened::TooLarge { most: largest });
            }
            if let Some((least, _)) = self.least(terms) {
                return Err(NotOpened::TooSmall { least });
            }
            // Nothing that the LSP offers is within our limits, at any price.
            let fee = valid().filter_map(|line| line.fee(line.smallest_msat)).min();
            return Err(NotOpened::TooDear { fee: fee.unwrap_or(Msat::MAX), most: self.most_fee(smallest) });
        };
        let most = self.most_fee(amount);
        if fee <= most && fee < amount {
            return Ok(fee);
        }
        // A larger payment may carry the same fee.
        match self.least(terms) {
            Some((least, _)) if least > amount => Err(NotOpened::TooSmall { least }),
            _ => Err(NotOpened::TooDear { fee, most }),
        }
    }

    /// The most that is paid for opening a channel for a payment of `amount`.
    fn most_fee(&self, amount: Msat) -> Msat {
        let share = u128::from(amount.msat()) * u128::from(self.policy.max_fee_percent) / 100;
        let share = u64::try_from(share).ok().and_then(|msat| Msat::new(msat).ok()).unwrap_or(Msat::MAX);
        share.min(self.policy.max_fee)
    }

    /// The least price that would do, and the fee for it.
    fn least(&self, terms: &[OpeningTerms]) -> Option<(Msat, Msat)> {
        let now = self.clock.now();
        let of = |line: &OpeningTerms| {
            let needed = u128::from(line.min_fee_msat.msat()) * 100;
            let by_share = u64::try_from(needed.div_ceil(u128::from(self.policy.max_fee_percent))).ok()?;
            let least = line.smallest_msat.max(Msat::new(by_share).ok()?);
            let fee = line.fee(least)?;
            (fee <= self.most_fee(least) && fee < least && least <= line.largest_msat).then_some((least, fee))
        };
        terms.iter().filter(|line| line.valid_until > now).filter_map(of).min()
    }

    /// An invoice whose payment opens a channel, for whoever asks from `from`. It runs out within
    /// [`OPENING_EXPIRY`].
    ///
    /// # Errors
    /// When none is opened for it.
    pub async fn invoice(&self, ask: InvoiceAsk, from: IpAddr) -> Result<OpeningInvoice, NotOpened> {
        self.fee(ask.amount)?;
        let network = Network::of(from);
        self.turn(network)?;
        let Ok(_one) = self.making.try_acquire() else { return Err(NotOpened::Busy) };
        if self.node.sleeps(ask.amount).await {
            let now = self.clock.now();
            let since = *self.state().asleep_since.get_or_insert(now);
            if now < since.plus(PEER_GRACE) {
                return Err(NotOpened::PeerExpected);
            }
        } else {
            self.state().asleep_since = None;
        }
        // Counted before it is asked for: whoever hangs up in between has had it.
        self.state().made.push_back((self.clock.now(), Some(network)));
        let most = self.most_fee(ask.amount);
        let ask = InvoiceAsk { expiry: ask.expiry.min(OPENING_EXPIRY), ..ask };
        match self.node.opening_invoice(ask, most).await {
            Ok(opening) => {
                tracing::info!(
                    payment_hash = %opening.invoice.payment_hash,
                    fee = %opening.fee,
                    "made an invoice whose payment opens a channel"
                );
                Ok(opening)
            }
            Err(fault) => {
                // Nothing is asked of it again before it told what it wants, in the background.
                tracing::warn!(%fault, "the liquidity provider gave no channel for a payment");
                self.state().terms = Err(fault.0.clone());
                self.stale.notify_one();
                Err(NotOpened::Away(fault.0))
            }
        }
    }

    /// Whether another may be made for this network now.
    fn turn(&self, network: Network) -> Result<(), NotOpened> {
        let (now, in_an_hour) = (self.clock.now(), self.policy.max_per_hour);
        let mut state = self.state();
        while state.made.front().is_some_and(|(at, _)| at.plus(HOUR) <= now) {
            state.made.pop_front();
        }
        let count = |found: usize| u32::try_from(found).unwrap_or(u32::MAX);
        if count(state.made.len()) >= in_an_hour {
            return Err(NotOpened::LimitReached { in_an_hour });
        }
        let theirs = state.made.iter().filter(|(_, of)| *of == Some(network)).count();
        if count(theirs) >= (in_an_hour / SHARES).max(1) {
            return Err(NotOpened::Unpaid);
        }
        Ok(())
    }

    /// How it stands, for the operator.
    pub fn view(&self) -> OpeningsView {
        let state = self.state();
        let least = state.terms.as_ref().ok().and_then(|terms| self.least(terms));
        let since = self.clock.now().minus(HOUR);
        OpeningsView {
            node: self.policy.lsp.node.clone(),
            address: self.policy.lsp.address.clone(),
            known: state.terms.is_ok(),
            problem: state.terms.as_ref().err().cloned(),
            asked_at: state.asked_at,
            terms: state.terms.as_ref().cloned().unwrap_or_default(),
            least_msat: least.map(|(least, _)| least),
            least_fee_msat: least.map(|(_, fee)| fee),
            max_fee_sat: self.policy.max_fee.sats_floor(),
            max_fee_percent: self.policy.max_fee_percent,
            max_per_hour: self.policy.max_per_hour,
            made_last_hour: state.made.iter().filter(|(at, _)| *at > since).count(),
        }
    }

    /// Keeps the list of fees fresh and the node's records few, until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            let mut wait = FIRST_WAIT;
            let mut recalled = false;
            loop {
                match self.tidy().await {
                    Ok(unpaid) if !recalled => {
                        self.recall(&unpaid);
                        recalled = true;
                    }
                    Ok(_) | Err(()) => {}
                }
                // Nothing is made before those of an earlier run are counted.
                let pause = if recalled && self.ask().await {
                    wait = FIRST_WAIT;
                    TERMS_AGE
                } else {
                    let pause = wait;
                    wait = wait.saturating_mul(2).min(LONGEST_WAIT);
                    pause
                };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // Not at once: what has just failed would fail again.
                    () = self.stale.notified() => tokio::time::sleep(wait).await,
                }
            }
        };
        // What is asked of the network is dropped.
        let _ = stop.run_until_cancelled(work).await;
    }

    /// Asks for the list of fees; gives whether it came.
    async fn ask(&self) -> bool {
        let told = self.node.opening_terms().await;
        let told = told.map_err(|fault| fault.0).and_then(|terms| {
            if terms.is_empty() { Err("it opens no channels now".to_owned()) } else { Ok(terms) }
        });
        let mut state = self.state();
        match (&state.terms, &told) {
            (Err(_), Ok(terms)) => {
                let least = self.least(terms).map(|(least, fee)| format!("{least}, of which it keeps {fee}"));
                let least = least.unwrap_or_else(|| "nothing that is within our limits".to_owned());
                tracing::info!(least, "the liquidity provider told what it opens channels for");
            }
            (Ok(_), Err(why)) => tracing::warn!(why, "the liquidity provider does not answer"),
            _ => {}
        }
        (state.terms, state.asked_at) = (told, Some(self.clock.now()));
        state.terms.is_ok()
    }

    /// Has the node forget what nobody can pay any more; gives the rest.
    async fn tidy(&self) -> Result<Vec<UnpaidOpening>, ()> {
        let found = self.node.unpaid_openings().await.map_err(|_| ())?;
        let now = self.clock.now();
        let (over, rest): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|opening| opening.made_at.plus(OPENING_EXPIRY).plus(KEPT_AFTER_EXPIRY) <= now);
        for opening in over {
            if let Err(fault) = self.node.forget_opening(opening.payment_hash).await {
                tracing::warn!(%fault, "an invoice that nobody paid could not be forgotten");
            }
        }
        Ok(rest)
    }

    /// Counts those of an earlier run, so that a restart is no new hour.
    fn recall(&self, unpaid: &[UnpaidOpening]) {
        let since = self.clock.now().minus(HOUR);
        let most = usize::try_from(self.policy.max_per_hour).unwrap_or(usize::MAX);
        let mut times: Vec<Timestamp> =
            unpaid.iter().map(|opening| opening.made_at).filter(|at| *at > since).collect();
        times.sort_unstable();
        let mut state = self.state();
        for at in times.into_iter().rev().take(most) {
            state.made.push_front((at, None));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Openings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Openings").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
