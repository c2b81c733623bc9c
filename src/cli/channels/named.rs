//! Which channel is meant by how its id begins, and how much of an id a table shows.
//!
//! Ids of channels that one transaction funds differ in their last characters only, so what tables show is as long
//! as it must be to tell one from every other: what they show is taken by every command.

use serde_json::Value;

use super::word;
use crate::cli::operator::{Admin, Failure};

/// Shorter beginnings are taken for a slip: these commands move coins.
const LEAST: usize = 8;
/// So much of an id is shown at least.
const SHOWN: usize = 16;

/// The ids of `rows`, each as long as tells it from the others in `all`.
pub(in crate::cli) fn shown(id: &str, all: &[String]) -> String {
    let same = |other: &String| id.bytes().zip(other.bytes()).take_while(|(one, two)| one == two).count();
    let others = all.iter().filter(|other| *other != id);
    let length = others.map(|other| same(other) + 1).max().unwrap_or(0).max(SHOWN);
    id.chars().take(length).collect()
}

/// What a table calls a channel: its id, and before it is funded, when that changes, our own of it.
pub(in crate::cli) fn called(channel: &Value, all: &[String]) -> String {
    match channel["funding"].is_null() && channel["ready"] != true {
        true => word(&channel["local_id"]).chars().take(SHOWN).collect(),
        false => shown(&word(&channel["channel_id"]), all),
    }
}

/// The id of the channel of `listed` that is called `name` by our own id of it; else `name`. Ours are numbers: less of one
/// than tables show is taken for the beginning of another's id.
fn of_own(listed: &Value, name: &str) -> String {
    let name = name.trim();
    let ours = |row: &&Value| {
        let own = word(&row["local_id"]);
        own == name || name.len() >= SHOWN && own.starts_with(name)
    };
    let row = listed["channels"].as_array().and_then(|rows| rows.iter().find(ours));
    row.map_or_else(|| name.to_owned(), |row| word(&row["channel_id"]))
}

/// The ids of all channels, open and closed; of the open ones only as far as the node can be asked.
pub(in crate::cli) async fn ids(admin: &Admin) -> Vec<String> {
    let mut ids = Vec::new();
    for path in ["/api/v1/channels", "/api/v1/channels/closed"] {
        ids.extend(of(&admin.get(path).await.unwrap_or_default()));
    }
    ids
}

fn of(listed: &Value) -> Vec<String> {
    listed["channels"].as_array().into_iter().flatten().map(|row| word(&row["channel_id"])).collect()
}

/// The id of the channel, open or closed, that begins so, or whose id of ours does.
pub(super) async fn any(admin: &Admin, beginning: &str) -> Result<String, Failure> {
    let closed = admin.get("/api/v1/channels/closed").await?;
    let (mut ids, mut beginning) = (of(&closed), of_own(&closed, beginning));
    // While the node is not up, closed ones can be told all the same.
    let away = match admin.get("/api/v1/channels").await {
        Ok(open) => {
            ids.extend(of(&open));
            beginning = of_own(&open, &beginning);
            None
        }
        Err(away) => Some(away),
    };
    one(&ids, &beginning, "no channel's id").map_err(|failure| match failure {
        Wrong::None(_) if away.is_some() => away.unwrap_or_else(|| failure.into()),
        other => other.into(),
    })
}

/// The id of the open channel that begins so, or whose id of ours does.
pub(super) async fn open(admin: &Admin, beginning: &str) -> Result<String, Failure> {
    let listed = admin.get("/api/v1/channels").await?;
    Ok(one(&of(&listed), &of_own(&listed, beginning), "no open channel's id")?)
}

/// Why none is meant.
#[derive(Debug)]
enum Wrong {
    Short,
    None(String),
    Several(String),
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Failure {
        Failure::arguments(match wrong {
            Wrong::Short => {
                format!(
                    "say at least {LEAST} characters of the channel's id, as `tollhouse channels` shows it"
                )
            }
            Wrong::None(text) | Wrong::Several(text) => text,
        })
    }
}

fn one(ids: &[String], beginning: &str, none: &str) -> Result<String, Wrong> {
    let beginning = beginning.trim().to_ascii_lowercase();
    if beginning.len() < LEAST {
        return Err(Wrong::Short);
    }
    let mut fitting: Vec<&String> = ids.iter().filter(|id| id.starts_with(&beginning)).collect();
    fitting.sort_unstable();
    fitting.dedup();
    match fitting.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Wrong::None(format!("{none} begins with {beginning}"))),
        several => {
            let several: Vec<&str> = several.iter().map(|id| id.as_str()).collect();
            let several = several.join(", ");
            Err(Wrong::Several(format!(
                "several channels' ids begin with {beginning}: say more of it ({several})"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_table_shows_of_an_id_names_one_channel() {
        // Two that one transaction funds, and another.
        let all = ["ab".repeat(31) + "00", "ab".repeat(31) + "01", "cd".repeat(32)];
        for id in &all {
            assert_eq!(one(&all, &shown(id, &all), "none").expect("it is one"), *id);
        }
        assert_eq!(shown(&all[2], &all).len(), SHOWN);
        let Err(Wrong::Several(text)) = one(&all, &"ab".repeat(8), "none") else { panic!("two begin so") };
        assert!(text.contains(&all[0]) && text.contains(&all[1]), "{text}");
        assert!(matches!(one(&all, "cdcdcdc", "none"), Err(Wrong::Short)));
        assert!(matches!(one(&all, "00000000", "none"), Err(Wrong::None(_))));
        assert!(one(&all, "CDCDCDCD", "none").is_ok());
        // Our own id of one, which it has before it is funded, too.
        let own = "340282366920938463463374607431768211455";
        let row =
            |funding: Option<&str>| json!({ "channel_id": all[2], "local_id": own, "funding": funding });
        let listed = json!({ "channels": [row(None)] });
        assert_eq!(called(&row(None), &all), own[..SHOWN]);
        assert_eq!(called(&row(Some("f:0")), &all), shown(&all[2], &all));
        for name in [own, &own[..SHOWN]] {
            assert_eq!(of_own(&listed, name), all[2]);
        }
        assert_eq!(of_own(&listed, &own[..LEAST]), own[..LEAST]);
    }
}
