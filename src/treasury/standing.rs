//! Open channels as they stand: what each part of one is, and whether a splice of it is under way.
//!
//! The library goes on telling a channel's old size until a splice is confirmed, while what can be sent is less from
//! when it is agreed: what leaves is told apart here, once for pages, API and command line.

use schemars::JsonSchema;
use serde::Serialize;

use super::Treasury;
use super::held::{Held, closing_sat};
use crate::ports::{ChannelView, CoinsView, Waits};
use crate::store::{OperationRow, OperationState, PendingFunding, StoreError};

/// The most that a splice is thought to pay as its fee, satoshi.
const DEAREST_FEE_SAT: u64 = 100_000;

/// An open channel as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OpenChannel {
    /// As the node has it.
    #[serde(flatten)]
    pub view: ChannelView,
    /// What neither side can use now.
    pub held: Held,
    /// A splice of it that is under way.
    pub splice: Option<PendingSplice>,
    /// What of ours in it closing it now would take, satoshi: the fee and the anchors where we pay for them, and what is too
    /// little for an output. What the chain would give out is so much less than what can be sent and what is reserved.
    /// `null` where payments or a splice are under way, or the node does not say.
    pub closing_sat: Option<u64>,
    /// Its end was asked for, and the channel is there until the other node says its word or the close is carried out.
    pub being_closed: bool,
}

impl OpenChannel {
    fn of(view: &ChannelView, splice: Option<PendingSplice>, coins: Option<&CoinsView>) -> OpenChannel {
        let leaves = splice.as_ref().map_or(0, PendingSplice::leaves);
        let held = Held::of(view, leaves);
        let agreed = splice.as_ref().is_some_and(|splice| splice.txid.is_some());
        let closing_sat = coins.filter(|_| splice.is_none()).and_then(|coins| closing_sat(view, coins));
        let held = if agreed { held.amid_splice() } else { held };
        OpenChannel { held, view: view.clone(), splice, closing_sat, being_closed: false }
    }
}

/// Which way coins go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpliceWay {
    /// From our wallet into the channel.
    In,
    /// From our side of the channel to an address.
    Out,
    /// The other side's splice, or one of which nothing more is known.
    Other,
}

/// A splice that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PendingSplice {
    /// Which way.
    pub way: SpliceWay,
    /// How much, satoshi, where it is ours.
    pub amount_sat: Option<u64>,
    /// Its fee, satoshi, where the channel pays it and it is known.
    pub fee_sat: Option<u64>,
    /// Its transaction, from when both nodes agreed.
    pub txid: Option<String>,
    /// What would come back if the channel were closed without it, satoshi; `null` where the node does not say, or
    /// where the splice is in a block.
    pub before_sat: Option<u64>,
    /// About what would come back once it is confirmed, satoshi.
    pub after_sat_about: Option<u64>,
    /// In plain words.
    pub says: String,
}

impl PendingSplice {
    /// What leaves the channel with it, from when it is agreed.
    fn leaves(&self) -> u64 {
        match (self.way, &self.txid, self.amount_sat) {
            (SpliceWay::Out, Some(_), Some(amount)) => amount.saturating_add(self.fee_sat.unwrap_or(0)),
            _ => 0,
        }
    }

    /// What the channel's size will be about, when it is `capacity_sat` now.
    pub fn capacity_after_about(&self, capacity_sat: u64) -> Option<u64> {
        match (self.way, self.amount_sat) {
            (SpliceWay::In, Some(amount)) => capacity_sat.checked_add(amount),
            (SpliceWay::Out, Some(amount)) => {
                capacity_sat.checked_sub(amount)?.checked_sub(self.fee_sat.unwrap_or(0))
            }
            _ => None,
        }
    }

    fn new(way: SpliceWay, amount_sat: Option<u64>, txid: Option<String>) -> PendingSplice {
        let says = says(way, amount_sat, txid.is_some());
        PendingSplice { way, amount_sat, fee_sat: None, txid, before_sat: None, after_sat_about: None, says }
    }

    /// Adds what the channel's contract says of it.
    fn weighed(mut self, channel: &ChannelView, coins: &CoinsView, alone: bool) -> PendingSplice {
        let claims = coins.claims.iter();
        let own = claims.filter(|claim| claim.channel_id == channel.channel_id);
        let Some(claimed) = own.map(|claim| claim.amount_sat).reduce(u64::saturating_add) else {
            return self;
        };
        if self.txid.is_none() {
            self.before_sat = Some(claimed);
            return self;
        }
        // What can be sent is told as it will be after the splice.
        let (sendable, amount) = (channel.spendable_msat / 1_000, self.amount_sat.unwrap_or(0));
        let ours = if sendable == 0 { 0 } else { sendable.saturating_add(channel.reserved_sat) };
        match self.way {
            SpliceWay::Other => self.after_sat_about = Some(claimed),
            SpliceWay::In if claimed >= ours.saturating_add(amount / 2) => {
                self.after_sat_about = Some(claimed)
            }
            SpliceWay::Out if claimed < ours.saturating_add(amount / 2) => {
                self.after_sat_about = Some(claimed);
            }
            SpliceWay::In => {
                (self.before_sat, self.after_sat_about) = (Some(claimed), claimed.checked_add(amount));
            }
            SpliceWay::Out => {
                let told = if alone { fee_of_one(coins, amount) } else { None };
                self.fee_sat = told.or(self.fee_sat);
                self.before_sat = Some(claimed);
                self.after_sat_about = Some(claimed.saturating_sub(self.leaves()));
            }
        }
        self
    }
}

/// The fee of the one splice that is under way and takes `amount` out, while no block has it.
pub(super) fn fee_of_one(coins: &CoinsView, amount: u64) -> Option<u64> {
    leaving(coins)?.checked_sub(amount).filter(|fee| (1..=DEAREST_FEE_SAT).contains(fee))
}

/// What the library's sum has less than its parts: it counts a splice as done, while they are as before it. `None`
/// where payments under way make them differ, too.
fn leaving(coins: &CoinsView) -> Option<u64> {
    let plain = coins.claims.iter().all(|claim| !matches!(claim.waits, Waits::Timeout | Waits::OthersProof));
    let parts = coins.claims.iter().map(|claim| claim.amount_sat).fold(0, u64::saturating_add);
    plain.then(|| parts.checked_sub(coins.lightning_sat)).flatten()
}

/// The fee of a splice that takes coins out, as it was noted while that could be seen.
pub(super) fn fee_noted(row: &OperationRow) -> Option<u64> {
    row.outcome["fee_sat"].as_u64().filter(|_| row.kind == "splice_out")
}

fn says(way: SpliceWay, amount_sat: Option<u64>, agreed: bool) -> String {
    let what = match (way, amount_sat) {
        (SpliceWay::In, Some(sat)) => format!("A splice that puts {sat} sat into the channel"),
        (SpliceWay::Out, Some(sat)) => format!("A splice that takes {sat} sat out of the channel"),
        _ => "A splice of the channel".to_owned(),
    };
    match agreed {
        true => format!("{what} waits for its confirmations."),
        false => format!("{what} is asked for; the other node has not agreed yet, and nothing has moved."),
    }
}

impl Treasury {
    /// These channels as they stand, in their order.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn standing(&self, channels: &[ChannelView]) -> Result<Vec<OpenChannel>, StoreError> {
        let mut splices = self.splices(channels).await?;
        let agreed = |splice: &Option<PendingSplice>| splice.as_ref().is_some_and(|one| one.txid.is_some());
        let alone = splices.iter().filter(|splice| agreed(splice)).count() == 1;
        let coins = match splices.iter().any(Option::is_some) {
            true => self.coins_before_fees().await.ok().map(|before| before.coins),
            false if channels.is_empty() => None,
            false => self.0.parts.coins.coins().await.ok(),
        };
        if let Some(coins) = &coins {
            for (channel, splice) in channels.iter().zip(&mut splices) {
                *splice = splice.take().map(|splice| splice.weighed(channel, coins, alone));
            }
        }
        let mut moves = match channels.is_empty() {
            true => Vec::new(),
            false => self.0.parts.ledger.open_operations().await?,
        };
        moves.retain(|row| {
            matches!(row.kind.as_str(), "close_channel" | "force_close_channel")
                && matches!(row.state, OperationState::Intended | OperationState::Sent)
        });
        let standing = channels.iter().zip(splices).map(|(view, splice)| {
            let being_closed = moves.iter().any(|row| row.ask["channel_id"] == view.channel_id.as_str());
            OpenChannel { being_closed, ..OpenChannel::of(view, splice, coins.as_ref()) }
        });
        Ok(standing.collect())
    }

    /// Adds what closing the open channels now would take.
    pub(super) async fn weigh_closing(
        &self,
        coins: &mut CoinsView,
        channels: &[ChannelView],
    ) -> Result<(), StoreError> {
        let splices = self.splices(channels).await?;
        let unspliced = channels.iter().zip(splices).filter(|(_, splice)| splice.is_none());
        let takes = unspliced.filter_map(|(view, _)| closing_sat(view, coins));
        coins.closing_sat = takes.fold(0, u64::saturating_add);
        Ok(())
    }

    /// The fee of a splice that waits and takes coins out of its channel, while that can be seen. From its first block on
    /// nothing tells it, and it leaves the channel until the channel has its new size: it is noted with the operation.
    pub(super) async fn waiting_fee(
        &self,
        row: &OperationRow,
        channels: &[ChannelView],
    ) -> Result<Option<u64>, StoreError> {
        if row.kind != "splice_out" || row.outcome["spliced_to"].is_null() || fee_noted(row).is_some() {
            return Ok(None);
        }
        let mut splices = self.standing(channels).await?.into_iter().filter_map(|channel| channel.splice);
        let own = splices.find(|splice| splice.txid.as_deref() == row.outcome["txid"].as_str());
        Ok(own.and_then(|splice| splice.fee_sat))
    }

    async fn splices(&self, channels: &[ChannelView]) -> Result<Vec<Option<PendingSplice>>, StoreError> {
        let ledger = &self.0.parts.ledger;
        let mut asked = ledger.open_operations().await?;
        asked.retain(|row| matches!(row.kind.as_str(), "splice_in" | "splice_out"));
        let fundings = ledger.pending_fundings().await?;
        Ok(channels.iter().map(|channel| pending(channel, &asked, &fundings)).collect())
    }
}

fn pending(
    channel: &ChannelView,
    asked: &[OperationRow],
    fundings: &[PendingFunding],
) -> Option<PendingSplice> {
    let own = || asked.iter().filter(|row| row.ask["channel_id"] == channel.channel_id.as_str());
    let of = |row: &OperationRow, txid| {
        let way = if row.kind == "splice_in" { SpliceWay::In } else { SpliceWay::Out };
        let splice = PendingSplice::new(way, row.ask["amount_sat"].as_u64(), txid);
        PendingSplice { fee_sat: fee_noted(row), ..splice }
    };
    let agreed = fundings.iter().find(|one| one.local_id == channel.local_id);
    if let Some(to) = agreed.map(|one| &one.spliced_to).filter(|to| channel.funding.as_ref() != Some(to)) {
        let txid = to.split(':').next().map(str::to_owned);
        let mine = own().find(|row| row.outcome["spliced_to"] == to.as_str());
        return Some(match mine {
            Some(row) => of(row, txid),
            None => PendingSplice::new(SpliceWay::Other, None, txid),
        });
    }
    // Its transaction may be the channel's funding already, and the operation not followed up to there.
    let negotiated = |row: &&OperationRow| {
        let open = matches!(row.state, OperationState::Intended | OperationState::Sent);
        open && row.outcome["txid"].is_null()
    };
    own().find(negotiated).map(|row| of(row, None))
}

#[cfg(test)]
mod tests {
    use super::super::Deed;
    use super::super::held::side_msat;
    use super::super::tests::{channel, claim, world};
    use super::*;

    fn view(outbound: bool, spendable_msat: u64, receivable_msat: u64) -> ChannelView {
        ChannelView {
            capacity_sat: 1_000_000,
            spendable_msat,
            receivable_msat,
            reserved_sat: 10_000,
            their_reserved_sat: 12_000,
            outbound,
            ..ChannelView::default()
        }
    }

    #[test]
    fn the_parts_of_a_channel_add_up_to_it_and_anchors_are_nobodys_reserve() {
        let parts = |view: &ChannelView| {
            let held = Held::of(view, 0);
            let used = (view.spendable_msat + view.receivable_msat) / 1_000;
            let sum = held.ours_sat + held.theirs_sat + held.anchors_sat + held.under_way_sat;
            assert!(used == 0 || used + sum == view.capacity_sat, "{view:?} {held:?}");
            (held.ours_sat, held.theirs_sat, held.anchors_sat, held.under_way_sat)
        };
        // Just opened by the other side, which pays for the anchors; and paid over once.
        assert_eq!(parts(&view(false, 0, 987_340_000)), (0, 12_000, 660, 0));
        assert_eq!(parts(&view(false, 0, 987_319_000)), (21, 12_000, 660, 0));
        // Just opened by us: the other side has nothing to hold back; then it has a little.
        assert_eq!(parts(&view(true, 989_340_000, 0)), (10_000, 0, 660, 0));
        assert_eq!(parts(&view(true, 989_240_000, 0)), (10_000, 100, 660, 0));
        for outbound in [false, true] {
            assert_eq!(parts(&view(outbound, 78_000_000, 899_340_000)), (10_000, 12_000, 660, 0));
            assert_eq!(parts(&view(outbound, 70_000_000, 899_340_000)), (10_000, 12_000, 660, 8_000));
            // Of an old kind, without anchors.
            assert_eq!(parts(&view(outbound, 78_000_000, 900_000_000)), (10_000, 12_000, 0, 0));
        }
        assert_eq!(parts(&view(false, 0, 0)), (0, 0, 0, 0));
        // What was earned first there fills our reserve, and is for no anchors.
        let old = |receivable_msat| ChannelView { without_anchors: true, ..view(false, 0, receivable_msat) };
        assert_eq!(parts(&old(987_963_000)), (37, 12_000, 0, 0));
    }

    #[test]
    fn all_that_is_ours_is_known_where_nothing_is_under_way() {
        let side = |outbound, spendable, receivable| side_msat(&view(outbound, spendable, receivable));
        assert_eq!(side(false, 0, 987_319_400), Some(20_600));
        assert_eq!(side(true, 989_240_000, 0), Some(999_900_000));
        assert_eq!(side(true, 78_000_400, 899_339_600), Some(88_660_400));
        assert_eq!(side(false, 78_000_400, 899_339_600), Some(88_000_400));
        assert_eq!(side(true, 70_000_000, 899_340_000), None, "8,000 sat are under way");
        assert_eq!(side(true, 0, 0), None);
        let old = ChannelView { without_anchors: true, ..view(false, 0, 987_963_000) };
        assert_eq!(side_msat(&old), Some(37_000));
    }

    #[tokio::test]
    async fn what_closing_takes_is_told_with_the_channel_and_with_the_coins() {
        let world = world();
        let open = ChannelView { channel_id: "c6".to_owned(), ..view(true, 78_000_000, 899_340_000) };
        // Of 88,660 sat that are ours the contract gives less: the anchors, and its own fee.
        world.node.claims.lock().unwrap().push(claim("c6", 87_416));
        world.node.channels.lock().unwrap().push(open.clone());
        let told = async |open: &ChannelView| {
            let standing = world.treasury.standing(std::slice::from_ref(open)).await.unwrap();
            (standing[0].closing_sat, world.treasury.coins().await.unwrap().closing_sat)
        };
        assert_eq!(told(&open).await, (Some(1_244), 1_244));
        // With a payment under way nobody can say.
        let busy = ChannelView { spendable_msat: 70_000_000, ..open };
        *world.node.channels.lock().unwrap() = vec![busy.clone()];
        assert_eq!(told(&busy).await, (None, 0));
    }

    /// An opened channel of 1,000,000 sat, from which 60,000 sat go to an address at a fee of 1,230 sat.
    #[tokio::test]
    async fn a_splice_that_waits_is_told_apart_from_what_the_other_side_holds() {
        let world = world();
        let before = ChannelView { funding: Some("f1:0".to_owned()), ..view(true, 989_340_000, 0) };
        let before = ChannelView { channel_id: "c6".to_owned(), local_id: "6".to_owned(), ..before };
        world.node.channels.lock().unwrap().push(before.clone());
        world.node.claims.lock().unwrap().extend([claim("c6", 998_396), claim("c8", 40_000)]);
        world.treasury.note_channels().await.unwrap();
        let told = async |view: &ChannelView| {
            let channels = world.treasury.standing(std::slice::from_ref(view)).await.unwrap();
            channels.into_iter().next().unwrap()
        };
        assert_eq!(told(&before).await.splice, None);
        let deed =
            Deed::SpliceOut { channel_id: "c6".to_owned(), address: "bcrt1q".to_owned(), amount_sat: 60_000 };
        world.treasury.run("out", deed).await.unwrap();
        let asked = told(&before).await;
        let splice = asked.splice.unwrap();
        assert_eq!((splice.way, splice.txid, asked.held.splicing_sat), (SpliceWay::Out, None, 0));
        assert!(splice.says.ends_with("the other node has not agreed yet, and nothing has moved."));

        // Agreed: what can be sent is less, and the size is the old one. The reserve is a hundredth.
        world.ledger.splice_agreed("c6".to_owned(), "f2:0".to_owned()).await.unwrap();
        let waits = ChannelView { spendable_msat: 928_722_000, ..before.clone() };
        let about = told(&waits).await;
        assert_eq!((about.held.splicing_sat, about.held.theirs_sat), (60_000, 618), "its fee is not known");
        *world.node.lightning.lock().unwrap() = Some(998_396 + 40_000 - 61_230);
        let exact = told(&waits).await;
        assert_eq!(
            (exact.held.splicing_sat, exact.held.theirs_sat, exact.held.under_way_sat),
            (61_230, 0, 0)
        );
        assert_eq!((exact.held.anchors_sat, exact.held.ours_sat), (660, 9_388));
        let splice = exact.splice.unwrap();
        assert_eq!((splice.fee_sat, splice.txid.as_deref()), (Some(1_230), Some("f2")));
        assert_eq!((splice.before_sat, splice.after_sat_about), (Some(998_396), Some(937_166)));
        assert_eq!(splice.capacity_after_about(1_000_000), Some(938_770));
        let says = "A splice that takes 60000 sat out of the channel waits for its confirmations.";
        assert_eq!(splice.says, says);
        *world.node.channels.lock().unwrap() = vec![waits.clone()];
        world.treasury.reconcile().await.unwrap();
        // After a restart. In its first block, which the contract knows at once.
        let world = world.restarted();
        let told = async |view: &ChannelView| {
            let channels = world.treasury.standing(std::slice::from_ref(view)).await.unwrap();
            channels.into_iter().next().unwrap()
        };
        world.node.claims.lock().unwrap()[0].amount_sat = 937_166;
        let splice = told(&waits).await.splice.unwrap();
        assert_eq!((splice.before_sat, splice.after_sat_about), (None, Some(937_166)));
        *world.node.lightning.lock().unwrap() = None;
        let mined = told(&waits).await;
        assert_eq!((mined.held, mined.splice.unwrap().fee_sat), (exact.held, Some(1_230)), "nothing jumps");
        let after = ChannelView { funding: Some("f2:0".to_owned()), capacity_sat: 938_770, ..waits };
        assert_eq!(told(&after).await.splice, None);
        // One of the other side changes nothing of ours.
        world.node.channels.lock().unwrap().push(channel("7", "g1"));
        world.treasury.note_channels().await.unwrap();
        world.ledger.splice_agreed("c7".to_owned(), "g2:0".to_owned()).await.unwrap();
        // What it holds back is called no payment.
        let less = ChannelView { funding: Some("g1:0".to_owned()), ..view(false, 70_000_000, 899_340_000) };
        let less = ChannelView { channel_id: "c7".to_owned(), local_id: "7".to_owned(), ..less };
        let held = told(&less).await.held;
        assert_eq!((held.under_way_sat, held.unsure_sat), (0, 8_000));
        let other = told(&channel("7", "g1")).await;
        assert_eq!(other.splice.unwrap().says, "A splice of the channel waits for its confirmations.");
        assert_eq!(other.held.splicing_sat, 0);
    }
}
