//! The vault: the operator's cold storage, watched with public keys only. The only direct BDK.
//!
//! Invariants: no private key is ever taken in; an address is handed out for one deposit only and noted
//! on disk before anybody sees it; none is handed out before the vault's past is known, for it could have
//! been paid before; no lock is held while something is asked. Spending stays with the operator's own wallet.

mod key;
mod look;
mod sync;
mod watched;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::Network;
use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::chain::{ChainSource, Sources};
use crate::clock::Clock;
use crate::ports::{BoxFuture, ColdAddress, ColdStorage, NoColdAddress};
use crate::store::{Ledger, NewVault, StoreError, VaultAddressRow, VaultRow};
use crate::types::Timestamp;

pub use key::{Form, KeyFault, Keys, looks_private};
use look::Look;
use sync::Memory;
use watched::Watched;
pub use watched::{VaultBalance, VaultEntry};

/// How often the chain is looked at; a regtest chain grows when somebody wants it to.
const EVERY: Duration = Duration::from_secs(60);
const EVERY_ON_REGTEST: Duration = Duration::from_secs(2);
/// Every so many looks a server is asked for addresses beyond those handed out, too.
const WHOLE_EVERY: u32 = 30;
/// Steps of what was learnt are added up into one at the start when there are more.
const MOST_STEPS: usize = 500;
/// The longest name of a deposit, in bytes.
const LONGEST_DEPOSIT: usize = 255;
/// The gap limit when the operator says nothing: what most wallets have.
pub const USUAL_GAP: u32 = 20;
/// The widest gap limit.
pub const WIDEST_GAP: u32 = 1_000;

/// The vault could not do what was asked.
#[derive(Debug, Error)]
pub enum VaultFault {
    /// No vault is set.
    #[error("no vault is set")]
    NotSet,
    /// The keys are refused.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// The gap limit is not possible.
    #[error("the gap limit lies between 1 and {WIDEST_GAP}")]
    Gap,
    /// bitcoind cannot be asked for an address: it is read block by block.
    #[error(
        "bitcoind is read block by block: say from which block on (“From block” on the page, --birthday in a \
         terminal). That is now, for keys that were never used; else the height of about when they were made; 0 reads \
         the whole chain, which takes hours"
    )]
    BirthdayNeeded,
    /// The chain does not fit what is known.
    #[error("{0}")]
    Chain(String),
    /// What was learnt is not readable.
    #[error("{0}")]
    Damaged(String),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the operator wants to have watched.
#[derive(Clone, Debug)]
pub struct VaultAsk {
    /// A descriptor, or an account's extended public key.
    pub key: String,
    /// What an xpub's addresses are.
    pub form: Option<Form>,
    /// How many unpaid addresses end a search, here and in the operator's own wallet.
    pub gap: u32,
    /// The height from which blocks are looked at; servers need none.
    pub birthday: Option<u32>,
}

/// What keys stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSketch {
    /// The descriptor of deposits.
    pub external: String,
    /// The descriptor of change.
    pub internal: Option<String>,
    /// `bip44`, `bip49`, `bip84`, `bip86` or `descriptor`.
    pub form: String,
    /// The deposit address with number 0, to compare with the operator's own wallet.
    pub first_address: String,
}

/// The vault at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VaultView {
    /// The descriptor of deposits.
    pub external: String,
    /// The descriptor of change.
    pub internal: Option<String>,
    /// `bip44`, `bip49`, `bip84`, `bip86` or `descriptor`.
    pub form: String,
    /// The deposit address with number 0, to compare with the operator's own wallet.
    pub first_address: String,
    /// How many unpaid addresses end a search.
    pub gap: u32,
    /// The height from which blocks are looked at.
    pub birthday: Option<u32>,
    /// When it was set.
    pub set_at: Timestamp,
    /// When its past was known for the first time.
    pub scanned_at: Option<Timestamp>,
    /// When the chain was last looked at with success.
    pub synced_at: Option<Timestamp>,
    /// The best block that is known.
    pub height: u32,
    /// Of a long search: the block that it is at, and the last one.
    pub searching: Option<(u32, u32)>,
    /// Why the last look failed.
    pub trouble: Option<String>,
    /// What it holds.
    pub balance: VaultBalance,
    /// The number of the next address to hand out.
    pub next_index: u32,
    /// Addresses handed out after the last one that was paid.
    pub unpaid: u32,
}

/// The vault, set or not.
pub struct Vault {
    ledger: Ledger,
    sources: Arc<Sources>,
    network: Network,
    clock: Arc<dyn Clock>,
    open: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    /// Counts how often a wallet was put here.
    turn: u64,
    open: Option<Open>,
}

/// A vault that is set.
struct Open {
    row: VaultRow,
    watched: Watched,
    synced_at: Option<Timestamp>,
    searching: Option<(u32, u32)>,
    trouble: Option<String>,
}

impl Open {
    fn gap(&self) -> usize {
        usize::try_from(self.row.vault.gap).unwrap_or(usize::MAX)
    }
}

impl Vault {
    /// Opens the vault that is set, if one is.
    ///
    /// # Errors
    /// When the ledger fails, or what was learnt is not readable.
    pub async fn open(
        ledger: Ledger,
        sources: Arc<Sources>,
        network: Network,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Vault>, VaultFault> {
        let (open, wake) = (Mutex::default(), Notify::new());
        let vault = Arc::new(Vault { ledger, sources, network, clock, open, wake });
        vault.reopen().await?;
        Ok(vault)
    }

    /// Takes the vault from the ledger anew.
    async fn reopen(&self) -> Result<(), VaultFault> {
        let open = match self.ledger.vault().await? {
            Some(row) => Some(self.load(row).await?),
            None => None,
        };
        let mut state = self.state();
        state.turn += 1;
        state.open = open;
        Ok(())
    }

    async fn load(&self, row: VaultRow) -> Result<Open, VaultFault> {
        let (network, gap) = (self.network, row.vault.gap);
        let changes = self.ledger.vault_changes(row.id).await?;
        let mut watched = match Watched::load(&changes, network, gap).map_err(VaultFault::Damaged)? {
            Some(watched) => watched,
            None => Watched::create(&row.vault.external, row.vault.internal.as_deref(), network, gap)
                .map_err(VaultFault::Damaged)?,
        };
        // The same key may have been set in another spelling before: what counts is the address itself.
        let mut given = self.ledger.all_vault_addresses().await?;
        // From the last one on: of the same key it is the only one that is derived for this.
        given.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        let last = given.iter().find(|(number, address)| watched.address_at(*number) == *address);
        if let Some((last, _)) = last {
            watched.handed_out_to(*last);
        }
        if let Some(change) = watched.take_change() {
            self.ledger.note_vault(&row, Some(change), Vec::new(), false).await?;
        } else if changes.len() > MOST_STEPS
            && let Some(sum) = Watched::sum(&changes)
        {
            self.ledger.fold_vault(row.id, sum).await?;
        }
        Ok(Open { row, watched, synced_at: None, searching: None, trouble: None })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the chain is read block by block at this moment, so that it must be said from where on.
    pub fn reads_blocks(&self) -> bool {
        matches!(self.sources.current(), ChainSource::Bitcoind { .. })
    }

    /// Whether it may be read so one day: bitcoind is among the sources.
    pub fn may_read_blocks(&self) -> bool {
        self.sources.config().sources.iter().any(|source| matches!(source, ChainSource::Bitcoind { .. }))
    }

    /// What would be watched; nothing is.
    ///
    /// # Errors
    /// When the keys are refused.
    pub fn sketch(&self, ask: &VaultAsk) -> Result<VaultSketch, VaultFault> {
        let Keys { external, internal, form } = Keys::read(&ask.key, ask.form, self.network)?;
        if !(1..=WIDEST_GAP).contains(&ask.gap) {
            return Err(VaultFault::Gap);
        }
        if self.reads_blocks() && ask.birthday.is_none() {
            return Err(VaultFault::BirthdayNeeded);
        }
        // Whatever the library would refuse, it refuses here.
        let watched = Watched::create(&external, internal.as_deref(), self.network, ask.gap)
            .map_err(|_| KeyFault::Descriptor("the wallet library refuses it"))?;
        Ok(VaultSketch { first_address: watched.address_at(0), external, internal, form: form.to_owned() })
    }

    /// Watches these keys from now on, in place of others.
    ///
    /// # Errors
    /// When the keys are refused, or the ledger fails; what was watched before stays then.
    pub async fn set(&self, ask: VaultAsk) -> Result<VaultView, VaultFault> {
        let VaultSketch { external, internal, form, .. } = self.sketch(&ask)?;
        let vault = NewVault { external, internal, form, gap: ask.gap, birthday: ask.birthday };
        self.ledger.set_vault(vault).await?;
        self.reopen().await?;
        self.wake.notify_one();
        self.view().ok_or(VaultFault::NotSet)
    }

    /// Watches nothing any more; gives whether something was watched.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn remove(&self) -> Result<bool, VaultFault> {
        let removed = self.ledger.remove_vault().await?;
        self.reopen().await?;
        Ok(removed)
    }

    /// The vault now, if one is set.
    pub fn view(&self) -> Option<VaultView> {
        let state = self.state();
        let Open { row, watched, synced_at, searching, trouble } = state.open.as_ref()?;
        let NewVault { external, internal, form, gap, birthday } = row.vault.clone();
        Some(VaultView {
            external,
            internal,
            form,
            first_address: watched.address_at(0),
            gap,
            birthday,
            set_at: row.set_at,
            scanned_at: row.scanned_at,
            synced_at: *synced_at,
            height: watched.0.latest_checkpoint().height(),
            searching: *searching,
            trouble: trouble.clone(),
            balance: watched.balance(),
            next_index: watched.next_index(),
            unpaid: watched.unpaid_run(),
        })
    }

    /// Every transaction of the vault, the newest first.
    ///
    /// # Errors
    /// When none is set.
    pub fn history(&self) -> Result<Vec<VaultEntry>, VaultFault> {
        Ok(self.state().open.as_ref().ok_or(VaultFault::NotSet)?.watched.history())
    }

    /// The addresses that were handed out, newest first, at most `limit`.
    ///
    /// # Errors
    /// When none is set, or the ledger fails.
    pub async fn addresses(&self, limit: u32) -> Result<Vec<VaultAddressRow>, VaultFault> {
        let id = self.state().open.as_ref().ok_or(VaultFault::NotSet)?.row.id;
        Ok(self.ledger.vault_addresses(id, limit).await?)
    }

    /// A fresh address for a deposit, as [`ColdStorage::address`].
    ///
    /// # Errors
    /// When there is none to give.
    pub async fn next_address(&self, deposit: &str) -> Result<ColdAddress, NoColdAddress> {
        let failed = |error: StoreError| NoColdAddress::Failed(error.to_string());
        let cold = |row: VaultAddressRow| ColdAddress { address: row.address, index: row.index };
        if !(1..=LONGEST_DEPOSIT).contains(&deposit.len()) {
            let why = format!("a deposit's name has 1 to {LONGEST_DEPOSIT} bytes");
            return Err(NoColdAddress::Failed(why));
        }
        let id = self.state().open.as_ref().ok_or(NoColdAddress::NotSet)?.row.id;
        if let Some(known) = self.ledger.vault_address(id, deposit).await.map_err(failed)? {
            return Ok(cold(known));
        }
        let (row, index, address, change) = {
            let mut state = self.state();
            let open = state.open.as_mut().ok_or(NoColdAddress::NotSet)?;
            if open.row.scanned_at.is_none() {
                return Err(NoColdAddress::NotSynced);
            }
            let gap = open.row.vault.gap;
            let (index, address) = open.watched.hand_out(gap).ok_or(NoColdAddress::Gap { gap })?;
            (open.row.clone(), index, address, open.watched.take_change())
        };
        let given = self.ledger.give_vault_address(&row, index, address, deposit, change).await;
        self.wake.notify_one();
        given.map(cold).map_err(failed)
    }

    /// Has the chain looked at now.
    pub fn look_now(&self) {
        self.wake.notify_one();
    }

    /// Follows the chain until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut source = self.sources.watch();
        let (mut memory, mut looks, mut turn) = (Memory::default(), 0, 0);
        let every = if self.network == Network::Regtest { EVERY_ON_REGTEST } else { EVERY };
        loop {
            let look = {
                let state = self.state();
                state.open.as_ref().map(|open| (state.turn, open.row.scanned_at.is_none()))
            };
            if let Some((now, unscanned)) = look {
                if now != turn {
                    (memory, looks, turn) = (Memory::default(), 0, now);
                }
                let whole = unscanned || looks % WHOLE_EVERY == 0;
                let look = Look::new(&self, turn);
                let looked = stop.run_until_cancelled(async {
                    let current = self.sources.current().clone();
                    look.end(sync::look(&look, &current, whole, &mut memory).await);
                });
                if looked.await.is_none() {
                    return;
                }
                looks = looks.wrapping_add(1);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                _ = source.changed() => memory = Memory::default(),
                () = tokio::time::sleep(every) => {}
            }
        }
    }
}

impl ColdStorage for Vault {
    fn address(&self, deposit: &str) -> BoxFuture<'_, Result<ColdAddress, NoColdAddress>> {
        let deposit = deposit.to_owned();
        Box::pin(async move { self.next_address(&deposit).await })
    }
}

#[cfg(test)]
mod tests;
