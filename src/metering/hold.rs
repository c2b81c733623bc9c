//! What is held for one request, from its debit to its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio_util::sync::CancellationToken;

use super::due::{Due, Metered};
use super::flow::Passed;
use super::{Bill, Recording, RecordingLight, TooDear, grpc_failure};
use crate::clock::Clock;
use crate::gate::Permit;
use crate::ledger::{Ending, ReserveRefused, RestoreReason, Sale};
use crate::moment::Moment;
use crate::store::{Ledger, Recall, Reservation, ReserveError};
use crate::types::Kind;

/// What is debited and not yet spent: leave to send one request upstream.
#[must_use = "a hold that is dropped releases or charges its unit"]
pub struct Hold {
    sale: Box<Sale>,
    /// `None` once it ended.
    reservation: Option<Reservation>,
    bill: Box<Bill>,
    due: Due,
    dispatched: bool,
    cut: CancellationToken,
    /// Of the answer's body, handed down so far.
    bytes: u64,
    /// A copy of the answer, while one is made.
    recording: Option<Recording>,
    /// The challenge of the `Payment` scheme that was paid.
    challenge_id: Option<String>,
    /// How long a pass is open.
    open_for: Option<Duration>,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Units that were charged.
    pub charged: u64,
    /// Units left then, beside what other requests hold: requests or millisatoshi; of a pass, the
    /// seconds that it stays open. Of a token that a holder limited, no more than the limits leave.
    pub left: u64,
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hold({})", self.sale.payment_hash)
    }
}

impl Hold {
    /// Takes what `permit` draws for a request that is priced as `bill` says. When this returns, the
    /// debit is on disk. Of a balance the request is charged what it turns out to cost; of all else,
    /// all that is held.
    ///
    /// `cut` says that this process is breaking its connections off: what it drops then was not
    /// cancelled by the client, and the buyer keeps what was not delivered.
    ///
    /// # Errors
    /// When no unit can be had, when what the token was used for before makes the request dearer than
    /// what could be held, or when the ledger fails: then nothing was taken.
    pub async fn reserve(
        ledger: &Ledger,
        permit: Permit,
        bill: Bill,
        clock: &Arc<dyn Clock>,
        cut: CancellationToken,
    ) -> Result<Hold, ReserveError> {
        let (sale, challenge_id) = (permit.sale(), permit.challenge_id().map(str::to_owned));
        let reservation = ledger.reserve(sale.clone(), permit.draw().clone()).await?;
        Moment::Reserved.reached();
        let due = Due::of(&sale, &bill, &reservation, clock);
        let open_for = reservation
            .opens_until()
            .map(|until| Duration::from_millis(until.millis().saturating_sub(clock.now().millis())));
        let hold = Hold {
            sale: Box::new(sale),
            reservation: Some(reservation),
            bill: Box::new(bill),
            due,
            dispatched: false,
            cut,
            bytes: 0,
            recording: None,
            challenge_id,
            open_for,
        };
        hold.affordable()
    }

    /// A price that is known only now may be above what is held: then nothing is.
    fn affordable(self) -> Result<Hold, ReserveError> {
        match self.due {
            Due::Price(needed) if needed > self.held() => {
                let refused = self.too_small(needed);
                self.end(Ending::Restored(RestoreReason::NotDispatched));
                Err(refused.into())
            }
            _ => Ok(self),
        }
    }

    /// Why a request that turns out to need `needed` units is not served for what is held.
    pub fn too_small(&self, needed: u64) -> ReserveRefused {
        let none = ReserveRefused::TooSmall { left: 0, needed };
        self.reservation.as_ref().map_or(none, |reservation| reservation.too_small(needed))
    }

    /// Whether it is a limit of the token that keeps more from being held.
    pub(super) fn is_limited(&self) -> bool {
        self.reservation.as_ref().is_some_and(Reservation::limited)
    }

    /// What the request was priced by.
    pub fn bill(&self) -> &Bill {
        &self.bill
    }

    /// What was sold.
    pub fn sale(&self) -> &Sale {
        &self.sale
    }

    /// The challenge of the `Payment` scheme that was paid; `None` for an L402 token.
    pub fn challenge_id(&self) -> Option<&str> {
        self.challenge_id.as_deref()
    }

    /// Units that are held: millisatoshi of a balance, one of a request or pack, none of a pass that was
    /// open before.
    pub fn held(&self) -> u64 {
        self.reservation.as_ref().map_or(0, Reservation::held)
    }

    /// From now on the upstream may have seen the request: a client that leaves has used its unit.
    pub fn dispatched(&mut self) {
        self.dispatched = true;
        if let Some(reservation) = &mut self.reservation {
            reservation.dispatched();
            Moment::Dispatched.reached();
        }
        if let Some(metered) = self.due.metered_mut() {
            metered.dispatched();
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

    /// Cancelled when the operator takes the token back.
    pub fn taken_back(&self) -> Option<&CancellationToken> {
        self.reservation.as_ref().map(Reservation::taken_back)
    }

    /// Hears of that longer than the hold lasts.
    pub(super) fn recall(&self) -> Option<Arc<Recall>> {
        self.reservation.as_ref().map(Reservation::recall)
    }

    /// How long a pass is open, from the debit on.
    pub(super) fn open_for(&self) -> Option<Duration> {
        self.open_for
    }

    /// Why an answer with this status gives the unit back, by its route's terms, if it does.
    pub fn restored_by(&self, status: StatusCode) -> Option<RestoreReason> {
        let reason =
            if status.is_server_error() { RestoreReason::UpstreamError } else { RestoreReason::Policy };
        self.bill.terms.restore.restores(status).then_some(reason)
    }

    /// Why the answer's trailers give the unit back, if they do.
    pub(super) fn restored_behind(&self, trailers: Option<&HeaderMap>) -> Option<RestoreReason> {
        self.restored_by(grpc_failure(trailers?)?)
    }

    /// Lets nobody have the answer again.
    pub fn forget(&mut self) {
        self.recording = None;
    }

    /// Whether the answer says what it costs.
    pub fn is_metered(&self) -> bool {
        self.due.metered().is_some()
    }

    /// Whether the price may depend on the answer's JSON, which a compressed answer does not show.
    pub fn reads_json(&self) -> bool {
        self.due.metered().is_some_and(Metered::reads_json)
    }

    /// What this request costs at most, in millisatoshi. Under a pass it costs nothing more.
    pub fn most(&self) -> u64 {
        let held = self.reservation.as_ref().map_or(0, Reservation::held);
        match (self.sale.kind, &self.due) {
            (Kind::Pass, _) => 0,
            (_, Due::Price(price)) => *price,
            (Kind::Balance | Kind::Granted, _) => held,
            (Kind::Request | Kind::Pack, _) => self.sale.sold.msat().div_ceil(self.sale.units.max(1)),
        }
    }

    /// What is left when `charged` units of what is held are, and when all goes back: see
    /// [`Receipt::left`].
    fn left_after(&self, charged: Option<u64>) -> u64 {
        self.reservation.as_ref().map_or(0, |reservation| reservation.left_after(charged))
    }

    /// What is left if nothing is charged: see [`Receipt::left`].
    pub fn left_if_restored(&self) -> u64 {
        self.left_after(None)
    }

    /// What is left if all is charged that may be: see [`Receipt::left`].
    pub fn left_if_charged(&self) -> u64 {
        let due = match self.due {
            Due::Price(price) => price,
            Due::Whole | Due::Metered(_) => u64::MAX,
        };
        self.left_after(Some(due))
    }

    /// The head of the answer; `length` is that of its body, when it was announced.
    ///
    /// # Errors
    /// When it would be dearer than what is held: then nothing of it may pass, and the hold is to end
    /// with [`RestoreReason::TooDear`].
    pub fn head(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        length: Option<u64>,
    ) -> Result<(), TooDear> {
        self.due.metered_mut().map_or(Ok(()), |metered| metered.head(status, headers, length))
    }

    /// The head that the client gets, and how long the body is at least.
    pub fn record_head(&mut self, status: StatusCode, headers: &HeaderMap, body_bytes: u64) {
        self.recording = self.recording.take().and_then(|r| r.head(status, headers, body_bytes));
    }

    /// How much of `data`, which comes next, may pass: it is handed down.
    pub(super) fn pass(&mut self, data: Bytes) -> Passed {
        let passed = match self.due.metered_mut() {
            Some(metered) => metered.pass(data),
            None => Passed { data, chunks: 1, cut: false },
        };
        self.handed(&passed.data);
        passed
    }

    /// The answer is whole: how much may pass of what was held back.
    pub(super) fn finish(&mut self) -> Passed {
        let passed = self.due.metered_mut().map(Metered::finish).unwrap_or_default();
        self.handed(&passed.data);
        passed
    }

    fn handed(&mut self, data: &Bytes) {
        self.bytes = self.bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.recording = self.recording.take().and_then(|r| r.data(data));
    }

    /// Whether time alone uses up what is held.
    pub(super) fn ticks(&self) -> bool {
        self.due.metered().is_some_and(Metered::ticks)
    }

    /// Whether what was handed down is paid for by now.
    pub(super) fn affords_now(&mut self) -> bool {
        self.due.metered_mut().is_none_or(Metered::affords_now)
    }

    /// Whether what is held is all that the request may cost.
    pub(super) fn holds_ceiling(&self) -> bool {
        self.due.metered().is_some_and(Metered::holds_ceiling)
    }

    /// Whether an event of our own may follow what was handed down.
    pub(super) fn takes_event(&self) -> bool {
        self.due.metered().is_some_and(Metered::takes_event)
    }

    /// Ends it.
    pub fn end(mut self, ending: Ending) -> Receipt {
        if ending != Ending::Delivered {
            self.recording = None;
        }
        let ending = self.due.settled(ending);
        self.close(ending)
    }

    /// Ends it because what is held is used up: what was handed down is delivered, but it is not whole.
    pub(super) fn end_used_up(mut self) -> Receipt {
        self.recording = None;
        self.end(Ending::Delivered)
    }

    /// Ends it because the answer broke off, which its client is not to blame for: what is metered is
    /// charged as far as it was delivered, all else goes back.
    pub fn end_broken(mut self, reason: RestoreReason) -> Receipt {
        self.recording = None;
        let ending = self.due.broken(reason);
        self.close(ending)
    }

    fn close(&mut self, ending: Ending) -> Receipt {
        Moment::Ended.reached();
        if let Some(fault) = self.due.metered_mut().and_then(Metered::take_fault) {
            let Sale { service, payment_hash, .. } = &*self.sale;
            tracing::warn!(%service, %payment_hash, ?ending, code = fault.code(), why = %fault,
                "an answer's price cannot be told");
        }
        let held = self.reservation.as_ref().map_or(0, Reservation::held);
        let charged = match ending {
            Ending::Delivered | Ending::Cancelled => Some(held),
            Ending::Charged(units) => Some(units.min(held)),
            Ending::Restored(_) => None,
        };
        let receipt = Receipt { charged: charged.unwrap_or(0), left: self.left_after(charged) };
        // First the answer, then "spent": who is told that it is spent finds the answer.
        if let Some(recording) = self.recording.take() {
            recording.keep();
        }
        if let Some(mut reservation) = self.reservation.take() {
            reservation.delivered_bytes(self.bytes);
            reservation.end(ending);
            Moment::Settled.reached();
        }
        receipt
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.reservation.is_none() {
            return;
        }
        self.recording = None;
        let ending = match (self.cut.is_cancelled(), self.dispatched) {
            (true, _) => self.due.broken(RestoreReason::Internal),
            (false, true) => self.due.settled(Ending::Cancelled),
            (false, false) => Ending::Restored(RestoreReason::NotDispatched),
        };
        self.close(ending);
    }
}
