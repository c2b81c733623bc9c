//! What an application is told when it does not get what it asked for.

use http::StatusCode;

use crate::checkout::{NotDescribed, NotHeld, Refused};
use crate::custody::{EndRefused, NoRoom, State};
use crate::store::StoreError;
use crate::web::Problem;

pub(super) fn not_described(why: NotDescribed) -> Problem {
    let not_found = |code| Problem::new(StatusCode::NOT_FOUND, code, format!("{why}."));
    match &why {
        NotDescribed::UnknownService => not_found("unknown_service"),
        NotDescribed::NoRoute => not_found("no_such_route"),
        NotDescribed::OtherService(_) => not_found("other_service"),
        NotDescribed::Inadmissible(refused) => {
            let detail = format!("The gateway would not let this request in: {}.", refused.detail);
            Problem::new(refused.status, refused.code, detail)
        }
    }
}

fn not_charged() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "not_charged",
        "Nothing is charged for this request: serve it.",
    )
}

fn unavailable(code: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(30)
}

pub(super) fn not_sold(why: Option<Refused>) -> Problem {
    match why {
        None => not_charged(),
        Some(Refused::Unpriced(why)) => {
            unavailable(why.code(), "What this request costs cannot be told now.")
        }
        Some(Refused::CannotReceive(why)) => {
            tracing::warn!(%why, "no challenge: the price cannot be received");
            unavailable("cannot_receive", "No payment can be received at the moment. No invoice was made.")
        }
        Some(Refused::NotForSale(why)) => {
            let detail = format!("No offer pays for this request: {why}.");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not_for_sale", detail)
        }
        Some(
            other @ (Refused::Malformed(_)
            | Refused::TooMany(_)
            | Refused::InFlight
            | Refused::Doubted(_)
            | Refused::Ledger(_)),
        ) => {
            tracing::error!(%other, "a challenge was refused as only a credential is");
            Problem::internal()
        }
    }
}

pub(super) fn not_held(why: NotHeld) -> Problem {
    match why {
        NotHeld::NotCharged => not_charged(),
        NotHeld::Malformed(malformed) => Problem::bad_request(malformed.code(), format!("{malformed}.")),
        NotHeld::Unpaid { code, detail } => {
            Problem::new(StatusCode::PAYMENT_REQUIRED, code, format!("It has to be paid for: {detail}."))
        }
        NotHeld::InFlight => {
            let detail =
                "Another request with this token is still under way. The customer need not pay again.";
            Problem::new(StatusCode::CONFLICT, "in_flight", detail).retry_after(1)
        }
        NotHeld::Unpriced(why) => {
            unavailable(why.code(), "What this request costs cannot be told now. Nothing was charged.")
        }
        NotHeld::Ledger(StoreError::Busy) => {
            unavailable("busy", "Too many requests are under way. Nothing was charged.").retry_after(1)
        }
        NotHeld::Ledger(error) => {
            tracing::error!(%error, "a unit could not be reserved for an application");
            unavailable("ledger_unavailable", "The ledger cannot be written to. Nothing was charged.")
        }
    }
}

pub(super) fn no_room(why: NoRoom) -> Problem {
    let code = match why {
        NoRoom::OfOne(_) | NoRoom::OfAll => "too_many_holds",
        NoRoom::Stopping => "stopping",
    };
    let status = match why {
        NoRoom::OfOne(_) => StatusCode::TOO_MANY_REQUESTS,
        NoRoom::OfAll | NoRoom::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, code, format!("Nothing was charged: {why}.")).retry_after(1)
}

pub(super) fn not_ended(why: EndRefused) -> Problem {
    match why {
        EndRefused::Unknown => {
            let detail = "This key has no such hold: it ended long ago, or before a restart, or never was.";
            Problem::new(StatusCode::NOT_FOUND, "unknown_hold", detail)
        }
        EndRefused::Ended(state) => {
            let code = match state {
                State::Open | State::Settled(_) => "hold_settled",
                State::Released => "hold_released",
                State::Expired => "hold_expired",
            };
            Problem::new(StatusCode::CONFLICT, code, format!("Nothing was changed: {why}."))
        }
        EndRefused::TooMuch { .. } => {
            let detail = format!("Nothing was charged, the hold is as it was: {why}.");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "more_than_held", detail)
        }
    }
}
