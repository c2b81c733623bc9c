//! `GET /api/v1/account`: what came and went over Lightning, and what is left of it; `revenue.csv`: its entries,
//! each with its sign, so that `amount_msat` sums to `balance_msat`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::Table;
use super::{bad_query, ledger_fault};
use crate::store::{Account, EntriesAfter, Entry};
use crate::types::Timestamp;
use crate::web::sheet::{self, Cell};
use crate::web::{MayRead, Operator, Problem};

/// Entries that are read at once, about.
const BATCH: u32 = 1_000;
const HEAD: [&str; 10] = [
    "at",
    "kind",
    "service",
    "route",
    "payment_hash",
    "amount_msat",
    "amount_sat",
    "quote",
    "rate_per_btc",
    "currency",
];

/// `GET /api/v1/account`.
pub(super) async fn read(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Account>, Problem> {
    op.parts.ledger.barrier().await;
    Ok(Json(op.parts.ledger.account().await.map_err(ledger_fault)?))
}

/// Which entries.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Span {
    /// Unix milliseconds; without it, from the beginning.
    from: Option<u64>,
    /// Unix milliseconds, not included; without it, to the end.
    to: Option<u64>,
}

/// `GET /api/v1/revenue.csv?from&to`: all entries sum to the balance, those of a time to what it changed.
pub(super) async fn table(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Span>, QueryRejection>,
) -> Result<Table, Problem> {
    let Query(Span { from, to }) = query.map_err(bad_query)?;
    let after =
        EntriesAfter::within(Timestamp::from_millis(from.unwrap_or(0)), to.map(Timestamp::from_millis));
    op.parts.ledger.barrier().await;
    let next = move |after: EntriesAfter| {
        let op = Arc::clone(&op);
        async move {
            let (entries, after) =
                op.parts.ledger.entries(after, BATCH).await.map_err(std::io::Error::other)?;
            Ok((entries.iter().map(cells).collect(), after))
        }
    };
    Ok(Table(sheet::download("revenue.csv", &HEAD, after, next)))
}

fn cells(entry: &Entry) -> Vec<Cell> {
    vec![
        Cell::Time(entry.at),
        Cell::Text(entry.kind.word().to_owned()),
        Cell::text(entry.service.as_ref()),
        Cell::text(entry.route.as_ref()),
        Cell::Text(entry.payment_hash.to_hex()),
        Cell::Number(entry.amount_msat),
        Cell::Satoshi(entry.amount_msat),
        Cell::text(entry.quote.as_ref()),
        Cell::text(entry.rate.map(|rate| rate.per_btc)),
        Cell::text(entry.rate.map(|rate| rate.currency)),
    ]
}
