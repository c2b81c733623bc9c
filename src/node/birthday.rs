//! Where the past of a wallet begins that comes from its words alone, and how far its addresses were used.
//!
//! With bitcoind the library gives a new wallet the chain's tip for its first block, so older coins would stay
//! unseen. bitcoind's own set of unspent outputs tells which of the wallet's addresses hold coins and since when;
//! the wallet's notes are then written as if it had been made just before the first of them, and the node
//! reads the blocks from there by itself. A server the library asks for addresses until 20 in a row were unused,
//! which an operator's endpoint hands out in no time: so it is asked here for more of them, and the notes say
//! how far they go. The node asks for all of these from its second synchronisation on.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
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
use crate::chain::{Bitcoind, RpcFault, ScriptServer};
use crate::ports::{KeyValue, KvKey};
use crate::store::StoredBytes;

/// Addresses of each kind that bitcoind is asked for at once. The library never skips one, and hands out one for
/// each asking.
const ADDRESSES: u32 = 5_000;

/// A scan of mainnet's unspent outputs takes minutes; whoever waits can stop.
const SCAN: Duration = Duration::from_secs(6 * 60 * 60);

/// Addresses in one question to a server.
const BATCH: u32 = 50;

/// How the wallet's past is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// With bitcoind: read the blocks from this height, and do not ask which coins there are.
    pub since: Option<u32>,
    /// After so many unused addresses in a row nothing more is looked for, where addresses are asked for one by
    /// one.
    pub gap: u32,
}

/// Where the wallet's coins begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Birthday {
    /// With bitcoind: the last block before the first coin, and the highest at the time of the look.
    pub blocks: Option<(u32, u32)>,
    /// With bitcoind coins that are there; with a server addresses that were ever paid.
    pub found: usize,
    /// The highest address that was used, of those given out and of those for change.
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
    /// A server does not answer, or makes no sense; the text says which.
    #[error("{0}")]
    Server(String),
    /// The seed or the library refuses.
    #[error("the wallet cannot be prepared: {0}")]
    Wallet(String),
}

/// Asks for the past of the wallet's addresses: the first of the chain sources that answers. `None` when they have
/// none.
///
/// Takes minutes on mainnet: bitcoind reads every unspent output, servers are asked for hundreds of addresses. The
/// library itself would ask a server for no more than 20 unused ones in a row.
///
/// # Errors
/// When no source answers as it should: what the last of them said.
pub async fn find_birthday(
    config: &NodeConfig,
    seed: &NodeSeed,
    search: Search,
) -> Result<Option<Birthday>, ScanFault> {
    let mut last = ScanFault::Server("no chain source can be asked so".to_owned());
    for source in &config.chain.sources {
        let found = match source {
            ChainSource::Bitcoind { host, port, auth } => {
                of_bitcoind(&Bitcoind::new(host, *port, auth, SCAN)?, config.network, seed, search).await
            }
            // A height means blocks.
            _ if search.since.is_some() => continue,
            ChainSource::Esplora { url } => {
                of_server(ScriptServer::Esplora(url), config.network, seed, search.gap).await
            }
            ChainSource::Electrum { url } => {
                of_server(ScriptServer::Electrum(url), config.network, seed, search.gap).await
            }
        };
        match found {
            Ok(found) => return Ok(found),
            Err(fault) => {
                tracing::warn!(%fault, "a chain source cannot tell of the wallet's past");
                last = fault;
            }
        }
    }
    Err(last)
}

async fn of_bitcoind(
    rpc: &Bitcoind,
    network: Network,
    seed: &NodeSeed,
    search: Search,
) -> Result<Option<Birthday>, ScanFault> {
    let tip: u32 = rpc.call("getblockcount", json!([])).await?;
    let genesis: BlockHash = rpc.call("getblockhash", json!([0])).await?;
    let (mut first, mut used, mut found) = (None, [None, None], 0);
    if search.since.is_some() {
        // Which addresses were used is not asked: all of these are watched for while blocks are read.
        used = [search.gap.checked_sub(1); 2];
    } else {
        let (scripts, descriptors) = addresses(seed, network, 0..ADDRESSES)?;
        let range = ADDRESSES.saturating_sub(1);
        let wanted: Vec<Value> =
            descriptors.iter().map(|text| json!({ "desc": text, "range": range })).collect();
        let told: Value = rpc.call("scantxoutset", json!(["start", wanted])).await?;
        for coin in told["unspents"].as_array().into_iter().flatten() {
            let script = coin["scriptPubKey"].as_str().and_then(|hex| ScriptBuf::from_hex(hex).ok());
            let Some((kind, index)) = script.and_then(|script| scripts.get(&script).copied()) else {
                continue;
            };
            let height = number(&coin["height"])?;
            first = Some(first.map_or(height, |first: u32| first.min(height)));
            used[kind] = used[kind].max(Some(index));
            found += 1;
        }
    }
    let Some(height) = search.since.or(first) else { return Ok(None) };
    let height = height.saturating_sub(1).min(tip);
    let hash: BlockHash = rpc.call("getblockhash", json!([height])).await?;
    Ok(Some(Birthday { blocks: Some((height, tip)), found, used, hash, genesis }))
}

async fn of_server(
    server: ScriptServer<'_>,
    network: Network,
    seed: &NodeSeed,
    gap: u32,
) -> Result<Option<Birthday>, ScanFault> {
    let (mut used, mut found) = ([None, None], 0);
    for (kind, highest) in used.iter_mut().enumerate() {
        let mut next = 0u32;
        while next < highest.map_or(0, |index: u32| index.saturating_add(1)).saturating_add(gap) {
            let until = next.saturating_add(BATCH);
            let (scripts, _) = addresses(seed, network, next..until)?;
            let mut asked: Vec<_> = scripts.into_iter().filter(|(_, (of, _))| *of == kind).collect();
            asked.sort_by_key(|(_, (_, index))| *index);
            let wanted: Vec<ScriptBuf> = asked.iter().map(|(script, _)| script.clone()).collect();
            let told = server.used(&wanted).await.map_err(ScanFault::Server)?;
            let paid = asked.iter().zip(told).filter(|(_, paid)| *paid).map(|((_, (_, index)), _)| *index);
            for index in paid {
                *highest = (*highest).max(Some(index));
                found += 1;
            }
            next = until;
        }
    }
    let genesis = bitcoin::constants::genesis_block(network).block_hash();
    let birthday = Birthday { blocks: None, found, used, hash: genesis, genesis };
    Ok((found > 0).then_some(birthday))
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
    let store: Arc<DynStore> = Arc::new(LdkStorage::new(scratch.clone()));
    let nowhere = ChainSource::Esplora { url: "http://127.0.0.1:9".to_owned() };
    let config =
        NodeConfig { listen: Vec::new(), alias: None, liquidity: Liquidity::default(), ..config.clone() };
    engine::build_only(&config, &nowhere, seed, store)
        .map_err(|fault| ScanFault::Wallet(fault.to_string()))?;
    let (scripts, _) = addresses(seed, config.network, 0..1)?;
    let height = birthday.blocks.map_or(0, |(height, _)| height);
    let blocks: BTreeMap<u32, Option<BlockHash>> =
        [(0, Some(birthday.genesis)), (height, Some(birthday.hash))].into();
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

/// The wallet's scripts of these indices (BIP 84), and a descriptor of each kind.
fn addresses(
    seed: &NodeSeed,
    network: Network,
    indices: Range<u32>,
) -> Result<(Scripts, [String; 2]), ScanFault> {
    let refused = |error: bitcoin::bip32::Error| ScanFault::Wallet(error.to_string());
    let secp = Secp256k1::new();
    let coin = u32::from(network != Network::Bitcoin);
    let path: DerivationPath = [84, coin, 0]
        .into_iter()
        .map(ChildNumber::from_hardened_idx)
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?
        .into();
    let account = Xpriv::new_master(network, &**seed.0).and_then(|master| master.derive_priv(&secp, &path));
    let account = Xpub::from_priv(&secp, &account.map_err(refused)?);
    let mut scripts = HashMap::new();
    for (kind, chain) in [0, 1].into_iter().enumerate() {
        let chain = ChildNumber::from_normal_idx(chain).map_err(refused)?;
        let keys = account.derive_pub(&secp, &[chain]).map_err(refused)?;
        for index in indices.clone() {
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
