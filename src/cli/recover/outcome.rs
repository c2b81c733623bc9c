//! What `tollhouse recover` tells while it waits, and how it ended.

use serde_json::{Value, json};

use crate::app::offline::{Brought, NotProved, Told, UnknownSpend, in_words};
use crate::node::{Homecoming, MonitoredChannel, Waits};
use crate::types::{counted, grouped};

/// The most that a commitment leaves out, because it is too little for an output of its own: the limit that nodes
/// agree on is lower still (BOLT 3).
const DUST_SAT: u64 = 545;

/// How it ended.
pub(super) struct Ended<'a> {
    pub(super) brought: &'a Brought,
    /// What was too little for an output of a close, at most; see [`dust`].
    pub(super) dust_sat: u64,
}

/// The most that may be lost of channels in which too little was ours for an output of their close, satoshi. Those
/// of which more came are not told apart from them.
pub(super) fn dust(channels: &[MonitoredChannel], brought: &Brought) -> u64 {
    let unknown = |id: &str| brought.unknown.iter().any(|unknown| unknown.channel_id == id);
    let little = channels
        .iter()
        .filter(|channel| !channel.closed && channel.ours_sat <= DUST_SAT && !unknown(&channel.channel_id));
    little.fold(0, |sum: u64, _| sum.saturating_add(DUST_SAT))
}

impl Ended<'_> {
    /// Nothing is on its way, and nothing unproved.
    pub(super) fn all_home(&self) -> bool {
        let Brought { home, unknown, untold } = self.brought;
        home.on_the_way.is_empty() && unknown.is_empty() && untold.is_empty()
    }

    pub(super) fn json(&self, plan: &Value) -> Value {
        let Brought { home, unknown, untold } = self.brought;
        json!({
            "plan": plan, "all_home": self.all_home(), "coins": home, "dust_sat_at_most": self.dust_sat,
            "unknown_spends": unknown, "not_proved": untold,
        })
    }

    pub(super) fn text(&self, next: impl FnOnce() -> String) -> String {
        let Brought { home, unknown, untold } = self.brought;
        if !unknown.is_empty() {
            return format!(
                "{} sat are in the on-chain wallet. Not all may be home: see above.",
                grouped(home.home_sat)
            );
        }
        if self.all_home() {
            let lost = match self.dust_sat {
                0 => String::new(),
                sat => format!(
                    "\nNot among them: what was yours in channels that had too little of it for an output of their close, {sat} \
                     sat at most. It went to the miners."
                ),
            };
            return format!(
                "All coins are in the on-chain wallet: {} sat.{lost}\n{}",
                grouped(home.home_sat),
                next()
            );
        }
        if home.on_the_way.is_empty() {
            let which: Vec<String> = untold
                .iter()
                .map(|NotProved { peer, funding, why, .. }| {
                    format!("  the channel with {peer} ({funding}): {why}")
                })
                .collect();
            return format!(
                "{} sat are in the on-chain wallet, and nothing is known to be on its way. It is not proved that all is \
                 home: the chain source did not say what spent\n{}\nSay `tollhouse recover` again with another chain \
                 source to know it.",
                grouped(home.home_sat),
                which.join("\n")
            );
        }
        "Stopped with coins on their way. `tollhouse run` goes on with it; so does `tollhouse recover`."
            .to_owned()
    }
}

pub(super) fn told_text(told: &Told) -> String {
    match told {
        Told::Waiting(why) => format!("waiting: {why}"),
        Told::PeerAway(why) => format!("not reached yet: {why}"),
        Told::Coins(home) => coins_text(home),
        Told::Unknown(UnknownSpend { peer, funding, txid: Some(txid), .. }) => format!(
            "The channel with {peer} ({funding}) was spent after that state was written, and by no commitment: {txid}. {UNKNOWN}"
        ),
        Told::Unknown(UnknownSpend { peer, funding, txid: None, .. }) => format!(
            "The channel with {peer} ({funding}) was spent after that state was written, and by no commitment: in a block \
             too long ago to be looked at. Or its own transaction was never in a block, and nothing is in it: a bitcoind \
             with txindex=1 can tell that. {UNKNOWN}"
        ),
        Told::Void(NotProved { peer, funding, .. }) => format!(
            "The channel with {peer} ({funding}) never came to be: its transaction is in no block, and waits for none. \
             Nothing is in it; the coins that were meant for it stayed with whoever opened it."
        ),
        Told::Untold(NotProved { peer, funding, why, .. }) => format!(
            "The chain source has not said for a minute what spent the channel with {peer} ({funding}): {why}. It is \
             asked on, for ten minutes or so when nothing else is on its way. Ctrl-C ends this before (with 3: it is \
             not proved then that all is home); another chain source may know."
        ),
    }
}

const UNKNOWN: &str = "\
If that is a close by agreement, what was yours went to the wallet. If it made the channel larger or smaller (a splice), \
what is yours in it now cannot be brought home from this state: use a newer snapshot. Keep the seed and this directory: \
what the peer's close pays you stays on-chain, under the seed's keys.";

fn coins_text(home: &Homecoming) -> String {
    let mut lines = vec![format!(
        "block {}, {} connected: {} sat are in the on-chain wallet",
        home.height,
        counted(home.peers_connected, "peer"),
        grouped(home.home_sat)
    )];
    lines.extend(home.on_the_way.iter().map(|coins| {
        let whose = match (&coins.peer, coins.waits) {
            (Some(peer), Waits::Peer) => format!(" ({peer})"),
            _ => String::new(),
        };
        let what = match coins.sat {
            0 => "what came to an empty channel since".to_owned(),
            sat => format!("{} sat", grouped(sat)),
        };
        format!("  {what} waits {}{whose}", in_words(coins.waits))
    }));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::channel;
    use super::*;

    #[test]
    fn only_what_is_proved_is_called_home() {
        let home = || Homecoming { home_sat: 99_000, ..Homecoming::default() };
        let brought = Brought { home: home(), unknown: Vec::new(), untold: Vec::new() };
        let text = |brought: &Brought, channels: &[MonitoredChannel]| {
            let ended = Ended { brought, dust_sat: dust(channels, brought) };
            (ended.text(|| "Next".to_owned()), ended.all_home(), ended.dust_sat)
        };
        let full = MonitoredChannel { ours_sat: 50_000, ..channel(false, true) };
        let (said, all, _) = text(&brought, &[full.clone(), channel(true, true)]);
        assert_eq!((said.as_str(), all), ("All coins are in the on-chain wallet: 99,000 sat.\nNext", true));
        // Seven sat are no output.
        let (said, all, lost) = text(&brought, &[full, channel(false, true), channel(false, false)]);
        assert!(said.contains("1090 sat at most") && all && lost == 2 * DUST_SAT, "{said}");

        let channel = NotProved {
            channel_id: "aa".to_owned(),
            peer: "02".to_owned(),
            funding: "bb:0".to_owned(),
            why: "missing transaction".to_owned(),
        };
        let brought = Brought { untold: vec![channel], ..brought };
        let (said, all, _) = text(&brought, &[]);
        assert!(!all && said.contains("bb:0): missing transaction") && !said.contains("All coins"), "{said}");
    }
}
