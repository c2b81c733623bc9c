//! Looks at a request's body before it is priced, and puts it together again.
//!
//! Invariants: what is priced is what is sent on, byte for byte; at most [`MAX_JSON_BYTES`] and one frame are
//! kept, only for a rule that reads the body, and only until the request is answered or sent on; a body
//! that could be read in two ways is not JSON (THREATS 8: who sends `{"n":1,"n":1000}` must not pay for
//! the one and get the other).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;

use super::answer::Problem;
use crate::catalog::Matched;
use crate::checkout::BodySeen;
use crate::request::{MAX_JSON_BYTES, may_be_json, plain_json};

/// A body that could not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It broke off.
    Broken,
    /// It stopped coming.
    Stalled,
}

impl Unreadable {
    pub(super) fn problem(self) -> Problem {
        match self {
            Unreadable::Broken => {
                Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "The request's body broke off.")
            }
            Unreadable::Stalled => Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_stalled",
                "The request's body did not arrive in time.",
            ),
        }
    }
}

/// Looks at `body` as far as the rule of `matched` wants to see it, within `patience`; `headers` say what
/// it is. The body that is given back is the same.
pub(super) async fn look(
    body: Body,
    headers: &HeaderMap,
    matched: &Matched,
    patience: Duration,
) -> Result<(Body, BodySeen), Unreadable> {
    let announced = body.size_hint().exact();
    let fits = announced.is_none_or(|size| usize::try_from(size).is_ok_and(|size| size <= MAX_JSON_BYTES));
    let wanted = matched.terms.rule.reads().request_json && fits && may_be_json(headers);
    if body.is_end_stream() || !wanted {
        return Ok((body, BodySeen { size_bytes: announced, json: None }));
    }
    let body = tokio::time::timeout(patience, collect(body)).await.map_err(|_| Unreadable::Stalled)??;
    let json = if body.rest.is_none() { plain_json(&body.front) } else { None };
    let size_bytes = body.size_hint().exact().or(announced);
    Ok((Body::new(body), BodySeen { size_bytes, json }))
}

/// The beginning up to the limit, and what comes after it, if anything does. It is copied: a body of many
/// small chunks would cost a hundred times its length, and keep what each was cut from.
async fn collect(mut body: Body) -> Result<Looked, Unreadable> {
    let (mut front, mut behind) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| Unreadable::Broken)?.into_data() {
            Ok(data) => front.extend_from_slice(&data),
            Err(trailers) => behind = Some(trailers),
        }
        if front.len() > MAX_JSON_BYTES {
            return Ok(Looked { front: front.freeze(), behind, rest: Some(body) });
        }
    }
    Ok(Looked { front: front.freeze(), behind, rest: None })
}

/// A body of which the beginning was looked at.
struct Looked {
    front: Bytes,
    /// Trailers.
    behind: Option<Frame<Bytes>>,
    /// `None` when all of it was.
    rest: Option<Body>,
}

impl http_body::Body for Looked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.front.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.front)))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(self.behind.take().map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.rest.as_ref().is_none_or(http_body::Body::is_end_stream);
        self.front.is_empty() && self.behind.is_none() && rest
    }

    fn size_hint(&self) -> SizeHint {
        let front = u64::try_from(self.front.len()).unwrap_or(u64::MAX);
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint);
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(front)) {
            hint.set_upper(upper);
        }
        hint.set_lower(rest.lower().saturating_add(front));
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(frames: &[&'static str], exact: bool) -> Body {
        let whole = frames.concat();
        if exact {
            return Body::from(whole);
        }
        let frames: Vec<Result<Bytes, std::convert::Infallible>> =
            frames.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect();
        Body::from_stream(futures_util::stream::iter(frames))
    }

    #[tokio::test]
    async fn what_was_looked_at_is_sent_on() {
        let long: &'static str = "x".repeat(MAX_JSON_BYTES).leak();
        for (frames, whole) in [
            (&["{\"a\"", ":1}"] as &[_], true),
            (&["", "{}", ""], true),
            (&[long], true),
            (&[long, "y", "z"], false),
        ] {
            for exact in [false, true] {
                let looked = collect(body(frames, exact)).await.expect("it comes");
                assert!(looked.rest.is_none() == whole || exact);
                assert!(
                    !whole
                        || looked.size_hint().exact() == Some(u64::try_from(frames.concat().len()).unwrap())
                );
                let sent = Body::new(looked).collect().await.expect("it comes").to_bytes();
                assert_eq!(sent, frames.concat().as_bytes());
            }
        }
    }

    /// A chunk costs far more than its byte, as long as it is kept as one.
    #[tokio::test]
    async fn many_small_chunks_are_kept_as_one() {
        let looked = collect(body(&["7"; 60_000], false)).await.expect("it comes");
        assert_eq!((looked.front.len(), looked.rest.is_none()), (60_000, true));
        let mut sent = Body::new(looked);
        let first = sent.frame().await.expect("one").expect("it comes");
        assert_eq!(first.data_ref().map(Bytes::len), Some(60_000));
        assert!(sent.frame().await.is_none());
    }
}
