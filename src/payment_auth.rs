//! The `Payment` scheme (draft-httpauth-payment, "the core draft" below) with the method `lightning` and
//! its intent `charge` (draft-lightning-charge-00): the challenge, the credential that answers it, the
//! receipt, and the problem types. Pure: no I/O, no storage; time and keys come in as arguments.
//!
//! Invariants:
//! - Nothing is stored per challenge: its id is a MAC over all that it says, under a key of the service
//!   that sells ([`crate::l402::MasterKeys::challenge_key`]), and a credential brings it back. What is
//!   believed of a credential is what that MAC covers, together with the preimage of its payment hash.
//! - A challenge is for one request at a whole number of satoshi, on a network that the draft has a name
//!   for; there is none for anything else.
//! - MAC and preimage are compared in constant time; no preimage shows itself in `Debug`.
//!
//! Two of the draft's rules yield to the buyer. It forbids `expires` later than the invoice's end, and that
//! is what stands there; but whoever paid in time is not turned away for coming back late: [`verify`]
//! takes the credential for as long after that as its caller says. And no failure is a 400 or 401: clients pay
//! again only on a 402, so that all are fresh 402s, as the core draft and its reference implementation
//! have it.

mod base64url;
mod challenge;
mod credential;
mod key;
mod problem;
mod receipt;
mod refusal;
mod verify;

pub use challenge::{Challenge, Charge};
pub use credential::{Presented, carries_credential, presented};
pub use key::{Bound, ChallengeKey};
pub use problem::problem_type;
pub use receipt::{PAYMENT_RECEIPT, receipt};
pub use refusal::Refusal;
pub use verify::{Paid, looks_paid, verify};

/// The only method spoken here (draft-lightning-charge-00).
pub const METHOD: &str = "lightning";

/// The only intent spoken here.
pub const INTENT: &str = "charge";
