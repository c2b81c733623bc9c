//! Commands that move coins: each says first what will happen, asks, and is done once for its key.

use http::Method;
use serde_json::Value;

use super::ground::agree;
use super::operator::{Admin, Failure, Shown};
use super::times;
use super::unsent::Unsent;
use crate::clock::{Entropy, SystemEntropy};

/// Whether and how it is asked first.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Consent {
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// Only say what would happen
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// A name for this move of coins: the same again is the same one. Without it each call is a new one
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

impl Consent {
    /// Whether it is to be done without asking.
    pub(super) fn is_given(&self) -> bool {
        self.yes
    }

    /// Whether it has a name, under which it may have been done before.
    pub(super) fn is_keyed(&self) -> bool {
        self.key.is_some()
    }

    /// Asks whether what `text` says, which is `plan` for programs, shall be done; where that was only to be
    /// said, gives it.
    ///
    /// # Errors
    /// When the answer is no, or there is nobody to ask.
    pub(super) fn ask(&self, plan: Value, text: String) -> Result<Option<Shown>, Failure> {
        if self.dry_run {
            return Ok(Some(Shown::new(plan, text)));
        }
        agree(&text, false)?;
        Ok(None)
    }

    /// The key that names this move for good.
    pub(super) fn key(&self) -> String {
        self.key.clone().unwrap_or_else(|| {
            let mut unique = [0; 16];
            SystemEntropy::new().fill(&mut unique);
            format!("cli-{}", hex::encode(unique))
        })
    }
}

/// One call that moves coins.
pub(super) struct Move<'a> {
    /// `POST`, or `DELETE` without a body.
    pub(super) method: Method,
    /// Without a query.
    pub(super) path: String,
    /// `force=true`, and nothing for most.
    pub(super) query: &'a str,
    /// What is asked for.
    pub(super) body: Value,
}

/// Says what will happen, asks, does it, and says how it stands.
pub(super) async fn carry_out(admin: &Admin, consent: &Consent, asked: Move<'_>) -> Result<Shown, Failure> {
    let Move { method, path, query, body } = asked;
    let dry = format!("{path}?{query}{}dry_run=true", if query.is_empty() { "" } else { "&" });
    let plan = async || match method {
        Method::DELETE => admin.delete(&dry).await,
        _ => admin.post(&dry, &body).await,
    };
    let (mut unasked, mut agreed) = (None, None);
    if consent.yes {
        // What was done before under a key cannot be said beforehand any more.
        let known = consent.key.is_some();
        unasked = if known { None } else { plan().await.ok().map(|plan| sums(&plan)) };
    } else {
        let plan = plan().await?;
        agreed = plan["figures"]["fee_rate_sat_per_kvb"].as_u64();
        let text = plan_text(&plan);
        if plan["enough"] == false {
            return match consent.dry_run {
                true => Ok(Shown::new(plan, text).exiting(1)),
                false => Err(Failure::refused("not_enough", text)),
            };
        }
        if let Some(only_said) = consent.ask(plan, text)? {
            return Ok(only_said);
        }
    }
    let key = consent.key();
    // Who agreed to a fee pays no more than that, however long the question stood.
    let agreed = agreed.map(|rate| format!("most_sat_per_kvb={rate}"));
    let query: Vec<&str> =
        [query].into_iter().filter(|own| !own.is_empty()).chain(agreed.as_deref()).collect();
    let whole = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
    let row = match method {
        Method::DELETE => admin.delete_keyed(&whole, &key).await?,
        _ => admin.post_keyed(&whole, &key, &body).await?,
    };
    let failed = row["state"] == "failed";
    let told = unasked.filter(|sums| !failed && !sums.is_empty());
    let unsent = Unsent::soon_after(admin, &row).await;
    let text = told.map(|sums| format!("{sums}\n")).unwrap_or_default() + &row_text(&row, &unsent);
    let exit = u8::from(failed);
    Ok(Shown::new(row, text).exiting(exit))
}

fn plan_text(plan: &Value) -> String {
    let mut lines: Vec<&str> =
        plan["lines"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (&plan["enough"], &plan["undoable"]) {
        // Its lines say how much there is.
        (Value::Bool(false), _) => lines.insert(0, "There is not enough for it: nothing was done."),
        (_, Value::Bool(false)) => lines.push("This cannot be undone."),
        _ => {}
    }
    lines.join("\n")
}

/// What goes where, what it costs and what is left, for who was not asked: the lines of the plan that say sums.
fn sums(plan: &Value) -> String {
    let lines = plan["lines"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let sums: Vec<&str> = lines.filter(|line| line.contains(" sat")).collect();
    sums.join(" ")
}

/// One operation in a line or two.
pub(super) fn row_text(row: &Value, unsent: &Unsent) -> String {
    let outcome = &row["outcome"];
    let word = |name: &str, called: &str| {
        outcome[name].as_str().map(|text| format!(", {called}{text}")).unwrap_or_default()
    };
    let waits = unsent.of_operation(row);
    let what = match row["state"].as_str().unwrap_or_default() {
        "done" if waits.is_some() => {
            "is done as far as the channel goes, and its coins are not on their way yet"
        }
        "done" => "is done",
        "failed" => "failed, and nothing moved",
        "unclear" => "is unclear: look whether it was done, and say so with `tollhouse operations settle`",
        _ if waits.is_some() => "is not on its way yet",
        _ => "is on its way",
    };
    let waits = waits.map(|waits| format!(" The transaction {waits}")).unwrap_or_default();
    format!(
        "Operation {} ({}, {}) {what}{}{}{}{}.{waits}",
        row["operation"],
        in_words(row["kind"].as_str().unwrap_or_default()),
        times::moment(&row["begun_at"]),
        word("txid", "transaction "),
        word("closing_txid", "closing transaction "),
        word("channel_id", "channel "),
        word("reason", ""),
    )
}

/// A code of the API for people: `splice_out` as `splice out`.
pub(super) fn in_words(code: &str) -> String {
    code.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_move_is_told_in_words() {
        let row = json!({ "operation": 3, "kind": "splice_out", "state": "sent", "begun_at": 0,
            "outcome": { "txid": "ab", "channel_id": "cd" } });
        let told = row_text(&row, &Unsent::default());
        assert_eq!(told, "Operation 3 (splice out, -) is on its way, transaction ab, channel cd.");
        let unsent = Unsent::of(&json!({ "unsent": [{ "txid": "ab", "spends": [], "why": "it is away" }] }));
        let told = row_text(&row, &unsent);
        assert!(told.contains("is not on its way yet, transaction ab"), "{told}");
        assert!(told.contains("no chain source took it yet: it is away. It is handed over"), "{told}");
    }

    #[test]
    fn who_is_not_asked_is_told_the_sums_and_who_is_asked_everything() {
        let plan = json!({ "enough": true, "undoable": false, "lines": [
            "20000 sat go to bcrt1q.", "Payments under way end first.", "Of 98000 sat, about 77000 sat are left.",
        ] });
        assert_eq!(sums(&plan), "20000 sat go to bcrt1q. Of 98000 sat, about 77000 sat are left.");
        let asked = plan_text(&plan);
        assert!(asked.contains("end first.") && asked.ends_with("This cannot be undone."), "{asked}");
        let most =
            "At most about 70 sat can be sent now: of the 90 sat that may be sent about 20 sat are needed.";
        let short = json!({ "enough": false, "undoable": false, "lines": [most] });
        assert_eq!(plan_text(&short), format!("There is not enough for it: nothing was done.\n{most}"));
    }
}
