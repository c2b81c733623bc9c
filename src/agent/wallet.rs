//! The wallet that pays: a Tollhouse's admin API, which pays each payment hash once.

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::fault::{Fault, told};
use super::record::{Proof, Record};
use crate::types::Msat;

/// How long the wallet is asked to wait for a payment's end before it answers.
const WAIT: Duration = Duration::from_secs(30);
/// How long its answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the wallet says of a payment that its node never heard of.
const NEVER_SENT: &str = "never_sent";
/// What it says of one that a stop cut off: as good as certainly it was never sent.
const CUT_OFF: &str = "cut_off";

/// Who pays.
pub struct Wallet {
    url: String,
    key: Zeroizing<String>,
    http: reqwest::Client,
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wallet").field("url", &self.url).finish_non_exhaustive()
    }
}

/// How a payment stands.
pub(super) enum Payment {
    /// The wallet was never asked.
    Unknown,
    Pending,
    Failed {
        reason: String,
        sent: Sent,
    },
    Succeeded(Proof),
}

/// Whether a payment that failed reached the node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It did, and came back: another invoice may be paid.
    Returned,
    /// It did not: the same invoice may be sent once more, another must not.
    Never,
    /// Perhaps: the same, and when that invoice has expired only a person may say that another is paid.
    Perhaps,
}

#[derive(Deserialize)]
struct Told {
    status: String,
    preimage: Option<String>,
    fee_msat: Option<u64>,
    reason: Option<String>,
}

impl Wallet {
    /// The wallet at `url`, an admin API's root, which lets `key` pay.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str, key: Zeroizing<String>) -> Result<Wallet, Fault> {
        // A key to money goes to its wallet and nowhere else: no proxy, no redirect.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(PATIENCE)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| Fault::WalletUnreachable(told(error)))?;
        Ok(Wallet { url: url.trim_end_matches('/').to_owned(), key, http })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Pays, or joins the payment of this hash that is there.
    pub(super) async fn send(&self, record: &Record, max_fee: Option<Msat>) -> Result<Payment, Fault> {
        let mut ask = json!({
            "invoice": record.invoice,
            "max_amount_msat": record.price_msat,
            "wait_ms": u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX),
        });
        if let Some(fee) = max_fee {
            ask["max_fee_msat"] = fee.msat().into();
        }
        let request = self.http.post(format!("{}/api/v1/payments/send", self.url)).json(&ask);
        self.answer(request, record).await
    }

    /// Looks without paying.
    pub(super) async fn look(&self, record: &Record) -> Result<Payment, Fault> {
        let url = format!("{}/api/v1/payments/sent/{}", self.url, record.payment_hash);
        match self.answer(self.http.get(url), record).await {
            Err(Fault::PaymentRefused { code, .. }) if code == "unknown_payment" => Ok(Payment::Unknown),
            answer => answer,
        }
    }

    async fn answer(&self, request: reqwest::RequestBuilder, record: &Record) -> Result<Payment, Fault> {
        let lost = |error: reqwest::Error| match error.is_connect() {
            true => Fault::WalletAbsent(told(error)),
            false => Fault::WalletUnreachable(told(error)),
        };
        let response = request.bearer_auth(&*self.key).send().await.map_err(lost)?;
        let status = response.status();
        let text = response.bytes().await.map_err(lost)?;
        if status != StatusCode::OK {
            return Err(refusal(status, &text));
        }
        let read: Told = serde_json::from_slice(&text)
            .map_err(|_| Fault::WalletUnreachable("it does not answer as a Tollhouse does".to_owned()))?;
        match (read.status.as_str(), read.preimage) {
            ("succeeded", Some(preimage)) => {
                let proof = Proof::of(&preimage, read.fee_msat, record.payment_hash)?;
                Ok(Payment::Succeeded(proof))
            }
            ("succeeded", None) => Err(Fault::FalseProof(record.payment_hash)),
            ("failed", _) => {
                let reason = read.reason.unwrap_or_else(|| "the wallet does not say why".to_owned());
                let sent = match reason.as_str() {
                    NEVER_SENT => Sent::Never,
                    CUT_OFF => Sent::Perhaps,
                    _ => Sent::Returned,
                };
                Ok(Payment::Failed { sent, reason })
            }
            // A word that is not known is no end.
            _ => Ok(Payment::Pending),
        }
    }
}

fn refusal(status: StatusCode, text: &[u8]) -> Fault {
    let problem: Value = serde_json::from_slice(text).unwrap_or_default();
    let word = |name: &str| problem[name].as_str().map(str::to_owned);
    Fault::PaymentRefused {
        code: word("code").unwrap_or_else(|| format!("http_{}", status.as_u16())),
        detail: word("detail").unwrap_or_else(|| format!("it answers {status}")),
    }
}
