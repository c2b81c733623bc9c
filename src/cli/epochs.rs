//! `tollhouse tokens epochs`, `rotate` and `retire`: the tokens' master keys.

use serde_json::{Value, json};

use super::amounts::sats;
use super::ground::Yes;
use super::operator::{Admin, Failure, Shown, table};

const EPOCHS: &str = "/api/v1/epochs";

/// Every epoch, and what its tokens are still good for.
pub(super) async fn list(admin: &Admin) -> Result<Shown, Failure> {
    let listed = admin.get(EPOCHS).await?;
    let text = list_text(&listed);
    Ok(Shown::new(listed, text))
}

/// A new epoch mints from now on.
pub(super) async fn rotate(admin: &Admin) -> Result<Shown, Failure> {
    let begun = admin.post(EPOCHS, &json!({})).await?;
    let text = format!(
        "Epoch {} mints from now on; tokens of the others stay good. The file `keys` has a new line: copy it \
         beside the seed.",
        begun["epoch"]
    );
    Ok(Shown::new(begun, text))
}

/// Shows what retiring `epoch` takes, and does it when that was agreed to.
pub(super) async fn retire(admin: &Admin, epoch: u32, sure: Yes) -> Result<Shown, Failure> {
    let listed = admin.get(EPOCHS).await?;
    let mut rows = listed["epochs"].as_array().into_iter().flatten();
    let found = rows.find(|row| row["epoch"] == epoch && row["state"] != "retired");
    let Some(row) = found else {
        let text = format!("there is no epoch {epoch}: it was retired before, or never was");
        return Err(Failure::refused("unknown_epoch", text));
    };
    let takes = takes_text(row, &listed["unknown_msat"]);
    sure.or_ask(&format!("{takes}\nNone of its tokens opens anything any more, for good."))?;
    let seen = &row["unearned_msat"];
    let retired = admin.delete(&format!("{EPOCHS}/{epoch}?unearned_msat={seen}")).await?;
    let text = format!("Epoch {epoch} is retired: its tokens are refused with `unknown_epoch`.");
    Ok(Shown::new(retired, text))
}

fn list_text(listed: &Value) -> String {
    let rows = listed["epochs"].as_array().into_iter().flatten().map(|row| {
        [
            row["epoch"].to_string(),
            row["state"].as_str().unwrap_or_default().to_owned(),
            row["tokens"].to_string(),
            row["waiting"].to_string(),
            sats(&row["unearned_msat"]),
            sats(&row["granted_msat"]),
        ]
    });
    let mut text = table(["EPOCH", "KEY", "TOKENS", "PAID, NOT PRESENTED", "UNEARNED", "GRANTED"], rows);
    if listed["unknown_msat"].as_u64().unwrap_or_default() > 0 {
        text.push_str(&format!("\n{}", unknown_text(&listed["unknown_msat"])));
    }
    text
}

fn takes_text(row: &Value, unknown: &Value) -> String {
    let mut text = format!(
        "Epoch {} has {} live tokens and {} that were paid for and not presented yet. {} of what was paid is not \
         used up{}.",
        row["epoch"],
        row["tokens"],
        row["waiting"],
        sats(&row["unearned_msat"]),
        match row["granted_msat"].as_u64() {
            None | Some(0) => String::new(),
            Some(_) => format!(", and {} of what you gave away", sats(&row["granted_msat"])),
        },
    );
    if unknown.as_u64().unwrap_or_default() > 0 {
        text.push('\n');
        text.push_str(&unknown_text(unknown));
    }
    text
}

fn unknown_text(unknown: &Value) -> String {
    format!(
        "Beside that, {} were paid for tokens that were not presented yet and whose epoch is not known.",
        sats(unknown)
    )
}
