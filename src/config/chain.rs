//! Reads `[chain]`: where blocks come from, one source or several in their order.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::Network;
use url::Url;

use super::document::Section;
use super::layer::Layers;
use super::problem::{Bad, Source};
use super::{listed, location, or_default, value};
use crate::chain::{ChainConfig, ChainSource, RpcAuth};

const KINDS: [&str; 3] = ["bitcoind", "esplora", "electrum"];
/// Settings of a single source.
const SINGLE: [&str; 6] = ["host", "port", "user", "cookie_file", "url", "source"];
/// How a source of a list is written.
const HELP: &str = "Write \"bitcoind://127.0.0.1:8332?cookie_file=/path\", \"bitcoind://user@host:port\", \
                    \"esplora+https://host/api\" or \"electrum+ssl://host:port\".";

pub(crate) fn read(
    layers: &mut Layers<'_>,
    section: &mut Section<'_, '_>,
    network: Option<Network>,
    base: &Path,
) -> Option<ChainConfig> {
    for key in ["host", "port", "user", "password", "cookie_file", "url", "source", "sources"] {
        section.value(key);
    }
    let sources = match several(layers, section, network, base) {
        Said::Wrong => return None,
        Said::These(sources) => sources,
        Said::Nothing => vec![single(layers, section, network, base)?],
    };
    let usual = ChainConfig::of(sources);
    let give_up_after = patience(layers, section, "give_up_after", (1, 3_600, "2m"), usual.give_up_after)?;
    let return_after = patience(layers, section, "return_after", (1, 86_400, "15m"), usual.return_after)?;
    let stale_after = patience(layers, section, "stale_after", (60, 14_400, "1h"), usual.stale_after)?;
    Some(ChainConfig { give_up_after, return_after, stale_after, ..usual })
}

/// A span of time between so many and so many seconds.
fn patience(
    layers: &mut Layers<'_>,
    section: &mut Section<'_, '_>,
    key: &'static str,
    (least, most, example): (u64, u64, &str),
    usual: Duration,
) -> Option<Duration> {
    let (least, most) = (Duration::from_secs(least), Duration::from_secs(most));
    let before = layers.problems.len();
    let said = layers.one(section, key, |text| match humantime::parse_duration(text) {
        Ok(span) if (least..=most).contains(&span) => Ok(span),
        _ => {
            let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
            let help = format!("Write a time between {least} and {most}, such as \"{example}\".");
            Err(Bad::new(format!("\"{text}\" is not such a time"), help))
        }
    });
    if layers.problems.len() > before {
        return None;
    }
    let (span, source) = or_default(said, || usual);
    layers.show(section.name_of(key), humantime::format_duration(span).to_string(), source);
    Some(span)
}

enum Said {
    Nothing,
    Wrong,
    These(Vec<ChainSource>),
}

/// `chain.sources`.
fn several(
    layers: &mut Layers<'_>,
    section: &mut Section<'_, '_>,
    network: Option<Network>,
    base: &Path,
) -> Said {
    let before = layers.problems.len();
    let Some((urls, source)) = layers.list(section, "sources", url) else {
        return if layers.problems.len() > before { Said::Wrong } else { Said::Nothing };
    };
    if layers.problems.len() > before {
        return Said::Wrong;
    }
    // An empty list has no item to tell the place of.
    let source = match (source, section.value("sources")) {
        (Source::Default, Some(said)) => section.source_of(&said.span()),
        (source, _) => source,
    };
    let wrong = |layers: &mut Layers<'_>, bad: Bad| {
        let problem = layers.origin.problem_from(source.clone(), "chain.sources", bad);
        layers.problems.push(problem);
        Said::Wrong
    };
    if let Some(key) = SINGLE.into_iter().find(|key| section.value(key).is_some()) {
        let what = format!("chain.{key} stands beside it: only one of the two ways can be meant");
        return wrong(layers, Bad::new(what, "Say several sources here, or one there."));
    }
    if urls.is_empty() {
        return wrong(layers, Bad::new("the list is empty: blocks have to come from somewhere", HELP));
    }
    let on_command_line = matches!(source, Source::Flag(_));
    if on_command_line && urls.iter().any(|url| url.password().is_some()) {
        let what = "a password stands on the command line, where other users can read it";
        return wrong(layers, Bad::new(what, "Put it into TOLLHOUSE_CHAIN_PASSWORD, or say cookie_file."));
    }
    let password = layers.one(section, "password", value::filled);
    if let Some((_, source)) = &password {
        layers.show("chain.password", "(hidden)", source.clone());
    }
    let base = if matches!(source, Source::File(_)) { base } else { Path::new("") };
    let mut sources = Vec::new();
    for url in &urls {
        let cookie = |path: &str| location::expand(path, base, layers.env);
        match of_url(url, network, password.as_ref().map(|(password, _)| password.as_str()), cookie) {
            Ok(source) => sources.push(source),
            Err(bad) => return wrong(layers, bad),
        }
    }
    let names: Vec<String> = sources.iter().map(ToString::to_string).collect();
    layers.show("chain.sources", listed(&names), source);
    Said::These(sources)
}

fn url(text: &str) -> Result<Url, Bad> {
    // What cannot be read is not said again: it may hold a password.
    let bad = || Bad::new("one of them is not the address of a source", HELP);
    let url = Url::parse(text).map_err(|_| bad())?;
    let known = ["bitcoind", "esplora+http", "esplora+https", "electrum+ssl", "electrum+tcp"];
    let host = url.host_str().is_some_and(|host| !host.is_empty());
    if known.contains(&url.scheme()) && host { Ok(url) } else { Err(bad()) }
}

fn of_url(
    url: &Url,
    network: Option<Network>,
    password: Option<&str>,
    cookie: impl Fn(&str) -> PathBuf,
) -> Result<ChainSource, Bad> {
    let host = url.host_str().unwrap_or_default();
    let (kind, scheme) = url.scheme().split_once('+').unwrap_or((url.scheme(), ""));
    match kind {
        "esplora" => {
            let rest = url.as_str().split_once('+').map_or("", |(_, rest)| rest);
            let url = value::base_url(rest)?;
            Ok(ChainSource::Esplora { url: url.as_str().trim_end_matches('/').to_owned() })
        }
        "electrum" => electrum(&format!("{scheme}{}", &url.as_str()[url.scheme().len()..])),
        _ => {
            let port = url.port().unwrap_or_else(|| rpc_port(network));
            let file = url.query_pairs().find(|(key, _)| key == "cookie_file").map(|(_, file)| cookie(&file));
            let user = percent_decoded(url.username());
            let own = url.password().map(percent_decoded);
            let auth = match (file, user.is_empty(), own.or_else(|| password.map(str::to_owned))) {
                (Some(file), true, _) => RpcAuth::CookieFile(file),
                (None, false, Some(password)) => RpcAuth::Password { user, password },
                (Some(_), false, _) => {
                    return Err(Bad::new(
                        "a bitcoind has a user and a cookie_file: only one can be meant",
                        HELP,
                    ));
                }
                (None, false, None) => {
                    return Err(Bad::new(
                        "a bitcoind has a user and no password",
                        "Say it in TOLLHOUSE_CHAIN_PASSWORD.",
                    ));
                }
                (None, true, _) => return Err(Bad::new("there is no way to log in to a bitcoind", HELP)),
            };
            Ok(ChainSource::Bitcoind { host: host.to_owned(), port, auth })
        }
    }
}

fn percent_decoded(text: &str) -> String {
    // A query's rules, but for the plus sign, which stands for itself in a user or password.
    let text = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(text.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// `ssl://host:port` or `tcp://host:port`.
fn electrum(text: &str) -> Result<ChainSource, Bad> {
    let help = "Write \"ssl://host:50002\", or \"tcp://host:50001\" where nobody listens in.";
    let bad = || Bad::new(format!("\"{text}\" is not an Electrum server's address"), help);
    let url = Url::parse(text).map_err(|_| bad())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let rooted = matches!(url.path(), "" | "/");
    match (url.scheme(), url.host_str(), url.port()) {
        (scheme @ ("ssl" | "tcp"), Some(host), Some(port)) if plain && rooted && !host.is_empty() => {
            Ok(ChainSource::Electrum { url: format!("{scheme}://{host}:{port}") })
        }
        _ => Err(bad()),
    }
}

fn rpc_port(network: Option<Network>) -> u16 {
    match network {
        Some(Network::Bitcoin) => 8_332,
        Some(Network::Signet) => 38_332,
        Some(Network::Testnet) => 18_332,
        _ => 18_443,
    }
}

/// `chain.source` and what belongs to it.
fn single(
    layers: &mut Layers<'_>,
    section: &mut Section<'_, '_>,
    network: Option<Network>,
    base: &Path,
) -> Option<ChainSource> {
    let before = layers.problems.len();
    let source = layers.one(section, "source", |text| {
        KINDS
            .iter()
            .find(|k| **k == text)
            .copied()
            .ok_or_else(|| value::one_of(text, "a source of blocks", &KINDS))
    });
    let Some((kind, source)) = source else {
        if layers.problems.len() == before {
            let help = "Add source = \"bitcoind\", \"esplora\" or \"electrum\" to [chain].";
            section.complain("source", None, Bad::new("it is missing", help));
        }
        return None;
    };
    layers.show("chain.source", kind, source);
    if kind == "esplora" {
        let Some((url, source)) = layers.one(section, "url", value::base_url) else {
            if layers.problems.len() == before {
                let help = "Add url = \"http://127.0.0.1:3002\" to [chain].";
                section.complain("url", None, Bad::new("it is missing: where is the Esplora server?", help));
            }
            return None;
        };
        layers.show("chain.url", url.as_str(), source);
        return Some(ChainSource::Esplora { url: url.as_str().trim_end_matches('/').to_owned() });
    }
    if kind == "electrum" {
        let Some((server, source)) = layers.one(section, "url", electrum) else {
            if layers.problems.len() == before {
                let help = "Add url = \"tcp://127.0.0.1:50001\" to [chain].";
                section.complain("url", None, Bad::new("it is missing: where is the Electrum server?", help));
            }
            return None;
        };
        if let ChainSource::Electrum { url } = &server {
            layers.show("chain.url", url, source);
        }
        return Some(server);
    }
    let (host, source) = or_default(layers.one(section, "host", value::host), || "127.0.0.1".to_owned());
    layers.show("chain.host", &host, source);
    let (port, source) = or_default(layers.one(section, "port", value::port), || rpc_port(network));
    layers.show("chain.port", port.to_string(), source);
    let user = layers.one(section, "user", value::filled);
    let password = layers.one(section, "password", value::filled);
    let cookie = layers.one(section, "cookie_file", value::filled);
    let auth = match (user, password, cookie) {
        (Some((user, user_source)), Some((password, source)), None) => {
            layers.show("chain.user", &user, user_source);
            layers.show("chain.password", "(hidden)", source);
            RpcAuth::Password { user, password }
        }
        (None, None, Some((cookie, source))) => {
            let base = if matches!(source, Source::File(_)) { base } else { Path::new("") };
            let path = location::expand(&cookie, base, layers.env);
            layers.show("chain.cookie_file", path.display().to_string(), source);
            RpcAuth::CookieFile(path)
        }
        (user, password, cookie) => {
            let (key, what) = match (user, password, cookie) {
                (_, _, Some(_)) => (
                    "cookie_file",
                    "it stands beside user or password: only one of the two ways can be meant",
                ),
                (Some(_), None, None) => ("password", "it is missing"),
                (None, Some(_), None) => ("user", "it is missing"),
                _ => ("cookie_file", "there is no way to log in to bitcoind"),
            };
            let help =
                "Say cookie_file, or user and password (the password may stand in TOLLHOUSE_CHAIN_PASSWORD).";
            let at = section.value(key).map(toml::Spanned::span);
            section.complain(key, at, Bad::new(what, help));
            return None;
        }
    };
    Some(ChainSource::Bitcoind { host, port, auth })
}
