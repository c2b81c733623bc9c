//! A wallet for other people's programs: the part of LND's REST interface that clients of L402 call, on
//! the admin listener, so that a client which can pay through an LND can pay through this node.
//!
//! Invariants:
//! - Who asks shows the key of a wallet (`tollhouse keys add --scope wallet`), its bytes in hexadecimal
//!   where LND's clients send a macaroon. No other key opens anything here, and this one nothing else.
//! - A wallet pays within its limits for a day and for one payment, fees included (MONEY rule 14). It sees
//!   its own payments, and of the node's money what it may still spend itself.
//! - A hash is paid once: who asks again with the same invoice joins the payment or gets its proof.
//! - A proof goes to the wallet that paid for it and to nobody else, and into no log.
//!
//! What is said is what LND says: amounts as texts, enums by name, bytes in base64 where LND has bytes and
//! in hexadecimal where it has strings; errors as gRPC's gateway writes them, with a stable word for
//! programs in `details[0].reason`. What is not offered answers 501.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::routing::{any, get, post};
use http::request::Parts;
use http::{HeaderMap, header};

use crate::store::WalletRow;
use crate::web::{Operator, keys};

mod ask;
mod books;
mod pay;
mod refusal;
mod shown;
mod state;

use refusal::{Code, Refusal};

/// The wallet's addresses.
pub fn router() -> Router<Arc<Operator>> {
    let nothing = any(async || Refusal::new(Code::Unimplemented, "not_offered", "This is not offered here."));
    Router::new()
        .route("/v1/getinfo", get(state::info))
        .route("/v1/balance/channels", get(state::channel_balance))
        .route("/v1/balance/blockchain", get(state::chain_balance))
        .route("/v1/payreq/{invoice}", get(state::decode))
        .route("/v1/channels/transactions", post(pay::wait_for_end))
        .route("/v1/payments", get(books::list))
        .route("/v2/router/send", post(pay::stream))
        .route("/v2/router/track/{payment_hash}", get(books::track))
        .route("/v1/{*rest}", nothing.clone())
        .route("/v2/{*rest}", nothing)
}

/// Where LND's clients send their macaroon, in the order of preference.
const MACAROON_HEADERS: [&str; 2] = ["grpc-metadata-macaroon", "macaroon"];

/// Proof that a wallet asks, as it stood when it did.
pub(crate) struct Wallet(pub(crate) WalletRow);

impl FromRequestParts<Arc<Operator>> for Wallet {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, op: &Arc<Operator>) -> Result<Wallet, Refusal> {
        let unknown = |detail| Refusal::new(Code::Unauthenticated, "unauthenticated", detail);
        let key = presented(&parts.headers).ok_or_else(|| {
            unknown("Send a wallet's key, its bytes in hexadecimal, as Grpc-Metadata-Macaroon.")
        })?;
        let found = op.parts.ledger.wallet(keys::hash(&key), op.parts.clock.now()).await;
        let wallet = found.map_err(|error| Refusal::ledger(&error))?;
        wallet.map(Wallet).ok_or_else(|| unknown("This is no wallet's key, or it was revoked."))
    }
}

/// The key's text: hexadecimal as LND's clients send it, or as it is.
fn presented(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let bearer = || text(header::AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
    let sent = MACAROON_HEADERS.into_iter().find_map(text).or_else(bearer)?;
    let decoded = hex::decode(sent).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    Some(decoded.unwrap_or_else(|| sent.to_owned()))
}
