//! A service as an operator writes it: in TOML, in JSON, and as the ledger keeps it.
//!
//! [`Spec::read`] takes its shape from a document, with everything that is wrong with it;
//! [`Spec::compile`] makes the [`Service`](super::Service) that is sold, or refuses what cannot work.
//! A spec is text as it was written, in one order of settings; what it leaves out has its default.
//!
//! Invariants: a spec that compiles can be sold; the values of `upstream_headers` are shown to nobody
//! ([`Spec::redacted`]), for they may be keys.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod bargain;
mod compile;
mod fields;
mod offers;
mod price;
mod read;
mod samples;
mod terms;
pub mod words;
mod write;

pub use compile::{Lookup, clash};
pub use words::{Wrong, nearest};

/// One thing that is wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpecFault {
    /// The setting, such as `route[0].price`.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

impl SpecFault {
    /// `wrong` with `field`.
    pub fn new(field: impl Into<String>, wrong: Wrong) -> SpecFault {
        SpecFault { field: field.into(), what: wrong.what, help: wrong.help }
    }
}

impl fmt::Display for SpecFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SpecFault { field, what, help } = self;
        let colon = if field.is_empty() { "" } else { ": " };
        write!(f, "{field}{colon}{what}")?;
        if help.is_empty() { Ok(()) } else { write!(f, " ({help})") }
    }
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Spec {
    /// Its name, as in tokens and reports.
    pub name: String,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `on`, `off` or `shadow`; on by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The host that it answers to; any by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path prefix that it answers to; all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where paid requests go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// What is taken off the request's path first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<String>,
    /// The `Host` that the upstream gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_host: Option<String>,
    /// Headers that the upstream gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub upstream_headers: BTreeMap<String, HeaderSpec>,
    /// How long the upstream is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutsSpec>,
    /// The path of an OpenAPI document at the upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openapi: Option<String>,
    /// In which dialects the 402 says the price; `l402` and `payment` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialects: Option<Vec<String>>,
    /// Whether a browser is let in once its payment arrived; false by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_unlock: Option<bool>,
    /// The terms where no route says otherwise.
    #[serde(flatten)]
    pub terms: TermsSpec,
    /// Exchanges that formulas are tried on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<SampleSpec>,
    /// Requests with terms of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<RouteSpec>,
}

/// How long the upstream is waited for, each such as `90s`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct TimeoutsSpec {
    /// For a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
    /// For an answer's head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// For more of an answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
}

/// Some of a service's requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct RouteSpec {
    /// Its name; by default made of method and path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it does, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The method; any by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// `/v1/health`, `/v1/users/{id}/posts` or `/v1/files/*`, as the client sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What differs from the service's terms.
    #[serde(flatten)]
    pub terms: TermsSpec,
}

/// On what terms something is sold. What a route leaves out it has from its service; `price`,
/// `tiers`, `per`, `ceiling` and `fallback` come together, from the one or the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct TermsSpec {
    /// The price of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceSpec>,
    /// Instead of a price: volume tiers, by requests or by bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Vec<TierSpec>>,
    /// Of which amount of bytes the tiers' prices are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// The most that a request by tiers of bytes costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<String>,
    /// The price in bitcoin when the rule gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// What a buyer may choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offers: Option<Vec<OfferSpec>>,
    /// Requests that cost nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<FreeSpec>,
    /// Statuses that give the unit back, such as `5xx` and `404`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_on: Option<Vec<String>>,
    /// How long an invoice may be paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice_expiry: Option<String>,
    /// How long a token lives after its invoice's expiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_life: Option<String>,
}

/// What a request costs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PriceSpec {
    /// `50 sat`, `250 msat`, `0.002 USD` or `free`.
    Text(String),
    /// An expression in CEL that gives millisatoshi.
    Formula {
        /// The expression.
        formula: String,
        /// The most that a request costs.
        #[serde(skip_serializing_if = "Option::is_none")]
        ceiling: Option<String>,
        /// The price when the formula gives none.
        #[serde(skip_serializing_if = "Option::is_none")]
        fallback: Option<String>,
        /// What a result of zero is: `refuse` (the default) or `allow`.
        #[serde(skip_serializing_if = "Option::is_none")]
        zero: Option<String>,
    },
}

/// One tier.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TierSpec {
    /// Up to how much of use it reaches; the last tier has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to: Option<UpTo>,
    /// The price in it.
    pub price: String,
}

/// The end of a tier.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum UpTo {
    /// So many requests.
    Requests(u64),
    /// So many bytes, such as `10 MB`.
    Bytes(String),
}

/// One thing that a buyer may choose.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OfferSpec {
    /// `request`.
    Word(String),
    /// A pack, a pass or a balance: exactly one of the three.
    Sold {
        /// A pack of so many requests.
        #[serde(skip_serializing_if = "Option::is_none")]
        pack: Option<u64>,
        /// A pass for so long, such as `1 day`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pass: Option<String>,
        /// A balance of so much.
        #[serde(skip_serializing_if = "Option::is_none")]
        balance: Option<String>,
        /// What it costs.
        #[serde(skip_serializing_if = "Option::is_none")]
        price: Option<String>,
        /// What the buyer asks for.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
}

/// Requests that cost nothing.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct FreeSpec {
    /// How many; 0 is none, for a route that is not to have its service's.
    pub requests: u64,
    /// In which time, such as `day` or `1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// For each `ip` (the default) or for `everyone` together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One exchange that formulas are tried on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct SampleSpec {
    /// The method; GET by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path and query.
    pub path: String,
    /// The request's headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The answer's status; 200 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The answer's headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answer_headers: BTreeMap<String, String>,
    /// The answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
}

/// The value of a header that the upstream gets.
#[derive(Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum HeaderSpec {
    /// As it stands.
    Literal(String),
    /// From the environment of the appliance.
    Env {
        /// The variable.
        env: String,
        /// What is put before it.
        #[serde(skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
    },
    /// A literal that is not shown: whoever writes this back keeps what is stored.
    Redacted {
        /// Always true.
        redacted: bool,
    },
}

impl fmt::Debug for HeaderSpec {
    /// Leaves a literal out: it may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderSpec::Literal(_) | HeaderSpec::Redacted { .. } => f.write_str("Redacted"),
            HeaderSpec::Env { env, .. } => write!(f, "Env({env})"),
        }
    }
}

impl Spec {
    /// The same without what may be a key: for events, answers and screens.
    #[must_use]
    pub fn redacted(&self) -> Spec {
        let mut shown = self.clone();
        for value in shown.upstream_headers.values_mut() {
            if matches!(value, HeaderSpec::Literal(_)) {
                *value = HeaderSpec::Redacted { redacted: true };
            }
        }
        shown
    }

    /// Puts back what [`Spec::redacted`] took out, from what is stored.
    #[must_use]
    pub fn with_secrets_of(mut self, stored: Option<&Spec>) -> Spec {
        for (name, value) in &mut self.upstream_headers {
            let kept = || {
                let headers = &stored?.upstream_headers;
                headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
            };
            if matches!(value, HeaderSpec::Redacted { .. })
                && let Some(kept) = kept()
            {
                *value = kept;
            }
        }
        self
    }

    /// What is allowed and has a risk that its operator should know.
    pub fn doubts(&self) -> Vec<SpecFault> {
        let unlock = self.browser_unlock == Some(true);
        let what = "a browser is let in once its invoice is paid, whoever paid it: someone who is tricked into \
                    paying a stranger's invoice pays for that stranger";
        let help = "Leave it out unless your customers' wallets show no preimage.";
        let unlock = unlock.then(|| SpecFault::new("browser_unlock", Wrong::new(what, help)));
        unlock.into_iter().chain(bargain::doubts(self)).collect()
    }

    /// Those of them that are about what is sold, which a person is told before it is saved.
    pub fn price_doubts(&self) -> Vec<SpecFault> {
        bargain::doubts(self)
    }

    /// The one JSON form: settings in one order, what is left out left out.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a spec is text, numbers and lists of them")
    }
}

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Spec, D::Error> {
        let (spec, faults) = Spec::read(&Value::deserialize(deserializer)?);
        match faults.first() {
            None => Ok(spec),
            Some(fault) => Err(serde::de::Error::custom(fault)),
        }
    }
}

#[cfg(test)]
mod tests;
