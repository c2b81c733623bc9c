//! What came to the on-chain wallet and what left it, before the first block too.
//!
//! The library tells of a transaction from its first block on; with some chain sources of deposits and of our own
//! sends alike. The sends are told from what was asked for, and what waits to come in from the wallet's sums.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::confirmed::waiting;
use super::labels::{Purpose, WalletTx, transaction};
use super::mark::Mark;
use super::{ChannelFees, Treasury, TreasuryError, settled};
use crate::ports::{ChainTx, CoinsView};
use crate::store::{OperationRow, OperationState};

/// The most that a transaction is thought to pay as its fee, satoshi.
const DEAREST_FEE_SAT: u64 = 100_000;

/// What came to the on-chain wallet and what left it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WalletHistory {
    /// Unconfirmed ones first, then the newest.
    pub transactions: Vec<WalletTx>,
    /// Coins on their way in, in no block yet, whose transactions are not among these: with a bitcoind they are
    /// listed from their first block on. Satoshi.
    pub unlisted_sat: u64,
    /// What channels cost in fees of the chain, as far as it is known.
    pub channel_fees: ChannelFees,
}

impl Treasury {
    /// The wallet's transactions with what each was for, and what is on its way in without being among them.
    /// `from_vault` are the transactions by which the vault paid.
    ///
    /// # Errors
    /// When the node or the ledger fails.
    pub async fn history(&self, from_vault: BTreeSet<String>) -> Result<WalletHistory, TreasuryError> {
        let mut transactions = self.0.parts.coins.transactions().await?;
        let coins = self.coins().await?;
        let open = self.0.parts.ledger.open_operations().await?;
        let sent: Vec<&OperationRow> = open.iter().filter(|row| row.state == OperationState::Sent).collect();
        let mut pending: Vec<ChainTx> = sent
            .iter()
            .filter_map(|row| pending(row))
            .filter(|sent| transactions.iter().all(|known| known.txid != sent.txid))
            .collect();
        let unlisted_sat = unlisted(&coins, &transactions);
        // One alone is told apart in the wallet's sum.
        if let [one] = pending.as_mut_slice()
            && let Some(row) = sent.iter().find(|row| transaction(row) == Some(&one.txid))
        {
            one.fee_sat = fee(row, &coins, &transactions);
        }
        transactions.extend(pending);
        let swept = swept(&coins).filter(|tx| transactions.iter().all(|known| known.txid != tx.txid));
        transactions.extend(swept.collect::<Vec<_>>());
        transactions
            .sort_by_key(|tx| std::cmp::Reverse((tx.confirmed_height.unwrap_or(u32::MAX), tx.at_secs)));
        let labels = self.labels(from_vault).await?;
        let transactions: Vec<WalletTx> = transactions.into_iter().map(|tx| labels.of(tx)).collect();
        let opened = |one: &&WalletTx| one.purpose == Purpose::ChannelOpened && one.tx.outgoing;
        let openings = transactions.iter().filter(opened).filter_map(|one| one.tx.fee_sat);
        let channel_fees = labels.fees.with(openings);
        Ok(WalletHistory { transactions, unlisted_sat, channel_fees })
    }
}

/// The transaction of an operation that takes coins out of the wallet, where the operation knows it.
fn pending(row: &OperationRow) -> Option<ChainTx> {
    let out = settled::chooses_coins(&row.kind);
    let txid = transaction(row)?;
    // How much of all is its fee is known from its block on.
    let amount_sat = row.ask["amount_sat"].as_u64().or(Mark::of(&row.outcome).spendable_sat)?;
    out.then(|| ChainTx {
        txid: txid.to_owned(),
        outgoing: true,
        amount_sat,
        fee_sat: None,
        confirmed_height: None,
        settled: false,
        at_secs: row.begun_at.secs(),
    })
}

/// Transactions in no block that sweep closed channels, as far as the wallet has them: what each brings is about, where
/// it is not alone.
fn swept(coins: &CoinsView) -> impl Iterator<Item = ChainTx> {
    let mut brings: BTreeMap<&str, u64> = BTreeMap::new();
    for sweep in coins.sweeps.iter().filter(|sweep| sweep.in_wallet && sweep.confirmed_height.is_none()) {
        if let Some(txid) = sweep.txid.as_deref() {
            let sum = brings.entry(txid).or_default();
            *sum = sum.saturating_add(sweep.amount_sat);
        }
    }
    brings.into_iter().map(|(txid, amount_sat)| ChainTx {
        txid: txid.to_owned(),
        outgoing: false,
        amount_sat,
        fee_sat: None,
        confirmed_height: None,
        settled: false,
        at_secs: 0,
    })
}

/// What the wallet paid for the transaction of an operation that is in no block: what it has less than before, beyond what
/// was asked for. `None` where anything else came or went since, so that its sum does not tell.
fn fee(row: &OperationRow, coins: &CoinsView, listed: &[ChainTx]) -> Option<u64> {
    let (mark, amount) = (Mark::of(&row.outcome), row.ask["amount_sat"].as_u64()?);
    let since = |tx: &ChainTx| tx.confirmed_height.is_none_or(|height| height > mark.height);
    let still = waiting(coins) == 0 && coins.unseen_sat == 0 && !listed.iter().any(since);
    let less = mark.total_sat?.checked_sub(coins.total_sat).filter(|_| still)?;
    less.checked_sub(amount).filter(|fee| (1..=DEAREST_FEE_SAT).contains(fee))
}

/// What the wallet counts and cannot spend yet, beyond what is listed as waiting. Its own change can be spent.
pub(super) fn unlisted(coins: &CoinsView, listed: &[ChainTx]) -> u64 {
    let waiting = waiting(coins);
    // A sweep can be spent at once.
    let swept = |tx: &ChainTx| coins.sweeps.iter().any(|sweep| sweep.txid.as_ref() == Some(&tx.txid));
    let incoming = listed.iter().filter(|tx| !tx.outgoing && tx.confirmed_height.is_none() && !swept(tx));
    waiting.saturating_sub(incoming.map(|tx| tx.amount_sat).fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::super::tests::tx;
    use super::*;

    #[tokio::test]
    async fn an_opening_is_told_before_its_first_block() {
        let world = super::super::tests::world();
        let open = super::super::Deed::OpenChannel {
            peer: "02aa".to_owned(),
            address: "localhost:1".to_owned(),
            amount_sat: 50_000,
            push_msat: crate::types::Msat::ZERO,
            announce: false,
        };
        let opened = world.treasury.run("open", open).await.unwrap();
        assert!(
            world.treasury.history(BTreeSet::new()).await.unwrap().transactions.is_empty(),
            "the peer was asked"
        );
        world.node.channels.lock().unwrap().push(super::super::tests::channel("7", "f1"));
        world.look(opened.id).await;
        let told = world.treasury.history(BTreeSet::new()).await.unwrap().transactions;
        assert_eq!((told[0].tx.txid.as_str(), told[0].tx.amount_sat, told.len()), ("f1", 50_000, 1));
        assert_eq!((told[0].label, told[0].operation), ("Channel opened", Some(opened.id)));
    }

    #[tokio::test]
    async fn a_send_that_waits_has_its_fee_where_the_sum_of_the_wallet_tells_it() {
        let world = super::super::tests::world();
        *world.node.total.lock().unwrap() = 300_000;
        world.treasury.run("rent", super::super::tests::send(5_000)).await.unwrap();
        let told = async || {
            let told = world.treasury.history(BTreeSet::new()).await.unwrap().transactions;
            (told.len(), told[0].tx.txid.clone(), told[0].tx.fee_sat)
        };
        assert_eq!(told().await, (1, "tx1".to_owned(), None), "the wallet does not know of it");
        *world.node.total.lock().unwrap() = 294_577;
        assert_eq!(told().await, (1, "tx1".to_owned(), Some(423)));
        // What came since hides it.
        *world.node.total.lock().unwrap() = 394_577;
        *world.node.waiting.lock().unwrap() = 100_000;
        assert_eq!(told().await.2, None);
        *world.node.waiting.lock().unwrap() = 0;
        *world.node.total.lock().unwrap() = 294_677;
        let came = ChainTx { outgoing: false, ..tx("in", 100, Some(101)) };
        world.node.transactions.lock().unwrap().push(came);
        assert_eq!(told().await, (2, "tx1".to_owned(), None));
    }

    #[test]
    fn a_deposit_is_told_before_its_first_block() {
        let coins = CoinsView {
            total_sat: 175_000,
            spendable_sat: 50_000,
            reserved_sat: 25_000,
            ..CoinsView::default()
        };
        let deposit = |height| ChainTx { outgoing: false, ..tx("d", 100_000, height) };
        assert_eq!(unlisted(&coins, &[]), 100_000);
        assert_eq!(unlisted(&coins, &[tx("s", 9_000, None)]), 100_000);
        assert_eq!(unlisted(&coins, &[deposit(None)]), 0);
        assert_eq!(unlisted(&CoinsView { spendable_sat: 150_000, ..coins }, &[deposit(Some(7))]), 0);
    }
}
