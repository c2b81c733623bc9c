//! What a chain source is, and which of them is in use. Nothing here does I/O but reading a cookie.
//!
//! Passwords are in here: `Debug` leaves them out.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use tokio::sync::watch;

/// The chain sources in the operator's order, and how patient to be with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainConfig {
    /// The sources, the preferred one first; never empty.
    pub sources: Vec<ChainSource>,
    /// A source that does not answer for so long is left for the next one that does.
    pub give_up_after: Duration,
    /// A preferred source has to answer for so long before it is returned to; doubled, up to a day, each time that
    /// it fails again soon after.
    pub return_after: Duration,
    /// When the node has not heard of the chain for so long, nothing is sold.
    pub stale_after: Duration,
}

impl ChainConfig {
    /// [`ChainConfig::give_up_after`] when nothing is said.
    pub const GIVE_UP_AFTER: Duration = Duration::from_secs(120);
    /// [`ChainConfig::return_after`] when nothing is said.
    pub const RETURN_AFTER: Duration = Duration::from_secs(15 * 60);
    /// [`ChainConfig::stale_after`] when nothing is said.
    pub const STALE_AFTER: Duration = Duration::from_secs(60 * 60);

    /// These sources, with the usual patience.
    pub fn of(sources: Vec<ChainSource>) -> ChainConfig {
        ChainConfig {
            sources,
            give_up_after: ChainConfig::GIVE_UP_AFTER,
            return_after: ChainConfig::RETURN_AFTER,
            stale_after: ChainConfig::STALE_AFTER,
        }
    }
}

impl From<ChainSource> for ChainConfig {
    fn from(source: ChainSource) -> ChainConfig {
        ChainConfig::of(vec![source])
    }
}

/// Where blocks and fees come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainSource {
    /// A bitcoind's JSON-RPC.
    Bitcoind {
        /// Its host name or address.
        host: String,
        /// Its RPC port.
        port: u16,
        /// How to log in.
        auth: RpcAuth,
    },
    /// An Esplora server.
    Esplora {
        /// The root of its API, such as `https://blockstream.info/signet/api`.
        url: String,
    },
    /// An Electrum server.
    Electrum {
        /// `ssl://host:port` or `tcp://host:port`.
        url: String,
    },
}

impl ChainSource {
    /// `bitcoind`, `esplora` or `electrum`.
    pub const fn kind(&self) -> &'static str {
        match self {
            ChainSource::Bitcoind { .. } => "bitcoind",
            ChainSource::Esplora { .. } => "esplora",
            ChainSource::Electrum { .. } => "electrum",
        }
    }
}

/// What it is and where, without how to log in.
impl fmt::Display for ChainSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChainSource::Bitcoind { host, port, .. } => write!(f, "bitcoind {host}:{port}"),
            ChainSource::Esplora { url } => write!(f, "esplora {url}"),
            ChainSource::Electrum { url } => write!(f, "electrum {url}"),
        }
    }
}

/// How to log in to bitcoind's RPC.
#[derive(Clone, PartialEq, Eq)]
pub enum RpcAuth {
    /// A user and a password.
    Password {
        /// `rpcuser`, or the name in `rpcauth`.
        user: String,
        /// The password.
        password: String,
    },
    /// The cookie that bitcoind writes anew at each of its starts: read it when it is needed.
    CookieFile(PathBuf),
}

impl RpcAuth {
    /// bitcoind's user and password, read from its cookie when it is told so.
    ///
    /// # Errors
    /// When the cookie is not there (bitcoind is down) or not of the form `user:password`.
    pub fn credentials(&self) -> std::io::Result<(String, String)> {
        match self {
            RpcAuth::Password { user, password } => Ok((user.clone(), password.clone())),
            RpcAuth::CookieFile(path) => {
                let cookie = std::fs::read_to_string(path)?;
                let (user, password) = cookie.trim().split_once(':').ok_or_else(|| {
                    std::io::Error::new(std::io::ErrorKind::InvalidData, "the cookie is not `user:password`")
                })?;
                Ok((user.to_owned(), password.to_owned()))
            }
        }
    }
}

impl ChainSource {
    /// Tells one login to a bitcoind from another, without holding it. `None` of a source that has none, or whose
    /// cookie is not there.
    pub fn login_mark(&self) -> Option<[u8; 32]> {
        let ChainSource::Bitcoind { auth, .. } = self else { return None };
        let (user, password) = auth.credentials().ok()?;
        let mark = digest(&SHA256, format!("{user}:{password}").as_bytes());
        mark.as_ref().try_into().ok()
    }
}

impl fmt::Debug for RpcAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RpcAuth::Password { user, .. } => write!(f, "Password({user}, redacted)"),
            RpcAuth::CookieFile(path) => write!(f, "CookieFile({})", path.display()),
        }
    }
}

/// The sources, and which one the node uses now: whoever else reads the chain follows it.
pub struct Sources {
    config: ChainConfig,
    current: watch::Sender<usize>,
}

impl Sources {
    /// The first one is in use.
    pub fn new(config: ChainConfig) -> Sources {
        Sources { config, current: watch::Sender::new(0) }
    }

    /// What was configured.
    pub fn config(&self) -> &ChainConfig {
        &self.config
    }

    /// The position of the one in use.
    pub fn position(&self) -> usize {
        *self.current.borrow()
    }

    /// The one in use.
    pub fn current(&self) -> &ChainSource {
        &self.config.sources[self.position()]
    }

    /// Uses the one at `position`, which the list has.
    pub fn choose(&self, position: usize) {
        let position = position.min(self.config.sources.len().saturating_sub(1));
        self.current.send_if_modified(|current| std::mem::replace(current, position) != position);
    }

    /// Tells of changes.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.current.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_is_written_anew_is_another_login() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join(".cookie");
        let auth = RpcAuth::CookieFile(path.clone());
        let source = ChainSource::Bitcoind { host: "127.0.0.1".to_owned(), port: 8332, auth };
        assert_eq!(source.login_mark(), None, "bitcoind is down");
        std::fs::write(&path, "__cookie__:one").unwrap();
        let one = source.login_mark();
        assert!(one.is_some() && one == source.login_mark());
        std::fs::write(&path, "__cookie__:two").unwrap();
        assert!(source.login_mark().is_some() && source.login_mark() != one);
        assert_eq!(ChainSource::Esplora { url: "http://x".to_owned() }.login_mark(), None);
    }
}
