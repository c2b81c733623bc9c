//! The caveats that a holder may append: each narrows the token, or kills it.
//!
//! Invariant: what is read here can only make a token good for less. A caveat that says more than
//! the token allows already is refused, not ignored: whoever wrote it believes something false.
//!
//! `max_uses` and `max_spend_msat` are limits that the ledger counts. Each has a counter of its own,
//! named by the signature right after it: every copy of the token that was made from there on counts
//! in it, and no other does. So whoever wants two copies with the same limit and a counter each writes
//! a `budget_id` **before** the limit. One that stands after it changes nothing: else the holder of a
//! limited token could append one and begin anew.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::refusal::Refusal;
use super::seal::Seal;
use super::sold::Sold;
use crate::types::{Bound, Limit, Msat, Name, Preimage, Timestamp};

/// What a token shall be used for.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// The service that the request matched.
    pub service: &'a Name,
    /// The request's method, upper case.
    pub method: &'a str,
    /// The request's canonical path as the client sent it, without the query.
    pub path: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// What to do with a caveat that we do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UnknownCaveats {
    /// Refuse the token: a holder who narrowed it must not be silently widened.
    #[default]
    Refuse,
    /// Ignore the caveat, as the specification has it.
    Skip,
}

/// Minted keys: a holder may repeat what was minted but not say otherwise.
const MINTED: [&str; 8] =
    ["services", "route", "offer", "units", "sold_msat", "revision", "covers_msat", "quote"];

/// A token's limits after every holder had a say.
pub(super) struct Narrowed<'a> {
    sold: &'a Sold,
    pub(super) expires_at: Timestamp,
    pub(super) preimages: Vec<Preimage>,
    /// In the order of the chain.
    pub(super) limits: Vec<Limit>,
    scope: Option<&'a str>,
    methods: Option<Vec<&'a str>>,
}

impl<'a> Narrowed<'a> {
    /// Reads the caveats after the minted ones, in their order; `seals` are the signatures after each.
    pub(super) fn read(
        sold: &'a Sold,
        appended: &'a [Vec<u8>],
        seals: &[Seal],
        unknown: UnknownCaveats,
    ) -> Result<Narrowed<'a>, Refusal> {
        let mut narrowed = Narrowed {
            sold,
            expires_at: sold.valid_until,
            preimages: Vec::new(),
            limits: Vec::new(),
            scope: None,
            methods: None,
        };
        for (caveat, seal) in appended.iter().zip(seals) {
            narrowed.narrow(caveat, seal, unknown)?;
        }
        Ok(narrowed)
    }

    /// The path prefix that it was narrowed to.
    pub(super) fn scope(&self) -> Option<&'a str> {
        self.scope
    }

    /// The methods that it was narrowed to.
    pub(super) fn methods(&self) -> Option<&[&'a str]> {
        self.methods.as_deref()
    }

    /// Whether the token may be used so, and now.
    pub(super) fn holds(&self, how: &Use<'_>) -> Result<(), Refusal> {
        if self.sold.service != *how.service {
            return Err(Refusal::WrongService);
        }
        if how.now >= self.expires_at {
            return Err(Refusal::Expired);
        }
        if self.scope.is_some_and(|scope| !covers(scope, how.path)) {
            return Err(Refusal::OutOfScope);
        }
        if self.methods.as_ref().is_some_and(|methods| !methods.contains(&how.method)) {
            return Err(Refusal::WrongMethod);
        }
        Ok(())
    }

    fn narrow(&mut self, caveat: &'a [u8], seal: &Seal, unknown: UnknownCaveats) -> Result<(), Refusal> {
        let text = std::str::from_utf8(caveat).map_err(|_| Refusal::CaveatUndecodable)?;
        let (key, value) = text.split_once('=').ok_or(Refusal::CaveatUndecodable)?;
        let (key, value) = (key.trim(), value.trim());
        match key {
            "scope" => self.narrow_scope(value),
            "method" => self.narrow_methods(value),
            "expires" => self.narrow_expiry(rfc3339(value)?),
            "max_uses" => self.limit(Bound::Uses(number(value)?), seal),
            "max_spend_msat" => {
                let spend = Msat::new(number(value)?).map_err(|_| Refusal::CaveatUndecodable)?;
                self.limit(Bound::Spend(spend), seal)
            }
            // Only a name: it sets apart what comes after it.
            "budget_id" if value.is_empty() => Err(Refusal::CaveatUndecodable),
            "budget_id" => Ok(()),
            "preimage" => {
                self.preimages.push(value.parse().map_err(|_| Refusal::CaveatUndecodable)?);
                Ok(())
            }
            _ if key.strip_suffix("_valid_until") == Some(self.sold.service.as_str()) => {
                let secs = value.parse().map_err(|_| Refusal::CaveatUndecodable)?;
                self.narrow_expiry(Timestamp::from_secs(secs))
            }
            _ if MINTED.contains(&key) => {
                let minted = self.sold.caveats().iter().any(|minted| *minted == format!("{key}={value}"));
                if minted { Ok(()) } else { Err(Refusal::CaveatWidens) }
            }
            _ => match unknown {
                UnknownCaveats::Refuse => Err(Refusal::CaveatUnknown),
                UnknownCaveats::Skip => Ok(()),
            },
        }
    }

    fn limit(&mut self, bound: Bound, seal: &Seal) -> Result<(), Refusal> {
        let wider = |limit: &Limit| limit.bound.is_like(bound) && limit.bound.most() < bound.most();
        if self.limits.iter().any(wider) {
            return Err(Refusal::CaveatWidens);
        }
        self.limits.push(Limit { counter: seal.counter(), bound });
        Ok(())
    }

    fn narrow_expiry(&mut self, expires_at: Timestamp) -> Result<(), Refusal> {
        if expires_at > self.expires_at {
            return Err(Refusal::CaveatWidens);
        }
        self.expires_at = expires_at;
        Ok(())
    }

    fn narrow_scope(&mut self, scope: &'a str) -> Result<(), Refusal> {
        if !scope.starts_with('/') {
            return Err(Refusal::CaveatUndecodable);
        }
        if self.scope.is_some_and(|wider| !covers(wider, scope)) {
            return Err(Refusal::CaveatWidens);
        }
        self.scope = Some(scope);
        Ok(())
    }

    fn narrow_methods(&mut self, list: &'a str) -> Result<(), Refusal> {
        let methods: Vec<&str> = list.split(',').map(str::trim).collect();
        let is_method = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
        if !methods.iter().all(is_method) {
            return Err(Refusal::CaveatUndecodable);
        }
        if self.methods.as_ref().is_some_and(|wider| methods.iter().any(|method| !wider.contains(method))) {
            return Err(Refusal::CaveatWidens);
        }
        self.methods = Some(methods);
        Ok(())
    }
}

/// Whether `path` lies under `prefix`, at a segment border: `/v1` covers `/v1` and `/v1/x`, not
/// `/v10`; `/v1/` covers `/v1/x`, not `/v1`.
fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

/// A whole number in digits alone.
fn number(text: &str) -> Result<u64, Refusal> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(Refusal::CaveatUndecodable)
}

fn rfc3339(text: &str) -> Result<Timestamp, Refusal> {
    let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| Refusal::CaveatUndecodable)?;
    let ms = instant.unix_timestamp_nanos().div_euclid(1_000_000);
    // Before 1970 is over in any case.
    Ok(Timestamp::from_millis(u64::try_from(ms).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::CounterId;
    use proptest::prelude::*;

    /// 2027-01-15T08:00:00Z.
    const UNTIL: u64 = 1_800_000_000;

    fn sold() -> Sold {
        let (service, route) = ("rates".parse().unwrap(), "fx".parse().unwrap());
        Sold::request(service, route, Msat::new(21_000).unwrap(), 0, Timestamp::from_secs(UNTIL))
    }

    fn seals(caveats: &[Vec<u8>]) -> Vec<Seal> {
        let mut last = Seal::first(&[1; 32], b"identifier");
        let next = |caveat: &Vec<u8>| {
            last = last.next(caveat);
            last
        };
        caveats.iter().map(next).collect()
    }

    /// The counters of a token with these caveats.
    fn counters(caveats: &[&str]) -> Vec<CounterId> {
        let sold = sold();
        let caveats: Vec<Vec<u8>> = caveats.iter().map(|text| text.as_bytes().to_vec()).collect();
        let narrowed = Narrowed::read(&sold, &caveats, &seals(&caveats), UnknownCaveats::Refuse).unwrap();
        narrowed.limits.iter().map(|limit| limit.counter).collect()
    }

    #[test]
    fn each_limit_counts_for_every_copy_made_after_it_and_for_no_other() {
        let own = counters(&["budget_id=a", "max_uses=5"]);
        let sibling = counters(&["budget_id=b", "max_uses=5"]);
        assert_ne!(own, sibling);
        assert_eq!(own, counters(&["budget_id=a", "max_uses=5"]), "the same copy");
        // Whatever a child appends, its own counter stays above.
        for more in [&["budget_id=b"][..], &["budget_id=b", "max_uses=5"], &["max_uses=5"], &["scope=/v1"]] {
            let child = counters(&[&["budget_id=a", "max_uses=5"], more].concat());
            assert_eq!(child[0], own[0], "{more:?}");
            assert!(!child.contains(&sibling[0]), "{more:?}");
        }
        // A name that comes after the limit begins nothing anew.
        assert_eq!(counters(&["max_uses=5", "budget_id=a"]), counters(&["max_uses=5", "budget_id=b"]));
        assert_eq!(counters(&["max_uses=5", "max_spend_msat=9", "max_uses=5"]).len(), 3);
    }

    /// The code with which `GET /v1/a` a second before the end is answered.
    fn verdict(unknown: UnknownCaveats, caveats: &[&str]) -> &'static str {
        let sold = sold();
        let caveats: Vec<Vec<u8>> = caveats.iter().map(|text| text.as_bytes().to_vec()).collect();
        let now = Timestamp::from_secs(UNTIL - 1);
        let how = Use { service: &sold.service, method: "GET", path: "/v1/a", now };
        let narrowed = Narrowed::read(&sold, &caveats, &seals(&caveats), unknown);
        narrowed.and_then(|n| n.holds(&how)).map_or_else(|refusal| refusal.code(), |()| "good")
    }

    #[test]
    fn every_caveat_narrows_or_kills() {
        let table: &[(&[&str], &str)] = &[
            (&[], "good"),
            (&["scope=/"], "good"),
            (&["scope=/v1"], "good"),
            (&["scope=/v1/a"], "good"),
            (&["scope = /v1/"], "good"),
            (&["scope=/v1", "scope=/v1/a"], "good"),
            (&["scope=/v"], "out_of_scope"),
            (&["scope=/v1/a/"], "out_of_scope"),
            (&["scope=/v1/../v1"], "out_of_scope"),
            (&["scope=/v1/a", "scope=/v1"], "caveat_widens"),
            (&["scope=/v1/", "scope=/v1"], "caveat_widens"),
            (&["scope=/v1", "scope=/v2"], "caveat_widens"),
            (&["scope="], "caveat_undecodable"),
            (&["scope=v1"], "caveat_undecodable"),
            (&["method=GET"], "good"),
            (&["method=GET, POST", "method=GET"], "good"),
            (&["method=POST"], "wrong_method"),
            (&["method=GET", "method=GET,POST"], "caveat_widens"),
            (&["method=get"], "caveat_undecodable"),
            (&["method="], "caveat_undecodable"),
            (&["expires=2027-01-15T08:00:00Z"], "good"),
            (&["expires=2027-01-15T10:00:00+02:00"], "good"),
            (&["expires=2027-01-15T07:59:59.5Z"], "good"),
            (&["expires=2027-01-15T07:59:59Z"], "expired"),
            (&["expires=1969-01-01T00:00:00Z"], "expired"),
            (&["expires=2027-01-15T08:00:00.001Z"], "caveat_widens"),
            (&["expires=9999-12-31T23:59:59Z"], "caveat_widens"),
            (&["expires=1799999999"], "caveat_undecodable"),
            (&["rates_valid_until=1800000000"], "good"),
            (&["rates_valid_until=1799999999"], "expired"),
            (&["rates_valid_until=1799999999", "rates_valid_until=1800000000"], "caveat_widens"),
            (&["rates_valid_until=1800000001"], "caveat_widens"),
            (&["rates_valid_until=18446744073709551615"], "caveat_widens"),
            (&["rates_valid_until=-1"], "caveat_undecodable"),
            (&["services=rates:0"], "good"),
            (&["services=rates:0,more:0"], "caveat_widens"),
            (&["services=rates:1"], "caveat_widens"),
            (&["services=more:0"], "caveat_widens"),
            (&["units=2"], "caveat_widens"),
            (&["sold_msat=1"], "caveat_widens"),
            (&["revision=9"], "caveat_widens"),
            (&["route=other"], "caveat_widens"),
            (&["offer=pass"], "caveat_widens"),
            (&["preimage=00"], "caveat_undecodable"),
            (&["max_uses=1"], "good"),
            (&["max_uses=0"], "good"),
            (&["max_uses = 18446744073709551615"], "good"),
            (&["max_uses=2", "max_uses=2", "max_uses=1"], "good"),
            (&["max_uses=2", "max_spend_msat=9", "max_uses=3"], "caveat_widens"),
            (&["max_uses="], "caveat_undecodable"),
            (&["max_uses=+1"], "caveat_undecodable"),
            (&["max_uses=-1"], "caveat_undecodable"),
            (&["max_uses=1.5"], "caveat_undecodable"),
            (&["max_uses=18446744073709551616"], "caveat_undecodable"),
            (&["max_spend_msat=1"], "good"),
            (&["max_spend_msat=9", "budget_id=b", "max_spend_msat=9"], "good"),
            (&["max_spend_msat=9", "budget_id=b", "max_spend_msat=10"], "caveat_widens"),
            (&["max_spend_msat=2100000000000000001"], "caveat_undecodable"),
            (&["max_spend_msat=1 sat"], "caveat_undecodable"),
            (&["budget_id=b"], "good"),
            (&["budget_id="], "caveat_undecodable"),
            (&["foo=1"], "caveat_unknown"),
            (&["Scope=/v1"], "caveat_unknown"),
            (&["more_valid_until=1"], "caveat_unknown"),
            (&["foo"], "caveat_undecodable"),
            (&[""], "caveat_undecodable"),
        ];
        for (caveats, expected) in table {
            assert_eq!(verdict(UnknownCaveats::Refuse, caveats), *expected, "{caveats:?}");
            // Skipping changes nothing for a caveat that is known.
            let skipping = if *expected == "caveat_unknown" { "good" } else { expected };
            assert_eq!(verdict(UnknownCaveats::Skip, caveats), skipping, "{caveats:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let sold = sold();
        let caveats = [vec![b'a', b'=', 0xff]];
        let read = Narrowed::read(&sold, &caveats, &seals(&caveats), UnknownCaveats::Skip);
        assert!(matches!(read, Err(Refusal::CaveatUndecodable)));
    }

    proptest! {
        #[test]
        fn no_caveat_panics_and_none_gives_more(
            caveats in proptest::collection::vec(
                "(scope|method|expires|rates_valid_until|services|units|max_uses|max_spend_msat|budget_id|foo)? ?=? ?[/a-zA-Z0-9:.,+ TZ-]{0,30}", 0..6),
            path in "/[a-z0-9/]{0,12}",
        ) {
            // Whatever a token with more caveats admits, the token with fewer admitted.
            let sold = sold();
            let caveats: Vec<Vec<u8>> = caveats.into_iter().map(String::into_bytes).collect();
            let how = Use { service: &sold.service, method: "GET", path: &path, now: Timestamp::default() };
            let seals = seals(&caveats);
            let good = |count: usize| {
                let read = Narrowed::read(&sold, &caveats[..count], &seals, UnknownCaveats::Skip);
                read.and_then(|n| n.holds(&how)).is_ok()
            };
            for count in 1..=caveats.len() {
                prop_assert!(!good(count) || good(count - 1));
            }
        }
    }
}
