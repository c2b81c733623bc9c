//! Holds: the one place where a unit changes hands.
//!
//! Invariants: a reserve is one conditional update, on disk before its caller hears of it; a hold ends
//! exactly once, because its row is the permission to end it; a hold whose holder vanished, at whatever
//! moment, is given back (MONEY rule 8), for the [`Reservation`] is made by the writer after the commit
//! and ends itself when it is dropped.

use std::fmt;

use rusqlite::{Connection, params};
use thiserror::Error;
use tokio::sync::oneshot;

use super::job::{Job, Owed};
use super::page::Page;
use super::rows::{Stored, column};
use super::writer::Place;
use super::{Ledger, StoreError, grants, optional};
use crate::event::Event;
use crate::ledger::{
    Ending, Grant, MAX_RESTORES, MAX_RESTORES_IN_ALL, Outcome, ReserveRefused, RestoreReason, Sale,
};
use crate::types::PaymentHash;

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

/// A unit that is held for one request.
///
/// Dropping it ends the hold: before [`Reservation::dispatched`] the buyer keeps the unit, after it
/// the client is taken to have left.
#[must_use = "dropping a reservation ends its hold"]
pub struct Reservation {
    hold: i64,
    restorable: bool,
    dispatched: bool,
    /// Ours from before the debit, so that ending can neither fail nor wait.
    place: Option<Place>,
}

impl Reservation {
    /// The request is about to leave for the upstream.
    pub fn dispatched(&mut self) {
        self.dispatched = true;
    }

    /// Whether the token is still good after a failure of the upstream; false once it failed too often
    /// ([`MAX_RESTORES`]).
    pub fn restorable(&self) -> bool {
        self.restorable
    }

    /// Ends the hold. It is on disk soon after; [`Ledger::barrier`] waits for that.
    pub fn end(mut self, ending: Ending) {
        self.send(ending);
    }

    fn send(&mut self, ending: Ending) {
        if let Some(place) = self.place.take() {
            place.send(Box::new(HoldEnd { hold: self.hold, ending }));
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("hold", &self.hold).field("dispatched", &self.dispatched).finish()
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
    /// Holds one unit of what `sale` describes; its first redemption makes the grant. When this
    /// returns, the debit is on disk. The caller has verified the token: the sale is taken at its word.
    ///
    /// # Errors
    /// When no unit can be held, or the disk fails; nothing was debited then.
    pub async fn reserve(&self, sale: Sale) -> Result<Reservation, ReserveError> {
        let place = self.0.writer.place()?;
        let (reply, answer) = oneshot::channel();
        self.0.writer.send(Box::new(Reserve { sale, place, outcome: None, reply })).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

struct Reserve {
    sale: Sale,
    place: Place,
    outcome: Option<Result<Held, ReserveRefused>>,
    reply: oneshot::Sender<Result<Reservation, ReserveError>>,
}

struct Held {
    hold: i64,
    restorable: bool,
}

impl Job for Reserve {
    fn write(&mut self, page: &mut Page<'_>) -> Result<(), StoreError> {
        // Nobody waits any more: do not debit.
        if self.reply.is_closed() {
            return Ok(());
        }
        // A refusal is an outcome, not a failure: what it wrote (a grant that ran out) stays.
        self.outcome = Some(hold(page, &self.sale)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Reserve { place, outcome, reply, .. } = *self;
        let answer = match (committed, outcome) {
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Err(StoreError::Closed.into()),
            (Ok(()), Some(Err(refused))) => Err(refused.into()),
            (Ok(()), Some(Ok(Held { hold, restorable }))) => {
                Ok(Reservation { hold, restorable, dispatched: false, place: Some(place) })
            }
        };
        // When the caller is gone, or goes before it looks, the reservation is dropped: its hold ends.
        let _ = reply.send(answer);
    }
}

fn hold(page: &mut Page<'_>, sale: &Sale) -> Result<Result<Held, ReserveRefused>, StoreError> {
    grants::redeem(page, sale)?;
    // The debit: one update, which changes one row or none.
    let mut debit = page.connection.prepare_cached(
        "UPDATE grants SET left_ = left_ - 1, held = held + 1
         WHERE payment_hash = ?1 AND left_ > 0 AND valid_until >= ?2
           AND loaded < sold * ?3 AND restored < sold * ?4
           AND token_id = ?5 AND service = ?6 AND route = ?7 AND sold = ?8 AND price_msat = ?9
           AND valid_until = ?10
           AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.payment_hash = ?1)",
    )?;
    let debited = debit.execute(params![
        Stored(sale.payment_hash),
        Stored(page.now),
        MAX_RESTORES,
        MAX_RESTORES_IN_ALL,
        Stored(sale.token_id),
        Stored(&sale.service),
        Stored(&sale.route),
        sale.units,
        Stored(sale.sold),
        Stored(sale.valid_until),
    ])?;
    if debited == 0 {
        return refuse(page, sale).map(Err);
    }
    page.totals.units_left -= 1;
    page.totals.units_held += 1;
    let mut insert =
        page.connection.prepare_cached("INSERT INTO holds (payment_hash, opened_at) VALUES (?1, ?2)")?;
    insert.execute(params![Stored(sale.payment_hash), Stored(page.now)])?;
    let hold = page.connection.last_insert_rowid();
    let row = grants::find(page.connection, sale.payment_hash)?;
    let restorable = row.is_some_and(|row| row.grant.restorable());
    Ok(Ok(Held { hold, restorable }))
}

/// Says why the debit changed no row, and lets a grant run out whose time is over.
fn refuse(page: &mut Page<'_>, sale: &Sale) -> Result<ReserveRefused, StoreError> {
    let row = grants::find(page.connection, sale.payment_hash)?;
    let row = row.ok_or(StoreError::Corrupt("a grant vanished while it was reserved"))?;
    if grants::is_revoked(page.connection, sale.payment_hash)? {
        let mut grant = row.grant;
        // Redeemed for the first time after it was taken back.
        if grant.revoke() > 0 {
            grants::save(page, &row, &grant)?;
        }
        return Ok(ReserveRefused::Revoked);
    }
    if !row.is_of(sale) {
        return Ok(ReserveRefused::TermsDiffer);
    }
    if row.grant.left > 0 && row.valid_until < page.now {
        grants::expire(page, &row)?;
        return Ok(ReserveRefused::Expired);
    }
    let mut grant = row.grant;
    match grant.hold() {
        Err(refused) => Ok(refused),
        Ok(()) => Err(StoreError::Corrupt("the debit refused what the arithmetic allows")),
    }
}

/// How one hold shall end.
struct HoldEnd {
    hold: i64,
    ending: Ending,
}

impl Owed for HoldEnd {
    fn write(&self, page: &mut Page<'_>) -> Result<(), StoreError> {
        let Some(payment_hash) = close(page.connection, self.hold)? else {
            return Err(StoreError::Corrupt("a hold was to end twice"));
        };
        let ending = self.ending;
        let (service, outcome) = finish(page, payment_hash, |grant| grant.end(ending).ok())?;
        if let (Outcome::Restored, Ending::Restored(reason)) = (outcome, ending) {
            let reason = reason.code().to_owned();
            page.log(&Event::UnitRestored { payment_hash, service, reason })?;
        }
        Ok(())
    }
}

/// Removes the hold's row; `None` when it has ended before.
fn close(connection: &Connection, hold: i64) -> Result<Option<PaymentHash>, StoreError> {
    let mut delete = connection.prepare_cached("DELETE FROM holds WHERE id = ?1 RETURNING payment_hash")?;
    optional(delete.query_row([hold], |row| column(row, "payment_hash")))
}

fn finish(
    page: &mut Page<'_>,
    payment_hash: PaymentHash,
    end: impl FnOnce(&mut Grant) -> Option<Outcome>,
) -> Result<(crate::types::Name, Outcome), StoreError> {
    let row = grants::find(page.connection, payment_hash)?;
    let row = row.ok_or(StoreError::Corrupt("a hold without a grant"))?;
    let mut grant = row.grant;
    let outcome = end(&mut grant).ok_or(StoreError::Corrupt("a hold had no unit behind it"))?;
    // A unit that comes back to a token that was taken back meanwhile is taken back too.
    if outcome == Outcome::Restored && grants::is_revoked(page.connection, payment_hash)? {
        grant.revoke();
    }
    grants::save(page, &row, &grant)?;
    grants::earn(page, &row, outcome)?;
    Ok((row.service, outcome))
}

/// Resolves what a crash left open: the buyer keeps the unit the first time, is charged the second
/// (MONEY rule 6). Gives how many were restored and charged.
pub(super) fn resolve_crashed(page: &mut Page<'_>) -> Result<(u64, u64), StoreError> {
    let connection = page.connection;
    let mut query = connection.prepare("SELECT id FROM holds ORDER BY id")?;
    let holds: Vec<i64> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let (mut restored, mut charged) = (0, 0);
    for hold in holds {
        let Some(payment_hash) = close(connection, hold)? else { continue };
        let (_, outcome) = finish(page, payment_hash, |grant| grant.resolve_crash().ok())?;
        let kept = outcome == Outcome::Restored;
        if kept {
            restored += 1
        } else {
            charged += 1
        }
        page.log(&Event::CrashRestored { payment_hash, restored: kept })?;
    }
    Ok((restored, charged))
}
