//! The HTTP client for chain sources: the operator chose them, so nothing stands between.

use std::time::Duration;

/// A client without a proxy.
pub(super) fn client(patience: Duration) -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(patience)
        .no_proxy()
        .build()
        .expect("a client with a timeout and no other setting can be built")
}

/// The deepest cause says most, such as "connection refused".
pub(super) fn innermost(error: reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
