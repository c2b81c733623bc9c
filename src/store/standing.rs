//! How a token stands, asked without using it.

use rusqlite::Connection;

use super::plan::asked;
use super::rows::Stored;
use super::{CounterRow, GrantRow, Ledger, StoreError, counters, generations, grants};
use crate::ledger::{Draw, Grant, ReserveRefused, Sale};
use crate::types::{Kind, PaymentHash, Timestamp};

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

    /// Why the token of this payment opens nothing any more, at any price: it was taken back, or is used up or over.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn over(
        &self,
        payment_hash: PaymentHash,
        now: Timestamp,
    ) -> Result<Option<ReserveRefused>, StoreError> {
        self.0.readers.read(move |connection| over(connection, payment_hash, now)).await
    }
}

fn over(
    connection: &Connection,
    hash: PaymentHash,
    now: Timestamp,
) -> Result<Option<ReserveRefused>, StoreError> {
    if is_revoked(connection, hash)? {
        return Ok(Some(ReserveRefused::Revoked));
    }
    let Some(GrantRow { mut grant, route, .. }) = grants::find(connection, hash)? else { return Ok(None) };
    // The least that can be asked for; what is on its way may come back.
    let least =
        Draw { most: 1, ..if grant.kind == Kind::Pass { Draw::pass(route) } else { Draw::one(route) } };
    let over = |refused: &ReserveRefused| {
        matches!(refused, ReserveRefused::Spent | ReserveRefused::Expired | ReserveRefused::RestoresExhausted)
    };
    Ok(grant.hold(&least, now).err().filter(over))
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
