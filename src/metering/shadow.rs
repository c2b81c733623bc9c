//! What a request in shadow mode would have been charged: nothing is held, nothing is cut, and what its
//! answer would have cost is counted when it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::StreamFault;
use super::flow::Flow;
use super::tally::Tally;
use crate::catalog::Matched;
use crate::clock::Clock;
use crate::pricing::{Meter, Quote, RequestFacts, Used};
use crate::store::Ledger;
use crate::types::Msat;

/// A request that passes and is priced all the same. Counted when it is dropped.
pub struct Shadowed {
    ledger: Ledger,
    matched: Matched,
    tally: Tally,
    flow: Flow,
    clock: Arc<dyn Clock>,
    /// When it came, by the clock's steady count.
    since: Duration,
    fate: Fate,
}

/// How a shadowed request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// There is no answer that would be charged.
    Uncharged,
    /// Its answer flows.
    Flowing,
    /// Its answer would have been cut here.
    Cut,
    /// Its answer broke off.
    Broken,
}

impl std::fmt::Debug for Shadowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shadowed({}/{}, {:?})", self.matched.service.name, self.matched.route, self.fate)
    }
}

impl Shadowed {
    /// A request for `matched` that would cost what `quote` says, as the first of a token that holds as
    /// much as it may cost.
    pub fn new(
        ledger: Ledger,
        clock: Arc<dyn Clock>,
        matched: Matched,
        request: RequestFacts,
        quote: &Quote,
    ) -> Shadowed {
        let terms = &matched.terms;
        let meter = Meter::new(&terms.rule, request, quote, Used::default());
        let tally = Tally::new(meter, terms.rule.reads(), terms.fallback, quote.most.msat());
        let since = clock.steady();
        Shadowed { ledger, matched, tally, flow: Flow::Bytes, clock, since, fate: Fate::Uncharged }
    }

    /// What it is for.
    pub fn matched(&self) -> &Matched {
        &self.matched
    }

    /// Whether the price may depend on the answer's JSON, which a compressed answer does not show.
    pub fn reads_json(&self) -> bool {
        self.tally.reads_json()
    }

    /// The head of the answer; `length` is that of its body, when it was announced.
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap, length: Option<u64>) {
        if self.matched.terms.restore.restores(status) {
            return;
        }
        let ms = self.ms();
        // What is too dear would not have been handed down, nor charged.
        if let Ok(flow) = self.tally.head(status, headers, length, ms) {
            (self.flow, self.fate) = (flow, Fate::Flowing);
        }
    }

    /// Somebody else hands its answer down: it is counted as one that is charged.
    pub fn unseen(mut self) {
        self.fate = Fate::Flowing;
    }

    fn data(&mut self, data: Bytes) {
        if self.fate == Fate::Flowing {
            let ms = self.ms();
            if self.tally.pass(&mut self.flow, data, ms).cut {
                self.fate = Fate::Cut;
            }
        }
    }

    fn ms(&self) -> u64 {
        let span = self.clock.steady().saturating_sub(self.since);
        u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Shadowed {
    fn drop(&mut self) {
        let ms = self.ms();
        let would_be = match self.fate {
            Fate::Uncharged => 0,
            Fate::Flowing | Fate::Cut => {
                self.tally.finish(&mut self.flow, ms);
                self.tally.ended(ms)
            }
            Fate::Broken => self.tally.broken(ms).unwrap_or(0),
        };
        let would_be = Msat::new(would_be).unwrap_or(Msat::MAX);
        self.ledger.count_shadow(&self.matched.service.name, &self.matched.route, would_be);
    }
}

/// The body of a shadowed request's answer: handed down as it comes.
#[derive(Debug)]
pub struct ShadowBody<B> {
    inner: B,
    shadowed: Shadowed,
}

impl<B> ShadowBody<B> {
    /// Hands `inner` down and counts what it would have cost.
    pub fn new(inner: B, shadowed: Shadowed) -> ShadowBody<B> {
        ShadowBody { inner, shadowed }
    }
}

impl<B> Body for ShadowBody<B>
where
    B: Body<Data = Bytes, Error = StreamFault> + Unpin,
{
    type Data = Bytes;
    type Error = StreamFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamFault>>> {
        let polled = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &polled {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.shadowed.data(data.clone());
                }
            }
            Some(Err(_)) if self.shadowed.fate == Fate::Flowing => self.shadowed.fate = Fate::Broken,
            Some(Err(_)) | None => {}
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
