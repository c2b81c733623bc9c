//! What pays for a tunnel: a connection that left HTTP (a WebSocket), from the upstream's 101 to its end.
//!
//! Invariants: what is sold by the request is delivered with the 101 and spent then; what is metered stays
//! held while bytes go through, is charged for what was handed down, and nothing goes down that is not paid
//! for. Either way the tunnel closes when the operator takes the token back, and a pass's when it is over.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Sleep;

use super::Hold;
use crate::ledger::{Ending, RestoreReason};
use crate::store::Recall;

/// So often the cost of an open tunnel is looked at, when time alone makes it dearer.
const TICK: Duration = Duration::from_millis(200);

/// What pays for an open tunnel. Dropped, it ends as what it then is.
#[must_use = "a fare that is dropped ends its tunnel's hold"]
pub struct Fare {
    /// While bytes or time may still be charged.
    hold: Option<Hold>,
    recall: Option<Arc<Recall>>,
    /// Runs out when the pass does.
    over: Option<Pin<Box<Sleep>>>,
}

/// How much of what came may go through.
#[derive(Debug, PartialEq, Eq)]
pub enum Through {
    /// All of it.
    Open(Bytes),
    /// This, and then nothing more.
    Last(Bytes),
}

/// Why a tunnel is closed from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// What is held is used up, or the pass is over.
    UsedUp,
    /// The operator took the token back.
    Revoked,
}

impl Fare {
    /// Begins with the 101 to what `hold` is held for; its head was looked at.
    pub fn begin(hold: Hold) -> Fare {
        let recall = hold.recall();
        let over = hold.open_for().map(|span| Box::pin(tokio::time::sleep(span)));
        let hold = if hold.is_metered() {
            Some(hold)
        } else {
            hold.end(Ending::Delivered);
            None
        };
        Fare { hold, recall, over }
    }

    /// How much of `data`, which comes from the upstream, may go through: it is handed down.
    pub fn pass(&mut self, data: Bytes) -> Through {
        match self.hold.as_mut().map(|hold| hold.pass(data.clone())) {
            None => Through::Open(data),
            Some(passed) if passed.cut => Through::Last(passed.data),
            Some(passed) => Through::Open(passed.data),
        }
    }

    /// Waits until the tunnel has to be closed from here. May be dropped and asked again.
    pub async fn closing(&mut self) -> Closing {
        let Fare { hold, recall, over } = self;
        let taken_back = async {
            match recall {
                Some(recall) => recall.taken_back().cancelled().await,
                None => pending().await,
            }
        };
        let over = async {
            match over {
                Some(over) => over.await,
                None => pending().await,
            }
        };
        let used_up = async {
            match hold {
                Some(hold) if hold.ticks() => {
                    while hold.affords_now() {
                        tokio::time::sleep(TICK).await;
                    }
                }
                _ => pending().await,
            }
        };
        tokio::select! {
            () = taken_back => Closing::Revoked,
            () = over => Closing::UsedUp,
            () = used_up => Closing::UsedUp,
        }
    }

    /// The tunnel ended: by `closing`, or by one of its ends.
    pub fn end(mut self, closing: Option<Closing>) {
        let Some(hold) = self.hold.take() else { return };
        match closing {
            None => hold.end(Ending::Delivered),
            Some(Closing::UsedUp) => hold.end_used_up(),
            Some(Closing::Revoked) => hold.end_broken(RestoreReason::Revoked),
        };
    }
}
