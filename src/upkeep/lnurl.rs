//! LNURL for paying (LUD-06): a server is asked for its terms, then for an invoice over an amount.
//!
//! What it answers is judged as a stranger's: every call through the guarded door, the invoice over exactly
//! the amount asked for, and its description hash that of the terms.

use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use url::Url;

use crate::egress::{Call, Egress, EgressFault, Reach, Take};
use crate::types::Msat;

/// The most that a server may answer: terms hold a picture sometimes.
const LARGEST_ANSWER_BYTES: usize = 256 * 1_024;
const PATIENCE: Duration = Duration::from_secs(20);
/// What is repeated of a server's own words, in characters.
const LONGEST_REASON: usize = 200;

/// Why there is no invoice.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LnurlFault {
    /// No answer.
    #[error("the payee's server: {0}")]
    Egress(#[from] EgressFault),
    /// An answer that is an error.
    #[error("the payee's server answers {0}")]
    Status(StatusCode),
    /// The server's own refusal.
    #[error("the payee's server refuses: {0}")]
    Refused(String),
    /// Not what LUD-06 says.
    #[error("the payee's server does not speak LNURL-pay: {0}")]
    Words(&'static str),
    /// The payee does not take this much, or this little.
    #[error("the payee takes {least} to {most}, not {amount}")]
    Amount {
        /// What was to be paid.
        amount: Msat,
        /// The least that it takes.
        least: Msat,
        /// The most that it takes.
        most: Msat,
    },
    /// The invoice asks for something else.
    #[error("the invoice of the payee's server is refused: {0}")]
    Invoice(&'static str),
}

impl LnurlFault {
    /// Whether it says that nobody can be paid there, and not only that nobody can now.
    pub(super) fn is_a_no(&self) -> bool {
        match self {
            LnurlFault::Refused(_) | LnurlFault::Words(_) => true,
            LnurlFault::Status(status) => {
                let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
                status.is_client_error() && !later.contains(status)
            }
            LnurlFault::Egress(fault) => {
                matches!(fault, EgressFault::BadUrl(_) | EgressFault::Forbidden { .. })
            }
            LnurlFault::Amount { .. } | LnurlFault::Invoice(_) => false,
        }
    }
}

/// A payee's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PayRequest {
    callback: Url,
    least: Msat,
    most: Msat,
    metadata: [u8; 32],
    /// What it is for, in the payee's words.
    pub(super) description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terms {
    tag: String,
    callback: String,
    min_sendable: u64,
    max_sendable: u64,
    metadata: String,
    payer_data: Option<Value>,
}

#[derive(Deserialize)]
struct Answer {
    pr: String,
}

/// Asks for the terms.
pub(super) async fn terms(egress: &Egress, url: &Url, reach: Reach) -> Result<PayRequest, LnurlFault> {
    let terms: Terms = get(egress, url.clone(), reach).await?;
    read(&terms, reach)
}

fn read(terms: &Terms, reach: Reach) -> Result<PayRequest, LnurlFault> {
    if terms.tag != "payRequest" {
        return Err(LnurlFault::Words("it is an LNURL for something else than paying"));
    }
    let callback = Url::parse(&terms.callback).map_err(|_| LnurlFault::Words("its callback is not a URL"))?;
    if callback.scheme() != "https" && reach == Reach::Public {
        return Err(LnurlFault::Words("its callback is not an https URL"));
    }
    let mandatory = |data: &Value| {
        data.as_object().is_some_and(|fields| fields.values().any(|field| field["mandatory"] == true))
    };
    if terms.payer_data.as_ref().is_some_and(mandatory) {
        return Err(LnurlFault::Words("it wants to know who pays, and we tell nobody"));
    }
    let amount = |msat| Msat::new(msat).unwrap_or(Msat::MAX);
    let (least, most) = (amount(terms.min_sendable), amount(terms.max_sendable));
    if most == Msat::ZERO || least > most {
        return Err(LnurlFault::Words("it takes no amount"));
    }
    let described: Vec<(String, Value)> = serde_json::from_str(&terms.metadata)
        .map_err(|_| LnurlFault::Words("its metadata are not a list of pairs"))?;
    let text = described.iter().find(|(kind, _)| kind == "text/plain").and_then(|(_, text)| text.as_str());
    Ok(PayRequest {
        callback,
        least,
        most,
        metadata: sha256::Hash::hash(terms.metadata.as_bytes()).to_byte_array(),
        description: text.map(clipped),
    })
}

impl PayRequest {
    /// Whether it takes this amount.
    pub(super) fn takes(&self, amount: Msat) -> Result<(), LnurlFault> {
        if (self.least..=self.most).contains(&amount) {
            return Ok(());
        }
        Err(LnurlFault::Amount { amount, least: self.least, most: self.most })
    }

    /// Asks for an invoice, and checks it against what was asked for.
    pub(super) async fn invoice(
        &self,
        egress: &Egress,
        reach: Reach,
        amount: Msat,
    ) -> Result<String, LnurlFault> {
        self.takes(amount)?;
        let mut url = self.callback.clone();
        url.query_pairs_mut().append_pair("amount", &amount.msat().to_string());
        let Answer { pr } = get(egress, url, reach).await?;
        self.check(&pr, amount)?;
        Ok(pr)
    }

    fn check(&self, bolt11: &str, amount: Msat) -> Result<(), LnurlFault> {
        let invoice: Bolt11Invoice =
            bolt11.trim().parse().map_err(|_| LnurlFault::Invoice("it is not a valid BOLT 11 invoice"))?;
        if invoice.amount_milli_satoshis() != Some(amount.msat()) {
            return Err(LnurlFault::Invoice("it asks for another amount"));
        }
        let described = match invoice.description() {
            Bolt11InvoiceDescriptionRef::Hash(hash) => hash.0.to_byte_array() == self.metadata,
            Bolt11InvoiceDescriptionRef::Direct(_) => false,
        };
        if !described {
            return Err(LnurlFault::Invoice("its description hash is not that of the payee's terms"));
        }
        Ok(())
    }
}

async fn get<T: DeserializeOwned>(egress: &Egress, url: Url, reach: Reach) -> Result<T, LnurlFault> {
    let json = HeaderValue::from_static("application/json");
    let call = Call {
        method: Method::GET,
        url,
        reach,
        headers: HeaderMap::from_iter([(header::ACCEPT, json)]),
        body: Vec::new(),
        take: Take::Body(LARGEST_ANSWER_BYTES),
        patience: PATIENCE,
    };
    let reply = egress.call(call).await?;
    let answer: Option<Value> = serde_json::from_slice(&reply.body).ok();
    // A refusal may come with any status.
    if let Some(answer) = &answer
        && answer["status"].as_str().is_some_and(|status| status.eq_ignore_ascii_case("error"))
    {
        return Err(LnurlFault::Refused(clipped(answer["reason"].as_str().unwrap_or("without a reason"))));
    }
    if reply.status != StatusCode::OK {
        return Err(LnurlFault::Status(reply.status));
    }
    let answer = answer.ok_or(LnurlFault::Words("its answer is not JSON"))?;
    serde_json::from_value(answer).map_err(|_| LnurlFault::Words("its answer lacks what LUD-06 asks for"))
}

/// A stranger's text as it may be shown and logged.
fn clipped(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};

    use super::*;

    const METADATA: &str = "[[\"text/plain\",\"coffee\\u0007\"],[\"image/png;base64\",\"x\"]]";

    fn request(change: impl FnOnce(&mut Terms)) -> Result<PayRequest, LnurlFault> {
        let mut terms = Terms {
            tag: "payRequest".to_owned(),
            callback: "https://example.com/cb?id=7".to_owned(),
            min_sendable: 1_000,
            max_sendable: 5_000,
            metadata: METADATA.to_owned(),
            payer_data: None,
        };
        change(&mut terms);
        read(&terms, Reach::Public)
    }

    fn invoice(msat: u64, metadata: &str) -> String {
        InvoiceBuilder::new(Currency::Regtest)
            .description_hash(sha256::Hash::hash(metadata.as_bytes()))
            .payment_hash(sha256::Hash::from_byte_array([1; 32]))
            .payment_secret(PaymentSecret([1; 32]))
            .duration_since_epoch(Duration::from_secs(1_800_000_000))
            .min_final_cltv_expiry_delta(42)
            .amount_milli_satoshis(msat)
            .build_signed(|message| {
                Secp256k1::new().sign_ecdsa_recoverable(message, &SecretKey::from_slice(&[42; 32]).unwrap())
            })
            .unwrap()
            .to_string()
    }

    #[test]
    fn terms_that_cannot_be_met_are_refused() {
        assert_eq!(request(|_| {}).unwrap().description.as_deref(), Some("coffee"));
        let words = |change: fn(&mut Terms)| assert!(matches!(request(change), Err(LnurlFault::Words(_))));
        words(|terms| terms.tag = "withdrawRequest".to_owned());
        words(|terms| terms.callback = "http://example.com/cb".to_owned());
        words(|terms| terms.callback = "x".to_owned());
        words(|terms| terms.max_sendable = 999);
        words(|terms| terms.metadata = "{}".to_owned());
        words(|terms| terms.payer_data = Some(serde_json::json!({ "email": { "mandatory": true } })));
        assert!(
            request(|terms| terms.payer_data = Some(serde_json::json!({ "name": { "mandatory": false } })))
                .is_ok()
        );
    }

    #[test]
    fn only_the_invoice_that_was_asked_for_is_paid() {
        let request = request(|_| {}).unwrap();
        let amount = Msat::new(2_000).unwrap();
        assert_eq!(request.check(&invoice(2_000, METADATA), amount), Ok(()));
        for bad in [invoice(2_001, METADATA), invoice(2_000, "[]"), "lnbcrt1".to_owned()] {
            assert!(matches!(request.check(&bad, amount), Err(LnurlFault::Invoice(_))), "{bad}");
        }
        assert!(
            request.takes(Msat::new(999).unwrap()).is_err()
                && request.takes(Msat::new(5_001).unwrap()).is_err()
        );
    }
}
