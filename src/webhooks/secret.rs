//! What signs an endpoint's messages, as Standard Webhooks has it: a symmetric key, `whsec_` and base64 in
//! text, HMAC-SHA-256 over `id.timestamp.body`.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use zeroize::Zeroizing;

use crate::clock::Entropy;
use crate::types::Timestamp;

const PREFIX: &str = "whsec_";

/// The secret that an endpoint and we share. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Zeroizing<Vec<u8>>);

impl WebhookSecret {
    /// A fresh one of 32 bytes.
    pub(super) fn new(entropy: &dyn Entropy) -> WebhookSecret {
        WebhookSecret(Zeroizing::new(entropy.bytes32().to_vec()))
    }

    /// From the stored bytes.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> WebhookSecret {
        WebhookSecret(Zeroizing::new(bytes))
    }

    /// The bytes, to be stored.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// `whsec_…`, for the operator's eyes and the receiver's configuration.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", BASE64_STANDARD.encode(&*self.0)))
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{}.", at.secs()).as_bytes());
        context.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_as_the_standard_s_own_example_is() {
        let bytes = BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secret = WebhookSecret::from_bytes(bytes);
        assert_eq!(*secret.text(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let at = Timestamp::from_secs(1_614_265_330);
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{secret:?}"), "WebhookSecret(redacted)");
    }
}
