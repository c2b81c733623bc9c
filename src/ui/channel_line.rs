//! A channel as one line of a list: who, how it stands, what is on which side.

use super::figures::{counted, grouped, grouped_in, permille, sats_whole, shortened};
use crate::store::{OperationRow, OperationState};
use crate::treasury::{Held, OpenChannel};

/// One channel.
pub(super) struct ChannelLine {
    /// What its page is called by: its id, or before it has its last one our own.
    pub(super) id: String,
    pub(super) peer: String,
    pub(super) peer_short: String,
    /// What tells it from another one with the same node.
    pub(super) name: String,
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
    /// What neither side can use now. With both sides it is the channel's size.
    pub(super) held: Option<String>,
    /// That a splice of it is under way.
    pub(super) splice: Option<String>,
}

/// That an open channel is on its way to its end: the number of the move that asked for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With the other side's word, which may take its time.
    Agreed(i64),
    /// Without it.
    Forced(i64),
}

impl Ending {
    /// Of the channel with this id, by the moves that have no end yet. One that may have failed ends nothing.
    pub(super) fn of(channel_id: &str, moves: &[OperationRow]) -> Option<Ending> {
        let under_way = |row: &&OperationRow| {
            row.ask["channel_id"] == channel_id
                && matches!(row.state, OperationState::Intended | OperationState::Sent)
        };
        let ending = |row: &OperationRow| match row.kind.as_str() {
            "close_channel" => Some(Ending::Agreed(row.id)),
            "force_close_channel" => Some(Ending::Forced(row.id)),
            _ => None,
        };
        moves.iter().filter(under_way).filter_map(ending).next_back()
    }
}

/// Our part of what is held back, and of how much where it is not filled yet.
pub(super) fn ours_text(channel: &OpenChannel) -> (String, String) {
    let (ours, wanted) = (channel.held.ours_sat, channel.view.reserved_sat);
    let of = match ours < wanted {
        true => format!("of the {} that you reserve", grouped(wanted)),
        false => "of yours".to_owned(),
    };
    (grouped(ours), of)
}

/// What is held back in a sentence; `None` where there is nothing of the kind.
fn held(channel: &OpenChannel) -> Option<String> {
    let Held { ours_sat, theirs_sat, anchors_sat, splicing_sat, under_way_sat, unsure_sat } = channel.held;
    (ours_sat + theirs_sat + anchors_sat + splicing_sat + under_way_sat + unsure_sat > 0).then(|| {
        let (ours, of) = ours_text(channel);
        let more = [
            (anchors_sat, "for the anchors of its closing transaction"),
            (splicing_sat, "that leave with the splice"),
            (under_way_sat, "in payments under way"),
            (unsure_sat, "held back while the splice is under way"),
        ];
        let more = more.iter().filter(|(sat, _)| *sat > 0);
        let more: String = more.map(|(sat, what)| format!("; {} sat {what}", grouped(*sat))).collect();
        format!("Held back: {ours} sat {of}, and {} sat by the other side{more}", grouped(theirs_sat))
    })
}

impl ChannelLine {
    /// The lines of `channels`, by the moves that have no end yet.
    pub(super) fn all(channels: &[OpenChannel], moves: &[OperationRow]) -> Vec<ChannelLine> {
        let line =
            |channel: &OpenChannel| ChannelLine::ending(channel, Ending::of(&channel.view.channel_id, moves));
        channels.iter().map(line).collect()
    }

    /// The line of `channel`, which may be on its way to its end.
    pub(super) fn ending(channel: &OpenChannel, ending: Option<Ending>) -> ChannelLine {
        let line = ChannelLine::of(channel);
        match ending {
            None => line,
            Some(_) => {
                ChannelLine { state: "Being closed".to_owned(), state_class: "waits", usable: false, ..line }
            }
        }
    }

    fn of(channel: &OpenChannel) -> ChannelLine {
        let view = &channel.view;
        let capacity_msat = view.capacity_sat.saturating_mul(1_000);
        let spendable_permille = permille(view.spendable_msat, capacity_msat);
        let receivable_permille =
            permille(view.receivable_msat, capacity_msat).min(1_000 - spendable_permille);
        let (state, state_class) = match (view.usable, view.ready, view.confirmations_required) {
            (true, ..) => ("Ready".to_owned(), "good"),
            (false, true, _) => ("Ready, but the other node is away".to_owned(), "waits"),
            (false, false, _) if !view.is_opening() => {
                ("Closing, or the other node does not say that it is ready".to_owned(), "waits")
            }
            (false, false, Some(wanted)) => {
                let seen = view.confirmations.unwrap_or(0).min(wanted);
                (format!("Opening, {seen} of {}", counted(wanted.into(), "confirmation")), "waits")
            }
            (false, false, None) => ("Opening".to_owned(), "waits"),
        };
        let state = if channel.splice.is_some() { format!("{state}; a splice is under way") } else { state };
        let (spendable, receivable) = (sats_whole(view.spendable_msat), sats_whole(view.receivable_msat));
        ChannelLine {
            id: if view.ready { view.channel_id.clone() } else { view.local_id.clone() },
            peer_short: shortened(&view.peer),
            name: shortened(&view.channel_id),
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
            held: held(channel),
            splice: channel.splice.as_ref().map(|splice| grouped_in(&splice.says)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::ChannelView;
    use crate::treasury::{PendingSplice, SpliceWay};

    fn channel(held: Held, splice: Option<PendingSplice>) -> OpenChannel {
        let view = ChannelView {
            capacity_sat: 1_000_000,
            spendable_msat: 70_000_000,
            reserved_sat: 10_000,
            ready: true,
            usable: true,
            ..ChannelView::default()
        };
        OpenChannel { view, held, splice, closing_sat: None, being_closed: false }
    }

    #[test]
    fn two_channels_with_the_same_node_have_names_of_their_own() {
        let one = |channel_id: String| {
            let mut open = channel(Held::default(), None);
            (open.view.peer, open.view.channel_id) = ("02".repeat(33), channel_id);
            ChannelLine::of(&open)
        };
        // Of one funding transaction their ids differ at the end alone.
        let (first, other) = (one(format!("{}00", "ab".repeat(31))), one(format!("{}01", "ab".repeat(31))));
        assert_eq!((first.peer_short == other.peer_short, first.name.as_str()), (true, "abababab…abab00"));
        assert_ne!(first.name, other.name);
    }

    #[test]
    fn what_is_held_back_is_told_part_by_part() {
        let full = Held { ours_sat: 10_000, theirs_sat: 12_000, ..Held::default() };
        let said = "Held back: 10,000 sat of yours, and 12,000 sat by the other side";
        assert_eq!(ChannelLine::of(&channel(full, None)).held.as_deref(), Some(said));
        let begun = Held { ours_sat: 21, anchors_sat: 660, ..full };
        let said = "Held back: 21 sat of the 10,000 that you reserve, and 12,000 sat by the other side; 660 sat for \
                    the anchors of its closing transaction";
        assert_eq!(ChannelLine::of(&channel(begun, None)).held.as_deref(), Some(said));
        let busy = Held { under_way_sat: 8_000, ..full };
        let line = ChannelLine::of(&channel(busy, None));
        assert!(line.held.is_some_and(|said| said.ends_with("; 8,000 sat in payments under way")));
        assert_eq!(ChannelLine::of(&channel(Held::default(), None)).held, None);
        let splice = PendingSplice {
            way: SpliceWay::Out,
            amount_sat: Some(60_000),
            fee_sat: None,
            txid: Some("f2".to_owned()),
            before_sat: None,
            after_sat_about: None,
            says: "A splice that takes 60000 sat out of the channel waits for its confirmations.".to_owned(),
        };
        let spliced = ChannelLine::of(&channel(Held { splicing_sat: 61_230, ..full }, Some(splice)));
        assert_eq!(spliced.state, "Ready; a splice is under way");
        assert!(spliced.splice.is_some_and(|said| said.contains("takes 60,000 sat out")));
        assert!(spliced.held.is_some_and(|said| said.ends_with("; 61,230 sat that leave with the splice")));
        let unsure = ChannelLine::of(&channel(Held { unsure_sat: 5_000, ..full }, None)).held;
        assert!(
            unsure.is_some_and(|said| said.ends_with("; 5,000 sat held back while the splice is under way"))
        );
    }
}
