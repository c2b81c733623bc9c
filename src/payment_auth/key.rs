//! The id of a challenge: a MAC over what it says (the core draft, "Challenge Binding").

use std::fmt;

use ring::hmac;

use super::base64url;

/// Binds challenges to what they say.
pub struct ChallengeKey(hmac::Key);

/// What an id binds: seven slots, of which the absent ones are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound<'a> {
    /// Who asks for the payment.
    pub realm: &'a str,
    /// The payment method.
    pub method: &'a str,
    /// The intent.
    pub intent: &'a str,
    /// The request, in base64url as it is on the wire.
    pub request: &'a str,
    /// When it ends, as it is on the wire.
    pub expires: &'a str,
    /// The digest of a request's body; we bind none.
    pub digest: &'a str,
    /// The server's own data, in base64url; we bind none.
    pub opaque: &'a str,
}

impl ChallengeKey {
    /// The key of these bytes.
    pub fn new(secret: &[u8]) -> ChallengeKey {
        ChallengeKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The id of a challenge that says `bound`.
    pub fn id(&self, bound: &Bound<'_>) -> String {
        base64url::encode(hmac::sign(&self.0, bound.joined().as_bytes()).as_ref())
    }

    /// Whether `id` is that of a challenge that says `bound`. Constant time in the id.
    pub fn made(&self, id: &str, bound: &Bound<'_>) -> bool {
        let mac = base64url::decode(id);
        mac.is_some_and(|mac| hmac::verify(&self.0, bound.joined().as_bytes(), &mac).is_ok())
    }
}

impl Bound<'_> {
    /// No slot of ours has a `|` in it, so that no other slots can read the same.
    fn joined(&self) -> String {
        let Bound { realm, method, intent, request, expires, digest, opaque } = self;
        [*realm, method, intent, request, expires, digest, opaque].join("|")
    }
}

impl fmt::Debug for ChallengeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChallengeKey(redacted)")
    }
}
