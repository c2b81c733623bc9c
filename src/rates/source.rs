//! One source of rates: where it is, and how its answer is read.

use std::fmt;

use rust_decimal::Decimal;
use serde_json::Value;
use thiserror::Error;
use url::Url;

use crate::egress::{EgressFault, Reach};
use crate::pricing::Currency;

/// An HTTP address that answers with JSON in which a rate stands.
#[derive(Clone, PartialEq, Eq)]
pub struct RateSource {
    /// What the operator calls it.
    pub name: String,
    /// Where it is.
    pub url: Url,
    /// Where in the answer the rate stands (RFC 6901): units of the currency for one bitcoin, as a number
    /// or as a text with nothing else in it.
    pub pointer: String,
    /// Whose rate it is.
    pub currency: Currency,
    /// How far the call may go.
    pub reach: Reach,
}

impl fmt::Debug for RateSource {
    /// Leaves the query out: a key may stand in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RateSource({} {} at {})", self.name, self.currency, self.place())
    }
}

/// The sources that are asked when the operator names none: three exchanges with public tickers.
const USUAL: [(&str, &str, &str); 3] = [
    ("kraken", "https://api.kraken.com/0/public/Ticker?pair=XBTUSD", "/result/XXBTZUSD/c/0"),
    ("coinbase", "https://api.coinbase.com/v2/prices/BTC-USD/spot", "/data/amount"),
    ("bitstamp", "https://www.bitstamp.net/api/v2/ticker/btcusd/", "/last"),
];

impl RateSource {
    /// The three that are asked when the operator names none, all for US dollars.
    pub fn usual() -> Vec<RateSource> {
        let source = |(name, url, pointer): (&str, &str, &str)| RateSource {
            name: name.to_owned(),
            url: url.parse().expect("a constant URL"),
            pointer: pointer.to_owned(),
            currency: "USD".parse().expect("a constant code"),
            reach: Reach::Public,
        };
        USUAL.map(source).into()
    }

    /// Where it is, without the query.
    pub fn place(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.into()
    }
}

/// Why a source gave no rate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceFault {
    /// It could not be called.
    #[error(transparent)]
    Egress(#[from] EgressFault),
    /// It answers with another status than 200.
    #[error("it answers {0}")]
    Status(u16),
    /// Its answer is not JSON.
    #[error("its answer is not JSON")]
    NotJson,
    /// There is nothing at the pointer.
    #[error("its answer has nothing at {0}")]
    NothingThere(String),
    /// What stands there is no rate: not a number, zero, negative, or beyond all reason.
    #[error("what it gives is not a rate")]
    NotARate,
}

impl SourceFault {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            SourceFault::Egress(fault) => fault.code(),
            SourceFault::Status(_) => "status",
            SourceFault::NotJson => "not_json",
            SourceFault::NothingThere(_) => "nothing_there",
            SourceFault::NotARate => "not_a_rate",
        }
    }
}

/// Reads the rate out of a source's answer.
pub(super) fn read(body: &[u8], pointer: &str) -> Result<Decimal, SourceFault> {
    let document: Value = serde_json::from_slice(body).map_err(|_| SourceFault::NotJson)?;
    let found = document.pointer(pointer);
    match found {
        None | Some(Value::Null) => Err(SourceFault::NothingThere(pointer.to_owned())),
        // A number as JSON writes it; its shortest form is what the source wrote, up to 15 digits.
        Some(Value::Number(number)) => rate(&number.to_string()),
        Some(Value::String(text)) => rate(text.trim()),
        Some(_) => Err(SourceFault::NotARate),
    }
}

/// A plain decimal number within reason: digits, at most one point.
pub(super) fn rate(text: &str) -> Result<Decimal, SourceFault> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.len() <= 28;
    let value: Decimal = plain.then(|| text.parse().ok()).flatten().ok_or(SourceFault::NotARate)?;
    let value = value.normalize();
    if value >= least() && value <= most() { Ok(value) } else { Err(SourceFault::NotARate) }
}

/// No currency is worth so much that a bitcoin costs less of it …
fn least() -> Decimal {
    Decimal::new(1, 6)
}

/// … nor so little that it costs more.
fn most() -> Decimal {
    Decimal::new(1_000_000_000_000_000, 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_texts_are_read_and_nothing_else() {
        let at = |body: &str, pointer: &str| read(body.as_bytes(), pointer).map(|rate| rate.to_string());
        let body = r#"{"last":"64000.10","n":64000.12,"i":64000,"deep":{"c":["1.5","2"]},"a/b":3,"":7}"#;
        assert_eq!(at(body, "/last"), Ok("64000.1".to_owned()));
        assert_eq!(at(body, "/n"), Ok("64000.12".to_owned()));
        assert_eq!(at(body, "/i"), Ok("64000".to_owned()));
        assert_eq!(at(body, "/deep/c/0"), Ok("1.5".to_owned()));
        assert_eq!(at(body, "/a~1b"), Ok("3".to_owned()));
        assert_eq!(at("64000", ""), Ok("64000".to_owned()));
        assert!(matches!(at(body, "/deep/d"), Err(SourceFault::NothingThere(_))));
        assert!(matches!(at(r#"{"a":null}"#, "/a"), Err(SourceFault::NothingThere(_))));
        assert_eq!(at(body, "/deep"), Err(SourceFault::NotARate));
        assert_eq!(at("<html>", "/last"), Err(SourceFault::NotJson));
        assert_eq!(at("NaN", ""), Err(SourceFault::NotJson));
        for lie in [
            "0",
            "-0.0",
            "0.0",
            "-64000",
            "1e308",
            "1e16",
            "1e-7",
            "0.0000001",
            "9999999999999999",
            "true",
            "[]",
            "\"\"",
            "\"NaN\"",
            "\"inf\"",
            "\"Infinity\"",
            "\"-1\"",
            "\"+1\"",
            "\"64,000\"",
            "\"64_000\"",
            "\"1e5\"",
            "\"$64000\"",
            "\"0x1\"",
            "\".\"",
            "\"1.2.3\"",
            "\"99999999999999999999999999999999999999\"",
        ] {
            assert_eq!(at(lie, ""), Err(SourceFault::NotARate), "{lie}");
        }
    }

    #[test]
    fn the_usual_sources_are_three_and_need_no_leave() {
        let usual = RateSource::usual();
        assert_eq!(usual.len(), 3);
        assert!(usual.iter().all(|source| source.reach == Reach::Public && source.url.scheme() == "https"));
        assert!(!format!("{usual:?}").contains("XBTUSD"), "a query may hold a key");
    }

    proptest! {
        #[test]
        fn no_answer_panics_or_is_beyond_reason(body in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,40}") {
            for given in [read(&body, ""), rate(&text), read(text.as_bytes(), "/a/0")].into_iter().flatten() {
                prop_assert!(given >= least() && given <= most());
            }
        }
    }
}
