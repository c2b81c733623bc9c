//! The methods, each as bitcoind answers it.

use std::str::FromStr;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Amount, BlockHash, OutPoint, Transaction, Txid};
use serde_json::{Value, json};

use super::RpcError;
use crate::sandbox::chain::{Chain, Family, MIN_RELAY_SAT_PER_KVBYTE, PlacedHeader, Rejection};

type Answer = Result<Value, RpcError>;

/// Answers one call.
pub(super) fn call(chain: &Chain, method: &str, params: &[Value]) -> Answer {
    let params = Params(params);
    match method {
        "getblockchaininfo" => getblockchaininfo(chain),
        "getblockhash" => getblockhash(chain, params),
        "getblockheader" => getblockheader(chain, params),
        "getblock" => getblock(chain, params),
        "gettxout" => gettxout(chain, params),
        "getrawtransaction" => getrawtransaction(chain, params),
        "sendrawtransaction" => sendrawtransaction(chain, params),
        "estimatesmartfee" => estimatesmartfee(params),
        "getmempoolinfo" => getmempoolinfo(chain),
        "getrawmempool" => getrawmempool(chain, params),
        "getmempoolentry" => getmempoolentry(chain, params),
        _ => Err(RpcError::new(RpcError::METHOD_NOT_FOUND, "Method not found")),
    }
}

fn getblockchaininfo(chain: &Chain) -> Answer {
    let tip = chain.tip();
    Ok(json!({
        "chain": "regtest",
        "blocks": tip.height,
        "headers": tip.height,
        "bestblockhash": tip.hash,
        "time": tip.time,
        "mediantime": tip.median_time,
        "verificationprogress": 1,
        "initialblockdownload": false,
        "chainwork": hex::encode(tip.work.to_be_bytes()),
        "pruned": false,
        "warnings": [],
    }))
}

fn getblockhash(chain: &Chain, params: Params<'_>) -> Answer {
    let out_of_range = || RpcError::new(RpcError::INVALID_PARAMETER, "Block height out of range");
    let height = u32::try_from(params.integer(0)?).map_err(|_| out_of_range())?;
    chain.block_hash(height).map(|hash| json!(hash)).ok_or_else(out_of_range)
}

fn getblockheader(chain: &Chain, params: Params<'_>) -> Answer {
    let hash = params.hash::<BlockHash>(0, "hash")?;
    let placed = chain.header(&hash).ok_or_else(block_not_found)?;
    if params.flag(1, true)? { Ok(header_json(&placed)) } else { Ok(json!(serialize_hex(&placed.header))) }
}

fn getblock(chain: &Chain, params: Params<'_>) -> Answer {
    let hash = params.hash::<BlockHash>(0, "blockhash")?;
    let block = chain.block(&hash).ok_or_else(block_not_found)?;
    match params.verbosity(1)? {
        0 => Ok(json!(serialize_hex(block.as_ref()))),
        1 => {
            let placed = chain.header(&hash).ok_or_else(block_not_found)?;
            let mut answer = header_json(&placed);
            answer["size"] = json!(block.total_size());
            answer["weight"] = json!(block.weight().to_wu());
            answer["tx"] = block.txdata.iter().map(|tx| json!(tx.compute_txid())).collect();
            Ok(answer)
        }
        _ => Err(RpcError::new(RpcError::INVALID_PARAMETER, "Only verbosity 0 and 1 are known here")),
    }
}

fn block_not_found() -> RpcError {
    RpcError::new(RpcError::NOT_FOUND, "Block not found")
}

fn header_json(placed: &PlacedHeader) -> Value {
    let PlacedHeader { header, height, .. } = placed;
    let version = header.version.to_consensus();
    let mut answer = json!({
        "hash": header.block_hash(),
        "confirmations": placed.confirmations,
        "height": height,
        "version": version,
        "versionHex": hex::encode(version.to_be_bytes()),
        "merkleroot": header.merkle_root,
        "time": header.time,
        "mediantime": placed.median_time,
        "nonce": header.nonce,
        "bits": hex::encode(header.bits.to_consensus().to_be_bytes()),
        "difficulty": header.difficulty_float(),
        "chainwork": hex::encode(placed.work.to_be_bytes()),
        "nTx": placed.tx_count,
    });
    if *height > 0 {
        answer["previousblockhash"] = json!(header.prev_blockhash);
    }
    if let Some(next) = placed.next {
        answer["nextblockhash"] = json!(next);
    }
    answer
}

fn gettxout(chain: &Chain, params: Params<'_>) -> Answer {
    let txid = params.hash::<Txid>(0, "txid")?;
    let Ok(vout) = u32::try_from(params.integer(1)?) else { return Ok(Value::Null) };
    let outpoint = OutPoint { txid, vout };
    let include_mempool = params.flag(2, true)?;
    let coin = if include_mempool { chain.coin_with_mempool(&outpoint) } else { chain.coin(&outpoint) };
    let tip = chain.tip();
    Ok(coin.map_or(Value::Null, |coin| {
        json!({
            "bestblock": tip.hash,
            "confirmations": (tip.height + 1).saturating_sub(coin.height),
            "value": btc(coin.output.value),
            "scriptPubKey": { "hex": coin.output.script_pubkey.to_hex_string() },
            "coinbase": coin.is_coinbase,
        })
    }))
}

fn getrawtransaction(chain: &Chain, params: Params<'_>) -> Answer {
    let txid = params.hash::<Txid>(0, "parameter 1")?;
    if params.verbosity_or(1, 0)? != 0 {
        return Err(RpcError::new(RpcError::INVALID_PARAMETER, "Only verbosity 0 is known here"));
    }
    let entry = chain.mempool_entry(&txid).ok_or_else(|| {
        RpcError::new(
            RpcError::NOT_FOUND,
            "No such mempool transaction. There is no index of confirmed ones here.",
        )
    })?;
    Ok(json!(serialize_hex(&entry.tx)))
}

fn sendrawtransaction(chain: &Chain, params: Params<'_>) -> Answer {
    let undecodable = "TX decode failed. Make sure the tx has at least one input.";
    let tx: Transaction = deserialize_hex(params.text(0)?)
        .map_err(|_| RpcError::new(RpcError::DESERIALIZATION, undecodable))?;
    chain.submit_tx(tx).map(|txid| json!(txid)).map_err(|rejection| {
        let code = match &rejection {
            Rejection::AlreadyConfirmed => RpcError::ALREADY_CONFIRMED,
            Rejection::MissingInputs => RpcError::VERIFY,
            _ => RpcError::REJECTED,
        };
        RpcError::new(code, rejection.to_string())
    })
}

/// A real node on regtest has seen too little to estimate; here the answer is what it relays, so nobody has to guess.
fn estimatesmartfee(params: Params<'_>) -> Answer {
    let blocks = params.integer(0)?;
    if !(1..=1008).contains(&blocks) {
        return Err(RpcError::new(
            RpcError::INVALID_PARAMETER,
            "Invalid conf_target, must be between 1 and 1008",
        ));
    }
    Ok(json!({ "feerate": btc(Amount::from_sat(MIN_RELAY_SAT_PER_KVBYTE)), "blocks": blocks }))
}

fn getmempoolinfo(chain: &Chain) -> Answer {
    let entries: Vec<_> = chain.mempool_txids().iter().filter_map(|txid| chain.mempool_entry(txid)).collect();
    let bytes: u64 = entries.iter().map(|entry| entry.weight.to_vbytes_ceil()).sum();
    let fees: Amount = entries.iter().map(|entry| entry.fee).sum();
    let relay_fee = btc(Amount::from_sat(MIN_RELAY_SAT_PER_KVBYTE));
    Ok(json!({
        "loaded": true,
        "size": entries.len(),
        "bytes": bytes,
        "total_fee": btc(fees),
        "mempoolminfee": relay_fee,
        "minrelaytxfee": relay_fee,
        "incrementalrelayfee": relay_fee,
        "unbroadcastcount": entries.len(),
        "fullrbf": true,
    }))
}

fn getrawmempool(chain: &Chain, params: Params<'_>) -> Answer {
    let txids = chain.mempool_txids();
    if !params.flag(0, false)? {
        return Ok(json!(txids));
    }
    let entries = txids.iter().filter_map(|txid| Some((txid.to_string(), entry_json(chain, txid)?)));
    Ok(Value::Object(entries.collect()))
}

fn getmempoolentry(chain: &Chain, params: Params<'_>) -> Answer {
    let txid = params.hash::<Txid>(0, "parameter 1")?;
    entry_json(chain, &txid).ok_or_else(|| RpcError::new(RpcError::NOT_FOUND, "Transaction not in mempool"))
}

fn entry_json(chain: &Chain, txid: &Txid) -> Option<Value> {
    let entry = chain.mempool_entry(txid)?;
    let Family { count: ancestor_count, vbytes: ancestor_size, fees: ancestor_fees } = entry.ancestors;
    let Family { count: descendant_count, vbytes: descendant_size, fees: descendant_fees } =
        entry.descendants;
    Some(json!({
        "vsize": entry.weight.to_vbytes_ceil(),
        "weight": entry.weight.to_wu(),
        "time": entry.time_secs,
        "height": entry.height,
        "descendantcount": descendant_count,
        "descendantsize": descendant_size,
        "ancestorcount": ancestor_count,
        "ancestorsize": ancestor_size,
        "wtxid": entry.tx.compute_wtxid(),
        "fees": {
            "base": btc(entry.fee),
            "modified": btc(entry.fee),
            "ancestor": btc(ancestor_fees),
            "descendant": btc(descendant_fees),
        },
        "depends": entry.parents,
        "spentby": entry.children,
        "bip125-replaceable": entry.tx.is_explicitly_rbf(),
        "unbroadcast": true,
    }))
}

/// An amount as the decimal number of bitcoin that bitcoind writes.
fn btc(amount: Amount) -> Value {
    let (whole, rest) = (amount.to_sat() / 100_000_000, amount.to_sat() % 100_000_000);
    serde_json::from_str(&format!("{whole}.{rest:08}")).expect("a decimal number is JSON")
}

/// Parameters by position.
#[derive(Clone, Copy)]
struct Params<'a>(&'a [Value]);

impl<'a> Params<'a> {
    fn at(self, index: usize) -> Option<&'a Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    fn required(self, index: usize) -> Result<&'a Value, RpcError> {
        self.at(index)
            .ok_or_else(|| RpcError::new(RpcError::MISC, format!("Parameter {} is missing", index + 1)))
    }

    fn text(self, index: usize) -> Result<&'a str, RpcError> {
        self.required(index)?.as_str().ok_or_else(|| wrong_type(index, "string"))
    }

    fn integer(self, index: usize) -> Result<i64, RpcError> {
        self.required(index)?.as_i64().ok_or_else(|| wrong_type(index, "number"))
    }

    fn flag(self, index: usize, default: bool) -> Result<bool, RpcError> {
        self.at(index).map_or(Ok(default), |value| value.as_bool().ok_or_else(|| wrong_type(index, "bool")))
    }

    fn verbosity(self, index: usize) -> Result<i64, RpcError> {
        self.verbosity_or(index, 1)
    }

    /// A number, or as of old a bool.
    fn verbosity_or(self, index: usize, default: i64) -> Result<i64, RpcError> {
        match self.at(index) {
            None => Ok(default),
            Some(Value::Bool(verbose)) => Ok(i64::from(*verbose)),
            Some(_) => self.integer(index),
        }
    }

    /// A hash; `name` is what bitcoind calls it in its complaints.
    fn hash<H: FromStr>(self, index: usize, name: &str) -> Result<H, RpcError> {
        let text = self.text(index)?;
        let invalid = |message| RpcError::new(RpcError::INVALID_PARAMETER, message);
        if text.len() != 64 {
            let length = text.len();
            return Err(invalid(format!("{name} must be of length 64 (not {length}, for '{text}')")));
        }
        text.parse().map_err(|_| invalid(format!("{name} must be hexadecimal string (not '{text}')")))
    }
}

fn wrong_type(index: usize, expected: &str) -> RpcError {
    let message = format!("Position {} is not of expected type {expected}", index + 1);
    RpcError::new(RpcError::WRONG_TYPE, message)
}
