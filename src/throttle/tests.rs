//! Buckets as those see them who ask.

use proptest::prelude::*;

use super::pace::BYTES_PER_SECOND;
use super::*;
use crate::clock::FixedClock;
use crate::types::Timestamp;

fn limits(each: Option<&str>, all: Option<&str>) -> Limits {
    let rate = |text: Option<&str>| text.map(|text| text.parse().unwrap());
    Limits { challenges: rate(each), all_challenges: rate(all), ..Limits::default() }
}

fn throttle(each: Option<&str>, all: Option<&str>) -> (Throttle, Arc<FixedClock>) {
    let clock = FixedClock::at(Timestamp::from_secs(1_000_000));
    (Throttle::new(&limits(each, all), clock.clone()), clock)
}

/// How many of `tries` are let in.
fn let_in(throttle: &Throttle, peer: &str, tries: usize) -> usize {
    (0..tries).filter(|_| throttle.challenge(peer.parse().unwrap()).is_ok()).count()
}

#[test]
fn a_network_has_its_bucket_and_it_fills_evenly() {
    let (throttle, clock) = throttle(Some("60 per minute"), None);
    assert_eq!(let_in(&throttle, "192.0.2.1", 100), 60);
    assert_eq!(let_in(&throttle, "192.0.2.254", 100), 0, "one network of 24 bits");
    assert_eq!(let_in(&throttle, "::ffff:192.0.2.9", 100), 0, "the same in IPv6");
    assert_eq!(let_in(&throttle, "192.0.3.1", 100), 60, "another");
    assert_eq!(let_in(&throttle, "2001:db8:1::1", 100), 60);
    assert_eq!(let_in(&throttle, "2001:db8:1:ffff::1", 100), 0, "one network of 48 bits");
    assert_eq!(let_in(&throttle, "2001:db8:2::1", 100), 60, "another");
    let refused = throttle.challenge("192.0.2.1".parse().unwrap()).unwrap_err();
    assert_eq!((refused.code(), refused.retry_after()), ("too_many_challenges", 1));
    clock.advance(Duration::from_secs(7));
    assert_eq!(let_in(&throttle, "192.0.2.1", 100), 7);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(let_in(&throttle, "192.0.2.1", 100), 60, "no more than it holds");
}

#[test]
fn all_together_have_theirs_and_what_it_refuses_is_not_taken() {
    let (throttle, clock) = throttle(Some("10 per second"), Some("15 per second"));
    assert_eq!(let_in(&throttle, "192.0.2.1", 100), 10);
    assert_eq!(let_in(&throttle, "192.0.3.1", 100), 5, "the rest of all");
    clock.advance(Duration::from_millis(200));
    assert_eq!(let_in(&throttle, "192.0.2.1", 100), 2, "its own share");
    assert_eq!(let_in(&throttle, "192.0.3.1", 100), 1, "what is left of all");
}

#[test]
fn what_is_off_lets_all_in_and_who_pays_is_not_held_up() {
    let (off, _) = throttle(None, None);
    assert_eq!(let_in(&off, "192.0.2.1", 10_000), 10_000);
    let (throttle, _) = throttle(Some("2 per hour"), Some("2 per hour"));
    let peer = "192.0.2.1".parse().unwrap();
    for _ in 0..100 {
        assert_eq!(throttle.challenge(peer), Ok(()));
        throttle.paid(peer);
    }
    throttle.paid(peer);
    assert_eq!(let_in(&throttle, "192.0.2.1", 9), 2, "nothing is saved up");
    let wait = throttle.challenge(peer).unwrap_err();
    assert_eq!((wait.wait, wait.retry_after()), (Duration::from_secs(1_800), 1_800));
}

#[test]
fn failures_are_counted_apart_and_looking_takes_nothing() {
    let clock = FixedClock::at(Timestamp::from_secs(5));
    let failures = Some("3 per minute".parse().unwrap());
    let throttle = Throttle::new(&Limits { failures, ..Limits::default() }, clock);
    let peer = "2001:db8::1".parse().unwrap();
    for _ in 0..3 {
        assert_eq!((throttle.failing(peer), throttle.failing(peer)), (Ok(()), Ok(())));
        assert_eq!((throttle.failure(peer), throttle.challenge(peer)), (Ok(()), Ok(())));
    }
    assert_eq!(throttle.failing(peer).unwrap_err().code(), "too_many_failures");
    assert_eq!(throttle.failure(peer).unwrap_err().retry_after(), 20);
}

/// THREATS 6: a million networks, and as much memory as for the first 65,536.
#[test]
fn a_million_networks_take_the_room_of_a_few() {
    let (throttle, _) = throttle(Some("1 per hour"), None);
    for number in 0..1_000_000u32 {
        let [_, a, b, c] = number.to_be_bytes();
        assert_eq!(throttle.challenge(IpAddr::from([a, b, c, 1])), Ok(()));
    }
    let state = throttle.challenges.lock();
    assert_eq!((state.networks.len(), state.networks.capacity()), (NETWORKS, NETWORKS));
    drop(state);
    assert!(throttle.challenge("15.66.63.9".parse().unwrap()).is_err(), "the last is still known");
}

#[test]
fn rates_are_as_people_write_them() {
    let rate = |text: &str| text.parse::<Rate>().map(|rate| rate.to_string());
    assert_eq!(rate("600 per minute").as_deref(), Ok("600 per minute"));
    assert_eq!(rate("5/second").as_deref(), Ok("5 per second"));
    assert_eq!(rate("1_000 per hour").as_deref(), Ok("1000 per hour"));
    for bad in ["", "600", "0 per minute", "-1 per minute", "1 per week", "2000000 per second", "x/second"] {
        assert_eq!(rate(bad), Err(BadRate), "{bad}");
    }
}

#[test]
fn who_drips_is_left_and_who_moves_is_not() {
    let second = Duration::from_secs(1);
    let mut drip = Pace::new(60 * second);
    let mut waits = 0;
    while drip.left() >= second {
        drip.waited(second);
        drip.moved(1);
        waits += 1;
    }
    assert_eq!(waits, 60, "a byte a second buys nothing");
    let mut steady = Pace::new(60 * second);
    for _ in 0..10_000 {
        steady.waited(second);
        steady.moved(BYTES_PER_SECOND);
    }
    assert_eq!(steady.left(), 60 * second);
}

proptest! {
    /// In no span are more let in than the bucket holds and that span brings back.
    #[test]
    fn never_more_than_the_rate(steps in prop::collection::vec((0u64..3_000, 1usize..20), 1..60)) {
        let (throttle, clock) = throttle(Some("7 per second"), None);
        let mut let_in_at: Vec<u64> = Vec::new();
        let mut now = 0;
        for (wait, tries) in steps {
            clock.advance(Duration::from_millis(wait));
            now += wait;
            let_in_at.extend(std::iter::repeat_n(now, let_in(&throttle, "192.0.2.1", tries)));
        }
        for (index, from) in let_in_at.iter().enumerate() {
            for (end, to) in let_in_at.iter().enumerate().skip(index) {
                let inside = u64::try_from(end - index + 1).unwrap();
                prop_assert!(inside <= 7 + (to - from) * 7 / 1_000 + 1, "{inside} from {from} to {to}");
            }
        }
    }
}
