//! Reads `[gateway]`: where customers' requests arrive, who may stand in front, how often one may ask.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;
use url::Url;

use super::document::Section;
use super::layer::Layers;
use super::problem::{Bad, Problem};
use super::{listed, or_default, tls, value};
use crate::l402::UnknownCaveats;
use crate::proxy::TlsFiles;
use crate::request::{ForwardedBy, Proxies};
use crate::throttle::{Limits, Rate};

/// The listener that customers use.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its address as customers see it, when something stands in front.
    pub public_url: Option<Url>,
    /// Its certificate, where it speaks TLS itself.
    pub tls: Option<TlsFiles>,
    /// Whose word is taken for who asks, and how often one may.
    pub entrance: Entrance,
}

/// Whose word is taken for who asks, and how often one may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// The proxies in front.
    pub proxies: Proxies,
    /// Whether their connections begin with a header of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// How often one may ask for what costs us work.
    pub limits: Limits,
    /// What to do with a token that has a condition which we do not know.
    pub unknown_caveats: UnknownCaveats,
}

impl Default for Entrance {
    fn default() -> Entrance {
        Entrance {
            proxies: Proxies::default(),
            proxy_protocol: ProxyProtocol::Off,
            limits: Limits::usual(),
            unknown_caveats: UnknownCaveats::default(),
        }
    }
}

/// Which version of HAProxy's PROXY protocol connections of trusted proxies begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// None.
    #[default]
    Off,
    /// The one in text.
    V1,
    /// The binary one.
    V2,
    /// Either.
    Any,
}

impl ProxyProtocol {
    const WORDS: [&'static str; 4] = ["off", "v1", "v2", "any"];

    /// Its word in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProxyProtocol::Off => "off",
            ProxyProtocol::V1 => "v1",
            ProxyProtocol::V2 => "v2",
            ProxyProtocol::Any => "any",
        }
    }
}

pub(crate) fn read(
    layers: &mut Layers<'_>,
    top: &mut Section<'_, '_>,
    base: &Path,
    warnings: &mut Vec<Problem>,
) -> Gateway {
    let mut section = top.section("gateway");
    let listen = layers.one(&mut section, "listen", value::listen);
    let (listen, source) = or_default(listen, || SocketAddr::from(([0, 0, 0, 0], 8402)));
    layers.show("gateway.listen", listen.to_string(), source);
    let public = layers.one(&mut section, "public_url", value::base_url).map(|(url, source)| {
        layers.show("gateway.public_url", url.as_str(), source.clone());
        (url, source)
    });
    let (proxies, proxy_protocol) = read_proxies(layers, &mut section, warnings);
    if let Some((_, source)) = public.as_ref().filter(|_| proxies.trusted.is_empty()) {
        let what = "something stands in front, and gateway.trusted_proxies does not say what";
        let help = "All customers look like that proxy then, and share what one of them may ask for: say its address.";
        warnings.push(layers.origin.problem_from(source.clone(), "gateway.public_url", Bad::new(what, help)));
    }
    let limits = read_limits(layers, &mut section);
    let unknown_caveats = read_unknown_caveats(layers, &mut section, warnings);
    let tls = tls::read(layers, &mut section, base);
    layers.problems.extend(section.finish());
    let entrance = Entrance { proxies, proxy_protocol, limits, unknown_caveats };
    Gateway { listen, public_url: public.map(|(url, _)| url), tls, entrance }
}

fn read_proxies(
    layers: &mut Layers<'_>,
    section: &mut Section<'_, '_>,
    warnings: &mut Vec<Problem>,
) -> (Proxies, ProxyProtocol) {
    let (trusted, source) = or_default(layers.list(section, "trusted_proxies", network), Vec::new);
    let names: Vec<String> = trusted.iter().map(ToString::to_string).collect();
    layers.show("gateway.trusted_proxies", listed(&names), source.clone());
    if trusted.iter().any(|network| network.prefix_len() == 0) {
        let what = "every address is a trusted proxy: whoever asks may say that they are somebody else";
        let help = "Name the addresses of your own proxies.";
        let bad = Bad::new(what, help);
        warnings.push(layers.origin.problem_from(source, "gateway.trusted_proxies", bad));
    }
    let (by, source) = or_default(layers.one(section, "forwarded_by", forwarded_by), ForwardedBy::default);
    layers.show("gateway.forwarded_by", header_of(by), source);
    let (protocol, source) =
        or_default(layers.one(section, "proxy_protocol", proxy_protocol), ProxyProtocol::default);
    layers.show("gateway.proxy_protocol", protocol.as_str(), source.clone());
    if protocol != ProxyProtocol::Off && trusted.is_empty() {
        let bad = Bad::new("nobody's header would be believed", "Say gateway.trusted_proxies.");
        layers.problems.push(layers.origin.problem_from(source, "gateway.proxy_protocol", bad));
    }
    (Proxies { trusted, by }, protocol)
}

fn read_unknown_caveats(
    layers: &mut Layers<'_>,
    section: &mut Section<'_, '_>,
    warnings: &mut Vec<Problem>,
) -> UnknownCaveats {
    let said = layers.one(section, "unknown_caveats", unknown_caveats);
    let (unknown, source) = or_default(said, UnknownCaveats::default);
    layers.show("gateway.unknown_caveats", word_of(unknown), source.clone());
    if unknown == UnknownCaveats::Skip {
        let what = "a condition in a token that is not known here is passed over";
        let help = "Whoever narrowed a token by it believes that it holds. Prefer \"deny\".";
        let bad = Bad::new(what, help);
        warnings.push(layers.origin.problem_from(source, "gateway.unknown_caveats", bad));
    }
    unknown
}

const fn word_of(unknown: UnknownCaveats) -> &'static str {
    match unknown {
        UnknownCaveats::Refuse => "deny",
        UnknownCaveats::Skip => "skip",
    }
}

fn unknown_caveats(text: &str) -> Result<UnknownCaveats, Bad> {
    let all = [UnknownCaveats::Refuse, UnknownCaveats::Skip];
    let found = all.into_iter().find(|one| word_of(*one) == text);
    found.ok_or_else(|| value::one_of(text, "what to do with them", &all.map(word_of)))
}

fn read_limits(layers: &mut Layers<'_>, gateway: &mut Section<'_, '_>) -> Limits {
    let mut section = gateway.section("limits");
    let usual = Limits::usual();
    let mut one = |key: &'static str, usual: Option<Rate>| {
        let (rate, source) = or_default(layers.one(&mut section, key, rate), || usual);
        let shown = rate.map_or_else(|| "off".to_owned(), |rate| rate.to_string());
        layers.show(format!("gateway.limits.{key}"), shown, source);
        rate
    };
    let limits = Limits {
        challenges: one("challenges", usual.challenges),
        all_challenges: one("all_challenges", usual.all_challenges),
        failures: one("failures", usual.failures),
        all_failures: one("all_failures", usual.all_failures),
    };
    layers.problems.extend(section.finish());
    limits
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, Bad> {
    let bad = |what: &str| {
        let help = "Write such as \"10.0.0.0/8\", \"2001:db8::/32\" or \"127.0.0.1\".";
        Bad::new(format!("\"{text}\" {what}"), help)
    };
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = network.map_err(|_| bad("is not a network"))?;
    if network.trunc() != network {
        return Err(bad(&format!("has bits beyond its prefix; did you mean \"{}\"?", network.trunc())));
    }
    Ok(network)
}

fn proxy_protocol(text: &str) -> Result<ProxyProtocol, Bad> {
    let all = [ProxyProtocol::Off, ProxyProtocol::V1, ProxyProtocol::V2, ProxyProtocol::Any];
    let found = all.into_iter().find(|one| one.as_str() == text);
    found.ok_or_else(|| value::one_of(text, "a PROXY protocol", &ProxyProtocol::WORDS))
}

const fn header_of(by: ForwardedBy) -> &'static str {
    match by {
        ForwardedBy::XForwarded => "x-forwarded-for",
        ForwardedBy::Forwarded => "forwarded",
    }
}

fn forwarded_by(text: &str) -> Result<ForwardedBy, Bad> {
    let all = [ForwardedBy::XForwarded, ForwardedBy::Forwarded];
    let found = all.into_iter().find(|by| header_of(*by).eq_ignore_ascii_case(text));
    found.ok_or_else(|| value::one_of(text, "a header", &all.map(header_of)))
}

/// A rate; `off` is none.
fn rate(text: &str) -> Result<Option<Rate>, Bad> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let help = "Write such as \"600 per minute\" (or second, or hour), or \"off\".";
        Bad::new(format!("\"{text}\" is not a rate"), help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_a_prefix_or_an_address() {
        assert_eq!(network("127.0.0.1").map(|n| n.to_string()).ok().as_deref(), Some("127.0.0.1/32"));
        assert_eq!(network("2001:db8::/32").map(|n| n.to_string()).ok().as_deref(), Some("2001:db8::/32"));
        for bad in ["", "10.0.0.1/8", "10.0.0.0/33", "localhost", "::1/"] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_limit_is_a_rate_or_off() {
        assert_eq!(rate("off").ok(), Some(None));
        assert!(rate("5 per second").is_ok_and(|rate| rate.is_some()) && rate("5").is_err());
    }
}
