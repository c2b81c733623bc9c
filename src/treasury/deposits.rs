//! Coins that others sent to the on-chain wallet: each deposit is told once it is in a block.

use super::{Treasury, TreasuryError};
use crate::store::Deposit;

impl Treasury {
    /// Tells the deposits that came, after the channels were noted: what a closed channel brought is none.
    ///
    /// # Errors
    /// When the ledger fails, or the node cannot be asked.
    pub(super) async fn note_deposits(&self) -> Result<(), TreasuryError> {
        let parts = &self.0.parts;
        let view = parts.node.view().await;
        if !view.running || view.block_height == 0 {
            return Ok(());
        }
        let transactions = parts.coins.transactions().await?;
        let came = transactions.into_iter().filter(|tx| !tx.outgoing).filter_map(|tx| {
            Some(Deposit { amount_sat: tx.amount_sat, height: tx.confirmed_height?, txid: tx.txid })
        });
        let (began, known, waiting) = {
            let noted = self.noted();
            (noted.deposits_began, noted.deposits.clone(), noted.waiting.clone())
        };
        let fresh: Vec<Deposit> = came.filter(|deposit| !known.contains(&deposit.txid)).collect();
        // Without any the ledger still learns from which height on they are told. The writer is not asked again for
        // those that wait.
        let asked = began && fresh.iter().all(|deposit| waiting.contains(&deposit.txid));
        if asked && (fresh.is_empty() || parts.ledger.deposits_wait(view.block_height).await?) {
            return Ok(());
        }
        let settled = parts.ledger.note_deposits(fresh.clone(), view.block_height).await?;
        let mut noted = self.noted();
        noted.deposits_began = true;
        noted.deposits.extend(settled);
        let waiting = fresh.into_iter().map(|deposit| deposit.txid);
        noted.waiting = waiting.filter(|txid| !noted.deposits.contains(txid)).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{tx, world};
    use crate::event::Event;
    use crate::ports::ChainTx;

    #[tokio::test]
    async fn what_comes_to_the_wallet_is_told_with_its_block() {
        let world = world();
        world.treasury.note_deposits().await.unwrap();
        let came = |txid: &str, height| ChainTx { outgoing: false, ..tx(txid, 40_000, height) };
        *world.node.transactions.lock().unwrap() =
            vec![came("in", Some(101)), came("waits", None), tx("out", 9_000, Some(101))];
        *world.node.height.lock().unwrap() = 101;
        for _ in 0..2 {
            world.treasury.note_deposits().await.unwrap();
        }
        let rows = world.ledger.activity(None, None, 9).await.unwrap();
        let told: Vec<&Event> = rows.iter().map(|row| &row.event).collect();
        let expected = Event::CoinsArrived { txid: "in".to_owned(), amount_sat: 40_000, height: 101 };
        assert_eq!(told, [&expected]);
    }

    #[tokio::test]
    async fn what_waits_for_a_closing_transaction_is_told_once_that_is_known() {
        let world = world();
        world.treasury.note_deposits().await.unwrap();
        let came = |txid: &str| ChainTx { outgoing: false, ..tx(txid, 40_000, Some(101)) };
        *world.node.transactions.lock().unwrap() = vec![came("closing"), came("in")];
        world.closed("7", "agreed_by_us").await;
        let told = async || {
            world.treasury.note_deposits().await.unwrap();
            let rows = world.ledger.activity(None, None, 9).await.unwrap();
            rows.iter().filter(|row| matches!(row.event, Event::CoinsArrived { .. })).count()
        };
        assert_eq!([told().await, told().await], [0, 0]);
        assert_eq!(world.treasury.noted().waiting.len(), 2);
        world.ledger.note_closing("7", "closing".to_owned()).await.unwrap();
        assert_eq!([told().await, told().await], [1, 1]);
        assert!(world.treasury.noted().waiting.is_empty());
    }
}
