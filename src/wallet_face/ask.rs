//! What clients send: JSON in protobuf's mapping, names in snake or camel case, whole numbers as numbers
//! or texts. Fields that do not change what is paid are let pass unread.

use serde::{Deserialize, Deserializer};

use super::refusal::{Code, Refusal};
use crate::types::Msat;

/// How long a payment is waited for when the client does not say, as LND has it, seconds.
const USUAL_WAIT_SECS: u32 = 60;
/// And at the most, seconds.
const LONGEST_WAIT_SECS: u32 = 300;
/// What routing may cost when the client does not say: a twentieth, but at least this, satoshi.
const SMALL_FEE_SAT: u64 = 50;

/// A whole number as protobuf's JSON writes it: `5` or `"5"`.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Bare(i64),
        Text(String),
        Nothing(()),
    }
    Ok(match Number::deserialize(deserializer)? {
        Number::Bare(number) => Some(number),
        Number::Text(text) => Some(text.parse().map_err(serde::de::Error::custom)?),
        Number::Nothing(()) => None,
    })
}

/// The body of `/v2/router/send`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Send {
    #[serde(alias = "paymentRequest")]
    payment_request: String,
    #[serde(alias = "timeoutSeconds", deserialize_with = "whole")]
    timeout_seconds: Option<i64>,
    #[serde(alias = "feeLimitSat", deserialize_with = "whole")]
    fee_limit_sat: Option<i64>,
    #[serde(alias = "feeLimitMsat", deserialize_with = "whole")]
    fee_limit_msat: Option<i64>,
    #[serde(alias = "noInflightUpdates")]
    pub(super) no_inflight_updates: Option<bool>,
    #[serde(deserialize_with = "whole")]
    amt: Option<i64>,
    #[serde(alias = "amtMsat", deserialize_with = "whole")]
    amt_msat: Option<i64>,
    amp: bool,
}

/// The body of `/v1/channels/transactions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SendSync {
    #[serde(alias = "paymentRequest")]
    payment_request: String,
    #[serde(alias = "feeLimit")]
    fee_limit: Option<FeeLimit>,
    #[serde(deserialize_with = "whole")]
    amt: Option<i64>,
    #[serde(alias = "amtMsat", deserialize_with = "whole")]
    amt_msat: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FeeLimit {
    #[serde(deserialize_with = "whole")]
    fixed: Option<i64>,
    #[serde(alias = "fixedMsat", deserialize_with = "whole")]
    fixed_msat: Option<i64>,
    #[serde(deserialize_with = "whole")]
    percent: Option<i64>,
}

/// What is to be paid.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) bolt11: String,
    pub(super) max_fee: Fee,
    /// How long its end is waited for.
    pub(super) wait_secs: u32,
}

/// What routing may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fee {
    AtMost(Msat),
    /// Of the invoice's amount.
    Percent(u64),
    Usual,
}

impl Fee {
    /// The limit for an invoice over `amount`.
    pub(super) fn for_amount(self, amount: Msat) -> Msat {
        let share = |percent: u64| {
            let msat = u128::from(amount.msat()) * u128::from(percent) / 100;
            u64::try_from(msat).ok().and_then(|msat| Msat::new(msat).ok()).unwrap_or(Msat::MAX)
        };
        match self {
            Fee::AtMost(limit) => limit,
            Fee::Percent(percent) => share(percent),
            Fee::Usual => share(5).max(Msat::from_sat(SMALL_FEE_SAT).unwrap_or(Msat::ZERO)),
        }
    }
}

/// Reads a body; an unknown `Content-Type` is no matter, as with LND.
pub(super) fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::new(Code::InvalidArgument, "bad_body", format!("The body: {error}.")))
}

impl Send {
    pub(super) fn wanted(self) -> Result<Wanted, Refusal> {
        if self.amp {
            return Err(bad("AMP is not offered."));
        }
        let max_fee = fee(self.fee_limit_sat, self.fee_limit_msat)?.unwrap_or(Fee::Usual);
        let wait_secs = match self.timeout_seconds {
            None | Some(0) => USUAL_WAIT_SECS,
            Some(secs) => u32::try_from(secs).map_err(|_| bad("timeout_seconds is out of range."))?,
        };
        let bolt11 = invoice(self.payment_request, self.amt, self.amt_msat)?;
        Ok(Wanted { bolt11, max_fee, wait_secs: wait_secs.min(LONGEST_WAIT_SECS) })
    }
}

impl SendSync {
    pub(super) fn wanted(self) -> Result<Wanted, Refusal> {
        let limit = self.fee_limit.unwrap_or_default();
        let percent = limit.percent.map(|percent| u64::try_from(percent).map(Fee::Percent));
        let percent = percent.transpose().map_err(|_| bad("A fee limit is below zero."))?;
        let max_fee = fee(limit.fixed, limit.fixed_msat)?.or(percent).unwrap_or(Fee::Usual);
        let bolt11 = invoice(self.payment_request, self.amt, self.amt_msat)?;
        Ok(Wanted { bolt11, max_fee, wait_secs: USUAL_WAIT_SECS })
    }
}

fn bad(detail: &str) -> Refusal {
    Refusal::new(Code::InvalidArgument, "bad_body", detail)
}

/// Only invoices are paid, and what they ask for.
fn invoice(bolt11: String, amt: Option<i64>, amt_msat: Option<i64>) -> Result<String, Refusal> {
    if bolt11.trim().is_empty() {
        return Err(bad("payment_request is missing: only invoices are paid here."));
    }
    if amt.or(amt_msat).is_some_and(|amount| amount != 0) {
        return Err(bad("The amount is the invoice's: send none."));
    }
    Ok(bolt11)
}

/// LND lets a client set one of the two. More than there is, such as the largest number, is no limit.
fn fee(sat: Option<i64>, msat: Option<i64>) -> Result<Option<Fee>, Refusal> {
    let limit = match (sat, msat) {
        (Some(sat), None | Some(0)) => u64::try_from(sat).map(Msat::from_sat),
        (None | Some(0), Some(msat)) => u64::try_from(msat).map(Msat::new),
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(bad("There are two fee limits.")),
    };
    let limit = limit.map_err(|_| bad("A fee limit is below zero."))?;
    Ok(Some(Fee::AtMost(limit.unwrap_or(Msat::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msat(amount: u64) -> Msat {
        Msat::new(amount).unwrap()
    }

    #[test]
    fn what_clients_send_is_read_in_each_of_their_spellings() {
        for (body, fee, wait) in [
            (
                r#"{"payment_request":"ln","timeout_seconds":60,"fee_limit_sat":100}"#,
                Fee::AtMost(msat(100_000)),
                60,
            ),
            (r#"{"payment_request":"ln","timeout_seconds":30}"#, Fee::Usual, 30),
            (
                r#"{"paymentRequest":"ln","feeLimitMsat":"7","allow_self_payment":true}"#,
                Fee::AtMost(msat(7)),
                60,
            ),
            (r#"{"payment_request":"ln","fee_limit_sat":"0","amt":"0"}"#, Fee::AtMost(Msat::ZERO), 60),
            (r#"{"payment_request":"ln","fee_limit_sat":9223372036854775807}"#, Fee::AtMost(Msat::MAX), 60),
            (r#"{"payment_request":"ln","fee_limit_sat":null,"timeout_seconds":999999}"#, Fee::Usual, 300),
        ] {
            let wanted = read::<Send>(body.as_bytes()).unwrap().wanted().unwrap();
            assert_eq!(
                (wanted.bolt11.as_str(), wanted.max_fee, wanted.wait_secs),
                ("ln", fee, wait),
                "{body}"
            );
        }
        for (body, fee) in [
            (r#"{"payment_request":"ln"}"#, Fee::Usual),
            (r#"{"payment_request":"ln","fee_limit":{"fixed":"2"}}"#, Fee::AtMost(msat(2_000))),
            (r#"{"payment_request":"ln","feeLimit":{"fixedMsat":2}}"#, Fee::AtMost(msat(2))),
            (r#"{"payment_request":"ln","fee_limit":{"percent":"10"}}"#, Fee::Percent(10)),
        ] {
            assert_eq!(read::<SendSync>(body.as_bytes()).unwrap().wanted().unwrap().max_fee, fee, "{body}");
        }
        for body in [
            "",
            "[]",
            "{}",
            r#"{"payment_request":5}"#,
            r#"{"payment_request":"ln","amt":"5"}"#,
            r#"{"payment_request":"ln","amt_msat":-5}"#,
            r#"{"payment_request":"ln","amp":true}"#,
            r#"{"payment_request":"ln","fee_limit_sat":-1}"#,
            r#"{"payment_request":"ln","fee_limit_sat":1,"fee_limit_msat":1}"#,
            r#"{"payment_request":"ln","fee_limit_sat":"1.5"}"#,
            r#"{"payment_request":"ln","timeout_seconds":-1}"#,
        ] {
            assert!(read::<Send>(body.as_bytes()).and_then(Send::wanted).is_err(), "{body}");
        }
    }

    #[test]
    fn the_usual_fee_is_a_twentieth_and_never_tiny() {
        assert_eq!(Fee::Usual.for_amount(msat(5_000)), msat(50_000));
        assert_eq!(Fee::Usual.for_amount(msat(10_000_000)), msat(500_000));
        assert_eq!(Fee::Percent(100).for_amount(Msat::MAX), Msat::MAX);
        assert_eq!(Fee::Percent(u64::MAX).for_amount(Msat::MAX), Msat::MAX);
    }
}
