//! `tollhouse audit`: proves the books from every row of the ledger's file.
//!
//! It only reads, so it may run beside the appliance, or without one; of an appliance whose directory
//! nothing tells, such as the demo, it asks the admin API instead. Exit codes: 0 the books are right; 1
//! they are not; 2 bad arguments or no ledger found; 4 the appliance did not answer.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::amounts::sats;
use super::operator::{self, Failure, OperatorArgs, Shown};
use crate::config::Environment;
use crate::store::{Ledger, StoreError};

/// What `audit` is told.
#[derive(Args, Debug)]
pub(super) struct AuditArgs {
    /// The ledger's file; by default the one of the configured appliance
    #[arg(value_name = "LEDGER.DB")]
    file: Option<PathBuf>,
    #[command(flatten)]
    operator: OperatorArgs,
}

pub(super) fn run(args: &AuditArgs, env: &Environment) -> ExitCode {
    let found = match &args.file {
        Some(file) => Ok(Some(file.clone())),
        None => args.operator.ledger_file(env),
    };
    let shown = match found {
        Ok(Some(file)) => of_file(&file),
        Ok(None) => {
            return operator::ask(&args.operator, env, async |admin| {
                Ok(shown(admin.get("/api/v1/audit").await?))
            });
        }
        Err(failure) => Err(failure),
    };
    match shown {
        Ok(shown) => shown.print(args.operator.json()),
        Err(failure) => operator::fail(&failure, args.operator.json()),
    }
}

fn of_file(file: &Path) -> Result<Shown, Failure> {
    let failed = |error: StoreError| Failure::arguments(format!("{}: {error}", file.display()));
    if !file.exists() {
        return Err(Failure::arguments(format!("{} is not there: nothing was sold yet", file.display())));
    }
    let report = Ledger::audit_file(file).map_err(failed)?;
    let value = serde_json::to_value(report).expect("a report is plain strings and numbers");
    Ok(shown(value))
}

fn shown(report: Value) -> Shown {
    let right = report["ok"] == true;
    let text = text(&report);
    Shown::new(report, text).exiting(u8::from(!right))
}

fn text(report: &Value) -> String {
    let number = |name: &str| report[name].as_i64().unwrap_or_default();
    let mut lines = match report["mismatches"].as_array().map(Vec::as_slice) {
        Some([]) => vec!["The books are right.".to_owned(), String::new()],
        Some(wrong) => {
            let told = wrong.iter().filter_map(Value::as_str).map(|what| format!("  {what}"));
            std::iter::once("The books are wrong:".to_owned()).chain(told).chain([String::new()]).collect()
        }
        None => Vec::new(),
    };
    let figures = [
        ("received", number("received_msat"), "msat"),
        ("earned", number("earned_msat"), "msat"),
        ("unearned", number("owed_msat") + number("unredeemed_msat"), "msat"),
        ("lapsed", number("lapsed_msat"), "msat"),
        ("overpaid", number("overpaid_msat"), "msat"),
        ("kept back for channels", number("opening_fees_msat"), "msat"),
        ("perhaps paid twice", number("surplus_msat"), "msat"),
        ("used by granted tokens", number("granted_spent_msat"), "msat"),
        ("tokens", number("grants"), ""),
        ("requests charged", number("calls"), ""),
        ("requests under way", number("holds_open"), ""),
        ("requests given back", number("restored") + number("crash_restored"), ""),
        ("payments", number("payments"), ""),
        ("  token not presented yet", number("payments_unredeemed"), ""),
        ("  token came before it", number("payments_pending"), ""),
        ("  late", number("payments_late"), ""),
        ("  for nobody knows what", number("payments_unknown"), ""),
    ];
    let row = |(name, count, unit): (&str, i64, &str)| match unit {
        "msat" => format!("{name:<26}{:>20} sat", sats(&count.into()).trim_end_matches(" sat")),
        _ => format!("{name:<26}{count:>20}"),
    };
    lines.extend(figures.map(row));
    lines.join("\n")
}
