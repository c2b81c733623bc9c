//! The funding outputs of a channel: the first, and one for each splice.
//!
//! Invariant: what is noted of one is never taken back; the order is that in which they were noted.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::channels::signed;
use super::rows::Stored;
use super::{Ledger, StoreError};
use crate::types::Timestamp;

/// One funding output of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FundingRow {
    /// `txid:vout`.
    pub funding: String,
    /// When it was first heard of.
    pub noted_at: Timestamp,
    /// The height at which the channel was first seen ready with it.
    pub height: Option<u32>,
    /// The channel's value with it, satoshi, once it was seen.
    pub capacity_sat: Option<u64>,
}

/// A splice of an open channel that was agreed: it may be confirmed by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingFunding {
    /// Our own id of the channel.
    pub local_id: String,
    /// `txid:vout` of the new funding output.
    pub spliced_to: String,
}

impl Ledger {
    /// The last splice of each open channel that was spliced.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn pending_fundings(&self) -> Result<Vec<PendingFunding>, StoreError> {
        let sql =
            "SELECT local_id, spliced_to FROM channels WHERE closed_at IS NULL AND spliced_to IS NOT NULL";
        let read = move |connection: &Connection| {
            let mut query = connection.prepare_cached(sql)?;
            let one = |row: &Row<'_>| {
                Ok(PendingFunding { local_id: row.get("local_id")?, spliced_to: row.get("spliced_to")? })
            };
            Ok(query.query_map([], one)?.collect::<Result<_, _>>()?)
        };
        self.0.readers.read(read).await
    }
}

/// Notes that a splice to `funding` is agreed.
pub(super) fn note_agreed(
    connection: &Connection,
    channel_id: &str,
    funding: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO fundings (local_id, funding, noted_at)
         SELECT local_id, ?2, ?3 FROM channels WHERE channel_id = ?1 AND closed_at IS NULL
         ON CONFLICT DO NOTHING",
    )?;
    insert.execute(params![channel_id, funding, Stored(now)])?;
    Ok(())
}

/// Notes that the channel is open with `funding`.
pub(super) fn note_open(
    connection: &Connection,
    (local_id, funding): (&str, &str),
    capacity_sat: u64,
    ready_at: Option<u32>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO fundings (local_id, funding, noted_at, height, capacity_sat) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET height = COALESCE(height, ?4), capacity_sat = ?5
         WHERE height IS NULL OR capacity_sat IS NOT ?5",
    )?;
    upsert.execute(params![local_id, funding, Stored(now), ready_at, signed(capacity_sat)])?;
    Ok(())
}

/// Those of these channels, a JSON list of our own ids, each channel's in their order.
pub(super) const OF: &str =
    "SELECT * FROM fundings WHERE local_id IN (SELECT value FROM json_each(?1) AS names) ORDER BY rowid";

/// The same, by channel.
pub(super) fn of(
    connection: &Connection,
    ids: &str,
) -> Result<BTreeMap<String, Vec<FundingRow>>, StoreError> {
    let mut query = connection.prepare_cached(OF)?;
    let read = |row: &Row<'_>| {
        let Stored(noted_at) = row.get("noted_at")?;
        let capacity: Option<i64> = row.get("capacity_sat")?;
        let funding = FundingRow {
            funding: row.get("funding")?,
            noted_at,
            height: row.get("height")?,
            capacity_sat: capacity.map(|sat| u64::try_from(sat).unwrap_or(0)),
        };
        Ok((row.get::<_, String>("local_id")?, funding))
    };
    let mut all: BTreeMap<String, Vec<FundingRow>> = BTreeMap::new();
    for row in query.query_map([ids], read)? {
        let (local_id, funding) = row?;
        all.entry(local_id).or_default().push(funding);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use crate::store::tests::World;
    use crate::store::{ChannelSeen, ChannelsSeen};

    #[tokio::test]
    async fn a_splice_takes_nothing_from_what_was_before_it() {
        let world = World::new();
        let (ledger, _) = world.open();
        let seen = |funding: &str, capacity_sat, ready| ChannelsSeen {
            open: vec![ChannelSeen {
                local_id: "7".to_owned(),
                channel_id: "c7".to_owned(),
                peer: "02aa".to_owned(),
                funding: Some(funding.to_owned()),
                capacity_sat,
                outbound: true,
                announced: false,
                ready,
                ours_sat: None,
                side_msat: None,
            }],
            ..ChannelsSeen::default()
        };
        ledger.note_channels(seen("f:0", 50_000, false), 100).await.unwrap();
        ledger.note_channels(seen("f:0", 50_000, true), 106).await.unwrap();
        ledger.splice_agreed("c7".to_owned(), "g:1".to_owned()).await.unwrap();
        let told = async || {
            let row = ledger.channel_record("7").await.unwrap().unwrap();
            let one = |row: crate::store::FundingRow| (row.funding, row.height, row.capacity_sat);
            (row.opened_height, row.fundings.into_iter().map(one).collect::<Vec<_>>())
        };
        let first = || ("f:0".to_owned(), Some(106), Some(50_000));
        assert_eq!(told().await, (Some(106), vec![first(), ("g:1".to_owned(), None, None)]));
        ledger.note_channels(seen("g:1", 80_000, true), 140).await.unwrap();
        ledger.note_channels(seen("g:1", 80_000, true), 150).await.unwrap();
        let second = ("g:1".to_owned(), Some(140), Some(80_000));
        assert_eq!(told().await, (Some(106), vec![first(), second]));
    }
}
