//! `GET /api/v1/status`: revenue, the ledger's sums, the node.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::ledger_fault;
use crate::web::{MayRead, Operator, Problem};

/// What was delivered before the question is counted in the answer.
pub(super) async fn read(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    let ledger = &op.parts.ledger;
    ledger.barrier().await;
    let now = op.parts.clock.now();
    let revenue = ledger.revenue(now).await.map_err(ledger_fault)?;
    let audit = ledger.audit().await.map_err(ledger_fault)?;
    let node = op.parts.node.view().await;
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "network": node.network,
        "time": now,
        "gateway": op.parts.config.gateway,
        "node": node,
        "revenue": {
            "today_msat": revenue.today,
            "week_msat": revenue.week,
            "total_msat": revenue.total,
            "unearned_msat": revenue.unearned,
            "received_msat": revenue.received_total,
            "calls_today": revenue.calls_today,
            "calls_week": revenue.calls_week,
            "calls_total": revenue.calls_total,
        },
        "ledger": audit,
    })))
}
