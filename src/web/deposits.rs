//! The address that is shown to whoever wants to put coins on the wallet: the same one until coins came or
//! another is asked for, so that looking at a page makes none.

use std::sync::{Mutex, PoisonError};

use super::Operator;
use crate::ports::NodeFault;

/// What is shown now.
#[derive(Debug, Default)]
pub struct Deposits(Mutex<Option<Shown>>);

#[derive(Clone, Debug)]
struct Shown {
    address: String,
    /// Transactions that the wallet had received when it was made: one more, and it may have been used.
    received: usize,
}

impl Operator {
    /// An address of the on-chain wallet that nothing was paid to since it was made.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub async fn deposit_address(&self) -> Result<String, NodeFault> {
        let received = self.received().await?;
        let known = self.deposits.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known.filter(|shown| shown.received == received) {
            Some(shown) => Ok(shown.address),
            None => self.another_deposit_address().await,
        }
    }

    /// A fresh one, which is shown from now on.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub async fn another_deposit_address(&self) -> Result<String, NodeFault> {
        let received = self.received().await?;
        let address = self.parts.control.new_address().await?;
        let shown = Shown { address: address.clone(), received };
        *self.deposits.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Ok(address)
    }

    async fn received(&self) -> Result<usize, NodeFault> {
        Ok(self.parts.coins.transactions().await?.iter().filter(|tx| !tx.outgoing).count())
    }
}
