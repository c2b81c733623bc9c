//! One question to a liquidity provider (bLIP-50), which the library does not ask for us: what it sells.
//!
//! Invariants: it is asked over a connection of its own, under a key that is made for it and thrown away,
//! so the node's own connection is left alone and nothing can be bought; what it answers is bounded in
//! size and time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use ldk_node::lightning::ln::msgs::{DecodeError, Init, LightningError};
use ldk_node::lightning::ln::peer_handler::{
    CustomMessageHandler, ErroringMessageHandler, IgnoringMessageHandler, MessageHandler, PeerManager,
};
use ldk_node::lightning::ln::wire::CustomMessageReader;
use ldk_node::lightning::sign::KeysManager;
use ldk_node::lightning::types::features::{InitFeatures, NodeFeatures};
use ldk_node::lightning::util::logger::{Logger, Record};
use ldk_node::lightning::util::ser::{LengthLimitedRead, LengthReadable};
use ldk_node::lightning_liquidity::lsps0::ser::{LSPS_MESSAGE_TYPE_ID, RawLSPSMessage};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::config::Lsp;
use crate::clock::Entropy;
use crate::ports::NodeFault;
use crate::types::Timestamp;

/// An answer is waited for this long, the connection included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks `lsp` to do `method`, and gives its result.
///
/// Runs on the caller's runtime; tasks of the connection end with it.
pub(super) async fn ask(
    lsp: &Lsp,
    method: &'static str,
    params: Value,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<Value, NodeFault> {
    let peer: PublicKey =
        lsp.node.parse().map_err(|_| NodeFault(format!("`{}` is not a node's public key", lsp.node)))?;
    let at = resolved(&lsp.address).await?;
    let id = hex::encode(&entropy.bytes32()[..16]);
    let question = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
    let (told, answer) = oneshot::channel();
    let state = DeskState { there: false, question: Some(question), told: Some(told) };
    let desk = Arc::new(Desk { peer, state: Mutex::new(state) });
    let secs = u32::try_from(now.secs()).unwrap_or(u32::MAX);
    let throwaway = Arc::new(KeysManager::new(&entropy.bytes32(), now.secs(), 0, true));
    let ignoring = Arc::new(IgnoringMessageHandler {});
    let handlers = MessageHandler {
        chan_handler: Arc::new(ErroringMessageHandler::new()),
        route_handler: Arc::clone(&ignoring),
        onion_message_handler: Arc::clone(&ignoring),
        custom_message_handler: desk,
        send_only_message_handler: ignoring,
    };
    let peers = Arc::new(PeerManager::new(handlers, secs, &entropy.bytes32(), Arc::new(Silent), throwaway));
    let asked = async {
        let closed = lightning_net_tokio::connect_outbound(Arc::clone(&peers), peer, at).await;
        let closed = closed.ok_or_else(|| NodeFault(format!("{} does not answer", lsp.address)))?;
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| NodeFault("the connection was lost".to_owned())),
            () = closed => Err(NodeFault("it closed the connection".to_owned())),
        }
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    peers.disconnect_all_peers();
    let answer = answer.map_err(|_| NodeFault(format!("{} did not answer in time", lsp.address)))??;
    result(&answer, &id)
}

/// The result in an answer to the question `id` (JSON-RPC 2.0, section 5).
fn result(answer: &str, id: &str) -> Result<Value, NodeFault> {
    let mut answer: Value =
        serde_json::from_str(answer).map_err(|_| NodeFault("its answer is not JSON".to_owned()))?;
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        let code = error.get("code").and_then(Value::as_i64).unwrap_or(0);
        let text: String =
            error.get("message").and_then(Value::as_str).unwrap_or("no reason").chars().take(200).collect();
        return Err(NodeFault(format!("it refuses: {} ({code})", text.escape_debug())));
    }
    if answer.get("id").and_then(Value::as_str) != Some(id) {
        return Err(NodeFault("it answered another question".to_owned()));
    }
    Ok(answer["result"].take())
}

async fn resolved(address: &str) -> Result<SocketAddr, NodeFault> {
    let mut found = tokio::net::lookup_host(address)
        .await
        .map_err(|error| NodeFault(format!("the address {address} cannot be found: {error}")))?;
    found.next().ok_or_else(|| NodeFault(format!("the address {address} cannot be found")))
}

/// Asks once, as soon as the peer is there, and takes the first answer.
struct Desk {
    peer: PublicKey,
    state: Mutex<DeskState>,
}

struct DeskState {
    there: bool,
    question: Option<String>,
    told: Option<oneshot::Sender<String>>,
}

impl Desk {
    fn desk(&self) -> MutexGuard<'_, DeskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CustomMessageReader for Desk {
    type CustomMessage = RawLSPSMessage;

    fn read<R: LengthLimitedRead>(
        &self,
        message_type: u16,
        buffer: &mut R,
    ) -> Result<Option<RawLSPSMessage>, DecodeError> {
        if message_type != LSPS_MESSAGE_TYPE_ID {
            return Ok(None);
        }
        RawLSPSMessage::read_from_fixed_length_buffer(buffer).map(Some)
    }
}

impl CustomMessageHandler for Desk {
    fn handle_custom_message(&self, message: RawLSPSMessage, _from: PublicKey) -> Result<(), LightningError> {
        let told = self.desk().told.take();
        if let Some(told) = told {
            // Whoever asked may have given up.
            let _ = told.send(message.payload);
        }
        Ok(())
    }

    fn get_and_clear_pending_msg(&self) -> Vec<(PublicKey, RawLSPSMessage)> {
        // Sent to a peer that is not there yet, a message is lost.
        let mut desk = self.desk();
        let question = if desk.there { desk.question.take() } else { None };
        question.map(|payload| (self.peer, RawLSPSMessage { payload })).into_iter().collect()
    }

    fn peer_disconnected(&self, _peer: PublicKey) {
        // Whoever waits for the answer learns that there is none.
        self.desk().told = None;
    }

    fn peer_connected(&self, _peer: PublicKey, _init: &Init, _inbound: bool) -> Result<(), ()> {
        self.desk().there = true;
        Ok(())
    }

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _peer: PublicKey) -> InitFeatures {
        InitFeatures::empty()
    }
}

/// The connection's own words say nothing that its end does not.
struct Silent;

impl Logger for Silent {
    fn log(&self, _record: Record<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let told = |text: &str| result(text, "a1").map_err(|fault| fault.0);
        assert_eq!(told(r#"{"jsonrpc":"2.0","id":"a1","result":{"x":1}}"#), Ok(json!({ "x": 1 })));
        assert_eq!(
            told(r#"{"id":"a1","error":{"code":200,"message":"no\ntoken"}}"#),
            Err("it refuses: no\\ntoken (200)".to_owned())
        );
        assert!(told(r#"{"id":"a2","result":{}}"#).is_err() && told("<html>").is_err());
    }
}
