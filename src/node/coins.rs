//! Coins and peers: what the library knows of them, and what it is asked to do with them.

use std::str::FromStr;

use ldk_node::bitcoin::address::NetworkUnchecked;
use ldk_node::bitcoin::{Address, FeeRate as LibraryRate, Network, OutPoint, Txid};
use ldk_node::config::ChannelConfig;
use ldk_node::payment::{ConfirmationStatus, PaymentDetails, PaymentDirection, PaymentKind, PaymentStatus};
use ldk_node::{ChannelDetails, LightningBalance, Node, NodeError, PendingSweepBalance};

use super::engine::{find_channel, public_key};
use super::view::reserve_wanted_sat;
use super::{LightningNode, wallet_keys};
use crate::chain::{Spent, contents, fee_rates, spender, spent, waits};
use crate::ports::{
    BoxFuture, ChainTx, Claim, Coins, CoinsView, FeeRate, FeeRates, ForwardingFees, Much, NodeFault,
    PeerView, Peers, SendFault, Splice, Sweep, TxContents, Waits,
};

impl Coins for LightningNode {
    fn coins(&self) -> BoxFuture<'_, Result<CoinsView, NodeFault>> {
        Box::pin(self.call(balances))
    }

    fn transactions(&self) -> BoxFuture<'_, Result<Vec<ChainTx>, NodeFault>> {
        Box::pin(self.call(|node| node.list_payments().iter().filter_map(transaction).collect()))
    }

    fn fee_rates(&self) -> BoxFuture<'_, Result<FeeRates, NodeFault>> {
        Box::pin(async move {
            let source = self.sources.current();
            let silent = |why| NodeFault(format!("the chain source {source} was asked for fee rates: {why}"));
            fee_rates(source, self.config.network).await.map_err(silent)
        })
    }

    fn spender(&self, outpoint: &str, height: u32) -> BoxFuture<'_, Result<Option<String>, NodeFault>> {
        let outpoint: Result<OutPoint, _> = outpoint.parse();
        Box::pin(async move {
            let outpoint = outpoint.map_err(|error| NodeFault(error.to_string()))?;
            let spent = spender(self.sources.current(), outpoint, height).await;
            spent.map(|txid| txid.map(|txid| txid.to_string())).map_err(NodeFault)
        })
    }

    fn waits(&self, txid: &str) -> BoxFuture<'_, Result<bool, NodeFault>> {
        let txid: Result<Txid, _> = txid.parse();
        Box::pin(async move {
            let txid = txid.map_err(|_| NodeFault("that is not a transaction's id".to_owned()))?;
            Ok(self.unsent.is_untold(txid) || waits(self.sources.current(), txid).await.map_err(NodeFault)?)
        })
    }

    fn is_own(&self, address: &str) -> BoxFuture<'_, bool> {
        let address = read_address(address, self.config.network);
        let (seed, network) = (self.seed.clone(), self.config.network);
        Box::pin(async move {
            let Ok(address) = address else { return false };
            let looked = tokio::task::spawn_blocking(move || wallet_keys::pays(&seed, network, &address));
            looked.await.unwrap_or(false)
        })
    }

    fn withdraw(&self, txid: &str) -> BoxFuture<'_, ()> {
        let txid: Result<Txid, _> = txid.parse();
        Box::pin(async move {
            if let Ok(txid) = txid {
                self.on_disk(move |unsent| unsent.withdraw(txid)).await;
            }
        })
    }

    fn contents(
        &self,
        txid: &str,
        height: Option<u32>,
    ) -> BoxFuture<'_, Result<Option<TxContents>, NodeFault>> {
        let txid: Result<Txid, _> = txid.parse();
        Box::pin(async move {
            let txid = txid.map_err(|_| NodeFault("that is not a transaction's id".to_owned()))?;
            let found = contents(self.sources.current(), txid, height).await.map_err(NodeFault)?;
            Ok(found.map(|(inputs, pays_sat)| TxContents {
                inputs: inputs.iter().map(ToString::to_string).collect(),
                pays_sat,
            }))
        })
    }

    fn spent_in_block(
        &self,
        outpoint: &str,
        height: u32,
    ) -> BoxFuture<'_, Result<Option<(String, u32)>, NodeFault>> {
        let outpoint: Result<OutPoint, _> = outpoint.parse();
        Box::pin(async move {
            let outpoint = outpoint.map_err(|error| NodeFault(error.to_string()))?;
            let spent = spent(self.sources.current(), outpoint, height).await.map_err(NodeFault)?;
            let Spent::By(spend) = spent else { return Ok(None) };
            Ok(spend.height.map(|height| (spend.txid.to_string(), height)))
        })
    }

    fn check_address(&self, address: &str) -> Result<(), NodeFault> {
        read_address(address, self.config.network).map(|_| ())
    }

    fn check_splice_address(&self, address: &str) -> Result<(), NodeFault> {
        read_splice_address(address, self.config.network).map(|_| ())
    }

    fn send_coins(
        &self,
        address: &str,
        much: Much,
        rate: FeeRate,
    ) -> BoxFuture<'_, Result<String, SendFault>> {
        let address = read_address(address, self.config.network).map_err(|fault| SendFault::Refused(fault.0));
        Box::pin(async move {
            let address = address?;
            self.engine().map_err(|fault| SendFault::Away(fault.0))?;
            let sent = self.call(move |node| send(node, &address, much, rate)).await;
            sent.map_err(|fault| SendFault::Uncertain(fault.0))?
        })
    }

    fn splice(&self, channel_id: &str, asked: Splice) -> BoxFuture<'_, Result<(), SendFault>> {
        let (channel_id, network) = (channel_id.to_owned(), self.config.network);
        Box::pin(async move {
            self.engine().map_err(|fault| SendFault::Away(fault.0))?;
            let spliced = self.call(move |node| splice(node, network, &channel_id, &asked)).await;
            spliced.map_err(|fault| SendFault::Uncertain(fault.0))?
        })
    }
}

impl Peers for LightningNode {
    fn peers(&self) -> BoxFuture<'_, Result<Vec<PeerView>, NodeFault>> {
        Box::pin(self.call(|node| {
            let peers = node.list_peers().into_iter().map(|peer| PeerView {
                peer: peer.node_id.to_string(),
                address: peer.address.to_string(),
                connected: peer.is_connected,
                kept: peer.is_persisted,
            });
            peers.collect()
        }))
    }

    fn forget(&self, peer: &str) -> BoxFuture<'_, Result<(), NodeFault>> {
        let peer = peer.to_owned();
        Box::pin(
            async move { self.call(move |node| node.disconnect(public_key(&peer)?).map_err(said)).await? },
        )
    }

    fn set_fees(&self, channel_id: &str, fees: ForwardingFees) -> BoxFuture<'_, Result<(), NodeFault>> {
        let channel_id = channel_id.to_owned();
        Box::pin(async move { self.call(move |node| set_fees(node, &channel_id, fees)).await? })
    }
}

fn said(error: NodeError) -> NodeFault {
    NodeFault(error.to_string())
}

fn read_address(text: &str, network: Network) -> Result<Address, NodeFault> {
    let address: Address<NetworkUnchecked> =
        Address::from_str(text).map_err(|_| NodeFault(format!("`{text}` is not a bitcoin address")))?;
    address
        .require_network(network)
        .map_err(|_| NodeFault(format!("`{text}` is not an address on {network}")))
}

/// An address that a splice may pay to. The library takes any, but every node refuses to build the
/// transaction with an output that is not segwit (BOLT 2, `tx_add_output`).
fn read_splice_address(text: &str, network: Network) -> Result<Address, NodeFault> {
    let address = read_address(text, network)?;
    if address.script_pubkey().is_witness_program() {
        return Ok(address);
    }
    Err(NodeFault(format!(
        "`{text}` is not a segwit address, and a channel can pay out to no other: give one that begins with \
         {}1, or send there from the wallet",
        if network == Network::Bitcoin {
            "bc"
        } else if network == Network::Regtest {
            "bcrt"
        } else {
            "tb"
        }
    )))
}

fn balances(node: &Node) -> CoinsView {
    let balances = node.list_balances();
    CoinsView {
        height: node.status().current_best_block.height,
        total_sat: balances.total_onchain_balance_sats,
        spendable_sat: balances.spendable_onchain_balance_sats,
        reserved_sat: balances.total_anchor_channels_reserve_sats,
        reserve_wanted_sat: reserve_wanted_sat(node, &balances),
        lightning_sat: balances.total_lightning_balance_sats,
        splicing_sat: 0,
        leaving_sat: 0,
        closing_sat: 0,
        unseen_sat: 0,
        claims: balances.lightning_balances.iter().map(claim).collect(),
        sweeps: balances.pending_balances_from_channel_closures.iter().map(sweep).collect(),
    }
}

fn claim(balance: &LightningBalance) -> Claim {
    use LightningBalance as B;
    let (channel_id, peer, amount_sat, waits, until_height) = match balance {
        B::ClaimableOnChannelClose { channel_id, counterparty_node_id, amount_satoshis, .. } => {
            (channel_id, counterparty_node_id, amount_satoshis, Waits::Closing, None)
        }
        B::ClaimableAwaitingConfirmations {
            channel_id,
            counterparty_node_id,
            amount_satoshis,
            confirmation_height,
            ..
        } => {
            let until = Some(*confirmation_height);
            (channel_id, counterparty_node_id, amount_satoshis, Waits::Confirmations, until)
        }
        B::ContentiousClaimable {
            channel_id, counterparty_node_id, amount_satoshis, timeout_height, ..
        } => (channel_id, counterparty_node_id, amount_satoshis, Waits::Proof, Some(*timeout_height)),
        B::MaybeTimeoutClaimableHTLC {
            channel_id,
            counterparty_node_id,
            amount_satoshis,
            claimable_height,
            ..
        } => (channel_id, counterparty_node_id, amount_satoshis, Waits::Timeout, Some(*claimable_height)),
        B::MaybePreimageClaimableHTLC {
            channel_id,
            counterparty_node_id,
            amount_satoshis,
            expiry_height,
            ..
        } => (channel_id, counterparty_node_id, amount_satoshis, Waits::OthersProof, Some(*expiry_height)),
        B::CounterpartyRevokedOutputClaimable { channel_id, counterparty_node_id, amount_satoshis } => {
            (channel_id, counterparty_node_id, amount_satoshis, Waits::Penalty, None)
        }
    };
    let (channel_id, peer) = (channel_id.to_string(), peer.to_string());
    Claim { channel_id, peer, amount_sat: *amount_sat, waits, until_height, in_wallet: false, open: false }
}

fn sweep(balance: &PendingSweepBalance) -> Sweep {
    use PendingSweepBalance as S;
    let id = |id: &Option<ldk_node::lightning::ln::types::ChannelId>| id.map(|id| id.to_string());
    match balance {
        S::PendingBroadcast { channel_id, amount_satoshis } => Sweep {
            channel_id: id(channel_id),
            amount_sat: *amount_satoshis,
            txid: None,
            sent_height: None,
            confirmed_height: None,
            in_wallet: false,
        },
        S::BroadcastAwaitingConfirmation {
            channel_id,
            latest_broadcast_height,
            latest_spending_txid,
            amount_satoshis,
        } => Sweep {
            channel_id: id(channel_id),
            amount_sat: *amount_satoshis,
            txid: Some(latest_spending_txid.to_string()),
            sent_height: Some(*latest_broadcast_height),
            confirmed_height: None,
            in_wallet: false,
        },
        S::AwaitingThresholdConfirmations {
            channel_id,
            latest_spending_txid,
            confirmation_height,
            amount_satoshis,
            ..
        } => Sweep {
            channel_id: id(channel_id),
            amount_sat: *amount_satoshis,
            txid: Some(latest_spending_txid.to_string()),
            sent_height: None,
            confirmed_height: Some(*confirmation_height),
            in_wallet: false,
        },
    }
}

fn transaction(payment: &PaymentDetails) -> Option<ChainTx> {
    let PaymentKind::Onchain { txid, status } = &payment.kind else { return None };
    let outgoing = payment.direction == PaymentDirection::Outbound;
    let (confirmed_height, at_secs) = match status {
        ConfirmationStatus::Confirmed { height, timestamp, .. } => (Some(*height), *timestamp),
        ConfirmationStatus::Unconfirmed => (None, payment.latest_update_timestamp),
    };
    let sat = |msat: u64| msat / 1_000;
    Some(ChainTx {
        txid: txid.to_string(),
        outgoing,
        amount_sat: sat(payment.amount_msat.unwrap_or(0)),
        // The wallet says zero of what it cannot tell: a splice spends an output that it does not know.
        fee_sat: payment.fee_paid_msat.map(sat).filter(|fee| outgoing && *fee > 0),
        confirmed_height,
        settled: payment.status == PaymentStatus::Succeeded,
        at_secs,
    })
}

fn send(node: &Node, address: &Address, much: Much, rate: FeeRate) -> Result<String, SendFault> {
    let (wallet, rate) = (node.onchain_payment(), Some(LibraryRate::from_sat_per_kwu(rate.sat_per_kwu())));
    let sent = match much {
        Much::Exactly(amount_sat) => wallet.send_to_address(address, amount_sat, rate),
        Much::AllButReserve => wallet.send_all_to_address(address, true, rate),
        Much::All => wallet.send_all_to_address(address, false, rate),
    };
    match sent {
        Ok(txid) => Ok(txid.to_string()),
        Err(error @ NodeError::NotRunning) => Err(SendFault::Away(error.to_string())),
        // Every failure is before the broadcast, that of the wallet's own note too.
        Err(error) => Err(SendFault::Refused(plain(error))),
    }
}

fn splice(node: &Node, network: Network, channel_id: &str, asked: &Splice) -> Result<(), SendFault> {
    let refused = |fault: NodeFault| SendFault::Refused(fault.0);
    let channel = find_channel(node, channel_id).map_err(refused)?;
    let (id, peer) = (&channel.user_channel_id, channel.counterparty_node_id);
    let spliced = match asked {
        Splice::In { amount_sat } => node.splice_in(id, peer, *amount_sat),
        Splice::Out { amount_sat, address } => {
            let address = read_splice_address(address, network).map_err(refused)?;
            node.splice_out(id, peer, &address, *amount_sat)
        }
    };
    spliced.map_err(|error| SendFault::Refused(plain(error)))
}

fn set_fees(node: &Node, channel_id: &str, fees: ForwardingFees) -> Result<(), NodeFault> {
    let channel: ChannelDetails = find_channel(node, channel_id)?;
    let config = ChannelConfig {
        forwarding_fee_base_msat: fees.base_msat,
        forwarding_fee_proportional_millionths: fees.ppm,
        ..channel.config
    };
    node.update_channel_config(&channel.user_channel_id, channel.counterparty_node_id, config).map_err(said)
}

/// The library's error in words that say what to do.
fn plain(error: NodeError) -> String {
    match error {
        NodeError::InsufficientFunds => {
            "there are not enough confirmed coins for the amount, its fee and what is kept back for channels"
                .to_owned()
        }
        NodeError::OnchainTxCreationFailed => {
            "no transaction could be made of the wallet's coins: too few, or the amount is too small"
                .to_owned()
        }
        NodeError::ChannelSplicingFailed => {
            "the channel cannot be spliced now: the peer must be connected and able to, another splice must \
             not be under way, and the coins must be confirmed"
                .to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_splice_pays_out_to_segwit_alone() {
        let network = Network::Regtest;
        for segwit in [
            "bcrt1qh88u5ypdv6rd68y96parpm74wu68xt304uhlhf",
            "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6",
        ] {
            assert!(read_splice_address(segwit, network).is_ok(), "{segwit}");
        }
        for other in ["msddZ9fmjN4cRCS7QUzmGcU1UsJxGVkDd1", "2N3oefVeg6stiTb5Kh3ozCSkaqmx91FDbsm"] {
            assert!(read_address(other, network).is_ok(), "{other}");
            let NodeFault(why) = read_splice_address(other, network).expect_err("not segwit");
            assert!(why.contains("bcrt1"), "{why}");
        }
    }
}
