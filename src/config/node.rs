//! Reads `[lightning]`, `[chain]` and `[gossip]` into what the node needs to know.

use std::path::Path;

use bitcoin::Network;

use super::document::Section;
use super::layer::Layers;
use super::problem::{Bad, Source};
use super::{liquidity, listed, location, or_default, value};
use crate::node::config::{ChainSource, GossipSource, NodeConfig, RpcAuth};

pub(crate) fn read(
    layers: &mut Layers<'_>,
    top: &mut Section<'_, '_>,
    network: Option<Network>,
    base: &Path,
) -> Option<NodeConfig> {
    let mut section = top.section("lightning");
    let listen = layers.list(&mut section, "listen", |text| value::listen(text).map(|a| a.to_string()));
    let (listen, source) = or_default(listen, || vec!["0.0.0.0:9735".to_owned()]);
    layers.show("lightning.listen", listed(&listen), source);
    let alias = layers.one(&mut section, "alias", value::alias).map(|(alias, source)| {
        layers.show("lightning.alias", &alias, source);
        alias
    });
    let trusted = layers.list(&mut section, "trusted_peers_no_reserve", value::node_key);
    let (trusted_peers_no_reserve, source) = or_default(trusted, Vec::new);
    layers.show("lightning.trusted_peers_no_reserve", listed(&trusted_peers_no_reserve), source);
    layers.problems.extend(section.finish());
    let liquidity = liquidity::read(layers, top);

    let mut section = top.section("chain");
    let chain = chain(layers, &mut section, network, base);
    layers.problems.extend(section.finish());

    let mut section = top.section("gossip");
    let gossip = gossip(layers, &mut section);
    layers.problems.extend(section.finish());
    Some(NodeConfig {
        network: network?,
        chain: chain?.into(),
        gossip: gossip?,
        listen,
        alias,
        trusted_peers_no_reserve,
        liquidity: liquidity?,
    })
}

fn chain(
    layers: &mut Layers<'_>,
    section: &mut Section<'_, '_>,
    network: Option<Network>,
    base: &Path,
) -> Option<ChainSource> {
    let known = ["bitcoind", "esplora"];
    for key in ["host", "port", "user", "password", "cookie_file", "url"] {
        section.value(key);
    }
    let before = layers.problems.len();
    let source = layers.one(section, "source", |text| {
        known
            .iter()
            .find(|k| **k == text)
            .copied()
            .ok_or_else(|| value::one_of(text, "a source of blocks", &known))
    });
    let Some((kind, source)) = source else {
        if layers.problems.len() == before {
            let help = "Add source = \"bitcoind\" or source = \"esplora\" to [chain].";
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
    let (host, source) = or_default(layers.one(section, "host", value::host), || "127.0.0.1".to_owned());
    layers.show("chain.host", &host, source);
    let rpc_port = match network {
        Some(Network::Bitcoin) => 8_332,
        Some(Network::Signet) => 38_332,
        Some(Network::Testnet) => 18_332,
        _ => 18_443,
    };
    let (port, source) = or_default(layers.one(section, "port", value::port), || rpc_port);
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

fn gossip(layers: &mut Layers<'_>, section: &mut Section<'_, '_>) -> Option<GossipSource> {
    let known = ["p2p", "rapid_sync"];
    section.value("url");
    let before = layers.problems.len();
    let source = layers.one(section, "source", |text| {
        known
            .iter()
            .find(|k| **k == text)
            .copied()
            .ok_or_else(|| value::one_of(text, "a source of gossip", &known))
    });
    if layers.problems.len() > before {
        return None;
    }
    let (kind, source) = or_default(source, || "p2p");
    layers.show("gossip.source", kind, source);
    if kind == "p2p" {
        return Some(GossipSource::P2p);
    }
    let Some((url, source)) = layers.one(section, "url", value::base_url) else {
        if layers.problems.len() == before {
            let help = "Add url = \"https://…/snapshot\" to [gossip].";
            section.complain("url", None, Bad::new("it is missing: where is the snapshot server?", help));
        }
        return None;
    };
    layers.show("gossip.url", url.as_str(), source);
    Some(GossipSource::RapidSync { url: url.as_str().trim_end_matches('/').to_owned() })
}
