//! Holds that applications took through the integration API and have not ended yet.
//!
//! Invariants: a hold is ended by the key that took it and by no other, once, and telling the same end
//! again changes nothing; one that nobody ends is released when its time is over, at shutdown, and (by
//! the ledger) after a crash. How many are open is bounded for each key and in all, and room is taken
//! before the ledger is asked, so that what is refused here was never debited. Ends are remembered for
//! a while, so that an application that lost an answer hears it again; a restart forgets them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Entropy};
use crate::ledger::{Ending, RestoreReason};
use crate::metering::Hold;

mod kept;

pub use kept::{HoldId, Kept, NotAHoldId, State};

/// How often holds are looked through for those whose time is over.
const TICK: Duration = Duration::from_secs(1);

/// How many holds, and how long.
#[derive(Clone, Copy, Debug)]
pub struct CustodyLimits {
    /// Open holds of one key.
    pub of_one: usize,
    /// Open holds of all keys.
    pub of_all: usize,
    /// Ends that are remembered.
    pub remembered: usize,
    /// The longest time that a hold may be open.
    pub longest: Duration,
    /// The time of a hold whose application names none.
    pub usual: Duration,
}

impl Default for CustodyLimits {
    /// 256 and 4,096 open holds, 16,384 ends, an hour and two minutes.
    fn default() -> CustodyLimits {
        CustodyLimits {
            of_one: 256,
            of_all: 4_096,
            remembered: 16_384,
            longest: Duration::from_secs(3_600),
            usual: Duration::from_secs(120),
        }
    }
}

/// Whose hold it is: the hash of an API key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner([u8; 32]);

impl Owner {
    /// The holder of the key with this hash.
    pub const fn of_key(hash: [u8; 32]) -> Owner {
        Owner(hash)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner(..)")
    }
}

/// Too many holds are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoRoom {
    /// This key's.
    #[error("this key has {0} open holds, and no more are allowed: settle or release some")]
    OfOne(usize),
    /// Everybody's together.
    #[error("too many holds are open")]
    OfAll,
    /// The appliance is about to stop.
    #[error("the appliance is stopping")]
    Stopping,
}

/// Why a hold was not ended as asked. It stands as it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EndRefused {
    /// No hold of this key has that id; also one that ended long ago or before a restart.
    #[error("this key has no such hold")]
    Unknown,
    /// It has ended in another way.
    #[error("the hold has ended: it is {}", .0.code())]
    Ended(State),
    /// More than is held.
    #[error("{asked} units are more than the {held} that are held")]
    TooMuch {
        /// What was asked for.
        asked: u64,
        /// What is held.
        held: u64,
    },
}

/// The holds of all applications.
pub struct Custody {
    limits: CustodyLimits,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    inside: Mutex<Inside>,
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody").field("open", &self.inside().open.len()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Inside {
    open: HashMap<HoldId, Open>,
    /// By when they end, by the clock's steady count.
    due: BTreeSet<(Duration, HoldId)>,
    /// Open holds and rooms that wait for theirs, by key.
    taken: HashMap<Owner, usize>,
    taken_in_all: usize,
    ended: HashMap<HoldId, (Owner, Kept)>,
    /// The ended ones, oldest first.
    order: VecDeque<HoldId>,
    stopping: bool,
}

struct Open {
    owner: Owner,
    hold: Hold,
    kept: Kept,
    due: Duration,
}

/// Room for one hold of a key; dropped unused, it is free again.
#[must_use = "room that is dropped is free again"]
pub struct Room<'a> {
    custody: &'a Custody,
    owner: Owner,
    used: bool,
}

impl Custody {
    /// Nothing is open.
    pub fn new(limits: CustodyLimits, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Arc<Custody> {
        Arc::new(Custody { limits, clock, entropy, inside: Mutex::default() })
    }

    /// The limits.
    pub fn limits(&self) -> &CustodyLimits {
        &self.limits
    }

    /// Takes room for one hold of `owner`, before it is reserved.
    ///
    /// # Errors
    /// When too many are open.
    pub fn room(&self, owner: Owner) -> Result<Room<'_>, NoRoom> {
        let mut inside = self.inside();
        self.release_overdue(&mut inside);
        if inside.stopping {
            return Err(NoRoom::Stopping);
        }
        let own = inside.taken.get(&owner).copied().unwrap_or_default();
        if own >= self.limits.of_one {
            return Err(NoRoom::OfOne(own));
        }
        if inside.taken_in_all >= self.limits.of_all {
            return Err(NoRoom::OfAll);
        }
        inside.taken.insert(owner, own + 1);
        inside.taken_in_all += 1;
        Ok(Room { custody: self, owner, used: false })
    }

    /// How a hold of `owner` stands.
    pub fn look(&self, owner: Owner, id: HoldId) -> Option<Kept> {
        let mut inside = self.inside();
        self.release_overdue(&mut inside);
        inside.kept(owner, id)
    }

    /// Charges `actual` units of a hold of `owner`, what is due of it when none are named; the rest goes
    /// back. A unit of a request or pack is charged whole. Told again it says the same.
    ///
    /// # Errors
    /// When it cannot be; nothing was charged then.
    pub fn settle(&self, owner: Owner, id: HoldId, actual: Option<u64>) -> Result<Kept, EndRefused> {
        let mut inside = self.inside();
        self.release_overdue(&mut inside);
        let kept = inside.kept(owner, id).ok_or(EndRefused::Unknown)?;
        let actual = actual.filter(|_| kept.kind.draws_money());
        match (kept.state, actual) {
            (State::Open, Some(asked)) if asked > kept.units => {
                Err(EndRefused::TooMuch { asked, held: kept.units })
            }
            (State::Open, _) => {
                let ending = actual.map_or(Ending::Delivered, Ending::Charged);
                self.end(&mut inside, id, ending, State::Settled).ok_or(EndRefused::Unknown)
            }
            (State::Settled(charged), actual) if actual.is_none_or(|actual| actual == charged) => Ok(kept),
            (state, _) => Err(EndRefused::Ended(state)),
        }
    }

    /// Gives a hold of `owner` back to the buyer. Told again it says the same.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn release(&self, owner: Owner, id: HoldId) -> Result<Kept, EndRefused> {
        let mut inside = self.inside();
        self.release_overdue(&mut inside);
        let kept = inside.kept(owner, id).ok_or(EndRefused::Unknown)?;
        match kept.state {
            State::Open => {
                let ending = Ending::Restored(RestoreReason::Released);
                self.end(&mut inside, id, ending, |_| State::Released).ok_or(EndRefused::Unknown)
            }
            State::Released => Ok(kept),
            state => Err(EndRefused::Ended(state)),
        }
    }

    /// Ends an open hold and remembers it in the state that the units which were charged make.
    fn end(
        &self,
        inside: &mut Inside,
        id: HoldId,
        ending: Ending,
        state: impl FnOnce(u64) -> State,
    ) -> Option<Kept> {
        let Open { owner, hold, mut kept, due } = inside.open.remove(&id)?;
        inside.due.remove(&(due, id));
        inside.free(owner);
        let receipt = hold.end(ending);
        kept.state = state(receipt.charged);
        kept.left = receipt.left;
        inside.ended.insert(id, (owner, kept));
        inside.order.push_back(id);
        while inside.order.len() > self.limits.remembered {
            if let Some(oldest) = inside.order.pop_front() {
                inside.ended.remove(&oldest);
            }
        }
        Some(kept)
    }

    fn expire(&self, inside: &mut Inside, id: HoldId) -> Option<Kept> {
        self.end(inside, id, Ending::Restored(RestoreReason::Unsettled), |_| State::Expired)
    }

    fn release_overdue(&self, inside: &mut Inside) {
        let now = self.clock.steady();
        while let Some((due, id)) = inside.due.first().copied()
            && due <= now
        {
            if self.expire(inside, id).is_none() {
                inside.due.remove(&(due, id));
            }
        }
    }

    /// Releases what nobody ended in time, until `stop`; then [`Custody::close_all`].
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.release_overdue(&mut self.inside());
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
        self.close_all();
    }

    /// Releases everything and takes nothing more: the process ends, and whose hold it was cannot
    /// settle it any more.
    pub fn close_all(&self) {
        let mut inside = self.inside();
        inside.stopping = true;
        let open: Vec<HoldId> = inside.open.keys().copied().collect();
        if !open.is_empty() {
            tracing::warn!(holds = open.len(), "holds that applications had not settled were released");
        }
        for id in open {
            self.expire(&mut inside, id);
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// A hold of `owner`, open or ended.
    fn kept(&self, owner: Owner, id: HoldId) -> Option<Kept> {
        let open = self.open.get(&id).filter(|open| open.owner == owner).map(|open| open.kept);
        open.or_else(|| self.ended.get(&id).filter(|(by, _)| *by == owner).map(|(_, kept)| *kept))
    }

    fn free(&mut self, owner: Owner) {
        self.taken_in_all = self.taken_in_all.saturating_sub(1);
        if let Some(own) = self.taken.get_mut(&owner) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.taken.remove(&owner);
            }
        }
    }
}

impl Room<'_> {
    /// Keeps `hold` until it is ended or `lasts` is over.
    pub fn keep(mut self, hold: Hold, lasts: Duration) -> Kept {
        let custody = self.custody;
        let mut bytes = [0; 16];
        custody.entropy.fill(&mut bytes);
        let id = HoldId::from_bytes(bytes);
        let lasts = lasts.min(custody.limits.longest);
        let due = custody.clock.steady() + lasts;
        let expires_at = custody.clock.now().plus(lasts);
        let kept = Kept {
            id,
            units: hold.held(),
            left: hold.left_if_charged(),
            kind: hold.sale().kind,
            expires_at,
            state: State::Open,
        };
        let mut inside = custody.inside();
        inside.due.insert((due, id));
        inside.open.insert(id, Open { owner: self.owner, hold, kept, due });
        self.used = true;
        // It came while everything was being released.
        if inside.stopping {
            return custody.expire(&mut inside, id).unwrap_or(kept);
        }
        kept
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.custody.inside().free(self.owner);
        }
    }
}
