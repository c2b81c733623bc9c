//! Requests that cost nothing, so many in a time, counted in memory that does not grow.
//!
//! Invariants: whose request it is, is told by the connection alone, never by a header; windows begin
//! by the clock; there are at most [`CUSTOMERS`] counts, the one that was used longest ago makes room.
//! An IPv6 customer has a network of 64 bits, for that is what one customer is given: who has many of
//! them has many allowances. A restart forgets every count.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashlink::LruCache;
use ring::digest;

use crate::catalog::{Allowance, AllowanceBy, Matched};
use crate::types::Timestamp;

/// Counts that are kept, of customers by address.
const CUSTOMERS: usize = 65_536;

/// Counts that are kept, of all customers together: one for each route that has such an allowance, out
/// of reach of a flood of addresses.
const EVERYONE: usize = 4_096;

/// Counts what was used of free allowances.
pub(super) struct Allowances {
    by_ip: Mutex<LruCache<(Place, Network), Window>>,
    everyone: Mutex<LruCache<Place, Window>>,
}

impl std::fmt::Debug for Allowances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Allowances")
    }
}

/// What an allowance is for: a service, or one of its routes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place([u8; 16]);

/// Whose connection it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
}

/// How much was used in one window.
#[derive(Clone, Copy)]
struct Window {
    number: u64,
    used: u32,
}

impl Default for Allowances {
    fn default() -> Allowances {
        Allowances::keeping(CUSTOMERS)
    }
}

impl Allowances {
    fn keeping(customers: usize) -> Allowances {
        Allowances {
            by_ip: Mutex::new(LruCache::new(customers)),
            everyone: Mutex::new(LruCache::new(EVERYONE)),
        }
    }

    /// Takes one free request for `peer`, when the terms of `matched` give one and it is not used up.
    pub(super) fn take(&self, matched: &Matched, peer: IpAddr, now: Timestamp) -> bool {
        let Some(allowance) = matched.terms.free else {
            return false;
        };
        // What a route has from its service it shares with the service's other routes.
        let shared = matched.service.terms.free == Some(allowance);
        let route = if shared { "" } else { matched.route.as_str() };
        let place = Place::of(matched.service.name.as_str(), route);
        match allowance.by {
            AllowanceBy::Ip => count(lock(&self.by_ip), (place, Network::of(peer)), &allowance, now),
            AllowanceBy::Everyone => count(lock(&self.everyone), place, &allowance, now),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count<K: Hash + Eq>(
    mut counts: MutexGuard<'_, LruCache<K, Window>>,
    key: K,
    allowance: &Allowance,
    now: Timestamp,
) -> bool {
    let number = now.secs() / allowance.per.as_secs().max(1);
    let mut window =
        counts.get(&key).copied().filter(|w| w.number == number).unwrap_or(Window { number, used: 0 });
    if window.used >= allowance.requests {
        return false;
    }
    window.used += 1;
    counts.insert(key, window);
    true
}

impl Place {
    fn of(service: &str, route: &str) -> Place {
        let digest = digest::digest(&digest::SHA256, format!("{service}\n{route}").as_bytes());
        let mut front = [0u8; 16];
        front.copy_from_slice(&digest.as_ref()[..16]);
        Place(front)
    }
}

impl Network {
    fn of(peer: IpAddr) -> Network {
        match peer.to_canonical() {
            IpAddr::V4(address) => Network::V4(address.octets()),
            IpAddr::V6(address) => {
                let mut front = [0u8; 8];
                front.copy_from_slice(&address.octets()[..8]);
                Network::V6(front)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::catalog::{Route, Service, Terms, Upstream};
    use crate::types::{Msat, Name};

    fn matched(route: &str, own: Option<Allowance>, of_service: Option<Allowance>) -> Matched {
        let terms = |free| Terms { free, ..Terms::fixed(Msat::from_sat(1).unwrap()) };
        let upstream = Upstream::at("http://127.0.0.1:1/".parse().unwrap());
        let service = Service {
            routes: Vec::<Route>::new(),
            ..Service::new("api".parse().unwrap(), "/", terms(of_service), upstream)
        };
        Matched {
            service: Arc::new(service),
            route: route.parse::<Name>().unwrap(),
            terms: Arc::new(terms(own)),
            revision: 0,
        }
    }

    fn allowance(requests: u32, by: AllowanceBy) -> Option<Allowance> {
        Some(Allowance { requests, per: Duration::from_secs(60), by })
    }

    /// How many of `tries` are free.
    fn taken(allowances: &Allowances, matched: &Matched, peer: &str, at: u64, tries: usize) -> usize {
        let take = |_: &usize| allowances.take(matched, peer.parse().unwrap(), Timestamp::from_secs(at));
        (0..tries).filter(take).count()
    }

    #[test]
    fn each_network_has_its_own_and_windows_follow_the_clock() {
        let all = Allowances::default();
        let by_ip = allowance(2, AllowanceBy::Ip);
        let api = matched("default", by_ip, by_ip);
        assert_eq!(taken(&all, &api, "192.0.2.1", 59, 5), 2);
        assert_eq!(taken(&all, &api, "::ffff:192.0.2.1", 59, 5), 0, "the same address in IPv6");
        assert_eq!(taken(&all, &api, "192.0.2.2", 59, 5), 2);
        assert_eq!(taken(&all, &api, "192.0.2.1", 60, 5), 2, "the next minute");
        assert_eq!(taken(&all, &api, "2001:db8::1", 60, 1), 1);
        assert_eq!(taken(&all, &api, "2001:db8::ffff:1", 60, 5), 1, "one network of 64 bits");
        assert_eq!(taken(&all, &api, "2001:db8:0:1::1", 60, 5), 2, "another");
        assert_eq!(taken(&all, &matched("default", None, by_ip), "192.0.2.9", 60, 5), 0);
    }

    #[test]
    fn routes_share_what_they_have_from_their_service() {
        let all = Allowances::default();
        let (two, three) = (allowance(2, AllowanceBy::Everyone), allowance(3, AllowanceBy::Everyone));
        assert_eq!(taken(&all, &matched("a", two, two), "192.0.2.1", 0, 1), 1);
        assert_eq!(taken(&all, &matched("b", two, two), "192.0.2.2", 0, 9), 1, "shared by all");
        assert_eq!(taken(&all, &matched("c", three, two), "192.0.2.1", 0, 9), 3, "its own");
        assert_eq!(taken(&all, &matched("d", three, two), "192.0.2.1", 0, 9), 3);
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let all = Allowances::keeping(2);
        let by_ip = allowance(1, AllowanceBy::Ip);
        let api = matched("default", by_ip, by_ip);
        for peer in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            assert_eq!(taken(&all, &api, peer, 0, 2), 1);
        }
        assert_eq!(lock(&all.by_ip).len(), 2);
        assert_eq!(taken(&all, &api, "192.0.2.3", 0, 1), 0, "still known");
    }
}
