//! The on-chain wallet of the node that is made up.

use tollhouse::ports::{
    BoxFuture, ChainTx, Coins, CoinsView, FeeRate, FeeRates, Much, NodeFault, SendFault, Splice, TxContents,
};

use super::MadeUpNode;

/// What is in it, and what came and went.
#[derive(Debug)]
pub(crate) struct MadeUpWallet {
    pub(crate) coins: CoinsView,
    pub(crate) transactions: Vec<ChainTx>,
}

impl Default for MadeUpWallet {
    fn default() -> MadeUpWallet {
        let coins = CoinsView {
            height: 231,
            total_sat: 123_214,
            spendable_sat: 98_214,
            reserved_sat: 25_000,
            reserve_wanted_sat: 25_000,
            ..CoinsView::default()
        };
        MadeUpWallet { coins, transactions: Vec::new() }
    }
}

impl Coins for MadeUpNode {
    fn coins(&self) -> BoxFuture<'_, Result<CoinsView, NodeFault>> {
        let coins = self.wallet.lock().expect("not poisoned").coins.clone();
        Box::pin(async move { Ok(coins) })
    }

    fn transactions(&self) -> BoxFuture<'_, Result<Vec<ChainTx>, NodeFault>> {
        let transactions = self.wallet.lock().expect("not poisoned").transactions.clone();
        Box::pin(async move { Ok(transactions) })
    }

    fn fee_rates(&self) -> BoxFuture<'_, Result<FeeRates, NodeFault>> {
        let [fast, normal, slow] = [9_000, 4_000, 1_000].map(FeeRate::nearest);
        let (fast_sat_per_kvb, normal_sat_per_kvb, slow_sat_per_kvb) = (fast, normal, slow);
        let rates = FeeRates { fast_sat_per_kvb, normal_sat_per_kvb, slow_sat_per_kvb, estimated: true };
        Box::pin(async move { Ok(rates) })
    }

    fn spender(&self, _outpoint: &str, _height: u32) -> BoxFuture<'_, Result<Option<String>, NodeFault>> {
        Box::pin(async { Ok(None) })
    }

    fn waits(&self, _txid: &str) -> BoxFuture<'_, Result<bool, NodeFault>> {
        Box::pin(async { Ok(false) })
    }

    fn withdraw(&self, _txid: &str) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn is_own(&self, _address: &str) -> BoxFuture<'_, bool> {
        Box::pin(async { false })
    }

    fn contents(
        &self,
        _txid: &str,
        _height: Option<u32>,
    ) -> BoxFuture<'_, Result<Option<TxContents>, NodeFault>> {
        Box::pin(async { Ok(None) })
    }

    fn spent_in_block(
        &self,
        _outpoint: &str,
        _height: u32,
    ) -> BoxFuture<'_, Result<Option<(String, u32)>, NodeFault>> {
        Box::pin(async { Ok(None) })
    }

    fn check_splice_address(&self, address: &str) -> Result<(), NodeFault> {
        self.check_address(address)
    }

    fn check_address(&self, address: &str) -> Result<(), NodeFault> {
        let known = address.starts_with("bcrt1q");
        if known { Ok(()) } else { Err(NodeFault(format!("`{address}` is not a bitcoin address"))) }
    }

    fn send_coins(
        &self,
        address: &str,
        much: Much,
        rate: FeeRate,
    ) -> BoxFuture<'_, Result<String, SendFault>> {
        let mut sent = self.sent.lock().expect("not poisoned");
        sent.push((address.to_owned(), much, rate));
        let txid = format!("{:064x}", sent.len());
        // The wallet sees it at once.
        self.wallet.lock().expect("not poisoned").transactions.push(ChainTx {
            txid: txid.clone(),
            outgoing: true,
            amount_sat: if let Much::Exactly(amount_sat) = much { amount_sat } else { 70_000 },
            fee_sat: None,
            confirmed_height: None,
            settled: false,
            at_secs: 0,
        });
        Box::pin(async move { Ok(txid) })
    }

    fn splice(&self, _channel_id: &str, _splice: Splice) -> BoxFuture<'_, Result<(), SendFault>> {
        Box::pin(async { Err(SendFault::Refused("the peer cannot splice".to_owned())) })
    }
}
