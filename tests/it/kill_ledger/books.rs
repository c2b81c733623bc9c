//! One token's books against what its customer and the upstream saw.

use std::sync::atomic::Ordering;

use tollhouse::ledger::Grant;
use tollhouse::store::CounterRow;
use tollhouse::types::{Bound, Kind};

use super::child::{BYTE_MSAT, CEILING_MSAT, PACK, price, price_of};
use super::customers::{Token, USES};
use super::origin::{Hits, Origin, STREAM_BYTES};

/// Panics when they do not agree. `crashes` is how often a second crash charged the token: that charges
/// whether or not the request had left, the one way to pay for nothing.
pub(super) fn check(token: &Token, grant: &Grant, hits: &Hits, crashes: u64) {
    let complete = token.complete.load(Ordering::SeqCst);
    let streamed = token.streamed.load(Ordering::SeqCst);
    let seen = format!("{grant:?}, {hits:?}, {complete} whole answers, {streamed} bytes, {crashes} crashes");
    assert_eq!(grant.kind, token.kind, "{seen}");
    assert_eq!((grant.held, grant.open), (0, 0), "{seen}");
    assert!(grant.balanced() && grant.expired + grant.revoked == 0, "{seen}");
    let ended = grant.calls + grant.crash_restored;
    assert!(hits.answered() <= ended, "the books lack what was seen: {seen}");
    let all = hits.answered() + hits.failed;
    assert!(all <= ended + grant.restored, "the books lack what was seen: {seen}");
    assert!(complete <= hits.served, "{seen}");
    assert!(grant.calls <= hits.answered() + crashes, "more was charged than was seen: {seen}");
    match token.kind {
        Kind::Request | Kind::Pack => {
            let units = if token.kind == Kind::Pack { PACK } else { 1 };
            assert_eq!((grant.sold, grant.left, grant.spent), (units, 0, units), "{seen}");
            assert!(grant.spent <= hits.served + crashes, "more was charged than was seen: {seen}");
            assert!(complete <= grant.spent + grant.crash_returned, "the books lack what was seen: {seen}");
        }
        Kind::Balance => {
            let price = price().msat();
            assert_eq!(grant.sold, price_of(Kind::Balance).msat(), "{seen}");
            assert!(grant.left < price, "it was not used up: {seen}");
            let most = hits.served * price + hits.streams * STREAM_BYTES * BYTE_MSAT + crashes * CEILING_MSAT;
            assert!(grant.spent <= most, "more was charged than was seen: {seen}");
            let least = complete * price + streamed * BYTE_MSAT;
            assert!(least <= grant.spent + grant.crash_returned, "the books lack what was seen: {seen}");
        }
        // Its first answer earns it, and at the end it had one.
        Kind::Pass => assert_eq!((grant.sold, grant.left, grant.spent), (1, 0, 1), "{seen}"),
        Kind::Granted => panic!("nobody was granted anything: {seen}"),
    }
    let spent = token.spent.load(Ordering::SeqCst);
    assert_eq!(spent, token.kind != Kind::Pass, "a used token is answered 402: {seen}");
}

/// Panics when the token's limits do not agree with what the holders of its copies and the upstream saw.
pub(super) fn check_limits(
    token: &Token,
    grant: &Grant,
    limits: &[CounterRow],
    origin: &Origin,
    crashes: u64,
) {
    let seen = format!("{limits:?}, {grant:?}, {:?}", token.copies);
    let (mut used, mut hits, mut complete) = (0, 0, 0);
    for copy in &token.copies {
        let through = origin.of_copy(&token.hash.to_string(), copy.name);
        assert!(copy.complete.load(Ordering::SeqCst) <= through, "{seen}");
        // A crash gives a unit back that may have been delivered, once.
        assert!(through <= USES + grant.crash_restored, "limits do not hold: {through} uses of {seen}");
        hits += through;
        complete += copy.complete.load(Ordering::SeqCst);
    }
    for row in limits {
        assert_eq!(row.counter.held, 0, "{seen}");
        assert!(row.counter.used <= row.counter.bound.most(), "limits do not hold: {seen}");
        if let Bound::Uses(most) = row.counter.bound {
            assert_eq!(most, USES, "{seen}");
            used += row.counter.used;
        }
    }
    assert!(hits <= used + grant.crash_restored, "limits do not hold what was seen: {hits} of {seen}");
    assert!(
        complete <= used + grant.crash_restored,
        "limits do not hold what was seen: {complete} of {seen}"
    );
    assert!(used <= hits + crashes, "more was counted than was seen: {hits} of {seen}");
}
