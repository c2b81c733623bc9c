//! What is due for an answer, of what is held for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::flow::{Flow, Passed};
use super::tally::{Fault, Tally, TooDear};
use crate::catalog::Terms;
use crate::clock::Clock;
use crate::ledger::{Ending, RestoreReason, Sale};
use crate::pricing::{Meter, Metering, Quote, RequestFacts, ResponseFacts};
use crate::store::Reservation;

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

/// What is due for a delivered answer.
pub(super) enum Due {
    /// All that is held.
    Whole,
    /// So many millisatoshi of it.
    Price(u64),
    /// What the answer costs.
    Metered(Box<Metered>),
}

impl Due {
    /// What will be due for the answer to a request that is priced as `bill` says.
    pub(super) fn of(sale: &Sale, bill: &Bill, reservation: &Reservation, clock: &Arc<dyn Clock>) -> Due {
        let Some(quote) = bill.quote.as_ref().filter(|_| sale.kind.draws_money()) else { return Due::Whole };
        let meter = || Meter::new(&bill.terms.rule, bill.request.clone(), quote, reservation.used());
        match quote.metering {
            Metering::Exact => Due::Whole,
            Metering::AtReserve => {
                Due::Price(meter().charge(&ResponseFacts::default(), bill.terms.fallback).msat.msat())
            }
            Metering::Flowing | Metering::AtEnd => {
                let (reads, fallback) = (bill.terms.rule.reads(), bill.terms.fallback);
                Due::Metered(Box::new(Metered {
                    tally: Tally::new(meter(), reads, fallback, reservation.held()),
                    flow: Flow::Bytes,
                    since: clock.steady(),
                    clock: Arc::clone(clock),
                }))
            }
        }
    }

    pub(super) fn metered(&self) -> Option<&Metered> {
        match self {
            Due::Metered(metered) => Some(metered),
            Due::Whole | Due::Price(_) => None,
        }
    }

    pub(super) fn metered_mut(&mut self) -> Option<&mut Metered> {
        match self {
            Due::Metered(metered) => Some(metered),
            Due::Whole | Due::Price(_) => None,
        }
    }

    /// What `ending` comes to when less is due than is held.
    pub(super) fn settled(&mut self, ending: Ending) -> Ending {
        match (ending, self) {
            (Ending::Delivered | Ending::Cancelled, Due::Price(price)) => Ending::Charged(*price),
            (Ending::Delivered, Due::Metered(metered)) => {
                let ms = metered.ms();
                Ending::Charged(metered.tally.ended(ms))
            }
            (Ending::Cancelled, Due::Metered(metered)) => {
                let ms = metered.ms();
                Ending::Charged(metered.tally.left(ms))
            }
            (ending, _) => ending,
        }
    }

    /// What it comes to when the answer broke off: what is metered is charged as far as it was
    /// delivered, all else goes back.
    pub(super) fn broken(&mut self, reason: RestoreReason) -> Ending {
        let restored = Ending::Restored(reason);
        self.metered_mut().map_or(restored, |metered| {
            let ms = metered.ms();
            metered.tally.broken(ms).map_or(restored, Ending::Charged)
        })
    }
}

/// An answer that says what it costs, and how far it was handed down.
pub(super) struct Metered {
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

    /// The request leaves now.
    pub(super) fn dispatched(&mut self) {
        self.since = self.clock.steady();
    }

    /// The head of the answer; `length` is that of its body, when it was announced.
    pub(super) fn head(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        length: Option<u64>,
    ) -> Result<(), TooDear> {
        let ms = self.ms();
        self.flow = self.tally.head(status, headers, length, ms)?;
        Ok(())
    }

    /// How much of `data`, which comes next, may pass.
    pub(super) fn pass(&mut self, data: Bytes) -> Passed {
        let ms = self.ms();
        self.tally.pass(&mut self.flow, data, ms)
    }

    /// How much may pass of what was held back.
    pub(super) fn finish(&mut self) -> Passed {
        let ms = self.ms();
        self.tally.finish(&mut self.flow, ms)
    }

    /// Whether what was handed down is paid for by now.
    pub(super) fn affords_now(&mut self) -> bool {
        let ms = self.ms();
        self.tally.affords(0, 0, ms)
    }

    /// Whether the price may depend on the answer's JSON.
    pub(super) fn reads_json(&self) -> bool {
        self.tally.reads_json()
    }

    /// Whether time alone makes it dearer.
    pub(super) fn ticks(&self) -> bool {
        self.tally.ticks()
    }

    /// Whether what is held is all that it may cost.
    pub(super) fn holds_ceiling(&self) -> bool {
        self.tally.holds_ceiling()
    }

    /// Whether an event of our own may follow what was handed down.
    pub(super) fn takes_event(&self) -> bool {
        self.flow.takes_event()
    }

    /// Why what is charged is not what the rule says; told once.
    pub(super) fn take_fault(&mut self) -> Option<Fault> {
        self.tally.take_fault()
    }
}
