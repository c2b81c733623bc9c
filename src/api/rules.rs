//! `/api/v1/rules` and `/api/v1/forecast`: what the appliance keeps up by itself, and when receivable runs
//! out.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use serde_json::{Value, json};

use super::{bad_body, ledger_fault, payouts};
use crate::upkeep::{PAY_OUT_RULE, Rule, RuleRefused, RuleView, SPLICE_OUT_RULE};
use crate::web::{MayRead, MaySpend, Operator, Problem};

/// `GET /api/v1/rules`.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    let views = op.parts.upkeep.keeper().view().await.map_err(ledger_fault)?;
    Ok(Json(json!({ "rules": views.iter().map(shown).collect::<Vec<_>>() })))
}

/// `PUT /api/v1/rules/{name}`: sets the rule, which is in force at once.
pub(super) async fn put(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(name): Path<String>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let name = known(&name)?;
    let Json(terms) = body.map_err(bad_body)?;
    let rule = Rule::read(name, terms)
        .map_err(|why| Problem::bad_request("bad_rule", format!("Nothing changed: {why}.")))?;
    op.parts.upkeep.keeper().set(name, Some(rule)).await.map_err(refused)?;
    one(&op, name).await
}

/// `DELETE /api/v1/rules/{name}`: switches it off. What is on its way is finished.
pub(super) async fn remove(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let name = known(&name)?;
    op.parts.upkeep.keeper().set(name, None).await.map_err(refused)?;
    one(&op, name).await
}

/// `GET /api/v1/forecast`.
pub(super) async fn forecast(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    op.parts.ledger.barrier().await;
    let forecast = op.parts.upkeep.forecast().await.map_err(ledger_fault)?;
    Ok(Json(json!(forecast)))
}

async fn one(op: &Operator, name: &str) -> Result<Json<Value>, Problem> {
    let views = op.parts.upkeep.keeper().view().await.map_err(ledger_fault)?;
    Ok(Json(views.iter().find(|view| view.name == name).map_or(Value::Null, shown)))
}

fn known(name: &str) -> Result<&'static str, Problem> {
    let unknown =
        || Problem::new(StatusCode::NOT_FOUND, "unknown_rule", "The rules are pay_out and splice_out.");
    [PAY_OUT_RULE, SPLICE_OUT_RULE].into_iter().find(|known| *known == name).ok_or_else(unknown)
}

fn refused(refusal: RuleRefused) -> Problem {
    match refusal {
        RuleRefused::Store(error) => ledger_fault(error),
        RuleRefused::InFile => {
            Problem::new(StatusCode::CONFLICT, "rule_in_file", format!("Nothing changed: {refusal}."))
        }
        RuleRefused::Senseless(_) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_rule", format!("Nothing changed: {refusal}."))
        }
    }
}

fn shown(view: &RuleView) -> Value {
    json!({
        "name": view.name,
        "on": view.terms.is_some(),
        "in_file": view.in_file,
        "terms": view.terms,
        "now": view.said.as_ref().map(|(code, why)| json!({ "code": code, "why": why })),
        "drawn_today_msat": view.drawn,
        "last": view.last.as_ref().map(|row| {
            let mut last = payouts::shown(row);
            last["why"] = row.ask["why"].clone();
            last
        }),
    })
}
