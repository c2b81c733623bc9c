//! A channel as one line of a list: who, how it stands, what is on which side.

use super::figures::{counted, grouped, permille, sats_whole, shortened};
use crate::ports::ChannelView;

/// One channel.
pub(super) struct ChannelLine {
    /// What its page is called by: its id, or before it has its last one our own.
    pub(super) id: String,
    pub(super) peer: String,
    pub(super) peer_short: String,
    pub(super) state: String,
    pub(super) state_class: &'static str,
    pub(super) capacity: String,
    pub(super) spendable: String,
    pub(super) receivable: String,
    pub(super) spendable_permille: u64,
    pub(super) receivable_permille: u64,
    pub(super) theirs_x: u64,
    pub(super) usable: bool,
    pub(super) spoken: String,
}

impl ChannelLine {
    /// The line of `view`.
    pub(super) fn of(view: &ChannelView) -> ChannelLine {
        let capacity_msat = view.capacity_sat.saturating_mul(1_000);
        let spendable_permille = permille(view.spendable_msat, capacity_msat);
        let receivable_permille =
            permille(view.receivable_msat, capacity_msat).min(1_000 - spendable_permille);
        let (state, state_class) = match (view.usable, view.ready, view.confirmations_required) {
            (true, ..) => ("Ready".to_owned(), "good"),
            (false, true, _) => ("Ready, but the other node is away".to_owned(), "waits"),
            (false, false, Some(wanted)) => {
                let seen = view.confirmations.unwrap_or(0).min(wanted);
                (format!("Opening, {seen} of {}", counted(wanted.into(), "confirmation")), "waits")
            }
            (false, false, None) => ("Opening".to_owned(), "waits"),
        };
        let (spendable, receivable) = (sats_whole(view.spendable_msat), sats_whole(view.receivable_msat));
        ChannelLine {
            id: if view.ready { view.channel_id.clone() } else { view.local_id.clone() },
            peer_short: shortened(&view.peer),
            peer: view.peer.clone(),
            state,
            state_class,
            capacity: grouped(view.capacity_sat),
            spoken: format!("{spendable} sat spendable, {receivable} sat receivable"),
            spendable,
            receivable,
            spendable_permille,
            receivable_permille,
            theirs_x: 1_000 - receivable_permille,
            usable: view.usable,
        }
    }
}
