//! What the wallet pays so that a close by force gets into a block.
//!
//! A closing transaction was signed long before and pays little; the library adds one of the wallet's that spends its
//! anchor and pays for both (BOLT 3), and so it does for a payment that was under way. The wallet lists those as sends, and
//! does not say what for: they are known by what they spend.

use super::{Treasury, TreasuryError};
use crate::ports::{ChainTx, NodeFault};
use crate::store::{ChannelRow, CloseFee};

/// Closed channels whose fees are looked for, the newest.
const LOOKED_UP: u32 = 100;

/// What an anchor has (BOLT 3), satoshi. Nothing of a commitment has less, so that the anchors are its first outputs.
const ANCHOR_SAT: u64 = 330;

impl Treasury {
    /// Tells what the wallet paid for closes, after the channels were noted; once for each block and each event.
    ///
    /// # Errors
    /// When the ledger fails, or the node cannot be asked.
    pub(super) async fn note_close_fees(&self) -> Result<(), TreasuryError> {
        let parts = &self.0.parts;
        let at = (parts.node.view().await.block_height, *parts.ledger.watch().borrow());
        if self.noted().close_fees_at == Some(at) {
            return Ok(());
        }
        let mut closed = parts.ledger.closed_channels(LOOKED_UP).await?;
        closed.retain(|row| !row.cause.as_deref().is_some_and(|cause| cause.starts_with("agreed")));
        if closed.iter().any(|row| row.closing_txid.is_some()) {
            let told = parts.ledger.close_fees().await?;
            let new = |tx: &&ChainTx| may_be_one(tx) && told.iter().all(|one| one.txid != tx.txid);
            for tx in parts.coins.transactions().await?.iter().filter(new) {
                let spends = match self.spends(tx).await {
                    Ok(spends) => spends,
                    Err(fault) => {
                        // A source that does not answer keeps everything else waiting: the next block or event is soon enough.
                        tracing::debug!(%fault, txid = tx.txid, "what a transaction spends is not known yet");
                        break;
                    }
                };
                if let Some(paid) = closed.iter().find_map(|row| paid(row, tx, &spends)) {
                    parts.ledger.note_close_fee(paid).await?;
                }
            }
        }
        self.noted().close_fees_at = Some(at);
        Ok(())
    }

    /// The outputs that a transaction in a block spends; the chain source is asked once in a run.
    async fn spends(&self, tx: &ChainTx) -> Result<Vec<String>, NodeFault> {
        if let Some(spends) = self.noted().spends.get(&tx.txid) {
            return Ok(spends.clone());
        }
        let contents = self.0.parts.coins.contents(&tx.txid, tx.confirmed_height).await?;
        let spends = contents.map(|contents| contents.inputs).unwrap_or_default();
        self.noted().spends.insert(tx.txid.clone(), spends.clone());
        Ok(spends)
    }
}

/// Whether it took coins from the wallet, and paid nobody as far as the wallet can tell: it may not know all that the
/// transaction spends, and then knows no fee.
fn may_be_one(tx: &ChainTx) -> bool {
    tx.outgoing && tx.confirmed_height.is_some() && (tx.fee_sat.is_none() || tx.amount_sat == 0)
}

/// What the wallet paid with `tx` for the close of that channel, if it did.
fn paid(row: &ChannelRow, tx: &ChainTx, spends: &[String]) -> Option<CloseFee> {
    let closing = row.closing_txid.as_deref()?;
    let of_close = |output: &String| {
        let (txid, place) = output.split_once(':')?;
        (txid == closing).then(|| place.parse::<u32>().ok()).flatten()
    };
    let place = spends.iter().find_map(of_close)?;
    let fee_sat = match tx.fee_sat {
        None => tx.amount_sat,
        // The channel paid a part of it: what the anchor had.
        Some(fee) => {
            let anchor = if place <= 1 { ANCHOR_SAT } else { 0 };
            fee.saturating_add(tx.amount_sat).saturating_sub(anchor)
        }
    };
    let (channel_id, peer) = (row.channel_id.clone(), row.peer.clone());
    Some(CloseFee { channel_id, peer, txid: tx.txid.clone(), fee_sat, height: tx.confirmed_height? })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::{tx, world};
    use super::super::{ChannelFees, Purpose};
    use super::*;
    use crate::event::Event;

    #[tokio::test]
    async fn what_brought_a_forced_close_into_a_block_is_told_once_as_its_cost() {
        let world = world();
        for (local_id, cause) in [("7", "forced_by_us"), ("8", "agreed_by_us")] {
            world.closed(local_id, cause).await;
            world.ledger.note_closing(local_id, format!("closing{local_id}")).await.unwrap();
        }
        // Without a known fee: it spends an output that the wallet does not know.
        let paid = |txid: &str, height| ChainTx { fee_sat: None, ..tx(txid, 1_230, height) };
        *world.node.transactions.lock().unwrap() = vec![paid("bump", None), paid("of-agreed", Some(101))];
        *world.node.funded_by.lock().unwrap() = vec!["coin:0", "closing8:0"];
        let told = async || {
            world.treasury.note_close_fees().await.unwrap();
            world.ledger.close_fees().await.unwrap()
        };
        assert_eq!(told().await, [], "it is in no block, and what an agreed close paid out is the wallet's");
        *world.node.funded_by.lock().unwrap() = vec!["coin:0", "closing7:0"];
        *world.node.transactions.lock().unwrap() =
            vec![paid("of-agreed", Some(101)), paid("bump", Some(101)), tx("send", 9_000, Some(101))];
        *world.node.height.lock().unwrap() = 101;
        let expected = CloseFee {
            channel_id: "c7".to_owned(),
            peer: "02aa".to_owned(),
            txid: "bump".to_owned(),
            fee_sat: 1_230,
            height: 101,
        };
        assert_eq!(told().await, [expected]);
        world.node.transactions.lock().unwrap().retain(|tx| tx.txid != "of-agreed");
        let world = world.restarted();
        world.treasury.note_close_fees().await.unwrap();
        let rows = world.ledger.activity(None, None, 9).await.unwrap();
        let told = rows.iter().filter(|row| matches!(row.event, Event::CloseFeePaid { .. }));
        assert_eq!(told.count(), 1);
        let history = world.treasury.history(BTreeSet::new()).await.unwrap();
        let bump = history.transactions.iter().find(|one| one.tx.txid == "bump").unwrap();
        assert_eq!((bump.purpose, bump.channel_id.as_deref()), (Purpose::CloseFee, Some("c7")));
        assert_eq!(history.channel_fees, ChannelFees { fee_sat: 1_230, transactions: 1 });
    }

    #[tokio::test]
    async fn what_the_channel_s_own_anchor_paid_is_not_counted_twice() {
        let world = world();
        world.closed("7", "forced_by_us").await;
        world.ledger.note_closing("7", "c".to_owned()).await.unwrap();
        let row = world.ledger.channel_record("7").await.unwrap().unwrap();
        // A source that tells all that it spends: its whole fee is known.
        let known = ChainTx { fee_sat: Some(1_560), ..tx("bump", 0, Some(101)) };
        let fee = |spends: &str| paid(&row, &known, &[spends.to_owned()]).map(|paid| paid.fee_sat);
        assert_eq!([fee("c:1"), fee("c:3"), fee("d:1")], [Some(1_230), Some(1_560), None]);
        assert!(may_be_one(&known) && !may_be_one(&ChainTx { amount_sat: 5, ..known.clone() }));
    }
}
