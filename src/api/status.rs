//! `GET /api/v1/status`: revenue, the ledger's running sums, the node. `tollhouse audit` proves the sums
//! from the rows; this is asked too often for that.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};

use super::ledger_fault;
use crate::store::Totals;
use crate::web::{MayRead, Operator, Problem};

/// The running sums, and whether they add up.
#[derive(Serialize)]
struct Books {
    ok: bool,
    #[serde(flatten)]
    sums: Totals,
}

/// What was delivered before the question is counted in the answer.
pub(super) async fn read(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    let ledger = &op.parts.ledger;
    ledger.barrier().await;
    let now = op.parts.clock.now();
    let revenue = ledger.revenue(now).await.map_err(ledger_fault)?;
    let sums = ledger.totals().await.map_err(ledger_fault)?;
    let node = op.parts.node.view().await;
    let forecast = op.parts.upkeep.forecast().await.map_err(ledger_fault)?;
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "network": node.network,
        "locked": false,
        "time": now,
        "gateway": op.parts.config.gateway,
        "node": node,
        "inbound": { "just_in_time": op.parts.inbound.openings.as_ref().map(|openings| openings.view()) },
        "snapshot": *op.parts.snapshot.borrow(),
        "forecast": forecast,
        "revenue": {
            "today_msat": revenue.today,
            "week_msat": revenue.week,
            "total_msat": revenue.total,
            "unearned_msat": revenue.unearned,
            "received_msat": revenue.received_total,
            "lapsed_msat": revenue.lapsed,
            "opening_fees_msat": sums.opening_fees_msat,
            "overpaid_msat": revenue.overpaid,
            "surplus_msat": revenue.surplus,
            "granted_today_msat": revenue.granted_today,
            "granted_total_msat": revenue.granted_total,
            "shadow_today_msat": revenue.shadow_today,
            "shadow_calls_today": revenue.shadow_calls_today,
            "calls_today": revenue.calls_today,
            "calls_week": revenue.calls_week,
            "calls_total": revenue.calls_total,
        },
        "generation": ledger.generation().await.map_err(ledger_fault)?,
        "backups": op.parts.backups.standing().await,
        "ledger": Books { ok: sums.balanced(), sums },
    })))
}
