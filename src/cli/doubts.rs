//! `tollhouse tokens doubtful` and `honour`: tokens that a restored ledger cannot prove.

use serde_json::{Value, json};

use super::operator::{Admin, Failure, Shown, table};
use super::times::moment;
use crate::types::Msat;

/// Those that came, or were honoured.
pub(super) async fn list(admin: &Admin) -> Result<Shown, Failure> {
    let listed = admin.get("/api/v1/tokens/doubtful").await?;
    let text = list_text(&listed);
    Ok(Shown::new(listed, text))
}

/// Takes one to be good, or all.
pub(super) async fn honour(admin: &Admin, payment_hash: Option<&str>) -> Result<Shown, Failure> {
    let ask = match payment_hash {
        Some(hash) => json!({ "payment_hash": hash.trim() }),
        None => json!({ "all": true }),
    };
    let done = admin.post("/api/v1/tokens/honour", &ask).await?;
    let text = match (done["honoured"].as_bool(), payment_hash) {
        (Some(true), Some(_)) => "The token is good again, as far as the copy knows it.",
        (Some(true), None) => {
            "All tokens from before the restore are good again, as far as the copy knows them."
        }
        (_, Some(_)) => "It was honoured before, or no token is in doubt.",
        (_, None) => "No token is in doubt.",
    };
    Ok(Shown::new(done, text))
}

fn list_text(listed: &Value) -> String {
    let below = match listed["below_epoch"].as_u64() {
        None | Some(0) => return "No token is in doubt.".to_owned(),
        Some(epoch) => epoch,
    };
    let head = format!(
        "Since {} tokens of epochs below {below} are refused until you honour them: tollhouse tokens honour HASH, \
         or --all.",
        moment(&listed["since"]),
    );
    let rows: Vec<[String; 6]> = listed["tokens"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|token| {
            let word = |name: &str| token[name].as_str().unwrap_or("-").to_owned();
            let price = token["price_msat"].as_u64().and_then(|msat| Msat::new(msat).ok());
            [
                word("payment_hash"),
                word("service"),
                word("kind"),
                price.map_or_else(|| "-".to_owned(), |price| price.to_string()),
                moment(&token["presented_at"]),
                moment(&token["honoured_at"]),
            ]
        })
        .collect();
    if rows.is_empty() {
        return format!("{head}\nNone came yet.");
    }
    format!("{head}\n{}", table(["PAYMENT", "SERVICE", "KIND", "PAID", "CAME", "HONOURED"], rows))
}
