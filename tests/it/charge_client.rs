//! A client of the `Payment` scheme that shares no code with the gate: it reads a challenge's line, has it
//! paid, and says what it shows then.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use tollhouse::types::{PaymentHash, Preimage};

/// What base64url JSON says.
pub(crate) fn unpacked(text: &str) -> Value {
    let json = URL_SAFE_NO_PAD.decode(text).expect("base64url without padding");
    serde_json::from_slice(&json).expect("JSON")
}

/// The value of `Authorization` for a credential.
pub(crate) fn authorization(credential: &Value) -> String {
    format!("Payment {}", URL_SAFE_NO_PAD.encode(credential.to_string()))
}

/// The parameters of a line that is a challenge of the scheme.
pub(crate) fn parameters(line: &str) -> Option<Map<String, Value>> {
    let pairs = line.strip_prefix("Payment ")?.split(", ").map(|pair| pair.split_once('=').expect("a pair"));
    Some(pairs.map(|(key, value)| (key.to_owned(), json!(value.trim_matches('"')))).collect())
}

/// The credential of whoever paid `challenge`.
pub(crate) fn answer(challenge: &Map<String, Value>, pay: impl FnOnce(&PaymentHash) -> Preimage) -> Value {
    let request = unpacked(challenge["request"].as_str().expect("text"));
    let hash = request["methodDetails"]["paymentHash"].as_str().expect("a hash").parse().expect("a hash");
    json!({ "challenge": challenge, "payload": { "preimage": pay(&hash).to_hex() } })
}
