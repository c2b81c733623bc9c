//! What closing a channel would give back, by agreement and by force.
//!
//! Of an agreed close, who opened the channel pays the closing transaction: it names what it would pay at the least and
//! at the most, and the other side chooses between them. The library, on that side, takes the most (its
//! `closing_signed`), so what is promised is what is left after that.

use serde_json::json;

use super::{Preview, Sight};
use crate::ports::ChannelView;
use crate::treasury::held::side;
use crate::treasury::{Deed, FeeChoice, PendingSplice};
use crate::types::counted;

/// A closing transaction with two outputs, both of the shortest kind.
const CLOSE_VBYTES: u64 = 170;
/// The same with an output of the other side's of the longest kind in use, and the least rate rounded up.
const LONGEST_CLOSE_VBYTES: u64 = 184;
/// A closing transaction by force, with what bumps its fee, and the sweep after it.
const FORCE_VBYTES: u64 = 600;
/// What an agreed close may cost beyond its own rate, so that it needs no force (the library's bound).
const AGREED_MORE_SAT: u64 = 1_000;
/// An agreed close gives no output to a side with this or less.
const DUST_SAT: u64 = 354;

/// Of `sat` that get no output of the transaction that closes a channel: one wording for page, API and command line.
pub fn too_little(sat: u64) -> String {
    format!("{sat} sat too little for an output of its own, lost to the fee")
}

/// Why nothing came back of a closed channel: `lost_sat` were too little, where that is known.
pub fn nothing_back(lost_sat: Option<u64>, cause: Option<&str>) -> String {
    match (lost_sat, cause) {
        (Some(sat), _) => too_little(sat),
        (None, Some("never_opened")) => "no coins were committed".to_owned(),
        (None, _) => "nothing was yours, or too little for an output of its own".to_owned(),
    }
}

/// What an agreed close costs, satoshi.
struct Cost {
    about: u64,
    most: u64,
}

/// What an agreed close gives back, satoshi.
enum Back {
    /// At least so much: what is left after the dearest fee.
    AtLeast(u64),
    /// So much after the cheapest fee, and nothing after the dearest.
    UpTo(u64),
    /// It gets no output.
    Nothing,
    /// About so much, as its contract says.
    About(u64),
    Unknown,
}

impl Back {
    fn of(side_sat: u64, cost: &Cost) -> Back {
        let after = |fee: u64| side_sat.checked_sub(fee).filter(|left| *left > DUST_SAT);
        match (after(cost.most), after(cost.about)) {
            (Some(sure), _) => Back::AtLeast(sure),
            (None, Some(left)) => Back::UpTo(left),
            (None, None) => Back::Nothing,
        }
    }

    fn sat(&self) -> Option<u64> {
        match self {
            Back::AtLeast(sat) | Back::About(sat) => Some(*sat),
            Back::UpTo(_) | Back::Nothing => Some(0),
            Back::Unknown => None,
        }
    }
}

impl Sight {
    /// All of ours in the channel before any fee, where nothing but payments changes it.
    fn side(&self, channel: &ChannelView) -> Option<u64> {
        let negotiated = channel.spendable_msat > 0 || channel.receivable_msat > 0;
        (negotiated && self.splice.is_none()).then(|| side(channel, &self.held))
    }

    /// That nobody knows what a close brings, and what is known all the same.
    fn unknown_return(channel: &ChannelView) -> String {
        let spendable = match channel.spendable_msat / 1_000 {
            0 => String::new(),
            sat => format!(": {sat} sat are spendable in the channel"),
        };
        format!("How much comes back is not known now{spendable}.")
    }

    fn lost(&self, channel: &ChannelView) -> String {
        match channel.receivable_msat / 1_000 {
            0 => "Nothing can be received over it now, so no room to receive is lost.".to_owned(),
            sat => format!("You can receive {sat} sat less."),
        }
    }

    /// That a splice of the channel is under way, and what would come back without it.
    fn spliced(&self) -> Option<String> {
        let PendingSplice { says, before_sat, after_sat_about, .. } = self.splice.as_ref()?;
        Some(match (before_sat, after_sat_about) {
            (Some(before), Some(_)) => {
                format!("{says} This counts it as done; without it, about {before} sat were yours.")
            }
            _ => says.clone(),
        })
    }

    /// What of the transaction's fee is ours to pay; `None` where it is, and nobody says how much that is now.
    fn cost(&self, channel: &ChannelView) -> Option<Cost> {
        if !channel.outbound {
            return Some(Cost { about: 0, most: 0 });
        }
        let rates = self.rates.as_ref().ok()?;
        Some(Cost {
            about: FeeChoice::Slow.of(rates).fee_sat(CLOSE_VBYTES),
            most: FeeChoice::Normal.of(rates).fee_sat(LONGEST_CLOSE_VBYTES).saturating_add(AGREED_MORE_SAT),
        })
    }

    fn back(&self, channel: &ChannelView, cost: Option<&Cost>) -> Back {
        match (self.side(channel), cost, self.ours(channel)) {
            (Some(side), Some(cost), _) => Back::of(side, cost),
            (Some(side), None, _) if side <= DUST_SAT => Back::Nothing,
            (_, _, Some(ours)) => Back::About(ours),
            (_, _, None) => Back::Unknown,
        }
    }

    /// What goes to the on-chain wallet.
    fn goes(&self, channel: &ChannelView, back: &Back) -> String {
        let side = self.side(channel).unwrap_or_default();
        let guessed = channel.outbound && !self.rates.as_ref().is_ok_and(|rates| rates.estimated);
        let after = "they are spendable once its transaction is in a block";
        match back {
            Back::AtLeast(sat) if guessed => {
                format!("Probably at least {sat} sat go to the on-chain wallet; {after}.")
            }
            Back::AtLeast(sat) if *sat == side => format!("{sat} sat go to the on-chain wallet; {after}."),
            Back::AtLeast(sat) => format!("At least {sat} sat go to the on-chain wallet; {after}."),
            Back::UpTo(sat) => format!(
                "At most {sat} sat go to the on-chain wallet, and perhaps nothing: what is left of {side} sat after \
                 the fee is lost to it where that is {DUST_SAT} sat or less."
            ),
            Back::Nothing if side == 0 => "Nothing in it is yours, so nothing comes back.".to_owned(),
            Back::Nothing => format!("Nothing comes back: {}.", too_little(side)),
            Back::About(sat) => format!("About {sat} sat go to the on-chain wallet; {after}."),
            Back::Unknown => {
                format!(
                    "{} It is spendable once its transaction is in a block.",
                    Sight::unknown_return(channel)
                )
            }
        }
    }

    fn fee_of(&self, channel: &ChannelView, cost: Option<&Cost>) -> String {
        if !channel.outbound {
            return "The other side opened the channel, so it pays the closing transaction.".to_owned();
        }
        let Some(cost) = cost else {
            return "You opened the channel, so you pay the closing transaction: how much is not known while no chain \
                    source answers."
                .to_owned();
        };
        let guess = match &self.rates {
            Ok(rates) if rates.estimated => "",
            _ => " That is a guess: the chain source has no estimate now.",
        };
        format!(
            "You opened the channel, so you pay the closing transaction: about {} sat, up to {} sat where the other side \
             wants more. Many nodes take the most, so count on that.{guess}",
            cost.about, cost.most
        )
    }

    pub(super) fn close(&self, deed: &Deed, channel: &ChannelView) -> Preview {
        let cost = self.cost(channel);
        let back = self.back(channel, cost.as_ref());
        let lost = matches!(back, Back::Nothing).then(|| self.side(channel)).flatten();
        Preview {
            kind: deed.kind(),
            enough: true,
            undoable: false,
            lines: [
                self.goes(channel, &back),
                self.fee_of(channel, cost.as_ref()),
                self.lost(channel),
                "The other side must be connected and agree; payments under way end first.".to_owned(),
                "A closed channel cannot be opened again: a new one costs another transaction.".to_owned(),
            ]
            .into_iter()
            .chain(self.spliced())
            .collect(),
            figures: json!({
                "returned_sat_about": back.sat(), "fee_sat_about": cost.as_ref().map(|cost| cost.about),
                "fee_sat_at_most": cost.map(|cost| cost.most),
                "lost_sat": lost.filter(|sat| *sat > 0),
                "receivable_lost_msat": channel.receivable_msat, "usable": channel.usable,
            }),
        }
    }

    pub(super) fn force(&self, deed: &Deed, channel: &ChannelView) -> Preview {
        let rate = self.rates.as_ref().ok().map(|rates| FeeChoice::Fast.of(rates));
        let (ours, fee) = (self.ours(channel), rate.map(|rate| rate.fee_sat(FORCE_VBYTES)));
        // The contract counts nothing where it gives no output.
        let lost = self.side(channel).filter(|side| ours == Some(0) && *side > 0);
        let delay = channel.force_close_blocks.unwrap_or(144);
        let figures = json!({
            "returned_sat_about": ours, "fee_sat_about": fee, "lost_sat": lost, "delay_blocks": delay,
            "receivable_lost_msat": channel.receivable_msat,
        });
        if self.coins.total_sat == 0 && !channel.without_anchors {
            let empty = "The on-chain wallet is empty, and nothing in it could pay for the closing transaction: put \
                         coins there first.";
            let lines = vec![empty.to_owned()];
            return Preview { kind: deed.kind(), enough: false, undoable: false, lines, figures };
        }
        let paid_from = match channel.without_anchors {
            true => "what comes back",
            false => {
                "the on-chain wallet and from what comes back. Nothing is kept back for that any more from then on: leave \
                 coins in the wallet until the closing transaction is in a block"
            }
        };
        let after = format!(
            "{} (about {}) after the closing transaction is in a block",
            counted(delay, "block"),
            counted(delay.div_ceil(6), "hour")
        );
        Preview {
            kind: deed.kind(),
            enough: true,
            undoable: false,
            lines: [
                match (ours, lost) {
                    (_, Some(lost)) => format!("Nothing comes back: {}.", too_little(lost)),
                    (Some(ours), None) => format!(
                        "About {ours} sat come back, {after}; a sweep then brings them to the wallet."
                    ),
                    (None, None) => format!(
                        "{} It comes {after}; a sweep then brings it to the wallet.",
                        Sight::unknown_return(channel)
                    ),
                },
                match fee {
                    Some(fee) => format!("The transactions cost about {fee} sat, paid from {paid_from}."),
                    None => format!(
                        "What the transactions cost is not known while no chain source answers; it is paid from {paid_from}."
                    ),
                },
                self.lost(channel),
                "Payments under way are settled on the chain, which may take longer.".to_owned(),
                "It needs nobody's consent. Try an agreed close first: it is cheaper and quicker.".to_owned(),
            ]
            .into_iter()
            .chain(self.spliced())
            .collect(),
            figures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::FeeRate;
    use crate::treasury::tests::{World, channel, claim, world};

    /// What an agreed close of `view` says of what comes back, of its fee, and the sum that it counts on.
    async fn told(world: &World, view: ChannelView) -> (String, String, serde_json::Value) {
        *world.node.channels.lock().unwrap() = vec![view];
        let deed = Deed::CloseChannel { channel_id: "c7".to_owned() };
        let told = world.treasury.preview(&deed).await.unwrap();
        (told.lines[0].clone(), told.lines[1].clone(), told.figures)
    }

    /// A channel that we opened.
    fn opened(spendable_sat: u64) -> ChannelView {
        ChannelView {
            capacity_sat: 1_000_000,
            spendable_msat: spendable_sat * 1_000,
            receivable_msat: (1_000_000 - 660 - 20_000 - spendable_sat) * 1_000,
            reserved_sat: 10_000,
            their_reserved_sat: 10_000,
            ..channel("7", "f1")
        }
    }

    #[tokio::test]
    async fn what_comes_back_is_what_is_left_after_the_dearest_fee() {
        let world = world();
        // The contract is less its own fee and the anchors, which an agreed close does not pay.
        world.node.claims.lock().unwrap().push(claim("c7", 698_873));
        let (back, fee, figures) = told(&world, opened(689_157)).await;
        assert!(back.starts_with("At least 698633 sat go to the on-chain wallet"), "{back}");
        assert!(fee.contains("about 170 sat, up to 1184 sat") && fee.contains("count on that"), "{fee}");
        // The library took 1,170 of them.
        let known = figures["returned_sat_about"].as_u64().unwrap();
        assert!((699_817 - 1_184..=699_817 - 1_170).contains(&known), "{figures}");
        *world.node.rate.lock().unwrap() = None;
        let (back, fee, figures) = told(&world, opened(689_157)).await;
        assert!(
            back.starts_with("About 698873 sat go") && fee.contains("is not known while no"),
            "{back} {fee}"
        );
        assert!(figures["fee_sat_about"].is_null() && figures["fee_sat_at_most"].is_null(), "{figures}");
        *world.node.rate.lock().unwrap() = Some(FeeRate::FLOOR);

        let theirs = ChannelView { outbound: false, ..opened(689_157) };
        let theirs = ChannelView { receivable_msat: 290_183_000, ..theirs };
        let (back, fee, figures) = told(&world, theirs).await;
        assert!(back.starts_with("699157 sat go to the on-chain wallet"), "{back}");
        assert!(fee.contains("so it pays"), "{fee}");
        assert_eq!(figures["fee_sat_at_most"], 0);
        // What is not negotiated yet is told as the contract has it.
        let (back, ..) = told(&world, channel("7", "f1")).await;
        assert!(back.starts_with("About 698873 sat go"), "{back}");
    }

    #[tokio::test]
    async fn what_is_too_little_for_an_output_is_told_as_lost() {
        let world = world();
        world.node.claims.lock().unwrap().push(claim("c7", 0));
        // Earned in a channel of the other side's, in which our reserve is not filled.
        let theirs = |ours: u64| ChannelView {
            outbound: false,
            spendable_msat: 0,
            receivable_msat: (1_000_000 - 660 - 10_000 - ours) * 1_000,
            ..opened(0)
        };
        let (back, _, figures) = told(&world, theirs(37)).await;
        let words = "37 sat too little for an output of its own, lost to the fee";
        assert_eq!(back, format!("Nothing comes back: {words}."));
        assert_eq!(figures["lost_sat"], 37);
        let deed = Deed::ForceCloseChannel { channel_id: "c7".to_owned() };
        *world.node.total.lock().unwrap() = 30_000;
        let forced = world.treasury.preview(&deed).await.unwrap();
        assert_eq!((&forced.lines[0], &forced.figures["lost_sat"]), (&back, &json!(37)));
        assert!(told(&world, theirs(0)).await.0.starts_with("Nothing in it is yours"));
        assert!(told(&world, theirs(355)).await.0.starts_with("355 sat go to"));
        // One of ours whose fee may leave too little.
        let ours = ChannelView { receivable_msat: 988_500_000, ..opened(0) };
        let (back, _, figures) = told(&world, ours).await;
        assert!(
            back.starts_with("At most 1330 sat go to") && back.contains("1500 sat after the fee"),
            "{back}"
        );
        assert_eq!(figures["returned_sat_about"], 0);
        assert_eq!(nothing_back(Some(37), Some("agreed_by_us")), words);
        assert_eq!(nothing_back(None, Some("never_opened")), "no coins were committed");
    }
}
