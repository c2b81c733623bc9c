//! The line that would earn the next sat, for pages on which nothing stands yet; where nothing is on sale, the way to
//! what would.

use crate::web::Operator;

/// What a page offers that has no payment to show.
pub(super) struct Sale {
    /// What asks for something that costs; `None` where nothing is on sale for money.
    pub(super) line: Option<String>,
    /// There is no service at all.
    pub(super) none: bool,
}

impl Sale {
    /// What can be asked for at this moment.
    pub(super) fn of(op: &Operator) -> Sale {
        let line = op.sample(None).map(|sample| sample.curl());
        Sale { line, none: op.parts.storefront.stock().is_empty() }
    }
}
