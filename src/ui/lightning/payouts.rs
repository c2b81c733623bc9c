//! `/lightning/payouts`: what was earned goes to the operator's own wallet, and room to receive comes back.

use std::time::Duration;

use askama::Template;
use axum::extract::Query;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use super::{Tab, words};
use crate::store::{OperationRow, OperationState, StoreError};
use crate::types::Msat;
use crate::ui::figures::{iso, quoted, sats_exact, sats_whole, utc};
use crate::ui::form::Fields;
use crate::ui::operation::sentence;
use crate::ui::operation_line::OperationLine;
use crate::ui::question::Question;
use crate::ui::reasons::unpaid;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{fault, html, live};
use crate::upkeep::{PAY_OUT, PayoutAsk, PayoutError, PayoutPlan};
use crate::web::Problem;

const PATH: &str = "/lightning/payouts";
const FIELDS: &[&str] = &["to", "amount_sat", "max_fee_sat"];
/// Payouts shown.
const SHOWN: u32 = 50;
/// What is tried in the sandbox, at most, satoshi.
const TRIED_SAT: u64 = 1_000;
/// The answer waits for the payment's end for so long.
const WAIT: Duration = Duration::from_secs(8);

/// One payout.
struct Line {
    id: i64,
    at: String,
    at_iso: String,
    to: String,
    to_short: String,
    /// How much was asked for and what routing might cost, in satoshi as they are typed; empty where none was said.
    asked: (String, String),
    amount: String,
    fee: Option<String>,
    /// What is said in its place.
    no_fee: &'static str,
    /// Why it was not done.
    reason: Option<String>,
    state: &'static str,
    dot: &'static str,
}

#[derive(Template)]
#[template(path = "lightning/payouts.html")]
struct Page {
    shell: Shell,
    tab: Tab,
    refusal: Option<String>,
    /// After a restore, until the operator lets coins be sent again.
    parked: bool,
    /// Why the node does not run.
    away: Option<String>,
    /// Known while it does.
    spendable: Option<String>,
    to: String,
    amount_sat: String,
    max_fee_sat: String,
    /// In the sandbox: there is a customer who takes payouts.
    payer: bool,
    payouts: Vec<Line>,
}

/// Whose invoice is filled in already.
#[derive(Debug, Default, Deserialize)]
pub(super) struct To {
    #[serde(default)]
    to: String,
    /// The payout that was not done and whose payee is filled in once more: nobody else's link says whom.
    again: Option<i64>,
}

/// `GET /lightning/payouts`; with `?to=payer` to the sandbox's payer.
pub(super) async fn page(desk: Desk, Query(To { to, again }): Query<To>) -> Response {
    let mut page = match draw(&desk, None, &Fields::default()).await {
        Ok(page) => page,
        Err(error) => return fault(&error),
    };
    if to == "payer" {
        match invoice_of_payer(&desk).await {
            Ok(invoice) => page.to = invoice,
            Err(problem) => page.refusal = Some(quoted(&problem.detail)),
        }
    } else if let Some(line) = page.payouts.iter().find(|line| Some(line.id) == again) {
        page.to.clone_from(&line.to);
        page.amount_sat.clone_from(&line.asked.0);
        page.max_fee_sat.clone_from(&line.asked.1);
    }
    html(StatusCode::OK, &page)
}

/// Over half of what is spendable, and not more than somebody who tries it wants to send.
async fn invoice_of_payer(desk: &Desk) -> Result<String, Problem> {
    let spendable = desk.op.parts.node.view().await.spendable_msat;
    let amount = Msat::from_sat((spendable / 2_000).clamp(1, TRIED_SAT)).map_err(|_| Problem::internal())?;
    desk.op.payee_invoice(amount)
}

/// `POST /lightning/payouts`: asks, then pays.
pub(super) async fn pay(desk: Desk, fields: Fields) -> Response {
    let ask = match read(&fields) {
        Ok(ask) => ask,
        Err(refusal) => return shown(&desk, StatusCode::BAD_REQUEST, Some(refusal), &fields).await,
    };
    let payouts = desk.op.parts.upkeep.payouts();
    // Under a key it may be paid already, and then it can no longer be said beforehand.
    let question = match payouts.plan(&ask).await {
        Ok(plan) => question(&ask, Some(&plan), &fields),
        Err(_) if desk.was_begun(&fields).await => question(&ask, None, &fields),
        Err(error) => return refused(&desk, error, &fields).await,
    };
    let key = match question.answered(&desk, &fields).await {
        Ok(key) => key,
        Err(response) => return response,
    };
    match payouts.pay(&key, &ask, WAIT).await {
        Ok(row) => {
            let place = if row.state == OperationState::Failed { "#failed" } else { "" };
            Redirect::to(&format!("/operations/{}{place}", row.id)).into_response()
        }
        Err(error) => refused(&desk, error, &fields).await,
    }
}

fn read(fields: &Fields) -> Result<PayoutAsk, String> {
    let to = fields.optional("to").ok_or("Say who is to be paid.")?.to_owned();
    let sat = |name: &str, label: &str| {
        let sat = fields.optional_number(name, label)?;
        sat.map(Msat::from_sat).transpose().map_err(|_| format!("{label} is more than there is."))
    };
    let amount = sat("amount_sat", "The amount")?;
    Ok(PayoutAsk { to, amount, max_fee: sat("max_fee_sat", "The fee")?, why: None })
}

fn question(ask: &PayoutAsk, plan: Option<&PayoutPlan>, fields: &Fields) -> Question {
    let amount = plan.map(|plan| plan.amount).or(ask.amount);
    let mut lines = Vec::new();
    if let Some(plan) = plan {
        let most = plan.amount.checked_add(plan.max_fee).unwrap_or(Msat::MAX);
        let left = plan.spendable.checked_sub(most).unwrap_or(Msat::ZERO);
        let amount = sats_exact(plan.amount.msat());
        lines.push(format!("{amount} sat go to {}.", words::payee(&ask.to)));
        if let Some(description) = plan.description.as_deref().filter(|text| !text.trim().is_empty()) {
            lines.push(format!("The payee says that it is for: {description}"));
        }
        lines.push(format!("Routing costs {} sat at most.", sats_exact(plan.max_fee.msat())));
        lines.push(format!(
            "Of {} sat that are spendable, {} sat or more are left.",
            sats_whole(plan.spendable.msat()),
            sats_whole(left.msat())
        ));
        lines.push(format!("You can then receive about {amount} sat more."));
    }
    Question {
        section: Section::Lightning,
        above: (PATH.to_owned(), "Pay out".to_owned()),
        title: match amount {
            Some(amount) => format!("Pay out {} sat?", sats_exact(amount.msat())),
            None => "Pay out?".to_owned(),
        },
        lines,
        warning: Some("A payment that arrived cannot be taken back.".to_owned()),
        action: PATH.to_owned(),
        fields: fields.again(FIELDS),
        yes: Some("Pay out"),
        refusal: None,
    }
}

async fn refused(desk: &Desk, error: PayoutError, fields: &Fields) -> Response {
    match error {
        PayoutError::Store(StoreError::Parked) => {
            // The page says why.
            shown(desk, StatusCode::CONFLICT, Some("Nothing was paid.".to_owned()), fields).await
        }
        PayoutError::Store(error) => fault(&error),
        refusal => {
            let text = format!("Nothing was paid: {refusal}.");
            shown(desk, StatusCode::UNPROCESSABLE_ENTITY, Some(text), fields).await
        }
    }
}

async fn shown(desk: &Desk, status: StatusCode, refusal: Option<String>, fields: &Fields) -> Response {
    match draw(desk, refusal, fields).await {
        Ok(page) => html(status, &page),
        Err(error) => fault(&error),
    }
}

async fn draw(desk: &Desk, refusal: Option<String>, fields: &Fields) -> Result<Page, StoreError> {
    let parts = &desk.op.parts;
    let rows = parts.ledger.operations_of(PAY_OUT, i64::MAX, SHOWN).await?;
    let parked = parts.ledger.generation().await?.payouts_parked;
    let view = parts.node.view().await;
    let away = if view.running { None } else { Some(live::away(&desk.op).await) };
    Ok(Page {
        shell: desk.shell(Section::Lightning).await,
        tab: Tab::PayOut,
        refusal: refusal.map(|text| quoted(&text)),
        parked,
        away,
        spendable: view.running.then(|| sats_whole(view.spendable_msat)),
        to: fields.text("to").to_owned(),
        amount_sat: fields.text("amount_sat").to_owned(),
        max_fee_sat: fields.text("max_fee_sat").to_owned(),
        payer: desk.op.customer().is_some(),
        payouts: rows.iter().map(line).collect(),
    })
}

/// An amount in millisatoshi as satoshi that a form takes.
fn typed(msat: &serde_json::Value) -> String {
    msat.as_u64().map_or_else(String::new, |msat| msat.div_ceil(1_000).to_string())
}

fn line(row: &OperationRow) -> Line {
    let OperationLine { id, state, dot, .. } = OperationLine::of(row);
    let msat = |text: &serde_json::Value| text.as_u64().map(sats_exact);
    let to = row.ask["to"].as_str().unwrap_or_default();
    Line {
        id,
        at: utc(row.begun_at),
        at_iso: iso(row.begun_at),
        to_short: words::payee(to),
        to: to.to_owned(),
        asked: (typed(&row.ask["amount_msat"]), typed(&row.ask["max_fee_msat"])),
        amount: msat(&row.outcome["amount_msat"]).or(msat(&row.ask["amount_msat"])).unwrap_or_default(),
        fee: msat(&row.outcome["fee_msat"]),
        no_fee: if row.state == OperationState::Failed { "–" } else { "not known yet" },
        reason: row.outcome["reason"]
            .as_str()
            .filter(|_| row.state == OperationState::Failed)
            .map(|reason| sentence(&unpaid(reason))),
        state,
        dot,
    }
}
