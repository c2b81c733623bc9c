//! Splices out for the rules: the treasury does it, the vault gives the address.

use std::sync::Arc;

use crate::node::LightningNode;
use crate::ports::{BoxFuture, Coins, ColdStorage};
use crate::store::{OperationRow, RuleRun};
use crate::treasury::{Deed, Treasury, TreasuryError};
use crate::types::Msat;
use crate::upkeep::{Splicer, Unspliced};
use crate::vault::Vault;

/// About the size of a splice's transaction: the old funding output in, the new one and the address out.
const SPLICE_VBYTES: u64 = 300;
/// The destination that is not an address.
const VAULT: &str = "vault";

/// Takes coins out of channels.
pub(super) struct FromChannels {
    treasury: Treasury,
    coins: Arc<dyn Coins>,
    vault: Arc<dyn ColdStorage>,
}

impl FromChannels {
    pub(super) fn new(treasury: Treasury, node: &Arc<LightningNode>, vault: &Arc<Vault>) -> FromChannels {
        FromChannels { treasury, coins: node.clone(), vault: vault.clone() }
    }
}

impl Splicer for FromChannels {
    fn check(&self, to: &str) -> Result<(), String> {
        if to == VAULT {
            return Ok(());
        }
        self.coins.check_splice_address(to).map_err(|fault| fault.0)
    }

    fn fee(&self) -> BoxFuture<'_, Option<Msat>> {
        Box::pin(async {
            let rates = self.coins.fee_rates().await.ok()?;
            Msat::from_sat(rates.fast_sat_per_kvb.fee_sat(SPLICE_VBYTES)).ok()
        })
    }

    fn splice_out(
        &self,
        key: String,
        channel_id: String,
        to: String,
        amount: Msat,
        run: RuleRun,
    ) -> BoxFuture<'_, Result<OperationRow, Unspliced>> {
        Box::pin(async move {
            let address = match to.as_str() {
                VAULT => {
                    let given = self.vault.address(&key).await;
                    given.map_err(|none| Unspliced { code: none.code(), why: none.to_string() })?.address
                }
                _ => to,
            };
            let deed = Deed::SpliceOut { channel_id, address, amount_sat: amount.sats_floor() };
            let done = self.treasury.run_for(&key, deed, run).await;
            done.map_err(|error| Unspliced { code: code(&error), why: error.to_string() })
        })
    }
}

const fn code(error: &TreasuryError) -> &'static str {
    match error {
        TreasuryError::KeyTaken(_) => "key_taken",
        TreasuryError::Senseless { code, .. } => code,
        TreasuryError::Node(_) => "node_not_ready",
        TreasuryError::NoFeeRates(_) => "no_fee_rates",
        TreasuryError::CoinsBusy(_) => "coins_busy",
        TreasuryError::Stopping => "stopping",
        _ => "not_spliced",
    }
}
