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
        let known = self.noted().deposits.clone();
        let fresh: Vec<Deposit> = came.filter(|deposit| !known.contains(&deposit.txid)).collect();
        // Without any the ledger still learns from which height on they are told.
        if fresh.is_empty() && known.contains("") {
            return Ok(());
        }
        if parts.ledger.note_deposits(fresh.clone(), view.block_height).await? {
            let mut noted = self.noted();
            noted.deposits.extend(fresh.into_iter().map(|deposit| deposit.txid));
            noted.deposits.insert(String::new());
        }
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
}
