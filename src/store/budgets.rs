//! What a wallet may still pay: its limits, less what its payments of the day draw.

use rusqlite::{Connection, Row, params};

use super::page::Page;
use super::plan::asked;
use super::rows::{Stored, column};
use super::{CUT_OFF, Intent, StoreError, optional};
use crate::types::{Msat, PaymentHash, Timestamp};

const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// What a wallet may pay; each limit is for amount and fee together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletLimits {
    /// In one day, UTC.
    pub per_day: Msat,
    /// In one payment; not more than in a day.
    pub per_payment: Msat,
}

/// One wallet today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletRow {
    /// The number of its key.
    pub key: i64,
    /// What it may pay.
    pub limits: WalletLimits,
    /// What today's payments cost.
    pub spent: Msat,
    /// What today's payments whose end is not known may cost at most.
    pub reserved: Msat,
}

impl WalletRow {
    /// What it may still pay today.
    pub fn left(&self) -> Msat {
        let drawn = self.spent.checked_add(self.reserved).unwrap_or(Msat::MAX);
        self.limits.per_day.checked_sub(drawn).unwrap_or(Msat::ZERO)
    }
}

/// Why a wallet may not pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// The key was revoked, or has no limits.
    #[error("the wallet's key opens nothing any more")]
    Closed,
    /// One payment may not cost so much.
    #[error("a payment of this wallet may cost {limit} at most, fee included")]
    Payment {
        /// The limit.
        limit: Msat,
    },
    /// The day's budget does not reach.
    #[error("{left} are left of what this wallet may pay today, fees included")]
    Day {
        /// What is left.
        left: Msat,
    },
}

/// What the fee of a payment of `amount` may be, at most `max_fee`, when the wallet can pay it at all. An
/// earlier try of the same payment has failed and draws nothing.
pub(super) fn allowed_fee(
    page: &Page<'_>,
    key: i64,
    intent: &Intent,
) -> Result<Result<Msat, OverBudget>, StoreError> {
    let Intent { payment_hash, amount, max_fee, .. } = *intent;
    let mut query = page.connection.prepare_cached(
        "SELECT w.* FROM wallets w JOIN api_keys k ON k.id = w.key_id
         WHERE w.key_id = ?1 AND k.revoked_at IS NULL",
    )?;
    let Some((key, limits)) = optional(query.query_row([key], read_limits))? else {
        return Ok(Err(OverBudget::Closed));
    };
    let left = drawn(page.connection, key, limits, (page.now, Some(payment_hash)))?.left();
    Ok(match (limits.per_payment.checked_sub(amount), left.checked_sub(amount)) {
        (Err(_), _) => Err(OverBudget::Payment { limit: limits.per_payment }),
        (_, Err(_)) => Err(OverBudget::Day { left }),
        (Ok(payment), Ok(day)) => Ok(max_fee.min(payment).min(day)),
    })
}

/// Notes whose payment the hash is from now on: a wallet's, or the operator's own.
pub(super) fn draw(
    page: &Page<'_>,
    payment_hash: PaymentHash,
    wallet: Option<i64>,
) -> Result<(), StoreError> {
    let Some(key) = wallet else {
        let mut delete =
            page.connection.prepare_cached("DELETE FROM wallet_payments WHERE payment_hash = ?1")?;
        delete.execute([Stored(payment_hash)])?;
        return Ok(());
    };
    let mut upsert = page.connection.prepare_cached(
        "INSERT INTO wallet_payments (payment_hash, key_id, day) VALUES (?1, ?2, ?3)
         ON CONFLICT (payment_hash) DO UPDATE SET key_id = ?2, day = ?3",
    )?;
    upsert.execute(params![Stored(payment_hash), key, day_of(page.now)])?;
    Ok(())
}

fn day_of(now: Timestamp) -> i64 {
    i64::try_from(now.millis() / DAY_MS).unwrap_or(i64::MAX)
}

/// Adds up what a wallet's payments of the day of `now` draw.
pub(super) fn today(
    connection: &Connection,
    key: i64,
    limits: WalletLimits,
    now: Timestamp,
) -> Result<WalletRow, StoreError> {
    drawn(connection, key, limits, (now, None))
}

/// The same, without one payment. One that was cut off may have left, and stays reserved.
fn drawn(
    connection: &Connection,
    key: i64,
    limits: WalletLimits,
    (now, without): (Timestamp, Option<PaymentHash>),
) -> Result<WalletRow, StoreError> {
    let mut query = asked(
        connection,
        "SELECT COALESCE(SUM(iif(o.state = 'succeeded', o.amount_msat + COALESCE(o.fee_msat, 0), 0)), 0),
                COALESCE(SUM(iif(o.state IN ('intended', 'sent') OR (o.state = 'failed' AND o.reason = ?4),
                                 o.amount_msat + o.max_fee_msat, 0)), 0)
         FROM wallet_payments w JOIN outgoing o ON o.payment_hash = w.payment_hash
         WHERE w.key_id = ?1 AND w.day = ?2 AND (?3 IS NULL OR w.payment_hash <> ?3)",
    )?;
    let without = without.map(Stored);
    let (Stored(spent), Stored(reserved)) =
        query.query_row(params![key, day_of(now), without, CUT_OFF], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(WalletRow { key, limits, spent, reserved })
}

pub(super) fn read_limits(row: &Row<'_>) -> rusqlite::Result<(i64, WalletLimits)> {
    let limits =
        WalletLimits { per_day: column(row, "per_day_msat")?, per_payment: column(row, "per_payment_msat")? };
    Ok((row.get("key_id")?, limits))
}
