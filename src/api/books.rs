//! `GET /api/v1/audit` and `GET /api/v1/revenue`: the proof of the books, and what was earned when.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{bad_query, ledger_fault};
use crate::store::{AuditReport, ReceivedSum, RevenuePoint, RouteRevenue, SalesFilter, Step};
use crate::types::{Msat, Name, Timestamp};
use crate::web::{MayRead, Operator, Problem};

/// Steps that one answer has at most.
const MOST: u64 = 1_000;
/// Steps that are shown when nobody says from when.
const USUAL: u32 = 30;

/// `GET /api/v1/audit`: reads every row; on a large ledger that takes a while.
pub(super) async fn audit(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<AuditReport>, Problem> {
    op.parts.ledger.barrier().await;
    Ok(Json(op.parts.ledger.audit().await.map_err(ledger_fault)?))
}

/// Which hours.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Span {
    /// Unix milliseconds.
    from: Option<u64>,
    to: Option<u64>,
    #[serde(default)]
    by: By,
    /// Only what this service sold.
    service: Option<Name>,
    /// Only routes of this name.
    route: Option<Name>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum By {
    Hour,
    #[default]
    Day,
}

/// `GET /api/v1/revenue?from&to&by=hour|day&service&route`: the steps in which something happened, and the
/// routes' parts of the same time, in whole hours or days (UTC); both of the service and the route that are
/// named. `to` is not included; without it, the step that runs is the last.
pub(super) async fn revenue(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Span>, QueryRejection>,
) -> Result<Json<Series>, Problem> {
    let Query(span) = query.map_err(bad_query)?;
    let (by, step) = match span.by {
        By::Hour => (Step::Hour, Duration::from_secs(3_600)),
        By::Day => (Step::Day, Duration::from_secs(86_400)),
    };
    let next_hour = op.parts.clock.now().plus(Duration::from_secs(3_600));
    let to = span.to.map_or(next_hour, Timestamp::from_millis);
    let from = span.from.map_or_else(|| to.minus(step * USUAL), Timestamp::from_millis);
    if to.secs().saturating_sub(from.secs()) / step.as_secs() > MOST {
        let detail = format!("At most {MOST} steps are shown: choose a shorter time, or by=day.");
        return Err(Problem::bad_request("bad_query", detail));
    }
    let ledger = &op.parts.ledger;
    ledger.barrier().await;
    let of = SalesFilter { service: span.service, route: span.route };
    let points = ledger.revenue_series(from, to, by, of.clone()).await.map_err(ledger_fault)?;
    let routes = ledger.revenue_by_route(from, to, by, of).await.map_err(ledger_fault)?;
    let received = ledger.received_between(from, to).await.map_err(ledger_fault)?;
    let received = received.into_iter().map(Received::from).collect();
    Ok(Json(Series { from, to, points, routes, received }))
}

/// What was earned, step by step.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Revenue")]
pub(super) struct Series {
    from: Timestamp,
    to: Timestamp,
    points: Vec<RevenuePoint>,
    routes: Vec<RouteRevenue>,
    /// What came in that time for all services, by the currency whose rate was known then.
    received: Vec<Received>,
}

/// What came and is worth something in one currency, or in none that was known then.
#[derive(Serialize, JsonSchema)]
struct Received {
    /// `null` where no rate was known.
    currency: Option<String>,
    /// What it was worth as it came, in units of the currency.
    worth: Option<String>,
    payments: u64,
    received_msat: Msat,
}

impl From<ReceivedSum> for Received {
    fn from(sum: ReceivedSum) -> Received {
        Received {
            currency: sum.worth.map(|worth| worth.currency.to_string()),
            worth: sum.worth.map(|worth| worth.amount.to_string()),
            payments: sum.payments,
            received_msat: sum.received_msat,
        }
    }
}
