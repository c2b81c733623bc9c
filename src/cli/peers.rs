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
        /// Its public key
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
            let is_key = peer.len() == 66 && peer.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_key {
                let text = format!("`{peer}` is no node's public key, which is 66 hexadecimal digits");
                return Err(Failure::arguments(text));
            }
            admin.delete(&format!("/api/v1/peers/{peer}")).await?;
            Ok(Shown::new(json!({ "forgotten": peer }), format!("{peer} is forgotten.")))
        }
    })
}

/// `KEY@HOST:PORT` in its parts.
pub(super) fn place(node: &str) -> Result<(&str, &str), Failure> {
    node.split_once('@').ok_or_else(|| {
        Failure::arguments(format!("`{node}` is not a node: say its public key and address as KEY@HOST:PORT"))
    })
}
