//! Running sums over all grants and payments, so that no page of the operator's walks the tables.
//!
//! A step adds the difference of what a row contributes after and before it; the sums are written
//! once a transaction. The audit computes them anew from the rows and compares.

use rusqlite::{Connection, Row, ToSql};
use schemars::JsonSchema;
use serde::Serialize;

use super::StoreError;
use super::plan::asked;
use crate::ledger::Grant;
use crate::types::{Kind, Msat, Timestamp};

macro_rules! totals {
    ($($(#[$doc:meta])* $name:ident: $of_grant:expr,)*) => {
        /// Sums over the whole ledger.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
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

            /// Adds the sums to the stored ones, counts one step, and raises the high-water time to `now`.
            pub(super) fn store(self, connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
                const ADD: &str = concat!(
                    "UPDATE totals SET ",
                    $(stringify!($name), " = ", stringify!($name), " + :", stringify!($name), ", ",)*
                    "steps = steps + 1, high_water_ms = max(high_water_ms, :now)"
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
    /// Units sold: requests, and passes.
    units_sold: |grant: &Grant| counted(grant, grant.sold),
    /// Units that may still be used.
    units_left: |grant: &Grant| counted(grant, grant.left),
    /// Units on their way.
    units_held: |grant: &Grant| counted(grant, grant.held),
    /// Units delivered or charged.
    units_spent: |grant: &Grant| counted(grant, grant.spent),
    /// Units whose time ran out.
    units_expired: |grant: &Grant| counted(grant, grant.expired),
    /// Units that the operator took back.
    units_revoked: |grant: &Grant| counted(grant, grant.revoked),
    /// Balances sold: what they let draw, millisatoshi.
    balance_sold_msat: |grant: &Grant| drawn(grant, Kind::Balance, grant.sold),
    /// What may still be drawn from them.
    balance_left_msat: |grant: &Grant| drawn(grant, Kind::Balance, grant.left),
    /// What is held of them.
    balance_held_msat: |grant: &Grant| drawn(grant, Kind::Balance, grant.held),
    /// What was charged to them.
    balance_spent_msat: |grant: &Grant| drawn(grant, Kind::Balance, grant.spent),
    /// What ran out of them.
    balance_expired_msat: |grant: &Grant| drawn(grant, Kind::Balance, grant.expired),
    /// What the operator took back of them.
    balance_revoked_msat: |grant: &Grant| drawn(grant, Kind::Balance, grant.revoked),
    /// What granted tokens were given so far, millisatoshi.
    granted_sold_msat: |grant: &Grant| drawn(grant, Kind::Granted, grant.sold),
    /// What they may still use.
    granted_left_msat: |grant: &Grant| drawn(grant, Kind::Granted, grant.left),
    /// What is held of them.
    granted_held_msat: |grant: &Grant| drawn(grant, Kind::Granted, grant.held),
    /// What they used; nobody paid for it.
    granted_spent_msat: |grant: &Grant| drawn(grant, Kind::Granted, grant.spent),
    /// What they left unused in time.
    granted_expired_msat: |grant: &Grant| drawn(grant, Kind::Granted, grant.expired),
    /// What the operator took back of them.
    granted_revoked_msat: |grant: &Grant| drawn(grant, Kind::Granted, grant.revoked),
    /// Requests that were charged.
    calls: |grant: &Grant| count(grant.calls),
    /// Requests on their way.
    holds_open: |grant: &Grant| count(grant.open),
    /// Requests whose failed delivery gave back what they held.
    restored: |grant: &Grant| count(grant.restored),
    /// Requests that a crash left unknown and whose units the buyer kept.
    crash_restored: |grant: &Grant| count(grant.crash_restored),
    /// Earned: what was delivered or charged, millisatoshi.
    earned_msat: |grant: &Grant| msat(grant.earned()),
    /// What the buyers of redeemed tokens may still use, millisatoshi.
    owed_msat: |grant: &Grant| msat(grant.owed()),
    /// What was paid for, and then ran out or was taken back, millisatoshi: not earned, not owed.
    lapsed_msat: |grant: &Grant| msat(grant.lapsed()),
    /// Payments credited.
    payments: |_: &Grant| 0,
    /// What they brought, millisatoshi.
    received_msat: |_: &Grant| 0,
    /// The part of it whose token has not been presented, millisatoshi.
    unredeemed_msat: |_: &Grant| 0,
    /// The part of it beyond what the invoices asked for, millisatoshi: shown, never revenue.
    overpaid_msat: |_: &Grant| 0,
    /// The part of it that LSPs kept back for channels that they opened, millisatoshi: a cost.
    opening_fees_msat: |_: &Grant| 0,
    /// What may have been paid twice: shown, never revenue, millisatoshi.
    surplus_msat: |_: &Grant| 0,
    /// Payments that came after their invoice had expired.
    payments_late: |_: &Grant| 0,
    /// Payments of which nobody knows yet what they were for.
    payments_unknown: |_: &Grant| 0,
}

impl Totals {
    /// Whether the sums add up: for every kind of unit, sold = left + held + spent + expired + revoked,
    /// and nothing was charged that was not sold.
    pub fn balanced(&self) -> bool {
        let units =
            [self.units_left, self.units_held, self.units_spent, self.units_expired, self.units_revoked];
        let balance = [
            self.balance_left_msat,
            self.balance_held_msat,
            self.balance_spent_msat,
            self.balance_expired_msat,
            self.balance_revoked_msat,
        ];
        let granted = [
            self.granted_left_msat,
            self.granted_held_msat,
            self.granted_spent_msat,
            self.granted_expired_msat,
            self.granted_revoked_msat,
        ];
        let adds_up = |sold: i64, parts: &[i64]| {
            parts.iter().all(|part| *part >= 0)
                && parts.iter().map(|part| i128::from(*part)).sum::<i128>() == i128::from(sold)
        };
        adds_up(self.units_sold, &units)
            && adds_up(self.balance_sold_msat, &balance)
            && adds_up(self.granted_sold_msat, &granted)
            && self.earned_msat >= 0
            && self.owed_msat >= 0
    }
}

/// Units that are no money.
fn counted(grant: &Grant, units: u64) -> i64 {
    if grant.kind.draws_money() { 0 } else { count(units) }
}

/// Money of one kind of grant.
fn drawn(grant: &Grant, kind: Kind, units: u64) -> i64 {
    if grant.kind == kind { count(units) } else { 0 }
}

/// A count as SQLite keeps it; what a grant counts always fits.
pub(super) fn count(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

/// An amount as SQLite keeps it; every `Msat` fits.
pub(super) fn msat(amount: Msat) -> i64 {
    count(amount.msat())
}

/// The stored sums.
pub(super) fn read(connection: &Connection) -> Result<Totals, StoreError> {
    Ok(asked(connection, "SELECT * FROM totals")?.query_row([], Totals::from_row)?)
}
