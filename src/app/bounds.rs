//! What bounds a connection: when it ends, which HTTP it speaks, and how long its client is waited for.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Says when connections end.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// Take no new connection; close each after the requests that it carries.
    pub drain: CancellationToken,
    /// Close what is left.
    pub cut: CancellationToken,
}

/// Which HTTP a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1.0 and 1.1.
    One,
    /// Those and HTTP/2: by its preface, and where there is TLS, by ALPN.
    OneAndTwo,
}

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// For a request's head, and for a TLS handshake.
    pub head: Duration,
    /// For a client to take some of its answer.
    pub read: Duration,
    /// For the next request of an HTTP/2 connection that carries none.
    pub idle: Duration,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits {
            head: Duration::from_secs(15),
            read: Duration::from_secs(120),
            idle: Duration::from_secs(120),
        }
    }
}
