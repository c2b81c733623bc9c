//! What is kept, for whom and how long.

use std::net::{IpAddr, Ipv4Addr};

use http::Request;

use super::*;
use crate::clock::FixedClock;
use crate::request::admit;
use crate::types::{CounterId, PaymentHash, Timestamp};

const LIMITS: ReplayLimits =
    ReplayLimits { total_bytes: 4_000, body_bytes: 1_000, life: Duration::from_secs(60) };

fn copy(n: u8) -> TokenCopy {
    TokenCopy { payment_hash: PaymentHash::from_bytes([n; 32]), narrowed: None }
}

fn request(method: &str, uri: &str, host: &str, names: &[&str]) -> CanonicalRequest {
    let mut request = Request::builder().method(method).uri(uri).header("host", host);
    for name in names {
        request = request.header("idempotency-key", *name);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    admit(&parts, IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap()
}

fn key(n: u8) -> ReplayKey {
    ReplayKey::of(&copy(n), &request("GET", "/a", "h", &["k"])).unwrap()
}

fn replays() -> (Arc<Replays>, Arc<FixedClock>) {
    let clock = FixedClock::at(Timestamp::from_secs(1_000));
    (Replays::new(LIMITS, clock.clone()), clock)
}

fn begun(replays: &Arc<Replays>, key: ReplayKey) -> Recording {
    replays.record(key).unwrap().head(StatusCode::OK, &HeaderMap::new(), 0).unwrap()
}

#[test]
fn each_part_of_a_request_makes_another_key() {
    let limited = TokenCopy { narrowed: Some(CounterId::from_bytes([1; 32])), ..copy(1) };
    let all = [
        ReplayKey::of(&copy(1), &request("GET", "/a", "h", &["k"])),
        ReplayKey::of(&copy(2), &request("GET", "/a", "h", &["k"])),
        ReplayKey::of(&limited, &request("GET", "/a", "h", &["k"])),
        ReplayKey::of(&copy(1), &request("GET", "/a", "h", &["kk"])),
        ReplayKey::of(&copy(1), &request("POST", "/a", "h", &["k"])),
        ReplayKey::of(&copy(1), &request("GET", "/b", "h", &["k"])),
        ReplayKey::of(&copy(1), &request("GET", "/a", "i", &["k"])),
        ReplayKey::of(&copy(1), &request("GET", "/a?", "h", &["k"])),
        ReplayKey::of(&copy(1), &request("GET", "/a?b", "h", &["k"])),
    ];
    for (at, one) in all.iter().enumerate() {
        assert!(one.is_some() && !all[at + 1..].contains(one), "{at}");
    }
    assert_eq!(key(1), key(1));
}

#[test]
fn a_request_is_named_once_and_plainly() {
    let longest = "k".repeat(MAX_NAME_BYTES);
    for (names, named) in [
        (&[] as &[&str], false),
        (&[""], false),
        (&["two words"], false),
        (&["caf\u{e9}"], false),
        (&["a", "a"], false),
        (&[&format!("{longest}k")], false),
        (&[&longest], true),
        (&["\"8e03978e-40d5-43dd-bc93-6894a57f9324\""], true),
    ] {
        let request = request("GET", "/a", "h", names);
        assert_eq!(ReplayKey::of(&copy(1), &request).is_some(), named, "{names:?}");
    }
}

#[test]
fn a_whole_answer_is_kept_for_its_time() {
    let (replays, clock) = replays();
    let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY, "x".parse().unwrap())]);
    let recording = replays.record(key(1)).unwrap().head(StatusCode::CREATED, &headers, 6).unwrap();
    let light = recording.light();
    let recording = recording.data(b"one").and_then(|r| r.data(b"two")).unwrap();
    assert!(replays.get(&key(1)).is_none(), "not before it is whole");
    assert!(light.is_on());
    recording.keep();
    assert!(!light.is_on());
    for _ in 0..2 {
        let kept = replays.get(&key(1)).unwrap();
        assert_eq!(
            (kept.status, &kept.headers, &kept.body[..]),
            (StatusCode::CREATED, &headers, &b"onetwo"[..])
        );
    }
    assert!(replays.get(&key(2)).is_none());
    clock.advance(LIMITS.life);
    assert!(replays.get(&key(1)).is_none());
    assert_eq!(replays.inside().bytes, 0);
}

#[test]
fn what_is_not_kept_leaves_nothing_behind() {
    let (replays, _clock) = replays();
    drop(begun(&replays, key(1)).data(b"half"));
    // An answer without a head is none.
    replays.record(key(1)).unwrap().keep();
    assert!(replays.get(&key(1)).is_none());
    assert_eq!(replays.inside().bytes, 0);
}

#[test]
fn a_long_body_ends_its_recording() {
    let (replays, _clock) = replays();
    let announced = replays.record(key(1)).unwrap();
    let light = announced.light();
    assert!(announced.head(StatusCode::OK, &HeaderMap::new(), 1_001).is_none());
    assert!(!light.is_on());
    let grown = begun(&replays, key(1)).data(&[0; 1_000]).unwrap();
    assert!(grown.data(&[0]).is_none());
    assert_eq!(replays.inside().bytes, 0);
    begun(&replays, key(1)).data(&[0; 1_000]).unwrap().keep();
    assert!(replays.get(&key(1)).is_some());
}

#[test]
fn the_oldest_make_room_and_the_sum_is_bounded() {
    let (replays, _clock) = replays();
    for n in 1..=50 {
        begun(&replays, key(n)).data(&[n; 800]).unwrap().keep();
        let inside = replays.inside();
        assert!(inside.bytes <= LIMITS.total_bytes);
        assert_eq!(inside.kept.len(), inside.places.len());
        assert_eq!(inside.bytes, inside.kept.values().map(|kept| kept.bytes).sum::<usize>());
    }
    let kept: Vec<u8> = (1..=50).filter(|n| replays.get(&key(*n)).is_some()).collect();
    assert_eq!(kept, [48, 49, 50]);
}

#[test]
fn recordings_count_too_and_give_up_when_there_is_no_room() {
    let (replays, _clock) = replays();
    begun(&replays, key(9)).keep();
    let mut under_way = Vec::new();
    let refused = loop {
        match begun_if(&replays, key(u8::try_from(10 + under_way.len()).unwrap())) {
            Some(recording) => under_way.push(recording),
            None => break under_way.len(),
        }
        assert!(replays.inside().bytes <= LIMITS.total_bytes);
    };
    assert_eq!(refused, LIMITS.total_bytes / OVERHEAD_BYTES);
    assert!(replays.get(&key(9)).is_none(), "what is kept makes room first");
    drop(under_way);
    assert_eq!(replays.inside().bytes, 0);
}

fn begun_if(replays: &Arc<Replays>, key: ReplayKey) -> Option<Recording> {
    replays.record(key).unwrap().head(StatusCode::OK, &HeaderMap::new(), 0)
}

#[test]
fn an_answer_that_is_kept_again_takes_the_first_one_s_place() {
    let (replays, _clock) = replays();
    for body in [b"old", b"new"] {
        begun(&replays, key(1)).data(body).unwrap().keep();
    }
    assert_eq!(&replays.get(&key(1)).unwrap().body[..], b"new");
    assert_eq!(replays.inside().kept.len(), 1);
    assert_eq!(replays.inside().bytes, OVERHEAD_BYTES + 3);
}

#[test]
fn one_request_is_recorded_once_at_a_time() {
    let replays = Replays::new(ReplayLimits::default(), FixedClock::at(Timestamp::default()));
    let first = replays.record(key(1)).unwrap();
    assert!(replays.record(key(1)).is_none());
    assert!(replays.record(key(2)).is_some());
    drop(first);
    // Whoever may record sees what was kept.
    let second = replays.record(key(1)).unwrap();
    second.head(StatusCode::OK, &HeaderMap::new(), 0).unwrap().keep();
    assert!(replays.record(key(1)).is_some() && replays.get(&key(1)).is_some());
}
