//! The node and the wallet at one moment, and what an invoice says.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef};
use serde_json::{Value, json};

use super::Wallet;
use super::refusal::{Code, Refusal};
use super::shown::{msat, sat};
use crate::types::Msat;
use crate::web::Operator;

/// `GET /v1/getinfo`.
pub(super) async fn info(_: Wallet, State(op): State<Arc<Operator>>) -> Json<Value> {
    let view = op.parts.node.view().await;
    let count = |wanted: fn(&crate::ports::ChannelView) -> bool| {
        view.channels.iter().filter(|channel| wanted(channel)).count()
    };
    Json(json!({
        "identity_pubkey": view.node_id,
        "alias": "tollhouse",
        "version": concat!("tollhouse ", env!("CARGO_PKG_VERSION")),
        "num_active_channels": count(|channel| channel.usable),
        "num_inactive_channels": count(|channel| channel.ready && !channel.usable),
        "num_pending_channels": count(|channel| !channel.ready),
        "num_peers": view.peers_connected,
        "block_height": view.block_height,
        "synced_to_chain": view.running && view.synced_at.is_some(),
        "synced_to_graph": view.running,
        "chains": [{ "chain": "bitcoin", "network": if view.network == "bitcoin" { "mainnet" } else { view.network.as_str() } }],
        "uris": [],
        "features": {},
    }))
}

/// `GET /v1/balance/channels`: what this wallet may still pay today, as far as the channels carry it. What
/// else the node has is not the wallet's to see.
pub(super) async fn channel_balance(Wallet(wallet): Wallet, State(op): State<Arc<Operator>>) -> Json<Value> {
    let view = op.parts.node.view().await;
    let spendable = Msat::new(view.spendable_msat).unwrap_or(Msat::MAX);
    let amount = |amount: Msat| json!({ "sat": sat(amount), "msat": msat(amount) });
    let own = wallet.left().min(spendable);
    Json(json!({
        "balance": sat(own),
        "pending_open_balance": "0",
        "local_balance": amount(own),
        "remote_balance": amount(Msat::ZERO),
        "unsettled_local_balance": amount(wallet.reserved),
        "unsettled_remote_balance": amount(Msat::ZERO),
        "pending_open_local_balance": amount(Msat::ZERO),
        "pending_open_remote_balance": amount(Msat::ZERO),
    }))
}

/// `GET /v1/balance/blockchain`: a wallet spends no coins.
pub(super) async fn chain_balance(_: Wallet) -> Json<Value> {
    Json(json!({
        "total_balance": "0",
        "confirmed_balance": "0",
        "unconfirmed_balance": "0",
        "locked_balance": "0",
        "reserved_balance_anchor_chan": "0",
        "account_balance": {},
    }))
}

/// `GET /v1/payreq/{invoice}`.
pub(super) async fn decode(_: Wallet, Path(text): Path<String>) -> Result<Json<Value>, Refusal> {
    let invoice: Bolt11Invoice = text.trim().parse().map_err(|_| {
        Refusal::new(Code::InvalidArgument, "not_an_invoice", "This is not a valid BOLT 11 invoice.")
    })?;
    let (description, description_hash) = match invoice.description() {
        Bolt11InvoiceDescriptionRef::Direct(text) => (text.to_string(), String::new()),
        Bolt11InvoiceDescriptionRef::Hash(hash) => (String::new(), hash.0.to_string()),
    };
    let amount = Msat::new(invoice.amount_milli_satoshis().unwrap_or(0)).unwrap_or(Msat::MAX);
    let hints: Vec<Value> = invoice.route_hints().iter().map(|hint| hops(&hint.0)).collect();
    Ok(Json(json!({
        "destination": invoice.get_payee_pub_key().to_string(),
        "payment_hash": invoice.payment_hash().to_string(),
        "num_satoshis": sat(amount),
        "num_msat": msat(amount),
        "timestamp": invoice.duration_since_epoch().as_secs().to_string(),
        "expiry": invoice.expiry_time().as_secs().to_string(),
        "description": description,
        "description_hash": description_hash,
        "fallback_addr": invoice.fallback_addresses().first().map(ToString::to_string).unwrap_or_default(),
        "cltv_expiry": invoice.min_final_cltv_expiry_delta().to_string(),
        "payment_addr": BASE64_STANDARD.encode(invoice.payment_secret().0),
        "route_hints": hints,
        "features": {},
    })))
}

fn hops(hint: &[lightning_invoice::RouteHintHop]) -> Value {
    let hop = |hop: &lightning_invoice::RouteHintHop| {
        json!({
            "node_id": hop.src_node_id.to_string(),
            "chan_id": hop.short_channel_id.to_string(),
            "fee_base_msat": hop.fees.base_msat,
            "fee_proportional_millionths": hop.fees.proportional_millionths,
            "cltv_expiry_delta": hop.cltv_expiry_delta,
        })
    };
    json!({ "hop_hints": hint.iter().map(hop).collect::<Vec<_>>() })
}
