//! Absolute and relative locktimes (nLockTime with BIP113, nSequence with BIP68), for the next block.

use bitcoin::absolute::LOCK_TIME_THRESHOLD;
use bitcoin::{Sequence, Transaction};

use super::best::BestChain;
use super::coins::Coin;

const TYPE_TIME: u32 = 1 << 22;
const VALUE_MASK: u32 = 0xffff;
/// A relative time counts units of 2^9 = 512 seconds.
const TIME_GRANULARITY: u32 = 9;

/// Whether the next block may hold the transaction by its nLockTime.
pub(super) fn is_final(tx: &Transaction, best: &BestChain) -> bool {
    let locked_until = tx.lock_time.to_consensus_u32();
    let reached = if locked_until < LOCK_TIME_THRESHOLD {
        best.height() + 1
    } else {
        best.median_time_past(best.height())
    };
    locked_until == 0 || locked_until < reached || !tx.is_lock_time_enabled()
}

/// Whether the next block may hold the transaction by the ages of the coins that it spends, in input order.
pub(super) fn ages_suffice(tx: &Transaction, coins: &[Coin], best: &BestChain) -> bool {
    let versioned = !(0..2).contains(&tx.version.0);
    !versioned || tx.input.iter().zip(coins).all(|(input, coin)| is_old_enough(input.sequence, coin, best))
}

fn is_old_enough(sequence: Sequence, coin: &Coin, best: &BestChain) -> bool {
    if !sequence.is_relative_lock_time() {
        return true;
    }
    let bits = sequence.to_consensus_u32();
    let value = bits & VALUE_MASK;
    if bits & TYPE_TIME == 0 {
        coin.height + value <= best.height() + 1
    } else {
        let made = u64::from(best.median_time_past(coin.height.saturating_sub(1)));
        let due = made + (u64::from(value) << TIME_GRANULARITY);
        due <= u64::from(best.median_time_past(best.height()))
    }
}
