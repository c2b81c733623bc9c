//! Proves the books from the rows: for every grant, sold = left + held + spent + expired + revoked,
//! every held unit has its hold, every payment covers its sale, and the sums say what the rows say.

use rusqlite::Connection;
use serde::Serialize;

use super::totals::{self, Totals};
use super::{Ledger, StoreError, grants};

/// What the audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Whether the books are right.
    pub ok: bool,
    /// What is wrong, in plain words; empty when the books are right.
    pub mismatches: Vec<String>,
    /// The sums over all rows.
    #[serde(flatten)]
    pub sums: Totals,
    /// Holds that are open.
    pub holds_open: i64,
    /// Grants whose payment's event has not been told yet: not wrong (MONEY rule 3).
    pub payments_pending: i64,
    /// Payments whose token has not been presented yet.
    pub payments_unredeemed: i64,
}

impl Ledger {
    /// Reads every grant and payment, in one view of the file.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn audit(&self) -> Result<AuditReport, StoreError> {
        self.0.readers.read(audit).await
    }
}

const UNBALANCED: &str = "SELECT COUNT(*) FROM grants WHERE sold != left_ + held + spent + expired + revoked";
const HOLDS_ASTRAY: &str = "SELECT COUNT(*) FROM grants g
     WHERE held != (SELECT COUNT(*) FROM holds h WHERE h.payment_hash = g.payment_hash)";
const UNDERPAID: &str = "SELECT COUNT(*) FROM grants g JOIN payments p ON p.payment_hash = g.payment_hash
     WHERE p.amount_msat < g.price_msat";
const REVOKED_BUT_LEFT: &str =
    "SELECT COUNT(*) FROM grants g JOIN revocations r ON r.payment_hash = g.payment_hash
     WHERE g.left_ > 0";
const CALLS: &str = "SELECT COALESCE(SUM(calls), 0) FROM revenue_hourly";
const EARNED: &str = "SELECT COALESCE(SUM(earned_msat), 0) FROM revenue_hourly";
const PENDING: &str = "SELECT COUNT(*) FROM grants g
     WHERE NOT EXISTS (SELECT 1 FROM payments p WHERE p.payment_hash = g.payment_hash)";
const UNREDEEMED: &str = "SELECT COUNT(*) FROM payments p
     WHERE NOT EXISTS (SELECT 1 FROM grants g WHERE g.payment_hash = p.payment_hash)";
const UNREDEEMED_MSAT: &str = "SELECT COALESCE(SUM(amount_msat), 0) FROM payments p
     WHERE NOT EXISTS (SELECT 1 FROM grants g WHERE g.payment_hash = p.payment_hash)";

fn audit(connection: &Connection) -> Result<AuditReport, StoreError> {
    let number = |sql: &str| Ok::<i64, StoreError>(connection.query_row(sql, [], |row| row.get(0))?);
    let sums = sums(connection)?;
    let mut mismatches = Vec::new();
    let mut none = |sql: &str, what: &str| {
        let found = number(sql)?;
        if found > 0 {
            mismatches.push(format!("{found} {what}"));
        }
        Ok::<(), StoreError>(())
    };
    none(UNBALANCED, "grants do not add up")?;
    none(HOLDS_ASTRAY, "grants have more or fewer holds than held units")?;
    none(UNDERPAID, "payments are smaller than what was sold for them")?;
    none(REVOKED_BUT_LEFT, "revoked tokens have units left")?;
    let stored = totals::read(connection)?;
    if stored != sums {
        mismatches.push(format!("the running sums are {stored:?} and the rows say {sums:?}"));
    }
    let (calls, earned) = (number(CALLS)?, number(EARNED)?);
    if (calls, earned) != (sums.units_spent, sums.earned_msat) {
        let rows = format!("{} calls, {} msat", sums.units_spent, sums.earned_msat);
        mismatches.push(format!("the hours say {calls} calls, {earned} msat, and the rows {rows}"));
    }
    Ok(AuditReport {
        ok: mismatches.is_empty(),
        mismatches,
        sums,
        holds_open: number("SELECT COUNT(*) FROM holds")?,
        payments_pending: number(PENDING)?,
        payments_unredeemed: number(UNREDEEMED)?,
    })
}

/// The running sums, computed anew.
fn sums(connection: &Connection) -> Result<Totals, StoreError> {
    let mut sums = Totals::default();
    let mut query = connection.prepare("SELECT * FROM grants")?;
    for row in query.query_map([], grants::read)? {
        sums = sums.plus(Totals::of(&row?.grant));
    }
    let payments =
        "SELECT COUNT(*), COALESCE(SUM(amount_msat), 0), COALESCE(SUM(surplus_msat), 0) FROM payments";
    (sums.payments, sums.received_msat, sums.surplus_msat) =
        connection.query_row(payments, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    sums.unredeemed_msat = connection.query_row(UNREDEEMED_MSAT, [], |row| row.get(0))?;
    Ok(sums)
}
