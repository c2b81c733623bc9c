//! The first payment: the request as a customer makes it, the 402, the payment, the answer.

use askama::Template;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::store::StoreError;
use crate::types::PaymentHash;
use crate::ui::figures::{sats_exact, shortened};
use crate::ui::form::Fields;
use crate::ui::payment_line::PaymentLine;
use crate::ui::room::opening;
use crate::ui::services::saving::{Silent, silent};
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{entry, fault, html};
use crate::web::{Answered, Problem, Sample, TrialAsk};

/// How much of an answer is shown, in characters.
const SHOWN: usize = 1_200;

/// What is said of a purchase that was asked for before.
const AGAIN: &str = "This page was loaded again. It was bought once, and nothing more was paid: what arrived stands \
                     below.";

/// One thing that happened, in its order.
struct Event {
    title: String,
    text: String,
    /// An invoice to pay, or the beginning of an answer.
    code: Option<String>,
    /// The payment's page.
    href: Option<String>,
    good: bool,
}

#[derive(Template)]
#[template(path = "start/payment.html")]
struct Page {
    shell: Shell,
    said: Option<&'static str>,
    silent: Vec<Silent>,
    services: Vec<(String, bool)>,
    sample: Option<Sample>,
    /// A channel has room for a payment, or one is opened for it.
    receives: bool,
    can_pay: bool,
    /// Under which it is bought once, however often the page that tells of it is loaded.
    key: String,
    events: Vec<Event>,
    /// It was paid for and answered: this was the last step.
    ended: bool,
    seen: Seen,
}

/// What came of what was asked for.
#[derive(Default)]
struct Outcome {
    said: Option<&'static str>,
    silent: Vec<Silent>,
    events: Vec<Event>,
    ended: bool,
}

/// The payments that arrived.
#[derive(Template)]
#[template(path = "start/seen.html")]
struct Seen {
    payments: Vec<PaymentLine>,
}

impl Seen {
    async fn read(desk: &Desk) -> Result<Seen, StoreError> {
        desk.op.parts.ledger.barrier().await;
        let rows = desk.op.parts.ledger.payments(3, None).await?;
        Ok(Seen { payments: rows.iter().map(PaymentLine::of).collect() })
    }
}

/// What the page is asked for.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct Asked {
    service: Option<String>,
    said: Option<String>,
    silent: Option<String>,
}

/// `GET /start/payment?service`.
pub(in crate::ui) async fn page(desk: Desk, query: Result<Query<Asked>, QueryRejection>) -> Response {
    let Ok(Query(asked)) = query else { return entry::incomplete() };
    let said = (asked.said.as_deref() == Some("on_sale")).then_some("It is on sale.");
    let outcome = Outcome { said, silent: silent(&desk, asked.silent.as_deref()), ..Outcome::default() };
    shown(&desk, asked.service.as_deref(), outcome).await
}

/// `GET /start/payment/seen`: the part that waits for a payment.
pub(in crate::ui) async fn seen(desk: Desk) -> Response {
    match Seen::read(&desk).await {
        Ok(seen) => html(StatusCode::OK, &seen),
        Err(error) => fault(&error),
    }
}

/// `POST /start/payment`: asks the gateway like a customer, and where a wallet is at hand pays and asks again.
pub(in crate::ui) async fn buy(desk: Desk, fields: Fields) -> Response {
    let service = fields.optional("service");
    let Some(sample) = desk.op.sample(service) else {
        return shown(&desk, None, Outcome::default()).await;
    };
    // A page that is loaded again sends its form again. What only asks may do so; what pays may not.
    let again = fields.optional("key").is_some_and(|key| !desk.op.first_time(key));
    if again && desk.op.customer().is_some() {
        let outcome = Outcome { said: Some(AGAIN), ..Outcome::default() };
        return shown(&desk, Some(&sample.service), outcome).await;
    }
    let mut events = Vec::new();
    let ended = match bought(&desk, &sample, &mut events).await {
        Ok(ended) => ended,
        Err(problem) => {
            let title = "It ended here".to_owned();
            events.push(Event { title, text: problem.detail, code: None, href: None, good: false });
            false
        }
    };
    shown(&desk, Some(&sample.service), Outcome { events, ended, ..Outcome::default() }).await
}

/// What a customer does, one step after the other; whether it ended with the answer.
async fn bought(desk: &Desk, sample: &Sample, events: &mut Vec<Event>) -> Result<bool, Problem> {
    let ask = TrialAsk {
        method: Method::GET,
        target: sample.path.clone(),
        host: sample.host.clone(),
        ..TrialAsk::default()
    };
    let first = desk.op.try_out(&ask, None).await?;
    let (Some(challenge), Some(sold)) = (&first.challenge, first.sold()) else {
        events.push(Event {
            title: "Asked without a payment".to_owned(),
            text: unasked(&first),
            code: Some(cut(&first.body)),
            href: None,
            good: false,
        });
        return Ok(false);
    };
    let price = sats_exact(sold.sold.msat());
    events.push(Event {
        title: format!("Asked without a payment: {}", first.status),
        text: format!("The gateway wants {price} sat, and sent an invoice and a token along."),
        code: Some(challenge.invoice.clone()),
        href: None,
        good: true,
    });
    if desk.op.customer().is_none() {
        return Ok(false);
    }
    let credential = desk.op.pay_challenge(&challenge.macaroon_b64, &challenge.invoice).await?;
    let hash = first.payment_hash();
    events.push(Event {
        title: format!("Paid {price} sat"),
        text: match hash {
            Some(hash) => format!(
                "The payer’s wallet has the proof of payment {}.",
                shortened(&PaymentHash::to_hex(&hash))
            ),
            None => "The payer’s wallet has the proof.".to_owned(),
        },
        code: None,
        href: hash.map(|hash| format!("/payments/{}", hash.to_hex())),
        good: true,
    });
    let second = desk.op.try_out(&ask, Some(&credential)).await?;
    let good = second.status.is_success();
    events.push(Event {
        title: format!("Asked again with token and proof: {}", second.status),
        text: match good {
            true => "That is the answer of your API. The sats are earned.".to_owned(),
            false => {
                "Your API did not give an answer that counts. A failure of it costs the customer nothing: the \
                      token is good for another try."
                    .to_owned()
            }
        },
        code: Some(cut(&second.body)),
        href: None,
        good,
    });
    Ok(good)
}

/// Why there was no 402 that could be paid.
fn unasked(answered: &Answered) -> String {
    match answered.status {
        status if status.is_success() => {
            format!("The gateway answered {status} at once: this request costs nothing.")
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            "The gateway cannot sell now: the node is not up, or nothing can be received. Nothing was paid."
                .to_owned()
        }
        status => format!("The gateway answered {status} instead of 402. Nothing was paid."),
    }
}

fn cut(body: &str) -> String {
    match body.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &body[..end]),
        None => body.to_owned(),
    }
}

async fn shown(desk: &Desk, service: Option<&str>, outcome: Outcome) -> Response {
    let seen = match Seen::read(desk).await {
        Ok(seen) => seen,
        Err(error) => return fault(&error),
    };
    let op = &desk.op;
    let sample = op.sample(service).or_else(|| op.sample(None));
    let stock = op.parts.storefront.stock();
    let chosen = |name: &str| sample.as_ref().is_some_and(|sample| sample.service == name);
    let mut services: Vec<(String, bool)> = stock
        .iter()
        .filter(|own| op.sample(Some(own.name.as_str())).is_some())
        .map(|own| (own.name.to_string(), chosen(own.name.as_str())))
        .collect();
    if services.len() < 2 {
        services.clear();
    }
    let can_pay = op.customer().is_some();
    let receives = op.parts.node.view().await.receivable_msat >= 1_000 || opening(op).is_some();
    let shell = desk.shell(Section::Home).await;
    let Outcome { said, silent, events, ended } = outcome;
    let key = op.fresh_key();
    let page = Page { shell, said, silent, services, sample, receives, can_pay, key, events, ended, seen };
    html(StatusCode::OK, &page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_is_cut_at_a_character() {
        let long = "ä".repeat(SHOWN + 5);
        assert_eq!(cut(&long).chars().count(), SHOWN + 1);
        assert_eq!(cut("short"), "short");
    }
}
