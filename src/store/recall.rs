//! Tells whoever holds something of a token that the operator took it back (THREATS 3).
//!
//! Invariants: a holder is known here before its debit is written, so that a revocation finds it or
//! the debit finds the revocation; nobody is told before the revocation is on disk; what is kept is one
//! entry for each token with an open hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::job::Job;
use super::page::Page;
use super::{Ledger, StoreError, grants};
use crate::types::PaymentHash;

/// The tokens that something is held of.
#[derive(Debug, Default)]
pub(super) struct Recalls(Mutex<HashMap<PaymentHash, Holders>>);

#[derive(Debug, Default)]
struct Holders {
    count: usize,
    taken_back: CancellationToken,
}

/// One holder, who hears of it as long as this lives.
#[derive(Debug)]
pub struct Recall {
    recalls: Arc<Recalls>,
    payment_hash: PaymentHash,
    taken_back: CancellationToken,
}

impl Recalls {
    /// Makes a holder known.
    pub(super) fn join(self: &Arc<Self>, payment_hash: PaymentHash) -> Recall {
        let mut inside = self.inside();
        let holders = inside.entry(payment_hash).or_default();
        holders.count += 1;
        let taken_back = holders.taken_back.clone();
        drop(inside);
        Recall { recalls: Arc::clone(self), payment_hash, taken_back }
    }

    fn recall(&self, payment_hash: &PaymentHash) {
        if let Some(holders) = self.inside().get(payment_hash) {
            holders.taken_back.cancel();
        }
    }

    fn inside(&self) -> MutexGuard<'_, HashMap<PaymentHash, Holders>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recall {
    /// Cancelled when the token was taken back.
    pub fn taken_back(&self) -> &CancellationToken {
        &self.taken_back
    }
}

impl Drop for Recall {
    fn drop(&mut self) {
        let mut inside = self.recalls.inside();
        if let Some(holders) = inside.get_mut(&self.payment_hash) {
            holders.count -= 1;
            if holders.count == 0 {
                inside.remove(&self.payment_hash);
            }
        }
    }
}

impl Ledger {
    /// Takes a token back for good, redeemed or not; gives how many units were left. A unit on its way
    /// ends as it ends, and is not given back to `left`; whoever holds it is told
    /// ([`super::Reservation::taken_back`]).
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn revoke(&self, payment_hash: PaymentHash) -> Result<u64, StoreError> {
        let (reply, answer) = oneshot::channel();
        let recalls = Arc::clone(&self.0.recalls);
        self.0.writer.send(Box::new(Revoke { payment_hash, recalls, units: 0, reply })).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

struct Revoke {
    payment_hash: PaymentHash,
    recalls: Arc<Recalls>,
    units: u64,
    reply: oneshot::Sender<Result<u64, StoreError>>,
}

impl Job for Revoke {
    fn write(&mut self, page: &mut Page<'_>) -> Result<(), StoreError> {
        self.units = grants::revoke(page, self.payment_hash)?;
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        if outcome.is_ok() {
            self.recalls.recall(&self.payment_hash);
        }
        // Whoever stopped waiting does not want to know; it is done all the same.
        let _ = self.reply.send(outcome.map(|()| self.units));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_holders_of_a_token_are_told_and_no_others() {
        let recalls = Arc::new(Recalls::default());
        let hash = |n: u8| PaymentHash::from_bytes([n; 32]);
        let holders = [recalls.join(hash(1)), recalls.join(hash(1)), recalls.join(hash(2))];
        recalls.recall(&hash(1));
        let told = holders.each_ref().map(|holder| holder.taken_back().is_cancelled());
        assert_eq!(told, [true, true, false]);
        drop(holders);
        assert!(recalls.inside().is_empty());
        recalls.recall(&hash(1));
        assert!(!recalls.join(hash(1)).taken_back().is_cancelled());
    }
}
