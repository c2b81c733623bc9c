//! The operator's JSON API, `/api/v1/…`: the same calls as the pages, for programs.
//!
//! Amounts are integers in millisatoshi or satoshi, as the field's name says; times are Unix
//! milliseconds; errors are problem+json with a stable `code`. A page of status first waits until
//! everything delivered so far is counted ([`crate::store::Ledger::barrier`]).

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::routing::{delete, get, post};

use crate::store::StoreError;
use crate::web::{Operator, Problem};

mod control;
mod events;
mod payments;
mod send;
mod status;

/// The API's addresses.
pub fn router() -> Router<Arc<Operator>> {
    Router::new()
        .route("/api/v1/status", get(status::read))
        .route("/api/v1/payments", get(payments::list))
        .route("/api/v1/payments/send", post(send::pay))
        .route("/api/v1/payments/sent/{payment_hash}", get(send::look))
        .route("/api/v1/events", get(events::stream))
        .route("/api/v1/onchain/address", post(control::new_address))
        .route("/api/v1/channels", post(control::open_channel))
        .route("/api/v1/channels/{channel_id}", delete(control::close_channel))
}

/// The ledger failed: the cause goes to the log, the caller learns that it was not their doing.
fn ledger_fault(error: StoreError) -> Problem {
    tracing::error!(%error, "the ledger could not answer the admin API");
    Problem::internal()
}

fn bad_body(rejection: JsonRejection) -> Problem {
    Problem::bad_request("bad_body", rejection.body_text())
}

fn bad_query(rejection: QueryRejection) -> Problem {
    Problem::bad_request("bad_query", rejection.body_text())
}
