//! Keys that may pay within limits, and what each of them paid.
//!
//! Invariants (MONEY rule 14): a payment draws on its wallet's day from the transaction that notes its
//! intent until its end is known, with its amount and the highest fee; from then on with what it cost.
//! What was drawn is read from the payments themselves, so a crash cannot make the two differ. A payment
//! belongs to one wallet; another neither sees it nor gets its proof.

use rusqlite::{Connection, Row, params};

use super::budgets::{WalletLimits, WalletRow, read_limits, today};
use super::operator::NewApiKey;
use super::outgoing::{self, OutgoingRow};
use super::page::Page;
use super::plan::asked;
use super::rows::Stored;
use super::{Ledger, StoreError, optional};
use crate::types::{PaymentHash, Timestamp};

/// One payment of a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletPayment {
    /// Its number among all wallets' payments: rises, never reused.
    pub id: i64,
    /// The invoice.
    pub bolt11: String,
    /// How it stands.
    pub row: OutgoingRow,
}

const AFTER: &str =
    "SELECT o.*, w.id FROM wallet_payments w JOIN outgoing o ON o.payment_hash = w.payment_hash
     WHERE w.key_id = ?1 AND w.id > ?2 AND (?3 OR o.state = 'succeeded') ORDER BY w.id LIMIT ?4";
const BEFORE: &str =
    "SELECT o.*, w.id FROM wallet_payments w JOIN outgoing o ON o.payment_hash = w.payment_hash
     WHERE w.key_id = ?1 AND w.id < ?2 AND (?3 OR o.state = 'succeeded') ORDER BY w.id DESC LIMIT ?4";

/// Which of a wallet's payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalletPages {
    /// The first ones with a higher number.
    After(i64),
    /// The last ones with a lower number.
    Before(i64),
}

impl Ledger {
    /// Stores the hash of a wallet's key with its limits; gives its number.
    ///
    /// # Errors
    /// When the disk fails, or the key is there already.
    pub async fn add_wallet_key(&self, key: NewApiKey, limits: WalletLimits) -> Result<i64, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let key = super::operator::add_key(page, &key)?;
            let mut insert = page.connection.prepare_cached(
                "INSERT INTO wallets (key_id, per_day_msat, per_payment_msat) VALUES (?1, ?2, ?3)",
            )?;
            insert.execute(params![key, Stored(limits.per_day), Stored(limits.per_payment)])?;
            Ok(key)
        };
        self.0.writer.call(work).await
    }

    /// The wallet whose live key has this hash, as it stands on the day of `now`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn wallet(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<WalletRow>, StoreError> {
        let work = move |connection: &Connection| {
            let mut query = connection.prepare_cached(
                "SELECT w.* FROM wallets w JOIN api_keys k ON k.id = w.key_id
                 WHERE k.hash = ?1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > ?2)",
            )?;
            let limits = optional(query.query_row(params![hash.as_slice(), Stored(now)], read_limits))?;
            limits.map(|(key, limits)| today(connection, key, limits, now)).transpose()
        };
        self.0.readers.read(work).await
    }

    /// All wallets, of revoked keys too, as they stand on the day of `now`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn wallets(&self, now: Timestamp) -> Result<Vec<WalletRow>, StoreError> {
        let work = move |connection: &Connection| {
            let mut query = connection.prepare_cached("SELECT * FROM wallets ORDER BY key_id")?;
            let rows = query.query_map([], read_limits)?.collect::<Result<Vec<_>, _>>()?;
            rows.into_iter().map(|(key, limits)| today(connection, key, limits, now)).collect()
        };
        self.0.readers.read(work).await
    }

    /// A payment, if this wallet asked for it.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn wallet_payment(
        &self,
        key: i64,
        payment_hash: PaymentHash,
    ) -> Result<Option<WalletPayment>, StoreError> {
        let work = move |connection: &Connection| {
            let mut query = connection.prepare_cached(
                "SELECT o.*, w.id FROM wallet_payments w JOIN outgoing o ON o.payment_hash = w.payment_hash
                 WHERE w.payment_hash = ?1 AND w.key_id = ?2",
            )?;
            optional(query.query_row(params![Stored(payment_hash), key], read_payment))?.transpose()
        };
        self.0.readers.read(work).await
    }

    /// Payments of a wallet, oldest first, at most `limit`; those that did not arrive only with
    /// `incomplete`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn wallet_payments(
        &self,
        key: i64,
        pages: WalletPages,
        incomplete: bool,
        limit: u32,
    ) -> Result<Vec<WalletPayment>, StoreError> {
        let work = move |connection: &Connection| {
            let (number, sql) = match pages {
                WalletPages::After(number) => (number, AFTER),
                WalletPages::Before(number) => (number, BEFORE),
            };
            let mut query = asked(connection, sql)?;
            let rows = query.query_map(params![key, number, incomplete, limit], read_payment)?;
            let mut found = rows.map(|row| row?).collect::<Result<Vec<_>, _>>()?;
            found.sort_by_key(|payment| payment.id);
            Ok(found)
        };
        self.0.readers.read(work).await
    }
}

fn read_payment(row: &Row<'_>) -> rusqlite::Result<Result<WalletPayment, StoreError>> {
    let (id, bolt11) = (row.get("id")?, row.get("bolt11")?);
    Ok(outgoing::read(row)?.map(|row| WalletPayment { id, bolt11, row }))
}
