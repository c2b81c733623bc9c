//! The unspent outputs of the best chain.

use std::collections::HashMap;

use bitcoin::{Block, OutPoint, TxOut};

/// An unspent output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Amount and script.
    pub output: TxOut,
    /// The height of the block that made it; one above the tip when it waits in the mempool.
    pub height: u32,
    /// Whether a coinbase made it.
    pub is_coinbase: bool,
}

#[derive(Debug, Default)]
pub(super) struct Coins(HashMap<OutPoint, Coin>);

impl Coins {
    pub(super) fn get(&self, outpoint: &OutPoint) -> Option<&Coin> {
        self.0.get(outpoint)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&OutPoint, &Coin)> {
        self.0.iter()
    }

    /// Spends and makes what the block at `height` spends and makes.
    ///
    /// On an error some of the block may have been applied: the caller gives up on the chain.
    pub(super) fn connect(&mut self, block: &Block, height: u32) -> Result<(), &'static str> {
        for tx in &block.txdata {
            let is_coinbase = tx.is_coinbase();
            for input in tx.input.iter().filter(|_| !is_coinbase) {
                self.0.remove(&input.previous_output).ok_or("a block spends what is not there")?;
            }
            let txid = tx.compute_txid();
            for (vout, output) in (0u32..).zip(&tx.output) {
                if !output.script_pubkey.is_op_return() {
                    let coin = Coin { output: output.clone(), height, is_coinbase };
                    self.0.insert(OutPoint { txid, vout }, coin);
                }
            }
        }
        Ok(())
    }
}
