//! What a holder may add to a token, told without the server's key: conditions that we know are read as
//! the gate reads them, those that Aperture mints are compared with what stands there, and the rest is the
//! server's to judge.

use std::collections::BTreeMap;

use super::NotNarrowed;
use crate::l402::narrowing::{Narrowed, UnknownCaveats};
use crate::l402::refusal::Refusal;
use crate::l402::seal::Seal;
use crate::l402::sold::Sold;
use crate::types::{Bound, Kind, Msat, Timestamp};

/// What a token's caveats say that it is good for; the narrowest, where several say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Its end: the earliest that is said.
    pub expires_at: Option<Timestamp>,
    /// The path prefix.
    pub scope: Option<String>,
    /// The methods.
    pub methods: Option<Vec<String>>,
    /// Requests.
    pub max_uses: Option<u64>,
    /// Money, in millisatoshi.
    pub max_spend_msat: Option<u64>,
}

/// Keys that the gate reads of any token.
const KNOWN: [&str; 6] = ["scope", "method", "expires", "max_uses", "max_spend_msat", "budget_id"];

impl Conditions {
    pub(super) fn of(caveats: &[Vec<u8>]) -> Conditions {
        let known: Vec<Vec<u8>> = caveats.iter().filter(|caveat| is_ours(caveat)).cloned().collect();
        let anything = anything();
        let mut conditions = Conditions::default();
        let ends = caveats.iter().filter_map(|caveat| {
            let (key, value) = split(caveat)?;
            key.ends_with("_valid_until").then(|| value.parse().ok().map(Timestamp::from_secs))?
        });
        conditions.expires_at = ends.min();
        // Read up to the first that the gate would refuse: it refuses the token.
        let whole = (0..=known.len()).rev().find_map(|count| read(&anything, &known[..count]).ok());
        let Some(narrowed) = whole else { return conditions };
        if narrowed.expires_at < anything.valid_until {
            let end = narrowed.expires_at;
            conditions.expires_at = Some(conditions.expires_at.map_or(end, |other| other.min(end)));
        }
        conditions.scope = narrowed.scope().map(str::to_owned);
        let methods = narrowed.methods().map(|all| all.iter().map(|&one| one.to_owned()).collect());
        conditions.methods = methods;
        for limit in &narrowed.limits {
            let (slot, most) = match limit.bound {
                Bound::Uses(uses) => (&mut conditions.max_uses, uses),
                Bound::Spend(spend) => (&mut conditions.max_spend_msat, spend.msat()),
            };
            *slot = Some(slot.map_or(most, |before| before.min(most)));
        }
        conditions
    }
}

/// Whether a Tollhouse that refuses what it does not know would take `caveat` of a token of `sold`.
pub(super) fn is_known(caveat: &str, sold: Option<&Sold>) -> bool {
    let anything = anything();
    let caveats = [caveat.as_bytes().to_vec()];
    let read = Narrowed::read(sold.unwrap_or(&anything), &caveats, &[blank()], UnknownCaveats::Refuse);
    !matches!(read, Err(Refusal::CaveatUnknown))
}

/// Refuses `caveat` on top of `all` when it widens, as far as that can be told.
pub(super) fn widens(sold: Option<&Sold>, all: &[Vec<u8>], caveat: &str) -> Result<(), NotNarrowed> {
    let unreadable = || NotNarrowed::Unreadable(caveat.to_owned());
    let with = [all, &[caveat.as_bytes().to_vec()]].concat();
    let (key, value) = split(caveat.as_bytes()).ok_or_else(unreadable)?;
    if key.is_empty() || caveat.chars().any(char::is_control) {
        return Err(unreadable());
    }
    let wider = || NotNarrowed::Widens(caveat.to_owned());
    if let Some(sold) = sold {
        // What stands there already may be unreadable to the gate; that is not for this caveat to mend.
        let before = read(sold, &all[Sold::CAVEATS..]).is_ok();
        return match read(sold, &with[Sold::CAVEATS..]) {
            Err(Refusal::CaveatWidens) if before => Err(wider()),
            Err(_) if before => Err(unreadable()),
            _ => Ok(()),
        };
    }
    if KNOWN.contains(&key) {
        let known: Vec<Vec<u8>> = with.into_iter().filter(|caveat| is_ours(caveat)).collect();
        return match read(&anything(), &known) {
            Ok(_) => Ok(()),
            Err(Refusal::CaveatWidens) => Err(wider()),
            Err(_) => Err(unreadable()),
        };
    }
    let before: Vec<&str> = all
        .iter()
        .filter_map(|one| split(one))
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect();
    if before.is_empty() {
        return Ok(());
    }
    let narrower = if key == "services" {
        before
            .iter()
            .all(|had| services(value).iter().all(|(name, tier)| services(had).get(name) == Some(tier)))
    } else if key.ends_with("_valid_until") {
        let number = |text: &str| text.parse::<u64>().ok();
        let new = number(value).ok_or_else(unreadable)?;
        before.iter().all(|had| number(had).is_none_or(|had| new <= had))
    } else if key.ends_with("_capabilities") {
        before.iter().all(|had| list(value).iter().all(|one| list(had).contains(one)))
    } else {
        true
    };
    if narrower { Ok(()) } else { Err(wider()) }
}

/// As the gate reads them, but for what it does not know.
fn read<'a>(sold: &'a Sold, appended: &'a [Vec<u8>]) -> Result<Narrowed<'a>, Refusal> {
    Narrowed::read(sold, appended, &vec![blank(); appended.len()], UnknownCaveats::Skip)
}

/// Stands for a signature where nothing is counted.
const fn blank() -> Seal {
    Seal::from_bytes([0; 32])
}

/// Stands for what another server sold: anything, for ever.
fn anything() -> Sold {
    let name = || "any".parse().expect("three small letters are a name");
    let valid_until = Timestamp::from_millis(u64::MAX);
    Sold { kind: Kind::Balance, ..Sold::request(name(), name(), Msat::ZERO, 0, valid_until) }
}

fn is_ours(caveat: &[u8]) -> bool {
    split(caveat).is_some_and(|(key, _)| KNOWN.contains(&key))
}

fn split(caveat: &[u8]) -> Option<(&str, &str)> {
    let (key, value) = std::str::from_utf8(caveat).ok()?.split_once('=')?;
    Some((key.trim(), value.trim()))
}

fn list(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).collect()
}

/// `name:tier`, by name.
fn services(text: &str) -> BTreeMap<&str, &str> {
    list(text).into_iter().map(|one| one.split_once(':').unwrap_or((one, ""))).collect()
}
