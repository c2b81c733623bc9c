//! The operator's pages: rendered on the server.
//!
//! The pages work without JavaScript; with it, the numbers on Home follow the event log.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;

use crate::web::{Operator, Problem};

mod activity;
mod alarm;
mod astray;
mod backup;
mod channel_line;
mod chart;
mod coins;
mod entry;
mod figures;
mod first_seed;
mod form;
mod home;
mod integrations;
mod lapse;
mod lightning;
mod listing;
mod live;
mod locked;

pub use activity::{Said, said};
pub use locked::locked_router;
mod operation;
mod operation_line;
mod outlook;
mod password;
mod payment;
mod payment_line;
mod question;
mod reasons;
mod revenue;
mod room;
mod sale;
mod services;
mod shell;
mod start;
mod steps;
mod system;
mod tokens;
mod vouched;

/// The pages' addresses.
pub fn router() -> Router<Arc<Operator>> {
    Router::new()
        .route("/", get(home::page))
        .route("/live", get(home::part))
        .route("/revenue", get(revenue::page))
        .route("/start", get(start::page))
        .route("/start/hide", post(start::hide))
        .route("/start/seed", get(start::seed::page))
        .route("/start/seed/words", post(start::seed::words))
        .route("/start/seed/check", get(start::seed::check_page).post(start::seed::check))
        .route("/start/seed/passphrase", post(start::seed::passphrase))
        .route("/start/chain", get(start::chain::page).post(start::chain::test))
        .route("/start/receive", get(start::receive::page))
        .route("/start/service", get(start::service::page).post(start::service::add))
        .route("/start/payment", get(start::payment::page).post(start::payment::buy))
        .route("/start/payment/seen", get(start::payment::seen))
        .route("/payments/{payment_hash}", get(payment::page))
        .route("/activity", get(activity::page))
        .route("/coins", get(coins::page))
        .route("/coins/receive", get(coins::receive::page).post(coins::receive::another))
        .route("/coins/send", get(coins::send::page).post(coins::send::send))
        .route("/coins/vault", get(coins::cold::page))
        .route("/coins/vault/set", get(coins::cold_form::page).post(coins::cold_form::set))
        .route("/coins/vault/address", get(coins::cold::address).post(coins::cold::fresh_address))
        .route("/coins/vault/look", post(coins::cold::look))
        .route("/coins/vault/remove", post(coins::cold_form::remove))
        .route("/operations/{id}", get(operation::page))
        .route("/operations/{id}/settle", post(operation::settle))
        .route("/login", get(entry::login_page).post(entry::login))
        .route("/logout", post(entry::logout))
        .route("/claim", get(entry::claim_page).post(entry::claim))
        .merge(backup::router())
        .merge(integrations::router())
        .merge(lightning::router())
        .merge(system::router())
        .merge(password::router())
        .merge(services::router())
        .merge(tokens::router())
        .fallback(astray::nowhere)
        .method_not_allowed_fallback(astray::half_way)
}

/// Renders a page.
fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            Problem::internal().into_response()
        }
    }
}

/// What a page could not learn; the cause is in the log.
fn fault(error: &crate::store::StoreError) -> Response {
    tracing::error!(%error, "the ledger could not answer a page");
    entry::failure()
}
