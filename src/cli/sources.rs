//! What `tollhouse check` finds of the bitcoinds that the settings name: each is asked once. One that is away may only
//! be off just now, so this warns and fails nothing.

use futures_util::future::join_all;

use super::run::in_runtime;
use crate::chain::{self, ChainSource, RpcAuth, SourceFault};
use crate::config::{Problem, Settings, Source};

/// What is doubtful about them.
pub(super) fn doubts(settings: &Settings) -> Vec<Problem> {
    let network = settings.node.network;
    let asked = settings.node.chain.sources.iter().filter_map(|source| match source {
        ChainSource::Bitcoind { auth, .. } => Some((source, auth)),
        // Others are servers of somebody else's: `check` asks nobody but this machine's own.
        ChainSource::Esplora { .. } | ChainSource::Electrum { .. } => None,
    });
    let looked = join_all(asked.map(|(source, auth)| async move {
        let fault = chain::check(source, network).await.err()?;
        Some(doubt(settings, source, auth, &fault))
    }));
    in_runtime(async { Ok(looked.await) }).unwrap_or_default().into_iter().flatten().collect()
}

/// What one answered, in the words of the setting that it is about.
fn doubt(settings: &Settings, bitcoind: &ChainSource, auth: &RpcAuth, fault: &SourceFault) -> Problem {
    let cookie = match auth {
        RpcAuth::CookieFile(path) => Some(path),
        RpcAuth::Password { .. } => None,
    };
    let unread = cookie.filter(|path| std::fs::File::open(path).is_err());
    let (setting, what, help) = match (fault, unread) {
        (SourceFault::WrongNetwork { .. }, _) => ("network", fault.to_string(), String::new()),
        (SourceFault::Unreachable { .. }, Some(path)) => (
            "chain.cookie_file",
            format!("the cookie {} of {bitcoind} cannot be read", path.display()),
            "bitcoind writes it when it starts: start it (with server=1), or name the .cookie of its data directory as a \
             user that may read it. Until then the node cannot run."
                .to_owned(),
        ),
        (SourceFault::Unreachable { why, .. }, None) if why.contains("refused the user") => (
            if cookie.is_some() { "chain.cookie_file" } else { "chain.user" },
            format!("{bitcoind} does not let Tollhouse in: {why}"),
            "Name the cookie of this very bitcoind, or the user and the password that it knows.".to_owned(),
        ),
        (SourceFault::Unreachable { why, .. }, None) => (
            "chain.port",
            format!("{bitcoind} does not answer: {why}"),
            "Start it (with server=1), or correct chain.host and chain.port. Until then the node cannot run.".to_owned(),
        ),
    };
    // Several sources are one setting.
    let said = |name: &str| settings.shown.iter().find(|shown| shown.setting == name);
    let setting =
        if said("chain.sources").is_some() && setting != "network" { "chain.sources" } else { setting };
    Problem {
        file: settings.file.clone(),
        source: said(setting).map_or(Source::Default, |shown| shown.source.clone()),
        setting: setting.to_owned(),
        what,
        help,
    }
}
