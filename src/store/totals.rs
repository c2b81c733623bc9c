//! Running sums over all grants and payments, so that no page of the operator's walks the tables.
//!
//! A step adds the difference of what a row contributes after and before it; the sums are written
//! once a transaction. The audit computes them anew from the rows and compares.

use rusqlite::{Connection, Row, ToSql};
use serde::Serialize;

use super::StoreError;
use crate::ledger::Grant;
use crate::types::{Msat, Timestamp};

macro_rules! totals {
    ($($(#[$doc:meta])* $name:ident: $of_grant:expr,)*) => {
        /// Sums over the whole ledger.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Totals { $($(#[$doc])* pub $name: i64,)* }

        impl Totals {
            /// What one grant contributes.
            pub(super) fn of(grant: &Grant) -> Totals {
                Totals { $($name: $of_grant(grant),)* }
            }

            /// The sum.
            pub(super) fn plus(self, other: Totals) -> Totals {
                Totals { $($name: self.$name.saturating_add(other.$name),)* }
            }

            /// The difference.
            pub(super) fn minus(self, other: Totals) -> Totals {
                Totals { $($name: self.$name.saturating_sub(other.$name),)* }
            }

            /// Adds the sums to the stored ones, and raises the high-water time to `now`.
            pub(super) fn store(self, connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
                const ADD: &str = concat!(
                    "UPDATE totals SET ",
                    $(stringify!($name), " = ", stringify!($name), " + :", stringify!($name), ", ",)*
                    "high_water_ms = max(high_water_ms, :now)"
                );
                let now = i64::try_from(now.millis()).unwrap_or(i64::MAX);
                let values: &[(&str, &dyn ToSql)] =
                    &[(":now", &now), $((concat!(":", stringify!($name)), &self.$name),)*];
                connection.prepare_cached(ADD)?.execute(values)?;
                Ok(())
            }

            /// The sums of a row whose columns are named like them.
            pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Totals> {
                Ok(Totals { $($name: row.get(stringify!($name))?,)* })
            }
        }
    };
}

totals! {
    /// Grants.
    grants: |_: &Grant| 1,
    /// Units sold.
    units_sold: |grant: &Grant| units(grant.sold),
    /// Units that may still be used.
    units_left: |grant: &Grant| units(grant.left),
    /// Units on their way.
    units_held: |grant: &Grant| units(grant.held),
    /// Units delivered or charged.
    units_spent: |grant: &Grant| units(grant.spent),
    /// Units whose time ran out.
    units_expired: |grant: &Grant| units(grant.expired),
    /// Units that the operator took back.
    units_revoked: |grant: &Grant| units(grant.revoked),
    /// Times that a failed delivery gave a unit back.
    restored: |grant: &Grant| units(grant.restored),
    /// Units that a crash left unknown and the buyer kept.
    crash_restored: |grant: &Grant| units(grant.crash_restored),
    /// Earned: units delivered or charged, millisatoshi.
    earned_msat: |grant: &Grant| msat(grant.earned()),
    /// What the buyers of redeemed tokens may still use, millisatoshi.
    owed_msat: |grant: &Grant| msat(grant.owed()),
    /// Payments credited.
    payments: |_: &Grant| 0,
    /// What they brought, millisatoshi.
    received_msat: |_: &Grant| 0,
    /// The part of it whose token has not been presented, millisatoshi.
    unredeemed_msat: |_: &Grant| 0,
    /// What may have been paid twice: shown, never revenue, millisatoshi.
    surplus_msat: |_: &Grant| 0,
}

/// A count as SQLite keeps it.
fn units(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// An amount as SQLite keeps it; every `Msat` fits.
pub(super) fn msat(amount: Msat) -> i64 {
    i64::try_from(amount.msat()).unwrap_or(i64::MAX)
}

/// The stored sums.
pub(super) fn read(connection: &Connection) -> Result<Totals, StoreError> {
    Ok(connection.prepare_cached("SELECT * FROM totals")?.query_row([], Totals::from_row)?)
}
