//! The wallet library behind one vault: it knows public keys only, so it can look and never spend.

use std::sync::Arc;

use bdk_wallet::chain::{BlockId, CheckPoint, ConfirmationBlockTime, Merge, TxUpdate};
use bdk_wallet::{ChangeSet, KeychainKind, Update, Wallet};
use bitcoin::{Block, Network, OutPoint, ScriptBuf, Transaction};
use schemars::JsonSchema;
use serde::Serialize;

use crate::event::Event;

const DEPOSITS: KeychainKind = KeychainKind::External;
#[cfg(test)]
const CHANGE: KeychainKind = KeychainKind::Internal;

/// What the vault holds, satoshi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VaultBalance {
    /// Confirmed.
    pub confirmed_sat: u64,
    /// Seen, and not confirmed yet.
    pub pending_sat: u64,
}

/// One transaction of the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VaultEntry {
    /// Its id.
    pub txid: String,
    /// What came in, satoshi.
    pub received_sat: u64,
    /// What went out, satoshi.
    pub sent_sat: u64,
    /// The block that it is in.
    pub height: Option<u32>,
    /// Unix seconds: of its block, or when it was first seen.
    pub time: Option<u64>,
    /// Numbers of the deposit addresses that it pays.
    pub pays: Vec<u32>,
}

/// A wallet without private keys.
pub(super) struct Watched(pub(super) Wallet);

impl Watched {
    /// A wallet that knows nothing yet.
    pub(super) fn create(
        external: &str,
        internal: Option<&str>,
        network: Network,
        gap: u32,
    ) -> Result<Watched, String> {
        let params = match internal {
            Some(internal) => Wallet::create(external.to_owned(), internal.to_owned()),
            None => Wallet::create_single(external.to_owned()),
        };
        let wallet = params.network(network).lookahead(lookahead(gap)).create_wallet_no_persist();
        // The library's words could hold a key.
        wallet.map(Watched).map_err(|_| "the wallet library refuses the descriptor".to_owned())
    }

    /// A wallet with what was learnt, the sum of `changes`; none when there are none.
    pub(super) fn load(changes: &[Vec<u8>], network: Network, gap: u32) -> Result<Option<Watched>, String> {
        let sum = add_up(changes)?;
        let loaded =
            Wallet::load().check_network(network).lookahead(lookahead(gap)).load_wallet_no_persist(sum);
        let damaged = |error| format!("what was learnt of the vault does not fit together: {error}");
        loaded.map(|wallet| wallet.map(Watched)).map_err(damaged)
    }

    /// Many changes as one.
    pub(super) fn sum(changes: &[Vec<u8>]) -> Option<Vec<u8>> {
        serde_json::to_vec(&add_up(changes).ok()?).ok()
    }

    /// What changed since the last call, to be stored.
    pub(super) fn take_change(&mut self) -> Option<Vec<u8>> {
        let change = self.0.take_staged()?;
        Some(serde_json::to_vec(&change).expect("numbers, scripts and transactions are JSON"))
    }

    /// The deposit address with a number.
    pub(super) fn address_at(&self, index: u32) -> String {
        self.0.peek_address(DEPOSITS, index).address.to_string()
    }

    /// The change address with a number, where change has addresses of its own.
    #[cfg(test)]
    pub(super) fn change_address_at(&self, index: u32) -> Option<String> {
        let has_change = self.0.keychains().any(|(keychain, _)| keychain == CHANGE);
        has_change.then(|| self.0.peek_address(CHANGE, index).address.to_string())
    }

    /// The next deposit address that was neither handed out nor paid, now handed out. None when `gap`
    /// addresses in a row are handed out and not paid.
    pub(super) fn hand_out(&mut self, gap: u32) -> Option<(u32, String)> {
        if self.next_index().saturating_sub(self.first_unpaid_of_run()) >= gap {
            return None;
        }
        let address = self.0.reveal_next_address(DEPOSITS);
        Some((address.index, address.address.to_string()))
    }

    /// Marks everything up to a number as handed out.
    pub(super) fn handed_out_to(&mut self, index: u32) {
        let _ = self.0.reveal_addresses_to(DEPOSITS, index).count();
    }

    /// The number of the next address to hand out.
    pub(super) fn next_index(&self) -> u32 {
        self.0.next_derivation_index(DEPOSITS)
    }

    /// The first number after the last address that was paid.
    fn first_unpaid_of_run(&self) -> u32 {
        self.0.spk_index().last_used_index(DEPOSITS).map_or(0, |last| last.saturating_add(1))
    }

    /// How many addresses are handed out after the last one that was paid.
    pub(super) fn unpaid_run(&self) -> u32 {
        self.next_index().saturating_sub(self.first_unpaid_of_run())
    }

    pub(super) fn balance(&self) -> VaultBalance {
        let balance = self.0.balance();
        VaultBalance {
            confirmed_sat: balance.confirmed.to_sat().saturating_add(balance.immature.to_sat()),
            pending_sat: balance.trusted_pending.to_sat().saturating_add(balance.untrusted_pending.to_sat()),
        }
    }

    /// Every transaction, the newest first.
    pub(super) fn history(&self) -> Vec<VaultEntry> {
        let mut entries: Vec<VaultEntry> = self
            .0
            .transactions()
            .map(|tx| {
                let (sent, received) = self.0.sent_and_received(&tx.tx_node.tx);
                let confirmed = tx.chain_position.confirmation_height_upper_bound();
                let time = match tx.chain_position {
                    bdk_wallet::chain::ChainPosition::Confirmed { anchor, .. } => {
                        Some(anchor.confirmation_time)
                    }
                    bdk_wallet::chain::ChainPosition::Unconfirmed { first_seen, .. } => first_seen,
                };
                VaultEntry {
                    txid: tx.tx_node.txid.to_string(),
                    received_sat: received.to_sat(),
                    sent_sat: sent.to_sat(),
                    height: confirmed,
                    time,
                    pays: self.deposits_in(&tx.tx_node.tx),
                }
            })
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse((entry.height.unwrap_or(u32::MAX), entry.time)));
        entries
    }

    fn deposits_in(&self, tx: &Transaction) -> Vec<u32> {
        let ours = |script: &ScriptBuf| match self.0.derivation_of_spk(script.clone()) {
            Some((DEPOSITS, index)) => Some(index),
            _ => None,
        };
        tx.output.iter().filter_map(|output| ours(&output.script_pubkey)).collect()
    }

    /// Whether a transaction pays or spends something of the vault.
    pub(super) fn concerns(&self, tx: &Transaction) -> bool {
        let index = self.0.spk_index();
        let ours = |outpoint: &OutPoint| index.txout(*outpoint).is_some();
        tx.input.iter().any(|input| ours(&input.previous_output))
            || tx.output.iter().any(|output| index.index_of_spk(output.script_pubkey.clone()).is_some())
    }

    /// Takes in the block `at`, above `base`, which is known. `above` is a higher block of the same chain, for the
    /// library lets go of a block that was taken back only for another one at its height.
    pub(super) fn connect(
        &mut self,
        block: &Block,
        base: BlockId,
        at: BlockId,
        above: Option<BlockId>,
    ) -> Result<(), ()> {
        let chain = CheckPoint::from_block_ids([base, at].into_iter().chain(above)).map_err(|_| ())?;
        self.0.apply_update(Update { chain: Some(chain), ..Update::default() }).map_err(|_| ())?;
        let confirmation_time = block.header.time.into();
        // One by one: a later one may spend what an earlier one paid.
        for tx in &block.txdata {
            if self.concerns(tx) {
                let anchor = ConfirmationBlockTime { block_id: at, confirmation_time };
                let mut tx_update = TxUpdate::default();
                tx_update.anchors.insert((anchor, tx.compute_txid()));
                tx_update.txs.push(Arc::new(tx.clone()));
                self.0.apply_update(Update { tx_update, ..Update::default() }).map_err(|_| ())?;
            }
        }
        Ok(())
    }

    /// What to tell of the entries that `before` did not have, or had without a block.
    pub(super) fn news(&self, before: &[VaultEntry]) -> Vec<Event> {
        let mut news: Vec<Event> = self
            .history()
            .into_iter()
            .filter(|entry| {
                let known = before.iter().find(|known| known.txid == entry.txid);
                known.is_none_or(|known| known.height != entry.height)
            })
            .map(|VaultEntry { txid, received_sat, sent_sat, height, .. }| Event::VaultMoved {
                txid,
                received_sat,
                sent_sat,
                height,
            })
            .collect();
        news.reverse();
        news
    }
}

fn add_up(changes: &[Vec<u8>]) -> Result<ChangeSet, String> {
    let mut sum = ChangeSet::default();
    for change in changes {
        let change: ChangeSet = serde_json::from_slice(change)
            .map_err(|error| format!("what was learnt of the vault cannot be read: {error}"))?;
        sum.merge(change);
    }
    Ok(sum)
}

/// How many scripts beyond the last one handed out are looked for.
fn lookahead(gap: u32) -> u32 {
    gap.saturating_add(5)
}
