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
    /// What neither side can use now: ours, and the other side's. With both sides it is the channel's size.
    pub(super) held: Held,
}

/// What neither side of a channel can use now, satoshi.
pub(super) struct Held {
    /// Of ours: our reserve, as far as it is filled.
    pub(super) ours: u64,
    /// Our whole reserve.
    wanted: u64,
    /// Of the other side's.
    pub(super) theirs: u64,
    /// In payments that are under way.
    pub(super) under_way: u64,
}

impl Held {
    fn of(view: &ChannelView) -> Held {
        let used = (view.spendable_msat / 1_000).saturating_add(view.receivable_msat / 1_000);
        // Of a channel that is not negotiated yet nothing is known.
        let rest = if used == 0 { 0 } else { view.capacity_sat.saturating_sub(used) };
        // Who can still send has filled their reserve.
        let theirs = match view.receivable_msat / 1_000 {
            0 => rest.saturating_sub(view.reserved_sat).min(view.their_reserved_sat),
            _ => rest.min(view.their_reserved_sat),
        };
        let ours = (rest - theirs).min(view.reserved_sat);
        Held { ours, wanted: view.reserved_sat, theirs, under_way: rest - theirs - ours }
    }

    /// Our part, and of how much where it is not filled yet.
    pub(super) fn ours_text(&self) -> (String, String) {
        let of = match self.ours < self.wanted {
            true => format!("of the {} that you reserve", grouped(self.wanted)),
            false => "of yours".to_owned(),
        };
        (grouped(self.ours), of)
    }

    /// Both parts in a sentence; `None` where there is nothing of the kind.
    pub(super) fn sentence(&self) -> Option<String> {
        (self.ours + self.theirs + self.under_way > 0).then(|| {
            let (ours, of) = self.ours_text();
            let under_way = match self.under_way {
                0 => String::new(),
                sat => format!("; {} sat in payments under way", grouped(sat)),
            };
            format!(
                "Held back: {ours} sat {of}, and {} sat by the other side{under_way}",
                grouped(self.theirs)
            )
        })
    }
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
            held: Held::of(view),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(view: ChannelView) -> (u64, u64, Option<String>) {
        let held = Held::of(&view);
        (held.ours, held.theirs, held.sentence())
    }

    #[test]
    fn both_sides_and_what_is_held_back_are_the_channels_size() {
        let view = |spendable_msat, receivable_msat| ChannelView {
            capacity_sat: 1_000_000,
            spendable_msat,
            receivable_msat,
            reserved_sat: 10_000,
            their_reserved_sat: 12_000,
            ..ChannelView::default()
        };
        let said = "Held back: 10,000 sat of yours, and 12,000 sat by the other side".to_owned();
        assert_eq!(told(view(78_000_000, 900_000_000)), (10_000, 12_000, Some(said)));
        // Just opened by the other side, and paid over once.
        assert_eq!(told(view(0, 988_000_000)).0, 0);
        let said =
            "Held back: 21 sat of the 10,000 that you reserve, and 12,000 sat by the other side".to_owned();
        assert_eq!(told(view(0, 987_979_500)), (21, 12_000, Some(said)));
        // Just opened by us: the other side has nothing to hold back.
        assert_eq!(told(view(990_000_000, 0)), (10_000, 0, told(view(990_000_000, 0)).2));
        let unknown = ChannelView { capacity_sat: 1_000_000, reserved_sat: 10_000, ..ChannelView::default() };
        assert_eq!(told(unknown), (0, 0, None));
        let busy = told(view(70_000_000, 900_000_000));
        assert!(
            (busy.0, busy.1) == (10_000, 12_000)
                && busy.2.is_some_and(|said| said.ends_with("; 8,000 sat in payments under way"))
        );
    }
}
