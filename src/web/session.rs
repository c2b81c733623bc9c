//! Who is logged in: a bounded table in memory, so that a restart logs everyone out.
//!
//! The table holds hashes, never ids: reading memory or a core dump gives nobody a session.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use crate::clock::{Clock, Entropy};

/// A session ends after this, used or not.
pub const ABSOLUTE_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// A session ends when it was not used for this long.
pub const IDLE_LIFE: Duration = Duration::from_secs(12 * 3_600);
/// How long after the password was said the session may move coins and make keys.
pub const STEP_UP: Duration = Duration::from_secs(5 * 60);
/// More sessions than this at once end the one that was unused longest.
pub const MOST_SESSIONS: usize = 64;

/// What the cookie holds: 32 random bytes, base64url. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(String);

impl SessionId {
    /// A fresh one.
    fn new(entropy: &dyn Entropy) -> SessionId {
        SessionId(BASE64_URL_SAFE_NO_PAD.encode(entropy.bytes32()))
    }

    /// Reads a cookie's value; `None` when it cannot be one of ours.
    pub fn parse(text: &str) -> Option<SessionId> {
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        (decoded.len() == 32).then(|| SessionId(text.to_owned()))
    }

    /// The cookie's value.
    pub fn text(&self) -> &str {
        &self.0
    }

    fn hash(&self) -> Key {
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref());
        key
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(redacted)")
    }
}

type Key = [u8; 32];

struct Session {
    opened: Duration,
    used: Duration,
    /// When the password was last said.
    proven: Duration,
    guesses: Arc<Backoff>,
    ended: CancellationToken,
}

/// A session that lives.
#[derive(Clone)]
pub struct Visit {
    /// Tells when the session ends.
    pub ended: CancellationToken,
    /// The password was said within [`STEP_UP`].
    pub proven: bool,
    /// The wrong passwords of this session: strangers who guess at the login do not hold it up.
    pub(super) guesses: Arc<Backoff>,
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit").field("proven", &self.proven).finish_non_exhaustive()
    }
}

/// The table of sessions.
pub struct Sessions {
    clock: Arc<dyn Clock>,
    table: Mutex<HashMap<Key, Session>>,
}

impl Sessions {
    /// An empty table.
    pub fn new(clock: Arc<dyn Clock>) -> Sessions {
        Sessions { clock, table: Mutex::new(HashMap::new()) }
    }

    /// Opens a session with a new id, and ends `old`, so that an id planted before the login is
    /// worth nothing after it (session fixation).
    pub fn open(&self, entropy: &dyn Entropy, old: Option<&SessionId>) -> SessionId {
        if let Some(old) = old {
            self.end(old);
        }
        let id = SessionId::new(entropy);
        let now = self.clock.steady();
        let mut table = self.table();
        table.retain(|_, session| session.alive(now));
        while table.len() >= MOST_SESSIONS {
            let Some(oldest) = table.iter().min_by_key(|(_, s)| s.used).map(|(key, _)| *key) else { break };
            table.remove(&oldest);
        }
        table.insert(
            id.hash(),
            Session {
                opened: now,
                used: now,
                proven: now,
                guesses: Arc::new(Backoff::new(Arc::clone(&self.clock))),
                ended: CancellationToken::new(),
            },
        );
        id
    }

    /// The session, if it lives; it is used now.
    pub fn touch(&self, id: &SessionId) -> Option<Visit> {
        let visit = self.look(id)?;
        if let Some(session) = self.table().get_mut(&id.hash()) {
            session.used = self.clock.steady();
        }
        Some(visit)
    }

    /// The session, if it lives. Nobody used it: a page that is open asked by itself.
    pub fn look(&self, id: &SessionId) -> Option<Visit> {
        let now = self.clock.steady();
        let key = id.hash();
        let mut table = self.table();
        if !table.get(&key)?.alive(now) {
            table.remove(&key);
            return None;
        }
        let session = table.get(&key)?;
        Some(Visit {
            ended: session.ended.clone(),
            proven: now.saturating_sub(session.proven) < STEP_UP,
            guesses: Arc::clone(&session.guesses),
        })
    }

    /// The password was said again.
    pub fn prove(&self, id: &SessionId) {
        let now = self.clock.steady();
        if let Some(session) = self.table().get_mut(&id.hash()) {
            session.proven = now;
        }
    }

    /// Ends the session and the streams that it opened.
    pub fn end(&self, id: &SessionId) {
        self.table().remove(&id.hash());
    }

    /// Ends every session but this one, and the streams that they opened.
    pub fn end_others(&self, own: Option<&SessionId>) {
        let own = own.map(SessionId::hash);
        self.table().retain(|key, _| Some(*key) == own);
    }

    /// Ends those whose time is over, and the streams that they opened: a stream asks for nothing any more.
    pub fn sweep(&self) {
        let now = self.clock.steady();
        self.table().retain(|_, session| session.alive(now));
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Key, Session>> {
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("open", &self.table().len()).finish_non_exhaustive()
    }
}

impl Session {
    fn alive(&self, now: Duration) -> bool {
        now.saturating_sub(self.opened) < ABSOLUTE_LIFE && now.saturating_sub(self.used) < IDLE_LIFE
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{CountingEntropy, FixedClock};
    use crate::types::Timestamp;

    #[test]
    fn a_session_ends_by_disuse_by_age_and_by_logout() {
        let clock = FixedClock::at(Timestamp::from_secs(1_000));
        let entropy = CountingEntropy::default();
        let sessions = Sessions::new(clock.clone());
        let idle = sessions.open(&entropy, None);
        clock.advance(IDLE_LIFE);
        assert!(sessions.touch(&idle).is_none());

        let busy = sessions.open(&entropy, None);
        let ended = sessions.touch(&busy).expect("just opened");
        for _ in 0..13 {
            clock.advance(IDLE_LIFE - Duration::from_secs(1));
            assert!(sessions.touch(&busy).is_some());
        }
        clock.advance(IDLE_LIFE);
        assert!(sessions.touch(&busy).is_none());
        assert!(ended.ended.is_cancelled(), "an open stream learns that its session is over");

        let left = sessions.open(&entropy, None);
        sessions.end(&left);
        assert!(sessions.touch(&left).is_none());
    }

    #[test]
    fn an_open_page_is_no_use_and_ends_with_its_session() {
        let clock = FixedClock::at(Timestamp::from_secs(1_000));
        let entropy = CountingEntropy::default();
        let sessions = Sessions::new(clock.clone());
        let (left, busy) = (sessions.open(&entropy, None), sessions.open(&entropy, None));
        let visit = sessions.touch(&left).expect("just opened");
        for _ in 0..11 {
            clock.advance(Duration::from_secs(3_600));
            assert!(sessions.look(&left).is_some() && sessions.touch(&busy).is_some());
        }
        clock.advance(Duration::from_secs(3_600));
        sessions.sweep();
        assert!(visit.ended.is_cancelled(), "its stream ends, too");
        assert!(sessions.look(&left).is_none() && sessions.look(&busy).is_some());

        let other = sessions.open(&entropy, None);
        sessions.end_others(Some(&busy));
        assert!(sessions.look(&other).is_none() && sessions.look(&busy).is_some());
        sessions.end_others(None);
        assert!(sessions.look(&busy).is_none());
    }

    #[test]
    fn a_password_is_fresh_for_five_minutes() {
        let clock = FixedClock::at(Timestamp::from_secs(1_000));
        let sessions = Sessions::new(clock.clone());
        let id = sessions.open(&CountingEntropy::default(), None);
        let proven = || sessions.touch(&id).expect("it lives").proven;
        clock.advance(STEP_UP - Duration::from_secs(1));
        assert!(proven());
        clock.advance(Duration::from_secs(1));
        assert!(!proven(), "being used is no proof");
        sessions.prove(&id);
        assert!(proven());
    }

    #[test]
    fn a_login_ends_the_id_it_came_with_and_the_table_is_bounded() {
        let clock = FixedClock::at(Timestamp::from_secs(1_000));
        let entropy = CountingEntropy::default();
        let sessions = Sessions::new(clock.clone());
        let first = sessions.open(&entropy, None);
        let second = sessions.open(&entropy, Some(&first));
        assert_ne!(first, second);
        assert!(sessions.touch(&first).is_none() && sessions.touch(&second).is_some());
        for _ in 0..MOST_SESSIONS * 2 {
            clock.advance(Duration::from_secs(1));
            sessions.open(&entropy, None);
        }
        assert!(sessions.touch(&second).is_none());
        assert_eq!(sessions.table().len(), MOST_SESSIONS);
    }
}
