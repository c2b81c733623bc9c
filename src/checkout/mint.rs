//! Makes the invoice and the token of what is sold.
//!
//! Invariant: it is computation; all that stays is one place in the bounded map of recent challenges
//! (money rule 1).

use super::CheckoutParts;
use super::ware::Ware;
use crate::catalog::Matched;
use crate::l402::{Identifier, Sold, Token};
use crate::ledger::Bought;
use crate::ports::{CannotReceive, InvoiceAsk, MintedInvoice};

/// An invoice and the token that its payment makes good.
#[derive(Debug)]
pub(super) struct Minted {
    pub(super) ware: Ware,
    pub(super) sold: Sold,
    pub(super) token: Token,
    pub(super) invoice: MintedInvoice,
}

impl CheckoutParts {
    /// Mints `ware`. Stores nothing.
    pub(super) fn mint(&self, ware: Ware, matched: &Matched, host: &str) -> Result<Minted, CannotReceive> {
        let service = &matched.service.name;
        let invoice = self.minter.mint(&InvoiceAsk {
            amount: ware.price,
            description: format!("{} to {service}/{} at {host}", ware.words(), ware.route),
            expiry: ware.invoice_expiry,
        })?;
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
                quote: sold.quote.as_ref().map(ToString::to_string),
                expires_at: invoice.expires_at,
                epoch: Some(token_id.epoch()),
            },
        );
        Ok(Minted { ware, sold, token, invoice })
    }
}
