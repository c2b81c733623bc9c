//! Transactions of ours that no chain source took yet, so that a command calls nothing on its way that is not.

use std::time::Duration;

use serde_json::Value;

use super::operator::Admin;

/// The library hands a transaction over beside the answer to who asked for it: after one that is new, it is looked
/// so often, with so long between.
const LOOKS: usize = 4;
const BETWEEN: Duration = Duration::from_millis(200);

/// What is done once the channel works no more, whatever becomes of its closing transaction.
const CLOSES: [&str; 2] = ["close_channel", "force_close_channel"];

/// What to make of it, wherever one is named.
pub(super) const AGAIN: &str = "It is handed over again and again: do not send the same again.";

/// Those that wait, as the appliance tells them.
#[derive(Debug, Default)]
pub(super) struct Unsent(Vec<Value>);

impl Unsent {
    /// Those of now; none where that cannot be told.
    pub(super) async fn now(admin: &Admin) -> Unsent {
        let told = admin.get("/api/v1/chain").await.unwrap_or_default();
        Unsent::of(&told)
    }

    /// Those of now, a moment after `row` was begun.
    pub(super) async fn soon_after(admin: &Admin, row: &Value) -> Unsent {
        for _ in 1..LOOKS {
            let unsent = Unsent::now(admin).await;
            if transaction(row).is_none() || unsent.of_operation(row).is_some() {
                return unsent;
            }
            tokio::time::sleep(BETWEEN).await;
        }
        Unsent::now(admin).await
    }

    pub(super) fn of(told: &Value) -> Unsent {
        Unsent(told["unsent"].as_array().cloned().unwrap_or_default())
    }

    /// Why no source took this transaction; `None` of one that waits for none.
    pub(super) fn why(&self, txid: &str) -> Option<&str> {
        self.0.iter().find(|one| one["txid"] == txid)?["why"].as_str()
    }

    /// The one that spends this output (`txid:vout`), such as the closing transaction of the channel that it funds.
    pub(super) fn spending(&self, funding: &Value) -> Option<&str> {
        let spends = |one: &&Value| one["spends"].as_array().is_some_and(|spends| spends.contains(funding));
        self.0.iter().find(spends)?["txid"].as_str()
    }

    /// That the transaction of an operation is on no way yet.
    pub(super) fn of_operation(&self, row: &Value) -> Option<String> {
        let closing = || self.spending(Some(&row["outcome"]["spends"]).filter(|it| it.is_string())?);
        let txid = match row["state"].as_str() {
            Some("sent") => transaction(row)?,
            // A channel is closed from when its closing transaction is signed.
            Some("done") if CLOSES.iter().any(|kind| row["kind"] == *kind) => closing()?,
            _ => return None,
        };
        let why = self.why(txid)?;
        Some(format!("is signed, and no chain source took it yet: {why}. {AGAIN}"))
    }
}

/// The transaction of an operation: a channel's is in its funding output.
fn transaction(row: &Value) -> Option<&str> {
    let outcome = &row["outcome"];
    let funding = || outcome["funding"].as_str()?.split(':').next();
    outcome["txid"].as_str().or_else(|| funding().filter(|_| row["kind"] == "open_channel"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_source_took_is_found_by_its_id_and_by_what_it_spends() {
        let unsent =
            Unsent::of(&json!({ "unsent": [{ "txid": "ab", "spends": ["f0:1"], "why": "it is away" }] }));
        assert_eq!((unsent.why("ab"), unsent.why("f0")), (Some("it is away"), None));
        assert_eq!(unsent.spending(&json!("f0:1")), Some("ab"));
        let row = |state: &str| json!({ "kind": "send", "state": state, "outcome": { "txid": "ab" } });
        let said = unsent.of_operation(&row("sent")).expect("it waits");
        assert!(said.starts_with("is signed, and no chain source took it yet: it is away."), "{said}");
        assert_eq!(unsent.of_operation(&row("done")), None);
        let closed = json!({ "kind": "close_channel", "state": "done", "outcome": { "spends": "f0:1" } });
        assert_eq!(unsent.of_operation(&closed), Some(said));
        let opens = json!({ "kind": "open_channel", "state": "sent", "outcome": { "funding": "ab:0" } });
        assert!(unsent.of_operation(&opens).is_some());
    }
}
