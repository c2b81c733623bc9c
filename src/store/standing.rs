//! How a token stands, asked without using it.

use rusqlite::Connection;

use super::plan::asked;
use super::rows::Stored;
use super::{CounterRow, Ledger, StoreError, counters, generations, grants};
use crate::ledger::{Grant, Sale};
use crate::types::{Kind, PaymentHash};

/// How a token stands. Nothing is written by asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its grant, or the one that its first use would make.
    pub grant: Grant,
    /// What was counted of its limits.
    pub counters: Vec<CounterRow>,
    /// Its payment arrived, as far as the ledger was told.
    pub received: bool,
    /// Another token was redeemed for its payment, or it says that it was granted and was not.
    pub stranger: bool,
    /// The ledger was restored from a copy that cannot prove what is left of it.
    pub doubtful: bool,
}

impl Ledger {
    /// How the token of `sale` stands.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn standing(&self, sale: Sale) -> Result<Standing, StoreError> {
        self.0.readers.read(move |connection| standing(connection, &sale)).await
    }

    /// Whether the token of this payment was taken back.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn is_revoked(&self, payment_hash: PaymentHash) -> Result<bool, StoreError> {
        self.0.readers.read(move |connection| is_revoked(connection, payment_hash)).await
    }
}

fn standing(connection: &Connection, sale: &Sale) -> Result<Standing, StoreError> {
    let hash = sale.payment_hash;
    let found = grants::find(connection, hash)?;
    let stranger = found.as_ref().map_or(sale.kind == Kind::Granted, |row| !row.is_of(sale));
    let mut grant = found.map_or_else(|| Grant::of(sale), |row| row.grant);
    if is_revoked(connection, hash)? {
        grant.revoke();
    }
    Ok(Standing {
        grant,
        counters: counters::list(connection, hash)?,
        received: is_there(connection, "SELECT 1 FROM payments WHERE payment_hash = ?1", hash)?,
        stranger,
        doubtful: generations::is_doubtful(connection, sale)?,
    })
}

fn is_revoked(connection: &Connection, hash: PaymentHash) -> Result<bool, StoreError> {
    is_there(connection, "SELECT 1 FROM revocations WHERE payment_hash = ?1", hash)
}

fn is_there(connection: &Connection, sql: &str, hash: PaymentHash) -> Result<bool, StoreError> {
    Ok(asked(connection, sql)?.exists([Stored(hash)])?)
}
