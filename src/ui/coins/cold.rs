//! The vault in short: what cold storage holds, beside the wallet.

use crate::ui::figures::grouped;
use crate::vault::VaultView;

/// The vault, as the page of the coins shows it.
pub(super) struct Cold {
    pub(super) balance: String,
    pub(super) pending: Option<String>,
    pub(super) trouble: Option<String>,
}

impl Cold {
    /// In short.
    pub(super) fn of(view: &VaultView) -> Cold {
        Cold {
            balance: grouped(view.balance.confirmed_sat),
            pending: (view.balance.pending_sat > 0).then(|| grouped(view.balance.pending_sat)),
            trouble: view.trouble.clone(),
        }
    }
}
