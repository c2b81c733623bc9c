//! A response body that settles what was held for it.
//!
//! Invariant: every body ends its hold exactly once, by how it ended (MONEY rule 7). Complete is
//! when the exact length was handed over (hyper does not ask again after `Content-Length`), when
//! the last chunk or the trailers passed, or when there is no body at all. A body that is dropped
//! before that was cancelled by the client. A gRPC answer whose trailers tell of a failure that the terms
//! give the unit back for counts as one that broke off.
//!
//! A metered answer of unannounced length ends when what is held for it is used up: cleanly, for what
//! passed is paid for, and with its reason: in an event stream an event `tollhouse`, and for a client
//! that takes them, trailers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::Hold;
use super::hold::Receipt;
use crate::ledger::{Ending, RestoreReason};

/// What the request cost, in millisatoshi; a trailer.
const X_TOLLHOUSE_COST_MSAT: HeaderName = HeaderName::from_static("x-tollhouse-cost-msat");
/// What was left of the token then; a header and a trailer.
pub const X_TOLLHOUSE_LEFT: HeaderName = HeaderName::from_static("x-tollhouse-left");
/// How the answer ended: `complete`, or why it was ended before; a trailer.
const X_TOLLHOUSE_END: HeaderName = HeaderName::from_static("x-tollhouse-end");

/// What `Trailer` announces of a metered answer.
pub const TRAILERS: HeaderValue =
    HeaderValue::from_static("X-Tollhouse-Cost-Msat, X-Tollhouse-Left, X-Tollhouse-End");

/// So often the cost of a silent answer is looked at, when time alone makes it dearer.
const TICK: Duration = Duration::from_millis(200);

/// How an upstream's body broke off.
#[derive(Debug, Error)]
pub enum StreamFault {
    /// The connection broke, or what came was not HTTP.
    #[error("the upstream's response broke off: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came for too long.
    #[error("the upstream's response stalled")]
    Stalled,
    /// The client broke off or stalled its own body, which the answer did not wait for.
    #[error("the client's body broke off or stalled")]
    Client,
    /// The operator took the token back.
    #[error("the token was taken back")]
    TakenBack,
}

impl StreamFault {
    /// Ends `hold` as this fault has it.
    fn end(&self, hold: Hold) -> Receipt {
        match self {
            StreamFault::Broken(_) => hold.end_broken(RestoreReason::UpstreamError),
            StreamFault::Stalled => hold.end_broken(RestoreReason::UpstreamTimeout),
            StreamFault::TakenBack => hold.end_broken(RestoreReason::Revoked),
            // Who does that has used the unit, and pays as one who leaves.
            StreamFault::Client => hold.end(Ending::Cancelled),
        }
    }
}

/// Why an answer was ended before its end, as clients read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    BalanceExhausted,
    BudgetExhausted,
    CeilingReached,
    Revoked,
}

impl Stop {
    const fn code(self) -> &'static str {
        match self {
            Stop::BalanceExhausted => "balance_exhausted",
            Stop::BudgetExhausted => "budget_exhausted",
            Stop::CeilingReached => "ceiling_reached",
            Stop::Revoked => "revoked",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Stop::BalanceExhausted => "What is left of the balance does not pay for more of this answer.",
            Stop::BudgetExhausted => {
                "What a holder allowed this copy of the token to spend does not pay for more of this answer."
            }
            Stop::CeilingReached => "This answer reached the most that one request may cost.",
            Stop::Revoked => "The operator took the token back.",
        }
    }

    /// The event that ends an event stream.
    fn event(self, receipt: Receipt) -> Bytes {
        let data = serde_json::json!({
            "code": self.code(),
            "detail": self.detail(),
            "costMsat": receipt.charged,
            "left": receipt.left,
        });
        Bytes::from(format!("event: tollhouse\ndata: {data}\n\n"))
    }
}

/// A paid response's body.
#[derive(Debug)]
pub struct MeteredBody<B> {
    /// `None` once nothing more is taken from it.
    inner: Option<B>,
    hold: Option<Hold>,
    /// What may be handed down, in its order.
    ready: VecDeque<Frame<Bytes>>,
    /// Bytes to come, when the length was announced.
    left: Option<u64>,
    /// Bytes to hand down, likewise.
    due: Option<u64>,
    taken_back: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Runs only while nothing comes and time makes it dearer.
    tick: Option<Pin<Box<Sleep>>>,
    trailers: bool,
}

/// What a client's connection can carry behind a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Nothing.
    Nothing,
    /// The trailers of [`TRAILERS`], which were announced.
    Trailers,
}

impl<B> MeteredBody<B>
where
    B: Body<Data = Bytes, Error = StreamFault> + Unpin,
{
    /// Hands `inner` over and ends `hold` with it; at once when `inner` is empty.
    pub fn new(inner: B, hold: Hold, behind: Behind) -> MeteredBody<B> {
        let left = inner.size_hint().exact();
        let whole = left == Some(0) || inner.is_end_stream();
        let mut body = MeteredBody {
            inner: Some(inner),
            taken_back: hold.taken_back().map(|told| Box::pin(told.clone().cancelled_owned())),
            hold: Some(hold),
            ready: VecDeque::new(),
            left,
            due: left,
            tick: None,
            trailers: behind == Behind::Trailers && left.is_none(),
        };
        if whole {
            body.complete(None);
        }
        body
    }

    /// Takes a frame of the upstream's.
    fn take(&mut self, frame: Frame<Bytes>) {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return self.complete(frame.into_trailers().ok()),
        };
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(length));
        let Some(hold) = &mut self.hold else { return };
        let passed = hold.pass(data);
        self.push(passed.data);
        if passed.cut {
            self.use_up();
        } else if self.left == Some(0) || self.inner.as_ref().is_none_or(Body::is_end_stream) {
            self.complete(None);
        }
    }

    fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.ready.push_back(Frame::data(data));
        }
    }

    /// The upstream's body is whole.
    fn complete(&mut self, trailers: Option<HeaderMap>) {
        let Some(mut hold) = self.hold.take() else { return };
        if let Some(reason) = hold.restored_behind(trailers.as_ref()) {
            self.inner = None;
            let receipt = hold.end_broken(reason);
            return self.close("failed", receipt, trailers);
        }
        let passed = hold.finish();
        self.push(passed.data);
        if passed.cut {
            self.hold = Some(hold);
            return self.use_up();
        }
        self.inner = None;
        let receipt = hold.end(Ending::Delivered);
        self.close("complete", receipt, trailers);
    }

    /// What is held is used up.
    fn use_up(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        let stop = match () {
            () if hold.holds_ceiling() => Stop::CeilingReached,
            () if hold.is_limited() => Stop::BudgetExhausted,
            () => Stop::BalanceExhausted,
        };
        let told = hold.takes_event();
        let receipt = hold.end_used_up();
        self.stop(stop, receipt, told);
    }

    /// The token was taken back: gives what breaks the body off, unless it can be told why.
    fn recall(&mut self) -> Option<StreamFault> {
        let hold = self.hold.take()?;
        let told = hold.takes_event() && self.left.is_none();
        let fault = StreamFault::TakenBack;
        let receipt = fault.end(hold);
        if told {
            self.stop(Stop::Revoked, receipt, told);
            return None;
        }
        self.inner = None;
        Some(fault)
    }

    fn stop(&mut self, stop: Stop, receipt: Receipt, told: bool) {
        self.inner = None;
        if told {
            self.push(stop.event(receipt));
        }
        self.close(stop.code(), receipt, None);
    }

    fn close(&mut self, end: &'static str, receipt: Receipt, trailers: Option<HeaderMap>) {
        let mut trailers = trailers.unwrap_or_default();
        if self.trailers {
            trailers.insert(X_TOLLHOUSE_COST_MSAT, HeaderValue::from(receipt.charged));
            trailers.insert(X_TOLLHOUSE_LEFT, HeaderValue::from(receipt.left));
            trailers.insert(X_TOLLHOUSE_END, HeaderValue::from_static(end));
        }
        if !trailers.is_empty() {
            self.ready.push_back(Frame::trailers(trailers));
        }
    }

    fn broken(&mut self, fault: &StreamFault) {
        self.inner = None;
        if let Some(hold) = self.hold.take() {
            fault.end(hold);
        }
    }

    /// Whether time alone has used up what is held.
    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(hold) = self.hold.as_mut().filter(|hold| hold.ticks()) else { return Poll::Pending };
            let tick = self.tick.get_or_insert_with(|| Box::pin(tokio::time::sleep(TICK)));
            ready!(tick.as_mut().poll(cx));
            self.tick = None;
            if !hold.affords_now() {
                return Poll::Ready(());
            }
        }
    }

    fn hand_down(&mut self) -> Option<Frame<Bytes>> {
        let frame = self.ready.pop_front()?;
        let length = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.due = self.due.map(|due| due.saturating_sub(length));
        Some(frame)
    }
}

impl<B> Body for MeteredBody<B>
where
    B: Body<Data = Bytes, Error = StreamFault> + Unpin,
{
    type Data = Bytes;
    type Error = StreamFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamFault>>> {
        loop {
            if let Some(frame) = self.hand_down() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.inner.is_none() {
                return Poll::Ready(None);
            }
            if let Some(taken_back) = &mut self.taken_back
                && taken_back.as_mut().poll(cx).is_ready()
            {
                self.taken_back = None;
                match self.recall() {
                    Some(fault) => return Poll::Ready(Some(Err(fault))),
                    None => continue,
                }
            }
            let Some(inner) = &mut self.inner else { continue };
            match Pin::new(inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => self.take(frame),
                Poll::Ready(Some(Err(fault))) => {
                    self.broken(&fault);
                    return Poll::Ready(Some(Err(fault)));
                }
                Poll::Ready(None) if self.left.is_none_or(|left| left == 0) => self.complete(None),
                Poll::Ready(None) => self.broken(&StreamFault::Broken("it ended too soon".into())),
                Poll::Pending => {
                    ready!(self.poll_tick(cx));
                    self.use_up();
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.inner.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.due.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
