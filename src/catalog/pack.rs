//! What a pack costs where a request is sold: the arithmetic of the 402 that offers it, and of the gate that asks
//! whether it is still on offer.
//!
//! Pure, and in one place: what the gate takes for on offer is what the 402 offers.

use thiserror::Error;

use super::{Service, Terms};
use crate::pricing::{Amount, Ask, Quote, Unpriced, Worth};
use crate::types::Msat;

/// Why a pack of the terms is not sold for a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoPack {
    /// Its price cannot be told.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// What the request costs is known only afterwards, and a unit has one price.
    #[error("what the request costs is known only afterwards: it is paid from a balance")]
    Metered,
    /// The pack has a price of its own, which was made for requests at another price.
    #[error("its price was not made for this request")]
    PricedApart,
}

/// What so many requests such as `ask`'s, which costs `quote` by `terms`, cost together: at the pack's `own` price,
/// else by the rule.
///
/// # Errors
/// When no such pack is sold for that request.
pub fn pack_price(
    service: &Service,
    terms: &Terms,
    (requests, own): (u64, Option<Amount>),
    quote: &Quote,
    ask: &Ask<'_>,
) -> Result<Worth, NoPack> {
    if !quote.is_one_price() {
        return Err(NoPack::Metered);
    }
    let Some(own) = own else { return Ok(terms.rule.pack_price(requests, ask)?) };
    if !is_priced_for(service, terms) || quote.fallback.is_some() {
        return Err(NoPack::PricedApart);
    }
    let whole = own.worth(ask.exchange, ask.now).map_err(Unpriced::from)?.ok_or(Unpriced::Overflow)?;
    if whole.msat == Msat::ZERO { Err(Unpriced::Zero.into()) } else { Ok(whole) }
}

/// Whether a pack with a price of its own was priced for the request at hand: its route has the offers
/// and the rule from one place, and the rule asks the same of every request. Otherwise the dearest
/// request would be bought at the price of the cheapest. Nor was it made for a fallback.
pub fn is_priced_for(service: &Service, terms: &Terms) -> bool {
    let inherited = terms.scope == service.terms.scope;
    (!inherited || terms.rule == service.terms.rule) && !terms.rule.reads().request()
}
