//! `/api/v1/onchain`: what is in the on-chain wallet and on its way there, and sending from it.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::IdempotencyKey;
use super::operations::{Answer, How, carry_out};
use super::{bad_body, bad_query};
use crate::ports::{CoinsView, FeeRates};
use crate::treasury::{Deed, FeeChoice, WalletHistory};
use crate::web::{MayAdmin, MayRead, MaySpend, Operator, Problem, node_fault, treasury_problem};

/// `GET /api/v1/onchain`: balances, what closed channels still owe, and sweeps.
pub(super) async fn look(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<CoinsView>, Problem> {
    Ok(Json(op.parts.treasury.coins().await.map_err(treasury_problem)?))
}

/// `POST /api/v1/onchain/address`.
pub(super) async fn new_address(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
) -> Result<Json<Address>, Problem> {
    let address = op.parts.control.new_address().await.map_err(node_fault)?;
    Ok(Json(Address { address }))
}

/// A fresh address of the wallet.
#[derive(Serialize, JsonSchema)]
pub(super) struct Address {
    address: String,
}

/// `GET /api/v1/onchain/transactions`: unconfirmed ones first, then the newest.
pub(super) async fn transactions(
    _: MayRead,
    State(op): State<Arc<Operator>>,
) -> Result<Json<WalletHistory>, Problem> {
    Ok(Json(op.wallet_history().await.map_err(treasury_problem)?))
}

/// `GET /api/v1/onchain/fees`: what `fast`, `normal` and `slow` mean now.
pub(super) async fn fees(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<FeeRates>, Problem> {
    Ok(Json(op.parts.coins.fee_rates().await.map_err(node_fault)?))
}

/// What `POST /api/v1/onchain/send` takes: an amount, or `all`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    address: String,
    amount_sat: Option<u64>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    reserve_too: bool,
    #[serde(default)]
    fee: FeeChoice,
}

/// `POST /api/v1/onchain/send`.
pub(super) async fn send(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    how: Result<Query<How>, QueryRejection>,
    key: IdempotencyKey,
    body: Result<Json<Send>, JsonRejection>,
) -> Answer {
    let Json(Send { address, amount_sat, all, reserve_too, fee }) = body.map_err(bad_body)?;
    let deed = match (amount_sat, all) {
        (Some(amount_sat), false) if !reserve_too => Deed::Send { address, amount_sat, fee },
        (None, true) => Deed::SendAll { address, fee, reserve_too },
        _ => {
            let detail = "Say either amount_sat, or all: true; reserve_too goes with all.";
            return Err(Problem::bad_request("bad_amount", detail));
        }
    };
    carry_out(&op, how.map_err(bad_query)?.0, key, deed).await
}
