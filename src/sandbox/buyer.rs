//! A customer of the demo: asks, reads the challenge, pays through a node's admin API, asks again.
//!
//! Each step is a call of its own, so that `demo --once` can time and check them one by one. The client
//! that people use is `agent`: this one keeps nothing and must not be used for more than a demo.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::l402::{self, ReceivedChallenge};
use crate::types::Preimage;

const PATIENCE: Duration = Duration::from_secs(60);
/// The payer answers before that, also when the payment is still on its way.
const PAYMENT_MS: u64 = 45_000;

/// What the demo buys.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The whole address.
    pub url: String,
    /// A JSON body makes it a POST.
    pub body: Option<Value>,
}

/// A customer with a node to pay from.
pub struct Buyer {
    http: reqwest::Client,
    payer: String,
    payer_key: String,
}

/// An answer, read to its end.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body, as JSON where it is that.
    pub body: Value,
    challenge: Option<String>,
}

impl Answer {
    /// The L402 challenge that came with it.
    ///
    /// # Errors
    /// When there is none.
    pub fn challenge(&self) -> Result<ReceivedChallenge> {
        let line = self.challenge.as_deref().context("the answer carries no WWW-Authenticate line")?;
        Ok(l402::parse_challenge(line)?)
    }
}

impl Buyer {
    /// Pays through the admin API at `payer`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(payer: &str, payer_key: &str) -> Result<Buyer> {
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Buyer { http, payer: payer.to_owned(), payer_key: payer_key.to_owned() })
    }

    /// Asks, with a credential or without.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub async fn ask(&self, wanted: &Wanted, credential: Option<&str>) -> Result<Answer> {
        let request = match &wanted.body {
            Some(body) => self.http.post(&wanted.url).json(body),
            None => self.http.get(&wanted.url),
        };
        let request = match credential {
            Some(credential) => request.header(http::header::AUTHORIZATION, credential),
            None => request,
        };
        let response = request.send().await.with_context(|| format!("{} does not answer", wanted.url))?;
        let status = response.status().as_u16();
        let challenge = response.headers().get(http::header::WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|line| line.to_str().ok()).map(str::to_owned);
        let text = response.text().await.context("the answer broke off")?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body, challenge })
    }

    /// Pays the challenge's invoice and gives the credential.
    ///
    /// # Errors
    /// When the payment does not succeed.
    pub async fn pay(&self, challenge: &ReceivedChallenge) -> Result<String> {
        let ask = json!({"invoice": challenge.invoice, "wait_ms": PAYMENT_MS});
        let sent =
            self.http.post(format!("{}/api/v1/payments/send", self.payer)).bearer_auth(&self.payer_key);
        let paid: Value = sent.json(&ask).send().await.context("the payer does not answer")?.json().await?;
        let preimage = match (paid["status"].as_str(), paid["preimage"].as_str()) {
            (Some("succeeded"), Some(preimage)) => preimage,
            (Some(status), _) => {
                bail!("the payment is {status}: {}", paid["reason"].as_str().unwrap_or("no reason"))
            }
            _ => bail!("the payer refused: {}", paid["detail"].as_str().unwrap_or("no reason")),
        };
        let preimage: Preimage = preimage.parse().context("the payer's preimage")?;
        Ok(l402::authorization(&challenge.macaroon_b64, &preimage))
    }
}
