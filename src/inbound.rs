//! How others come to be able to pay us: channels that a liquidity provider (LSP) opens, for one payment
//! that no channel can carry, or because they were ordered.

mod openings;
mod orders;

use std::sync::Arc;

pub use openings::{Openings, OpeningsView};
pub use orders::{Agreed, OrderError, Orders, OrdersParts, OrdersView};

/// Who opens channels to us, as far as it is set.
#[derive(Clone, Debug, Default)]
pub struct Inbound {
    /// Opens one for a payment that no channel can carry.
    pub openings: Option<Arc<Openings>>,
    /// Sells them.
    pub orders: Option<Arc<Orders>>,
}
