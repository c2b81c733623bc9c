//! Backup & recovery: could money be lost today? The age of each thing that brings money back, and the copies of
//! the ledger: made, proved, fetched.

mod guards;

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

use guards::{Guard, headline, is_elsewhere, ledger, snapshot, words};

use super::figures::{counted, grouped, iso, sats_exact, utc};
use super::form::Fields;
use super::question::Question;
use super::shell::{Desk, Section, Shell};
use super::vouched::Vouched;
use super::{entry, fault, html};
use crate::backup::{Shelved, Standing, Verified};
use crate::clock::in_words;
use crate::store::{Generation, StoreError};
use crate::types::Timestamp;
use crate::web::{Operator, Problem, backup_problem};

/// Copies that the page lists.
const SHOWN: usize = 20;
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
