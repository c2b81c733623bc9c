//! Reads `[liquidity.lsps2]` and `[liquidity.lsps1]`: who opens channels to us, and what it may cost.

use super::document::Section;
use super::layer::Layers;
use super::problem::Bad;
use super::{or_default, value};
use crate::node::config::{JustInTime, Liquidity, Lsp};
use crate::types::Msat;

/// What is paid for an opening when nothing is said: satoshi, and hundredths of the payment.
const MAX_FEE_SAT: u64 = 5_000;
const MAX_FEE_PERCENT: u32 = 30;

/// Invoices that open a channel, in an hour, when nothing is said.
const MAX_PER_HOUR: u32 = 12;

/// `None` when something that is needed is missing or wrong; the problems say what.
pub(crate) fn read(layers: &mut Layers<'_>, top: &mut Section<'_, '_>) -> Option<Liquidity> {
    let mut outer = top.section("liquidity");
    let mut section = outer.section("lsps2");
    let lsp = lsp(layers, &mut section);
    let fee = layers.one(&mut section, "max_fee_sat", |text| {
        let sat = text.parse().ok().and_then(|sat| Msat::from_sat(sat).ok());
        sat.ok_or_else(|| Bad::new(format!("\"{text}\" is no amount in satoshi"), "Such as \"5000\"."))
    });
    let percent = layers.one(&mut section, "max_fee_percent", |text| within(text, 1..=100));
    let per_hour = layers.one(&mut section, "max_per_hour", |text| within(text, 1..=1_000));
    let just_in_time = match &lsp {
        Some(Some(lsp)) => {
            let (max_fee, source) =
                or_default(fee, || Msat::from_sat(MAX_FEE_SAT).expect("a few thousand satoshi fit"));
            layers.show("liquidity.lsps2.max_fee_sat", max_fee.sats_floor().to_string(), source);
            let (max_fee_percent, source) = or_default(percent, || MAX_FEE_PERCENT);
            layers.show("liquidity.lsps2.max_fee_percent", max_fee_percent.to_string(), source);
            let (max_per_hour, source) = or_default(per_hour, || MAX_PER_HOUR);
            layers.show("liquidity.lsps2.max_per_hour", max_per_hour.to_string(), source);
            Some(JustInTime { lsp: lsp.clone(), max_fee, max_fee_percent, max_per_hour })
        }
        _ => None,
    };
    layers.problems.extend(section.finish());

    let mut section = outer.section("lsps1");
    let orders = self::lsp(layers, &mut section);
    layers.problems.extend(section.finish());
    layers.problems.extend(outer.finish());
    lsp?;
    Some(Liquidity { just_in_time, orders: orders? })
}

/// Who and where: both or neither. `None` when one of them is missing or wrong.
#[allow(clippy::option_option, reason = "none is said, or what is said is wrong")]
fn lsp(layers: &mut Layers<'_>, section: &mut Section<'_, '_>) -> Option<Option<Lsp>> {
    let before = layers.problems.len();
    let node = layers.one(section, "node", value::node_key);
    let address = layers.one(section, "address", address);
    let token = layers.one(section, "token", value::filled);
    if layers.problems.len() > before {
        return None;
    }
    let (node, address) = match (node, address) {
        (None, None) => {
            if token.is_some() {
                let what = "a token without who takes it";
                section.complain_at("token", Bad::new(what, "Say node and address too."));
                return None;
            }
            return Some(None);
        }
        (Some(_), None) => {
            let help = "Say where the node listens, such as \"lsp.example:9735\".";
            section.complain("address", None, Bad::new("it is missing", help));
            return None;
        }
        (None, Some(_)) => {
            let help = "Say the node's public key, 66 hexadecimal digits.";
            section.complain("node", None, Bad::new("it is missing", help));
            return None;
        }
        (Some(node), Some(address)) => (node, address),
    };
    let name = |key: &str| section.name_of(key);
    layers.show(name("node"), &node.0, node.1);
    layers.show(name("address"), &address.0, address.1);
    let token = token.map(|(token, source)| {
        layers.show(name("token"), "(hidden)", source);
        token
    });
    Some(Some(Lsp { node: node.0, address: address.0, token }))
}

/// `host:port`.
fn address(text: &str) -> Result<String, Bad> {
    let help = "Write a host and a port, such as \"lsp.example:9735\".";
    let bad = || Bad::new(format!("\"{text}\" is not a node's address"), help);
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port: Result<u16, _> = port.parse();
    if bare.is_empty() || bare.contains(char::is_whitespace) || !port.is_ok_and(|port| port > 0) {
        return Err(bad());
    }
    Ok(text.to_owned())
}

fn within(text: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32, Bad> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let help = format!("Use a whole number from {} to {}.", range.start(), range.end());
        Bad::new(format!("\"{text}\" is out of bounds"), help)
    })
}
