//! What a key may do.

use std::str::FromStr;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// See revenue, payments, channels and events.
    Read,
    /// Pay invoices, and see the proofs of what it paid.
    Pay,
    /// Everything, with channels and on-chain addresses.
    Admin,
    /// Sell and settle for an application of its own, through the integration API.
    Integrate,
    /// Ask the forward-auth listener, for another proxy.
    ForwardAuth,
    /// Read the metrics, and nothing else.
    Metrics,
    /// Pay within limits, in the words of LND's REST interface.
    Wallet,
}

/// A word that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a scope: there are read, pay, admin, integrate, forward_auth, metrics and wallet")]
pub struct NoSuchScope(String);

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 7] = [
        Scope::Read,
        Scope::Pay,
        Scope::Admin,
        Scope::Integrate,
        Scope::ForwardAuth,
        Scope::Metrics,
        Scope::Wallet,
    ];

    /// Its word in the store and in messages.
    pub const fn word(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Pay => "pay",
            Scope::Admin => "admin",
            Scope::Integrate => "integrate",
            Scope::ForwardAuth => "forward_auth",
            Scope::Metrics => "metrics",
            Scope::Wallet => "wallet",
        }
    }

    /// What it lets a program do, for whoever gives it.
    pub const fn allows(self) -> &'static str {
        match self {
            Scope::Read => "see revenue, payments, channels and events",
            Scope::Pay => "pay invoices from the node, without a limit, and see the proofs of what it paid",
            Scope::Admin => "everything: prices, channels, coins, keys and backups",
            Scope::Integrate => "sell and settle for an application of its own",
            Scope::ForwardAuth => "ask for another proxy whether a request was paid",
            Scope::Metrics => "read the metrics, for Prometheus",
            Scope::Wallet => "pay within limits, as a wallet with LND's REST interface",
        }
    }

    /// Whether one of `granted`, words separated by spaces or commas, allows this. `admin` allows
    /// all; no other scope allows what another does: what pays need not see what is earned.
    pub fn allowed_by(self, granted: &str) -> bool {
        granted.split([' ', ',']).any(|word| word == self.word() || word == Scope::Admin.word())
    }
}

impl FromStr for Scope {
    type Err = NoSuchScope;

    fn from_str(text: &str) -> Result<Scope, NoSuchScope> {
        let found = Scope::ALL.into_iter().find(|scope| scope.word() == text);
        found.ok_or_else(|| NoSuchScope(text.to_owned()))
    }
}
