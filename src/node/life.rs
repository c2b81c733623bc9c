//! The node's life: it comes up on a chain source that answers, moves to another one when that stays
//! silent, and is stopped in order.
//!
//! Invariant: an engine is stopped, and what is left of its threads can write nothing more, before the next one is
//! built on the same store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, EngineFault};
use super::fallback::{Fallback, Move, Seen, Why};
use super::{ChainSeen, LightningNode, NodeState, engine};
use crate::chain::{SourceFault, check};

/// The channels' capacities are read anew this often, and on every channel event.
const DOORS_REFRESH: Duration = Duration::from_secs(1);

/// Waits between two tries to come up: doubled each time, up to a minute.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// So many tries are the preferred source's alone before any other one is tried: what starts together
/// with us needs a moment.
const PREFERRED_TRIES: u32 = 3;

/// How often an unreadable channel state is tried again (MONEY rule 15): the order in which LDK
/// reads its maps differs by try, and some orders load what others do not.
const UNREADABLE_TRIES: u32 = 5;

/// The result of one try to come up.
enum Try {
    Up,
    /// Later.
    Wait(String),
    /// Never by itself.
    Never(String),
}

impl LightningNode {
    /// Brings the node up and keeps it, on one chain source or another, until `stop`; then stops it in order.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut fallback = Fallback::new(self.sources.config());
        self.load_unsent().await;
        while self.bring_up(&stop).await {
            fallback.is_on(self.sources.position());
            self.state.send_replace(NodeState::Running);
            let moved = tokio::select! {
                () = stop.cancelled() => None,
                () = self.keep_doors() => None,
                () = self.keep_handing_over() => None,
                moved = self.watch_chain(&mut fallback) => Some(moved),
            };
            let Some(moved) = moved else { break };
            self.leave(moved).await;
        }
        self.stop_engine().await;
        self.state.send_if_modified(|state| {
            let failed = matches!(state, NodeState::Failed(_));
            if !failed {
                *state = NodeState::Stopped;
            }
            !failed
        });
    }

    async fn leave(&self, Move { to, why }: Move) {
        let from = self.sources.current();
        let what = match why {
            Why::Silent => format!("the chain source {from} does not answer"),
            Why::Stuck => format!("nothing was heard of the chain from {from}"),
            Why::Login => format!("{from} was started anew, and has another cookie"),
            Why::Back => format!("{} answers again", self.sources.config().sources[to]),
        };
        self.sources.choose(to);
        let to = self.sources.current();
        tracing::warn!(reason = %what, %to, "the node is built anew on a chain source");
        self.state.send_replace(NodeState::Starting(format!("{what}; it moves to {to}")));
        self.stop_engine().await;
    }

    async fn stop_engine(&self) {
        self.usable.store(false, Ordering::Release);
        let engine = self.engine.send_replace(None);
        if let Some(engine) = engine {
            engine.stop().await;
        }
    }

    /// Tries until the engine runs; false when it never will or `stop` came first.
    async fn bring_up(self: &Arc<Self>, stop: &CancellationToken) -> bool {
        if matches!(*self.state.borrow(), NodeState::Failed(_)) {
            return false;
        }
        let (mut wait, mut tries, mut unreadable) = (FIRST_WAIT, 0, 0);
        loop {
            let why = match self.try_sources(tries, &mut unreadable, stop).await {
                Some(Try::Up) => return true,
                Some(Try::Never(why)) => return self.give_up(why),
                Some(Try::Wait(why)) => why,
                None => return false,
            };
            tries += 1;
            tracing::warn!(reason = %why, retry_in_ms = wait.as_millis(), "the node is not up yet");
            self.state.send_replace(NodeState::Starting(why));
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
            }
        }
    }

    /// One try: the source in use, and after some tries the others in their order. Nothing when `stop` came.
    async fn try_sources(
        self: &Arc<Self>,
        tries: u32,
        unreadable: &mut u32,
        stop: &CancellationToken,
    ) -> Option<Try> {
        let current = self.sources.position();
        let others = (0..self.sources.config().sources.len()).filter(|position| *position != current);
        let others = others.filter(|_| tries >= PREFERRED_TRIES);
        let (mut first, mut all_wrong) = (None, true);
        for position in std::iter::once(current).chain(others) {
            // Cut short only while the source is asked: an engine that has begun to start is waited for,
            // so that it can be stopped in order.
            match stop.run_until_cancelled(self.ask_source(position)).await? {
                Ok(()) => {}
                Err(fault) => {
                    all_wrong &= matches!(fault, SourceFault::WrongNetwork { .. });
                    first.get_or_insert(fault.to_string());
                    continue;
                }
            }
            self.sources.choose(position);
            stop.run_until_cancelled(self.hand_over_first()).await?;
            match self.start_engine().await {
                Ok(()) => return Some(Try::Up),
                Err(EngineFault::Setting(why)) => return Some(Try::Never(why)),
                Err(fault @ EngineFault::Unreadable) => {
                    *unreadable += 1;
                    if *unreadable >= UNREADABLE_TRIES {
                        let advice = "keep channels.db as it is, stop the appliance and run `tollhouse recover`: it brings the \
                                      coins home from the channels' monitors";
                        return Some(Try::Never(format!("{fault} in {UNREADABLE_TRIES} tries: {advice}")));
                    }
                    if *unreadable == 1 {
                        self.keep_copy().await;
                    }
                    return Some(Try::Wait(fault.to_string()));
                }
                Err(fault @ EngineFault::Passing(_)) => {
                    all_wrong = false;
                    first.get_or_insert(fault.to_string());
                }
            }
        }
        let why = first.unwrap_or_default();
        let only = self.sources.config().sources.len() == 1 || tries >= PREFERRED_TRIES;
        Some(if all_wrong && only { Try::Never(why) } else { Try::Wait(why) })
    }

    pub(super) fn give_up(&self, why: String) -> bool {
        tracing::error!(reason = %why, "the node will not come up by itself");
        self.state.send_replace(NodeState::Failed(why));
        false
    }

    /// Before anything is tried on it, the channel state is copied as it is (MONEY rule 15).
    async fn keep_copy(&self) {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || store.keep_copy()).await {
            Ok(Ok(copy)) => tracing::warn!(copy = %copy.display(), "the channel state was copied as it is"),
            Ok(Err(error)) => tracing::error!(%error, "the channel state could not be copied"),
            Err(error) => tracing::error!(%error, "the copy of the channel state was cut off"),
        }
    }

    /// Before the node is built: one that is built while its bitcoind is down takes genesis for its wallet's
    /// birthday, and one started while its fee source is down fails to start (LDK.md).
    async fn ask_source(&self, position: usize) -> Result<(), SourceFault> {
        check(&self.sources.config().sources[position], self.config.network).await
    }

    async fn start_engine(self: &Arc<Self>) -> Result<(), EngineFault> {
        let this = Arc::clone(self);
        // A plain thread: the library blocks on whatever runtime its caller is in.
        let started = tokio::task::spawn_blocking(move || {
            std::thread::scope(|scope| {
                let source = this.sources.current();
                let (store, unsent) = (Arc::clone(&this.store), Arc::clone(&this.unsent));
                let engine = scope.spawn(|| Engine::start(&this.config, source, &this.seed, store, unsent));
                // The library asserts on channel state that it cannot make sense of (two claims of one
                // payment hash, seen after kills): not a thing to try for ever.
                engine.join().unwrap_or(Err(EngineFault::Unreadable))
            })
        });
        let engine =
            started.await.map_err(|_| EngineFault::Passing("the start was cut off".to_owned()))??;
        self.engine.send_replace(Some(Arc::new(engine)));
        self.refresh_doors().await;
        self.usable.store(true, Ordering::Release);
        Ok(())
    }

    async fn keep_doors(&self) {
        loop {
            tokio::select! {
                () = self.doors_changed.notified() => {}
                () = tokio::time::sleep(DOORS_REFRESH) => {}
            }
            self.refresh_doors().await;
        }
    }

    pub(super) async fn refresh_doors(&self) {
        if let Ok(doors) = self.call(engine::doors).await {
            self.minter.refresh(doors);
        }
    }

    /// Asks the sources turn by turn, until the node shall move.
    async fn watch_chain(&self, fallback: &mut Fallback) -> Move {
        let stale_after = self.sources.config().stale_after;
        let login = self.engine.borrow().as_ref().and_then(|engine| engine.login());
        loop {
            let turn = fallback.turn();
            let asked = (0..self.sources.config().sources.len()).map(|position| {
                let asks = fallback.asks(position);
                async move {
                    if !asks {
                        return None;
                    }
                    let answer = tokio::time::timeout(turn, self.ask_source(position)).await;
                    Some(matches!(answer, Ok(Ok(()))))
                }
            });
            let (answers, ()) = tokio::join!(join_all(asked), tokio::time::sleep(turn));
            let synced_at = self.call(|node| node.status().latest_lightning_wallet_sync_timestamp).await;
            let login_now = self.sources.current().login_mark();
            let login_changed = login.is_some() && login_now.is_some() && login_now != login;
            let seen = Seen { answers, synced_at: synced_at.ok().flatten(), login_changed };
            let moved = fallback.turned(turn, &seen);
            let unheard_for = fallback.unheard_for();
            // What is locked in on a chain that we do not see could be taken back in time.
            self.usable.store(unheard_for < stale_after, Ordering::Release);
            self.chain_seen.send_replace(ChainSeen { unheard_for, answers: seen.answers });
            if let Some(moved) = moved {
                return moved;
            }
        }
    }
}
