//! Why there is no answer: each case with a stable code and what a command ends with.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::types::{Msat, PaymentHash};

/// Why there is no answer. Holds no secret.
#[derive(Debug, Error)]
pub enum Fault {
    /// Over the limit; nothing was paid.
    #[error("the price is {}, the limit is {}: nothing was paid", .price.in_sat(), .limit.in_sat())]
    TooExpensive {
        /// The invoice's.
        price: Msat,
        /// The caller's.
        limit: Msat,
    },
    /// Another thing is offered than the one that was asked for by name; nothing was paid.
    #[error("the seller does not offer `{offer}` here{}: nothing was paid", listed(.choices))]
    NoSuchOffer {
        /// What was asked for.
        offer: String,
        /// What there is, by name, as far as the seller tells.
        choices: Vec<String>,
    },
    /// There is something to pay and nobody to pay it.
    #[error(
        "a payment is asked for and there is no wallet: set TOLLHOUSE_WALLET_URL and TOLLHOUSE_WALLET_KEY, \
         or start `tollhouse demo`"
    )]
    NoWallet,
    /// The caller's own `Authorization` is in the proof's place.
    #[error("a payment is asked for, and its proof needs the Authorization header: leave yours out")]
    AuthorizationTaken,
    /// The 402 cannot be paid, or should not be.
    #[error("the challenge is not to be paid: {0}")]
    BadChallenge(String),
    /// The wallet ended the payment without success.
    #[error("the payment failed: {reason}")]
    PaymentFailed {
        /// The wallet's word.
        reason: String,
    },
    /// The wallet did not begin to pay.
    #[error("the wallet does not pay ({code}): {detail}")]
    PaymentRefused {
        /// The wallet's code.
        code: String,
        /// Its explanation.
        detail: String,
    },
    /// On its way for longer than we wait.
    #[error("the payment is still on its way: run the same command again, it is not paid twice")]
    PaymentPending,
    /// A stop of the wallet cut it off, and its invoice has expired.
    #[error(
        "payment {0} was cut off by a stop of the wallet: as good as certainly it was never sent, but nobody knows, and \
         its invoice has expired. Nothing was paid again; run with --pay-again to buy anew"
    )]
    CutOff(PaymentHash),
    /// The wallet says that it paid, and cannot show it.
    #[error("the wallet gives a preimage that does not open the payment hash {0}")]
    FalseProof(PaymentHash),
    /// The wallet cannot be talked to.
    #[error(
        "the wallet does not answer: {0}. A payment may be on its way: run the same command again, it is \
         not paid twice"
    )]
    WalletUnreachable(String),
    /// No connection to the wallet: it was not asked.
    #[error("the wallet cannot be reached: {0}. It was asked for no payment in this run")]
    WalletAbsent(String),
    /// The server cannot be talked to; nothing was paid in this run.
    #[error("{0}")]
    Network(String),
    /// Paid, and no answer yet.
    #[error("{}, but {what}. {}: run the same command again, it is not paid twice", paid.words(), kept(*.restored))]
    Unserved {
        /// What happened instead.
        what: String,
        /// The server says that the unit came back.
        restored: bool,
        /// What was paid.
        paid: Paid,
    },
    /// Paid, and the server does not take the proof.
    #[error(
        "the server does not take the proof of payment {payment_hash} ({code}): nothing was paid again; \
         run with --pay-again to buy anew"
    )]
    Refused {
        /// The server's code.
        code: String,
        /// Which payment.
        payment_hash: PaymentHash,
    },
    /// What must not be forgotten cannot be kept.
    #[error("the state in {path} cannot be used: {error}")]
    State {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What a token cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid {
    /// Its price.
    pub price: Msat,
    /// What routing cost, where the wallet tells.
    pub fee: Option<Msat>,
    /// The payment.
    pub payment_hash: PaymentHash,
    /// With an earlier request: nothing was paid for this one.
    pub before: bool,
}

impl Paid {
    fn words(&self) -> String {
        let Paid { price, fee, payment_hash, before } = self;
        if *before {
            return format!(
                "nothing was paid for this request, with the token {payment_hash} that was bought before"
            );
        }
        let fee = fee.map(|fee| format!(" and {} for routing", fee.in_sat())).unwrap_or_default();
        format!("paid {}{fee} (payment {payment_hash})", price.in_sat())
    }
}

fn kept(restored: bool) -> &'static str {
    if restored {
        "The server gave the paid unit back, and the token is kept"
    } else {
        "The paid token is kept"
    }
}

impl Fault {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Fault::TooExpensive { .. } => "too_expensive",
            Fault::NoSuchOffer { .. } => "no_such_offer",
            Fault::NoWallet => "no_wallet",
            Fault::AuthorizationTaken => "authorization_taken",
            Fault::BadChallenge(_) => "bad_challenge",
            Fault::PaymentFailed { .. } => "payment_failed",
            Fault::PaymentRefused { .. } => "payment_refused",
            Fault::PaymentPending => "payment_pending",
            Fault::CutOff(_) => "payment_cut_off",
            Fault::FalseProof(_) => "false_proof",
            Fault::WalletUnreachable(_) | Fault::WalletAbsent(_) => "wallet_unreachable",
            Fault::Network(_) => "network",
            Fault::Unserved { .. } => "unserved",
            Fault::Refused { .. } => "proof_refused",
            Fault::State { .. } => "state",
        }
    }

    /// What a command ends with: 2 too expensive or badly asked, 3 payment, 4 not served (the network or the
    /// server failed, and what was paid is kept), 1 anything else.
    pub const fn exit(&self) -> u8 {
        match self {
            Fault::TooExpensive { .. }
            | Fault::NoSuchOffer { .. }
            | Fault::NoWallet
            | Fault::AuthorizationTaken => 2,
            Fault::PaymentFailed { .. }
            | Fault::PaymentRefused { .. }
            | Fault::PaymentPending
            | Fault::CutOff(_)
            | Fault::FalseProof(_) => 3,
            Fault::WalletUnreachable(_)
            | Fault::WalletAbsent(_)
            | Fault::Network(_)
            | Fault::Unserved { .. } => 4,
            Fault::BadChallenge(_) | Fault::Refused { .. } | Fault::State { .. } => 1,
        }
    }
}

fn listed(choices: &[String]) -> String {
    if choices.is_empty() { String::new() } else { format!(", but {}", choices.join(", ")) }
}

/// An error with its causes, on one line: the outermost alone seldom says what happened. Without the
/// address, whose query may be a secret.
pub(super) fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}
