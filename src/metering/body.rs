//! A response body that settles what was held for it.
//!
//! Invariant: every body ends its hold exactly once, by how it ended (MONEY rule 7). Complete is
//! when the exact length was handed over (hyper does not ask again after `Content-Length`), when
//! the last chunk or the trailers passed, or when there is no body at all. A body that is dropped
//! before that was cancelled by the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;

use super::Hold;
use crate::ledger::{Ending, RestoreReason};

/// How an upstream's body broke off.
#[derive(Debug, Error)]
pub enum StreamFault {
    /// The connection broke, or what came was not HTTP.
    #[error("the upstream's response broke off: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came for too long.
    #[error("the upstream's response stalled")]
    Stalled,
}

impl StreamFault {
    fn reason(&self) -> RestoreReason {
        match self {
            StreamFault::Broken(_) => RestoreReason::UpstreamError,
            StreamFault::Stalled => RestoreReason::UpstreamTimeout,
        }
    }
}

/// A paid response's body.
#[derive(Debug)]
pub struct MeteredBody<B> {
    inner: B,
    hold: Option<Hold>,
    /// Bytes to come, when the length was announced.
    left: Option<u64>,
}

impl<B> MeteredBody<B>
where
    B: Body<Data = Bytes, Error = StreamFault> + Unpin,
{
    /// Hands `inner` over and ends `hold` with it; at once when `inner` is empty.
    pub fn new(inner: B, hold: Hold) -> MeteredBody<B> {
        let left = inner.size_hint().exact();
        let mut body = MeteredBody { inner, hold: Some(hold), left };
        if body.is_complete() {
            body.end(Ending::Delivered);
        }
        body
    }

    fn is_complete(&self) -> bool {
        self.left == Some(0) || self.inner.is_end_stream()
    }

    fn pass(&mut self, data: &Bytes) {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(length));
        if let Some(hold) = &mut self.hold {
            hold.record_data(data);
        }
    }

    fn end(&mut self, ending: Ending) {
        if let Some(hold) = self.hold.take() {
            hold.end(ending);
        }
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
        let polled = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &polled {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.pass(data);
                }
                if frame.is_trailers() || self.is_complete() {
                    self.end(Ending::Delivered);
                }
            }
            Some(Err(fault)) => {
                let reason = fault.reason();
                self.end(Ending::Restored(reason));
            }
            None if self.left.is_none_or(|left| left == 0) => self.end(Ending::Delivered),
            None => self.end(Ending::Restored(RestoreReason::UpstreamError)),
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
