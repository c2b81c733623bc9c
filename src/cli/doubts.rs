//! `tollhouse tokens doubtful` and `honour`: tokens that a restored ledger cannot prove.

use serde_json::{Value, json};

use super::amounts::sats;
use super::ground::Yes;
use super::operator::{Admin, Failure, Shown, table};
use super::times::moment;
use super::tokens::{hash_beginning, several};

/// Those that came, or were honoured.
pub(super) async fn list(admin: &Admin) -> Result<Shown, Failure> {
    let listed = admin.get("/api/v1/tokens/doubtful").await?;
    let text = list_text(&listed);
    Ok(Shown::new(listed, text))
}

/// Takes one to be good, or all.
pub(super) async fn honour(admin: &Admin, beginning: Option<&str>, sure: Yes) -> Result<Shown, Failure> {
    let ask = match beginning {
        Some(beginning) => json!({ "payment_hash": whole(admin, beginning).await? }),
        None => json!({ "all": true }),
    };
    let which = if beginning.is_some() { "This token" } else { "Every token from before the restore" };
    sure.or_ask(&format!(
        "{which} is good again: what was used of it since the copy may be used once more."
    ))?;
    let done = admin.post("/api/v1/tokens/honour", &ask).await?;
    let text = match (done["honoured"].as_bool(), beginning) {
        (Some(true), Some(_)) => "The token is good again, as far as the copy knows it.",
        (Some(true), None) => {
            "All tokens from before the restore are good again, as far as the copy knows them."
        }
        (_, Some(_)) => "It was honoured before: it is good already.",
        (_, None) => NONE,
    };
    Ok(Shown::new(done, text))
}

const NONE: &str = "No token is in doubt: there is nothing to honour.";

/// The whole hash that begins so, of a token in doubt that came, or of one that the copy knows.
async fn whole(admin: &Admin, beginning: &str) -> Result<String, Failure> {
    let clean = hash_beginning(beginning)?;
    let listed = admin.get("/api/v1/tokens/doubtful").await?;
    if listed["below_epoch"].as_u64().unwrap_or_default() == 0 {
        return Err(Failure::refused("no_doubt", NONE));
    }
    let rows = listed["tokens"].as_array().into_iter().flatten();
    let mut fitting = rows.filter_map(|row| row["payment_hash"].as_str()).filter(|it| it.starts_with(&clean));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one.to_owned()),
        (Some(_), Some(_)) => Err(several(&clean)),
        // It did not come since the restore.
        (None, _) => super::tokens::whole(admin, &clean).await,
    }
}

fn list_text(listed: &Value) -> String {
    let below = match listed["below_epoch"].as_u64() {
        None | Some(0) => return NONE.to_owned(),
        Some(epoch) => epoch,
    };
    let head = format!(
        "Since {} tokens of epochs below {below} are refused until you honour them: tollhouse tokens honour HASH, \
         or --all.",
        moment(&listed["since"]),
    );
    let rows: Vec<[String; 7]> = listed["tokens"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|token| {
            let word = |name: &str| token[name].as_str().unwrap_or("-").to_owned();
            [
                word("payment_hash"),
                word("service"),
                word("kind"),
                sats(&token["price_msat"]),
                moment(&token["presented_at"]),
                moment(&token["honoured_at"]),
                if token["given_after"] == true { GIVE_ANOTHER } else { "" }.to_owned(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return format!("{head}\nNone came yet.");
    }
    format!("{head}\n{}", table(["PAYMENT", "SERVICE", "KIND", "PAID", "CAME", "HONOURED", ""], rows))
}

const GIVE_ANOTHER: &str = "given after the copy was made: give another, tollhouse tokens grant";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_what_helps_each() {
        let row = |after: bool| {
            json!({ "payment_hash": "ab".repeat(32), "service": "rates", "kind": "granted", "price_msat": 0,
                    "presented_at": 0, "honoured_at": null, "given_after": after })
        };
        let text = list_text(&json!({ "below_epoch": 2, "since": 0, "tokens": [row(true), row(false)] }));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("epochs below 2"), "{text}");
        assert!(lines[2].ends_with("tollhouse tokens grant"), "{text}");
        assert!(!lines[3].contains("grant another") && !lines[3].ends_with("grant"), "{text}");
        assert_eq!(list_text(&json!({ "below_epoch": 0 })), NONE);
    }
}
