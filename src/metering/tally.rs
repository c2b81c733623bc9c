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
    /// The rule reads the answer's JSON, and its client left before that said what it comes to.
    #[error("the client left before the answer said what it costs")]
    Unsaid,
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
            Fault::Unsaid => "answer_left",
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

    /// Its client left: what to charge. An account that comes last is not taken for zero because nobody
    /// waited for it.
    pub(super) fn left(&mut self, ms: u64) -> u64 {
        let unsaid = self.reads.response_json && self.capture.as_ref().is_none_or(Capture::is_unsaid);
        if unsaid && self.pace != Pace::Settled {
            self.settle(self.fallback.map_or(self.held, Msat::msat), Fault::Unsaid);
        }
        self.ended(ms)
    }

    /// The answer ended: what to charge.
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
    /// delivered, when nobody can tell what it cost, or when the price was for the whole of it.
    pub(super) fn broken(&mut self, ms: u64) -> Option<u64> {
        let metered = matches!(self.meter.metering(), Metering::Flowing | Metering::AtEnd);
        if !metered || self.facts.bytes == 0 {
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;
    use proptest::prelude::*;

    use super::*;
    use crate::pricing::{Ask, Formula, NoExchange, RequestFacts, Rule, Used, Zero};
    use crate::types::Timestamp;

    fn msat(amount: u64) -> Msat {
        Msat::new(amount).unwrap()
    }

    /// A tally of what costs as `formula` says, at most 1,000, of which `held` are held.
    fn tally(formula: &str, fallback: Option<u64>, held: u64) -> Tally {
        let rule = Rule::Formula(Formula::compile(formula, Some(msat(1_000)), Zero::Refuse).unwrap());
        let request = RequestFacts::default();
        let now = Timestamp::from_secs(1_800_000_000);
        let ask = Ask { request: &request, exchange: &NoExchange, now, fallback: None };
        let quote = rule.quote(&ask).unwrap();
        let meter = Meter::new(&rule, request, &quote, Used::default());
        Tally::new(meter, rule.reads(), fallback.map(msat), held)
    }

    fn begin(tally: &mut Tally, length: Option<u64>) -> Result<Flow, TooDear> {
        tally.head(StatusCode::OK, &HeaderMap::new(), length, 0)
    }

    proptest! {
        #[test]
        fn the_cost_rises_to_what_is_held_and_no_further(
            frames in proptest::collection::vec((0usize..200, 0u64..40), 0..20),
            held in 1u64..1_000,
        ) {
            let mut tally = tally("response.bytes * 3 + response.ms", None, held);
            let mut flow = begin(&mut tally, None).unwrap();
            let (mut before, mut bytes, mut ms, mut cut) = (0, 0, 0, false);
            for (length, pause) in frames {
                ms += pause;
                let passed = tally.pass(&mut flow, Bytes::from(vec![b'x'; length]), ms);
                bytes += size(&passed.data);
                prop_assert!(tally.cost >= before && tally.cost <= held);
                prop_assert!(passed.data.is_empty() || bytes * 3 + ms <= held);
                before = tally.cost;
                if passed.cut {
                    // One more byte was not paid for.
                    prop_assert!((bytes + 1) * 3 + ms > held);
                    cut = true;
                    break;
                }
            }
            let due = tally.ended(ms);
            prop_assert!(due >= before && due <= held);
            prop_assert!(cut || due == (bytes * 3 + ms).clamp(1, held));
        }
    }

    #[test]
    fn what_is_too_dear_is_found_before_it_passes() {
        for (held, length, dear) in
            [(500, 500, None), (500, 501, Some(false)), (1_000, 1_000, None), (1_000, 1_001, Some(true))]
        {
            let told = begin(&mut tally("response.bytes", None, held), Some(length));
            assert_eq!(told.err().map(|dear| dear.beyond_ceiling), dear, "{held} {length}");
        }
    }

    /// What was announced passes whole, also when it takes longer than was thought.
    #[test]
    fn a_promised_length_is_kept() {
        let mut tally = tally("response.bytes + response.ms", None, 100);
        let mut flow = begin(&mut tally, Some(50)).unwrap();
        let passed = tally.pass(&mut flow, Bytes::from(vec![0; 50]), 900);
        assert_eq!((passed.data.len(), passed.cut), (50, false));
        assert_eq!(tally.ended(900), 100);
    }

    #[test]
    fn what_cannot_be_told_has_a_price_all_the_same() {
        let fails = "int(response.headers['x-tokens']) * 10";
        for (formula, fallback, held, due) in [
            (fails, None, 1_000, 1_000),
            (fails, Some(70), 1_000, 70),
            (fails, Some(70), 30, 30),
            ("response.json.n", None, 1_000, 1_000),
            ("response.json.n", Some(70), 1_000, 70),
            ("response.bytes / (response.bytes - 4)", Some(70), 1_000, 70),
        ] {
            let mut tally = tally(formula, fallback, held);
            let mut flow = begin(&mut tally, None).unwrap();
            let passed = tally.pass(&mut flow, Bytes::from_static(b"none"), 1);
            assert_eq!(passed.data.len(), 4, "{formula}");
            assert_eq!(tally.ended(2), due, "{formula} {fallback:?} {held}");
            assert!(tally.take_fault().is_some() && tally.take_fault().is_none(), "told once");
            assert_eq!(tally.ended(3), due, "again");
        }
    }

    #[test]
    fn a_broken_answer_costs_what_can_be_told() {
        for (formula, data, due) in [
            ("response.bytes * 2", "", None),
            ("response.bytes * 2", "four", Some(8)),
            ("response.json.n", "{\"n\": 9", None),
            ("response.json.n", "{\"n\": 9}", Some(9)),
        ] {
            let mut tally = tally(formula, Some(70), 1_000);
            let mut flow = begin(&mut tally, None).unwrap();
            tally.pass(&mut flow, Bytes::copy_from_slice(data.as_bytes()), 1);
            assert_eq!(tally.broken(2), due, "{formula} {data}");
        }
    }

    #[test]
    fn events_are_counted_whether_or_not_they_may_be_cut() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        for formula in ["response.chunks * 10", "response.chunks * 10 + int(response.json.n) * 0"] {
            let mut tally = tally(formula, None, 1_000);
            let mut flow = tally.head(StatusCode::OK, &headers, None, 0).unwrap();
            for frame in ["data: {\"n\"", ": 1}\n\nda", "ta: {\"n\": 2}\n\ndata"] {
                tally.pass(&mut flow, Bytes::from_static(frame.as_bytes()), 1);
            }
            tally.finish(&mut flow, 2);
            assert_eq!(tally.ended(2), 20, "{formula}");
        }
    }
}
