//! What customers hold of a service and have not used: whom a dearer price touches.
//!
//! Counted from tokens that were used once, for what a payment bought stands in its token until then.

use rusqlite::{Connection, params};

use super::plan::asked;
use super::rows::{Stored, known_name};
use super::{Ledger, StoreError};
use crate::types::{Msat, Name};

/// Tokens, and what is left of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// How many tokens.
    pub tokens: u64,
    /// Requests, or millisatoshi of balances.
    pub units: u64,
}

/// What is left of a service's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// Of single requests and packs, those whose requests were sold for less than was asked about.
    pub requests: Left,
    /// Of balances, and of tokens that were given: millisatoshi.
    pub money: Left,
}

impl Ledger {
    /// What is left of the tokens of `service`: all its balances, and of each of `routes` the requests that
    /// were sold for less than its price; for any price where none is said.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn outstanding(
        &self,
        service: Name,
        routes: Vec<(Name, Option<Msat>)>,
    ) -> Result<Outstanding, StoreError> {
        self.0.readers.read(move |connection| count(connection, &service, &routes)).await
    }
}

fn count(
    connection: &Connection,
    service: &Name,
    routes: &[(Name, Option<Msat>)],
) -> Result<Outstanding, StoreError> {
    let mut found = Outstanding::default();
    let Some(service) = known_name(connection, service)? else { return Ok(found) };
    // Few of all grants live: the index of those is walked, and never the service's whole past.
    let live = "SELECT COUNT(*), COALESCE(SUM(left_), 0) FROM grants INDEXED BY grants_live
                WHERE id > 0 AND over_at IS NULL AND left_ > 0 AND service = ?1";
    let left = |row: &rusqlite::Row<'_>| Ok(Left { tokens: row.get(0)?, units: row.get(1)? });
    let sql = format!("{live} AND kind IN ('balance', 'granted')");
    found.money = asked(connection, &sql)?.query_row([service], left)?;
    // A number with a point, for the product may be more than a whole one can be.
    let sql = format!(
        "{live} AND kind IN ('request', 'pack') AND route = ?2 AND (?3 IS NULL OR price_msat < 1.0 * sold * ?3)"
    );
    for (route, price) in routes {
        let Some(route) = known_name(connection, route)? else { continue };
        let of = asked(connection, &sql)?.query_row(params![service, route, price.map(Stored)], left)?;
        found.requests.tokens = found.requests.tokens.saturating_add(of.tokens);
        found.requests.units = found.requests.units.saturating_add(of.units);
    }
    Ok(found)
}
