//! Who pays: flags, then the environment, then the running demo's payer.

use std::path::Path;

use url::Url;
use zeroize::Zeroizing;

use super::super::demo::place_file;
use super::Failure;
use crate::agent::Wallet;
use crate::config::Environment;
use crate::sandbox::place::DemoPlace;

/// The wallet, where one is named or a demo runs. A demo's key goes to its own payer only.
pub(super) fn find(
    url: Option<&str>,
    key_file: Option<&Path>,
    env: &Environment,
) -> Result<Option<Wallet>, Failure> {
    let demo = place_file(env).ok().and_then(|file| DemoPlace::read(&file).ok());
    let usual = env.get("TOLLHOUSE_WALLET_URL");
    let said = url.or(usual);
    // A key in the environment is for the wallet that stands beside it, and goes to no other.
    if let (Some(url), Some(usual), None, Some(_)) = (url, usual, key_file, env.get("TOLLHOUSE_WALLET_KEY"))
        && url.trim_end_matches('/') != usual.trim_end_matches('/')
    {
        return Err(Failure::arguments(
            "--wallet is not TOLLHOUSE_WALLET_URL, whose key is in the environment: say --wallet-key-file, too",
        ));
    }
    let said_key =
        match key_file {
            Some(file) => Some(std::fs::read_to_string(file).map_err(|error| {
                Failure::arguments(format!("--wallet-key-file {}: {error}", file.display()))
            })?),
            None => env.get("TOLLHOUSE_WALLET_KEY").map(str::to_owned),
        };
    let said_key = said_key.map(|key| Zeroizing::new(key.trim().to_owned()));
    let (url, key) = match (said, said_key, demo) {
        (Some(url), Some(key), _) => (url.to_owned(), key),
        (Some(url), None, Some(demo)) if url.trim_end_matches('/') == demo.payer.trim_end_matches('/') => {
            (url.to_owned(), Zeroizing::new(demo.payer_key))
        }
        (Some(_), None, _) => {
            return Err(Failure::arguments(
                "the wallet's key is missing: use --wallet-key-file FILE or TOLLHOUSE_WALLET_KEY",
            ));
        }
        (None, None, Some(demo)) => (demo.payer, Zeroizing::new(demo.payer_key)),
        (None, Some(_), _) => {
            return Err(Failure::arguments(
                "the wallet's address is missing: use --wallet URL or TOLLHOUSE_WALLET_URL",
            ));
        }
        (None, None, None) => return Ok(None),
    };
    let known = Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !known {
        return Err(Failure::arguments("the wallet's address must begin with http:// or https://"));
    }
    Ok(Some(Wallet::new(&url, key)?))
}
