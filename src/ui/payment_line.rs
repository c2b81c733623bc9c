//! A payment as one line of a list.

use super::figures::{fiat, iso, sats_exact, shortened, utc};
use crate::pricing::Fiat;
use crate::store::{PaymentRow, PaymentState};
use crate::types::{Msat, Name};

/// One payment, as a line of a list.
pub(super) struct PaymentLine {
    pub(super) hash: String,
    pub(super) hash_short: String,
    pub(super) at: String,
    pub(super) at_iso: String,
    pub(super) what: String,
    pub(super) state: &'static str,
    pub(super) state_class: &'static str,
    /// The state is of the payment, and not its token's.
    pub(super) is_odd: bool,
    pub(super) amount: String,
    /// What it was worth in another currency as it came, and at which rate; where one was known.
    pub(super) worth: Option<(String, String)>,
}

impl PaymentLine {
    /// The line of `row`.
    pub(super) fn of(row: &PaymentRow) -> PaymentLine {
        let (state, state_class) = match row.state {
            _ if row.surplus > Msat::ZERO => ("Perhaps paid twice", "good"),
            _ if row.over > Msat::ZERO => ("Overpaid", "good"),
            PaymentState::Unredeemed if row.perhaps_delivered => ("Delivered or not is not known", "waits"),
            PaymentState::Spent => (PaymentState::Spent.words(), "good"),
            state => (state.words(), "waits"),
        };
        let is_odd = row.state.words() != state;
        let hash = row.payment_hash.to_hex();
        PaymentLine {
            hash_short: shortened(&hash),
            hash,
            at: utc(row.received_at),
            at_iso: iso(row.received_at),
            what: match row.perhaps_delivered {
                true => "perhaps what was sold before the restore".to_owned(),
                false => what(row.service.as_ref(), row.route.as_ref()),
            },
            state,
            state_class,
            is_odd,
            amount: sats_exact(row.amount.msat()),
            worth: row.rate.and_then(|rate| {
                let per_btc = fiat(Fiat { amount: rate.per_btc, currency: rate.currency });
                Some((fiat(rate.back(row.amount)?), per_btc))
            }),
        }
    }
}

fn what(service: Option<&Name>, route: Option<&Name>) -> String {
    match (service, route) {
        (Some(service), Some(route)) if service == route => service.to_string(),
        (Some(service), Some(route)) => format!("{service} / {route}"),
        (Some(service), None) => service.to_string(),
        (None, _) => "not yet used".to_owned(),
    }
}
