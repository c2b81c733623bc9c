//! `tollhouse try GET URL`: the appliance asks its own gateway as a customer would, and pays where a wallet is at hand.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::amounts::sats;
use super::operator::{Admin, Failure, OperatorArgs, Shown, ask};
use super::price::{body, headers};
use crate::config::Environment;

/// What `try` is told.
#[derive(Args, Debug)]
pub(super) struct TrialArgs {
    /// The method, such as GET
    method: String,
    /// Path and query, from the gateway's root
    target: String,
    /// A header of the request
    #[arg(short = 'H', long = "header", value_name = "K: V")]
    headers: Vec<String>,
    /// The request's body, or @FILE
    #[arg(short = 'd', long = "data", value_name = "DATA")]
    data: Option<String>,
    /// The host that a customer asks for, where services have one
    #[arg(long)]
    host: Option<String>,
    /// The offer to take, by its name
    #[arg(long, value_name = "NAME")]
    offer: Option<String>,
    /// Pay what the 402 asks, with the customer's wallet of the demo, and ask again
    #[arg(long)]
    pay: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Shows what the gateway answers.
pub(super) fn run(args: &TrialArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| make(admin, args).await)
}

async fn make(admin: &Admin, args: &TrialArgs) -> Result<Shown, Failure> {
    let asked = json!({
        "method": args.method.to_ascii_uppercase(),
        "target": args.target,
        "host": args.host,
        "headers": headers(&args.headers)?,
        "body": body(args.data.as_deref())?.unwrap_or_default(),
        "offer": args.offer,
        "pay": args.pay,
    });
    let tried = admin.post("/api/v1/trials", &asked).await?;
    let text = text(&tried);
    Ok(Shown::new(tried, text))
}

fn text(tried: &Value) -> String {
    let first = &tried["answer"];
    let mut parts = Vec::new();
    match (first["invoice"].as_str(), tried["paid"].is_null()) {
        (Some(invoice), true) => {
            parts.push(format!("402: it costs {}. Nothing was paid.", sats(&first["price_msat"])));
            parts.push(format!("invoice  {invoice}"));
            parts.push(said(first));
        }
        (Some(_), false) => {
            parts.push(format!("402: it costs {}, and that was paid.", sats(&first["price_msat"])));
            parts.push(said(&tried["paid"]));
        }
        (None, _) => parts.push(said(first)),
    }
    parts.join("\n")
}

/// One answer: its status, then its body.
fn said(answer: &Value) -> String {
    let body: String = answer["body"].as_str().unwrap_or_default().chars().filter(|&c| plain(c)).collect();
    let cut = match answer["bytes"].as_u64() {
        Some(bytes) if usize::try_from(bytes).is_ok_and(|bytes| bytes > body.len()) => {
            format!("\n… of {bytes} bytes")
        }
        _ => String::new(),
    };
    format!("answer   {}\n\n{}{cut}", answer["status"], body.trim_end())
}

/// What an upstream answers does not steer the terminal.
fn plain(c: char) -> bool {
    !c.is_control() || matches!(c, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_paid_is_told_and_no_answer_steers_the_terminal() {
        let reply = |status: u16, body: &str, invoice: Option<&str>| json!({ "status": status, "body": body, "bytes": body.len(), "invoice": invoice, "price_msat": 15_000 });
        let asked = text(&json!({ "answer": reply(402, "{}", Some("lnbcrt1x")), "paid": null }));
        assert!(asked.starts_with("402: it costs 15 sat. Nothing was paid.\ninvoice  lnbcrt1x"), "{asked}");
        let paid = json!({ "answer": reply(402, "{}", Some("lnbcrt1x")), "paid": reply(200, "a\u{1b}[2Jb\n", None) });
        let paid = text(&paid);
        assert!(paid.contains("and that was paid") && paid.contains("answer   200\n\na[2Jb"), "{paid}");
        assert!(
            text(&json!({ "answer": reply(200, "free", None), "paid": null })).starts_with("answer   200")
        );
    }
}
