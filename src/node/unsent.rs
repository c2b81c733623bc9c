//! Transactions that the library could not hand to its chain source.
//!
//! The library tries once. When the source does not answer in that moment, it forgets a transaction that it makes
//! only once: an agreed close (BOLT 2, `closing_signed`), a channel's funding, what the wallet sends. The bytes stand
//! in its log, and only there; so they are taken from it, kept on the disk, and handed over by us.
//!
//! Invariants: what is here was made and signed by the library to be published now, and the library counts on it;
//! each stays until a source has it, or refuses it for a reason that time does not mend.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::consensus::encode::{deserialize, deserialize_hex, serialize};
use bitcoin::{Transaction, Txid};
use tokio::sync::Notify;

use super::LightningNode;
use crate::chain::{Published, publish};
use crate::ports::{KeyValue, KvKey, UnsentView};

/// How the library's record with a transaction's bytes begins, and where it comes from (`chain/*.rs`, three places).
const TOLD: &str = "Failed broadcast transaction bytes: ";
const TELLER: &str = "ldk_node::chain";

/// Our own namespace beside the library's.
const NAMESPACE: &str = "tollhouse_unsent";

/// Claims that fees outbid are told again and again while a source is away: the oldest go first.
const MOST: usize = 200;

/// So often it is tried while something waits.
const AGAIN: Duration = Duration::from_secs(10);

/// One that waits.
#[derive(Clone, Debug)]
struct Waiting {
    transaction: Transaction,
    /// The order in which they came.
    number: u64,
    why: String,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<Txid, Waiting>,
    next: u64,
}

/// The transactions that wait, and where they are kept.
#[derive(Default)]
pub(super) struct Unsent {
    store: Option<Arc<dyn KeyValue>>,
    state: Mutex<State>,
    came: Notify,
}

impl Unsent {
    /// Kept in `store`.
    pub(super) fn kept_in(store: Arc<dyn KeyValue>) -> Unsent {
        Unsent { store: Some(store), ..Unsent::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what an earlier run left.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn load(&self) -> io::Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        for key in store.list(NAMESPACE, "")? {
            let at = KvKey { primary: NAMESPACE, secondary: "", key: &key };
            let Some(bytes) = store.read(&at)? else { continue };
            match deserialize(&bytes) {
                Ok(transaction) => {
                    self.add(transaction, "it was not tried since the start");
                }
                Err(error) => tracing::error!(%error, txid = key, "a transaction that waits cannot be read"),
            }
        }
        Ok(())
    }

    /// Whether a record of the library's may tell of one.
    pub(super) fn may_tell(&self, module: &str) -> bool {
        self.store.is_some() && module.starts_with(TELLER)
    }

    /// Takes in a record of the library's log.
    pub(super) fn told(&self, text: &str) {
        let Some(hex) = text.strip_prefix(TOLD) else { return };
        let Ok(transaction) = deserialize_hex::<Transaction>(hex.trim()) else {
            tracing::error!("the library told of a transaction that it could not publish, in unknown words");
            return;
        };
        let (txid, bytes) = (transaction.compute_txid(), serialize(&transaction));
        if !self.add(transaction, "the chain source did not answer") {
            return;
        }
        if let Some(store) = &self.store {
            let (key, oldest) = (txid.to_string(), self.too_many());
            let at = KvKey { primary: NAMESPACE, secondary: "", key: &key };
            if let Err(error) = store.write(&at, &bytes) {
                tracing::error!(%error, %txid, "a transaction that waits could not be kept: it is tried until the stop");
            }
            for txid in oldest {
                tracing::warn!(%txid, "too many transactions wait for the chain source: the oldest is let go");
                self.forget(txid);
            }
        }
        self.came.notify_one();
    }

    /// Whether it was not there before.
    fn add(&self, transaction: Transaction, why: &str) -> bool {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let txid = transaction.compute_txid();
        let mut is_new = false;
        state.waiting.entry(txid).or_insert_with(|| {
            is_new = true;
            Waiting { transaction, number, why: why.to_owned() }
        });
        is_new
    }

    /// The oldest of more than there may be.
    fn too_many(&self) -> Vec<Txid> {
        let more = self.state().waiting.len().saturating_sub(MOST);
        self.in_order().into_iter().take(more).map(|one| one.compute_txid()).collect()
    }

    fn in_order(&self) -> Vec<Transaction> {
        let mut all: Vec<Waiting> = self.state().waiting.values().cloned().collect();
        all.sort_by_key(|one| one.number);
        all.into_iter().map(|one| one.transaction).collect()
    }

    fn waits_because(&self, txid: Txid, why: String) {
        if let Some(waiting) = self.state().waiting.get_mut(&txid) {
            waiting.why = why;
        }
    }

    fn forget(&self, txid: Txid) {
        self.state().waiting.remove(&txid);
        let key = txid.to_string();
        let gone = self
            .store
            .as_ref()
            .map(|store| store.remove(&KvKey { primary: NAMESPACE, secondary: "", key: &key }));
        if let Some(Err(error)) = gone {
            // It is asked about once more after the next start, and a source that has it says so.
            tracing::warn!(%error, %txid, "a transaction that waits no more could not be taken off the disk");
        }
    }

    /// What a source said to it: whether it waits on.
    fn heard(&self, transaction: &Transaction, said: Published) {
        let txid = transaction.compute_txid();
        let after_another = || {
            transaction
                .input
                .iter()
                .any(|input| self.state().waiting.contains_key(&input.previous_output.txid))
        };
        match said {
            Published::Taken => {
                tracing::info!(%txid, "a transaction was handed to the chain source that could not be handed to it before");
                self.forget(txid);
            }
            Published::NotNow(why) => self.waits_because(txid, why),
            Published::Inputs(why) if after_another() => self.waits_because(txid, why),
            // Such as a claim that another one took the place of, or a close that the other side was faster with.
            Published::Inputs(why) | Published::Refused(why) => {
                tracing::warn!(%txid, why, "the chain source refuses a transaction that could not be handed to it before");
                self.forget(txid);
            }
        }
    }

    /// Whether it waits.
    pub(super) fn has(&self, txid: Txid) -> bool {
        self.state().waiting.contains_key(&txid)
    }

    /// For whoever looks.
    pub(super) fn view(&self) -> Vec<UnsentView> {
        let mut all: Vec<Waiting> = self.state().waiting.values().cloned().collect();
        all.sort_by_key(|one| one.number);
        let view = |one: Waiting| UnsentView {
            txid: one.transaction.compute_txid().to_string(),
            spends: one.transaction.input.iter().map(|input| input.previous_output.to_string()).collect(),
            why: one.why,
        };
        all.into_iter().map(view).collect()
    }
}

impl LightningNode {
    /// Reads what an earlier run could not hand over.
    pub(super) async fn load_unsent(&self) {
        let unsent = Arc::clone(&self.unsent);
        match tokio::task::spawn_blocking(move || unsent.load()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "what waits for the chain source could not be read"),
            Err(error) => {
                tracing::error!(%error, "the reading of what waits for the chain source was cut off")
            }
        }
    }

    /// Hands what waits to the source in use, as far as it answers.
    pub(super) async fn hand_over(&self) {
        for transaction in self.unsent.in_order() {
            match publish(self.sources.current(), &transaction).await {
                Ok(said) => {
                    let unsent = Arc::clone(&self.unsent);
                    if let Err(error) =
                        tokio::task::spawn_blocking(move || unsent.heard(&transaction, said)).await
                    {
                        tracing::error!(%error, "what became of a transaction could not be noted");
                    }
                }
                Err(why) => {
                    self.unsent.waits_because(
                        transaction.compute_txid(),
                        format!("the chain source does not answer: {why}"),
                    );
                    return;
                }
            }
        }
    }

    /// Hands over what comes to wait, until it is done.
    pub(super) async fn keep_handing_over(&self) {
        loop {
            if self.unsent.state().waiting.is_empty() {
                self.unsent.came.notified().await;
            } else {
                tokio::select! {
                    () = self.unsent.came.notified() => {}
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
            self.hand_over().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::encode::serialize_hex;
    use bitcoin::{OutPoint, TxIn};

    use super::*;
    use crate::store::NodeStore;

    fn spending(outpoint: OutPoint) -> Transaction {
        Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: bitcoin::absolute::LockTime::ZERO,
            input: vec![TxIn { previous_output: outpoint, ..TxIn::default() }],
            output: vec![bitcoin::TxOut::minimal_non_dust(bitcoin::ScriptBuf::new())],
        }
    }

    fn told(unsent: &Unsent, transaction: &Transaction) -> Txid {
        unsent.told(&format!("{TOLD}{}", serialize_hex(transaction)));
        transaction.compute_txid()
    }

    #[test]
    fn one_waits_over_a_restart_until_a_source_has_it_or_never_will() {
        let folder = tempfile::tempdir().expect("a directory");
        let store = || -> Arc<dyn KeyValue> {
            Arc::new(NodeStore::open(&folder.path().join("channels.db")).expect("a store"))
        };
        let waiting = |unsent: &Unsent| unsent.view().into_iter().map(|one| one.txid).collect::<Vec<_>>();
        let first = spending(OutPoint::null());
        let child = spending(OutPoint::new(first.compute_txid(), 0));
        let unsent = Unsent::kept_in(store());
        assert!(unsent.may_tell("ldk_node::chain::bitcoind") && !unsent.may_tell("lightning::ln::channel"));
        unsent.told("Successfully broadcast transaction 00");
        unsent.told(&format!("{TOLD}zz"));
        let ids =
            [told(&unsent, &first), told(&unsent, &child), told(&unsent, &first)].map(|id| id.to_string());
        assert_eq!(waiting(&unsent), ids[..2], "each once, in the order in which they came");
        assert_eq!(unsent.view()[1].spends, [format!("{}:0", ids[0])]);
        drop(unsent);

        let unsent = Unsent::kept_in(store());
        unsent.load().expect("it is read");
        assert_eq!(waiting(&unsent).len(), 2, "over a restart");
        unsent.heard(&child, Published::Inputs("bad-txns-inputs-missingorspent".to_owned()));
        unsent.heard(&first, Published::NotNow("mempool min fee not met".to_owned()));
        assert_eq!(waiting(&unsent).len(), 2, "the one waits for the other, and that for a lower fee");
        assert!(unsent.view().iter().any(|one| one.why == "mempool min fee not met"));
        unsent.heard(&first, Published::Taken);
        assert_eq!(waiting(&unsent), ids[1..2]);
        unsent.heard(&child, Published::Inputs("bad-txns-inputs-missingorspent".to_owned()));
        assert!(waiting(&unsent).is_empty(), "what it spends is spent");
        drop(unsent);
        let unsent = Unsent::kept_in(store());
        unsent.load().expect("it is read");
        assert!(waiting(&unsent).is_empty(), "nothing is left on the disk");
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let folder = tempfile::tempdir().expect("a directory");
        let store = NodeStore::open(&folder.path().join("channels.db")).expect("a store");
        let unsent = Unsent::kept_in(Arc::new(store));
        let all: Vec<Txid> = (0..=u32::try_from(MOST).expect("small"))
            .map(|vout| told(&unsent, &spending(OutPoint { vout, ..OutPoint::null() })))
            .collect();
        let kept = unsent.view();
        assert_eq!(kept.len(), MOST);
        assert!(kept.iter().all(|one| one.txid != all[0].to_string()), "the first one was let go");
    }
}
