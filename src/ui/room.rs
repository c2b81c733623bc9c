//! Room to receive: how much there is, why there is none, and what makes some at once. Told alike on Home, on Lightning
//! and in the first steps.

use crate::ports::{ChannelView, NodeView};
use crate::treasury::OpenChannel;
use crate::ui::figures::{counted, grouped, sats_exact, sats_whole};
use crate::web::Operator;

/// The least payment that opens a channel now, and what the provider keeps of it, in satoshi.
pub(super) fn opening(op: &Operator) -> Option<(String, String)> {
    let view = op.parts.inbound.openings.as_ref()?.view();
    Some((sats_exact(view.least_msat?.msat()), sats_exact(view.least_fee_msat?.msat())))
}

/// Whether there is room, as a title. `opens` is the least payment that makes some by itself, in satoshi.
pub(super) fn title(node: &NodeView, opens: Option<&str>) -> String {
    // Who has channels has sold, or soon will: it is about now.
    let (first, when) = if node.channels.is_empty() { ("first", "yet") } else { ("next", "now") };
    match (node.receivable_msat / 1_000, opens) {
        (0, Some(least)) => format!("The {first} payment of {least} sat or more opens a channel"),
        (0, None) => format!("You cannot receive {when}"),
        (sat, _) => format!("You can receive {} sat", grouped(sat)),
    }
}

/// What has to end by itself before there is room.
pub(super) fn wait(node: &NodeView, standing: &[OpenChannel]) -> Option<String> {
    if node.channels.iter().any(ChannelView::is_opening) {
        return Some(
            "A channel is opening; it is listed below with the confirmations that it still needs.".to_owned(),
        );
    }
    if let Some(away) = away(node) {
        return Some(away);
    }
    let under_way: u64 = standing.iter().map(|channel| channel.held.under_way_sat).sum();
    (under_way > 0).then(|| {
        let sats = grouped(under_way);
        format!(
            "{sats} sat are in payments under way; what does not stay with you is room again when they end."
        )
    })
}

/// What can be received and spent beside what the figures say: over channels whose other node is away.
pub(super) fn away(node: &NodeView) -> Option<String> {
    let away = || node.channels.iter().filter(|channel| channel.ready && !channel.usable);
    let sum = |of: fn(&ChannelView) -> u64| away().map(of).sum::<u64>();
    let channels = counted(u64::try_from(away().count()).unwrap_or(u64::MAX), "channel");
    let (receivable, spendable) =
        (sum(|channel| channel.receivable_msat), sum(|channel| channel.spendable_msat));
    (away().next().is_some()).then(|| {
        format!(
            "The other node of {channels} is away: {} sat more can be received, and {} sat more spent, when it is back.",
            sats_whole(receivable),
            sats_whole(spendable)
        )
    })
}

/// That what was earned makes room when it is paid out.
pub(super) fn pay_out(node: &NodeView) -> Option<String> {
    (node.spendable_msat >= 1_000).then(|| {
        format!(
            "You have {} sat to spend: what goes to another wallet of yours makes about as much room to receive.",
            sats_whole(node.spendable_msat)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::ChannelView;

    fn node(receivable_sat: u64, channels: Vec<ChannelView>) -> NodeView {
        NodeView { running: true, receivable_msat: receivable_sat * 1_000, channels, ..NodeView::default() }
    }

    fn channel(ready: bool, usable: bool) -> ChannelView {
        let (receivable_msat, spendable_msat) = (450_000_000, 9_030_000);
        ChannelView { ready, usable, receivable_msat, spendable_msat, ..ChannelView::default() }
    }

    #[test]
    fn the_title_is_of_who_never_sold_or_of_who_does() {
        let one = || vec![channel(true, true)];
        assert_eq!(title(&node(0, Vec::new()), None), "You cannot receive yet");
        assert_eq!(title(&node(0, one()), None), "You cannot receive now");
        let opens = |channels| title(&node(0, channels), Some("10,000"));
        assert_eq!(opens(Vec::new()), "The first payment of 10,000 sat or more opens a channel");
        assert_eq!(opens(one()), "The next payment of 10,000 sat or more opens a channel");
        assert_eq!(title(&node(5_000, one()), Some("10,000")), "You can receive 5,000 sat");
    }

    #[test]
    fn what_is_waited_for_is_named() {
        let says = |channels: Vec<ChannelView>, under_way_sat| {
            let view = node(0, channels);
            let held = crate::treasury::Held { under_way_sat, ..Default::default() };
            let standing: Vec<OpenChannel> = view
                .channels
                .iter()
                .map(|channel| OpenChannel {
                    view: channel.clone(),
                    held,
                    splice: None,
                    closing_sat: None,
                    being_closed: false,
                })
                .collect();
            wait(&view, &standing)
        };
        assert!(says(vec![channel(false, false)], 0).unwrap().starts_with("A channel is opening"));
        assert_eq!(
            says(vec![channel(true, true), channel(true, false)], 0).unwrap(),
            "The other node of 1 channel is away: 450,000 sat more can be received, and 9,030 sat more spent, when it is \
             back."
        );
        assert!(
            says(vec![channel(true, true)], 1_200)
                .unwrap()
                .starts_with("1,200 sat are in payments under way")
        );
        assert_eq!(says(vec![channel(true, true)], 0), None);
    }
}
