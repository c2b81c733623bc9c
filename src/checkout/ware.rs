//! What can be bought for a request, and for how much.
//!
//! Pure. Invariants: everything in a [`Ware`] is a price that may be sold at, never zero; a unit of a
//! request or pack covers what the request at hand costs and nothing dearer; a balance is offered only
//! where it pays for the request at hand.

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use thiserror::Error;

use crate::catalog::{LATE_PAYMENT, Matched, NoPack, Offer, Offering, REUSABLE_LIFE, Terms, pack_price};
use crate::clock::in_words;
use crate::l402::{Quoted, Sold};
use crate::pricing::{Amount, Ask, Fiat, Metering, Quote, Rate, Unpriced, Worth};
use crate::types::{Kind, Msat, Name, Timestamp};

/// An offer with its price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ware {
    /// The offer's name.
    pub name: Name,
    /// Its kind.
    pub kind: Kind,
    /// How many units: requests, millisatoshi of a balance, seconds of a pass.
    pub units: u64,
    /// The price of the whole.
    pub price: Msat,
    /// The dearest request that one unit of a request or pack opens; zero for the other kinds.
    pub covers: Msat,
    /// What it was changed from, at which rate.
    pub quote: Option<Quoted>,
    /// The route that is sold; of a pass, the scope.
    pub route: Name,
    /// How long the invoice may be paid.
    pub invoice_expiry: Duration,
    /// How long the token lives after that.
    pub life: Duration,
}

/// Why an offer of the terms is not sold for a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotSold {
    /// Its price cannot be told.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// What the request costs is known only afterwards, and a unit has one price.
    #[error("what the request costs is known only afterwards: it is paid from a balance")]
    Metered,
    /// The balance would not pay for the request.
    #[error("it is less than the {} that this request needs", .needed.in_sat())]
    TooSmall {
        /// What the request needs.
        needed: Msat,
    },
    /// The terms have no offers: only tokens that the operator grants are good there.
    #[error("nothing is on offer there")]
    NothingOffered,
    /// The pack has a price of its own, which was made for requests at another price.
    #[error("its price was not made for this request")]
    PricedApart,
}

impl From<NoPack> for NotSold {
    fn from(why: NoPack) -> NotSold {
        match why {
            NoPack::Unpriced(why) => NotSold::Unpriced(why),
            NoPack::Metered => NotSold::Metered,
            NoPack::PricedApart => NotSold::PricedApart,
        }
    }
}

impl Ware {
    /// `offer` for the request that `ask` shows and that costs `quote`.
    pub(super) fn of(
        offer: &Offer,
        matched: &Matched,
        quote: &Quote,
        ask: &Ask<'_>,
    ) -> Result<Ware, NotSold> {
        let terms = &matched.terms;
        let worth = |amount: Amount| -> Result<Worth, Unpriced> {
            let worth = amount.worth(ask.exchange, ask.now)?.ok_or(Unpriced::Overflow)?;
            if worth.msat == Msat::ZERO { Err(Unpriced::Zero) } else { Ok(worth) }
        };
        let of_quote = || quoted_of(quote);
        let (units, price, covers, quoted) = match &offer.what {
            Offering::Request if !quote.is_one_price() => return Err(NotSold::Metered),
            Offering::Request => (1, quote.most, quote.most, of_quote()),
            Offering::Pack { requests, price } => {
                let whole = pack_price(&matched.service, terms, (*requests, *price), quote, ask)?;
                (*requests, whole.msat, quote.most, of_quote().or_else(|| quoted(whole.changed)))
            }
            Offering::Pass { lasts, price } => {
                let whole = worth(*price)?;
                (lasts.as_secs(), whole.msat, Msat::ZERO, quoted(whole.changed))
            }
            Offering::Balance { value, price } => {
                let value = worth(*value)?;
                let needed = match quote.metering {
                    // Its first request is not the cheapest there is.
                    Metering::AtReserve => terms.rule.pack_price(1, ask)?.msat,
                    Metering::Exact | Metering::Flowing | Metering::AtEnd => quote.least,
                };
                if value.msat < needed {
                    return Err(NotSold::TooSmall { needed });
                }
                let whole = price.map_or(Ok(value), worth)?;
                (value.msat.msat(), whole.msat, Msat::ZERO, quoted(whole.changed))
            }
        };
        if price == Msat::ZERO || units == 0 {
            return Err(Unpriced::Zero.into());
        }
        let kind = offer.what.kind();
        Ok(Ware {
            name: offer.name.clone(),
            kind,
            units,
            price,
            covers,
            quote: quoted,
            route: if kind == Kind::Pass { terms.scope.clone() } else { matched.route.clone() },
            invoice_expiry: terms.invoice_expiry,
            life: life(kind, terms),
        })
    }

    /// What the token says, of an invoice that is over at `expires_at`. A pass that was begun at the last
    /// moment has its whole time.
    pub(super) fn sold(&self, service: &Name, revision: u32, expires_at: Timestamp) -> Sold {
        let lasts = if self.kind == Kind::Pass { Duration::from_secs(self.units) } else { Duration::ZERO };
        Sold {
            service: service.clone(),
            route: self.route.clone(),
            kind: self.kind,
            units: self.units,
            sold: self.price,
            revision,
            covers: self.covers,
            quote: self.quote.clone(),
            valid_until: expires_at.plus(self.life).plus(lasts),
        }
    }

    /// How long invoice and token live, in words.
    pub fn lifetimes(&self) -> String {
        let invoice = span(self.invoice_expiry.as_secs());
        // A payment may still arrive late, and what is bought is to live its time all the same.
        let life = span(self.life.saturating_sub(LATE_PAYMENT).as_secs());
        let late = span(LATE_PAYMENT.as_secs());
        match self.kind {
            Kind::Pass => format!(
                "The invoice can be paid for {invoice}; the pass can be begun for {life} after that, and {late} \
                 more for a payment that arrives late, and lasts {} from its first use.",
                span(self.units)
            ),
            _ => format!(
                "The invoice can be paid for {invoice}; the token is good for {life} after that, and {late} more for a \
                 payment that arrives late."
            ),
        }
    }

    /// What is bought, in words, such as `100 requests`.
    pub fn words(&self) -> String {
        match self.kind {
            Kind::Request => "One request".to_owned(),
            Kind::Pack => format!("{} requests", self.units),
            Kind::Pass => format!("A pass for {}", span(self.units)),
            Kind::Balance | Kind::Granted => match Msat::new(self.units) {
                Ok(value) => format!("A balance of {}", value.in_sat()),
                Err(_) => format!("A balance of {} msat", self.units),
            },
        }
    }

    /// As the 402's `offers` shows it.
    pub fn json(&self) -> Value {
        json!({
            "offer": self.name,
            "description": self.words(),
            "kind": self.kind,
            "units": self.units,
            "unit": match self.kind {
                Kind::Request | Kind::Pack => "request",
                Kind::Pass => "second",
                Kind::Balance | Kind::Granted => "msat",
            },
            "amountMsat": self.price,
            "amountSats": self.price.sats_ceil(),
            "amount": self.price.in_sat().to_string(),
            "quote": self.quote.as_ref().map(Quoted::as_str),
            "reusable": self.kind.reusable(),
            "invoiceSeconds": self.invoice_expiry.as_secs(),
            "tokenSeconds": self.life.as_secs(),
        })
    }
}

/// How long a token lives after its invoice's end.
fn life(kind: Kind, terms: &Terms) -> Duration {
    match kind {
        Kind::Request => terms.request_life(),
        Kind::Pack | Kind::Pass | Kind::Balance | Kind::Granted => {
            terms.token_life.unwrap_or(REUSABLE_LIFE).saturating_add(LATE_PAYMENT)
        }
    }
}

/// A span of seconds in words.
pub(super) fn span(seconds: u64) -> String {
    in_words(Duration::from_secs(seconds))
}

/// The quote as a token carries it.
pub(super) fn quoted(changed: Option<(Fiat, Rate)>) -> Option<Quoted> {
    let (fiat, rate) = changed?;
    let text = |per_btc: Decimal| format!("{fiat}@{}", per_btc.normalize()).parse().ok();
    text(rate.per_btc).or_else(|| text(rate.per_btc.round_dp(2)))
}

/// The rate that `quote` was made at, with what it is in that currency.
fn quoted_of(quote: &Quote) -> Option<Quoted> {
    let whole = || {
        let rate = quote.rate?;
        let amount = Decimal::from(quote.most.msat()).checked_mul(rate.per_btc)?;
        let amount = amount.checked_div(Decimal::from(MSAT_PER_BTC))?.round_dp(8).normalize();
        Some((Fiat { amount, currency: rate.currency }, rate))
    };
    quoted(quote.changed.or_else(whole))
}

/// Millisatoshi in a bitcoin.
const MSAT_PER_BTC: u64 = 100_000_000_000;

#[cfg(test)]
mod tests;
