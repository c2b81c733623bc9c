//! `POST /api/v1/trials`: asks the gateway as a customer would, and in the sandbox pays what it asks; there an
//! invoice of the customer's, too, for whoever tries a payout.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bad_body;
use crate::types::{Msat, PaymentHash};
use crate::web::{Answered, MayAdmin, Operator, Problem, TrialAsk};

/// What `POST /api/v1/trials` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    /// GET by default.
    method: Option<String>,
    /// Path and query, from the gateway's root.
    target: String,
    /// The `Host`, where it is not the gateway's own.
    host: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// The offer that is wanted, by its name.
    offer: Option<String>,
    /// Pay what a 402 asks, with the wallet at hand, and ask again.
    #[serde(default)]
    pay: bool,
}

/// `POST /api/v1/trials`.
pub(super) async fn make(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Trial>, JsonRejection>,
) -> Result<Json<Tried>, Problem> {
    let Json(trial) = body.map_err(bad_body)?;
    let pay = trial.pay;
    let ask = read(trial)?;
    let first = op.try_out(&ask, None).await?;
    let paid = match (pay, &first.challenge) {
        (true, Some(challenge)) => {
            let credential = op.pay_challenge(&challenge.macaroon_b64, &challenge.invoice).await?;
            Some(Reply::from(&op.try_out(&ask, Some(&credential)).await?))
        }
        _ => None,
    };
    Ok(Json(Tried { answer: Reply::from(&first), paid }))
}

/// What `POST /api/v1/trials/invoice` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InvoiceOf {
    amount_sat: u64,
}

/// An invoice of the wallet at hand.
#[derive(Serialize, JsonSchema)]
pub(super) struct PayeeInvoice {
    /// As `POST /api/v1/payouts` takes it in `to`.
    invoice: String,
    amount_sat: u64,
}

/// `POST /api/v1/trials/invoice`: somebody to pay out to.
pub(super) async fn invoice(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<InvoiceOf>, JsonRejection>,
) -> Result<Json<PayeeInvoice>, Problem> {
    let Json(InvoiceOf { amount_sat }) = body.map_err(bad_body)?;
    let amount = Msat::from_sat(amount_sat).ok().filter(|amount| *amount > Msat::ZERO);
    let amount = amount.ok_or_else(|| {
        Problem::bad_request("bad_amount", "amount_sat: at least 1, and no more than there is.")
    })?;
    op.payee_invoice(amount).map(|invoice| Json(PayeeInvoice { invoice, amount_sat }))
}

/// What the gateway answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Trial")]
pub(super) struct Tried {
    /// To the request without a credential.
    answer: Reply,
    /// To the same with one, where its 402 was paid.
    paid: Option<Reply>,
}

/// One answer of the gateway.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GatewayAnswer")]
struct Reply {
    status: u16,
    /// Names and values, in their order.
    headers: Vec<(String, String)>,
    /// Its beginning, as text.
    body: String,
    /// Bytes of the whole body.
    bytes: usize,
    payment_hash: Option<PaymentHash>,
    invoice: Option<String>,
    price_msat: Option<Msat>,
}

fn read(trial: Trial) -> Result<TrialAsk, Problem> {
    let bad = |what: &str| Problem::bad_request("bad_header", format!("headers: {what} cannot be sent."));
    let mut headers = HeaderMap::new();
    for (name, value) in &trial.headers {
        let name: HeaderName = name.parse().map_err(|_| bad(name))?;
        headers.append(&name, HeaderValue::from_str(value).map_err(|_| bad(name.as_str()))?);
    }
    let method: Method = trial
        .method
        .as_deref()
        .unwrap_or("GET")
        .parse()
        .map_err(|_| Problem::bad_request("bad_method", "method: there is no such method."))?;
    let Trial { target, host, body, offer, .. } = trial;
    Ok(TrialAsk { method, target, host, headers, body, offer })
}

impl From<&Answered> for Reply {
    fn from(answer: &Answered) -> Reply {
        let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), value.clone()));
        Reply {
            status: answer.status.as_u16(),
            headers: headers.collect(),
            body: answer.body.clone(),
            bytes: answer.bytes,
            payment_hash: answer.payment_hash(),
            invoice: answer.challenge.as_ref().map(|challenge| challenge.invoice.clone()),
            price_msat: answer.sold().map(|sold| sold.sold),
        }
    }
}
