//! `GET /api/v1/status`: revenue, the ledger's running sums, the node. `tollhouse audit` proves the sums
//! from the rows; this is asked too often for that.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::ledger_fault;
use crate::backup;
use crate::inbound::OpeningsView;
use crate::ports::NodeView;
use crate::rescue;
use crate::store::{Generation, Totals};
use crate::types::{Msat, Timestamp};
use crate::upkeep::Forecast;
use crate::web::{MayRead, Operator, Problem};

/// The running sums, and whether they add up.
#[derive(Serialize, JsonSchema)]
struct Books {
    ok: bool,
    #[serde(flatten)]
    sums: Totals,
}

/// What was delivered before the question is counted in the answer.
pub(super) async fn read(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Status>, Problem> {
    let ledger = &op.parts.ledger;
    ledger.barrier().await;
    let now = op.parts.clock.now();
    let revenue = ledger.revenue(now).await.map_err(ledger_fault)?;
    let sums = ledger.totals().await.map_err(ledger_fault)?;
    let node = op.parts.treasury.node().await;
    let snapshot = op.parts.snapshot.borrow().clone();
    let forecast = op.parts.upkeep.forecast().await.map_err(ledger_fault)?;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        network: node.network.clone(),
        locked: false,
        time: now,
        gateway: op.parts.config.gateway.clone(),
        node,
        inbound: Inbound { just_in_time: op.parts.inbound.openings.as_ref().map(|openings| openings.view()) },
        snapshot,
        forecast,
        revenue: Earned {
            today_msat: revenue.today,
            week_msat: revenue.week,
            month_msat: revenue.month,
            total_msat: revenue.total,
            unearned_msat: revenue.unearned,
            received_msat: revenue.received_total,
            lapsed_msat: revenue.lapsed,
            opening_fees_msat: sums.opening_fees_msat,
            overpaid_msat: revenue.overpaid,
            surplus_msat: revenue.surplus,
            granted_today_msat: revenue.granted_today,
            granted_total_msat: revenue.granted_total,
            shadow_today_msat: revenue.shadow_today,
            shadow_calls_today: revenue.shadow_calls_today,
            calls_today: revenue.calls_today,
            calls_week: revenue.calls_week,
            calls_month: revenue.calls_month,
            demands_month: revenue.demands_month,
            sales_month: revenue.sales_month,
            restored_month: revenue.restored_month,
            calls_total: revenue.calls_total,
        },
        generation: ledger.generation().await.map_err(ledger_fault)?,
        backups: op.parts.backups.standing().await,
        ledger: Books { ok: sums.balanced(), sums },
    }))
}

/// How the appliance stands.
#[derive(Serialize, JsonSchema)]
pub(super) struct Status {
    version: &'static str,
    network: String,
    /// A locked one says no more than its version, its network and this.
    locked: bool,
    time: Timestamp,
    /// How buyers reach the gateway.
    gateway: String,
    node: NodeView,
    inbound: Inbound,
    /// How the way back to the channels' coins stands.
    snapshot: rescue::Standing,
    forecast: Forecast,
    revenue: Earned,
    /// The ledger's life.
    generation: Generation,
    backups: backup::Standing,
    ledger: Books,
}

/// Channels that are opened for a payment.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InboundInShort")]
struct Inbound {
    just_in_time: Option<OpeningsView>,
}

/// What was earned and what is owed for it.
#[derive(Serialize, JsonSchema)]
struct Earned {
    today_msat: Msat,
    week_msat: Msat,
    /// In thirty days, today included.
    month_msat: Msat,
    total_msat: Msat,
    /// Received, and not used yet.
    unearned_msat: Msat,
    received_msat: Msat,
    /// What ran out unused.
    lapsed_msat: Msat,
    opening_fees_msat: i64,
    overpaid_msat: Msat,
    surplus_msat: Msat,
    granted_today_msat: Msat,
    granted_total_msat: Msat,
    shadow_today_msat: Msat,
    shadow_calls_today: u64,
    calls_today: u64,
    calls_week: u64,
    calls_month: u64,
    /// Payments that were demanded in thirty days; counted up to a minute late.
    demands_month: u64,
    /// Payments that came in them.
    sales_month: u64,
    /// Requests whose unit went back in them.
    restored_month: u64,
    calls_total: u64,
}
