//! What the on-chain wallet paid to bring the transactions of forced closes into a block, told once for each transaction.
//!
//! Invariant: what a close took of the channel's own coins is not among it; that is in the channel's record.

use rusqlite::{Connection, Row};

use super::page::Page;
use super::{Ledger, StoreError};
use crate::event::Event;

/// One transaction of the wallet that paid for a close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFee {
    /// The channel's id, hexadecimal.
    pub channel_id: String,
    /// The other node's key, hexadecimal.
    pub peer: String,
    /// The transaction, hexadecimal.
    pub txid: String,
    /// What left the wallet with it, satoshi.
    pub fee_sat: u64,
    /// The height of its block.
    pub height: u32,
}

impl Ledger {
    /// Tells that the wallet paid for a close, if that transaction was not told yet.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn note_close_fee(&self, paid: CloseFee) -> Result<(), StoreError> {
        let work = move |page: &mut Page<'_>| {
            if told(page.connection)?.iter().all(|one| one.txid != paid.txid) {
                let CloseFee { channel_id, peer, txid, fee_sat, height } = paid;
                page.log(&Event::CloseFeePaid { channel_id, peer, txid, fee_sat, height })?;
            }
            Ok(())
        };
        self.0.writer.call(work).await
    }

    /// What the wallet paid for closes, as far as it was told.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn close_fees(&self) -> Result<Vec<CloseFee>, StoreError> {
        self.0.readers.read(told).await
    }
}

/// By their index: the first condition is that.
const TOLD: &str =
    "SELECT json_extract(body, '$.channel_id'), json_extract(body, '$.peer'), json_extract(body, '$.txid'),
        json_extract(body, '$.fee_sat'), json_extract(body, '$.height')
    FROM events
    WHERE json_extract(body, '$.kind') NOT IN ('payment_received', 'sale_attributed')
        AND json_extract(body, '$.kind') = 'close_fee_paid'";

fn told(connection: &Connection) -> Result<Vec<CloseFee>, StoreError> {
    let mut query = connection.prepare_cached(TOLD)?;
    let one = |row: &Row<'_>| {
        let (channel_id, peer, txid) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(CloseFee { channel_id, peer, txid, fee_sat: row.get(3)?, height: row.get(4)? })
    };
    Ok(query.query_map([], one)?.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::plan::walks;
    use crate::store::tests::World;

    #[tokio::test]
    async fn a_transaction_that_paid_for_a_close_is_told_once() {
        let world = World::new();
        let (ledger, _) = world.open();
        let paid = |txid: &str, height| CloseFee {
            channel_id: "c7".to_owned(),
            peer: "02aa".to_owned(),
            txid: txid.to_owned(),
            fee_sat: 1_230,
            height,
        };
        for told in [paid("a", 7), paid("b", 7), paid("a", 8)] {
            ledger.note_close_fee(told).await.unwrap();
        }
        assert_eq!(ledger.close_fees().await.unwrap(), [paid("a", 7), paid("b", 7)]);
        let walked = ledger.0.readers.read(|connection| Ok(walks(connection, TOLD))).await.unwrap();
        assert_eq!(walked, Vec::<String>::new());
    }
}
