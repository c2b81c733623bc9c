//! The account: every payment that came and every one that went, each with its sign, so that they sum to what
//! is left of them.
//!
//! It is the account of Lightning: coins that move on the chain only change places, and their fees are the
//! on-chain wallet's.

use rusqlite::{Connection, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::plan::asked;
use super::rows::{Stored, column, column_or_none};
use super::{Ledger, StoreError, totals};
use crate::pricing::Rate;
use crate::types::{Msat, Name, PaymentHash, Timestamp};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A customer paid.
    Received,
    /// What an LSP kept of it for the channel that it opened for it.
    OpeningFee,
    /// What may have been paid a second time: it arrived, and is not revenue.
    Surplus,
    /// We paid.
    Paid,
    /// What routing that cost.
    RoutingFee,
}

impl EntryKind {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            EntryKind::Received => "received",
            EntryKind::OpeningFee => "opening_fee",
            EntryKind::Surplus => "possible_surplus",
            EntryKind::Paid => "paid",
            EntryKind::RoutingFee => "routing_fee",
        }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EntryKind,
    /// The payment.
    pub payment_hash: PaymentHash,
    /// What it was for, where known.
    pub service: Option<Name>,
    /// The route, likewise.
    pub route: Option<Name>,
    /// The price in another currency that the invoice was made at, with its rate.
    pub quote: Option<String>,
    /// The rate that was known when it came.
    pub rate: Option<Rate>,
    /// What came, or with a minus what went, millisatoshi.
    pub amount_msat: i64,
}

/// Where the next page begins; its fields are nobody's but the ledger's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntriesAfter {
    /// Money that came: when it arrived, and its number.
    received: (Timestamp, i64),
    /// Money that went: when it arrived, and its hash.
    sent: Option<(Timestamp, PaymentHash)>,
    incoming_done: bool,
    /// Nothing from here on.
    end: Option<Timestamp>,
}

impl EntriesAfter {
    /// Before the first entry of the time from `from` to just before `to`; without `to`, to the end.
    pub fn within(from: Timestamp, to: Option<Timestamp>) -> EntriesAfter {
        let sent = Some((from, NO_HASH));
        EntriesAfter { received: (from, 0), sent, incoming_done: false, end: to }
    }
}

/// Before every hash.
const NO_HASH: PaymentHash = PaymentHash::from_bytes([0; 32]);

/// What the entries sum to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Account {
    /// What customers paid, millisatoshi.
    pub received_msat: i64,
    /// What LSPs kept of it for the channels that they opened.
    pub opening_fees_msat: i64,
    /// What may have been paid twice: it arrived, and is not revenue.
    pub surplus_msat: i64,
    /// What was paid.
    pub paid_msat: i64,
    /// What routing that cost.
    pub routing_fees_msat: i64,
    /// What is left: received and surplus, less everything else.
    pub balance_msat: i64,
}

const RECEIVED: &str =
    "SELECT p.id, p.payment_hash, p.received_at, p.amount_msat, p.opening_fee_msat, p.surplus_msat,
        p.quote, p.rate, s.name AS service_name, r.name AS route_name
    FROM payments p LEFT JOIN names s ON s.id = p.service LEFT JOIN names r ON r.id = p.route
    WHERE (p.received_at, p.id) > (?1, ?2) AND p.received_at < ?3 ORDER BY p.received_at, p.id LIMIT ?4";
const SENT: &str =
    "SELECT payment_hash, updated_at, amount_msat, COALESCE(fee_msat, 0) AS fee_msat FROM outgoing
    WHERE state = 'succeeded' AND (updated_at, payment_hash) > (?1, ?2) AND updated_at < ?3
    ORDER BY updated_at, payment_hash LIMIT ?4";
/// It grows with what the operator pays, not with what is sold; its sum is asked for seldom.
const SPENT: &str = "SELECT COALESCE(SUM(amount_msat), 0), COALESCE(SUM(fee_msat), 0)
    FROM outgoing WHERE state = 'succeeded'";

impl Ledger {
    /// The entries after a place, at most about `limit`, and the place after them; none when that was all. Money
    /// that came is first, oldest first, then what went.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn entries(
        &self,
        after: EntriesAfter,
        limit: u32,
    ) -> Result<(Vec<Entry>, EntriesAfter), StoreError> {
        self.0.readers.read(move |connection| page(connection, after, limit)).await
    }

    /// What all entries sum to.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn account(&self) -> Result<Account, StoreError> {
        self.0.readers.read(account).await
    }
}

fn account(connection: &Connection) -> Result<Account, StoreError> {
    let sums = totals::read(connection)?;
    let (paid_msat, routing_fees_msat): (i64, i64) =
        connection.query_row(SPENT, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Account {
        received_msat: sums.received_msat,
        opening_fees_msat: sums.opening_fees_msat,
        surplus_msat: sums.surplus_msat,
        paid_msat,
        routing_fees_msat,
        balance_msat: sums.received_msat + sums.surplus_msat
            - sums.opening_fees_msat
            - paid_msat
            - routing_fees_msat,
    })
}

fn page(
    connection: &Connection,
    mut after: EntriesAfter,
    limit: u32,
) -> Result<(Vec<Entry>, EntriesAfter), StoreError> {
    let mut entries = Vec::new();
    let end = after.end.map_or(i64::MAX, |end| i64::try_from(end.millis()).unwrap_or(i64::MAX));
    if !after.incoming_done {
        let mut query = asked(connection, RECEIVED)?;
        let rows =
            query.query_map(params![Stored(after.received.0), after.received.1, end, limit], |row| {
                let id: i64 = row.get("id")?;
                let at = column(row, "received_at")?;
                let rate: Option<String> = row.get("rate")?;
                let entry = Entry {
                    at,
                    rate: rate.and_then(|rate| Rate::read(&rate, at)),
                    kind: EntryKind::Received,
                    payment_hash: column(row, "payment_hash")?,
                    service: column_or_none(row, "service_name")?,
                    route: column_or_none(row, "route_name")?,
                    quote: row.get("quote")?,
                    amount_msat: row.get("amount_msat")?,
                };
                Ok((id, entry, row.get::<_, i64>("opening_fee_msat")?, row.get::<_, i64>("surplus_msat")?))
            })?;
        for row in rows {
            let (id, entry, kept, surplus) = row?;
            after.received = (entry.at, id);
            let other = |kind, amount_msat| Entry { kind, amount_msat, quote: None, ..entry.clone() };
            let more = [(EntryKind::OpeningFee, -kept), (EntryKind::Surplus, surplus)];
            let more: Vec<Entry> = more
                .into_iter()
                .filter(|(_, msat)| *msat != 0)
                .map(|(kind, msat)| other(kind, msat))
                .collect();
            entries.push(entry);
            entries.extend(more);
        }
        if !entries.is_empty() {
            return Ok((entries, after));
        }
        after.incoming_done = true;
    }
    let (at, hash) = after.sent.unwrap_or((Timestamp::default(), NO_HASH));
    let mut query = asked(connection, SENT)?;
    let rows = query.query_map(params![Stored(at), Stored(hash), end, limit], |row| {
        let (at, hash) =
            (column::<Timestamp>(row, "updated_at")?, column::<PaymentHash>(row, "payment_hash")?);
        Ok((at, hash, column::<Msat>(row, "amount_msat")?, column::<Msat>(row, "fee_msat")?))
    })?;
    for row in rows {
        let (at, payment_hash, amount, fee) = row?;
        after.sent = Some((at, payment_hash));
        for (kind, amount) in [(EntryKind::Paid, amount), (EntryKind::RoutingFee, fee)] {
            if amount > Msat::ZERO || kind == EntryKind::Paid {
                entries.push(Entry {
                    at,
                    kind,
                    payment_hash,
                    service: None,
                    route: None,
                    quote: None,
                    rate: None,
                    amount_msat: -totals::msat(amount),
                });
            }
        }
    }
    Ok((entries, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::World;
    use crate::store::{Intent, OutgoingState};
    use crate::types::Preimage;

    #[tokio::test]
    async fn every_entry_has_its_sign_and_all_sum_to_the_balance() {
        let world = World::new();
        let (ledger, _) = world.open();
        let sat = |sat| Msat::from_sat(sat).unwrap();
        for n in 1..=7u8 {
            let kept = if n == 3 { sat(2) } else { Msat::ZERO };
            ledger
                .receive_less(PaymentHash::from_bytes([n; 32]), sat(u64::from(n) * 10), kept, None)
                .await
                .unwrap();
        }
        // The same again in one run.
        ledger.receive(PaymentHash::from_bytes([5; 32]), sat(50), None).await.unwrap();
        for n in 1..=3u8 {
            let preimage = Preimage::from_bytes([n; 32]);
            let payment_hash = preimage.payment_hash();
            let intent =
                Intent { payment_hash, bolt11: String::new(), amount: sat(4), max_fee: sat(1), wallet: None };
            ledger.intend(intent).await.unwrap();
            let end = match n {
                1 => OutgoingState::Failed { reason: "no way".to_owned() },
                _ => OutgoingState::Succeeded { preimage, fee: Msat::new(u64::from(n - 2) * 500).unwrap() },
            };
            ledger.settle_outgoing(payment_hash, end).await.unwrap();
        }
        let (mut all, mut after) = (Vec::new(), EntriesAfter::default());
        loop {
            let (entries, next) = ledger.entries(after, 2).await.unwrap();
            after = next;
            if entries.is_empty() {
                break;
            }
            all.extend(entries);
        }
        let account = ledger.account().await.unwrap();
        let sum: i64 = all.iter().map(|entry| entry.amount_msat).sum();
        assert_eq!(sum, account.balance_msat);
        assert_eq!(sum, (280 + 2 - 2 + 50) * 1_000 - 8_000 - 500);
        let of = |kind| all.iter().filter(|entry| entry.kind == kind).count();
        let kinds = [
            EntryKind::Received,
            EntryKind::OpeningFee,
            EntryKind::Surplus,
            EntryKind::Paid,
            EntryKind::RoutingFee,
        ];
        assert_eq!(kinds.map(of), [7, 1, 1, 2, 1], "{all:?}");
    }
}
