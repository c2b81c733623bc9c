//! `tollhouse demo invoice`: an invoice of the running demo's payer, so that paying out can be tried.

use std::process::ExitCode;

use serde_json::json;

use super::super::operator::{OperatorArgs, Shown, ask};
use crate::config::Environment;

#[derive(Debug, clap::Args)]
pub(super) struct InvoiceArgs {
    /// How much it is over
    #[arg(long, value_name = "SATS")]
    amount_sat: u64,
    /// Print one JSON object, errors too
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &InvoiceArgs, env: &Environment) -> ExitCode {
    ask(&OperatorArgs::of_demo(args.json), env, async |admin| {
        let body = json!({ "amount_sat": args.amount_sat });
        let made = admin.post("/api/v1/trials/invoice", &body).await?;
        let invoice = made["invoice"].as_str().unwrap_or_default().to_owned();
        Ok(Shown::new(made, invoice))
    })
}
