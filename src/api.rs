//! The operator's JSON API, `/api/v1/…`: the same calls as the pages, for programs.
//!
//! Amounts are integers in millisatoshi or satoshi, as the field's name says; times are Unix
//! milliseconds; errors are problem+json with a stable `code`. A page of status first waits until
//! everything delivered so far is counted ([`crate::store::Ledger::barrier`]).

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::routing::{delete, get, post, put};

use crate::web::{Operator, Problem, label, ledger_fault};

mod backups;
mod books;
mod channels;
mod checklist;
mod coins;
mod epochs;
mod events;
mod health;
mod inbound;
mod integration;
mod keys;
mod operations;
mod payments;
mod payouts;
mod peers;
mod price;
mod rates;
mod rules;
mod seed;
mod send;
mod services;
mod status;
mod system;
mod tokens;
mod trials;
mod unlock;
mod vault;
mod webhooks;

pub use unlock::locked_router;

/// The API's addresses.
pub fn router() -> Router<Arc<Operator>> {
    Router::new()
        .route("/api/v1/status", get(status::read))
        .route("/api/v1/health", get(health::read))
        .route("/api/v1/system", get(system::read))
        .route("/api/v1/config", get(system::config))
        .route("/api/v1/log", get(system::log))
        .route("/api/v1/diagnostics", get(system::diagnostics))
        .route("/livez", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/api/v1/unlock", post(unlock::unlocked))
        .route("/api/v1/seed", get(seed::status))
        .route("/api/v1/seed/words", post(seed::words))
        .route("/api/v1/seed/questions", post(seed::questions))
        .route("/api/v1/seed/verify", post(seed::verify))
        .route("/api/v1/seed/passphrase", post(seed::passphrase))
        .route("/api/v1/audit", get(books::audit))
        .route("/api/v1/revenue", get(books::revenue))
        .route("/api/v1/payments", get(payments::list))
        .route("/api/v1/payments/send", post(send::pay))
        .route("/api/v1/payments/sent/{payment_hash}", get(send::look))
        .route("/api/v1/payouts", get(payouts::list).post(payouts::pay))
        .route("/api/v1/payouts/{id}", get(payouts::look))
        .route("/api/v1/rules", get(rules::list))
        .route("/api/v1/rules/{name}", put(rules::put).delete(rules::remove))
        .route("/api/v1/forecast", get(rules::forecast))
        .route("/api/v1/services", get(services::list))
        .route("/api/v1/services/apply", post(services::apply).layer(services::large_bodies()))
        .route(
            "/api/v1/services/{name}",
            get(services::show).put(services::put).delete(services::remove).layer(services::large_bodies()),
        )
        .route("/api/v1/price", post(price::ask))
        .route("/api/v1/trials", post(trials::make))
        .route("/api/v1/events", get(events::stream))
        .route("/api/v1/checklist", get(checklist::read).put(checklist::put))
        .route("/api/v1/chain", get(vault::chain))
        .route("/api/v1/chain/test", post(vault::test_chain))
        .route("/api/v1/vault", get(vault::show).put(vault::set).delete(vault::remove))
        .route("/api/v1/vault/address", post(vault::address))
        .route("/api/v1/vault/addresses", get(vault::addresses))
        .route("/api/v1/vault/history", get(vault::history))
        .route("/api/v1/vault/look", post(vault::look))
        .route("/api/v1/rates", get(rates::read))
        .route("/api/v1/rates/refresh", post(rates::refresh))
        .route("/api/v1/integration/challenges", post(integration::challenge))
        .route("/api/v1/integration/verify", post(integration::verify))
        .route("/api/v1/integration/holds/{id}", get(integration::look))
        .route("/api/v1/integration/holds/{id}/settle", post(integration::settle))
        .route("/api/v1/integration/holds/{id}/release", post(integration::release))
        .route("/api/v1/webhooks", get(webhooks::list).post(webhooks::add))
        .route("/api/v1/webhooks/{id}", delete(webhooks::remove))
        .route("/api/v1/webhooks/{id}/enable", post(webhooks::enable))
        .route("/api/v1/webhooks/{id}/disable", post(webhooks::disable))
        .route("/api/v1/webhooks/{id}/test", post(webhooks::test))
        .route("/api/v1/deliveries", get(webhooks::deliveries))
        .route("/api/v1/deliveries/{id}/redeliver", post(webhooks::redeliver))
        .route("/api/v1/keys", get(keys::list).post(keys::add))
        .route("/api/v1/keys/{id}", delete(keys::revoke))
        .route("/api/v1/tokens", get(tokens::list))
        .route("/api/v1/tokens/grant", post(tokens::give))
        .route("/api/v1/tokens/{payment_hash}", get(tokens::look).delete(tokens::revoke))
        .route("/api/v1/tokens/doubtful", get(backups::doubtful))
        .route("/api/v1/tokens/honour", post(backups::honour))
        .route("/api/v1/backups", get(backups::list).post(backups::make))
        .route("/api/v1/backups/{file}", get(backups::fetch))
        .route("/api/v1/backups/{file}/verify", post(backups::verify))
        .route("/api/v1/generations", get(backups::generations))
        .route("/api/v1/payouts/release", post(backups::release))
        .route("/api/v1/epochs", get(epochs::list).post(epochs::rotate))
        .route("/api/v1/epochs/{epoch}", delete(epochs::retire))
        .route("/api/v1/inbound", get(inbound::read))
        .route("/api/v1/inbound/limits", get(inbound::limits))
        .route("/api/v1/inbound/orders", get(inbound::list).post(inbound::quote))
        .route("/api/v1/inbound/orders/{id}", get(inbound::look))
        .route("/api/v1/inbound/orders/{id}/pay", post(inbound::pay))
        .route("/api/v1/onchain", get(coins::look))
        .route("/api/v1/onchain/address", post(coins::new_address))
        .route("/api/v1/onchain/transactions", get(coins::transactions))
        .route("/api/v1/onchain/fees", get(coins::fees))
        .route("/api/v1/onchain/send", post(coins::send))
        .route("/api/v1/channels", get(channels::list).post(channels::open))
        .route("/api/v1/channels/closed", get(channels::closed))
        .route("/api/v1/channels/{channel_id}", delete(channels::close))
        .route("/api/v1/channels/{channel_id}/fees", put(channels::set_fees))
        .route("/api/v1/channels/{channel_id}/splice-in", post(channels::splice_in))
        .route("/api/v1/channels/{channel_id}/splice-out", post(channels::splice_out))
        .route("/api/v1/peers", get(peers::list).post(peers::connect))
        .route("/api/v1/peers/{peer}", delete(peers::forget))
        .route("/api/v1/operations", get(operations::list))
        .route("/api/v1/operations/{id}", get(operations::look))
        .route("/api/v1/operations/{id}/settle", post(operations::settle))
}

fn bad_body(rejection: JsonRejection) -> Problem {
    Problem::bad_request("bad_body", rejection.body_text())
}

fn bad_query(rejection: QueryRejection) -> Problem {
    Problem::bad_request("bad_query", rejection.body_text())
}
