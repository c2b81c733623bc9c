//! On what terms a route is sold: its rule, its offers, what is free, and what goes back.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::ledger::TOKEN_LIFE_AFTER_INVOICE;
use crate::pricing::{Amount, Rule};
use crate::types::{Kind, Msat, Name};

/// How long an invoice may be paid, unless the terms say otherwise.
pub const INVOICE_EXPIRY: Duration = Duration::from_secs(15 * 60);

/// How long a pack, a pass before its first use, or a balance lives beyond its invoice, unless the
/// terms say otherwise. Single requests have [`crate::ledger::TOKEN_LIFE_AFTER_INVOICE`].
pub const REUSABLE_LIFE: Duration = Duration::from_secs(365 * 24 * 3_600);

/// How long after an invoice's end LDK still accepts its payment, counted in block time.
pub const LATE_PAYMENT: Duration = Duration::from_secs(2 * 3_600);

/// The terms of a route, or of a service's requests that no route covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What a request costs.
    pub rule: Rule,
    /// What to sell a request at when the rule gives no price; `None` is 503.
    pub fallback: Option<Msat>,
    /// What a buyer may choose, the default first; empty only when the rule is free.
    pub offers: Vec<Offer>,
    /// Requests that cost nothing.
    pub free: Option<Allowance>,
    /// Which answers give the unit back.
    pub restore: RestorePolicy,
    /// How long an invoice may be paid.
    pub invoice_expiry: Duration,
    /// How long a token lives after its invoice's expiry.
    pub token_life: Option<Duration>,
    /// Names the offers: the route's own, or those of the whole service (`default`). A pass opens what
    /// has the same.
    pub scope: Name,
}

/// One thing that a buyer may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What the buyer asks for: `Prefer: l402-offer=<name>`.
    pub name: Name,
    /// What it is.
    pub what: Offering,
}

/// What an offer sells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offering {
    /// One request, at the rule's price.
    Request,
    /// Several requests.
    Pack {
        /// How many; at least two.
        requests: u64,
        /// What they cost together; by default as many times the rule's price, by its tiers.
        price: Option<Amount>,
    },
    /// Every request of the scope, for a time from the first use.
    Pass {
        /// How long; whole seconds.
        lasts: Duration,
        /// What it costs.
        price: Amount,
    },
    /// Money to draw from.
    Balance {
        /// How much is there to draw.
        value: Amount,
        /// What it costs; by default its value.
        price: Option<Amount>,
    },
}

impl Offering {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Offering::Request => Kind::Request,
            Offering::Pack { .. } => Kind::Pack,
            Offering::Pass { .. } => Kind::Pass,
            Offering::Balance { .. } => Kind::Balance,
        }
    }
}

impl Terms {
    /// Terms that ask nothing.
    pub fn free() -> Terms {
        Terms { rule: Rule::Free, offers: Vec::new(), ..Terms::fixed(Msat::ZERO) }
    }

    /// Terms that sell single requests at `price`, and are the usual ones in all else.
    pub fn fixed(price: Msat) -> Terms {
        Terms {
            rule: Rule::Fixed(Amount::Msat(price)),
            fallback: None,
            offers: vec![Offer { name: word("request"), what: Offering::Request }],
            free: None,
            restore: RestorePolicy::default(),
            invoice_expiry: INVOICE_EXPIRY,
            token_life: None,
            scope: word("default"),
        }
    }

    /// How long the token of a single request lives after its invoice's end (MONEY rule 9).
    pub fn request_life(&self) -> Duration {
        self.token_life.map_or(TOKEN_LIFE_AFTER_INVOICE, |own| own.saturating_add(LATE_PAYMENT))
    }

    /// The offer that a buyer who asks for `wanted` gets: that one, or the first.
    pub fn offer(&self, wanted: Option<&str>) -> Option<&Offer> {
        let named = wanted.and_then(|wanted| self.offers.iter().find(|offer| offer.name.as_str() == wanted));
        named.or_else(|| self.offers.first())
    }
}

fn word(text: &str) -> Name {
    text.parse().expect("a lower-case word is a name")
}

/// Requests that cost nothing, so many in a time for each customer or for all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How many.
    pub requests: u32,
    /// In which time; windows begin at whole multiples of it since the Unix epoch.
    pub per: Duration,
    /// Who shares them.
    pub by: AllowanceBy,
}

/// Who shares an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowanceBy {
    /// Each address (IPv4) or network of 64 bits (IPv6).
    Ip,
    /// All customers together.
    Everyone,
}

/// Which statuses of the upstream give the unit back. No answer at all always does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestorePolicy(Vec<(u16, u16)>);

impl Default for RestorePolicy {
    /// 5xx.
    fn default() -> RestorePolicy {
        RestorePolicy(vec![(500, 599)])
    }
}

impl RestorePolicy {
    /// The statuses in these ranges, both ends included.
    pub fn new(ranges: Vec<(u16, u16)>) -> RestorePolicy {
        RestorePolicy(ranges)
    }

    /// Whether an answer with this status gives the unit back.
    pub fn restores(&self, status: StatusCode) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status.as_u16()))
    }
}

impl fmt::Display for RestorePolicy {
    /// Such as `404, 5xx`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (from, to)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            match (from % 100, to % 100) {
                (0, 99) if from / 100 == to / 100 => write!(f, "{}xx", from / 100)?,
                _ if from == to => write!(f, "{from}")?,
                _ => write!(f, "{from}-{to}")?,
            }
        }
        Ok(())
    }
}
