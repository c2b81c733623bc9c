//! `/api/v1/vault…`: the cold storage that is watched, and its addresses; `/api/v1/chain`: the chain sources.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Taken;
use super::bad_body;
use crate::ports::{ChainView, SourceAnswer};
use crate::types::Timestamp;
use crate::vault::{USUAL_GAP, VaultAsk, VaultEntry, VaultFault, VaultView};
use crate::web::{MayAdmin, MayRead, MaySpend, Operator, Problem, no_address, vault_problem};

/// Addresses in one list.
const MOST_ADDRESSES: u32 = 1_000;

/// What `PUT /api/v1/vault` takes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Set {
    key: String,
    form: Option<String>,
    gap: Option<u32>,
    birthday: Option<Birthday>,
}

/// A height, or `now`.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Birthday {
    Height(u32),
    Word(String),
}

/// What `POST /api/v1/vault/address` takes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    deposit: Option<String>,
}

/// `GET /api/v1/vault`: `vault` is null when none is set.
pub(super) async fn show(_: MayAdmin, State(op): State<Arc<Operator>>) -> Json<Shown> {
    Json(Shown { vault: op.parts.vault.view() })
}

/// The vault, if one is set.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Vault")]
pub(super) struct Shown {
    vault: Option<VaultView>,
}

/// `PUT /api/v1/vault`.
pub(super) async fn set(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Set>, JsonRejection>,
) -> Result<Json<Shown>, Problem> {
    // What cannot be read is not said again: it may hold a key.
    let Json(set) = body.map_err(|rejection| match rejection {
        JsonRejection::JsonDataError(_) => {
            Problem::bad_request("bad_body", "It takes key, and form, gap and birthday where needed.")
        }
        other => bad_body(other),
    })?;
    let birthday = match set.birthday {
        None => None,
        Some(Birthday::Height(height)) => Some(height),
        Some(Birthday::Word(word)) => op.birthday(Some(&word)).await?,
    };
    let form = set
        .form
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|fault| vault_problem(VaultFault::Key(fault)))?;
    let ask = VaultAsk { key: set.key, form, gap: set.gap.unwrap_or(USUAL_GAP), birthday };
    let view = op.parts.vault.set(ask).await.map_err(vault_problem)?;
    Ok(Json(Shown { vault: Some(view) }))
}

/// `DELETE /api/v1/vault`.
pub(super) async fn remove(_: MaySpend, State(op): State<Arc<Operator>>) -> Result<Json<Removed>, Problem> {
    let removed = op.parts.vault.remove().await.map_err(vault_problem)?;
    Ok(Json(Removed { removed }))
}

/// Whether there was one.
#[derive(Serialize, JsonSchema)]
pub(super) struct Removed {
    removed: bool,
}

/// An address of the vault.
#[derive(Serialize, JsonSchema)]
pub(super) struct ColdAddressGiven {
    address: String,
    /// Its number in the descriptor.
    index: u32,
    /// What it was handed out for.
    deposit: String,
}

/// What happened in the vault, the newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct VaultHistory {
    transactions: Vec<VaultEntry>,
}

/// Addresses that were handed out, the newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct VaultAddresses {
    addresses: Vec<VaultAddress>,
}

/// An address that was handed out.
#[derive(Serialize, JsonSchema)]
struct VaultAddress {
    index: u32,
    address: String,
    deposit: String,
    given_at: Timestamp,
}

/// `POST /api/v1/vault/address`: a fresh one; the same again for a deposit that was named before.
pub(super) async fn address(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Option<Json<Ask>>, JsonRejection>,
) -> Result<Json<ColdAddressGiven>, Problem> {
    let deposit = body.map_err(bad_body)?.and_then(|Json(ask)| ask.deposit).unwrap_or_else(|| {
        let mut random = [0; 8];
        op.parts.entropy.fill(&mut random);
        format!("by hand {}", hex::encode(random))
    });
    let given = op.parts.vault.next_address(&deposit).await.map_err(no_address)?;
    Ok(Json(ColdAddressGiven { address: given.address, index: given.index, deposit }))
}

/// `GET /api/v1/vault/history`, the newest first.
pub(super) async fn history(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
) -> Result<Json<VaultHistory>, Problem> {
    let entries = op.parts.vault.history().map_err(vault_problem)?;
    Ok(Json(VaultHistory { transactions: entries }))
}

/// `GET /api/v1/vault/addresses`: those that were handed out, the newest first.
pub(super) async fn addresses(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
) -> Result<Json<VaultAddresses>, Problem> {
    let rows = op.parts.vault.addresses(MOST_ADDRESSES).await.map_err(vault_problem)?;
    let shown = rows.into_iter().map(|row| VaultAddress {
        index: row.index,
        address: row.address,
        deposit: row.deposit,
        given_at: row.given_at,
    });
    Ok(Json(VaultAddresses { addresses: shown.collect() }))
}

/// `POST /api/v1/vault/look`: looks at the chain now instead of at the next turn.
pub(super) async fn look(_: MayAdmin, State(op): State<Arc<Operator>>) -> Taken {
    op.parts.vault.look_now();
    Taken
}

/// `GET /api/v1/chain`.
pub(super) async fn chain(_: MayRead, State(op): State<Arc<Operator>>) -> Json<ChainView> {
    Json(op.parts.chain.chain())
}

/// What `POST /api/v1/chain/test` answers.
#[derive(Serialize, JsonSchema)]
pub(super) struct Asked {
    sources: Vec<SourceAnswer>,
}

/// `POST /api/v1/chain/test`: every source is asked now.
pub(super) async fn test_chain(_: MayAdmin, State(op): State<Arc<Operator>>) -> Json<Asked> {
    Json(Asked { sources: op.parts.chain.ask().await })
}
