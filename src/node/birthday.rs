//! Where a wallet that comes from its words alone begins to look at blocks, with a bitcoind.
//!
//! The library gives a new wallet the chain's tip for its first block, so older coins would stay unseen.
//! bitcoind's own set of unspent outputs tells which of the wallet's addresses hold coins and since when;
//! the wallet's notes are then written as if it had been made just before the first of them, and the node
//! reads the blocks from there by itself.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::bip32::{ChildNumber, DerivationPath, Xpriv, Xpub};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{BlockHash, CompressedPublicKey, Network, ScriptBuf};
use ldk_node::DynStore;
use ldk_node::lightning::util::ser::{BigSize, Writeable};
use serde_json::{Value, json};
use thiserror::Error;

use super::config::{ChainSource, Liquidity, NodeConfig};
use super::engine;
use super::keys::NodeSeed;
use super::storage::LdkStorage;
use crate::chain::{Bitcoind, RpcFault};
use crate::ports::{KeyValue, KvKey};
use crate::store::StoredBytes;

/// Addresses of each kind that are looked at. The library never skips one, and hands out one for each asking.
const ADDRESSES: u32 = 5_000;

/// A scan of mainnet's unspent outputs takes minutes; whoever waits can stop.
const SCAN: Duration = Duration::from_secs(6 * 60 * 60);

/// Where the wallet's coins begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Birthday {
    /// The last block before the first coin.
    pub height: u32,
    /// The highest block at the time of the look.
    pub tip: u32,
    /// Coins that are there.
    pub coins: usize,
    /// The highest address that holds one, of those given out and of those for change.
    used: [Option<u32>; 2],
    hash: BlockHash,
    genesis: BlockHash,
}

/// Why it cannot be told.
#[derive(Debug, Error)]
pub enum ScanFault {
    /// bitcoind does not answer, or refuses; the text says what.
    #[error("bitcoind: {0}")]
    Bitcoind(#[from] RpcFault),
    /// The seed or the library refuses.
    #[error("the wallet cannot be prepared: {0}")]
    Wallet(String),
}

/// Asks bitcoind for the coins of the wallet's addresses, or takes `since` for the first block. `None` when the
/// chain source is another one, which finds coins by itself, or when there are no coins.
///
/// Takes minutes on mainnet: bitcoind reads every unspent output.
///
/// # Errors
/// When bitcoind does not answer as it should.
pub async fn find_birthday(
    config: &NodeConfig,
    seed: &NodeSeed,
    since: Option<u32>,
) -> Result<Option<Birthday>, ScanFault> {
    let Some(ChainSource::Bitcoind { host, port, auth }) = config.chain.sources.first() else {
        return Ok(None);
    };
    let rpc = Bitcoind::new(host, *port, auth, SCAN)?;
    let (scripts, descriptors) = addresses(seed, config.network)?;
    let tip: u32 = rpc.call("getblockcount", json!([])).await?;
    let genesis: BlockHash = rpc.call("getblockhash", json!([0])).await?;
    let (mut first, mut used, mut coins) = (None, [None, None], 0);
    if since.is_none() {
        let range = ADDRESSES.saturating_sub(1);
        let wanted: Vec<Value> =
            descriptors.iter().map(|text| json!({ "desc": text, "range": range })).collect();
        let found: Value = rpc.call("scantxoutset", json!(["start", wanted])).await?;
        for coin in found["unspents"].as_array().into_iter().flatten() {
            let script = coin["scriptPubKey"].as_str().and_then(|hex| ScriptBuf::from_hex(hex).ok());
            let Some((kind, index)) = script.and_then(|script| scripts.get(&script).copied()) else {
                continue;
            };
            let height = number(&coin["height"])?;
            first = Some(first.map_or(height, |first: u32| first.min(height)));
            used[kind] = used[kind].max(Some(index));
            coins += 1;
        }
    }
    let Some(height) = since.or(first) else { return Ok(None) };
    let height = height.saturating_sub(1).min(tip);
    let hash: BlockHash = rpc.call("getblockhash", json!([height])).await?;
    Ok(Some(Birthday { height, tip, coins, used, hash, genesis }))
}

/// The wallet's notes with that birthday, for a store that has none.
///
/// # Errors
/// When the library refuses the seed.
pub fn wallet_rows(
    config: &NodeConfig,
    seed: &NodeSeed,
    birthday: &Birthday,
) -> Result<Vec<StoredBytes>, ScanFault> {
    // The library writes its descriptors when a node is built, which asks nobody with this source.
    let scratch = Arc::new(Scratch::default());
    let store: Arc<DynStore> = Arc::new(LdkStorage(scratch.clone()));
    let nowhere = ChainSource::Esplora { url: "http://127.0.0.1:9".to_owned() };
    let config =
        NodeConfig { listen: Vec::new(), alias: None, liquidity: Liquidity::default(), ..config.clone() };
    engine::build_only(&config, &nowhere, seed, store)
        .map_err(|fault| ScanFault::Wallet(fault.to_string()))?;
    let (scripts, _) = addresses(seed, config.network)?;
    let blocks: BTreeMap<u32, Option<BlockHash>> =
        [(0, Some(birthday.genesis)), (birthday.height, Some(birthday.hash))].into();
    let mut rows = scratch.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    rows.retain(|[primary, _, _], _| primary == WALLET);
    let name = |key: &str| [WALLET, "", key].map(str::to_owned);
    rows.insert(name("local_chain"), versioned(&tlv(0, &blocks.encode())));
    let first_script = |kind| scripts.iter().find(|(_, at)| **at == (kind, 0)).map(|(script, _)| script);
    let mut last_used = Vec::new();
    for (kind, index) in birthday.used.iter().enumerate() {
        if let (Some(index), Some(script)) = (index, first_script(kind)) {
            let id = sha256::Hash::hash(script.as_bytes());
            let entry = [tlv(0, &tlv(0, id.as_byte_array())), tlv(2, &index.encode())].concat();
            last_used.push([length(&entry), entry].concat());
        }
    }
    let count = u64::try_from(last_used.len()).unwrap_or_default();
    let last_used = [BigSize(count).encode(), last_used.concat()].concat();
    rows.insert(name("indexer"), versioned(&tlv(0, &last_used)));
    let row = |([primary, secondary, key], value): ([String; 3], Vec<u8>)| StoredBytes {
        primary,
        secondary,
        key,
        value,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// ldk-node's namespace of the wallet's notes.
const WALLET: &str = "bdk_wallet";

/// As the library writes its notes: a version, then numbered fields.
fn versioned(fields: &[u8]) -> Vec<u8> {
    [&[1u8], fields].concat()
}

fn tlv(number: u64, value: &[u8]) -> Vec<u8> {
    [&BigSize(number).encode()[..], &length(value), value].concat()
}

fn length(value: &[u8]) -> Vec<u8> {
    BigSize(u64::try_from(value.len()).unwrap_or(u64::MAX)).encode()
}

/// Where each script stands: 0 is given out, 1 is for change; and its index.
type Scripts = HashMap<ScriptBuf, (usize, u32)>;

/// The wallet's scripts (BIP 84), and a descriptor of each kind.
fn addresses(seed: &NodeSeed, network: Network) -> Result<(Scripts, [String; 2]), ScanFault> {
    let refused = |error: bitcoin::bip32::Error| ScanFault::Wallet(error.to_string());
    let secp = Secp256k1::new();
    let coin = u32::from(network != Network::Bitcoin);
    let path: DerivationPath = [84, coin, 0]
        .into_iter()
        .map(ChildNumber::from_hardened_idx)
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?
        .into();
    let account = Xpriv::new_master(network, &seed.0).and_then(|master| master.derive_priv(&secp, &path));
    let account = Xpub::from_priv(&secp, &account.map_err(refused)?);
    let mut scripts = HashMap::new();
    for (kind, chain) in [0, 1].into_iter().enumerate() {
        let chain = ChildNumber::from_normal_idx(chain).map_err(refused)?;
        let keys = account.derive_pub(&secp, &[chain]).map_err(refused)?;
        for index in 0..ADDRESSES {
            let child = ChildNumber::from_normal_idx(index).map_err(refused)?;
            let key = keys.derive_pub(&secp, &[child]).map_err(refused)?;
            let script = ScriptBuf::new_p2wpkh(&CompressedPublicKey(key.public_key).wpubkey_hash());
            scripts.insert(script, (kind, index));
        }
    }
    Ok((scripts, [0, 1].map(|chain| format!("wpkh({account}/{chain}/*)"))))
}

fn number(value: &Value) -> Result<u32, ScanFault> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    Ok(number.ok_or_else(|| RpcFault::Away("a height is missing in its answer".to_owned()))?)
}

/// A store in memory, for a node that is built and thrown away.
#[derive(Default)]
struct Scratch(Mutex<BTreeMap<[String; 3], Vec<u8>>>);

fn name(key: &KvKey<'_>) -> [String; 3] {
    [key.primary, key.secondary, key.key].map(str::to_owned)
}

impl KeyValue for Scratch {
    fn read(&self, key: &KvKey<'_>) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name(key)).cloned())
    }

    fn write(&self, key: &KvKey<'_>, value: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name(key), value.to_owned());
        Ok(())
    }

    fn remove(&self, key: &KvKey<'_>) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&name(key));
        Ok(())
    }

    fn list(&self, primary: &str, secondary: &str) -> io::Result<Vec<String>> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let under = rows.keys().filter(|[first, second, _]| first == primary && second == secondary);
        Ok(under.map(|[_, _, key]| key.clone()).collect())
    }

    fn keep_copy(&self) -> io::Result<PathBuf> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
