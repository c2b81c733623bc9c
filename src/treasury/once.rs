//! Coins for whoever pays one thing once, such as an order of a channel.

use super::{Deed, FeeChoice, Terms, Treasury, TreasuryError};
use crate::ports::{BoxFuture, CoinSender, CoinsNotSent, FeeRate};
use crate::store::OperationState;

impl CoinSender for Treasury {
    fn send_once(
        &self,
        key: String,
        address: String,
        amount_sat: u64,
        most: Option<FeeRate>,
    ) -> BoxFuture<'_, Result<(), CoinsNotSent>> {
        Box::pin(async move {
            let deed = Deed::Send { address, amount_sat, fee: FeeChoice::default() };
            match self.carried(&key, deed, Terms { most, in_time: true, rule: None }).await {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::treasury::tests::world;

    fn rate(sat_per_kvb: u64) -> Option<FeeRate> {
        FeeRate::of_sat_per_kvb(sat_per_kvb)
    }

    #[tokio::test]
    async fn nothing_is_sent_while_the_chain_asks_for_more_than_was_agreed_to() {
        let world = world();
        let pay =
            async |most| world.treasury.send_once("order".to_owned(), "bcrt1q".to_owned(), 5_000, most).await;
        let asked = || *world.node.asked.lock().unwrap();
        *world.node.rate.lock().unwrap() = None;
        let nobody_says = pay(rate(4_000)).await.unwrap_err();
        assert!(matches!(nobody_says, CoinsNotSent::Yet(_)), "{nobody_says}");
        *world.node.rate.lock().unwrap() = rate(9_500);
        let dearer = pay(rate(4_000)).await.unwrap_err();
        let said = "a transaction must pay 9.5 sat/vB now, and 4 sat/vB was agreed to; nothing was sent";
        assert_eq!(dearer, CoinsNotSent::Yet(said.to_owned()));
        assert_eq!((asked(), world.treasury.operation_of_key("order").await.unwrap()), (0, None));
        // It falls again, and one that was begun is not refused when it rises once more.
        *world.node.rate.lock().unwrap() = rate(3_500);
        pay(rate(4_000)).await.unwrap();
        *world.node.rate.lock().unwrap() = rate(9_500);
        pay(rate(4_000)).await.unwrap();
        let row = world.treasury.operation_of_key("order").await.unwrap().unwrap();
        assert_eq!((asked(), &row.outcome["fee_rate_sat_per_kvb"]), (1, &3_500.into()), "once");
    }
}
