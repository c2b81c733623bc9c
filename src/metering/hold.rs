//! What is held for one request, from its debit to its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio_util::sync::CancellationToken;

use super::flow::{Flow, Passed};
use super::tally::{Tally, TooDear};
use super::{Recording, RecordingLight};
use crate::catalog::Terms;
use crate::clock::Clock;
use crate::gate::Permit;
use crate::ledger::{Ending, ReserveRefused, RestoreReason, Sale};
use crate::moment::Moment;
use crate::pricing::{Meter, Metering, Quote, RequestFacts, ResponseFacts};
use crate::store::{Ledger, Reservation, ReserveError};
use crate::types::Kind;

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
}

/// What is due for a delivered answer.
enum Due {
    /// All that is held.
    Whole,
    /// So many millisatoshi of it.
    Price(u64),
    /// What the answer costs.
    Metered(Box<Metered>),
}

struct Metered {
    tally: Tally,
    flow: Flow,
    clock: Arc<dyn Clock>,
    /// When the request left, by the clock's steady count.
    since: Duration,
}

impl Metered {
    fn ms(&self) -> u64 {
        let span = self.clock.steady().saturating_sub(self.since);
        u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
    }
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Units that were charged.
    pub charged: u64,
    /// Units left then, beside what other requests hold: requests or millisatoshi; of a pass, the
    /// seconds that it stays open.
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
        let sale = permit.sale();
        let reservation = ledger.reserve(sale.clone(), permit.draw().clone()).await?;
        Moment::Reserved.reached();
        let due = due(&sale, &bill, &reservation, clock);
        let hold = Hold {
            sale: Box::new(sale),
            reservation: Some(reservation),
            bill: Box::new(bill),
            due,
            dispatched: false,
            cut,
            bytes: 0,
            recording: None,
        };
        hold.affordable()
    }

    /// A price that is known only now may be above what is held: then nothing is.
    fn affordable(self) -> Result<Hold, ReserveError> {
        let held = self.reservation.as_ref().map_or(0, Reservation::held);
        match self.due {
            Due::Price(needed) if needed > held => {
                let left = self.left_if_restored();
                self.end(Ending::Restored(RestoreReason::NotDispatched));
                Err(ReserveRefused::TooSmall { left, needed }.into())
            }
            _ => Ok(self),
        }
    }

    /// What the request was priced by.
    pub fn bill(&self) -> &Bill {
        &self.bill
    }

    /// What was sold.
    pub fn sale(&self) -> &Sale {
        &self.sale
    }

    /// From now on the upstream may have seen the request: a client that leaves has used its unit.
    pub fn dispatched(&mut self) {
        self.dispatched = true;
        if let Some(reservation) = &mut self.reservation {
            reservation.dispatched();
            Moment::Dispatched.reached();
        }
        if let Due::Metered(metered) = &mut self.due {
            metered.since = metered.clock.steady();
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

    /// Whether the answer says what it costs.
    pub fn is_metered(&self) -> bool {
        matches!(self.due, Due::Metered(_))
    }

    /// Whether the price may depend on the answer's JSON, which a compressed answer does not show.
    pub fn reads_json(&self) -> bool {
        matches!(&self.due, Due::Metered(metered) if metered.tally.reads_json())
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

    /// What is left when `charged` units of what is held are: see [`Receipt::left`].
    fn left_after(&self, charged: u64) -> u64 {
        let Some(reservation) = &self.reservation else { return 0 };
        match self.sale.kind {
            Kind::Pass => reservation.left(),
            _ => reservation.left().saturating_add(reservation.held().saturating_sub(charged)),
        }
    }

    /// What is left if nothing is charged: see [`Receipt::left`].
    pub fn left_if_restored(&self) -> u64 {
        self.left_after(0)
    }

    /// What is left if all is charged that may be: see [`Receipt::left`].
    pub fn left_if_charged(&self) -> u64 {
        let due = match self.due {
            Due::Price(price) => price,
            Due::Whole | Due::Metered(_) => u64::MAX,
        };
        self.left_after(due)
    }

    /// The head of the answer; `length` is that of its body, when it was announced.
    ///
    /// # Errors
    /// When it would be dearer than what is held: then nothing of it may pass, and the hold is to end
    /// with [`RestoreReason::Policy`].
    pub fn head(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        length: Option<u64>,
    ) -> Result<(), TooDear> {
        if let Due::Metered(metered) = &mut self.due {
            let ms = metered.ms();
            metered.flow = metered.tally.head(status, headers, length, ms)?;
        }
        Ok(())
    }

    /// The head that the client gets, and how long the body is at least.
    pub fn record_head(&mut self, status: StatusCode, headers: &HeaderMap, body_bytes: u64) {
        self.recording = self.recording.take().and_then(|r| r.head(status, headers, body_bytes));
    }

    /// How much of `data`, which comes next, may pass: it is handed down.
    pub(super) fn pass(&mut self, data: Bytes) -> Passed {
        let passed = match &mut self.due {
            Due::Metered(metered) => {
                let ms = metered.ms();
                metered.tally.pass(&mut metered.flow, data, ms)
            }
            Due::Whole | Due::Price(_) => Passed { data, chunks: 1, cut: false },
        };
        self.handed(&passed.data);
        passed
    }

    /// The answer is whole: how much may pass of what was held back.
    pub(super) fn finish(&mut self) -> Passed {
        let passed = match &mut self.due {
            Due::Metered(metered) => {
                let ms = metered.ms();
                metered.tally.finish(&mut metered.flow, ms)
            }
            Due::Whole | Due::Price(_) => Passed::default(),
        };
        self.handed(&passed.data);
        passed
    }

    fn handed(&mut self, data: &Bytes) {
        self.bytes = self.bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.recording = self.recording.take().and_then(|r| r.data(data));
    }

    /// Whether time alone uses up what is held.
    pub(super) fn ticks(&self) -> bool {
        matches!(&self.due, Due::Metered(metered) if metered.tally.ticks())
    }

    /// Whether what was handed down is paid for by now.
    pub(super) fn affords_now(&mut self) -> bool {
        let Due::Metered(metered) = &mut self.due else { return true };
        let ms = metered.ms();
        metered.tally.affords(0, 0, ms)
    }

    /// Whether what is held is all that the request may cost.
    pub(super) fn holds_ceiling(&self) -> bool {
        matches!(&self.due, Due::Metered(metered) if metered.tally.holds_ceiling())
    }

    /// Whether an event of our own may follow what was handed down.
    pub(super) fn takes_event(&self) -> bool {
        matches!(&self.due, Due::Metered(metered) if metered.flow.takes_event())
    }

    /// Ends it.
    pub fn end(mut self, ending: Ending) -> Receipt {
        if ending != Ending::Delivered {
            self.recording = None;
        }
        let ending = self.settled(ending);
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
        let ending = self.broken(reason);
        self.close(ending)
    }

    fn broken(&mut self, reason: RestoreReason) -> Ending {
        let Due::Metered(metered) = &mut self.due else { return Ending::Restored(reason) };
        let ms = metered.ms();
        metered.tally.broken(ms).map_or(Ending::Restored(reason), Ending::Charged)
    }

    /// What `ending` comes to when less is due than is held.
    fn settled(&mut self, ending: Ending) -> Ending {
        match (ending, &mut self.due) {
            (Ending::Delivered | Ending::Cancelled, Due::Price(price)) => Ending::Charged(*price),
            (Ending::Delivered | Ending::Cancelled, Due::Metered(metered)) => {
                let ms = metered.ms();
                Ending::Charged(metered.tally.ended(ms))
            }
            (ending, _) => ending,
        }
    }

    fn close(&mut self, ending: Ending) -> Receipt {
        Moment::Ended.reached();
        if let Due::Metered(metered) = &mut self.due
            && let Some(fault) = metered.tally.take_fault()
        {
            let Sale { service, payment_hash, .. } = &*self.sale;
            tracing::warn!(%service, %payment_hash, ?ending, code = fault.code(), why = %fault,
                "an answer's price cannot be told");
        }
        let held = self.reservation.as_ref().map_or(0, Reservation::held);
        let charged = match ending {
            Ending::Delivered | Ending::Cancelled => held,
            Ending::Charged(units) => units.min(held),
            Ending::Restored(_) => 0,
        };
        let receipt = Receipt { charged, left: self.left_after(charged) };
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

/// What will be due for the answer.
fn due(sale: &Sale, bill: &Bill, reservation: &Reservation, clock: &Arc<dyn Clock>) -> Due {
    let Some(quote) = bill.quote.as_ref().filter(|_| sale.kind.draws_money()) else { return Due::Whole };
    let meter = || Meter::new(&bill.terms.rule, bill.request.clone(), quote, reservation.used());
    match quote.metering {
        Metering::Exact => Due::Whole,
        Metering::AtReserve => {
            Due::Price(meter().charge(&ResponseFacts::default(), bill.terms.fallback).msat.msat())
        }
        Metering::Flowing | Metering::AtEnd => {
            let (reads, fallback) = (bill.terms.rule.reads(), bill.terms.fallback);
            let tally = Tally::new(meter(), reads, fallback, reservation.held());
            let clock = Arc::clone(clock);
            let since = clock.steady();
            Due::Metered(Box::new(Metered { tally, flow: Flow::Bytes, clock, since }))
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.reservation.is_none() {
            return;
        }
        self.recording = None;
        let ending = match (self.cut.is_cancelled(), self.dispatched) {
            (true, _) => self.broken(RestoreReason::Internal),
            (false, true) => self.settled(Ending::Cancelled),
            (false, false) => Ending::Restored(RestoreReason::NotDispatched),
        };
        self.close(ending);
    }
}
