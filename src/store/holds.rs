//! Holds: the one place where a unit changes hands.
//!
//! Invariants: a reserve is one conditional update, on disk before its caller hears of it; a hold ends
//! exactly once, because its row is the permission to end it; a hold whose holder vanished, at whatever
//! moment, is given back (MONEY rule 8), for the [`Reservation`] is made by the writer after the commit
//! and ends itself when it is dropped. Whatever limits a token has are counted in the same step.

mod ends;

use std::fmt;
use std::sync::Arc;

use rusqlite::{Connection, params};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use ends::HoldEnd;
pub(super) use ends::resolve_crashed;

use super::counters::Chain;
use super::grants::GrantRow;
use super::job::Job;
use super::page::Page;
use super::recall::Recall;
use super::rows::{Stored, name_id};
use super::writer::Place;
use super::{Flaw, Ledger, StoreError, generations, grants};
use crate::event::Event;
use crate::ledger::{Draw, Ending, Grant, ReserveRefused, RestoreReason, Room, Sale, Weight};
use crate::pricing::Used;
use crate::types::{Kind, Timestamp};

/// Why no unit was reserved.
#[derive(Clone, Debug, Error)]
pub enum ReserveError {
    /// The grant does not allow it.
    #[error(transparent)]
    Refused(#[from] ReserveRefused),
    /// The ledger could not write; nothing was debited.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is held for one request.
///
/// Dropping it ends the hold: before [`Reservation::dispatched`] the buyer keeps what is held, after
/// it the client is taken to have left ([`Ending::Cancelled`]).
#[must_use = "dropping a reservation ends its hold"]
pub struct Reservation {
    held: Box<Held>,
    dispatched: bool,
    /// Handed down so far.
    bytes: u64,
    /// What it cost so far, when that is known.
    cost: Option<u64>,
    /// Ours from before the debit, so that ending can neither fail nor wait.
    place: Option<Place>,
    recall: Arc<Recall>,
}

impl Reservation {
    /// The request is about to leave for the upstream.
    pub fn dispatched(&mut self) {
        self.dispatched = true;
    }

    /// Whether the token is still good after a failure of the upstream; false once it failed too often
    /// ([`crate::ledger::MAX_RESTORES`]).
    pub fn restorable(&self) -> bool {
        self.held.restorable
    }

    /// Units that are held: between what was asked for at least and at most. None for a pass that was
    /// open before.
    pub fn held(&self) -> u64 {
        self.held.units
    }

    /// Units that are left beside them: requests or millisatoshi; of a pass, the seconds that it stays
    /// open. Of a limited token no more than its limits leave.
    pub fn left(&self) -> u64 {
        self.left_after(Some(self.held.units))
    }

    /// What is left when `charged` of what is held are charged, and when nothing is because all goes
    /// back; see [`Reservation::left`].
    pub fn left_after(&self, charged: Option<u64>) -> u64 {
        let Held { units, left, weight, room, .. } = *self.held;
        let back = match weight {
            Weight::Pass(_) => 0,
            Weight::Money | Weight::Unit(_) => units.saturating_sub(charged.unwrap_or(0)),
        };
        room.left(weight, left.saturating_add(back), units, charged)
    }

    /// Whether it is a limit that keeps more from being held, and not the token itself.
    pub fn limited(&self) -> bool {
        self.held.weight == Weight::Money && self.held.room.spend < self.held.left
    }

    /// Why a request that turns out to need `needed` units is not served for what is held.
    pub fn too_small(&self, needed: u64) -> ReserveRefused {
        let left = self.left_after(None);
        if self.limited() {
            ReserveRefused::BudgetExhausted { left, needed }
        } else {
            ReserveRefused::TooSmall { left, needed }
        }
    }

    /// What the token was used for before this request.
    pub fn used(&self) -> Used {
        self.held.used
    }

    /// Until when a pass is open.
    pub fn opens_until(&self) -> Option<Timestamp> {
        self.held.opens_until
    }

    /// Cancelled when the operator takes the token back.
    pub fn taken_back(&self) -> &CancellationToken {
        self.recall.taken_back()
    }

    /// Hears of that longer than the hold lasts.
    pub fn recall(&self) -> Arc<Recall> {
        Arc::clone(&self.recall)
    }

    /// So many bytes of the answer were handed down in all.
    pub fn delivered_bytes(&mut self, bytes: u64) {
        self.bytes = bytes;
    }

    /// The answer cost so many units so far: what [`Ending::Cancelled`] charges, also when the
    /// reservation is dropped.
    pub fn cost_so_far(&mut self, units: u64) {
        self.cost = Some(units);
    }

    /// Ends the hold. It is on disk soon after; [`Ledger::barrier`] waits for that.
    pub fn end(mut self, ending: Ending) {
        self.send(ending);
    }

    fn send(&mut self, ending: Ending) {
        if let Some(place) = self.place.take() {
            let ending = match (ending, self.cost) {
                (Ending::Cancelled, Some(cost)) => Ending::Charged(cost),
                (ending, _) => ending,
            };
            place.send(Box::new(HoldEnd { hold: self.held.hold, ending, bytes: self.bytes }));
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("held", &self.held).field("dispatched", &self.dispatched).finish()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let ending =
            if self.dispatched { Ending::Cancelled } else { Ending::Restored(RestoreReason::NotDispatched) };
        self.send(ending);
    }
}

impl Ledger {
    /// Holds what `draw` asks for of what `sale` describes; its first redemption makes the grant. When
    /// this returns, the debit is on disk. The caller has verified the token: the sale is taken at its
    /// word, but for a granted token's, which has to be there.
    ///
    /// # Errors
    /// When it cannot be held, or the disk fails; nothing was debited then.
    pub async fn reserve(&self, sale: Sale, mut draw: Draw) -> Result<Reservation, ReserveError> {
        if self.0.flaw.is(Flaw::ChargesTwice) {
            draw.most = draw.most.saturating_mul(2);
        }
        if self.0.flaw.is(Flaw::CountsNoLimits) {
            draw.limits.clear();
        }
        let place = self.0.writer.place()?;
        let recall = self.0.recalls.join(sale.payment_hash);
        let (reply, answer) = oneshot::channel();
        self.0.writer.send(Box::new(Reserve { sale, draw, place, recall, outcome: None, reply })).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

struct Reserve {
    sale: Sale,
    draw: Draw,
    place: Place,
    recall: Recall,
    outcome: Option<Result<Held, ReserveRefused>>,
    reply: oneshot::Sender<Result<Reservation, ReserveError>>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    hold: i64,
    units: u64,
    left: u64,
    used: Used,
    opens_until: Option<Timestamp>,
    restorable: bool,
    weight: Weight,
    /// What the token's limits still take beside this.
    room: Room,
}

impl Job for Reserve {
    fn write(&mut self, page: &mut Page<'_>) -> Result<(), StoreError> {
        // Nobody waits any more: do not debit.
        if self.reply.is_closed() {
            return Ok(());
        }
        // A refusal is an outcome, not a failure: what it wrote (a grant that ran out) stays.
        self.outcome = Some(hold(page, &self.sale, &self.draw)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Reserve { place, recall, outcome, reply, .. } = *self;
        let answer = match (committed, outcome) {
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Err(StoreError::Closed.into()),
            (Ok(()), Some(Err(refused))) => Err(refused.into()),
            (Ok(()), Some(Ok(held))) => Ok(Reservation {
                held: Box::new(held),
                dispatched: false,
                bytes: 0,
                cost: None,
                place: Some(place),
                recall: Arc::new(recall),
            }),
        };
        // When the caller is gone, or goes before it looks, the reservation is dropped: its hold ends.
        let _ = reply.send(answer);
    }
}

fn hold(page: &mut Page<'_>, sale: &Sale, draw: &Draw) -> Result<Result<Held, ReserveRefused>, StoreError> {
    let mut found = grants::find(page.connection, sale.payment_hash)?;
    if let Some(row) = &found
        && !row.grant.barred
        && !row.is_of(sale)
    {
        return Ok(Err(ReserveRefused::TermsDiffer));
    }
    if found.is_none() && sale.kind == Kind::Granted {
        // One that was given away after the copy was made: the operator sees that it came.
        if generations::is_doubtful(page.connection, sale)? {
            generations::note(page, sale)?;
        }
        return Ok(Err(ReserveRefused::NotGranted));
    }
    // Before anything of the grant is touched, or made.
    let (chain, most) = match within(page.connection, sale, draw, found.as_ref())? {
        Ok(allowed) => allowed,
        Err(refused) => return Ok(Err(refused)),
    };
    // What the copy takes to be good and cannot prove is not touched, nor made.
    if generations::is_doubtful(page.connection, sale)? {
        let mut looked = found.as_ref().map_or_else(|| Grant::of(sale), |row| row.grant);
        if looked.hold(&Draw { most, limits: Vec::new(), ..draw.clone() }, page.now).is_ok() {
            generations::note(page, sale)?;
            return Ok(Err(ReserveRefused::Restored));
        }
    }
    if found.is_none() {
        grants::redeem(page, sale)?;
        found = grants::find(page.connection, sale.payment_hash)?;
    }
    let row = found.ok_or(StoreError::Corrupt("a grant vanished while it was reserved"))?;
    let mut grant = row.grant;
    match grant.hold(&Draw { most, limits: Vec::new(), ..draw.clone() }, page.now) {
        Ok(units) => {
            grants::save(page, &row, &grant)?;
            open(page, &row, &grant, units, draw, chain).map(Ok)
        }
        Err(refused) => {
            refuse(page, &row, &grant, refused)?;
            Ok(Err(refused))
        }
    }
}

/// The counters of the token's limits, and how much may be held at most below them.
fn within(
    connection: &Connection,
    sale: &Sale,
    draw: &Draw,
    found: Option<&GrantRow>,
) -> Result<Result<(Chain, u64), ReserveRefused>, StoreError> {
    let chain = Chain::read(connection, found.map(|row| row.id), &draw.limits)?;
    let grant = found.map_or_else(|| Grant::of(sale), |row| row.grant);
    // A token that was taken back says so, whatever its limits say.
    if draw.limits.is_empty() || grant.barred {
        return Ok(Ok((chain, draw.most)));
    }
    let weight = Weight::of(&grant);
    let room = match chain.admit(weight, grant.least(draw)) {
        Ok(room) => room,
        Err(refused) => return Ok(Err(refused)),
    };
    if !chain.fits(connection, found.map(|row| row.id))? {
        return Ok(Err(ReserveRefused::TooManyBudgets));
    }
    let most = if weight == Weight::Money { draw.most.min(room) } else { draw.most };
    Ok(Ok((chain, most)))
}

/// Writes the hold's row, and what it counts in.
fn open(
    page: &Page<'_>,
    row: &GrantRow,
    grant: &Grant,
    units: u64,
    draw: &Draw,
    chain: Chain,
) -> Result<Held, StoreError> {
    let (connection, weight) = (page.connection, Weight::of(grant));
    let mut insert = connection.prepare_cached(
        "INSERT INTO holds (grant_id, units, route, opened_at, limits) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let route = name_id(connection, &draw.route)?;
    insert.execute(params![row.id, units, route, Stored(page.now), draw.limits.len()])?;
    let hold = connection.last_insert_rowid();
    let room = chain.hold(connection, (row.id, hold), weight, units)?;
    let until = grant.opens_until;
    Ok(Held {
        hold,
        units,
        left: until.map_or(grant.left, |until| until.secs().saturating_sub(page.now.secs())),
        used: Used { requests: row.grant.calls.saturating_add(row.grant.open), bytes: row.grant.bytes },
        opens_until: until,
        restorable: grant.restorable(units),
        weight,
        room,
    })
}

/// Writes what a refusal changed: what ran out, a budget that was filled up; and tells that what is left
/// is too small, once.
fn refuse(
    page: &mut Page<'_>,
    row: &GrantRow,
    grant: &Grant,
    refused: ReserveRefused,
) -> Result<(), StoreError> {
    if *grant != row.grant {
        grants::save(page, row, grant)?;
    }
    let ran_out = grant.expired - row.grant.expired;
    if refused == ReserveRefused::Expired && ran_out > 0 {
        page.log(&Event::UnitsExpired { payment_hash: row.payment_hash, units: ran_out })?;
    }
    if let ReserveRefused::TooSmall { left, .. } = refused
        && grant.held == 0
        && grant.spent > 0
    {
        grants::exhaust(page, row, left, grant.budget != row.grant.budget)?;
    }
    Ok(())
}
