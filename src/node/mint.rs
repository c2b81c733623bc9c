//! Invoices that cost nothing to make: LDK's stateless inbound payments, signed by us.
//!
//! Invariants: no row, no file, no lock held while computing, nothing that grows (ARCHITECTURE,
//! money rule 1); an invoice is made only when the channels known at the last refresh could receive
//! it (money rule 5). Route hints are chosen as LDK's `sort_and_filter_channels` does.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::Secp256k1;
use ldk_node::lightning::ln::channelmanager::MIN_FINAL_CLTV_EXPIRY_DELTA;
use ldk_node::lightning::ln::inbound_payment;
use ldk_node::lightning::sign::EntropySource;
use ldk_node::lightning_types::routing::{RouteHint, RouteHintHop, RoutingFees};
use lightning_invoice::{Currency, InvoiceBuilder};

use super::keys::MintingKeys;
use crate::clock::{Clock, Entropy};
use crate::ports::{CannotReceive, InvoiceAsk, MintedInvoice, Minter};
use crate::types::{Msat, PaymentHash};

/// LDK puts no more hints into an invoice than this.
const MAX_HINTS: usize = 3;

/// A public channel is known to the network's senders after this many confirmations.
const PUBLIC_AFTER_CONFIRMATIONS: u32 = 7;

/// One way for a payment to reach us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Door {
    pub(super) peer: bitcoin::secp256k1::PublicKey,
    /// The hint's hop; `None` for a channel without an alias or forwarding terms yet.
    pub(super) hop: Option<RouteHintHop>,
    pub(super) receivable: Msat,
    pub(super) smallest: Msat,
    pub(super) announced: bool,
    pub(super) confirmations: u32,
}

/// The usable channels at the last refresh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Doors(pub(super) Vec<Door>);

impl Doors {
    /// From the node's list of channels.
    pub(super) fn of(channels: &[ldk_node::ChannelDetails]) -> Doors {
        Doors(channels.iter().filter(|channel| channel.is_usable).map(door_of).collect())
    }

    /// The hints for an invoice over `amount`.
    fn hints_for(&self, amount: Msat) -> Result<Vec<RouteHint>, CannotReceive> {
        let smallest = self.0.iter().map(|door| door.smallest).min().ok_or(CannotReceive::NoUsableChannel)?;
        if amount < smallest {
            return Err(CannotReceive::TooSmall { smallest });
        }
        let largest = self.0.iter().map(|door| door.receivable).max().unwrap_or(Msat::ZERO);
        if amount > largest {
            return Err(CannotReceive::TooLarge { largest });
        }
        if self.0.iter().any(|door| door.announced && door.confirmations >= PUBLIC_AFTER_CONFIRMATIONS) {
            return Ok(Vec::new());
        }
        let mut best: Vec<&Door> = Vec::new();
        for door in self.0.iter().filter(|door| door.hop.is_some() && door.receivable >= amount) {
            match best.iter_mut().find(|kept| kept.peer == door.peer) {
                Some(kept) if kept.receivable < door.receivable => *kept = door,
                Some(_) => {}
                None => best.push(door),
            }
        }
        // A young public channel is hinted alone, so that private ones stay private.
        if best.iter().any(|door| door.announced) {
            best.retain(|door| door.announced);
        }
        if best.is_empty() {
            return Err(CannotReceive::NoUsableChannel);
        }
        best.sort_by_key(|door| std::cmp::Reverse(door.receivable));
        Ok(best
            .into_iter()
            .take(MAX_HINTS)
            .filter_map(|door| door.hop.clone())
            .map(|hop| RouteHint(vec![hop]))
            .collect())
    }
}

fn door_of(channel: &ldk_node::ChannelDetails) -> Door {
    let msat = |value: u64| Msat::new(value).unwrap_or(Msat::MAX);
    let hop = hop_of(channel);
    Door {
        peer: channel.counterparty_node_id,
        hop,
        receivable: msat(largest(channel)),
        smallest: msat(channel.inbound_htlc_minimum_msat),
        announced: channel.is_announced,
        confirmations: channel.confirmations.unwrap_or(0),
    }
}

/// The largest single payment that a channel can bring, millisatoshi.
pub(super) fn largest(channel: &ldk_node::ChannelDetails) -> u64 {
    channel.inbound_htlc_maximum_msat.unwrap_or(u64::MAX).min(channel.inbound_capacity_msat)
}

fn hop_of(channel: &ldk_node::ChannelDetails) -> Option<RouteHintHop> {
    Some(RouteHintHop {
        src_node_id: channel.counterparty_node_id,
        short_channel_id: channel.inbound_scid_alias.or(channel.short_channel_id)?,
        fees: RoutingFees {
            base_msat: channel.counterparty_forwarding_info_fee_base_msat?,
            proportional_millionths: channel.counterparty_forwarding_info_fee_proportional_millionths?,
        },
        cltv_expiry_delta: channel.counterparty_forwarding_info_cltv_expiry_delta?,
        htlc_minimum_msat: Some(channel.inbound_htlc_minimum_msat),
        htlc_maximum_msat: channel.inbound_htlc_maximum_msat,
    })
}

/// Signs invoices in the node's name.
#[derive(Debug)]
pub(super) struct StatelessMinter {
    keys: MintingKeys,
    currency: Currency,
    doors: RwLock<Arc<Doors>>,
    clock: Arc<dyn Clock>,
    entropy: LdkEntropy,
}

impl StatelessMinter {
    pub(super) fn new(
        keys: MintingKeys,
        network: bitcoin::Network,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> StatelessMinter {
        StatelessMinter {
            keys,
            currency: Currency::from(network),
            doors: RwLock::default(),
            clock,
            entropy: LdkEntropy(entropy),
        }
    }

    /// Replaces what is known of the channels.
    pub(super) fn refresh(&self, doors: Doors) {
        *self.doors.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(doors);
    }

    /// The node's public key.
    pub(super) fn node_id(&self) -> bitcoin::secp256k1::PublicKey {
        self.keys.node_id()
    }
}

impl Minter for StatelessMinter {
    fn mint(&self, ask: &InvoiceAsk) -> Result<MintedInvoice, CannotReceive> {
        let doors = Arc::clone(&self.doors.read().unwrap_or_else(std::sync::PoisonError::into_inner));
        let hints = doors.hints_for(ask.amount)?;
        let now = self.clock.now();
        let expiry_secs = u32::try_from(ask.expiry.as_secs()).unwrap_or(u32::MAX);
        let failed = |what: &str| CannotReceive::Failed(what.to_owned());
        let (hash, secret) = inbound_payment::create(
            &self.keys.inbound,
            Some(ask.amount.msat()),
            expiry_secs,
            &&self.entropy,
            now.secs(),
            None,
        )
        .map_err(|()| failed("the amount does not fit a payment secret"))?;

        let mut builder = InvoiceBuilder::new(self.currency.clone())
            .description(ask.description.clone())
            .duration_since_epoch(Duration::from_secs(now.secs()))
            .payee_pub_key(self.keys.node_id)
            .payment_hash(sha256::Hash::from_byte_array(hash.0))
            .payment_secret(secret)
            .basic_mpp()
            .min_final_cltv_expiry_delta(MIN_FINAL_CLTV_EXPIRY_DELTA.into())
            .expiry_time(Duration::from_secs(expiry_secs.into()))
            .amount_milli_satoshis(ask.amount.msat());
        for hint in hints {
            builder = builder.private_route(hint);
        }
        let secp = Secp256k1::signing_only();
        let invoice = builder
            .build_signed(|message| secp.sign_ecdsa_recoverable(message, &self.keys.identity))
            .map_err(|error| CannotReceive::Failed(error.to_string()))?;
        Ok(MintedInvoice {
            bolt11: invoice.to_string(),
            payment_hash: PaymentHash::from_bytes(hash.0),
            expires_at: crate::types::Timestamp::from_secs(now.secs()).plus(ask.expiry),
        })
    }
}

/// Our generator behind LDK's trait.
#[derive(Debug)]
struct LdkEntropy(Arc<dyn Entropy>);

impl EntropySource for LdkEntropy {
    fn get_secure_random_bytes(&self) -> [u8; 32] {
        self.0.bytes32()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{CountingEntropy, FixedClock};
    use crate::node::keys::NodeSeed;
    use crate::types::Timestamp;
    use lightning_invoice::Bolt11Invoice;

    fn key(byte: u8) -> bitcoin::secp256k1::PublicKey {
        let secret = bitcoin::secp256k1::SecretKey::from_slice(&[byte; 32]).unwrap();
        bitcoin::secp256k1::PublicKey::from_secret_key(&Secp256k1::signing_only(), &secret)
    }

    fn door(peer: u8, receivable_sat: u64) -> Door {
        Door {
            peer: key(peer),
            hop: Some(RouteHintHop {
                src_node_id: key(peer),
                short_channel_id: u64::from(peer),
                fees: RoutingFees { base_msat: 1, proportional_millionths: 1 },
                cltv_expiry_delta: 40,
                htlc_minimum_msat: Some(1),
                htlc_maximum_msat: None,
            }),
            receivable: Msat::from_sat(receivable_sat).unwrap(),
            smallest: Msat::new(1).unwrap(),
            announced: false,
            confirmations: 6,
        }
    }

    fn minter(doors: Vec<Door>) -> StatelessMinter {
        let keys = MintingKeys::derive(&NodeSeed::new(&[9; 64]), bitcoin::Network::Regtest).unwrap();
        let clock = FixedClock::at(Timestamp::from_secs(1_800_000_000));
        let entropy = Arc::new(CountingEntropy::default());
        let minter = StatelessMinter::new(keys, bitcoin::Network::Regtest, clock, entropy);
        minter.refresh(Doors(doors));
        minter
    }

    fn ask(sat: u64) -> InvoiceAsk {
        InvoiceAsk {
            amount: Msat::from_sat(sat).unwrap(),
            description: "rates: one request".into(),
            expiry: Duration::from_secs(900),
        }
    }

    #[test]
    fn an_invoice_says_what_was_asked() {
        let minter = minter(vec![door(1, 100)]);
        let minted = minter.mint(&ask(15)).unwrap();
        let read: Bolt11Invoice = minted.bolt11.parse().unwrap();
        assert_eq!(read.amount_milli_satoshis(), Some(15_000));
        assert_eq!(read.payment_hash().to_byte_array(), *minted.payment_hash.as_bytes());
        assert_eq!(read.recover_payee_pub_key(), minter.node_id());
        assert_eq!(read.expiry_time(), Duration::from_secs(900));
        assert_eq!(read.min_final_cltv_expiry_delta(), u64::from(MIN_FINAL_CLTV_EXPIRY_DELTA));
        assert_eq!(read.route_hints().len(), 1);
        assert_eq!(minted.expires_at, Timestamp::from_secs(1_800_000_900));
        assert_ne!(minter.mint(&ask(15)).unwrap().payment_hash, minted.payment_hash);
    }

    #[test]
    fn nothing_is_sold_that_cannot_be_paid() {
        assert_eq!(minter(vec![]).mint(&ask(1)), Err(CannotReceive::NoUsableChannel));
        let largest = Msat::from_sat(100).unwrap();
        assert_eq!(minter(vec![door(1, 100)]).mint(&ask(101)), Err(CannotReceive::TooLarge { largest }));
        let smallest = Msat::from_sat(10).unwrap();
        let coarse = Door { smallest, ..door(1, 100) };
        assert_eq!(minter(vec![coarse]).mint(&ask(9)), Err(CannotReceive::TooSmall { smallest }));
    }

    #[test]
    fn hints_follow_ldk() {
        let hinted = |doors: Vec<Door>, sat: u64| -> Vec<u64> {
            let hints = Doors(doors).hints_for(Msat::from_sat(sat).unwrap()).unwrap();
            hints.iter().map(|hint| hint.0[0].short_channel_id).collect()
        };
        // One per peer, large enough, three at most, the roomiest first.
        let four = vec![door(1, 40), door(2, 90), door(3, 60), door(4, 70), door(5, 5)];
        assert_eq!(hinted(four, 10), [2, 4, 3]);
        // A settled public channel needs none; a young one is hinted alone.
        let public = Door { announced: true, confirmations: 7, ..door(2, 50) };
        assert!(hinted(vec![door(1, 90), public.clone()], 10).is_empty());
        let young = Door { confirmations: 2, ..public };
        assert_eq!(hinted(vec![door(1, 90), young], 10), [2]);
    }
}
