//! The two streams of a forwarded request: the client's body up, the upstream's body down.
//!
//! Neither is collected: a frame is asked for when the other side has room for it, so a slow reader
//! slows the writer. Neither may stall for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::answer_headers::passing;
use crate::metering::StreamFault;
use crate::request::cleaned_trailers;

/// A frame, its trailers cleaned by `clean`.
fn behind(frame: Frame<Bytes>, clean: impl FnOnce(HeaderMap) -> HeaderMap) -> Frame<Bytes> {
    match frame.into_data() {
        Ok(data) => Frame::data(data),
        Err(frame) => Frame::trailers(clean(frame.into_trailers().unwrap_or_default())),
    }
}

/// What became of the client's body so far, as seen by whoever waits for the response.
#[derive(Debug, Default)]
pub(super) struct Upload {
    bytes: AtomicU64,
    ended: AtomicBool,
    /// The upstream took all that came and waits for the client.
    starved: AtomicBool,
    failed: AtomicBool,
}

impl Upload {
    /// The client broke its body off or framed it wrongly.
    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The upstream waits for the client, not we for the upstream.
    pub(super) fn starved(&self) -> bool {
        self.starved.load(Ordering::Acquire)
    }

    /// How many bytes went up.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// All of it went up.
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// The client's body on its way up.
#[derive(Debug)]
pub(super) struct ClientBody {
    inner: Body,
    upload: Arc<Upload>,
}

impl ClientBody {
    pub(super) fn new(inner: Body) -> (ClientBody, Arc<Upload>) {
        let upload = Arc::new(Upload::default());
        (ClientBody { inner, upload: Arc::clone(&upload) }, upload)
    }
}

impl http_body::Body for ClientBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        self.upload.starved.store(polled.is_pending(), Ordering::Release);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.upload.bytes.fetch_add(u64::try_from(length).unwrap_or(u64::MAX), Ordering::AcqRel);
                if self.inner.is_end_stream() {
                    self.upload.ended.store(true, Ordering::Release);
                }
            }
            Poll::Ready(Some(Err(_))) => self.upload.failed.store(true, Ordering::Release),
            Poll::Ready(None) => self.upload.ended.store(true, Ordering::Release),
            Poll::Pending => {}
        }
        polled.map_ok(|frame| behind(frame, cleaned_trailers))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The upstream's body on its way down; it fails when nothing comes for `patience`.
#[derive(Debug)]
pub(super) struct UpstreamBody {
    inner: Incoming,
    upload: Arc<Upload>,
    patience: Duration,
    /// Runs only while the client wants more and the upstream has nothing.
    waiting: Option<Pin<Box<Sleep>>>,
    broken: bool,
}

impl UpstreamBody {
    /// `upload` is the client's body, which may still be on its way.
    pub(super) fn new(inner: Incoming, upload: Arc<Upload>, patience: Duration) -> UpstreamBody {
        UpstreamBody { inner, upload, patience, waiting: None, broken: false }
    }

    /// Why the upstream's body ends here: an exchange that the client's own body broke or holds up is no
    /// fault of the upstream's.
    fn fault(&self, broken: Option<hyper::Error>) -> StreamFault {
        match broken {
            _ if self.upload.failed() => StreamFault::Client,
            Some(error) => StreamFault::Broken(error.into()),
            None if self.upload.starved() && !self.upload.ended() => StreamFault::Client,
            None => StreamFault::Stalled,
        }
    }
}

impl http_body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = StreamFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamFault>>> {
        if self.broken {
            return Poll::Ready(None);
        }
        if let Poll::Ready(polled) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.waiting = None;
            self.broken = matches!(polled, Some(Err(_)));
            let polled = polled.map(|r| r.map(|frame| behind(frame, |trailers| passing(&trailers))));
            return Poll::Ready(polled.map(|r| r.map_err(|error| self.fault(Some(error)))));
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match waiting.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.broken = true;
                Poll::Ready(Some(Err(self.fault(None))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
