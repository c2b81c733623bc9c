//! bitcoind's JSON-RPC, as far as reading blocks and the mempool goes.

use std::time::Duration;

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Block, BlockHash, Transaction, Txid};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use super::source::RpcAuth;

/// bitcoind could not be asked, or said no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RpcFault {
    /// It did not answer, or not as bitcoind does.
    #[error("{0}")]
    Away(String),
    /// It answered with an error.
    #[error("{method}: {message} ({code})")]
    Refused {
        /// What was asked.
        method: &'static str,
        /// bitcoind's code, such as -5 for something that it does not have.
        code: i64,
        /// Its words.
        message: String,
    },
}

/// A client of one bitcoind.
pub struct Bitcoind {
    url: String,
    user: String,
    password: String,
    http: reqwest::Client,
}

impl Bitcoind {
    /// A client; reads the cookie, asks nothing yet.
    ///
    /// # Errors
    /// When the cookie cannot be read.
    pub fn new(host: &str, port: u16, auth: &RpcAuth, patience: Duration) -> Result<Bitcoind, RpcFault> {
        let (user, password) = auth.credentials().map_err(|error| match auth {
            RpcAuth::CookieFile(path) => {
                RpcFault::Away(format!("its cookie {} cannot be read: {error}", path.display()))
            }
            RpcAuth::Password { .. } => RpcFault::Away(error.to_string()),
        })?;
        let http = super::http::client(patience);
        Ok(Bitcoind { url: format!("http://{host}:{port}/"), user, password, http })
    }

    /// Asks for `method`.
    ///
    /// # Errors
    /// When bitcoind is away or says no.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, RpcFault> {
        let ask = json!({"jsonrpc": "1.0", "id": "tollhouse", "method": method, "params": params});
        let request = self.http.post(&self.url).basic_auth(&self.user, Some(&self.password)).json(&ask);
        let away = |error| RpcFault::Away(super::http::innermost(error));
        let answer = request.send().await.map_err(away)?;
        if matches!(answer.status().as_u16(), 401 | 403) {
            return Err(RpcFault::Away("it refused the user and password".to_owned()));
        }
        let status = answer.status();
        let text = answer.text().await.map_err(away)?;
        // An error comes with status 500 and JSON, too.
        let mut answer: Value = serde_json::from_str(&text)
            .map_err(|_| RpcFault::Away(format!("it answered {status}, and not in JSON")))?;
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            let code = error["code"].as_i64().unwrap_or(0);
            let message = error["message"].as_str().unwrap_or("no words").to_owned();
            return Err(RpcFault::Refused { method, code, message });
        }
        serde_json::from_value(answer["result"].take()).map_err(|error| {
            RpcFault::Away(format!("its answer to {method} is not what it should be: {error}"))
        })
    }

    /// The hash and height of the best block.
    ///
    /// # Errors
    /// As [`Bitcoind::call`].
    pub async fn tip(&self) -> Result<(u32, BlockHash), RpcFault> {
        #[derive(serde::Deserialize)]
        struct Info {
            blocks: u32,
            bestblockhash: BlockHash,
        }
        let info: Info = self.call("getblockchaininfo", json!([])).await?;
        Ok((info.blocks, info.bestblockhash))
    }

    /// The hash of the block at `height` in the best chain; none beyond its tip.
    ///
    /// # Errors
    /// As [`Bitcoind::call`].
    pub async fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, RpcFault> {
        match self.call("getblockhash", json!([height])).await {
            Ok(hash) => Ok(Some(hash)),
            Err(RpcFault::Refused { code: -8, .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// A whole block.
    ///
    /// # Errors
    /// As [`Bitcoind::call`]; a pruned node may not have it any more.
    pub async fn block(&self, hash: BlockHash) -> Result<Block, RpcFault> {
        let raw: String = self.call("getblock", json!([hash, 0])).await?;
        deserialize_hex(&raw).map_err(|_| RpcFault::Away("it sent a block that cannot be read".to_owned()))
    }

    /// What waits to be confirmed.
    ///
    /// # Errors
    /// As [`Bitcoind::call`].
    pub async fn mempool(&self) -> Result<Vec<Txid>, RpcFault> {
        self.call("getrawmempool", json!([])).await
    }

    /// A transaction of the mempool; none when it just left.
    ///
    /// # Errors
    /// As [`Bitcoind::call`].
    pub async fn waiting(&self, txid: Txid) -> Result<Option<Transaction>, RpcFault> {
        match self.call::<String>("getrawtransaction", json!([txid])).await {
            Ok(raw) => Ok(deserialize_hex(&raw).ok()),
            Err(RpcFault::Refused { code: -5, .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}
