//! The demo's faucet: coins that anyone may spend, so that paying from it needs no key.

use std::cmp::Reverse;

use bitcoin::absolute::LockTime;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::Builder;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, transaction};
use thiserror::Error;

use super::best::BestChain;
use super::coins::Coins;
use super::mempool::{Mempool, is_mature};
use super::rejection::Rejection;

const FEE_SAT_PER_VBYTE: u64 = 2;
/// Less change than this goes to the fee: nodes do not relay outputs below it.
const DUST: Amount = Amount::from_sat(330);

/// Why the faucet could not pay.
#[derive(Debug, Error)]
pub enum FaucetError {
    /// Mine more blocks: a coinbase is spendable 100 blocks later.
    #[error("the faucet holds {available} that can be spent and {wanted} was asked of it")]
    Dry {
        /// What has matured.
        available: Amount,
        /// What was asked, without the fee.
        wanted: Amount,
    },
    /// The amount is under the dust limit, say.
    #[error("the mempool refused the faucet's payment: {0}")]
    Rejected(#[from] Rejection),
}

fn witness_script() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}

/// Pays to a witness script that anyone can satisfy.
pub(super) fn script_pubkey() -> ScriptBuf {
    witness_script().to_p2wsh()
}

/// A transaction that pays `amount` to `to`: the largest confirmed coins first, then what waits in the mempool.
pub(super) fn pay(
    best: &BestChain,
    coins: &Coins,
    mempool: &Mempool,
    to: ScriptBuf,
    amount: Amount,
) -> Result<Transaction, FaucetError> {
    let faucet = script_pubkey();
    let next_height = best.height() + 1;
    let mut confirmed: Vec<(OutPoint, Amount)> = coins
        .iter()
        .filter(|(outpoint, coin)| coin.output.script_pubkey == faucet && !mempool.spends(outpoint))
        .filter(|(_, coin)| is_mature(coin, next_height))
        .map(|(outpoint, coin)| (*outpoint, coin.output.value))
        .collect();
    confirmed.sort_unstable_by_key(|(outpoint, value)| (Reverse(*value), *outpoint));

    let mut inputs = Vec::new();
    let mut available = Amount::ZERO;
    for (outpoint, value) in confirmed.into_iter().chain(mempool.unspent_of(&faucet)) {
        inputs.push(TxIn {
            previous_output: outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::from_slice(&[witness_script().as_bytes()]),
        });
        available += value;
        let mut tx = Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: inputs.clone(),
            output: vec![
                TxOut { value: amount, script_pubkey: to.clone() },
                TxOut { value: Amount::ZERO, script_pubkey: faucet.clone() },
            ],
        };
        let vbytes = tx.weight().to_vbytes_ceil();
        let needed = amount.checked_add(Amount::from_sat(FEE_SAT_PER_VBYTE * vbytes));
        match needed.and_then(|needed| available.checked_sub(needed)) {
            Some(change) if change >= DUST => tx.output[1].value = change,
            Some(_) => tx.output.truncate(1),
            None => continue,
        }
        return Ok(tx);
    }
    Err(FaucetError::Dry { available, wanted: amount })
}
