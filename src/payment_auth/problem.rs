//! The problem types of the core draft ("Error Codes"), for the codes that a 402 of ours carries.

macro_rules! problem {
    ($name:literal) => {
        concat!("https://paymentauth.org/problems/", $name)
    };
}

/// The problem type of a 402 with this code.
pub fn problem_type(code: &str) -> &'static str {
    match code {
        "payment_required" => problem!("payment-required"),
        "price_changed" | "balance_too_small" | "wrong_route" => problem!("payment-insufficient"),
        "expired" => problem!("payment-expired"),
        "credential_malformed" | "macaroon_undecodable" | "macaroon_too_large" => {
            problem!("malformed-credential")
        }
        "preimage_not_hex" | "preimage_missing" => problem!("invalid-payload"),
        // Unknown or already used.
        "unknown_challenge" | "spent" | "uses_exhausted" | "budget_exhausted" | "unknown_identifier"
        | "unknown_epoch" => problem!("invalid-challenge"),
        _ => problem!("verification-failed"),
    }
}
