//! The exchanges of an HTTP/2 connection: each is a task, and none waits for its client without end.
//!
//! Why: an HTTP/2 client can take other answers, or only answer pings, and leave one answer where it is by
//! giving it no window. That answer holds a unit, a connection to the upstream and memory. An exchange whose
//! client takes as little of it as no other slow reader may ([`Pace`]) is ended and its stream reset.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::throttle::Pace;

/// Answers go to an HTTP/2 connection in pieces of this size: what it has taken and not sent is all that a
/// client without a window can keep here.
const PIECE: usize = 16 * 1024;

/// So often a patience is looked at before it is over.
const LOOKS: u32 = 8;

tokio::task_local! {
    /// What the client of this task's exchange took.
    static TAKEN: Arc<Taken>;
}

/// How far a client took its answer.
#[derive(Debug, Default)]
struct Taken {
    /// Twice the pieces that were handed over, and one less while the last of them is not taken.
    pieces: AtomicU64,
    bytes: AtomicU64,
}

impl Taken {
    fn handed(&self, bytes: usize) {
        self.pieces.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    fn asked(&self) {
        if self.pieces.load(Ordering::Acquire) % 2 == 1 {
            self.pieces.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The piece that is waited for, and how much there was up to it.
    fn waits(&self) -> (Option<u64>, u64) {
        let pieces = self.pieces.load(Ordering::Acquire);
        ((pieces % 2 == 1).then_some(pieces), self.bytes.load(Ordering::Acquire))
    }

    /// Ends when the client took too little for `patience` ([`Pace`]).
    async fn stalled(&self, patience: Duration) {
        let (mut pace, look) = (Pace::new(patience), patience / LOOKS);
        let (mut awaited, mut taken) = self.waits();
        while !pace.left().is_zero() {
            tokio::time::sleep(look).await;
            let (now, bytes) = self.waits();
            if awaited.is_some() && now == awaited {
                pace.waited(look);
            }
            pace.moved(bytes.saturating_sub(taken));
            (awaited, taken) = (now, bytes);
        }
    }
}

/// Runs the exchanges of one connection.
#[derive(Clone, Debug)]
pub(super) struct Exchanges {
    tracker: TaskTracker,
    cut: CancellationToken,
    patience: Duration,
    begun: Arc<AtomicU64>,
    open: Arc<AtomicUsize>,
}

impl Exchanges {
    pub(super) fn new(tracker: TaskTracker, cut: CancellationToken, patience: Duration) -> Exchanges {
        Exchanges { tracker, cut, patience, begun: Arc::default(), open: Arc::default() }
    }

    /// How many have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// How many have not ended.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

impl<F> hyper::rt::Executor<F> for Exchanges
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, exchange: F) {
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.open.fetch_add(1, Ordering::AcqRel);
        let (open, cut, patience) = (Open(Arc::clone(&self.open)), self.cut.clone(), self.patience);
        self.tracker.spawn(async move {
            let _open = open;
            let taken = Arc::new(Taken::default());
            tokio::select! {
                _ = TAKEN.scope(Arc::clone(&taken), exchange) => {}
                () = taken.stalled(patience) => tracing::debug!("a client took nothing of an answer"),
                () = cut.cancelled() => {}
            }
        });
    }
}

/// Counts an exchange until it ends, however it does.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body as its connection takes it.
pub(super) struct Given {
    inner: Body,
    /// Of the last piece, what was too long.
    rest: Bytes,
    taken: Option<Arc<Taken>>,
    _turn: Arc<OwnedSemaphorePermit>,
}

impl Given {
    /// `turn` is the request's place among those that are under way, until this ends.
    pub(super) fn new(inner: Body, turn: Arc<OwnedSemaphorePermit>) -> Given {
        let taken = TAKEN.try_with(Arc::clone).ok();
        Given { inner, rest: Bytes::new(), taken, _turn: turn }
    }
}

impl http_body::Body for Given {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(taken) = self.taken.clone() else { return Pin::new(&mut self.inner).poll_frame(cx) };
        taken.asked();
        let frame = if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended),
            }
        } else {
            Frame::data(std::mem::take(&mut self.rest))
        };
        let frame = match frame.into_data() {
            Ok(mut data) => {
                if data.len() > PIECE {
                    self.rest = data.split_off(PIECE);
                }
                taken.handed(data.len());
                Frame::data(data)
            }
            Err(frame) => frame,
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}
