//! A key that somebody asks for, checked: what it may do, its limits, and when it ends.

use std::time::Duration;

use super::scope::Scope;
use super::{Problem, label};
use crate::store::WalletLimits;
use crate::types::Msat;

/// A key that ends by itself lasts no longer: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

/// What is said of a key, as it was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyWish {
    /// What it is for.
    pub label: String,
    /// Words for scopes; the same may come twice.
    pub scopes: Vec<String>,
    /// Of a wallet: what it may pay in a day.
    pub per_day: Option<Msat>,
    /// Of a wallet: what one payment may cost; what a day may when nothing is said.
    pub per_payment: Option<Msat>,
    /// After how long it ends by itself.
    pub lasts: Option<Duration>,
}

/// A key that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAsk {
    /// What it is for.
    pub label: String,
    /// What it may do, each scope once.
    pub scopes: Vec<Scope>,
    /// Its limits, when it is a wallet's.
    pub limits: Option<WalletLimits>,
    /// After how long it ends by itself.
    pub lasts: Option<Duration>,
}

impl KeyWish {
    /// The key that is meant.
    ///
    /// # Errors
    /// What makes no sense about it.
    pub fn checked(self) -> Result<KeyAsk, Problem> {
        let label = label(&self.label)?.to_owned();
        let mut scopes: Vec<Scope> = Vec::new();
        for word in &self.scopes {
            let unknown = |error| Problem::bad_request("bad_scope", format!("{error}."));
            let scope = word.parse().map_err(unknown)?;
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        if scopes.is_empty() {
            return Err(Problem::bad_request("bad_scope", "A key needs at least one scope."));
        }
        if self.lasts.is_some_and(|lasts| lasts.is_zero() || lasts > LONGEST) {
            let detail = "A key lasts for more than nothing and at most ten years; or without an end.";
            return Err(Problem::bad_request("bad_expiry", detail));
        }
        let limits = self.limits(&scopes)?;
        Ok(KeyAsk { label, scopes, limits, lasts: self.lasts })
    }

    /// The limits of a wallet's key; `None` when it is another.
    fn limits(&self, scopes: &[Scope]) -> Result<Option<WalletLimits>, Problem> {
        let bad = |detail: &str| Err(Problem::bad_request("bad_limits", detail));
        match (scopes, self.per_day) {
            ([Scope::Wallet], Some(per_day)) => {
                let per_payment = self.per_payment.unwrap_or(per_day);
                if per_payment == Msat::ZERO || per_payment > per_day {
                    return bad("A payment's limit is more than nothing and not more than a day's.");
                }
                Ok(Some(WalletLimits { per_day, per_payment }))
            }
            ([Scope::Wallet], None) => bad("A wallet's key needs a limit for a day."),
            (scopes, _) if scopes.contains(&Scope::Wallet) => {
                let detail = "A key of the scope wallet has no other scope: it is made to be given away.";
                Err(Problem::bad_request("bad_scope", detail))
            }
            (_, None) if self.per_payment.is_none() => Ok(None),
            _ => bad("Only a key of the scope wallet has limits."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(scopes: &[&str]) -> KeyWish {
        let scopes = scopes.iter().map(|word| (*word).to_owned()).collect();
        KeyWish { label: " app ".to_owned(), scopes, ..KeyWish::default() }
    }

    fn refused(wish: KeyWish) -> &'static str {
        wish.checked().expect_err("it makes no sense").code
    }

    #[test]
    fn a_key_that_makes_sense_is_taken_and_any_other_is_named() {
        let ask = wish(&["read", "pay", "read"]).checked().expect("in order");
        assert_eq!((ask.label.as_str(), ask.scopes), ("app", vec![Scope::Read, Scope::Pay]));
        let sat = |sat| Msat::from_sat(sat).expect("small");
        let wallet = KeyWish { per_day: Some(sat(5)), ..wish(&["wallet"]) };
        let limits = WalletLimits { per_day: sat(5), per_payment: sat(5) };
        assert_eq!(wallet.clone().checked().expect("in order").limits, Some(limits));
        assert_eq!(refused(KeyWish { per_payment: Some(sat(6)), ..wallet }), "bad_limits");
        assert_eq!(refused(wish(&["wallet", "read"])), "bad_scope");
        assert_eq!(refused(wish(&[])), "bad_scope");
        assert_eq!(refused(KeyWish { per_day: Some(sat(5)), ..wish(&["read"]) }), "bad_limits");
        let lasting = |secs| KeyWish { lasts: Some(Duration::from_secs(secs)), ..wish(&["read"]) };
        assert_eq!(refused(lasting(0)), "bad_expiry");
        assert_eq!(refused(lasting(u64::MAX / 2)), "bad_expiry");
        assert!(lasting(60).checked().is_ok());
    }
}
