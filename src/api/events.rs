//! `GET /api/v1/events`: the ledger's log as server-sent events.
//!
//! The log is the truth and the watch only wakes: a reader that was away names the last id it saw
//! (`Last-Event-ID`, or `?after=`) and gets every row after it. Without one it starts at the end. An id is
//! the ledger's life and the event's number, such as `1.42`: in a restored ledger numbers come again.
//!
//! A charged request is no event, for there are too many of them. When only the sums moved, a frame of
//! the type `sums` without a number says so, now and then: whoever shows them reads them again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt};
use http::StatusCode;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::answer::LastEventId;
use super::{bad_query, ledger_fault};
use crate::event::LoggedEvent;
use crate::store::Generation;
use crate::web::keys::Scope;
use crate::web::{Caller, MayRead, Operator, Problem};

/// Rows read at once.
const BATCH: u32 = 256;
/// Between the sums' moving and the word of it, in which more may come.
const QUIET: Duration = Duration::from_millis(250);
/// A comment goes out when nothing else did for this long, so that proxies keep the line open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where the reader wants to begin.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(super) struct From {
    /// The id of the last event that was seen, such as `1.42`.
    after: Option<String>,
}

/// Between two looks for sessions whose time is over.
const SWEEP: Duration = Duration::from_secs(60);

/// One open stream.
struct Reader {
    op: Arc<Operator>,
    caller: Caller,
    wake: watch::Receiver<i64>,
    last: i64,
    /// The ledger changed since the client was told anything.
    woken: bool,
    _permit: OwnedSemaphorePermit,
}

/// `GET /api/v1/events`.
pub(super) async fn stream(
    MayRead(caller): MayRead,
    State(op): State<Arc<Operator>>,
    LastEventId(last): LastEventId,
    query: Result<Query<From>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Frame, Infallible>>>, Problem> {
    let Query(from) = query.map_err(bad_query)?;
    let permit = op.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", "Too many event streams are open.")
            .retry_after(30)
    })?;
    let mut wake = op.parts.ledger.watch();
    let newest = *wake.borrow_and_update();
    let said = match (&last, &from.after) {
        (Some(value), _) => Some(("Last-Event-ID", value.to_str().ok())),
        (None, Some(text)) => Some(("after", Some(text.as_str()))),
        (None, None) => None,
    };
    let last = match said {
        Some((name, text)) => {
            let seen = text.and_then(seen).ok_or_else(|| {
                Problem::bad_request("bad_event_id", format!("{name} is not an event's number."))
            })?;
            let lives = op.parts.ledger.generations().await.map_err(ledger_fault)?;
            // Of what was never told nobody can have heard: such a reader would wait for the log to pass it.
            after(seen, &lives).min(newest)
        }
        None => newest,
    };
    let reader = Reader { op, caller, wake, last, woken: false, _permit: permit };
    let frames = stream::unfold(reader, next_batch).flat_map(stream::iter);
    Ok(Sse::new(frames).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The rows after the last one that was sent; waits for some. Ends with the session, the key, the
/// appliance or a failing ledger: the client comes back with the last id it has.
async fn next_batch(mut reader: Reader) -> Option<(Vec<Result<Frame, Infallible>>, Reader)> {
    loop {
        reader.woken |= reader.wake.has_changed().ok()?;
        reader.wake.borrow_and_update();
        reader.caller.still_may(&reader.op, Scope::Read).await.ok()?;
        let rows = reader.op.parts.ledger.events_after(reader.last, BATCH).await;
        let rows =
            rows.inspect_err(|error| tracing::error!(%error, "the event log could not be read")).ok()?;
        if let Some(newest) = rows.last() {
            (reader.last, reader.woken) = (newest.id, false);
            return Some((rows.iter().map(|row| Ok(frame(row))).collect(), reader));
        }
        let quiet = async {
            match reader.woken {
                true => tokio::time::sleep(QUIET).await,
                false => std::future::pending().await,
            }
        };
        let ended = match &reader.caller {
            Caller::Session(visit) => visit.ended.clone(),
            Caller::Key(_) => reader.op.parts.stop.clone(),
        };
        tokio::select! {
            () = quiet => {
                reader.woken = false;
                return Some((vec![Ok(Frame::default().event("sums").data("{}"))], reader));
            }
            changed = reader.wake.changed(), if !reader.woken => {
                changed.ok()?;
                reader.woken = true;
            }
            // Who only listens uses nothing; the session's end is told by `ended`.
            () = tokio::time::sleep(SWEEP) => reader.op.sessions.sweep(),
            () = reader.op.parts.stop.cancelled() => return None,
            () = ended.cancelled() => return None,
        }
    }
}

/// What a client says that it saw last: the ledger's life and the number, as `2.1234`; a number alone is of
/// the first.
fn seen(text: &str) -> Option<(u64, i64)> {
    let (generation, number) = text.split_once('.').unwrap_or(("1", text));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let both = plain(generation) && plain(number);
    both.then(|| Some((generation.parse().ok()?, number.parse().ok()?)))?
}

/// Where the log goes on for it. What it saw of a life whose end a restored copy does not have is not counted
/// against the next one, whose numbers are the same.
fn after((generation, number): (u64, i64), lives: &[Generation]) -> i64 {
    let next = lives.iter().find(|life| life.generation > generation);
    next.map_or(number, |next| number.min(next.first_event.saturating_sub(1)))
}

fn frame(row: &LoggedEvent) -> Frame {
    let data = serde_json::to_string(row).expect("an event is plain strings and numbers");
    Frame::default().id(format!("{}.{}", row.generation, row.id)).data(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    #[test]
    fn a_reader_goes_on_where_a_restored_log_begins_anew() {
        let life = |generation, first_event| Generation {
            generation,
            first_event,
            begun_at: Timestamp::default(),
            copy_made_at: None,
            why: "restored".to_owned(),
            doubtful_below_epoch: 0,
            payouts_parked: false,
        };
        let lives = [life(1, 1), life(2, 101), life(4, 151)];
        let from = |text: &str| seen(text).map(|seen| after(seen, &lives));
        // It saw 180 of the first life, of which the copy has 100.
        assert_eq!((from("180"), from("1.180"), from("1.90")), (Some(100), Some(100), Some(90)));
        assert_eq!((from("2.120"), from("2.170"), from("3.900")), (Some(120), Some(150), Some(150)));
        assert_eq!((from("4.170"), from("9.5")), (Some(170), Some(5)));
        for wrong in ["x", "1.x", "1.2.3", "", "-5", "1.-5", "+5", "99999999999999999999"] {
            assert_eq!(from(wrong), None, "{wrong}");
        }
    }
}
