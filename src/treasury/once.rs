//! Coins for whoever pays one thing once, such as an order of a channel.

use super::{Deed, FeeChoice, Treasury, TreasuryError};
use crate::ports::{BoxFuture, CoinSender, CoinsNotSent};
use crate::store::OperationState;

impl CoinSender for Treasury {
    fn send_once(
        &self,
        key: String,
        address: String,
        amount_sat: u64,
    ) -> BoxFuture<'_, Result<(), CoinsNotSent>> {
        Box::pin(async move {
            let deed = Deed::Send { address, amount_sat, fee: FeeChoice::default() };
            match self.run(&key, deed).await {
                Ok(operation) if operation.state == OperationState::Failed => {
                    let why = operation.outcome["reason"].as_str().unwrap_or("the node refused");
                    Err(CoinsNotSent::ForGood(why.to_owned()))
                }
                Ok(_) => Ok(()),
                // Nothing was recorded, and nothing will be for this.
                Err(
                    error @ (TreasuryError::Senseless { .. }
                    | TreasuryError::BadKey
                    | TreasuryError::KeyTaken(_)),
                ) => Err(CoinsNotSent::ForGood(error.to_string())),
                Err(error) => Err(CoinsNotSent::Yet(error.to_string())),
            }
        })
    }
}
