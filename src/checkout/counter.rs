//! Where one request is sold: picks an offer, mints its invoice and its token.
//!
//! Invariant: it stores nothing but one place in the bounded map of recent challenges (money rule 1); only
//! an offer whose payment opens a channel stores more, in the node, and few of them are made.

use http::HeaderMap;

use super::mint::Minted;
use super::offered::{Errand, Offered, price_words};
use super::prefer::preferred;
use super::pricing::Pricing;
use super::ware::{NotSold, Ware};
use super::{CheckoutParts, Outcome, Refused};
use crate::catalog::Matched;
use crate::gate::{Priced, Why};
use crate::inbound::Openings;
use crate::ports::CannotReceive;
use crate::pricing::{Ask, Quote};
use crate::request::CanonicalRequest;
use crate::types::Name;

/// Where one request is sold.
pub(super) struct Counter<'a> {
    pub(super) parts: &'a CheckoutParts,
    pub(super) matched: &'a Matched,
    pub(super) pricing: &'a Pricing<'a>,
    pub(super) request: &'a CanonicalRequest,
    pub(super) headers: &'a HeaderMap,
}

impl Counter<'_> {
    /// Why an offer is made, because of `why`.
    pub(super) fn reason(&self, why: &Why) -> (&'static str, String) {
        let detail = match (why, self.pricing.today()) {
            (Why::Unpaid, Ok(quote)) => format!("this request costs {}: {why}", price_words(&quote)),
            _ => why.to_string(),
        };
        (why.code(), detail)
    }

    /// Makes an offer, because of `code`, which `detail` says in words; one whose payment opens a channel
    /// when its price cannot be received otherwise.
    pub(super) async fn offer_or_open(
        &self,
        openings: Option<&Openings>,
        (code, detail): (&'static str, String),
    ) -> Outcome {
        let offered = match (self.try_offer(code, detail.clone()), openings) {
            (Err(Refused::CannotReceive(why)), Some(openings)) if opens_for(&why) => {
                self.try_open(openings, code, detail).await
            }
            (offered, _) => offered,
        };
        offered.map_or_else(Outcome::Refused, |offered| Outcome::Challenge(Box::new(offered)))
    }

    /// Makes an offer, because of `code`, which `detail` says in words.
    pub(super) fn offer(&self, code: &'static str, detail: String) -> Outcome {
        match self.try_offer(code, detail) {
            Ok(offered) => Outcome::Challenge(Box::new(offered)),
            Err(refused) => Outcome::Refused(refused),
        }
    }

    fn try_offer(&self, code: &'static str, detail: String) -> Result<Offered, Refused> {
        let quote = self.pricing.today()?;
        let wares = shelf(self.matched, &quote, &self.pricing.ask())?;
        let wanted = preferred(self.headers);
        let minted = self.mint(&wares, wanted.as_ref())?;
        Ok(self.offered(minted, (wares, wanted, quote), code, detail))
    }

    /// The same with an invoice whose payment opens a channel. What is wanted is taken when a channel is
    /// opened for it, else the first in the operator's order that one is opened for.
    async fn try_open(
        &self,
        openings: &Openings,
        code: &'static str,
        detail: String,
    ) -> Result<Offered, Refused> {
        let quote = self.pricing.today()?;
        let wares = shelf(self.matched, &quote, &self.pricing.ask())?;
        let wanted = preferred(self.headers);
        let named = wares.iter().filter(|ware| Some(&ware.name) == wanted.as_ref());
        let choice: Vec<&Ware> = named.chain(&wares).collect();
        let at = (self.matched, self.request.host(), self.request.peer());
        let minted = self.parts.open(openings, &choice, at).await?;
        Ok(self.offered(minted, (wares, wanted, quote), code, detail))
    }

    fn offered(
        &self,
        minted: Minted,
        (wares, wanted, quote): (Vec<Ware>, Option<Name>, Quote),
        code: &'static str,
        detail: String,
    ) -> Offered {
        Offered {
            preferred: wanted.as_ref() == Some(&minted.ware.name),
            minted,
            matched: self.matched.clone(),
            errand: Errand::of(self.request),
            wares,
            quote,
            restore: self.matched.terms.restore.clone(),
            code,
            detail,
        }
    }

    /// Mints the one of `wares` that is `wanted`, or the first. One whose price the channels cannot
    /// carry, for it is below or above what they take, gives way to the next.
    fn mint(&self, wares: &[Ware], wanted: Option<&Name>) -> Result<Minted, CannotReceive> {
        let named = wares.iter().filter(|ware| Some(&ware.name) == wanted);
        let mut fault = None;
        for ware in named.chain(wares) {
            match self.parts.mint(ware.clone(), self.matched, self.request.host()) {
                Ok(minted) => return Ok(minted),
                Err(why @ (CannotReceive::TooSmall { .. } | CannotReceive::TooLarge { .. })) => {
                    fault.get_or_insert(why);
                }
                Err(why) => return Err(why),
            }
        }
        Err(fault.unwrap_or(CannotReceive::NoUsableChannel))
    }
}

/// Whether a channel that is opened for it would help.
pub(super) fn opens_for(why: &CannotReceive) -> bool {
    matches!(why, CannotReceive::NoUsableChannel | CannotReceive::TooLarge { .. })
}

/// What is sold for a request that costs `quote`, in the operator's order.
pub(super) fn shelf(matched: &Matched, quote: &Quote, ask: &Ask<'_>) -> Result<Vec<Ware>, Refused> {
    let (mut wares, mut fault) = (Vec::new(), None);
    for offer in &matched.terms.offers {
        match Ware::of(offer, matched, quote, ask) {
            Ok(ware) => wares.push(ware),
            Err(why) => {
                fault.get_or_insert(why);
            }
        }
    }
    match fault {
        _ if !wares.is_empty() => Ok(wares),
        Some(NotSold::Unpriced(why)) => Err(why.into()),
        why => Err(Refused::NotForSale(why.unwrap_or(NotSold::NothingOffered))),
    }
}
