//! What customers hold of services and have not used: whom a dearer price touches.
//!
//! Counted from tokens that came at least once, and from payments whose token did not come yet, where their challenge is
//! remembered.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, Row, params};

use super::plan::asked;
use super::rows::{Stored, column, known_name};
use super::{Ledger, StoreError, grants, waiting};
use crate::ledger::Budget;
use crate::types::{Kind, Msat, Name, Timestamp};

/// Tokens, and what is left of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// How many tokens.
    pub tokens: u64,
    /// Requests, or millisatoshi of balances.
    pub units: u64,
}

impl Left {
    pub(super) fn add(&mut self, tokens: u64, units: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.units = self.units.saturating_add(units);
    }
}

/// Single requests or packs that were sold alike, and what is left of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alike {
    /// The kind.
    pub kind: Kind,
    /// The route that was asked for.
    pub route: Name,
    /// The dearest request that a unit opens.
    pub covers: Msat,
    /// The price of all units together.
    pub sold: Msat,
    /// How many those were.
    pub units: u64,
    /// The price in another currency, with its rate.
    pub quote: Option<String>,
    /// What is left.
    pub left: Left,
}

/// What is left of a service's tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// Of single requests and packs.
    pub requests: Vec<Alike>,
    /// Of balances that were sold: millisatoshi.
    pub balances: Left,
    /// Of tokens that were given away: millisatoshi, of a budget what its period still has.
    pub given: Left,
}

impl Ledger {
    /// What is left, at `now`, of the tokens of `services`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn outstanding(
        &self,
        services: Vec<Name>,
        now: Timestamp,
    ) -> Result<BTreeMap<Name, Outstanding>, StoreError> {
        self.0.readers.read(move |connection| count(connection, services, now)).await
    }
}

/// What tokens that were sold alike have in common: service, route, kind, what a unit opens, price, units, quote.
pub(super) type Sold = (i64, i64, Kind, Msat, Msat, u64, Option<String>);

fn count(
    connection: &Connection,
    services: Vec<Name>,
    now: Timestamp,
) -> Result<BTreeMap<Name, Outstanding>, StoreError> {
    let mut names = HashMap::new();
    for service in services {
        if let Some(id) = known_name(connection, &service)? {
            names.insert(id, service);
        }
    }
    // Few of all grants live: the index of those is walked, once for all services and routes.
    let mut query = asked(
        connection,
        "SELECT service, route, kind, covers_msat, price_msat, sold, quote, left_, budget, per_ms, period
         FROM grants INDEXED BY grants_live
         WHERE id > 0 AND over_at IS NULL AND (left_ > 0 OR budget IS NOT NULL) AND valid_until > ?1
               AND kind <> 'pass'",
    )?;
    let mut rows = query.query(params![Stored(now)])?;
    let (mut found, mut alike) = (BTreeMap::<Name, Outstanding>::new(), HashMap::<Sold, Left>::new());
    while let Some(row) = rows.next()? {
        // By their numbers: there may be a hundred thousand rows.
        let (service, left) = (row.get(0)?, row.get(7)?);
        let Some(name) = names.get(&service) else { continue };
        let Stored(kind): Stored<Kind> = row.get(2)?;
        if kind.draws_money() {
            let own = found.entry(name.clone()).or_default();
            match kind {
                Kind::Granted => own.given.add(1, given(row, left, now)?),
                _ => own.balances.add(1, left),
            }
            continue;
        }
        let (Stored(price), units): (Stored<Msat>, u64) = (row.get(4)?, row.get(5)?);
        let noted = row.get::<_, Option<Stored<Msat>>>(3)?.map(|Stored(noted)| noted);
        let covers = grants::covers(noted, price, units);
        let terms = (service, row.get(1)?, kind, covers, price, units, row.get(6)?);
        alike.entry(terms).or_default().add(1, left);
    }
    waiting::add(connection, &mut alike, now)?;
    for ((service, route, kind, covers, sold, units, quote), left) in alike {
        let (Some(service), Some(route)) = (names.get(&service), name_of(connection, route)?) else {
            continue;
        };
        if kind.draws_money() {
            found.entry(service.clone()).or_default().balances.add(left.tokens, left.units);
            continue;
        }
        let one = Alike { kind, route, covers, sold, units, quote, left };
        found.entry(service.clone()).or_default().requests.push(one);
    }
    Ok(found)
}

/// What may still be drawn at `now` from a token that was given away, of which `left` is noted.
fn given(row: &Row<'_>, left: u64, now: Timestamp) -> rusqlite::Result<u64> {
    let Some(units) = row.get::<_, Option<u64>>(8)? else { return Ok(left) };
    let Stored(per) = row.get(9)?;
    // It is filled up when the next request comes.
    let fresh = Budget::starting(units, per, now);
    Ok(if fresh.period > row.get::<_, u64>(10)? { units } else { left })
}

fn name_of(connection: &Connection, id: i64) -> Result<Option<Name>, StoreError> {
    let mut query = asked(connection, "SELECT name FROM names WHERE id = ?1")?;
    super::optional(query.query_row([id], |row| column(row, "name")))
}
