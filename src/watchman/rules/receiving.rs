//! Whether somebody can pay: peers, and room to receive.

use std::time::Duration;

use super::{Looked, roughly, sats, span};
use crate::ports::{Alarm, Check};
use crate::types::Severity::{Critical, Warning};
use crate::watchman::Vitals;

/// Two nodes that are connected go on with their channels within seconds.
const RESUMING: Duration = Duration::from_secs(30);

/// What to do where no payment can be received.
const GET_A_CHANNEL: &str = "Get a channel that can receive: have somebody open one to this node (its address is on the page Lightning), or buy one (`tollhouse inbound`).";
/// The same where something can be paid out.
const MAKE_ROOM: &str = "Get a channel that can receive: have somebody open one to this node (its address is on the page Lightning), or buy one (`tollhouse inbound`). What was earned and is paid out (`tollhouse pay-out`) makes room, too.";
/// What to do where a dear one cannot.
const A_LARGER_ONE: &str = "Get a larger channel that can receive (`tollhouse inbound`), sell for less at once, or pay out (`tollhouse pay-out`).";

/// Whether a peer has only just come, so that its channels may be usable in a moment.
pub(super) fn resumes(vitals: &Vitals) -> bool {
    vitals.since.resuming.is_some_and(|since| span(since, vitals.now) < RESUMING)
}

impl Looked<'_> {
    pub(super) fn peers(&self) -> Check {
        let (connected, known) = (self.vitals.view.peers_connected, self.vitals.beat.peers_known);
        let alone = self.vitals.since.alone.map(|since| span(since, self.vitals.now));
        let alarm = alone.filter(|alone| *alone >= self.limits.peers_offline).map(|alone| {
            let text = format!("No peer is connected for {}: nobody can pay.", roughly(alone));
            let fix =
                "See that this machine reaches the network, and that the peers are up: `tollhouse peers`.";
            Alarm::new("peers_offline", Critical, text, fix)
        });
        Check::fine("peers", format!("{connected} of {known} connected")).aged(alone).with(alarm)
    }

    pub(super) fn receivable(&self) -> Check {
        let view = &self.vitals.view;
        let check = Check::fine("receivable", format!("{} can be received", sats(view.receivable_msat)));
        if let Some(why) = &self.vitals.unpayable {
            let text = format!("Nothing can be sold: {why}.");
            // Over one that we fund ourselves nothing can be received at first.
            let opening = view.channels.iter().any(|channel| channel.is_opening() && !channel.outbound);
            let fix = if opening {
                "Wait: a channel is opening, and can be used when its funding has its confirmations (`tollhouse channels`)."
            } else if view.spendable_msat < 1_000 {
                GET_A_CHANNEL
            } else {
                MAKE_ROOM
            };
            // Without peers it is the peers' alarm, and with no chain source the chain's.
            let others = self.vitals.since.alone.is_some() || resumes(self.vitals) || self.vitals.chain.stale;
            let alarm = (!others && self.age(None) >= self.limits.settling)
                .then(|| Alarm::new("cannot_receive", Critical, text, fix));
            return check.with(alarm);
        }
        let Some((highest, place)) = &self.vitals.prices.highest else { return check };
        if self.vitals.dearest_unpayable {
            let text = format!(
                "{place} costs {highest} and cannot be sold now: one payment brings {} at most, over one channel.",
                sats(view.largest_receivable_msat)
            );
            // After a start the peers come back one by one.
            let back = self.limits.peers_offline.max(self.limits.settling);
            let told = self.standing.contains("receivable_low") || self.age(None) >= back;
            return check.with(told.then(|| Alarm::new("receivable_low", Warning, text, A_LARGER_ONE)));
        }
        let largest = view.largest_receivable_msat;
        if largest >= highest.msat() && self.low("receivable_low", largest, highest.msat()) {
            let text = format!(
                "{place} costs {highest}, about all that one payment can bring: {} at most, over one channel.",
                sats(largest)
            );
            return check.with([Alarm::new("receivable_low", Warning, text, A_LARGER_ONE)]);
        }
        let wanted = highest.msat().saturating_mul(self.limits.receivable_sales);
        if !self.low("receivable_low", view.receivable_msat, wanted) {
            return check;
        }
        let sales = view.receivable_msat / highest.msat().max(1);
        let text = format!(
            "{} can be received: {sales} more sale{} at the highest price, {highest} ({place}).",
            sats(view.receivable_msat),
            if sales == 1 { "" } else { "s" }
        );
        let fix = "Pay out over Lightning (`tollhouse pay-out`), buy inbound (`tollhouse inbound`), or set a rule (`tollhouse rules`).";
        check.with([Alarm::new("receivable_low", Warning, text, fix)])
    }
}
