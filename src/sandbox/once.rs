//! The whole loop once, each step checked and timed: 402, payment, 200, replay refused, revenue.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use super::buyer::{Buyer, Wanted};
use super::place::DemoPlace;
use crate::clock::Clock;
use crate::l402::ReceivedChallenge;
use crate::types::PaymentHash;

/// What one loop showed. Spans are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// From the start until the channel could carry payments.
    pub ready_ms: u64,
    /// The unpaid request.
    pub challenge_ms: u64,
    /// The payment, until its preimage was there.
    pub payment_ms: u64,
    /// The request with the proof.
    pub paid_request_ms: u64,
    /// From the start to the end.
    pub total_ms: u64,
    /// The price.
    pub amount_msat: u64,
    /// The payment.
    pub payment_hash: PaymentHash,
    /// Without a token.
    pub status_unpaid: u16,
    /// With it.
    pub status_paid: u16,
    /// With it again.
    pub status_replay: u16,
    /// What the admin API says was earned.
    pub revenue_msat: u64,
}

/// Runs the loop. `ready` is how long the world took to set up.
///
/// # Errors
/// When a step is not as it should be; the text says which.
pub async fn run(place: &DemoPlace, clock: &Arc<dyn Clock>, ready: Duration) -> Result<Report> {
    let buyer = Buyer::new(&place.payer, &place.payer_key)?;
    let url = format!("{}/v1/exchange-rates?base=USD&quote=EUR,JPY,GBP", place.gateway);
    let wanted = Wanted { url, body: None };
    let begun = clock.steady();

    let unpaid = buyer.ask(&wanted, None).await?;
    let challenged = clock.steady();
    ensure!(unpaid.status == 402, "the unpaid request got {} instead of 402: {}", unpaid.status, unpaid.body);
    let challenge = unpaid.challenge()?;
    let amount_msat = unpaid.body["amountMsat"].as_u64().context("the 402 names no amountMsat")?;
    let payment_hash = hash_of(&challenge)?;

    let credential = buyer.pay(&challenge).await?;
    let paid_at = clock.steady();

    let paid = buyer.ask(&wanted, Some(&credential)).await?;
    let served = clock.steady();
    ensure!(paid.status == 200, "the paid request got {} instead of 200: {}", paid.status, paid.body);
    ensure!(paid.body["rates"]["EUR"].is_string(), "the paid answer is not the data: {}", paid.body);

    let replay = buyer.ask(&wanted, Some(&credential)).await?;
    ensure!(replay.status == 402, "the spent token got {} instead of 402: {}", replay.status, replay.body);
    let fresh = hash_of(&replay.challenge()?)?;
    ensure!(fresh != payment_hash, "the spent token was offered the invoice that it had paid already");

    let revenue_msat = revenue(place).await?;
    ensure!(
        revenue_msat >= amount_msat,
        "the admin API counts {revenue_msat} msat after a sale of {amount_msat}"
    );
    let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Ok(Report {
        ready_ms: ms(ready),
        challenge_ms: ms(challenged.saturating_sub(begun)),
        payment_ms: ms(paid_at.saturating_sub(challenged)),
        paid_request_ms: ms(served.saturating_sub(paid_at)),
        total_ms: ms(ready + clock.steady().saturating_sub(begun)),
        amount_msat,
        payment_hash,
        status_unpaid: unpaid.status,
        status_paid: paid.status,
        status_replay: replay.status,
        revenue_msat,
    })
}

fn hash_of(challenge: &ReceivedChallenge) -> Result<PaymentHash> {
    Ok(challenge.identifier().context("the macaroon has no L402 identifier")?.payment_hash)
}

async fn revenue(place: &DemoPlace) -> Result<u64> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let asked = client.get(format!("{}/api/v1/status", place.admin)).bearer_auth(&place.admin_key);
    let status: Value = asked.send().await.context("the admin API does not answer")?.json().await?;
    status["revenue"]["total_msat"].as_u64().context("the admin API's status has no revenue.total_msat")
}
