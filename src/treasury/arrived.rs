//! Coins of closed channels that the wallet has already: each sum is counted once, at every height.
//!
//! The library goes on naming a closed channel's coins until the transaction that brings them is six blocks deep,
//! and the wallet counts them from when it sees it. Which of them the wallet has is marked here, from its own
//! transactions; of what is in no block yet the wallet names no transaction, and then it is told by its sums. An agreed
//! close pays an address that the wallet gives out, so that its coins wait there; a sweep pays the wallet's change, which
//! may be spent at once. The library's sums are not exact to the fee, so half is enough to know one by.

use std::collections::BTreeSet;

use super::history::unlisted;
use super::mark::Mark;
use super::settled::{self, RECENT};
use super::{Treasury, TreasuryError};
use crate::ports::{ChainTx, Claim, CoinsView, Sweep, Waits};
use crate::store::{ChannelRow, OperationRow, OperationState};

/// A close by agreement is told for so many blocks after its own.
const TOLD_FOR: u32 = 5;
/// Closed channels whose cause is looked up, the newest.
const LOOKED_UP: u32 = 100;

/// Coins, and what tells what came of those of closed channels.
pub(super) struct BeforeFees {
    pub(super) coins: CoinsView,
    /// Closed channels' records, where there is anything of them.
    closed: Vec<ChannelRow>,
    /// The wallet's transactions.
    transactions: Vec<ChainTx>,
    /// What came to the wallet as its own and is in no block.
    own_sat: u64,
}

impl Treasury {
    /// The coins that there are, and which of those that closed channels owed have come: of what has come, what the wallet
    /// got, where that is known.
    ///
    /// # Errors
    /// When the node cannot be asked, or the ledger fails.
    pub async fn coins(&self) -> Result<CoinsView, TreasuryError> {
        let BeforeFees { mut coins, closed, transactions, own_sat } = self.coins_before_fees().await?;
        exact(&mut coins, &closed, &transactions, own_sat);
        Ok(coins)
    }

    /// The same with what each channel's contract and each sweep has before fees.
    pub(super) async fn coins_before_fees(&self) -> Result<BeforeFees, TreasuryError> {
        let parts = &self.0.parts;
        // In this order: what is listed is in the sums.
        let transactions = parts.coins.transactions().await?;
        let mut coins = parts.coins.coins().await?;
        let channels = parts.node.view().await.channels;
        let listed = transactions.iter().map(|tx| tx.txid.clone()).collect();
        let gone = |id: &str| !channels.iter().any(|channel| channel.channel_id == id);
        coins.claims.iter_mut().for_each(|claim| claim.open = !gone(&claim.channel_id));
        let (mut closed, mut own_sat) = (Vec::new(), 0);
        if !coins.sweeps.is_empty() || coins.claims.iter().any(|claim| gone(&claim.channel_id)) {
            closed = parts.ledger.closed_channels(LOOKED_UP).await?;
            let agreed = |id: &str| {
                let of = closed.iter().find(|row| row.channel_id == id).and_then(|row| row.cause.as_deref());
                gone(id) && of.is_some_and(|cause| cause.starts_with("agreed"))
            };
            let waits = |sweep: &Sweep| sweep.txid.is_some() && sweep.confirmed_height.is_none();
            if coins.sweeps.iter().any(waits) {
                own_sat =
                    own(&coins, &transactions, self.spent_unconfirmed(&coins, &listed, &transactions).await?);
            }
            mark(&mut coins, &transactions, own_sat, agreed);
        }
        self.follow(&mut coins, &listed, &channels).await?;
        self.weigh_closing(&mut coins, &channels).await?;
        self.without_voids(&mut coins, &channels).await?;
        Ok(BeforeFees { coins, closed, transactions, own_sat })
    }

    /// What operations took out of the wallet, as it knows, by transactions that are in no block.
    async fn spent_unconfirmed(
        &self,
        coins: &CoinsView,
        listed: &BTreeSet<String>,
        transactions: &[ChainTx],
    ) -> Result<u64, TreasuryError> {
        let mut sent = self.0.parts.ledger.open_operations().await?;
        sent.retain(|row| row.state == OperationState::Sent && settled::chooses_coins(&row.kind));
        let unlearnt = self.unlearnt(sent.clone(), coins, listed).await;
        // After a start the wallet is told of all that waits, and what it has since may hide that it knows.
        let of_before = |row: &OperationRow| row.begun_at < self.0.begun;
        sent.retain(|row| of_before(row) || unlearnt.iter().all(|other| other.id != row.id));
        // A channel may be ready, and its opening done, before its transaction is in a block.
        let recent = self.0.parts.ledger.operations(i64::MAX, RECENT).await?;
        sent.extend(recent.into_iter().filter(|row| {
            row.kind == "open_channel" && row.state == OperationState::Done && self.is_young(row)
        }));
        let mut spent = 0_u64;
        for row in sent {
            // That of an opening stands in its funding, also once the channel is gone.
            let funding = || row.outcome["funding"].as_str()?.split(':').next().map(str::to_owned);
            let Some(txid) = self.told(&row).await.or_else(funding) else { continue };
            let known = transactions.iter().find(|tx| tx.txid == txid);
            if known.is_some_and(|tx| tx.confirmed_height.is_some()) {
                continue;
            }
            let amount = row.ask["amount_sat"].as_u64().or(Mark::of(&row.outcome).spendable_sat).unwrap_or(0);
            let fee = known.and_then(|tx| tx.fee_sat).unwrap_or(0);
            spent = spent.saturating_add(amount).saturating_add(fee);
        }
        Ok(spent)
    }
}

/// What came to the wallet as its own and is in no block: what it may spend or keeps back, beyond what its transactions in
/// blocks left it, when its own transactions in no block took `spent_sat`. Where nothing may be spent and there is more
/// than what is kept back, others sent it, and what is kept back may be of that.
fn own(coins: &CoinsView, transactions: &[ChainTx], spent_sat: u64) -> u64 {
    if coins.spendable_sat == 0 && coins.total_sat > coins.reserved_sat {
        return 0;
    }
    let in_blocks = || transactions.iter().filter(|tx| tx.confirmed_height.is_some());
    let came = in_blocks().filter(|tx| !tx.outgoing).fold(0_u64, |sum, tx| sum.saturating_add(tx.amount_sat));
    let went = in_blocks()
        .filter(|tx| tx.outgoing)
        .fold(0_u64, |sum, tx| sum.saturating_add(tx.amount_sat).saturating_add(tx.fee_sat.unwrap_or(0)));
    let trusted = coins.spendable_sat.saturating_add(coins.reserved_sat);
    trusted.saturating_add(went).saturating_add(spent_sat).saturating_sub(came)
}

/// Puts what the wallet got in the place of what was owed, where one part of the channel is all that is named of it.
fn exact(coins: &mut CoinsView, closed: &[ChannelRow], transactions: &[ChainTx], own_sat: u64) {
    let came = |id: &str| closed.iter().find(|row| row.channel_id == id).and_then(|row| row.came_sat);
    // The wallet may list a closing transaction before its block.
    let brings = |id: &str| {
        let closing = closed.iter().find(|row| row.channel_id == id)?.closing_txid.as_deref()?;
        transactions.iter().find(|tx| !tx.outgoing && tx.txid == closing).map(|tx| tx.amount_sat)
    };
    let claims: Vec<String> = coins.claims.iter().map(|claim| claim.channel_id.clone()).collect();
    let sweeps: Vec<String> = coins.sweeps.iter().filter_map(|sweep| sweep.channel_id.clone()).collect();
    let alone = |id: &str| claims.iter().chain(&sweeps).filter(|other| *other == id).count() == 1;
    for claim in coins.claims.iter_mut().filter(|claim| claim.in_wallet && alone(&claim.channel_id)) {
        let id = claim.channel_id.as_str();
        claim.amount_sat = came(id).or_else(|| brings(id)).unwrap_or(claim.amount_sat);
    }
    for sweep in coins.sweeps.iter_mut().filter(|sweep| sweep.confirmed_height.is_some()) {
        let id = sweep.channel_id.as_deref().filter(|id| alone(id));
        sweep.amount_sat = id.and_then(came).unwrap_or(sweep.amount_sat);
    }
    // An agreed close that waits alone brings what the wallet waits for, and lists nothing of.
    let unlisted = unlisted(coins, transactions);
    let mut closing: Vec<&mut Claim> =
        coins.claims.iter_mut().filter(|claim| claim.in_wallet && claim.waits == Waits::Closing).collect();
    if let [claim] = closing.as_mut_slice()
        && unlisted > claim.amount_sat / 2
    {
        claim.amount_sat = claim.amount_sat.min(unlisted);
    }
    // One that waits alone is all that the wallet has of its own in no block.
    let mut waiting: Vec<&mut Sweep> =
        coins.sweeps.iter_mut().filter(|sweep| sweep.in_wallet && sweep.confirmed_height.is_none()).collect();
    if let [sweep] = waiting.as_mut_slice() {
        let listed = transactions.iter().find(|tx| !tx.outgoing && Some(&tx.txid) == sweep.txid.as_ref());
        sweep.amount_sat = listed.map_or(own_sat, |tx| tx.amount_sat).min(sweep.amount_sat);
    }
}

/// Marks what the wallet has. `own_sat` came to it as its own and is in no block; `agreed` says whether a channel was
/// closed by agreement, which pays the wallet itself.
fn mark(coins: &mut CoinsView, transactions: &[ChainTx], own_sat: u64, agreed: impl Fn(&str) -> bool) {
    // Where nothing can be spent, what is kept back may be coins that are not confirmed.
    let mut waiting = match coins.spendable_sat {
        0 => coins.total_sat,
        spendable => coins.total_sat.saturating_sub(spendable).saturating_sub(coins.reserved_sat),
    };
    let mut waits = |amount_sat: u64| {
        let there = waiting > 0 && waiting >= amount_sat / 2;
        if there {
            waiting = waiting.saturating_sub(amount_sat);
        }
        there
    };
    for Claim { channel_id, amount_sat, waits: why, until_height, in_wallet, .. } in &mut coins.claims {
        *in_wallet = agreed(channel_id)
            && match (why, until_height) {
                (Waits::Closing, _) => waits(*amount_sat),
                (Waits::Confirmations, Some(until)) => transactions.iter().any(|tx| {
                    let same = tx.confirmed_height == until.checked_sub(TOLD_FOR);
                    !tx.outgoing && same && tx.amount_sat >= *amount_sat / 2
                }),
                _ => false,
            };
    }
    // The wallet sees a block before the sweeper does, or after it.
    let listed = |txid: &str| transactions.iter().find(|tx| !tx.outgoing && tx.txid == txid);
    let mut own_sat = own_sat;
    for txid in unconfirmed(&coins.sweeps) {
        // One transaction may sweep several outputs, and takes one fee of them together.
        let together = |sweep: &&mut Sweep| {
            sweep.confirmed_height.is_none() && sweep.txid.as_deref() == Some(txid.as_str())
        };
        let mut sweeps: Vec<&mut Sweep> = coins.sweeps.iter_mut().filter(together).collect();
        let amount_sat = sweeps.iter().map(|sweep| sweep.amount_sat).fold(0, u64::saturating_add);
        let (known, in_block) =
            (listed(&txid), listed(&txid).is_some_and(|tx| tx.confirmed_height.is_some()));
        if known.is_some() || own_sat > 0 && own_sat >= amount_sat / 2 {
            own_sat = if in_block { own_sat } else { own_sat.saturating_sub(amount_sat) };
            sweeps.iter_mut().for_each(|sweep| sweep.in_wallet = true);
        }
    }
    coins
        .sweeps
        .iter_mut()
        .filter(|sweep| sweep.confirmed_height.is_some())
        .for_each(|sweep| sweep.in_wallet = true);
}

/// The transactions of sweeps that are in no block.
fn unconfirmed(sweeps: &[Sweep]) -> BTreeSet<String> {
    sweeps
        .iter()
        .filter(|sweep| sweep.confirmed_height.is_none())
        .filter_map(|sweep| sweep.txid.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ChannelEnd, ChannelSeen, ChannelsSeen};

    const CLOSED: &str = "c7";

    fn claim(waits: Waits, until_height: Option<u32>) -> Claim {
        Claim {
            channel_id: CLOSED.to_owned(),
            peer: "02aa".to_owned(),
            amount_sat: 48_700,
            waits,
            until_height,
            in_wallet: false,
            open: false,
        }
    }

    fn tx(txid: &str, amount_sat: u64, confirmed_height: Option<u32>) -> ChainTx {
        ChainTx {
            txid: txid.to_owned(),
            outgoing: false,
            amount_sat,
            fee_sat: None,
            confirmed_height,
            settled: false,
            at_secs: 0,
        }
    }

    /// What the page adds up: the wallet, and what is still to come.
    fn sum(coins: &CoinsView) -> u64 {
        let claims = coins.claims.iter().filter(|claim| !claim.in_wallet).map(|claim| claim.amount_sat);
        let sweeps = coins.sweeps.iter().filter(|sweep| !sweep.in_wallet).map(|sweep| sweep.amount_sat);
        claims.chain(sweeps).fold(coins.total_sat, u64::saturating_add)
    }

    #[test]
    fn an_agreed_close_is_counted_once_at_every_height() {
        // The wallet, what may be spent of it, what the contract says; the wallet's transactions; the sum.
        let closing = || Some(claim(Waits::Closing, None));
        let confirmed = || Some(claim(Waits::Confirmations, Some(105)));
        let there = || vec![tx("closing", 48_500, Some(100))];
        let steps = [
            ("it was agreed upon", 60_000, 35_000, closing(), Vec::new(), 108_700),
            ("the wallet sees it wait", 108_500, 35_000, closing(), Vec::new(), 108_500),
            ("in a block that the wallet has not seen", 60_000, 35_000, confirmed(), Vec::new(), 108_700),
            ("in its first block", 108_500, 83_500, confirmed(), there(), 108_500),
            ("six deep", 108_500, 83_500, None, there(), 108_500),
        ];
        for (when, total_sat, spendable_sat, claims, transactions, wanted) in steps {
            let claims = claims.into_iter().collect();
            let mut coins =
                CoinsView { total_sat, spendable_sat, reserved_sat: 25_000, claims, ..CoinsView::default() };
            mark(&mut coins, &transactions, 0, |id| id == CLOSED);
            assert_eq!(sum(&coins), wanted, "{when}");
        }
        // A wallet in which only the reserve of another channel is.
        let claims = vec![claim(Waits::Closing, None)];
        let mut coins = CoinsView { total_sat: 48_500, reserved_sat: 25_000, claims, ..CoinsView::default() };
        mark(&mut coins, &[], 0, |_| true);
        assert_eq!(sum(&coins), 48_500);
    }

    #[tokio::test]
    async fn what_a_closing_transaction_brings_is_exact_before_its_block() {
        let world = super::super::tests::world();
        let ledger = &world.ledger;
        let seen = ChannelSeen {
            local_id: "7".to_owned(),
            channel_id: CLOSED.to_owned(),
            peer: "02aa".to_owned(),
            funding: Some("f:0".to_owned()),
            capacity_sat: 50_000,
            outbound: true,
            announced: false,
            ready: true,
            ours_sat: Some(48_700),
            side_msat: None,
        };
        ledger
            .note_channels(ChannelsSeen { open: vec![seen], ..ChannelsSeen::default() }, 100)
            .await
            .unwrap();
        let end = ChannelEnd {
            local_id: "7".to_owned(),
            channel_id: CLOSED.to_owned(),
            peer: "02aa".to_owned(),
            reason: "because".to_owned(),
            cause: "agreed_by_us".to_owned(),
        };
        ledger.end_channel(end).await.unwrap();
        ledger.note_closing("7", "closing".to_owned()).await.unwrap();
        *world.node.total.lock().unwrap() = 108_474;
        *world.node.waiting.lock().unwrap() = 48_474;
        world.node.claims.lock().unwrap().push(claim(Waits::Closing, None));
        let told = async || {
            let claim = world.treasury.coins().await.unwrap().claims.remove(0);
            (claim.in_wallet, claim.amount_sat)
        };
        assert_eq!(told().await, (true, 48_474), "what the wallet waits for, and lists nothing of");
        *world.node.waiting.lock().unwrap() = 98_474;
        assert_eq!(told().await, (true, 48_700), "by its contract, where a deposit waits, too");
        world.node.transactions.lock().unwrap().push(tx("closing", 48_474, None));
        assert_eq!(told().await, (true, 48_474));
    }

    #[test]
    fn a_forced_close_is_to_come_until_its_sweep_is_seen() {
        let mut coins = CoinsView {
            total_sat: 100_000,
            spendable_sat: 35_000,
            reserved_sat: 25_000,
            claims: vec![claim(Waits::Confirmations, Some(105))],
            ..CoinsView::default()
        };
        mark(&mut coins, &[tx("a deposit", 48_500, Some(100))], 0, |_| false);
        assert_eq!(sum(&coins), 148_700, "a deposit in the same block is not it");

        let sweep = |txid: Option<&str>, confirmed_height| Sweep {
            channel_id: Some(CLOSED.to_owned()),
            amount_sat: 48_700,
            txid: txid.map(str::to_owned),
            sent_height: Some(250),
            confirmed_height,
            in_wallet: false,
        };
        // What the wallet had before, and what it may spend: a sweep is its own from when it sees it.
        let before = [tx("before", 60_000, Some(50))];
        let swept = |height| [tx("before", 60_000, Some(50)), tx("s", 48_400, height)];
        let of = |sweeps: Vec<Sweep>, total_sat: u64, waiting_sat: u64| CoinsView {
            total_sat,
            spendable_sat: total_sat - waiting_sat - 25_000,
            reserved_sat: 25_000,
            sweeps,
            ..CoinsView::default()
        };
        let sent = || vec![sweep(Some("s"), None)];
        let cases: [(&str, CoinsView, &[ChainTx], u64, u64); 9] = [
            ("not sent", of(vec![sweep(None, None)], 60_000, 0), &before, 0, 108_700),
            ("sent, and not seen", of(sent(), 60_000, 0), &before, 0, 108_700),
            ("not seen, beside a deposit", of(sent(), 110_000, 50_000), &before, 0, 158_700),
            ("seen", of(sent(), 108_400, 0), &before, 0, 108_400),
            ("seen, when 20,100 sat were sent away", of(sent(), 88_300, 0), &before, 20_100, 88_300),
            ("two outputs in one", of(vec![sweep(Some("s"), None); 2], 156_900, 0), &before, 0, 156_900),
            ("seen and listed", of(sent(), 108_400, 0), &swept(None), 0, 108_400),
            ("seen in a block by the wallet alone", of(sent(), 108_400, 0), &swept(Some(251)), 0, 108_400),
            ("in a block", of(vec![sweep(Some("s"), Some(251))], 108_400, 0), &swept(Some(251)), 0, 108_400),
        ];
        for (when, mut coins, transactions, spent, wanted) in cases {
            let own_sat = own(&coins, transactions, spent);
            mark(&mut coins, transactions, own_sat, |_| false);
            assert_eq!(sum(&coins), wanted, "{when}");
            // What one alone brought is known before its block.
            exact(&mut coins, &[], transactions, own_sat);
            let amount =
                (coins.sweeps.len() == 1 && when.starts_with("seen")).then(|| coins.sweeps[0].amount_sat);
            assert!(amount.is_none_or(|sat| sat == 48_400), "{when}: {amount:?}");
        }
        // Nothing may be spent: of a deposit a part is named as kept back, and it is not the sweep.
        let nothing = |total_sat: u64| {
            let reserved_sat = total_sat.min(25_000);
            CoinsView { total_sat, spendable_sat: 0, reserved_sat, sweeps: sent(), ..CoinsView::default() }
        };
        for (total_sat, wanted) in [(100_000, 148_700), (24_400, 24_400)] {
            let mut coins = nothing(total_sat);
            let own_sat = own(&coins, &[], 0);
            mark(&mut coins, &[], own_sat, |_| false);
            assert_eq!(sum(&coins), wanted, "{total_sat}");
        }
    }
}
