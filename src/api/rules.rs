//! `/api/v1/rules` and `/api/v1/forecast`: what the appliance keeps up by itself, and when receivable runs
//! out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::answer::Path;
use super::payouts::Payout;
use super::{bad_body, ledger_fault};
use crate::types::Msat;
use crate::upkeep::{
    Forecast, PAY_OUT_RULE, PayOutRule, Rule, RuleRefused, RuleView, SPLICE_OUT_RULE, SpliceOutRule,
};
use crate::web::{MayRead, MaySpend, Operator, Problem};

/// `GET /api/v1/rules`.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Rules>, Problem> {
    let views = op.parts.upkeep.keeper().view().await.map_err(ledger_fault)?;
    Ok(Json(Rules { rules: views.into_iter().map(RuleNow::from).collect() }))
}

/// The rules.
#[derive(Serialize, JsonSchema)]
pub(super) struct Rules {
    rules: Vec<RuleNow>,
}

/// `PUT /api/v1/rules/{name}`: sets the rule, which is in force at once.
pub(super) async fn put(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(name): Path<String>,
    body: Result<Json<Terms>, JsonRejection>,
) -> Result<Json<RuleNow>, Problem> {
    let name = known(&name)?;
    let Json(Terms(terms)) = body.map_err(bad_body)?;
    let rule = Rule::read(name, terms)
        .map_err(|why| Problem::bad_request("bad_rule", format!("Nothing changed: {why}.")))?;
    let keeper = op.parts.upkeep.keeper();
    let warning = keeper.ask_payee(&rule).await.map_err(refused)?;
    keeper.set(name, Some(rule)).await.map_err(refused)?;
    let Json(now) = one(&op, name).await?;
    Ok(Json(RuleNow { warning, ..now }))
}

/// `DELETE /api/v1/rules/{name}`: switches it off. What is on its way is finished.
pub(super) async fn remove(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(name): Path<String>,
) -> Result<Json<RuleNow>, Problem> {
    let name = known(&name)?;
    op.parts.upkeep.keeper().set(name, None).await.map_err(refused)?;
    one(&op, name).await
}

/// `GET /api/v1/forecast`.
pub(super) async fn forecast(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Forecast>, Problem> {
    op.parts.ledger.barrier().await;
    let forecast = op.parts.upkeep.forecast().await.map_err(ledger_fault)?;
    Ok(Json(forecast))
}

async fn one(op: &Operator, name: &str) -> Result<Json<RuleNow>, Problem> {
    let views = op.parts.upkeep.keeper().view().await.map_err(ledger_fault)?;
    let found = views.into_iter().find(|view| view.name == name);
    found.map(|view| Json(view.into())).ok_or_else(Problem::internal)
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

/// The terms of a rule, which are of its name.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Terms(Value);

impl JsonSchema for Terms {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Terms".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let forms = [generator.subschema_for::<PayOutRule>(), generator.subschema_for::<SpliceOutRule>()];
        schemars::json_schema!({ "anyOf": forms })
    }
}

/// A rule, and what it does.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Rule")]
pub(super) struct RuleNow {
    name: &'static str,
    on: bool,
    /// The file sets it.
    in_file: bool,
    /// Its terms, when it is on.
    terms: Option<Value>,
    /// What it would do now, or did last.
    now: Option<Said>,
    /// Fees too: those that are not known yet as what one costs now, or at most.
    drawn_today_msat: Msat,
    /// Of a rule that was just set: that its payee's server gave no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// Its last operation of today or yesterday.
    last: Option<Last>,
}

/// A code, and the reason in numbers.
#[derive(Serialize, JsonSchema)]
struct Said {
    code: &'static str,
    why: String,
}

/// What a rule did last.
#[derive(Serialize, JsonSchema)]
struct Last {
    #[serde(flatten)]
    payout: Payout,
    /// Why it did it.
    why: Option<String>,
}

impl From<RuleView> for RuleNow {
    fn from(view: RuleView) -> RuleNow {
        RuleNow {
            name: view.name,
            on: view.terms.is_some(),
            in_file: view.in_file,
            terms: view.terms,
            now: view.said.map(|(code, why)| Said { code, why }),
            drawn_today_msat: view.drawn,
            warning: None,
            last: view.last.map(|row| {
                let why = row.ask["why"].as_str().map(str::to_owned);
                Last { payout: row.into(), why }
            }),
        }
    }
}
