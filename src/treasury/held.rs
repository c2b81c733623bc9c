//! What of a channel neither side can use, and what of it is ours before any fee.

use schemars::JsonSchema;
use serde::Serialize;

use crate::ports::{ChannelView, CoinsView, Waits};

/// Two outputs of a commitment, through which either side can pay more for it (BOLT 3). Who opened the channel pays
/// for both, satoshi.
const ANCHORS_SAT: u64 = 660;
/// A contract gives no output to a side with less than this, satoshi.
const DUST_SAT: u64 = 354;

/// What neither side of a channel can use now, satoshi. With what both can use it is the channel's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Held {
    /// Of ours: our reserve, as far as it is filled.
    pub ours_sat: u64,
    /// Of the other side's: its reserve, as far as it is filled.
    pub theirs_sat: u64,
    /// Of who opened the channel: the anchors of its closing transaction.
    pub anchors_sat: u64,
    /// Leaves the channel with a splice that is agreed, its fee with it as far as that is known.
    pub splicing_sat: u64,
    /// In payments under way.
    pub under_way_sat: u64,
    /// While a splice is agreed and under way: held back for it, or in payments; the node does not say which.
    pub unsure_sat: u64,
}

impl Held {
    /// Of `view`, out of which a splice takes so much.
    pub(super) fn of(view: &ChannelView, leaves_sat: u64) -> Held {
        let (spendable, receivable) = (view.spendable_msat / 1_000, view.receivable_msat / 1_000);
        let used = spendable.saturating_add(receivable);
        // Of a channel that is not negotiated yet nothing is known.
        let rest = if used == 0 { 0 } else { view.capacity_sat.saturating_sub(used) };
        let splicing_sat = rest.min(leaves_sat);
        let rest = rest - splicing_sat;
        // Who can still send has filled their reserve, and so has who opened the channel.
        let mine = if view.outbound || spendable > 0 { view.reserved_sat } else { 0 };
        let its = if !view.outbound || receivable > 0 { view.their_reserved_sat } else { 0 };
        // What can be sent is told with the reserve that a smaller channel will have.
        let filled = if splicing_sat > 0 { 0 } else { mine.saturating_add(its) };
        let anchors = if view.without_anchors { 0 } else { ANCHORS_SAT };
        let anchors_sat = rest.saturating_sub(filled).min(anchors);
        let rest = rest - anchors_sat;
        let theirs_sat = match receivable {
            0 => rest.saturating_sub(view.reserved_sat).min(view.their_reserved_sat),
            _ => rest.min(view.their_reserved_sat),
        };
        let ours_sat = (rest - theirs_sat).min(view.reserved_sat);
        let under_way_sat = rest - theirs_sat - ours_sat;
        Held { ours_sat, theirs_sat, anchors_sat, splicing_sat, under_way_sat, unsure_sat: 0 }
    }

    /// The same of a channel of which a splice is agreed: what can be used is told for the old and the new size at once, so
    /// that what is missing of the old one need be in no payment.
    pub(super) fn amid_splice(self) -> Held {
        Held { under_way_sat: 0, unsure_sat: self.under_way_sat, ..self }
    }
}

/// All of ours in the channel before any fee, satoshi, where nothing but payments changes it: what can be sent, the
/// reserve, and the anchors where we pay for them.
pub(super) fn side(view: &ChannelView, held: &Held) -> u64 {
    let anchors = if view.outbound { held.anchors_sat } else { 0 };
    (view.spendable_msat / 1_000).saturating_add(held.ours_sat).saturating_add(anchors)
}

/// All of ours in the channel before any fee, millisatoshi; `None` where payments or a splice under way hide it: seen from
/// either side it is the same, where that side can be told.
pub(super) fn side_msat(view: &ChannelView) -> Option<u64> {
    let anchors = if view.without_anchors { 0 } else { ANCHORS_SAT };
    let (our_anchors, their_anchors) = if view.outbound { (anchors, 0) } else { (0, anchors) };
    // Who can send has filled their reserve.
    let all = |capacity_msat: u64, reserve_sat: u64, anchors_sat: u64| {
        let kept = reserve_sat.saturating_add(anchors_sat).saturating_mul(1_000);
        (capacity_msat > 0).then(|| capacity_msat.saturating_add(kept))
    };
    let ours = all(view.spendable_msat, view.reserved_sat, our_anchors);
    let theirs = all(view.receivable_msat, view.their_reserved_sat, their_anchors);
    let rest = theirs.and_then(|theirs| view.capacity_sat.checked_mul(1_000)?.checked_sub(theirs));
    match (ours, rest) {
        (Some(ours), Some(rest)) => (ours == rest).then_some(ours),
        (ours, rest) => ours.or(rest),
    }
}

/// What of ours in it closing it now would take, satoshi: what its contract does not give out of all that is ours. `None`
/// where that is not known.
pub(super) fn closing_sat(view: &ChannelView, coins: &CoinsView) -> Option<u64> {
    let own = || coins.claims.iter().filter(|claim| claim.channel_id == view.channel_id);
    let plain = own().all(|claim| claim.waits == Waits::Closing);
    let given = own().map(|claim| claim.amount_sat).reduce(u64::saturating_add).filter(|_| plain)?;
    (side_msat(view)? / 1_000).checked_sub(given)
}

/// What is ours in it, satoshi, where the contract counts nothing of it: it gives no output to so little.
pub(super) fn too_little_in(view: &ChannelView) -> Option<u64> {
    Some(side(view, &Held::of(view, 0))).filter(|sat| *sat < DUST_SAT)
}
