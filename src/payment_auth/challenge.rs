//! What a 402 offers in this scheme.

use http::HeaderValue;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::key::{Bound, ChallengeKey};
use super::{INTENT, METHOD, base64url};
use crate::types::{Msat, PaymentHash, Timestamp};

/// One request that is for sale.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// The host that it was asked of.
    pub realm: &'a str,
    /// The price.
    pub amount: Msat,
    /// The invoice (BOLT 11).
    pub bolt11: &'a str,
    /// The invoice's payment hash.
    pub payment_hash: PaymentHash,
    /// When the invoice stops being payable.
    pub expires_at: Timestamp,
    /// What the price was changed from, at which rate, when it was.
    pub quote: Option<&'a str>,
}

/// A challenge as it stands in the 402.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    id: String,
    realm: String,
    request: String,
    expires: String,
}

/// The `request` of a charge. The fields are in the order of their names, and all text in it is ASCII
/// without controls, quotes and backslashes: written without white space this is its canonical form (RFC 8785).
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct ChargeRequest {
    /// Whole satoshi, in decimal.
    pub(super) amount: String,
    pub(super) currency: String,
    /// The seller's reference: what the price was changed from. There is none where it was not.
    #[serde(rename = "externalId", skip_serializing_if = "Option::is_none")]
    pub(super) external_id: Option<String>,
    #[serde(rename = "methodDetails")]
    pub(super) details: Details,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Details {
    pub(super) invoice: String,
    pub(super) network: String,
    #[serde(rename = "paymentHash")]
    pub(super) payment_hash: PaymentHash,
}

/// The only currency of the method.
pub(super) const CURRENCY: &str = "sat";

impl Challenge {
    /// The challenge for `charge`; `None` when the scheme cannot say it: the price is not whole satoshi,
    /// the network has no name in the draft, or the realm is no host.
    pub fn of(key: &ChallengeKey, charge: &Charge<'_>) -> Option<Challenge> {
        let sats = charge.amount.whole_sats().filter(|sats| *sats > 0)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        let realm = Some(charge.realm).filter(|realm| !realm.is_empty() && realm.bytes().all(plain))?;
        let request = ChargeRequest {
            amount: sats.to_string(),
            currency: CURRENCY.to_owned(),
            external_id: charge.quote.map(str::to_owned),
            details: Details {
                invoice: charge.bolt11.to_owned(),
                network: network(charge.bolt11)?.to_owned(),
                payment_hash: charge.payment_hash,
            },
        };
        let request = base64url::encode(&serde_json::to_vec(&request).ok()?);
        let expires = rfc3339(charge.expires_at)?;
        let bound = Bound {
            realm,
            method: METHOD,
            intent: INTENT,
            request: &request,
            expires: &expires,
            digest: "",
            opaque: "",
        };
        Some(Challenge { id: key.id(&bound), realm: realm.to_owned(), request, expires })
    }

    /// Names it; whoever pays it shows the id again.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The value of `WWW-Authenticate`.
    pub fn header_value(&self) -> HeaderValue {
        let Challenge { id, realm, request, expires } = self;
        let text = format!(
            r#"Payment id="{id}", realm="{realm}", method="{METHOD}", intent="{INTENT}", request="{request}", expires="{expires}""#
        );
        HeaderValue::try_from(text)
            .expect("base64url, a host and a time between fixed ASCII text are a header value")
    }
}

/// The draft's name of the network that an invoice is for; testnet has none.
fn network(bolt11: &str) -> Option<&'static str> {
    let networks = [("lnbcrt", "regtest"), ("lntbs", "signet"), ("lnbc", "mainnet")];
    // What follows is the amount, or the separator.
    let is = |prefix: &str| {
        bolt11.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    networks.into_iter().find(|(prefix, _)| is(prefix)).map(|(_, name)| name)
}

/// Such as `2026-03-15T12:05:00Z`, in whole seconds; `None` beyond the year 9999.
pub(super) fn rfc3339(at: Timestamp) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(at.secs()).ok()?).ok()?.format(&Rfc3339).ok()
}

/// Reads what [`rfc3339`] wrote.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp();
    u64::try_from(at).ok().map(Timestamp::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_told_by_the_invoice() {
        for (bolt11, name) in [
            ("lnbcrt100n1p", Some("regtest")),
            ("lnbc1p", Some("mainnet")),
            ("lnbc100n1p", Some("mainnet")),
            ("lntbs100n1p", Some("signet")),
            ("lntb100n1p", None),
            ("lnbcx1p", None),
            ("", None),
        ] {
            assert_eq!(network(bolt11), name, "{bolt11}");
        }
    }

    #[test]
    fn only_whole_satoshi_on_a_named_network_can_be_said() {
        let charge = |msat: u64, bolt11: &'static str, realm: &'static str| Charge {
            realm,
            amount: Msat::new(msat).unwrap(),
            bolt11,
            payment_hash: PaymentHash::from_bytes([1; 32]),
            expires_at: Timestamp::from_secs(1_773_576_300),
            quote: None,
        };
        let key = ChallengeKey::new(b"key");
        let said = |charge: &Charge<'_>| Challenge::of(&key, charge).is_some();
        assert!(said(&charge(10_000, "lnbcrt100n1p", "api.example")));
        assert!(said(&charge(10_000, "lnbcrt100n1p", "[::1]")));
        for (msat, bolt11, realm) in [
            (10_001, "lnbcrt100n1p", "api.example"),
            (999, "lnbcrt100n1p", "api.example"),
            (0, "lnbcrt100n1p", "api.example"),
            (10_000, "lntb100n1p", "api.example"),
            (10_000, "lnbcrt100n1p", ""),
            (10_000, "lnbcrt100n1p", "a|b"),
            (10_000, "lnbcrt100n1p", "a\"b"),
        ] {
            assert!(!said(&charge(msat, bolt11, realm)), "{msat} {bolt11} {realm}");
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        let at = Timestamp::from_millis(1_773_576_300_999);
        assert_eq!(rfc3339(at).as_deref(), Some("2026-03-15T12:05:00Z"));
        assert_eq!(instant("2026-03-15T12:05:00Z"), Some(Timestamp::from_secs(at.secs())));
        assert_eq!((instant("soon"), instant("1969-01-01T00:00:00Z")), (None, None));
        assert_eq!(rfc3339(Timestamp::from_millis(u64::MAX)), None);
    }
}
