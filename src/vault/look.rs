//! One look at the chain: what it finds goes into the wallet, and onto disk, step by step.

use thiserror::Error;

use super::{Open, Vault, VaultFault};

/// The chain could not be looked at; later it may.
#[derive(Debug, Error)]
pub(super) enum SyncFault {
    #[error("{0}")]
    Away(String),
    #[error(transparent)]
    Vault(#[from] VaultFault),
}

/// A look at the chain for the wallet that was there when it began: another one that takes its place learns
/// nothing of it.
pub(super) struct Look<'a> {
    vault: &'a Vault,
    turn: u64,
}

impl<'a> Look<'a> {
    pub(super) fn new(vault: &'a Vault, turn: u64) -> Look<'a> {
        Look { vault, turn }
    }

    /// Does something with the wallet, unless another one took its place.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Open) -> T) -> Result<T, VaultFault> {
        let mut state = self.vault.state();
        let same = state.turn == self.turn;
        match &mut state.open {
            Some(open) if same => Ok(work(open)),
            _ => Err(VaultFault::NotSet),
        }
    }

    /// Lets the wallet learn something and stores that; `done` when its past is known now.
    pub(super) async fn learn(
        &self,
        done: bool,
        work: impl FnOnce(&mut Open) -> Result<(), VaultFault>,
    ) -> Result<(), VaultFault> {
        let now = self.vault.clock.now();
        let (row, change, news, first) = self.with(|open| {
            let before = open.watched.history();
            work(open)?;
            let first = done && open.row.scanned_at.is_none();
            // What lies in the past is no news.
            let news = if open.row.scanned_at.is_some() { open.watched.news(&before) } else { Vec::new() };
            if done {
                (open.synced_at, open.searching) = (Some(now), None);
            }
            Ok::<_, VaultFault>((open.row.clone(), open.watched.take_change(), news, first))
        })??;
        let something = change.is_some() || first || !news.is_empty();
        if something && let Err(error) = self.vault.ledger.note_vault(&row, change, news, first).await {
            // What is in memory only would be built upon: take what is on disk.
            self.vault.reopen().await?;
            return Err(error.into());
        }
        if first {
            self.with(|open| open.row.scanned_at = Some(now))?;
        }
        Ok(())
    }

    /// A walk along the chain passes a block.
    pub(super) fn passes(&self, height: u32, tip: u32) {
        let _ = self.with(|open| open.searching = (height < tip).then_some((height, tip)));
    }

    pub(super) fn end(&self, looked: Result<(), SyncFault>) {
        let trouble = looked.err().map(|fault| fault.to_string());
        let told = self.with(|open| {
            let new = trouble.is_some() && open.trouble != trouble;
            open.trouble.clone_from(&trouble);
            new
        });
        if let (Ok(true), Some(trouble)) = (told, trouble) {
            tracing::warn!(reason = %trouble, "the vault could not be looked up on the chain");
        }
    }

    /// Unix seconds.
    pub(super) fn now(&self) -> u64 {
        self.vault.clock.now().secs()
    }
}
