//! The chain sources, asked now: by a running appliance, for what it heard some time ago says nothing of this moment; and by
//! doctor itself, where the appliance asks none.
//!
//! Until a limit of `[alarms]` is passed, its health calls the chain and the fees fine. Where no source answers, doctor
//! does not.

use serde_json::{Value, json};

use super::Report;
use crate::chain;
use crate::cli::operator::{Admin, Failure};
use crate::config::Settings;
use crate::types::Severity::{Critical, Warning};

const FIX: &str = "Start what does not answer, or correct `[chain]` in the settings and start Tollhouse again. \
                   `tollhouse chain --test` asks again.";

/// Has the appliance ask each of its sources, and says what they answered.
pub(super) async fn ask(admin: &Admin, report: &mut Report) {
    match admin.post("/api/v1/chain/test", &json!({})).await {
        Ok(asked) => answered(&asked, report),
        // A key that may only read.
        Err(Failure { code, .. }) if code == "missing_scope" => {
            if let Ok(known) = admin.get("/api/v1/chain").await {
                heard(&known, report);
            }
        }
        Err(failure) => {
            let text =
                format!("The chain sources could not be asked: {}.", failure.text.trim_end_matches('.'));
            report.found("chain", Warning, "chain_not_asked", text, "`tollhouse chain --test`, and the log.");
        }
    }
}

/// Asks each source of an appliance that asks none itself: it does not run, or waits for its seed.
pub(super) async fn look(settings: &Settings, report: &mut Report) {
    for source in &settings.node.chain.sources {
        match chain::check(source, settings.node.network).await {
            Ok(()) => report.fine("chain", format!("{source} answers")),
            Err(fault @ chain::SourceFault::WrongNetwork { .. }) => {
                let fix = "Correct network or chain.";
                report.found("chain", Critical, "chain_wrong_network", format!("{fault}."), fix);
            }
            Err(fault) => {
                let severity = if settings.node.chain.sources.len() > 1 { Warning } else { Critical };
                let fix = "Bring it back, or name a second one in chain.sources.";
                report.found("chain", severity, "chain_unreachable", format!("{fault}."), fix);
            }
        }
    }
}

fn name(source: &Value) -> &str {
    source["name"].as_str().unwrap_or_default()
}

/// What each said, just now.
fn answered(asked: &Value, report: &mut Report) {
    let sources = asked["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let none = !sources.is_empty() && sources.iter().all(|source| source["fault"].is_string());
    if none {
        doubt(report);
    }
    for source in sources {
        let Some(fault) = source["fault"].as_str() else {
            let ms = source["took_ms"].as_u64().unwrap_or_default();
            report.fine("chain", format!("{} answers now, in {ms} ms", name(source)));
            continue;
        };
        let fault = fault.trim_end_matches('.');
        let (severity, text) = match (none, source["in_use"] == true) {
            (true, true) => (
                Critical,
                format!(
                    "Asked now, {fault}. Nothing new is heard of the chain: no coins can be sent, and after \
                     chain.stale_after nothing is sold."
                ),
            ),
            (true, false) => (Critical, format!("Asked now, {fault}.")),
            (false, true) => {
                (Warning, format!("Asked now, {fault}. It is the one in use; another one answers."))
            }
            (false, false) => (Warning, format!("Asked now, {fault}. It is in reserve.")),
        };
        report.found("chain", severity, "chain_unreachable", text, FIX);
    }
}

/// What each said when the node asked it last, where asking now is not allowed.
fn heard(known: &Value, report: &mut Report) {
    for source in known["sources"].as_array().into_iter().flatten().filter(|source| source["in_use"] == true)
    {
        if source["answers"] != false {
            let detail = format!("{} was not asked now: the key may only read", name(source));
            report.fine("chain", detail);
            continue;
        }
        doubt(report);
        let text = format!("{} did not answer when the node asked it last.", name(source));
        report.found("chain", Warning, "chain_unreachable", text, FIX);
    }
}

/// What was said of the chain and the fees by what was heard before is not called fine.
fn doubt(report: &mut Report) {
    for (name, severity, _) in &mut report.checks {
        if matches!(name.as_str(), "chain" | "fees") && severity.is_none() {
            *severity = Some(Warning);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_health() -> Report {
        let mut report = Report::default();
        report.fine("chain", "at height 120");
        report.fine("fees", "fee rates are known");
        report
    }

    fn fine(report: &Report) -> Vec<&str> {
        let fine = report.checks.iter().filter(|(_, severity, _)| severity.is_none());
        fine.map(|(_, _, detail)| detail.as_str()).collect()
    }

    #[test]
    fn while_no_source_answers_nothing_of_the_chain_is_fine() {
        let dead = json!({ "name": "bitcoind b:1", "in_use": true, "took_ms": 3, "fault": "the chain source b:1 does not answer: refused" });
        let mut report = after_health();
        answered(&json!({ "sources": [dead] }), &mut report);
        assert!(fine(&report).is_empty(), "{report:?}");
        assert_eq!(report.worst(), Some(Critical));
        let (_, code, text, _) = &report.findings[0];
        assert!(code == "chain_unreachable" && text.starts_with("Asked now, the chain source b:1"), "{text}");

        let well = json!({ "name": "esplora e", "in_use": false, "took_ms": 9, "fault": null });
        let mut report = after_health();
        answered(&json!({ "sources": [dead, well] }), &mut report);
        assert_eq!(report.worst(), Some(Warning), "another one can take over");
        assert!(fine(&report).contains(&"esplora e answers now, in 9 ms"), "{report:?}");
    }

    #[test]
    fn who_may_only_read_is_told_what_was_heard_last() {
        let source =
            |answers: Value| json!({ "sources": [{ "name": "b", "in_use": true, "answers": answers }] });
        let mut report = after_health();
        heard(&source(Value::Bool(true)), &mut report);
        assert!(report.findings.is_empty() && fine(&report).len() == 3, "{report:?}");
        heard(&source(Value::Bool(false)), &mut report);
        assert!(report.worst() == Some(Warning) && !fine(&report).contains(&"at height 120"), "{report:?}");
    }
}
