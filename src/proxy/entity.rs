//! Looks at a request's body before it is priced, and puts it together again.
//!
//! Invariants: what is priced is what is sent on, byte for byte; at most [`MAX_JSON_BYTES`] and one frame are
//! kept, only for a rule that reads the body, and only until the request is answered or sent on; a body
//! that could be read in two ways is not JSON (THREATS 8: who sends `{"n":1,"n":1000}` must not pay for
//! the one and get the other).

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use serde_json::Value;

use super::answer::Problem;
use crate::catalog::Matched;
use crate::checkout::BodySeen;
use crate::request::{MAX_JSON_BYTES, plain_json};

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

/// Looks at `body` as far as the rule of `matched` wants to see it, within `patience`. The body that is
/// given back is the same.
pub(super) async fn look(
    body: Body,
    matched: &Matched,
    patience: Duration,
) -> Result<(Body, BodySeen), Unreadable> {
    let announced = body.size_hint().exact();
    let fits = announced.is_none_or(|size| usize::try_from(size).is_ok_and(|size| size <= MAX_JSON_BYTES));
    if body.is_end_stream() || !fits || !matched.terms.rule.reads().request_json {
        return Ok((body, BodySeen { size_bytes: announced, json: None }));
    }
    let (front, rest) =
        tokio::time::timeout(patience, collect(body)).await.map_err(|_| Unreadable::Stalled)??;
    let body = Looked { front, rest };
    let json = match &body.rest {
        None => document(&body.front),
        Some(_) => None,
    };
    let size_bytes = body.size_hint().exact().or(announced);
    Ok((Body::new(body), BodySeen { size_bytes, json }))
}

/// The frames up to the limit, and what comes after them, if anything does.
async fn collect(mut body: Body) -> Result<(VecDeque<Frame<Bytes>>, Option<Body>), Unreadable> {
    let (mut front, mut read) = (VecDeque::new(), 0usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Unreadable::Broken)?;
        read = read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        front.push_back(frame);
        // Frames without data cost memory too.
        if read > MAX_JSON_BYTES || front.len() > MAX_JSON_BYTES {
            return Ok((front, Some(body)));
        }
    }
    Ok((front, None))
}

/// A body of which the beginning was looked at.
struct Looked {
    front: VecDeque<Frame<Bytes>>,
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
        if let Some(frame) = self.front.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_empty() && self.rest.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let front: usize = self.front.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let front = u64::try_from(front).unwrap_or(u64::MAX);
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint);
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(front)) {
            hint.set_upper(upper);
        }
        hint.set_lower(rest.lower().saturating_add(front));
        hint
    }
}

/// The JSON document that `frames` hold, when no reader could take it for another.
fn document(frames: &VecDeque<Frame<Bytes>>) -> Option<Value> {
    let mut text = Vec::new();
    for data in frames.iter().filter_map(Frame::data_ref) {
        text.extend_from_slice(data);
    }
    plain_json(&text)
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
                let (front, rest) = collect(body(frames, exact)).await.expect("it comes");
                assert!(rest.is_none() == whole || exact);
                let looked = Looked { front, rest };
                assert!(
                    !whole
                        || looked.size_hint().exact() == Some(u64::try_from(frames.concat().len()).unwrap())
                );
                let sent = Body::new(looked).collect().await.expect("it comes").to_bytes();
                assert_eq!(sent, frames.concat().as_bytes());
            }
        }
    }
}
