//! Hands to the chain source what the library could not (`unsent`), again and again.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Txid;

use super::LightningNode;
use super::unsent::{Stands, Unsent, Waiting};
use crate::chain::{MOST_BLOCKS, Published, Spent, publish, spent, spent_before};
use crate::types::Timestamp;

/// So often it is tried while no source was reached.
const AGAIN: Duration = Duration::from_secs(10);
/// So often a source is asked again that was reached: what it refused it may take, and what it took it may have lost.
const SLOWLY: Duration = Duration::from_secs(10 * 60);
/// After so many that it did not answer to, the source is away.
const AWAY: usize = 3;
/// The start waits for it so long.
const AT_THE_START: Duration = Duration::from_secs(30);
/// A block so deep is not taken back.
const DEEP: u32 = 6;
/// From so many blocks ago it is looked for what spent the inputs of one whose time was not noted.
const UNNOTED: u32 = 144;

/// What was found out about one that no source takes.
enum Rival {
    /// It is in a block, or another one that spends the same is deep in the chain.
    InBlock(Txid),
    /// Another one that spends the same waits for a block, or is not deep yet.
    Waits,
    /// None that the source knows.
    Unseen,
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

    /// All that wait, once, before the library starts: it would close by force what it agreed to close and finds open.
    pub(super) async fn hand_over_first(&self) {
        if tokio::time::timeout(AT_THE_START, self.hand_over(true)).await.is_err() {
            tracing::warn!("the chain source was slow to take what waited for it; it is tried again");
        }
    }

    /// Hands over what comes to wait, for ever.
    pub(super) async fn keep_handing_over(&self) {
        loop {
            self.unsent.some().await;
            self.hand_over(false).await;
            tokio::select! {
                () = self.unsent.another() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// Hands over what is due, or `all`.
    async fn hand_over(&self, all: bool) {
        self.unsent.drop_hopeless();
        let mut silent = 0;
        for one in self.unsent.in_order() {
            if !all && one.due > self.clock.now() {
                continue;
            }
            let said = publish(self.sources.current(), &one.transaction).await;
            let height = self.call(|node| node.status().current_best_block.height).await.ok();
            silent += usize::from(said.is_err());
            match said {
                Ok(said) => self.heard(&one, said, height).await,
                // What a source has, it may have still.
                Err(_) if matches!(one.stands, Stands::Taken | Stands::Outbid) => {}
                Err(why) => {
                    let stands = Stands::Away(format!("the chain source does not answer: {why}"));
                    self.note(one.txid(), stands, self.clock.now(), first_look(&one, height)).await;
                }
            }
            if silent == AWAY {
                return;
            }
        }
    }

    /// What a source said to one, at the node's height.
    async fn heard(&self, one: &Waiting, said: Published, height: Option<u32>) {
        let (txid, now) = (one.txid(), self.clock.now());
        match said {
            Published::InBlock => self.ended(one, txid).await,
            Published::Taken => {
                if one.stands != Stands::Taken {
                    tracing::info!(%txid, "a chain source has a transaction that could not be handed over before");
                }
                self.note(txid, Stands::Taken, now.plus(SLOWLY), first_look(one, height)).await;
            }
            Published::Refused(words) => {
                let (rival, looked) = self.rival(one, height).await;
                let parent = self.unsent.parent(one);
                let stands = match rival {
                    Rival::InBlock(by) => return self.ended(one, by).await,
                    Rival::Waits => Stands::Outbid,
                    Rival::Unseen if parent == Some(Stands::Outbid) => Stands::Outbid,
                    Rival::Unseen => Stands::Refused(words),
                };
                // Before the node says its height, not all was looked at. As soon as a source has what this one spends of,
                // it may take this one. And what is refused for the first time is asked about again: a block that came
                // while its rival was looked for may have that.
                let first = matches!(stands, Stands::Refused(_)) && !matches!(one.stands, Stands::Refused(_));
                let hangs = matches!(parent, Some(Stands::Away(_) | Stands::Refused(_)));
                let due = if first || hangs || height.is_none() { now } else { now.plus(SLOWLY) };
                self.note(txid, stands, due, looked).await;
            }
        }
    }

    /// What of the chain spends what `one` spends, and up to where it was looked. Nothing is known before the node says
    /// its height.
    async fn rival(&self, one: &Waiting, height: Option<u32>) -> (Rival, Option<u32>) {
        let Some(height) = height else { return (Rival::Unseen, None) };
        let from = if one.looked == 0 { height.saturating_sub(UNNOTED) } else { one.looked };
        let (mut waits, mut all_asked, mut reached) = (false, true, height);
        for spends in one.spends() {
            let source = self.sources.current();
            let told = match spent(source, spends, from).await {
                // It was spent while this node was off, as by the other node's close.
                Ok(Spent::Somewhere) if one.looked == 0 => spent_before(source, spends, from).await,
                told => told,
            };
            let spend = match told {
                Ok(Spent::By(spend)) => spend,
                Ok(_) => {
                    reached = from.saturating_add(MOST_BLOCKS).min(height);
                    continue;
                }
                Err(_) => {
                    all_asked = false;
                    continue;
                }
            };
            let ours = spend.txid == one.txid();
            match spend.height {
                // Ours comes back by itself when its block is taken back; before another one's is deep, ours may have to.
                Some(at) if ours || at.saturating_add(DEEP) <= height.saturating_add(1) => {
                    return (Rival::InBlock(spend.txid), None);
                }
                // What spends another of its outputs may be deep all the same.
                _ => waits |= !ours,
            }
        }
        // The last blocks are looked at again: they may be taken back, and the node may be behind its source. So is what
        // a source did not say.
        let looked = match all_asked {
            true => Some(reached.saturating_sub(DEEP)),
            false => Some(one.looked).filter(|looked| *looked > 0),
        };
        (if waits { Rival::Waits } else { Rival::Unseen }, looked)
    }

    /// Notes how one stands.
    async fn note(&self, txid: Txid, stands: Stands, due: Timestamp, looked: Option<u32>) {
        self.on_disk(move |unsent| unsent.stands(txid, stands, due, looked)).await;
    }

    /// It is in a block, or what took its place.
    async fn ended(&self, one: &Waiting, by: Txid) {
        let txid = one.txid();
        tracing::info!(%txid, %by, "what a transaction spends that could not be handed over is spent in a block");
        self.on_disk(move |unsent| if by == txid { unsent.forget(txid) } else { unsent.superseded(txid) })
            .await;
    }

    /// Runs `work`, which may write.
    pub(super) async fn on_disk(&self, work: impl FnOnce(&Unsent) + Send + 'static) {
        let unsent = Arc::clone(&self.unsent);
        if let Err(error) = tokio::task::spawn_blocking(move || work(&unsent)).await {
            tracing::error!(%error, "how a transaction stands could not be noted");
        }
    }
}

/// From where on to look for what spends it, of one for which that was not noted yet.
fn first_look(one: &Waiting, height: Option<u32>) -> Option<u32> {
    height.filter(|_| one.looked == 0).map(|height| height.saturating_sub(DEEP))
}
