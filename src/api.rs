//! The operator's JSON API, `/api/v1/…`: the same calls as the pages, for programs.
//!
//! Amounts are integers in millisatoshi or satoshi, as the field's name says; times are Unix
//! milliseconds; errors are problem+json with a stable `code`. A page of status first waits until
//! everything delivered so far is counted ([`crate::store::Ledger::barrier`]).

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{JsonRejection, QueryRejection};

use crate::web::{Operator, Problem, label, ledger_fault};

mod account;
mod activity;
mod answer;
mod backups;
mod books;
mod channels;
mod checklist;
mod coins;
mod document;
mod epochs;
mod events;
mod first_seed;
mod health;
mod inbound;
mod integration;
mod keys;
mod metrics;
mod openapi;
mod operations;
mod password;
mod paths;
mod payments;
mod payouts;
mod peers;
mod price;
mod rates;
mod rules;
mod seed;
mod send;
mod services;
mod snapshot;
mod status;
mod system;
mod tokens;
mod trials;
mod unlock;
mod vault;
mod webhooks;

pub use unlock::locked_router;

/// The API's addresses, and the description of them.
pub fn router() -> Router<Arc<Operator>> {
    let (router, document) = paths::all().done();
    router.merge(openapi::router(document))
}

/// What `GET /api/v1/openapi.json` answers: the description of the API.
pub fn description() -> serde_json::Value {
    paths::all().done().1
}

fn bad_body(rejection: JsonRejection) -> Problem {
    Problem::bad_request("bad_body", rejection.body_text())
}

fn bad_query(rejection: QueryRejection) -> Problem {
    Problem::bad_request("bad_query", rejection.body_text())
}
