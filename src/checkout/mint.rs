//! Makes the invoice and the token of what is sold.
//!
//! Invariant: it is computation; all that stays is one place in the bounded map of recent challenges
//! (money rule 1), and of the few whose payment opens a channel, the node's record.

use std::net::IpAddr;

use super::CheckoutParts;
use super::ware::Ware;
use crate::catalog::{BrowserUnlock, Matched, Service};
use crate::inbound::Openings;
use crate::l402::{BrowserKey, Identifier, MasterKeys, Quoted, Sold, Token};
use crate::ledger::Bought;
use crate::payment_auth::{self, ChallengeKey, Charge};
use crate::ports::{CannotReceive, InvoiceAsk, MintedInvoice, NotOpened, OPENING_EXPIRY, OpeningInvoice};
use crate::types::{Kind, Msat};

/// An invoice and the token that its payment makes good.
#[derive(Debug)]
pub(super) struct Minted {
    pub(super) ware: Ware,
    pub(super) sold: Sold,
    pub(super) token: Token,
    pub(super) invoice: MintedInvoice,
    /// The same sale in the `Payment` scheme, where the service speaks it and it can be said there.
    pub(super) charge: Option<payment_auth::Challenge>,
    /// What a browser is to keep, where the service lets one in once it is paid.
    pub(super) browser_key: Option<BrowserKey>,
    /// What an LSP keeps of the payment at most, where it opens a channel for it.
    pub(super) opening_fee: Option<Msat>,
}

impl CheckoutParts {
    /// Mints `ware`. Stores nothing.
    pub(super) fn mint(&self, ware: Ware, matched: &Matched, host: &str) -> Result<Minted, CannotReceive> {
        let invoice = self.minter.mint(&asked(&ware, matched, host))?;
        Ok(self.sell(ware, matched, host, invoice))
    }

    /// Sells the first of `wares` that a channel is opened for when it is paid: the one challenge that
    /// stores something, in the node.
    pub(super) async fn open(
        &self,
        openings: &Openings,
        wares: &[&Ware],
        (matched, host, peer): (&Matched, &str, IpAddr),
    ) -> Result<Minted, CannotReceive> {
        let mut fault = None;
        for ware in wares {
            match openings.fee(ware.price) {
                Ok(_) => {
                    // Its invoice is kept while it can be paid.
                    let invoice_expiry = ware.invoice_expiry.min(OPENING_EXPIRY);
                    let ware = Ware { invoice_expiry, ..(*ware).clone() };
                    let opening = openings.invoice(asked(&ware, matched, host), peer).await;
                    let OpeningInvoice { invoice, fee } = opening.map_err(CannotReceive::NotOpened)?;
                    return Ok(Minted { opening_fee: Some(fee), ..self.sell(ware, matched, host, invoice) });
                }
                // The larger ones may do; why they do not says more.
                Err(why @ NotOpened::TooSmall { .. }) => {
                    fault.get_or_insert(why);
                }
                Err(why) => fault = Some(why),
            }
        }
        Err(fault.map_or(CannotReceive::NoUsableChannel, CannotReceive::NotOpened))
    }

    /// Makes the token that the payment of `invoice` makes good.
    fn sell(&self, ware: Ware, matched: &Matched, host: &str, invoice: MintedInvoice) -> Minted {
        let service = &matched.service.name;
        let sold = ware.sold(service, matched.revision, invoice.expires_at);
        let keys = self.keys.keys();
        let token_id = keys.token_id(&invoice.payment_hash);
        let identifier = Identifier { payment_hash: invoice.payment_hash, token_id };
        let token = Token::mint(&keys, host, &identifier, &sold)
            .expect("the keys have a master for the epoch that they just gave");
        self.recent.insert(
            invoice.payment_hash,
            Bought {
                service: service.clone(),
                route: sold.route.clone(),
                kind: sold.kind,
                units: sold.units,
                amount: sold.sold,
                covers: sold.covers,
                quote: sold.quote.as_ref().map(ToString::to_string),
                expires_at: invoice.expires_at,
                valid_until: sold.valid_until,
                epoch: Some(token_id.epoch()),
            },
        );
        let charge = charge(&keys, &matched.service, &sold, &invoice, host);
        let browser_key = match matched.service.unlock {
            BrowserUnlock::On => keys.browser_key(&identifier),
            BrowserUnlock::Off => None,
        };
        Minted { ware, sold, token, invoice, charge, browser_key, opening_fee: None }
    }
}

/// The invoice that `ware` needs.
fn asked(ware: &Ware, matched: &Matched, host: &str) -> InvoiceAsk {
    InvoiceAsk {
        amount: ware.price,
        description: format!("{} to {}/{} at {host}", ware.words(), matched.service.name, ware.route),
        expiry: ware.invoice_expiry,
    }
}

/// The sale in the `Payment` scheme: a single request, for whole satoshi.
fn charge(
    keys: &MasterKeys,
    service: &Service,
    sold: &Sold,
    invoice: &MintedInvoice,
    host: &str,
) -> Option<payment_auth::Challenge> {
    if !service.dialects.payment || sold.kind != Kind::Request {
        return None;
    }
    let key = keys.challenge_key(keys.current_epoch(), &service.name)?;
    let charge = Charge {
        realm: host,
        amount: sold.sold,
        bolt11: &invoice.bolt11,
        payment_hash: invoice.payment_hash,
        expires_at: invoice.expires_at,
        quote: sold.quote.as_ref().map(Quoted::as_str),
    };
    payment_auth::Challenge::of(&ChallengeKey::new(&*key), &charge)
}
