//! A connection to an Electrum server. It blocks: use it where that is allowed.

use std::time::Duration;

use electrum_client::{Client, ConfigBuilder, Error};

/// Connects; each call waits for at most `patience`.
///
/// # Errors
/// When the server is not there or does not speak Electrum.
pub fn connect(url: &str, patience: Duration) -> Result<Client, Error> {
    let seconds = u8::try_from(patience.as_secs().max(1)).unwrap_or(u8::MAX);
    // One retry: whoever asks tries again anyway.
    let config = ConfigBuilder::new().timeout(Some(seconds)).retry(1).build();
    Client::from_config(url, config)
}
