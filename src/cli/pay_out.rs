//! `tollhouse pay-out`: earned sats over Lightning to the operator's own wallet, which makes room for new ones.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::amounts;
use super::moving::Consent;
use super::operator::{Admin, Failure, OperatorArgs, Shown, ask};
use super::times;
use crate::config::Environment;

#[derive(Debug, clap::Args)]
pub(super) struct PayOutArgs {
    /// An offer (lno1…), a Lightning address (name@host), an LNURL, or an invoice
    to: String,
    /// How much; may be left out where the payee names the amount
    #[arg(long, value_name = "SATS")]
    amount_sat: Option<u64>,
    /// The most that routing may cost; default one percent, and never less than 10
    #[arg(long, value_name = "SATS")]
    max_fee_sat: Option<u64>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    appliance: OperatorArgs,
}

pub(super) fn run(args: &PayOutArgs, env: &Environment) -> ExitCode {
    ask(&args.appliance, env, async |admin| pay_out(args, admin).await)
}

async fn pay_out(args: &PayOutArgs, admin: &Admin) -> Result<Shown, Failure> {
    let body = json!({ "to": args.to, "amount_sat": args.amount_sat, "max_fee_sat": args.max_fee_sat });
    if !args.consent.is_given() {
        let plan = admin.post("/api/v1/payouts?dry_run=true", &body).await?;
        if !plan["already"].is_null() {
            let text = format!("{AGAIN}\n{}", row_text(&plan["already"]));
            return Ok(Shown::new(plan, text));
        }
        let text = plan_text(&plan);
        if let Some(only_said) = args.consent.ask(plan, text)? {
            return Ok(only_said);
        }
    }
    let key = args.consent.key();
    let row = admin.post_keyed("/api/v1/payouts", &key, &body).await?;
    let mut text = row_text(&row);
    if row["key"] != key {
        text = format!("{AGAIN}\n{text}");
    }
    let exit = if row["state"] == "failed" { 1 } else { 0 };
    Ok(Shown::new(row, text).exiting(exit))
}

const AGAIN: &str = "This invoice was asked for before. It is paid once: nothing new was begun.";

fn plan_text(plan: &Value) -> String {
    let what = plan["description"].as_str().filter(|text| !text.is_empty());
    let what = what.map_or_else(String::new, |text| format!(" (\"{text}\")"));
    let (fee, amount) = (plan["max_fee_msat"].as_u64(), plan["amount_msat"].as_u64());
    let dear = match fee.zip(amount) {
        Some((fee, amount)) if fee > amount / 10 => {
            let percent = fee.saturating_mul(100).checked_div(amount).unwrap_or(u64::MAX);
            format!("\nCareful: routing may cost {percent} % of what arrives; --max-fee-sat sets less.")
        }
        _ => String::new(),
    };
    format!(
        "Pays {}{what}, and at most {} for routing. Of {} spendable at least {} stays; receivable grows by \
         about {}. What has arrived cannot be taken back.{dear}",
        sats(&plan["amount_msat"]),
        sats(&plan["max_fee_msat"]),
        sats(&plan["spendable_msat"]),
        sats(&plan["spendable_after_msat"]),
        sats(&plan["receivable_gained_msat"]),
    )
}

fn row_text(row: &Value) -> String {
    let reason = row["reason"].as_str().unwrap_or("without a reason");
    let what = match row["state"].as_str().unwrap_or_default() {
        "done" => format!("arrived, for {} of routing", sats(&row["fee_msat"])),
        "failed" => format!("was not paid: {reason}"),
        "unclear" => format!("is unclear: {reason}. See `tollhouse operations`"),
        _ => "is on its way".to_owned(),
    };
    let at = times::moment(&row["begun_at"]);
    format!("Payout {} of {} ({at}) {what}.", row["id"], sats(&row["amount_msat"]))
}

fn sats(msat: &Value) -> String {
    if msat.is_null() { "an amount that the payee names".to_owned() } else { amounts::sats(msat) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_happen_is_said_in_words() {
        let plan = json!({ "amount_msat": 5_000_000, "max_fee_msat": 50_000, "spendable_msat": 9_000_000,
                           "spendable_after_msat": 3_950_000, "receivable_gained_msat": 5_000_000, "description": "me" });
        let text = plan_text(&plan);
        for part in
            ["5,000 sat (\"me\")", "at most 50 sat", "Of 9,000 sat spendable at least 3,950 sat stays"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let dear = json!({ "amount_msat": 50_000, "max_fee_msat": 10_000 });
        assert!(plan_text(&dear).contains("20 % of what arrives"), "{}", plan_text(&dear));
        let row =
            json!({ "id": 3, "state": "failed", "reason": "no route", "amount_msat": 1_000, "begun_at": 0 });
        assert!(row_text(&row).contains("was not paid: no route"), "{}", row_text(&row));
    }
}
