//! Steps of one deed that another line tells already: one deed is one line.
//!
//! A transaction of the vault is told when it is seen and again with its block; a splice of ours is told as a move, as a
//! size that waits and as a channel that is ready once more. The log and the table keep every step.

use crate::event::{Event, LoggedEvent};
use crate::store::{Ledger, OperationRow, StoreError};

/// So many of the newest events of a kind, and of the newest operations, are looked through.
const RECENT: u32 = 500;

/// What tells whether a line is left out.
#[derive(Default)]
pub(super) struct Superseded {
    /// The events of the vault, of ready channels and of splices that were agreed.
    told: Vec<LoggedEvent>,
    /// Splices that we asked for.
    splices: Vec<OperationRow>,
}

impl Superseded {
    /// What is needed for `rows`; nothing is read where none of them could be left out.
    pub(super) async fn among(ledger: &Ledger, rows: &[LoggedEvent]) -> Result<Superseded, StoreError> {
        let may = |row: &LoggedEvent| {
            matches!(
                row.event,
                Event::VaultMoved { height: None, .. }
                    | Event::ChannelReady { .. }
                    | Event::SplicePending { .. }
            )
        };
        if !rows.iter().any(may) {
            return Ok(Superseded::default());
        }
        let (told, _) =
            ledger.rare_events(&["vault_moved", "channel_ready", "splice_pending"], 0, RECENT).await?;
        let mut splices = ledger.operations(i64::MAX, RECENT).await?;
        splices.retain(|row| matches!(row.kind.as_str(), "splice_in" | "splice_out"));
        Ok(Superseded { told, splices })
    }

    /// Whether the channel had been ready before.
    pub(super) fn was_ready(&self, row: &LoggedEvent) -> bool {
        self.ready_before(row).is_some()
    }

    /// Whether another line tells it.
    pub(super) fn leaves_out(&self, row: &LoggedEvent) -> bool {
        match &row.event {
            Event::VaultMoved { txid, height: None, .. } => self.told.iter().any(|other| {
                other.id > row.id
                    && matches!(&other.event, Event::VaultMoved { txid: same, .. } if same == txid)
            }),
            Event::SplicePending { funding, .. } => self.is_ours(funding),
            Event::ChannelReady { channel_id, .. } => self.ready_before(row).is_some_and(|before| {
                let since = self.told.iter().rev().filter(|other| (before.id..row.id).contains(&other.id));
                let mut splices = since.filter_map(|other| match &other.event {
                    Event::SplicePending { channel_id: id, funding } if id == channel_id => Some(funding),
                    _ => None,
                });
                splices.next().is_some_and(|funding| self.is_ours(funding))
            }),
            _ => false,
        }
    }

    /// Whether one of our moves made that funding output.
    fn is_ours(&self, funding: &str) -> bool {
        self.splices.iter().any(|splice| splice.outcome["spliced_to"] == funding)
    }

    /// The last time that the channel was told to be ready before that.
    fn ready_before(&self, row: &LoggedEvent) -> Option<&LoggedEvent> {
        let Event::ChannelReady { channel_id, .. } = &row.event else { return None };
        let same =
            |event: &Event| matches!(event, Event::ChannelReady { channel_id: id, .. } if id == channel_id);
        self.told.iter().rev().find(|other| other.id < row.id && same(&other.event))
    }
}
