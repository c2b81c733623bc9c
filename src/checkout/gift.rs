//! Tokens that the operator gives away: no invoice, the same ledger.
//!
//! Invariant: the preimage is made here and goes to whoever asked for the token; it is kept nowhere,
//! so that neither the ledger's file nor a log gives the token away.

use std::time::Duration;

use thiserror::Error;

use super::Checkout;
use crate::catalog::DEFAULT_ROUTE;
use crate::l402::{Identifier, Sold, Token, authorization};
use crate::store::{NewGrant, StoreError};
use crate::types::{Kind, Msat, Name, PaymentHash, Preimage, Timestamp};

/// What a token that is given away shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GiftAsk {
    /// The service whose every priced route it opens.
    pub service: Name,
    /// What may be drawn from it.
    pub budget: Msat,
    /// The budget is for each period of so long; `None` is for all its life.
    pub per: Option<Duration>,
    /// How long it is good.
    pub lasts: Duration,
    /// What the operator calls it.
    pub label: String,
}

/// A token that was given away, with its proof: the one time that both are seen.
#[derive(Debug)]
pub struct Gift {
    /// Names it.
    pub payment_hash: PaymentHash,
    /// Until when it is good.
    pub valid_until: Timestamp,
    token: Token,
    preimage: Preimage,
}

impl Gift {
    /// The macaroon in base64. A secret.
    pub fn macaroon(&self) -> String {
        self.token.base64()
    }

    /// The preimage in hexadecimal. A secret.
    pub fn preimage(&self) -> String {
        self.preimage.to_hex()
    }

    /// The whole credential, as `Authorization` carries it. A secret.
    pub fn authorization(&self) -> String {
        authorization(&self.token.base64(), &self.preimage)
    }
}

/// Why no token is given away.
#[derive(Debug, Error)]
pub enum NotGiven {
    /// There is no such service.
    #[error("there is no service `{0}`")]
    UnknownService(Name),
    /// The ledger fails. Nothing was given.
    #[error(transparent)]
    Ledger(#[from] StoreError),
}

impl Checkout {
    /// Gives a token away. When this returns, the ledger knows it, and it is good at once.
    ///
    /// # Errors
    /// When there is no such service, or the ledger fails.
    pub async fn give(&self, ask: GiftAsk) -> Result<Gift, NotGiven> {
        let parts = &self.parts;
        let table = parts.catalog.current();
        let Some(service) = table.services().iter().find(|service| service.name == ask.service) else {
            return Err(NotGiven::UnknownService(ask.service));
        };
        let preimage = Preimage::from_bytes(parts.entropy.bytes32());
        let payment_hash = preimage.payment_hash();
        // Tokens tell whole seconds, and the ledger compares.
        let valid_until = Timestamp::from_secs(parts.clock.now().plus(ask.lasts).secs());
        let keys = parts.keys.keys();
        let token_id = keys.new_token_id(parts.entropy.as_ref());
        let sold = Sold {
            service: ask.service.clone(),
            route: DEFAULT_ROUTE.parse().expect("the default route's name is a name"),
            kind: Kind::Granted,
            units: ask.budget.msat(),
            sold: Msat::ZERO,
            revision: 0,
            covers: Msat::ZERO,
            quote: None,
            valid_until,
        };
        let location = service.host.as_deref().unwrap_or_default();
        let token = Token::mint(&keys, location, &Identifier { payment_hash, token_id }, &sold)
            .expect("the keys have a master for the epoch that they just gave");
        let new = NewGrant {
            payment_hash,
            token_id,
            service: ask.service,
            budget_msat: ask.budget,
            per: ask.per,
            label: ask.label,
            valid_until,
        };
        parts.ledger.grant_token(new).await?;
        Ok(Gift { payment_hash, valid_until, token, preimage })
    }
}
