//! Answers that were paid for and may have been lost on their way, kept for whoever paid.
//!
//! A single-use token is spent when its answer leaves, not when it arrives: a client that is killed
//! in between has paid for an answer that it never saw, and paying again would be the only way to
//! one. A client that may die therefore names its request with an `Idempotency-Key`; then the answer
//! is kept here for a while, and who comes again with the same spent token, key and request gets it
//! once more, without the upstream and without the ledger.
//!
//! Invariants: only an answer whose unit was spent by delivering it is kept, and it is kept before
//! the ledger hears of that, so that "spent" is never said while the answer is missing. What is kept
//! and what is being recorded together stay below [`ReplayLimits::total_bytes`]: the oldest answers
//! make room, and a recording that finds none gives up. It lives in memory alone; a restart forgets
//! it. The request's own body is no part of the key, for it is streamed: who repeats a key with
//! another body gets the first answer. Copies of one token that holders limited are not one: none gets
//! the answers of another. Keys are digests: neither a payment hash nor an idempotency
//! key nor a query can be read out of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use ring::digest::{Context, SHA256};

use crate::clock::Clock;
use crate::request::CanonicalRequest;
use crate::types::TokenCopy;

/// By this a client says which of its requests are one.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest name that a client may give its request, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// What an answer costs beyond its body and its headers' text, roughly.
const OVERHEAD_BYTES: usize = 512;

/// How much is kept, and how long.
#[derive(Clone, Copy, Debug)]
pub struct ReplayLimits {
    /// All answers together.
    pub total_bytes: usize,
    /// The longest body that is kept.
    pub body_bytes: usize,
    /// How long an answer is kept.
    pub life: Duration,
}

impl Default for ReplayLimits {
    /// 64 MiB, 1 MiB and 15 minutes.
    fn default() -> ReplayLimits {
        ReplayLimits { total_bytes: 64 << 20, body_bytes: 1 << 20, life: Duration::from_secs(15 * 60) }
    }
}

/// Names one paid request of one client.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplayKey([u8; 32]);

impl fmt::Debug for ReplayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayKey(..)")
    }
}

impl ReplayKey {
    /// The key of `request` paid by `copy`; none when the client did not name its request by
    /// one `Idempotency-Key` of 1 to 255 visible ASCII characters.
    pub fn of(copy: &TokenCopy, request: &CanonicalRequest) -> Option<ReplayKey> {
        let mut names = request.headers().get_all(IDEMPOTENCY_KEY).iter();
        let name = names.next().filter(|_| names.next().is_none())?.as_bytes();
        if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut digest = Context::new(&SHA256);
        let query = request.query();
        for part in [
            copy.payment_hash.as_bytes().as_slice(),
            copy.narrowed.as_ref().map_or(&[], |id| id.as_bytes().as_slice()),
            name,
            request.method().as_str().as_bytes(),
            request.host().as_bytes(),
            request.path().as_bytes(),
            if query.is_some() { b"?" } else { b"" },
            query.unwrap_or_default().as_bytes(),
        ] {
            // The lengths keep two different requests from reading as one.
            digest.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part);
        }
        digest.finish().as_ref().try_into().ok().map(ReplayKey)
    }
}

/// An answer as it was sent.
#[derive(Clone)]
pub struct KeptAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

impl fmt::Debug for KeptAnswer {
    /// Leaves out what was sold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptAnswer({}, {} bytes)", self.status, self.body.len())
    }
}

/// The answers that are kept.
#[derive(Debug)]
pub struct Replays {
    limits: ReplayLimits,
    clock: Arc<dyn Clock>,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    /// In the order in which they were kept.
    kept: BTreeMap<u64, Kept>,
    places: HashMap<ReplayKey, u64>,
    /// What is being recorded; one for each request under way at most.
    recording: HashSet<ReplayKey>,
    next: u64,
    /// Of what is kept and of what is being recorded.
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    key: ReplayKey,
    answer: KeptAnswer,
    bytes: usize,
    /// By the clock's steady count.
    until: Duration,
}

impl Inside {
    fn remove(&mut self, place: u64) {
        if let Some(kept) = self.kept.remove(&place) {
            self.places.remove(&kept.key);
            self.bytes = self.bytes.saturating_sub(kept.bytes);
        }
    }

    fn remove_oldest(&mut self) -> bool {
        let oldest = self.kept.keys().next().copied();
        oldest.map(|place| self.remove(place)).is_some()
    }

    fn remove_overdue(&mut self, now: Duration) {
        while self.kept.first_key_value().is_some_and(|(_, oldest)| oldest.until <= now) {
            self.remove_oldest();
        }
    }
}

impl Replays {
    /// Keeps nothing yet.
    pub fn new(limits: ReplayLimits, clock: Arc<dyn Clock>) -> Arc<Replays> {
        Arc::new(Replays { limits, clock, inside: Mutex::default() })
    }

    /// The answer that was kept under `key`.
    pub fn get(&self, key: &ReplayKey) -> Option<KeptAnswer> {
        let mut inside = self.inside();
        inside.remove_overdue(self.clock.steady());
        let place = inside.places.get(key)?;
        inside.kept.get(place).map(|kept| kept.answer.clone())
    }

    /// Begins to record the answer that is to be kept under `key`; none while another recording of it
    /// lasts: that request is under way, and must not be paid for twice.
    pub fn record(self: &Arc<Self>, key: ReplayKey) -> Option<Recording> {
        if !self.inside().recording.insert(key) {
            return None;
        }
        Some(Recording {
            replays: Arc::clone(self),
            key,
            head: None,
            body: Vec::new(),
            claimed: 0,
            on: Arc::new(AtomicBool::new(true)),
        })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for `bytes` more, from the oldest answers if it must be; false when there is none.
    fn claim(&self, bytes: usize) -> bool {
        let mut inside = self.inside();
        inside.remove_overdue(self.clock.steady());
        while inside.bytes.saturating_add(bytes) > self.limits.total_bytes {
            if !inside.remove_oldest() {
                return false;
            }
        }
        inside.bytes += bytes;
        true
    }

    fn release(&self, bytes: usize) {
        let mut inside = self.inside();
        inside.bytes = inside.bytes.saturating_sub(bytes);
    }

    /// Keeps `answer`, whose `bytes` were claimed.
    fn keep(&self, key: ReplayKey, answer: KeptAnswer, bytes: usize) {
        let until = self.clock.steady() + self.limits.life;
        let mut inside = self.inside();
        if let Some(before) = inside.places.get(&key).copied() {
            inside.remove(before);
        }
        let place = inside.next;
        inside.next += 1;
        inside.places.insert(key, place);
        inside.kept.insert(place, Kept { key, answer, bytes, until });
    }
}

/// An answer on its way down, of which a copy is made. Dropping it forgets the copy.
pub struct Recording {
    replays: Arc<Replays>,
    key: ReplayKey,
    head: Option<Box<(StatusCode, HeaderMap)>>,
    body: Vec<u8>,
    claimed: usize,
    on: Arc<AtomicBool>,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recording({} bytes)", self.body.len())
    }
}

impl Recording {
    /// Whether there is still a recording, for whoever runs the exchange.
    pub fn light(&self) -> RecordingLight {
        RecordingLight(Arc::clone(&self.on))
    }

    /// The answer's head, and how long its body is at least. Returns the recording unless that is
    /// too much.
    #[must_use]
    pub fn head(mut self, status: StatusCode, headers: &HeaderMap, body_bytes: u64) -> Option<Recording> {
        let long = usize::try_from(body_bytes).map_or(true, |least| least > self.replays.limits.body_bytes);
        let text: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 64).sum();
        if long || !self.claim(text.saturating_add(OVERHEAD_BYTES)) {
            return None;
        }
        self.head = Some(Box::new((status, headers.clone())));
        Some(self)
    }

    /// More of the body. Returns the recording unless that is too much.
    #[must_use]
    pub fn data(mut self, data: &[u8]) -> Option<Recording> {
        let long = self.body.len().saturating_add(data.len()) > self.replays.limits.body_bytes;
        if long || !self.claim(data.len()) {
            return None;
        }
        self.body.extend_from_slice(data);
        Some(self)
    }

    /// The answer is whole and its unit is being spent: keeps it.
    pub fn keep(mut self) {
        if let Some((status, headers)) = self.head.take().map(|head| *head) {
            // Boxed, so that no spare room is kept with it.
            let body = Bytes::from(std::mem::take(&mut self.body).into_boxed_slice());
            let bytes = std::mem::take(&mut self.claimed);
            self.replays.keep(self.key, KeptAnswer { status, headers, body }, bytes);
        }
    }

    fn claim(&mut self, bytes: usize) -> bool {
        let claimed = self.replays.claim(bytes);
        self.claimed += if claimed { bytes } else { 0 };
        claimed
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.replays.release(self.claimed);
        self.replays.inside().recording.remove(&self.key);
        self.on.store(false, Ordering::Release);
    }
}

/// Shines while its [`Recording`] lasts.
#[derive(Clone, Debug)]
pub struct RecordingLight(Arc<AtomicBool>);

impl RecordingLight {
    /// Whether the answer may still come to be kept.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
