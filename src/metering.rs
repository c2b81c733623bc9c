//! From a [`Permit`] to a [`Hold`] to how it ended: reserve, then settle or release.
//!
//! Invariants: a `Hold` exists only when the debit of its unit is on disk; it ends exactly once,
//! and when it is dropped it ends as what it then is. The reservation inside owns its place in the
//! ledger's queue, so that ending it needs neither waiting nor luck (MONEY rule 8). There is no
//! `.await` between the ledger's answer and the `Hold`: a request that is dropped before has no
//! answer, and then the ledger releases.
//!
//! An answer that its client may ask for again is kept by [`Replays`].

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use tokio_util::sync::CancellationToken;

use crate::catalog::Terms;
use crate::gate::Permit;
use crate::ledger::{Ending, ReserveRefused, RestoreReason, Sale};
use crate::moment::Moment;
use crate::pricing::{Meter, Metering, Quote, RequestFacts, ResponseFacts};
use crate::store::{Ledger, Reservation, ReserveError};

mod body;
mod replay;

pub use body::{MeteredBody, StreamFault};
pub use replay::{KeptAnswer, Recording, RecordingLight, ReplayKey, ReplayLimits, Replays};

/// What a request was priced by, for whoever charges it.
#[derive(Clone, Debug)]
pub struct Bill {
    /// The terms of its route.
    pub terms: Arc<Terms>,
    /// What the rule reads of it.
    pub request: RequestFacts,
    /// What it costs; `None` under a pass.
    pub quote: Option<Quote>,
}

/// A unit that is debited and not yet spent: leave to send one request upstream.
#[must_use = "a hold that is dropped releases or charges its unit"]
pub struct Hold {
    sale: Box<Sale>,
    bill: Box<Bill>,
    /// `None` once it ended.
    reservation: Option<Reservation>,
    cut: CancellationToken,
    /// A copy of the answer, while one is made.
    recording: Option<Recording>,
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hold({})", self.sale.payment_hash)
    }
}

impl Hold {
    /// Takes what `permit` draws for a request that is priced as `bill` says. When this returns, the debit is on disk.
    ///
    /// `cut` says that this process is breaking its connections off: what it drops then was not
    /// cancelled by the client, and the buyer keeps the unit.
    ///
    /// # Errors
    /// When no unit can be had, or the ledger fails: then nothing was taken.
    pub async fn reserve(
        ledger: &Ledger,
        permit: Permit,
        bill: Bill,
        cut: CancellationToken,
    ) -> Result<Hold, ReserveError> {
        let sale = permit.sale();
        let reservation = ledger.reserve(sale.clone(), permit.draw().clone()).await?;
        Moment::Reserved.reached();
        let hold = Hold {
            sale: Box::new(sale),
            bill: Box::new(bill),
            reservation: Some(reservation),
            cut,
            recording: None,
        };
        hold.affords()
    }

    /// A price that the token's use before decides may be above what is held: then nothing is.
    fn affords(self) -> Result<Hold, ReserveError> {
        let (Some(quote), Some(reservation)) = (&self.bill.quote, &self.reservation) else {
            return Ok(self);
        };
        if quote.metering != Metering::AtReserve || !self.sale.kind.draws_money() {
            return Ok(self);
        }
        let meter = Meter::new(&self.bill.terms.rule, self.bill.request.clone(), quote, reservation.used());
        let cost = meter.cost(&ResponseFacts::default()).unwrap_or(quote.most).msat();
        let held = reservation.held();
        if cost <= held {
            return Ok(self);
        }
        let left = held.saturating_add(reservation.left());
        self.end(Ending::Restored(RestoreReason::NotDispatched));
        Err(ReserveRefused::TooSmall { left, needed: cost }.into())
    }

    /// What the request was priced by.
    pub fn bill(&self) -> &Bill {
        &self.bill
    }

    /// What the unit was sold as.
    pub fn sale(&self) -> &Sale {
        &self.sale
    }

    /// From now on the upstream may have seen the request: a client that leaves has used its unit.
    pub fn dispatched(&mut self) {
        if let Some(reservation) = &mut self.reservation {
            reservation.dispatched();
            Moment::Dispatched.reached();
        }
    }

    /// Whether the token is still good after `reason` gave this unit back: one whose requests failed
    /// too often at the upstream's expense is refused from then on (MONEY rule 7).
    pub fn good_after(&self, reason: RestoreReason) -> bool {
        !reason.loads_upstream() || self.reservation.as_ref().is_some_and(Reservation::restorable)
    }

    /// Lets the answer be kept by `recording` when it is delivered.
    pub fn record(&mut self, recording: Recording) {
        self.recording = Some(recording);
    }

    /// Whether the answer is being recorded; `None` when it never was to be.
    pub fn light(&self) -> Option<RecordingLight> {
        self.recording.as_ref().map(Recording::light)
    }

    /// Cancelled when this process breaks its connections off.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// The head that the client gets, and how long the body is at least.
    pub fn record_head(&mut self, status: StatusCode, headers: &HeaderMap, body_bytes: u64) {
        self.recording = self.recording.take().and_then(|r| r.head(status, headers, body_bytes));
    }

    /// More of the body that the client gets.
    fn record_data(&mut self, data: &[u8]) {
        self.recording = self.recording.take().and_then(|r| r.data(data));
    }

    /// Ends it.
    pub fn end(mut self, ending: Ending) {
        Moment::Ended.reached();
        // First the answer, then "spent": who is told that it is spent finds the answer.
        if let (Ending::Delivered, Some(recording)) = (ending, self.recording.take()) {
            recording.keep();
        }
        if let Some(reservation) = self.reservation.take() {
            reservation.end(ending);
            Moment::Settled.reached();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Otherwise the reservation's own drop decides: not dispatched is restored, dispatched is
        // charged.
        if self.cut.is_cancelled()
            && let Some(reservation) = self.reservation.take()
        {
            reservation.end(Ending::Restored(RestoreReason::Internal));
        }
    }
}
