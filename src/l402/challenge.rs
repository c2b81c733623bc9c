//! The offer in a 402: the `WWW-Authenticate` line and the body's fields (PROTOCOLS §1, emission).

use http::HeaderValue;
use serde_json::{Value, json};

use super::token::Token;
use crate::types::{Kind, Msat, PaymentHash, Timestamp};

/// What a 402 offers.
#[derive(Clone, Copy, Debug)]
pub struct Challenge<'a> {
    /// The token that the payment makes good.
    pub token: &'a Token,
    /// The invoice (BOLT 11).
    pub bolt11: &'a str,
    /// The invoice's payment hash.
    pub payment_hash: PaymentHash,
    /// The invoice's amount.
    pub amount: Msat,
    /// When the invoice stops being payable.
    pub expires_at: Timestamp,
    /// When the token ends.
    pub valid_until: Timestamp,
    /// What the token sells.
    pub kind: Kind,
    /// How many units it holds: requests, millisatoshi of a balance, seconds of a pass.
    pub units: u64,
}

impl Challenge<'_> {
    /// The value of `WWW-Authenticate`: this order and spelling is what every deployed client reads.
    ///
    /// Marked sensitive, so that `Debug` of the headers does not show it.
    pub fn header_value(&self) -> HeaderValue {
        let (macaroon, invoice) = (self.token.base64(), self.invoice());
        sensitive(format!(
            r#"L402 macaroon="{macaroon}", invoice="{invoice}", version="0", token="{macaroon}""#
        ))
    }

    /// The value of a `WWW-Authenticate` for clients from before L402 had its name.
    pub fn lsat_value(&self) -> HeaderValue {
        sensitive(format!(r#"LSAT macaroon="{}", invoice="{}""#, self.token.base64(), self.invoice()))
    }

    /// The body: problem details (RFC 9457) with `code` and the fields that clients look for.
    ///
    /// Amounts in satoshi are rounded up, so that a limit checked against them holds.
    pub fn body(&self, code: &str, detail: &str) -> Value {
        let macaroon = self.token.base64();
        json!({
            "type": "about:blank",
            "title": "Payment Required",
            "status": 402,
            "detail": detail,
            "code": code,
            "invoice": self.invoice(),
            "macaroon": macaroon,
            "token": macaroon,
            "paymentHash": self.payment_hash,
            "amountMsat": self.amount,
            "amountSats": self.amount.sats_ceil(),
            "priceSats": self.amount.sats_ceil(),
            "expiresAt": self.expires_at.secs(),
            "validUntil": self.valid_until.secs(),
            "reusable": self.kind.reusable(),
            "kind": self.kind,
            "units": self.units,
        })
    }

    /// The invoice without anything that no invoice has (BOLT 11 is letters and digits): a broken
    /// one cannot break out of its quotes.
    pub fn invoice(&self) -> String {
        self.bolt11.chars().filter(char::is_ascii_alphanumeric).collect()
    }
}

fn sensitive(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text)
        .expect("base64, letters and digits between fixed ASCII text are a header value");
    value.set_sensitive(true);
    value
}
