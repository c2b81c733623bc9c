//! The challenges handed out lately: what a payment that just arrived was for.
//!
//! Bounded: the oldest makes room, so a flood of challenges costs no memory. Losing an entry loses a
//! label for a moment; what was sold stands in the token.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::TOKEN_LIFE_AFTER_INVOICE;
use crate::types::{Kind, Msat, Name, PaymentHash, Timestamp};

/// What a challenge offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bought {
    /// The service.
    pub service: Name,
    /// The route.
    pub route: Name,
    /// What is sold.
    pub kind: Kind,
    /// How many units, as the token says them: of a pass, seconds.
    pub units: u64,
    /// The price.
    pub amount: Msat,
    /// The dearest request that a unit opens, of a request and a pack.
    pub covers: Msat,
    /// The price in another currency, and the rate; as [`super::Sale::quote`].
    pub quote: Option<String>,
    /// When the invoice expires: a payment after that is late.
    pub expires_at: Timestamp,
    /// Until when its token is good; of a pass that nobody opened, until when it may be opened.
    pub valid_until: Timestamp,
    /// The key epoch that minted its token, where that is told.
    pub epoch: Option<u32>,
}

impl Bought {
    /// One request at `amount`, quoted in bitcoin.
    pub fn request(service: Name, route: Name, amount: Msat, expires_at: Timestamp) -> Bought {
        Bought {
            service,
            route,
            kind: Kind::Request,
            units: 1,
            amount,
            covers: amount,
            quote: None,
            expires_at,
            valid_until: expires_at.plus(TOKEN_LIFE_AFTER_INVOICE),
            epoch: None,
        }
    }
}

/// A bounded map from payment hashes to what they buy.
#[derive(Debug)]
pub struct RecentChallenges {
    capacity: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    by_hash: HashMap<PaymentHash, Bought>,
    in_order: VecDeque<PaymentHash>,
}

impl RecentChallenges {
    /// Keeps the newest `capacity` challenges.
    pub fn new(capacity: usize) -> RecentChallenges {
        RecentChallenges { capacity, inside: Mutex::default() }
    }

    /// Remembers a challenge.
    pub fn insert(&self, payment_hash: PaymentHash, bought: Bought) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.by_hash.insert(payment_hash, bought).is_none() {
            inside.in_order.push_back(payment_hash);
        }
        while inside.in_order.len() > self.capacity {
            if let Some(oldest) = inside.in_order.pop_front() {
                inside.by_hash.remove(&oldest);
            }
        }
    }

    /// What a payment with this hash buys, while it is remembered.
    pub fn get(&self, payment_hash: &PaymentHash) -> Option<Bought> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).by_hash.get(payment_hash).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let recent = RecentChallenges::new(2);
        let (service, route): (Name, Name) = ("rates".parse().unwrap(), "default".parse().unwrap());
        let bought = |n: u64| {
            let amount = Msat::new(n).unwrap();
            Bought::request(service.clone(), route.clone(), amount, Timestamp::from_secs(1_800_000_000))
        };
        let hash = |n: u8| PaymentHash::from_bytes([n; 32]);
        for n in 1..=3u8 {
            recent.insert(hash(n), bought(n.into()));
        }
        recent.insert(hash(3), bought(9));
        assert_eq!(recent.get(&hash(1)), None);
        assert_eq!(recent.get(&hash(2)), Some(bought(2)));
        assert_eq!(recent.get(&hash(3)), Some(bought(9)));
    }
}
