//! Reads `[lightning]`, `[chain]` and `[gossip]` into what the node needs to know.

use std::path::Path;

use bitcoin::Network;

use super::document::Section;
use super::layer::Layers;
use super::problem::Bad;
use super::{liquidity, listed, or_default, value};
use crate::node::config::{GossipSource, NodeConfig};

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
    let chain = super::chain::read(layers, &mut section, network, base);
    layers.problems.extend(section.finish());

    let mut section = top.section("gossip");
    let gossip = gossip(layers, &mut section);
    layers.problems.extend(section.finish());
    Some(NodeConfig {
        network: network?,
        chain: chain?,
        gossip: gossip?,
        listen,
        alias,
        trusted_peers_no_reserve,
        liquidity: liquidity?,
    })
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
