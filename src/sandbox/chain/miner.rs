//! Makes and really mines the next block.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::opcodes::OP_0;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Target, Transaction, TxIn, TxMerkleNode, TxOut, Weight,
    Witness, transaction,
};

use super::best::BestChain;
use super::mempool::Mempool;

const SUBSIDY: Amount = Amount::from_sat(5_000_000_000);
/// Regtest's, so that a demo can see it happen; mainnet's is 210,000.
const HALVING_INTERVAL: u32 = 150;
/// Left for the header and the coinbase, as bitcoind does.
const RESERVED_WEIGHT: Weight = Weight::from_wu(8_000);
const RESERVED_SIGOPS: usize = 400;
const MAX_SIGOPS: usize = 80_000;
/// Marks the output that commits to the witnesses (BIP141).
const COMMITMENT_HEADER: [u8; 4] = [0xaa, 0x21, 0xa9, 0xed];
const WITNESS_RESERVED: [u8; 32] = [0; 32];

/// The new coins of the block at `height`.
pub(super) fn subsidy(height: u32) -> Amount {
    let halvings = height / HALVING_INTERVAL;
    Amount::from_sat(SUBSIDY.to_sat().checked_shr(halvings).unwrap_or(0))
}

/// The next block, with the mempool's transactions in order of arrival as far as they fit.
pub(super) fn mine(best: &BestChain, mempool: &Mempool, script: &ScriptBuf, now_secs: u64) -> Block {
    let tip = best.tip();
    let height = tip.height + 1;
    let room = Weight::MAX_BLOCK - RESERVED_WEIGHT;
    let (transactions, fees) = mempool.select(room, MAX_SIGOPS - RESERVED_SIGOPS);
    let reward = TxOut { value: subsidy(height) + fees, script_pubkey: script.clone() };

    let mut txdata = vec![coinbase(height, reward)];
    txdata.extend(transactions);
    let now = u32::try_from(now_secs).unwrap_or(u32::MAX);
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: tip.hash,
        merkle_root: TxMerkleNode::all_zeros(),
        time: now.max(tip.median_time + 1),
        bits: Target::MAX_ATTAINABLE_REGTEST.to_compact_lossy(),
        nonce: 0,
    };
    let mut block = Block { header, txdata };
    let commitment = commitment_output(&block);
    block.txdata[0].output.push(commitment);
    block.header.merkle_root = block.compute_merkle_root().expect("there is a coinbase");
    while !block.header.target().is_met_by(block.block_hash()) {
        // Half of all hashes meet regtest's target: the nonce cannot run out.
        block.header.nonce = block.header.nonce.wrapping_add(1);
    }
    block
}

fn coinbase(height: u32, reward: TxOut) -> Transaction {
    // BIP34: the height comes first. The zero keeps the script at two bytes or more at low heights.
    let script_sig = Builder::new().push_int(i64::from(height)).push_opcode(OP_0).into_script();
    let input = TxIn {
        previous_output: OutPoint::null(),
        script_sig,
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[WITNESS_RESERVED]),
    };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: vec![reward],
    }
}

fn commitment_output(block: &Block) -> TxOut {
    let root = block.witness_root().expect("there is a coinbase");
    let commitment = Block::compute_witness_commitment(&root, &WITNESS_RESERVED);
    let mut bytes = PushBytesBuf::from(COMMITMENT_HEADER);
    bytes.extend_from_slice(&commitment.to_byte_array()).expect("36 bytes can be pushed");
    TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new_op_return(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subsidy_halves_and_ends() {
        assert_eq!(subsidy(149), Amount::from_int_btc(50));
        assert_eq!(subsidy(150), Amount::from_int_btc(25));
        assert_eq!(subsidy(300), Amount::from_sat(1_250_000_000));
        assert_eq!(subsidy(150 * 64), Amount::ZERO);
        assert_eq!(subsidy(u32::MAX), Amount::ZERO);
    }
}
