//! An exchange that goes on when its client has left, so that the answer can be kept for it.
//!
//! Invariants: the client, while it is there, gets each frame as it comes and slows the upstream as
//! ever. When it leaves, the exchange runs on only while its answer is being recorded, and only for
//! [`ProxyConfig::outlive`](super::ProxyConfig::outlive); otherwise the leaving ends it, as it does
//! without a key. A body that the exchange did not finish reaches the client broken, never as whole.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::ProxyState;
use super::answer::Problem;
use super::forward::Asked;
use crate::metering::{Hold, RecordingLight};

/// Frames that wait for a slow client.
const FRAMES: usize = 2;

/// A frame, or what broke the body off; `None` is its whole end.
type Passed = Option<Result<Frame<Bytes>, axum::Error>>;

impl ProxyState {
    /// Forwards a request that a unit is held for and whose answer is recorded while `light` is on.
    pub(super) async fn forward_kept(
        &self,
        asked: Asked,
        body: Body,
        hold: Hold,
        light: RecordingLight,
    ) -> Response {
        let (reply, answer) = oneshot::channel();
        let (state, cut) = (self.clone(), hold.cut().clone());
        self.tracker.spawn(async move {
            let exchange = state.forward_paid(&asked, body, hold, None);
            state.run(exchange, reply, light, cut).await;
        });
        answer.await.unwrap_or_else(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "The gateway is stopping.").render()
        })
    }

    /// Runs `exchange` to its end. What is dropped on the way out ends the hold as it then is.
    async fn run(
        &self,
        exchange: impl Future<Output = Response>,
        mut reply: oneshot::Sender<Response>,
        light: RecordingLight,
        cut: CancellationToken,
    ) {
        let (client, frames) = mpsc::channel::<Passed>(FRAMES);
        let overstayed = async {
            client.closed().await;
            tokio::time::sleep(self.config.outlive).await;
        };
        let mut overstayed = pin!(overstayed);
        // Lives in here until the client has it, so that its end is the client's leaving.
        let mut frames = Some(frames);
        let mut exchange = pin!(exchange);
        let response = loop {
            tokio::select! {
                biased;
                () = cut.cancelled() => return,
                () = &mut overstayed => return,
                response = &mut exchange => break response,
                () = reply.closed(), if frames.is_some() => frames = None,
            }
        };
        let (parts, mut body) = response.into_parts();
        let down = match frames {
            Some(_) if body.is_end_stream() => Body::empty(),
            Some(frames) => Body::new(Handed { frames, hint: body.size_hint(), ended: false }),
            None => Body::empty(),
        };
        // A client that left does not take it; its frames then find nobody.
        let _ = reply.send(Response::from_parts(parts, down));
        loop {
            let frame = tokio::select! {
                biased;
                () = cut.cancelled() => return,
                () = &mut overstayed => return,
                () = client.closed(), if !light.is_on() => return,
                frame = body.frame() => frame,
            };
            let ended = !matches!(frame, Some(Ok(_)));
            let _ = client.send(frame).await;
            if ended {
                return;
            }
        }
    }
}

/// The body as the client's connection takes it.
struct Handed {
    frames: mpsc::Receiver<Passed>,
    hint: SizeHint,
    ended: bool,
}

impl http_body::Body for Handed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Passed> {
        if self.ended {
            return Poll::Ready(None);
        }
        let passed = ready!(self.frames.poll_recv(cx));
        let passed = passed.unwrap_or_else(|| Some(Err(axum::Error::new("the exchange was cut off"))));
        self.ended = !matches!(passed, Some(Ok(_)));
        Poll::Ready(passed)
    }

    fn size_hint(&self) -> SizeHint {
        // Asked for before the first frame, to frame the response.
        self.hint
    }
}
