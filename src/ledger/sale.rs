//! What a token says was sold, and what one request draws of it.

use std::time::Duration;

use crate::types::{Kind, Limit, Msat, Name, PaymentHash, Timestamp, TokenId};

/// What a token says was sold, as its redemption presents it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// Names the grant.
    pub payment_hash: PaymentHash,
    /// The token.
    pub token_id: TokenId,
    /// The service.
    pub service: Name,
    /// The route that was asked for; of a pass, the scope that it opens.
    pub route: Name,
    /// What was sold.
    pub kind: Kind,
    /// How many units; at least one: requests of a request or pack, one of a pass, millisatoshi of a
    /// balance, and the budget of a granted token.
    pub units: u64,
    /// How long a pass is open from its first use; `None` for every other kind.
    pub lasts: Option<Duration>,
    /// The price of all units together.
    pub sold: Msat,
    /// The dearest request that one unit of a request or a pack opens; zero for every other kind.
    pub covers: Msat,
    /// The price in another currency that it was sold at, such as `0.002 USD@64000.12`.
    pub quote: Option<String>,
    /// Until when they may be used; a pass, until when it may be opened.
    pub valid_until: Timestamp,
}

/// What one request draws of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Units that must be there.
    pub least: u64,
    /// Units that are held when they are there.
    pub most: u64,
    /// The route of this request, for the reports.
    pub route: Name,
    /// The limits of the copy of the token that it came with, in the order of its chain.
    pub limits: Vec<Limit>,
}

impl Draw {
    /// One request of a single-use token or a pack.
    pub const fn one(route: Name) -> Draw {
        Draw { least: 1, most: 1, route, limits: Vec::new() }
    }

    /// One request under a pass, which draws nothing once it is open.
    pub const fn pass(route: Name) -> Draw {
        Draw { least: 0, most: 0, route, limits: Vec::new() }
    }

    /// Money: at least `least`, and up to `most` when it is there.
    pub const fn money(least: Msat, most: Msat, route: Name) -> Draw {
        Draw { least: least.msat(), most: most.msat(), route, limits: Vec::new() }
    }

    /// The same with a token that has these limits.
    pub fn within(self, limits: Vec<Limit>) -> Draw {
        Draw { limits, ..self }
    }
}
