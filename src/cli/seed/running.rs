//! What a running appliance is asked about its seed, through its API: the file is its own then.

use std::path::Path;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::operator::{Admin, Failure, Shown};
use super::super::unlocking::{said_or_typed, spoken};
use super::{answers, changed, new_passphrase, printed};
use crate::secrets::{ASKED_WORDS, OpensWith, Passphrase};

/// The words, printed as `seed words` prints them of one that is stopped.
pub(super) async fn words(
    admin: &Admin,
    passphrase: Option<&Path>,
    again: bool,
    as_json: bool,
) -> Result<Shown, Failure> {
    let status = admin.get("/api/v1/seed").await?;
    let opens =
        status["opens_with"].as_array().is_some_and(|ways| ways.iter().any(|way| way == "passphrase"));
    let said = match again && opens {
        true => {
            let typed = tokio::task::block_in_place(|| said_or_typed(passphrase, "Passphrase of the seed"));
            Some(typed.map_err(spoken)?)
        }
        false => None,
    };
    let body = json!({ "again": again, "passphrase": said.as_ref().map(Passphrase::text) });
    let told = admin.post("/api/v1/seed/words", &body).await?;
    let words: Vec<&str> = told["words"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    printed(&Zeroizing::new(words.join(" ")), as_json)
}

/// Asks for three words and says them.
pub(super) async fn verify(admin: &Admin) -> Result<Shown, Failure> {
    let asked = admin.post("/api/v1/seed/questions", &json!({})).await?;
    let numbers: Vec<usize> = serde_json::from_value(asked["numbers"].clone()).unwrap_or_default();
    if numbers.len() != ASKED_WORDS {
        return Err(Failure::refused("internal", "the appliance asked for no words"));
    }
    let answer = tokio::task::block_in_place(|| answers(&numbers))?;
    let words: Vec<&str> = answer.iter().map(|word| word.as_str()).collect();
    let status = admin.post("/api/v1/seed/verify", &json!({ "words": words })).await?;
    Ok(Shown::new(status, super::VERIFIED))
}

/// Changes the passphrase.
pub(super) async fn change(
    admin: &Admin,
    current: Option<&Path>,
    new: Option<&Path>,
    keep: bool,
) -> Result<Shown, Failure> {
    let status = admin.get("/api/v1/seed").await?;
    let has =
        |way: &str| status["opens_with"].as_array().is_some_and(|ways| ways.iter().any(|one| one == way));
    let current = match has("passphrase") {
        true => {
            let typed = tokio::task::block_in_place(|| said_or_typed(current, "Passphrase now"));
            let current = typed.map_err(spoken)?;
            // Before anybody thinks of a new one.
            let body = json!({ "current": current.text() });
            admin.post("/api/v1/seed/passphrase?dry_run=true", &body).await?;
            Some(current)
        }
        false => None,
    };
    let new = match new {
        Some(path) => Passphrase::read(path).map_err(spoken)?,
        None => tokio::task::block_in_place(new_passphrase)?,
    };
    let body = json!({
        "current": current.as_ref().map(Passphrase::text),
        "new": new.text(),
        "keep_key_file": keep,
    });
    let status = admin.post("/api/v1/seed/passphrase", &body).await?;
    Ok(Shown::new(status, changed(OpensWith { passphrase: true, key_file: keep && has("key_file") })))
}
