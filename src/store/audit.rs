//! Proves the books from the rows: for every grant, sold = left + held + spent + expired + revoked,
//! every held unit has its hold and every charged request its row, no limit that a holder put into a
//! token was exceeded and none was used beyond the token, every payment covers its sale, what was
//! received is what was earned, is owed, lapsed or was too much, and the sums say what the rows say.

use std::path::Path;

use rusqlite::{Connection, Row};
use schemars::JsonSchema;
use serde::Serialize;

use super::grants::GrantRow;
use super::totals::{self, Totals, count, msat};
use super::{Ledger, StoreError, grants, pool, schema};
use crate::ledger::SPENDS_KEPT;
use crate::types::{Kind, PaymentHash, Timestamp};

/// Grants that are named for one thing that is wrong with them.
const NAMED: usize = 3;

/// What the audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditReport {
    /// Whether the books are right.
    pub ok: bool,
    /// What is wrong, in plain words; empty when the books are right.
    pub mismatches: Vec<String>,
    /// The sums over all rows.
    #[serde(flatten)]
    pub sums: Totals,
    /// Grants whose payment's event has not been told yet: not wrong (MONEY rule 3).
    pub payments_pending: i64,
    /// Payments whose token has not been presented yet.
    pub payments_unredeemed: i64,
    /// Rows of single spends; those of grants long over are folded away.
    pub spends: i64,
}

impl Ledger {
    /// Reads every grant, spend and payment, in one view of the file.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn audit(&self) -> Result<AuditReport, StoreError> {
        self.0.readers.read(audit).await
    }

    /// Audits the ledger at `path` without opening it for writing, whether or not an appliance has it
    /// open. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read, is another program's, or has another version's schema.
    pub fn audit_file(path: &Path) -> Result<AuditReport, StoreError> {
        let connection = pool::open(path)?;
        schema::is_current(&connection, path)?;
        let view = connection.unchecked_transaction()?;
        audit(&view)
    }
}

const HOLDS_ASTRAY: &str = "SELECT COUNT(*) FROM grants g
     LEFT JOIN (SELECT grant_id, COUNT(*) AS requests, SUM(units) AS units FROM holds GROUP BY grant_id) h
         ON h.grant_id = g.id
     WHERE g.open != COALESCE(h.requests, 0)
        OR iif(g.kind = 'pass', g.held > g.open, g.held != COALESCE(h.units, 0))";
const UNDERPAID: &str = "SELECT COUNT(*) FROM grants g JOIN payments p ON p.payment_hash = g.payment_hash
     WHERE p.amount_msat < g.price_msat";
const REVOKED_BUT_LEFT: &str =
    "SELECT COUNT(*) FROM grants g JOIN revocations r ON r.payment_hash = g.payment_hash
     WHERE g.left_ > 0";
const SPENDS_ASTRAY: &str = "SELECT COUNT(*) FROM spends s
     WHERE NOT EXISTS (SELECT 1 FROM grants g WHERE g.id = s.grant_id)";
const HOLDS_OF_NONE: &str = "SELECT COUNT(*) FROM holds h
     WHERE NOT EXISTS (SELECT 1 FROM grants g WHERE g.id = h.grant_id)";
const OVER_LIMIT: &str = "SELECT COUNT(*) FROM counters WHERE used < 0 OR held < 0 OR used > most - held";
const COUNTERS_ASTRAY: &str = "SELECT COUNT(*) FROM counters c
     LEFT JOIN (SELECT counter, SUM(units) AS units FROM counted GROUP BY counter) h ON h.counter = c.id
     WHERE c.held != COALESCE(h.units, 0)";
const COUNTED_ASTRAY: &str = "SELECT COUNT(*) FROM holds h
     LEFT JOIN (SELECT hold, COUNT(*) AS limits FROM counted GROUP BY hold) c ON c.hold = h.id
     WHERE h.limits != COALESCE(c.limits, 0)";
const COUNTED_OF_NONE: &str = "SELECT COUNT(*) FROM counted c
     WHERE NOT EXISTS (SELECT 1 FROM holds h WHERE h.id = c.hold)";
// Every request counts in one first limit at most, so these together are within the grant; and whatever
// counts below one counts in it.
const BEYOND_GRANT: &str = "SELECT COUNT(*) FROM grants g JOIN
         (SELECT grant_id, counts, SUM(used) AS used, SUM(held) AS held FROM counters WHERE below IS NULL
          GROUP BY grant_id, counts) c ON c.grant_id = g.id
     WHERE CASE WHEN c.counts = 'uses' THEN c.used > g.calls OR c.held > g.open
                WHEN g.kind IN ('balance', 'granted') THEN c.used > g.spent OR c.held > g.held
                WHEN g.kind = 'pass' THEN g.spent = 0 AND c.used > 0
                ELSE c.used > g.spent * ((g.price_msat + g.sold - 1) / g.sold)
                  OR c.held > g.held * ((g.price_msat + g.sold - 1) / g.sold) END";
const BEYOND_FIRST: &str = "SELECT COUNT(*) FROM counters c JOIN counters f ON f.id = c.below
     JOIN grants g ON g.id = c.grant_id
     WHERE c.grant_id != f.grant_id OR f.below IS NOT NULL
        OR (c.counts = f.counts AND (c.most > f.most OR c.used > f.used OR c.held > f.held))";
const FORGOTTEN: &str = "SELECT COUNT(*) FROM grants WHERE over_at IS NULL AND due IS NULL";
const HOURS: &str = "SELECT COALESCE(SUM(calls), 0), COALESCE(SUM(earned_msat), 0),
            COALESCE(SUM(granted_calls), 0), COALESCE(SUM(granted_msat), 0) FROM revenue_hourly";
const DAYS: &str = "SELECT COALESCE(SUM(calls), 0), COALESCE(SUM(earned_msat), 0),
            COALESCE(SUM(granted_calls), 0), COALESCE(SUM(granted_msat), 0) FROM revenue_daily";
const PENDING: &str = "SELECT COUNT(*) FROM grants g
     WHERE g.kind != 'granted' AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.payment_hash = g.payment_hash)";
const UNREDEEMED: &str =
    "SELECT COUNT(*), COALESCE(SUM(min(amount_msat, COALESCE(asked_msat, amount_msat))), 0)
     FROM payments p WHERE NOT EXISTS (SELECT 1 FROM grants g WHERE g.payment_hash = p.payment_hash)";
const PAYMENTS: &str = "SELECT COUNT(*), COALESCE(SUM(amount_msat), 0), COALESCE(SUM(surplus_msat), 0),
            COALESCE(SUM(max(amount_msat - asked_msat, 0)), 0), COALESCE(SUM(late), 0),
            COALESCE(SUM(service IS NULL), 0), COALESCE(SUM(opening_fee_msat), 0) FROM payments";
const FEES_ASTRAY: &str = "SELECT COUNT(*) FROM payments WHERE opening_fee_msat > amount_msat";
const PAID_FOR: &str = "SELECT COALESCE(SUM(g.price_msat), 0)
     FROM grants g JOIN payments p ON p.payment_hash = g.payment_hash";

fn audit(connection: &Connection) -> Result<AuditReport, StoreError> {
    let number = |sql: &str| Ok::<i64, StoreError>(connection.query_row(sql, [], |row| row.get(0))?);
    let mut found = Grants::default();
    found.read(connection, schema::high_water(connection)?)?;
    let Grants { mut sums, granted_calls, spends, astray } = found;
    let payments_unredeemed = add_payments(connection, &mut sums)?;

    let mut mismatches: Vec<String> = astray.iter().filter_map(Astray::told).collect();
    for (sql, what) in [
        (HOLDS_ASTRAY, "grants have more or fewer holds than held units"),
        (SPENDS_ASTRAY, "spends are of no grant"),
        (HOLDS_OF_NONE, "holds are of no grant"),
        (FORGOTTEN, "grants would never run out"),
        (OVER_LIMIT, "limits are exceeded"),
        (COUNTERS_ASTRAY, "limits hold other sums than their requests"),
        (COUNTED_ASTRAY, "holds count in other limits than they say"),
        (COUNTED_OF_NONE, "limits are held by nothing"),
        (BEYOND_GRANT, "tokens were used more under their limits than in all"),
        (BEYOND_FIRST, "limits were used more than the one above them"),
        (UNDERPAID, "payments are smaller than what was sold for them"),
        (FEES_ASTRAY, "payments cost more to receive than they brought"),
        (REVOKED_BUT_LEFT, "revoked tokens have units left"),
    ] {
        let found = number(sql)?;
        if found > 0 {
            mismatches.push(format!("{found} {what}"));
        }
    }
    let stored = totals::read(connection)?;
    if stored != sums {
        mismatches.push(format!("the running sums are {stored:?} and the rows say {sums:?}"));
    }
    let rows = (sums.calls - granted_calls, sums.earned_msat, granted_calls, sums.granted_spent_msat);
    for (sql, what) in [(HOURS, "hours"), (DAYS, "days")] {
        let told: (i64, i64, i64, i64) =
            connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        if told != rows {
            mismatches.push(format!(
                "the {what} say {told:?} calls, msat, granted calls and msat, and the rows {rows:?}"
            ));
        }
    }
    let accounted = number(PAID_FOR)? + sums.unredeemed_msat + sums.overpaid_msat;
    if sums.received_msat != accounted {
        mismatches.push(format!(
            "{} msat were received, and {accounted} msat of them are accounted for",
            sums.received_msat
        ));
    }
    Ok(AuditReport {
        ok: mismatches.is_empty(),
        mismatches,
        sums,
        payments_pending: number(PENDING)?,
        payments_unredeemed,
        spends,
    })
}

/// Adds what the payments contribute to the running sums; gives how many were not redeemed.
fn add_payments(connection: &Connection, sums: &mut Totals) -> Result<i64, StoreError> {
    connection.query_row(PAYMENTS, [], |row| {
        sums.payments = row.get(0)?;
        sums.received_msat = row.get(1)?;
        sums.surplus_msat = row.get(2)?;
        sums.overpaid_msat = row.get(3)?;
        sums.payments_late = row.get(4)?;
        sums.payments_unknown = row.get(5)?;
        sums.opening_fees_msat = row.get(6)?;
        Ok(())
    })?;
    let unredeemed: i64;
    (unredeemed, sums.unredeemed_msat) =
        connection.query_row(UNREDEEMED, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(unredeemed)
}

/// One thing that is wrong with some grants.
#[derive(Default)]
struct Astray {
    what: &'static str,
    count: u64,
    first: Vec<PaymentHash>,
}

impl Astray {
    fn note(&mut self, what: &'static str, wrong: bool, hash: PaymentHash) {
        if wrong {
            (self.what, self.count) = (what, self.count + 1);
            if self.first.len() < NAMED {
                self.first.push(hash);
            }
        }
    }

    fn told(&self) -> Option<String> {
        let named: Vec<String> = self.first.iter().map(ToString::to_string).collect();
        (self.count > 0).then(|| format!("{} {}, such as {}", self.count, self.what, named.join(", ")))
    }
}

/// What a walk over all grants, beside their spends, adds up to.
#[derive(Default)]
struct Grants {
    sums: Totals,
    granted_calls: i64,
    spends: i64,
    astray: [Astray; 6],
}

impl Grants {
    /// Both tables lie in the order of the grants' numbers, so that one walk over each suffices.
    fn read(&mut self, connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
        let mut grants = connection.prepare("SELECT * FROM grants_named ORDER BY id")?;
        let mut spends = connection.prepare(
            "SELECT grant_id, COUNT(*) AS calls, MIN(number) AS first, SUM(units) AS units,
                    SUM(earned_msat) AS earned, SUM(bytes) AS bytes
             FROM spends GROUP BY grant_id ORDER BY grant_id",
        )?;
        let mut spends = spends.query_map([], Spent::read)?.peekable();
        for row in grants.query_map([], grants::read)? {
            let row = row?;
            // One of no grant is found by another question.
            while spends.next_if(|spent| spent.as_ref().is_ok_and(|spent| spent.grant < row.id)).is_some() {}
            let spent = match spends.next_if(|spent| !spent.as_ref().is_ok_and(|spent| spent.grant > row.id))
            {
                Some(spent) => Some(spent?),
                None => None,
            };
            self.add(&row, spent.as_ref(), now);
        }
        Ok(())
    }

    fn add(&mut self, row: &GrantRow, spent: Option<&Spent>, now: Timestamp) {
        let grant = &row.grant;
        self.sums = self.sums.plus(Totals::of(grant));
        self.granted_calls += if grant.kind == Kind::Granted { count(grant.calls) } else { 0 };
        self.spends += spent.map_or(0, |spent| spent.calls);
        let [unbalanced, unshared, passes, unspent, unbarred, undead] = &mut self.astray;
        let hash = row.payment_hash;
        unbalanced.note("grants do not add up", !grant.balanced(), hash);
        let shares = msat(grant.earned()) + msat(grant.owed()) + msat(grant.lapsed());
        unshared.note(
            "grants owe and earned another sum than their price",
            shares != msat(grant.price),
            hash,
        );
        let opened = grant.kind == Kind::Pass && grant.held + grant.spent > 0;
        passes.note(
            "passes are open and unused, or used and not open",
            opened != grant.opens_until.is_some(),
            hash,
        );
        unspent.note("grants have other spends than they count", !agree(row, spent, now), hash);
        unbarred.note(
            "grants have revoked units, and their tokens are not revoked",
            grant.revoked > 0 && !grant.barred,
            hash,
        );
        undead.note(
            "grants are over, and have units left or on their way",
            row.over_at.is_some() && (grant.left > 0 || grant.held > 0 || grant.open > 0),
            hash,
        );
    }
}

/// What the single spends of one grant add up to.
struct Spent {
    grant: i64,
    calls: i64,
    first: i64,
    units: i64,
    earned: i64,
    bytes: i64,
}

impl Spent {
    fn read(row: &Row<'_>) -> rusqlite::Result<Spent> {
        Ok(Spent {
            grant: row.get("grant_id")?,
            calls: row.get("calls")?,
            first: row.get("first")?,
            units: row.get("units")?,
            earned: row.get("earned")?,
            bytes: row.get("bytes")?,
        })
    }
}

/// Whether the rows are all that the grant counts. Those of one that has long been over `now` may be
/// folded away, the first ones first.
fn agree(row: &GrantRow, spent: Option<&Spent>, now: Timestamp) -> bool {
    let grant = &row.grant;
    let folded = row.over_at.is_some_and(|over| over.plus(SPENDS_KEPT) < now);
    match spent {
        None => grant.calls == 0 || folded,
        Some(spent) if spent.first > 1 && folded => spent.calls == count(grant.calls) - spent.first + 1,
        Some(spent) => {
            (spent.calls, spent.units, spent.earned, spent.bytes)
                == (count(grant.calls), count(grant.spent), msat(grant.earned()), count(grant.bytes))
        }
    }
}
