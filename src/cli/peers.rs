//! `tollhouse peers`: the nodes that this one is connected to or keeps calling.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::operator::{Failure, OperatorArgs, Shown, ask, table};
use crate::config::Environment;

#[derive(Debug, clap::Args)]
pub(super) struct PeersArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(subcommand)]
    command: Option<Peers>,
}

#[derive(Debug, Subcommand)]
enum Peers {
    /// All of them
    List,
    /// Connect, and keep calling
    Connect {
        /// KEY@HOST:PORT
        node: String,
    },
    /// Disconnect, and do not call again; not while there is a channel
    Forget {
        /// Its public key, or at least the first 8 characters of it, if no other begins so
        peer: String,
    },
}

pub(super) fn run(args: &PeersArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| match &args.command {
        None | Some(Peers::List) => {
            let listed = admin.get("/api/v1/peers").await?;
            let rows = listed["peers"].as_array().into_iter().flatten().map(|peer| {
                let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let yes = |value: &Value| if value == true { "yes" } else { "no" }.to_owned();
                [word(&peer["peer"]), word(&peer["address"]), yes(&peer["connected"]), yes(&peer["kept"])]
            });
            let mut text = table(["PEER", "ADDRESS", "CONNECTED", "KEPT"], rows);
            if let Some(place) = listed["suggested"].as_str() {
                text = format!("{text}\n\nThe sandbox's payer takes channels: {place}");
            }
            Ok(Shown::new(listed, text))
        }
        Some(Peers::Connect { node }) => {
            let (peer, address) = place(node)?;
            let made = admin.post("/api/v1/peers", &json!({ "peer": peer, "address": address })).await?;
            Ok(Shown::new(made, format!("Connected to {peer}.")))
        }
        Some(Peers::Forget { peer }) => {
            let hexadecimal = peer.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !hexadecimal || !(LEAST..=KEY).contains(&peer.len()) {
                let text = format!(
                    "`{peer}` is no node's public key, which is {KEY} hexadecimal digits, nor {LEAST} or more of its first"
                );
                return Err(Failure::arguments(text));
            }
            let peer = match peer.len() {
                KEY => peer.clone(),
                _ => named(&admin.get("/api/v1/peers").await?, peer)?,
            };
            admin.delete(&format!("/api/v1/peers/{peer}")).await?;
            Ok(Shown::new(json!({ "forgotten": peer }), format!("{peer} is forgotten.")))
        }
    })
}

/// Digits of a public key, and as many of its first as other tables show at least.
const KEY: usize = 66;
const LEAST: usize = 8;

/// The key of the one peer that begins so.
fn named(listed: &Value, beginning: &str) -> Result<String, Failure> {
    let beginning = beginning.to_ascii_lowercase();
    let keys = listed["peers"].as_array().into_iter().flatten().filter_map(|peer| peer["peer"].as_str());
    let mut fitting = keys.filter(|key| key.starts_with(&beginning));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one.to_owned()),
        (None, _) => Err(Failure::arguments(format!("no peer's key begins with {beginning}"))),
        (Some(_), Some(_)) => {
            Err(Failure::arguments(format!("several peers' keys begin with {beginning}: say more of it")))
        }
    }
}

/// `KEY@HOST:PORT` in its parts.
pub(super) fn place(node: &str) -> Result<(&str, &str), Failure> {
    node.split_once('@').ok_or_else(|| {
        Failure::arguments(format!("`{node}` is not a node: say its public key and address as KEY@HOST:PORT"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_named_by_how_its_key_begins_where_no_other_begins_so() {
        let keys = ["02aaaaaaaa11", "02aaaaaaaa22", "03bbbbbbbbcc"];
        let listed = json!({ "peers": keys.map(|peer| json!({ "peer": peer })) });
        assert_eq!(named(&listed, "03BBBBBB").expect("it is one"), keys[2]);
        assert!(named(&listed, "02aaaaaaaa").is_err_and(|failure| failure.text.contains("several")));
        assert!(named(&listed, "04").is_err_and(|failure| failure.text.contains("no peer")));
    }
}
