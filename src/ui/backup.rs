//! Backup & recovery: could money be lost today? The age of each thing that brings money back, and the copies of
//! the ledger: made, proved, fetched.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use bytesize::ByteSize;
use http::StatusCode;
use serde::Deserialize;

use super::figures::{ago, counted, grouped, iso, sats_exact, utc};
use super::form::Fields;
use super::question::Question;
use super::shell::{Desk, Section, Shell};
use super::vouched::Vouched;
use super::{entry, fault, html};
use crate::backup::{Destination, Shelved, Standing, Verified};
use crate::clock::in_words;
use crate::rescue::Standing as Way;
use crate::secrets::SeedStatus;
use crate::store::{Generation, StoreError};
use crate::types::Timestamp;
use crate::web::{Operator, Problem, backup_problem};

/// Copies that the page lists.
const SHOWN: usize = 20;
/// A snapshot that is behind the channels for less is about to be written.
const BEHIND: Duration = Duration::from_secs(120);

/// The addresses of these pages.
pub(super) fn router() -> Router<Arc<Operator>> {
    Router::new()
        .route("/backup", get(page))
        .route("/backup/now", post(make))
        .route("/backup/verify", post(verify))
        .route("/backup/fetch", post(fetch))
        .route("/backup/snapshot", post(fetch_snapshot))
        .route("/backup/release", post(release))
}

/// One thing that brings money back, and how it stands.
struct Guard {
    name: &'static str,
    /// What is lost without it.
    why: &'static str,
    fine: bool,
    state: String,
    /// What a dead disk takes all the same, and what to do about it.
    warning: Option<String>,
    more: Vec<String>,
    way: Option<(&'static str, &'static str)>,
    /// It is a file that can be fetched, by a form that goes there.
    fetch: Option<&'static str>,
}

/// A copy as a line.
struct Copy {
    file: String,
    made: String,
    made_iso: String,
    bytes: String,
}

/// A life of the ledger.
struct Life {
    number: u64,
    begun: String,
    begun_iso: Option<String>,
    why: &'static str,
}

/// What the proof of a copy found.
struct Proof {
    file: String,
    facts: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "backup/page.html")]
struct Page {
    shell: Shell,
    said: Option<&'static str>,
    refusal: Option<String>,
    proof: Option<Proof>,
    headline: &'static str,
    /// In the sandbox, where nothing is worth keeping.
    worthless: bool,
    guards: Vec<Guard>,
    dir: Option<String>,
    rhythm: String,
    copies: Vec<Copy>,
    more: usize,
    lives: Vec<Life>,
    doubtful: bool,
    parked: bool,
}

/// A page says one thing that was done, by a fixed word of the query.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    said: String,
}

/// What came of a form.
#[derive(Default)]
struct Came {
    said: Option<&'static str>,
    refusal: Option<Problem>,
    proof: Option<Proof>,
}

/// `GET /backup`.
async fn page(desk: Desk, query: Result<Query<Asked>, QueryRejection>) -> Response {
    let Ok(Query(asked)) = query else { return entry::incomplete() };
    let said = match asked.said.as_str() {
        "made" => Some("The backup is made, was opened again, and its books are right."),
        "released" => Some("Coins may be sent again."),
        _ => None,
    };
    shown(&desk, Came { said, ..Came::default() }).await
}

async fn shown(desk: &Desk, came: Came) -> Response {
    let status = came.refusal.as_ref().map_or(StatusCode::OK, |problem| problem.status);
    match read(desk, came).await {
        Ok(page) => html(status, &page),
        Err(error) => fault(&error),
    }
}

async fn read(desk: &Desk, came: Came) -> Result<Page, StoreError> {
    let parts = &desk.op.parts;
    let now = parts.clock.now();
    let standing = parts.backups.standing().await;
    let (mut copies, unread) = match parts.backups.list().await {
        Ok(copies) => (copies, None),
        Err(fault) => (Vec::new(), Some(backup_problem(fault))),
    };
    let more = copies.len().saturating_sub(SHOWN);
    copies.truncate(SHOWN);
    let way = parts.snapshot.borrow().clone();
    let elsewhere = is_elsewhere(way.clone()).await;
    let guards = vec![
        words(&desk.op.seed.seed().status(), now),
        snapshot(&way, elsewhere, now),
        ledger(&standing, now),
    ];
    let lives = parts.ledger.generations().await?;
    let current = lives.last();
    Ok(Page {
        said: came.said,
        refusal: came.refusal.or(unread).map(|problem| problem.detail),
        proof: came.proof,
        headline: headline(&guards),
        worthless: desk.op.customer().is_some() && standing.dir.is_none(),
        guards,
        dir: standing.dir.as_ref().map(|dir| dir.display().to_string()),
        rhythm: rhythm(&standing),
        copies: copies.iter().map(copy).collect(),
        more,
        doubtful: current.is_some_and(|life| life.doubtful_below_epoch > 0),
        parked: current.is_some_and(|life| life.payouts_parked),
        // A ledger that was never restored has one life, and nobody needs to know.
        lives: if lives.len() > 1 { lives.iter().map(life).collect() } else { Vec::new() },
        shell: desk.shell(Section::Backup).await,
    })
}

/// What the guards come to together, and no more.
fn headline(guards: &[Guard]) -> &'static str {
    if guards.iter().any(|guard| !guard.fine) {
        "A dead disk would cost you money"
    } else if guards.iter().any(|guard| guard.warning.is_some()) {
        "A dead disk would take the copies on it, too"
    } else {
        // Another file system may still be a part of the same disk.
        "A dead disk would cost you little, if the copies lie on another one"
    }
}

/// Whether a copy of the snapshot lies on another file system than the channels' own state.
async fn is_elsewhere(way: Way) -> bool {
    let look = move || {
        let Some(data) = way.copies.first().and_then(|copy| copy.file.parent()) else { return false };
        let written = way.copies.iter().filter(|copy| copy.written_at.is_some());
        written
            .filter_map(|copy| copy.file.parent())
            .any(|dir| Destination::new(dir.to_owned(), data.to_owned()).is_apart().unwrap_or(false))
    };
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}

fn since(then: Timestamp, now: Timestamp) -> String {
    ago(now.secs().saturating_sub(then.secs()))
}

fn words(seed: &SeedStatus, now: Timestamp) -> Guard {
    let (fine, state) = match seed.verified_at {
        Some(at) => (true, format!("Last checked {}.", since(at, now))),
        None if seed.shown_at.is_some() => {
            (false, "They were shown, and nobody proved to have them yet.".to_owned())
        }
        None => (false, "Nobody has seen them yet.".to_owned()),
    };
    let opens = match (seed.opens_with.passphrase, seed.opens_with.key_file) {
        (true, true) => "On disk a passphrase or a key file opens the seed.",
        (true, false) => "On disk a passphrase opens the seed.",
        _ => "On disk a key file beside it opens the seed: whoever copies the whole disk has both.",
    };
    Guard {
        name: "The seed’s words",
        why: "Without them a dead disk is lost money: they open everything else.",
        fine,
        state,
        warning: None,
        more: vec![opens.to_owned()],
        way: Some(match (fine, seed.opens_with.passphrase) {
            (true, true) => ("/start/seed", "Check them again, or change the passphrase"),
            (true, false) => ("/start/seed", "Check them again"),
            (false, _) => ("/start/seed", "Write them down and check them"),
        }),
        fetch: None,
    }
}

fn snapshot(way: &Way, elsewhere: bool, now: Timestamp) -> Guard {
    let newest = way.copies.iter().filter_map(|copy| copy.written_at).max();
    let behind = way.behind_since.filter(|then| now.minus(BEHIND) > *then);
    let failed = way.copies.iter().find_map(|copy| copy.error.as_ref());
    let (fine, state) = match (&way.barred, behind, failed, newest) {
        (Some(why), ..) => (false, format!("The node stays away from its peers: {why}.")),
        (None, Some(then), ..) => (false, format!("It is behind the channels since {}.", utc(then))),
        (None, None, Some(why), _) => (false, format!("It could not be written: {why}.")),
        (None, None, None, Some(at)) => (true, format!("Written {}, {}.", since(at, now), way.kept())),
        (None, None, None, None) => (true, "There is no channel to keep yet.".to_owned()),
    };
    let more =
        way.copies.iter().map(|copy| format!("{} ({})", copy.file.display(), ByteSize(copy.bytes))).collect();
    let second = match way.copies.len() {
        0 | 1 => {
            "Name a second place for it on another disk, as snapshot.dir in tollhouse.toml, and start again"
        }
        _ => "Name a folder on another disk as snapshot.dir in tollhouse.toml, and start again",
    };
    let warning = newest.filter(|_| !elsewhere).map(|_| {
        format!(
            "It lies on the same disk as the channels themselves: a dead disk takes both. {second}; or download it \
             after each change."
        )
    });
    Guard {
        name: "The channels’ snapshot",
        why: "With it and the words, the coins in channels come home when the disk is gone.",
        fine,
        state,
        warning,
        more,
        way: None,
        fetch: newest.map(|_| "/backup/snapshot"),
    }
}

fn ledger(standing: &Standing, now: Timestamp) -> Guard {
    let every = Duration::from_secs(standing.every_seconds);
    let (fine, state) = match (&standing.dir, &standing.failed, &standing.newest) {
        (None, ..) => (false, "None is made: name a folder on another disk.".to_owned()),
        (Some(_), Some(why), _) => (false, format!("The last one failed: {why}.")),
        (Some(_), None, None) => (false, "None was made yet.".to_owned()),
        (Some(_), None, Some(newest)) => {
            let made = newest.created_at;
            // One that is late by less is about to be made.
            (now.minus(every * 2) <= made, format!("Made {}.", since(made, now)))
        }
    };
    Guard {
        name: "The ledger’s backup",
        why: "Without it a dead disk takes what buyers paid for and did not use, and your books.",
        fine,
        state,
        warning: (standing.dir.is_some() && standing.apart == Some(false)).then(|| {
            "These copies lie on the same disk as the data: a dead disk takes both. Name a folder on another disk as \
             backup.dir in tollhouse.toml and start again, or have this folder copied to another machine."
                .to_owned()
        }),
        more: Vec::new(),
        way: None,
        fetch: None,
    }
}

fn rhythm(standing: &Standing) -> String {
    let every = in_words(Duration::from_secs(standing.every_seconds));
    let every = every.strip_prefix("1 ").unwrap_or(&every);
    let mut text = format!("One is made every {every}; the newest {} are kept.", standing.keep);
    if standing.others > 0 {
        text.push_str(&format!(
            " {} of another life of the ledger: never removed.",
            counted(standing.others, "copy")
        ));
    }
    text
}

fn copy(shelved: &Shelved) -> Copy {
    Copy {
        file: shelved.file.clone(),
        made: utc(shelved.created_at),
        made_iso: iso(shelved.created_at),
        bytes: ByteSize(shelved.bytes).to_string(),
    }
}

fn life(generation: &Generation) -> Life {
    let known = generation.begun_at > Timestamp::default();
    Life {
        number: generation.generation,
        begun: if known { utc(generation.begun_at) } else { "at the start".to_owned() },
        begun_iso: known.then(|| iso(generation.begun_at)),
        why: match generation.why.as_str() {
            "first" => "The first one",
            "restored" => "A backup was put in place",
            "old_copy" => "An older copy of the file was found",
            "new_ledger" => "The ledger was gone and began anew",
            "unwitnessed" => "The note of how far it was is gone",
            _ => "Of a later version",
        },
    }
}

/// `POST /backup/now`.
async fn make(desk: Desk) -> Response {
    // It goes on when the browser leaves.
    let backups = Arc::clone(&desk.op.parts.backups);
    let made = desk.op.parts.tracker.spawn(async move { backups.make().await }).await;
    let refusal = match made {
        Ok(Ok(_)) => return Redirect::to("/backup?said=made").into_response(),
        Ok(Err(fault)) => backup_problem(fault),
        Err(_) => Problem::internal(),
    };
    shown(&desk, Came { refusal: Some(refusal), ..Came::default() }).await
}

/// `POST /backup/verify`: opens a copy and audits the ledger in it.
async fn verify(desk: Desk, fields: Fields) -> Response {
    let file = fields.text("file");
    let came = match desk.op.parts.backups.verify(file).await {
        Ok(verified) => Came { proof: Some(proof(file, &verified)), ..Came::default() },
        Err(problem) => Came { refusal: Some(backup_problem(problem)), ..Came::default() },
    };
    shown(&desk, came).await
}

fn proof(file: &str, verified: &Verified) -> Proof {
    let (manifest, audit) = (&verified.manifest, &verified.audit);
    let number = |count: i64| u64::try_from(count).unwrap_or(0);
    let sat = |msat: i64| format!("{} sat", sats_exact(number(msat)));
    let facts = vec![
        ("Books", if audit.ok { "right" } else { "wrong" }.to_owned()),
        ("Made", utc(manifest.created_at)),
        ("Received", sat(audit.sums.received_msat)),
        ("Earned", sat(audit.sums.earned_msat)),
        ("Payments", grouped(number(audit.sums.payments))),
        ("Tokens", grouped(number(audit.sums.grants))),
        ("Written by", format!("Tollhouse {}", manifest.version)),
        ("Ledger in it", ByteSize(manifest.ledger_bytes).to_string()),
    ];
    Proof { file: file.to_owned(), facts }
}

/// `POST /backup/fetch`: leads to the file, where it is one of the copies.
async fn fetch(desk: Desk, Vouched(fields): Vouched) -> Response {
    let file = fields.text("file");
    match desk.op.parts.backups.path(file) {
        Ok(_) => Redirect::to(&format!("/api/v1/backups/{file}")).into_response(),
        Err(problem) => {
            shown(&desk, Came { refusal: Some(backup_problem(problem)), ..Came::default() }).await
        }
    }
}

/// `POST /backup/snapshot`: leads to the newest snapshot, where there is one.
async fn fetch_snapshot(desk: Desk, Vouched(_): Vouched) -> Response {
    match desk.op.newest_snapshot().await {
        Ok(_) => Redirect::to("/api/v1/snapshot").into_response(),
        Err(problem) => shown(&desk, Came { refusal: Some(problem), ..Came::default() }).await,
    }
}

/// `POST /backup/release`: coins may be sent again after a restore.
async fn release(desk: Desk, fields: Fields) -> Response {
    let question = Question {
        section: Section::Backup,
        above: ("/backup".to_owned(), "Backup & recovery".to_owned()),
        title: "Let coins be sent again?".to_owned(),
        lines: vec![
            "Since an older ledger took this one’s place, nothing is sent by itself: a payment that the older ledger \
             does not know of could be made twice."
                .to_owned(),
            "Compare the payouts and sends that you remember with Activity and with the wallet’s history first."
                .to_owned(),
        ],
        warning: Some("What is then sent twice does not come back.".to_owned()),
        action: "/backup/release".to_owned(),
        fields: Vec::new(),
        yes: Some("Let them go"),
        refusal: None,
    };
    if let Err(response) = question.answered(&desk, &fields).await {
        return response;
    }
    match desk.op.parts.ledger.release_payouts().await {
        Ok(_) => Redirect::to("/backup?said=released").into_response(),
        Err(error) => fault(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rescue::SnapshotCopy;

    const NOW: Timestamp = Timestamp::from_secs(1_760_000_000);

    #[test]
    fn a_ledger_without_a_fresh_copy_is_red() {
        let hour = Duration::from_secs(3_600);
        let made = |ago: Duration| Shelved {
            file: "a".to_owned(),
            bytes: 1,
            created_at: NOW.minus(ago),
            of_this_ledger: true,
            came_from: false,
        };
        let standing = |newest: Option<Shelved>, failed: Option<&str>| Standing {
            dir: Some("/backups".into()),
            apart: Some(true),
            every_seconds: 3_600,
            keep: 3,
            newest,
            others: 0,
            failed: failed.map(str::to_owned),
        };
        assert!(ledger(&standing(Some(made(hour)), None), NOW).fine);
        assert!(!ledger(&standing(Some(made(hour * 3)), None), NOW).fine, "it is late");
        assert!(!ledger(&standing(Some(made(hour)), Some("disk full")), NOW).fine);
        assert!(!ledger(&standing(None, None), NOW).fine);
        let nowhere = Standing { dir: None, ..standing(Some(made(hour)), None) };
        assert!(!ledger(&nowhere, NOW).fine);
        let beside = ledger(&Standing { apart: Some(false), ..standing(Some(made(hour)), None) }, NOW);
        assert!(beside.fine && beside.warning.as_ref().is_some_and(|told| told.contains("takes both")));
        assert_eq!(headline(&[beside]), "A dead disk would take the copies on it, too");
        let apart = ledger(&standing(Some(made(hour)), None), NOW);
        assert_eq!(apart.warning, None);
        assert!(headline(&[apart]).ends_with(", if the copies lie on another one"));
        let late = Standing { apart: Some(false), ..standing(Some(made(hour * 3)), None) };
        assert_eq!(headline(&[ledger(&late, NOW)]), "A dead disk would cost you money");
    }

    #[test]
    fn a_passphrase_is_changed_only_where_one_is_set() {
        let way = |passphrase| {
            let opens_with = crate::secrets::OpensWith { passphrase, key_file: true };
            let status = SeedStatus { opens_with, shown_at: Some(NOW), verified_at: Some(NOW) };
            words(&status, NOW).way.map(|way| way.1)
        };
        assert_eq!(way(true), Some("Check them again, or change the passphrase"));
        assert_eq!(way(false), Some("Check them again"));
    }

    #[test]
    fn a_snapshot_that_is_behind_or_barred_is_red() {
        assert!(snapshot(&Way::default(), true, NOW).fine, "no channel, nothing to keep");
        let copy = SnapshotCopy {
            file: "/data/snapshot".into(),
            written_at: Some(NOW.minus(Duration::from_secs(60))),
            bytes: 900,
            error: None,
        };
        let kept = Way { channels: 2, copies: vec![copy.clone()], ..Way::default() };
        let fine = snapshot(&kept, true, NOW);
        assert!(fine.fine && fine.state.contains("of 2 channels, open or closed lately"), "{}", fine.state);
        assert_eq!(fine.warning, None);
        let one_disk = snapshot(&kept, false, NOW);
        assert!(one_disk.fine && one_disk.warning.is_some_and(|told| told.contains("snapshot.dir")));
        assert_eq!(snapshot(&Way::default(), false, NOW).warning, None, "there is nothing to lose");
        let none = snapshot(&Way { channels: 0, ..kept.clone() }, true, NOW);
        assert!(none.fine && none.state.ends_with("of no channel."), "{}", none.state);
        let just = Way { behind_since: Some(NOW), ..kept.clone() };
        assert!(snapshot(&just, true, NOW).fine, "it is being written");
        let behind = Way { behind_since: Some(NOW.minus(BEHIND * 2)), ..kept.clone() };
        assert!(!snapshot(&behind, true, NOW).fine);
        assert!(!snapshot(&Way { barred: Some("old".to_owned()), ..kept.clone() }, true, NOW).fine);
        let failed = SnapshotCopy { error: Some("read-only".to_owned()), ..copy };
        assert!(!snapshot(&Way { copies: vec![failed], ..kept }, true, NOW).fine);
    }
}
