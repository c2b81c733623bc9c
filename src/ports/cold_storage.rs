//! The operator's cold storage: where coins go that are not needed here.

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use super::BoxFuture;

/// An address of the cold storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ColdAddress {
    /// The address.
    pub address: String,
    /// Its number in the descriptor, to compare with the operator's own wallet.
    pub index: u32,
}

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoColdAddress {
    /// No cold storage is known.
    #[error("no vault is set: `tollhouse vault set` makes one known")]
    NotSet,
    /// Its past is not known yet: an address could have been paid before.
    #[error("the vault has not been looked up on the chain yet: try again when it has")]
    NotSynced,
    /// Too many were handed out that nobody paid.
    #[error(
        "the last {gap} addresses of the vault were handed out and not paid: a wallet with a gap limit of {gap} \
         would not find the next one"
    )]
    Gap {
        /// The gap limit.
        gap: u32,
    },
    /// What was handed out could not be noted.
    #[error("{0}")]
    Failed(String),
}

impl NoColdAddress {
    /// A stable word.
    pub const fn code(&self) -> &'static str {
        match self {
            NoColdAddress::NotSet => "no_vault",
            NoColdAddress::NotSynced => "vault_not_synced",
            NoColdAddress::Gap { .. } => "vault_gap",
            NoColdAddress::Failed(_) => "vault_failed",
        }
    }
}

/// Hands out addresses of the cold storage.
pub trait ColdStorage: Send + Sync {
    /// A fresh address for one deposit, noted on disk when this returns. `deposit` names the deposit, such as the
    /// key of the operation that makes it: the same name gets the same address again, another one never does.
    ///
    /// # Errors
    /// When there is none to give.
    fn address(&self, deposit: &str) -> BoxFuture<'_, Result<ColdAddress, NoColdAddress>>;
}
