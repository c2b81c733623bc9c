//! One message: what is sent, the same at each try but for its moment and signature.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::secret::WebhookSecret;
use crate::egress::{Call, Reach, Take};
use crate::event::Event;
use crate::types::{Msat, PaymentHash, Timestamp};

/// What a test message is called.
pub(super) const TEST: &str = "webhook.test";

/// What is said, to whom is another matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Names the message: the same at each try, so that a receiver knows what it had before.
    pub(super) id: String,
    pub(super) body: String,
}

impl Message {
    /// An event of the log, whose JSON is `logged`. The number alone could come again after an old ledger was
    /// restored; with the ledger's life, and its moment, it does not.
    pub(super) fn of_event(
        (generation, number): (u64, i64),
        at: Timestamp,
        topic: &str,
        logged: &str,
    ) -> Message {
        let mut data: Map<String, Value> = serde_json::from_str(logged).unwrap_or_default();
        data.remove("kind");
        data.insert("event_id".to_owned(), number.into());
        data.insert("generation".to_owned(), generation.into());
        let id = format!("evt_{generation}_{number}_{}", at.millis());
        Message { id, body: body(topic, at, Value::Object(data)) }
    }

    /// What the operator has sent to see whether it arrives; `nonce` makes it a new message.
    pub(super) fn test(webhook: i64, at: Timestamp, nonce: &[u8]) -> Message {
        let id = format!("test_{}", hex::encode(nonce));
        Message { id, body: body(TEST, at, json!({ "webhook_id": webhook })) }
    }

    /// The call that delivers it.
    pub(super) fn call(
        &self,
        url: Url,
        reach: Reach,
        secret: &WebhookSecret,
        now: Timestamp,
        patience: Duration,
    ) -> Call {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).expect("ids, numbers and base64 are visible ASCII");
            headers.insert(HeaderName::from_static(name), value);
        };
        put("webhook-id", &self.id);
        put("webhook-timestamp", &now.secs().to_string());
        put("webhook-signature", &secret.sign(&self.id, now, self.body.as_bytes()));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = self.body.clone().into_bytes();
        Call { method: Method::POST, url, reach, headers, body, take: Take::Status, patience }
    }
}

/// What an endpoint gets of a payment, as it would be told of one at `at`: the body, spread over lines for a reader.
pub fn sample(at: Timestamp) -> String {
    let paid = Event::PaymentReceived {
        payment_hash: PaymentHash::from_bytes([0x5a; 32]),
        amount_msat: Msat::from_sat(21).expect("it is small"),
        service: "weather".parse().ok(),
        route: "forecast".parse().ok(),
        over_msat: Msat::ZERO,
        opening_fee_msat: Msat::ZERO,
        late: false,
    };
    let logged = serde_json::to_string(&paid).unwrap_or_default();
    let message = Message::of_event((1, 42), at, "payment.received", &logged);
    let told: Value = serde_json::from_str(&message.body).unwrap_or_default();
    serde_json::to_string_pretty(&told).unwrap_or_default()
}

fn body(topic: &str, at: Timestamp, data: Value) -> String {
    json!({ "type": topic, "timestamp": written(at), "data": data }).to_string()
}

/// RFC 3339 with milliseconds, in UTC.
fn written(at: Timestamp) -> String {
    let ms = i128::from(at.millis());
    let moment =
        OffsetDateTime::from_unix_timestamp_nanos(ms * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_a_message_of_the_same_shape() {
        let told: Value = serde_json::from_str(&sample(Timestamp::from_secs(1_760_000_000))).unwrap();
        assert_eq!(told["type"], "payment.received");
        assert_eq!(
            (&told["data"]["amount_msat"], &told["data"]["service"]),
            (&json!(21_000), &json!("weather"))
        );
        assert_eq!(told["data"]["kind"], Value::Null);
    }

    #[test]
    fn an_event_is_told_in_the_standard_s_shape() {
        let at = Timestamp::from_millis(1_760_000_000_123);
        let logged = r#"{"kind":"payment_received","payment_hash":"ab","amount_msat":5000,"service":null}"#;
        let message = Message::of_event((3, 42), at, "payment.received", logged);
        assert_eq!(message.id, "evt_3_42_1760000000123");
        let told: Value = serde_json::from_str(&message.body).unwrap();
        let wanted = json!({
            "type": "payment.received",
            "timestamp": "2025-10-09T08:53:20.123Z",
            "data": { "event_id": 42, "generation": 3, "payment_hash": "ab", "amount_msat": 5000, "service": null },
        });
        assert_eq!(told, wanted);
        assert_eq!(
            Message::of_event((3, 42), at, "payment.received", logged),
            message,
            "each try says the same"
        );
    }
}
