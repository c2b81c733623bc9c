//! The open channels of which we may have an old state: what spent each of them, as the chain source says it.
//!
//! What the source cannot say is asked again and again, and not for ever: it is told after a while, and in the end
//! given up, never taken for a coin that is home.

use serde::Serialize;

use super::Told;
use crate::chain::{MOST_BLOCKS, Spent};
use crate::node::{Homecoming, MonitoredChannel, OnTheWay, Waits};
use crate::ports::NodeFault;

/// So many answers in a row that say nothing are told of: about a minute.
const PATIENT: u32 = 30;

/// So many, and it is given up: ten minutes and more.
const GIVEN_UP: u32 = 300;

/// A channel of which we may have an old state was spent, and not by a commitment: by an agreed close, whose coins
/// are the wallet's, or by a splice, whose coins that state knows nothing of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnknownSpend {
    /// The channel's id, hexadecimal.
    pub channel_id: String,
    /// The other node's key, hexadecimal.
    pub peer: String,
    /// The channel's funding that was spent.
    pub funding: String,
    /// What spent it; `None` when that is in a block which was not looked at.
    pub txid: Option<String>,
}

/// A channel of which the chain source did not say what spent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotProved {
    /// The channel's id, hexadecimal.
    pub channel_id: String,
    /// The other node's key, hexadecimal.
    pub peer: String,
    /// The channel's funding.
    pub funding: String,
    /// What the source said last.
    pub why: String,
}

/// The open channels of which we may have an old state, and those of them that were spent by what it does not know.
pub(super) struct Unproved {
    channels: Vec<Watched>,
    pub(super) unknown: Vec<UnknownSpend>,
}

struct Watched {
    channel: MonitoredChannel,
    /// Blocks were looked at up to this height.
    from: u32,
    asked: bool,
    /// Its spend was found.
    done: bool,
    /// Its funding was never in a block.
    void: bool,
    /// Answers in a row that said nothing, and the last of them.
    faults: u32,
    why: String,
}

/// What the chain source is to be asked: what spent `funding` from the block at `from` on.
pub(super) struct Question {
    pub(super) channel: usize,
    pub(super) funding: String,
    pub(super) from: u32,
}

impl Unproved {
    pub(super) fn new(channels: Vec<MonitoredChannel>) -> Unproved {
        let watched = |channel: MonitoredChannel| Watched {
            from: channel.seen_height,
            channel,
            asked: false,
            done: false,
            void: false,
            faults: 0,
            why: String::new(),
        };
        Unproved { channels: channels.into_iter().map(watched).collect(), unknown: Vec::new() }
    }

    /// What is to be asked at `height`, of a node that is in step.
    pub(super) fn questions(&self, height: u32) -> Vec<Question> {
        let open = |watched: &&Watched| !(watched.done || (watched.asked && watched.from >= height));
        let numbered = self.channels.iter().enumerate().filter(|(_, watched)| open(watched));
        let question = |(channel, watched): (usize, &Watched)| Question {
            channel,
            funding: watched.channel.funding.clone(),
            from: watched.from,
        };
        numbered.map(question).collect()
    }

    /// Takes an answer, and tells what the channel's state does not know.
    pub(super) fn heard(
        &mut self,
        channel: usize,
        answer: Result<Spent, NodeFault>,
        home: &Homecoming,
        told: &mut (dyn FnMut(Told) + Send),
    ) {
        let Some(watched) = self.channels.get_mut(channel) else { return };
        let id = Some(&watched.channel.channel_id);
        let waits =
            home.on_the_way.iter().any(|coins| coins.channel_id.as_ref() == id && coins.waits == Waits::Peer);
        let txid = match answer {
            Ok(Spent::No) => {
                (watched.from, watched.asked, watched.faults) = (home.height, true, 0);
                return;
            }
            Ok(Spent::Somewhere) if watched.from.saturating_add(MOST_BLOCKS) < home.height => {
                (watched.from, watched.faults) = (watched.from.saturating_add(MOST_BLOCKS), 0);
                return;
            }
            Ok(Spent::By(spend)) => (!spend.is_commitment()).then(|| Some(spend.txid.to_string())),
            // In a block of before: the node would not wait if it knew the spend.
            Ok(Spent::Somewhere) => waits.then_some(None),
            Ok(Spent::Never) => {
                (watched.done, watched.void) = (true, true);
                return told(Told::Void(watched.not_proved()));
            }
            Err(NodeFault(why)) => {
                tracing::debug!(
                    why,
                    channel = watched.channel.channel_id,
                    "whether it was spent cannot be told"
                );
                (watched.faults, watched.why) = (watched.faults.saturating_add(1), why);
                if watched.faults == PATIENT {
                    told(Told::Untold(watched.not_proved()));
                }
                return;
            }
        };
        watched.done = true;
        if let Some(txid) = txid {
            let MonitoredChannel { channel_id, peer, funding, .. } = watched.channel.clone();
            let unknown = UnknownSpend { channel_id, peer, funding, txid };
            told(Told::Unknown(unknown.clone()));
            self.unknown.push(unknown);
        }
    }

    /// Nothing more can be found in the blocks up to `height`, or will be said.
    pub(super) fn has_ended(&self, height: u32) -> bool {
        let ended = |watched: &Watched| {
            watched.done || (watched.asked && watched.from >= height) || watched.faults >= GIVEN_UP
        };
        self.channels.iter().all(ended)
    }

    /// Those of which the source says nothing.
    pub(super) fn untold(&self) -> Vec<NotProved> {
        let untold = self.channels.iter().filter(|watched| !watched.done && watched.faults > 0);
        untold.map(Watched::not_proved).collect()
    }

    /// Whether these coins are waited for. An empty channel is told of only when it may hold more than its state
    /// knows; one that was spent by what its state does not know is not closed any more, and one that never came
    /// to be neither.
    pub(super) fn are_on_the_way(&self, coins: &OnTheWay) -> bool {
        let is = |id: &String| coins.channel_id.as_ref() == Some(id);
        let watched = self.channels.iter().find(|watched| is(&watched.channel.channel_id));
        let spent = self.unknown.iter().any(|unknown| is(&unknown.channel_id));
        let void = watched.is_some_and(|watched| watched.void);
        if spent || void { coins.waits != Waits::Peer } else { coins.sat > 0 || watched.is_some() }
    }
}

impl Watched {
    fn not_proved(&self) -> NotProved {
        let MonitoredChannel { channel_id, peer, funding, .. } = self.channel.clone();
        NotProved { channel_id, peer, funding, why: self.why.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Unproved {
        Unproved::new(vec![MonitoredChannel {
            channel_id: "aa".to_owned(),
            funding: "bb:0".to_owned(),
            peer: "02".to_owned(),
            peer_address: None,
            ours_sat: 7_000,
            under_way: 0,
            settle_before: None,
            closed: false,
            seen_height: 100,
            closes_alone: false,
        }])
    }

    fn waiting() -> Homecoming {
        let coins = OnTheWay {
            channel_id: Some("aa".to_owned()),
            peer: Some("02".to_owned()),
            sat: 7_000,
            waits: Waits::Peer,
        };
        Homecoming { height: 105, on_the_way: vec![coins], ..Homecoming::default() }
    }

    #[test]
    fn what_the_chain_source_cannot_say_is_told_and_given_up() {
        let (mut unproved, home, mut said) = (one(), Homecoming { height: 105, ..waiting() }, Vec::new());
        let mut tell = |told: Told| said.push(told);
        for _ in 1..GIVEN_UP {
            let question = unproved.questions(105).pop().expect("it is asked again");
            assert_eq!((question.funding.as_str(), question.from), ("bb:0", 100));
            unproved.heard(0, Err(NodeFault("no such transaction".to_owned())), &home, &mut tell);
            assert!(!unproved.has_ended(105));
        }
        unproved.heard(0, Err(NodeFault("no such transaction".to_owned())), &home, &mut tell);
        assert!(unproved.has_ended(105));
        let untold = unproved.untold();
        assert_eq!((untold.len(), untold[0].why.as_str()), (1, "no such transaction"));
        assert_eq!(said, [Told::Untold(untold[0].clone())], "once");

        // An answer after all.
        unproved.heard(0, Ok(Spent::No), &home, &mut |told| panic!("{told:?}"));
        assert!(unproved.has_ended(105) && unproved.untold().is_empty());
    }

    #[test]
    fn a_funding_that_was_never_there_holds_nothing() {
        let (mut unproved, home, mut said) = (one(), waiting(), Vec::new());
        assert!(unproved.are_on_the_way(&home.on_the_way[0]));
        unproved.heard(0, Ok(Spent::Never), &home, &mut |told| said.push(told));
        assert!(matches!(&said[..], [Told::Void(channel)] if channel.channel_id == "aa"), "{said:?}");
        assert!(!unproved.are_on_the_way(&home.on_the_way[0]) && unproved.has_ended(105));
        assert!(unproved.unknown.is_empty() && unproved.untold().is_empty(), "nothing is lost by it");

        let mut unproved = one();
        unproved.heard(0, Ok(Spent::Somewhere), &home, &mut |_| {});
        assert_eq!((unproved.unknown.len(), &unproved.unknown[0].txid), (1, &None), "it may have been spent");
    }
}
