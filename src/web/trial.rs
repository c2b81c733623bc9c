//! The built-in customer: asks the gateway as anybody would, and where a wallet is at hand pays what it asks.
//!
//! The request goes over a socket to the gateway's own address, so what comes back is what a customer gets. A
//! credential lives in the answer and in the page that shows it, never in a log.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{Operator, Problem};
use crate::egress::{Call, EgressFault, Reach, Take};
use crate::l402::{self, ReceivedChallenge, Sold};
use crate::ports::{Customer, NotPaid};
use crate::types::{Msat, PaymentHash};

/// A trial takes no longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of an answer is read.
const LARGEST_ANSWER: usize = 4 * 1_024 * 1_024;
/// How much of it is shown.
const SHOWN_BYTES: usize = 64 * 1_024;

/// A request as a customer would send it.
#[derive(Clone, Debug, Default)]
pub struct TrialAsk {
    /// The method.
    pub method: Method,
    /// Path and query, from the gateway's root.
    pub target: String,
    /// The `Host`, where it is not the gateway's own.
    pub host: Option<String>,
    /// Further headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
    /// The offer that is wanted, by its name; the first by default.
    pub offer: Option<String>,
}

/// What the gateway answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// The headers, in their order; values that are no text are left out.
    pub headers: Vec<(HeaderName, String)>,
    /// The body's beginning, as text.
    pub body: String,
    /// Bytes of the whole body.
    pub bytes: usize,
    /// The L402 challenge of a 402.
    pub challenge: Option<ReceivedChallenge>,
}

impl Answered {
    /// What the challenge sells, in the gateway's words.
    pub fn sold(&self) -> Option<Sold> {
        self.challenge.as_ref().and_then(ReceivedChallenge::sold)
    }

    /// The hash that a payment of the challenge's invoice carries.
    pub fn payment_hash(&self) -> Option<PaymentHash> {
        Some(self.challenge.as_ref()?.identifier()?.payment_hash)
    }
}

impl Operator {
    /// The wallet at hand, where there is one.
    pub fn customer(&self) -> Option<&Arc<dyn Customer>> {
        self.parts.customer.as_ref()
    }

    /// Asks the gateway, with a credential or without.
    ///
    /// # Errors
    /// When the request cannot be sent, or no whole answer comes.
    pub async fn try_out(&self, ask: &TrialAsk, credential: Option<&str>) -> Result<Answered, Problem> {
        let gateway = &self.parts.config.gateway;
        if !ask.target.starts_with('/') {
            return Err(Problem::bad_request(
                "bad_target",
                "Write the path from the gateway's root, such as /v1/rates.",
            ));
        }
        let url = format!("{gateway}{}", ask.target)
            .parse()
            .map_err(|error| Problem::bad_request("bad_target", format!("The path: {error}.")))?;
        let headers = headers(ask, credential)?;
        let call = Call {
            method: ask.method.clone(),
            url,
            reach: Reach::Private,
            headers,
            body: ask.body.clone().into_bytes(),
            take: Take::Body(LARGEST_ANSWER),
            patience: PATIENCE,
        };
        let reply = self.parts.egress.call(call).await.map_err(|fault| unanswered(gateway, &fault))?;
        let challenge = reply.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let challenge = challenge
            .filter_map(|line| line.to_str().ok())
            .find_map(|line| l402::parse_challenge(line).ok())
            .filter(|_| reply.status == StatusCode::PAYMENT_REQUIRED);
        let headers = reply.headers.iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.clone(), value.to_str().ok()?.to_owned())));
        Ok(Answered {
            status: reply.status,
            headers: headers.collect(),
            bytes: reply.body.len(),
            body: String::from_utf8_lossy(&reply.body[..reply.body.len().min(SHOWN_BYTES)]).into_owned(),
            challenge,
        })
    }

    /// An invoice of the wallet at hand over `amount`, for whoever tries a payout.
    ///
    /// # Errors
    /// When there is no such wallet, or it cannot receive that.
    pub fn payee_invoice(&self, amount: Msat) -> Result<String, Problem> {
        let Some(customer) = self.customer() else {
            let detail =
                "No wallet is at hand here: there is one in `tollhouse demo` only. Pay out to one of yours.";
            return Err(Problem::new(StatusCode::CONFLICT, "no_customer", detail));
        };
        customer.invoice(amount).map_err(|why| {
            let detail = format!(
                "The demo's payer cannot receive that: {why}. What was earned can be paid out: let somebody buy first \
                 (tollhouse demo traffic)."
            );
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "cannot_receive", detail)
        })
    }

    /// Has the wallet at hand pay a challenge's invoice; gives the credential, for [`Operator::try_out`].
    ///
    /// # Errors
    /// When there is no such wallet, or no proof; the text says whether coins moved.
    pub async fn pay_challenge(&self, macaroon: &str, invoice: &str) -> Result<String, Problem> {
        let Some(customer) = self.customer() else {
            let detail = "No wallet is at hand here: there is one in `tollhouse demo` only. Pay the invoice with yours.";
            return Err(Problem::new(StatusCode::CONFLICT, "no_customer", detail));
        };
        let told = |(code, fault): (&'static str, NotPaid)| {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, format!("The demo's payer: {fault}."))
        };
        let preimage = customer.pay(invoice).await.map_err(|fault| match fault {
            NotPaid::Refused(_) => told(("not_paid", fault)),
            NotPaid::Failed(_) => told(("payment_failed", fault)),
            NotPaid::Pending => told(("payment_pending", fault)),
        })?;
        Ok(l402::authorization(macaroon, &preimage))
    }
}

fn headers(ask: &TrialAsk, credential: Option<&str>) -> Result<HeaderMap, Problem> {
    let bad =
        |what: &str| Problem::bad_request("bad_header", format!("The {what} cannot stand in a header."));
    let mut headers = ask.headers.clone();
    if let Some(host) = &ask.host {
        headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|_| bad("host"))?);
    }
    if let Some(offer) = &ask.offer {
        let wanted = HeaderValue::from_str(&format!("l402-offer={offer}")).map_err(|_| bad("offer"))?;
        headers.append("prefer", wanted);
    }
    if !ask.body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(credential) = credential {
        let mut value = HeaderValue::from_str(credential).map_err(|_| bad("credential"))?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(headers)
}

fn unanswered(gateway: &str, fault: &EgressFault) -> Problem {
    let detail = match fault {
        EgressFault::Redirected(status) => {
            format!(
                "{gateway} answers with a redirect ({status}): something else stands in front of the gateway."
            )
        }
        other => format!("The gateway at {gateway} did not answer from here: {other}."),
    };
    Problem::new(StatusCode::BAD_GATEWAY, "gateway_unanswered", detail)
}
