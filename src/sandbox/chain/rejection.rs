//! Why a transaction is not taken, and what can be said of one before the mempool is asked.

use std::collections::BTreeSet;

use bitcoin::{Amount, Transaction, Weight};
use thiserror::Error;

use super::coins::Coin;

/// What bitcoind relays by default, in satoshi for 1000 virtual bytes.
pub const MIN_RELAY_SAT_PER_KVBYTE: u64 = 1_000;
/// A smaller one could be mistaken for a node of the merkle tree.
const MIN_BASE_BYTES: usize = 65;

/// Why a transaction was not taken. The texts are bitcoind's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// It is in a block already.
    #[error("Transaction outputs already in utxo set")]
    AlreadyConfirmed,
    /// It spends what never was, or what is spent.
    #[error("bad-txns-inputs-missingorspent")]
    MissingInputs,
    /// It could never be in a block.
    #[error("{0}")]
    Malformed(&'static str),
    /// Larger than nodes relay.
    #[error("{0}")]
    TooLarge(&'static str),
    /// Its nLockTime is not reached.
    #[error("non-final")]
    NotFinal,
    /// A coin that it spends is younger than its nSequence asks.
    #[error("non-BIP68-final")]
    TooYoung,
    /// It spends a coinbase that is not 100 blocks deep.
    #[error("bad-txns-premature-spend-of-coinbase")]
    Immature,
    /// It gives more than it takes.
    #[error("bad-txns-in-belowout")]
    Overspent,
    /// Under one satoshi for a virtual byte.
    #[error("min relay fee not met, {paid} < {needed}")]
    FeeTooLow {
        /// Its fee in satoshi.
        paid: u64,
        /// What it should be.
        needed: u64,
    },
    /// It conflicts with what waits here and may not replace it.
    #[error("{0}")]
    NotReplacing(&'static str),
    /// Too many unconfirmed ancestors.
    #[error("too-long-mempool-chain")]
    TooManyAncestors,
    /// Too much waits here.
    #[error("mempool full")]
    Full,
}

/// The least fee for relaying that weight.
pub(super) fn relay_fee(weight: Weight) -> Amount {
    Amount::from_sat((weight.to_vbytes_ceil() * MIN_RELAY_SAT_PER_KVBYTE).div_ceil(1_000))
}

/// What can be said of a transaction without the chain.
pub(super) fn check_form(tx: &Transaction) -> Result<(), Rejection> {
    let malformed = |reason| Err(Rejection::Malformed(reason));
    if tx.input.is_empty() {
        return malformed("bad-txns-vin-empty");
    }
    if tx.output.is_empty() {
        return malformed("bad-txns-vout-empty");
    }
    if tx.is_coinbase() {
        return malformed("coinbase");
    }
    if tx.input.iter().any(|input| input.previous_output.is_null()) {
        return malformed("bad-txns-prevout-null");
    }
    let mut spent = BTreeSet::new();
    if !tx.input.iter().all(|input| spent.insert(input.previous_output)) {
        return malformed("bad-txns-inputs-duplicate");
    }
    if tx.output.iter().any(|output| output.value > Amount::MAX_MONEY) {
        return malformed("bad-txns-vout-toolarge");
    }
    if total(tx).is_none_or(|total| total > Amount::MAX_MONEY) {
        return malformed("bad-txns-txouttotal-toolarge");
    }
    if tx.weight() > Transaction::MAX_STANDARD_WEIGHT {
        return Err(Rejection::TooLarge("tx-size"));
    }
    if tx.base_size() < MIN_BASE_BYTES {
        return Err(Rejection::TooLarge("tx-size-small"));
    }
    Ok(())
}

fn total(tx: &Transaction) -> Option<Amount> {
    tx.output.iter().try_fold(Amount::ZERO, |sum, output| sum.checked_add(output.value))
}

/// Inputs less outputs.
pub(super) fn fee(tx: &Transaction, spent: &[Coin]) -> Result<Amount, Rejection> {
    let taken = spent.iter().try_fold(Amount::ZERO, |sum, coin| sum.checked_add(coin.output.value));
    let given = total(tx).ok_or(Rejection::Overspent)?;
    taken.and_then(|taken| taken.checked_sub(given)).ok_or(Rejection::Overspent)
}
