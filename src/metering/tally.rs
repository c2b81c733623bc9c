//! What one metered request costs while its answer is handed down.
//!
//! Pure: the time comes in as milliseconds since the request left. Invariants: the cost never falls
//! and is never more than what is held; nothing passes that would be dearer; a cost that cannot be
//! told is the fallback price or all that is held, never nothing.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::capture::{Capture, Captured, is_event_stream};
use super::flow::{Flow, Passed};
use crate::pricing::{Meter, Metering, Reads, ResponseFacts, Unpriced};
use crate::types::Msat;

/// A running account of one request.
#[derive(Debug)]
pub(super) struct Tally {
    meter: Meter,
    reads: Reads,
    fallback: Option<Msat>,
    /// In millisatoshi.
    held: u64,
    facts: ResponseFacts,
    /// Of what has passed; in millisatoshi.
    cost: u64,
    pace: Pace,
    capture: Option<Capture>,
    /// Why what is charged is not what the rule says.
    fault: Option<Fault>,
}

/// When the cost is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Before anything passes: what is held is all that may pass.
    Each,
    /// At the end, and never more than what is held.
    AtEnd,
    /// Not any more: it is settled.
    Settled,
}

/// Why the rule's price is not what is charged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The rule gives no price for the answer.
    #[error("{0}")]
    Unpriced(#[from] Unpriced),
    /// The rule reads the answer's JSON, and the answer is longer than is kept.
    #[error("the answer is longer than the JSON that a price may read")]
    TooLong,
    /// The rule reads the answer's JSON, and the answer is compressed.
    #[error("the answer is compressed although that was not asked for")]
    Encoded,
}

impl Fault {
    /// Stable code.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Fault::Unpriced(why) => why.code(),
            Fault::TooLong => "answer_too_long",
            Fault::Encoded => "answer_encoded",
        }
    }
}

/// An answer that is dearer than what is held, found before any of it passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooDear {
    /// What it would cost at least.
    pub cost: Msat,
    /// What is held for it.
    pub held: u64,
    /// No balance would help: it is dearer than one request may be.
    pub beyond_ceiling: bool,
}

impl Tally {
    /// An account of a request for which `held` millisatoshi are held.
    pub(super) fn new(meter: Meter, reads: Reads, fallback: Option<Msat>, held: u64) -> Tally {
        Tally {
            meter,
            reads,
            fallback,
            held,
            facts: ResponseFacts::default(),
            cost: 0,
            pace: Pace::AtEnd,
            capture: None,
            fault: None,
        }
    }

    /// Whether the price may depend on the answer's JSON.
    pub(super) fn reads_json(&self) -> bool {
        self.reads.response_json
    }

    /// Whether time alone makes it dearer.
    pub(super) fn ticks(&self) -> bool {
        self.pace == Pace::Each && self.reads.ms
    }

    /// Whether all that may be charged is held, so that more in the balance would change nothing.
    pub(super) fn holds_ceiling(&self) -> bool {
        self.held >= self.meter.most().msat()
    }

    /// The head of the answer; `length` is that of its body, when it was announced. Gives how the
    /// body is to pass.
    ///
    /// # Errors
    /// When it is too dear: then nothing of it may pass.
    pub(super) fn head(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        length: Option<u64>,
        ms: u64,
    ) -> Result<Flow, TooDear> {
        self.facts.status = status.as_u16();
        if self.reads.response_headers {
            self.facts.headers = headers.clone();
        }
        self.capture = self.reads.response_json.then(|| Capture::of(headers));
        let flow = if is_event_stream(headers) { Flow::of_events() } else { Flow::Bytes };
        if self.meter.metering() == Metering::Flowing {
            match self.cost_of(length.unwrap_or(0), 0, ms) {
                Ok(cost) if cost.msat() > self.held => {
                    let beyond_ceiling = self.holds_ceiling();
                    return Err(TooDear { cost, held: self.held, beyond_ceiling });
                }
                // A length that was promised is kept, whatever else makes it dearer.
                Ok(_) => self.pace = if length.is_some() { Pace::AtEnd } else { Pace::Each },
                // What cannot be metered is sold at one price, known now.
                Err(_) => self.charge(ms),
            }
        }
        Ok(flow)
    }

    /// How much of `frame` may pass, and counts it.
    pub(super) fn pass(&mut self, flow: &mut Flow, frame: Bytes, ms: u64) -> Passed {
        let passed = flow.pass(frame, |bytes, chunks| self.affords(bytes, chunks, ms));
        self.count(&passed, ms);
        passed
    }

    /// How much may pass of what was held back, and counts it.
    pub(super) fn finish(&mut self, flow: &mut Flow, ms: u64) -> Passed {
        let passed = flow.finish(|bytes, chunks| self.affords(bytes, chunks, ms));
        self.count(&passed, ms);
        passed
    }

    /// Whether so many more bytes and chunks are paid for at `ms`.
    pub(super) fn affords(&mut self, bytes: u64, chunks: u64, ms: u64) -> bool {
        // A rule that fails from here on gives no leave to go on.
        self.pace != Pace::Each || self.cost_of(bytes, chunks, ms).is_ok_and(|cost| cost.msat() <= self.held)
    }

    /// The answer ended, or its client left: what to charge.
    pub(super) fn ended(&mut self, ms: u64) -> u64 {
        if self.pace != Pace::Settled {
            match self.read_json() {
                Ok(()) => self.charge(ms),
                Err(fault) => self.settle(self.held, fault),
            }
        }
        self.cost
    }

    /// The answer broke off, and its client is not to blame: what to charge. `None` when nothing was
    /// delivered, or nobody can tell what it cost.
    pub(super) fn broken(&mut self, ms: u64) -> Option<u64> {
        if self.facts.bytes == 0 {
            return None;
        }
        if self.pace != Pace::Settled {
            self.read_json().ok()?;
            self.facts.ms = ms;
            let cost = self.meter.cost(&self.facts).ok()?;
            self.raise(cost.msat());
        }
        Some(self.cost)
    }

    /// Why what is charged is not what the rule says; told once.
    pub(super) fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    fn count(&mut self, passed: &Passed, ms: u64) {
        self.facts.bytes = self.facts.bytes.saturating_add(size(&passed.data));
        self.facts.chunks = self.facts.chunks.saturating_add(passed.chunks);
        if let Some(capture) = &mut self.capture {
            capture.read(&passed.data);
        }
        if self.pace == Pace::Each
            && !passed.data.is_empty()
            && let Ok(cost) = self.cost_of(0, 0, ms)
        {
            self.raise(cost.msat());
        }
    }

    /// What it costs when so many more bytes and chunks pass. A zero is no mistake yet.
    fn cost_of(&mut self, bytes: u64, chunks: u64, ms: u64) -> Result<Msat, Unpriced> {
        let before = (self.facts.bytes, self.facts.chunks);
        self.facts.bytes = before.0.saturating_add(bytes);
        self.facts.chunks = before.1.saturating_add(chunks);
        self.facts.ms = ms;
        let cost = self.meter.cost(&self.facts);
        (self.facts.bytes, self.facts.chunks) = before;
        match cost {
            Err(Unpriced::Zero) => Ok(Msat::ZERO),
            cost => cost,
        }
    }

    fn read_json(&mut self) -> Result<(), Fault> {
        self.facts.json = match self.capture.as_ref().map(Capture::json) {
            Some(Captured::TooLong) => return Err(Fault::TooLong),
            Some(Captured::Encoded) => return Err(Fault::Encoded),
            Some(Captured::Json(json)) => Some(json),
            Some(Captured::None) | None => None,
        };
        Ok(())
    }

    /// Charges what the answer costs as it is now, or what is charged when nobody can tell.
    fn charge(&mut self, ms: u64) {
        self.facts.ms = ms;
        let charge = self.meter.charge(&self.facts, self.fallback);
        match charge.unpriced {
            None => self.raise(charge.msat.msat()),
            Some(why) => self.settle(charge.msat.msat(), why.into()),
        }
    }

    fn raise(&mut self, cost: u64) {
        self.cost = self.cost.max(cost).min(self.held);
    }

    /// Charges `price` whatever else comes, for the rule gives none.
    fn settle(&mut self, price: u64, fault: Fault) {
        self.pace = Pace::Settled;
        self.raise(price);
        self.fault = Some(fault);
    }
}

fn size(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}
