//! The gateway's own answers, for a door that answers as the gateway would.

use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::answer::Problem;
use super::demand::{Reader, demand};
use crate::checkout::{Offered, Refused};
use crate::request::Inadmissible;

/// Problem details with a stable code.
pub fn problem(status: StatusCode, code: &'static str, detail: &str) -> Response {
    Problem::new(status, code, detail).render()
}

/// The request was not let in.
pub fn inadmissible(refused: Inadmissible) -> Response {
    Problem::from(refused).render()
}

/// The 402 for whoever sent `headers`. Nobody at that door could ask us whether it was paid.
pub fn challenge(mut offered: Box<Offered>, headers: &HeaderMap) -> Response {
    offered.lock();
    demand(&offered, Reader::of(headers))
}

/// It is neither served nor sold.
pub fn refused(refused: Refused) -> Response {
    Problem::from(refused).render()
}
