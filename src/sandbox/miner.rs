//! Mines the in-box chain: every few seconds, and at once whenever somebody waits for a block.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::chain::Chain;

/// A block comes this often when nobody waits.
const IDLE: Duration = Duration::from_secs(5);

/// A block comes this often while a transaction or a channel waits.
const HURRY: Duration = Duration::from_millis(400);

/// Mines until `stop`. `waiting` says whether a channel wants confirmations.
pub(super) async fn mine(chain: Chain, mut waiting: watch::Receiver<bool>, stop: CancellationToken) {
    let mut mempool = chain.watch_mempool();
    loop {
        let hurry = *waiting.borrow_and_update() || !chain.mempool_txids().is_empty();
        let pause = if hurry { HURRY } else { IDLE };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {
                let chain = chain.clone();
                if let Ok(Err(error)) = tokio::task::spawn_blocking(move || chain.mine(1)).await {
                    tracing::warn!(%error, "a block could not be mined");
                }
            }
            // Somebody began to wait: the pause is chosen anew.
            Ok(()) = waiting.changed() => {}
            Ok(()) = mempool.changed(), if !hurry => {}
        }
    }
}
