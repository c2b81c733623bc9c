//! Endpoints that hear of what happens: added, tested, switched off and on, forgotten.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use super::deliveries::DeliveryLine;
use super::keys::shown_once;
use super::meanings::meaning;
use super::refused::{failed, unknown};
use super::{above, gets, standing};
use crate::egress::Reach;
use crate::store::{DeliveryFilter, DeliveryState, WebhookRow};
use crate::ui::figures::{iso, quoted, utc};
use crate::ui::form::{Fields, Refused};
use crate::ui::question::{Question, notice};
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::vouched::Vouched;
use crate::ui::{entry, fault, html};
use crate::web::{Problem, label, webhook_problem};
use crate::webhooks::{self, Tested, WebhookAsk, topics};

/// Deliveries of one page.
const SHOWN: u32 = 50;

/// One thing that can be chosen.
struct Topic {
    name: &'static str,
    says: &'static str,
    ticked: bool,
}

/// Things of one kind that can be chosen.
struct Group {
    /// The field that chooses all of it.
    word: &'static str,
    name: &'static str,
    says: &'static str,
    ticked: bool,
    topics: Vec<Topic>,
}

impl Group {
    /// Whether some of it was chosen one by one.
    fn singly(&self) -> bool {
        self.topics.iter().any(|topic| topic.ticked)
    }
}

/// The kinds, each with its field and what its topics' names begin with; what none claims is of the last one.
const GROUPS: [(&str, &str, &str, &[&str]); 6] = [
    (
        "all_payments",
        "Payments",
        "What customers paid, and what was paid out.",
        &["payment", "sale", "payouts"],
    ),
    (
        "all_tokens",
        "Tokens",
        "What becomes of what customers bought: used up, given back, revoked, in doubt.",
        &["unit", "grant", "token", "epoch"],
    ),
    ("all_alarms", "Alarms", "Something needs a person, got worse, or is over.", &["alarm"]),
    (
        "all_channels",
        "Channels",
        "Channels that open, close or change their size, and the chain source.",
        &["channel", "chain"],
    ),
    (
        "all_moves",
        "Moves of coins",
        "What was asked for and what became of it, by hand or by a rule; the vault.",
        &["operation", "rule", "vault"],
    ),
    (
        "all_house",
        "This Tollhouse",
        "Starts, changes of what is sold, backups, the seed, and proofs of the books.",
        &[],
    ),
];

/// Which of the kinds a topic is of.
fn kind(topic: &str) -> usize {
    let word = topic.split('.').next().unwrap_or_default();
    GROUPS.iter().position(|(.., words)| words.contains(&word)).unwrap_or(GROUPS.len() - 1)
}

/// All that can be chosen, in groups, as `fields` has it ticked.
fn groups(fields: &Fields) -> Vec<Group> {
    let topic = |name| Topic { name, says: meaning(name), ticked: fields.ticked(name) };
    let group = |(at, (word, name, says, _)): (usize, (&'static str, &'static str, &'static str, _))| Group {
        word,
        name,
        says,
        ticked: fields.ticked(word),
        topics: topics().filter(|topic| kind(topic) == at).map(topic).collect(),
    };
    GROUPS.into_iter().enumerate().map(group).collect()
}

/// What `fields` choose, by kinds and one by one.
fn chosen(fields: &Fields) -> Vec<String> {
    let wanted = |topic: &&str| fields.ticked(topic) || fields.ticked(GROUPS[kind(topic)].0);
    topics().filter(wanted).map(str::to_owned).collect()
}

#[derive(Template)]
#[template(path = "integrations/new_endpoint.html")]
struct New {
    shell: Shell,
    refusal: Option<Refused>,
    label: String,
    url: String,
    allow_private: bool,
    groups: Vec<Group>,
    sample: String,
    /// Under which it is made, once.
    key: String,
}

/// `GET /integrations/webhooks/new`.
pub(in crate::ui) async fn form(desk: Desk) -> Response {
    shown(&desk, &Fields::default(), None).await
}

async fn shown(desk: &Desk, fields: &Fields, refusal: Option<Problem>) -> Response {
    let status = refusal.as_ref().map_or(StatusCode::OK, |problem| problem.status);
    let page = New {
        refusal: refusal
            .map(|problem| quoted(&problem.detail.replace(" (allow_private)", ": tick it below"))),
        label: fields.text("label").to_owned(),
        url: fields.text("url").to_owned(),
        allow_private: fields.ticked("allow_private"),
        groups: groups(fields),
        key: desk.op.fresh_key(),
        sample: webhooks::sample(desk.op.parts.clock.now()),
        shell: desk.shell(Section::Integrations).await,
    };
    html(status, &page)
}

/// `POST /integrations/webhooks`: makes the endpoint and shows its secret once.
pub(in crate::ui) async fn add(desk: Desk, Vouched(fields): Vouched) -> Response {
    let name = match label(fields.text("label")) {
        Ok(name) => name.to_owned(),
        Err(problem) => return shown(&desk, &fields, Some(problem)).await,
    };
    let ask = WebhookAsk {
        url: fields.text("url").to_owned(),
        topics: chosen(&fields),
        label: name.clone(),
        reach: Reach::allowing(fields.ticked("allow_private")),
    };
    if fields.optional("key").is_some_and(|key| !desk.op.first_time(key)) {
        let text = "This was sent already, and the endpoint’s secret was shown then. If it is lost, remove that \
                    endpoint and add another.";
        return notice(&desk, Section::Integrations, above(), StatusCode::CONFLICT, ("Added already", text))
            .await;
    }
    match desk.op.parts.webhooks.add(ask).await {
        Ok((_, secret)) => {
            let how = "Each message is signed with it, in the form of Standard Webhooks. Put it into the program \
                       that receives them, and have it refuse what is not signed.";
            let title = format!("The secret of “{name}”");
            shown_once(&desk, title, secret.text().as_str().to_owned(), how).await
        }
        Err(error) => {
            fields.optional("key").iter().for_each(|key| desk.op.not_after_all(key));
            shown(&desk, &fields, Some(webhook_problem(error))).await
        }
    }
}

/// Which deliveries.
#[derive(Debug, Default, Deserialize)]
pub(in crate::ui) struct Asked {
    before: Option<i64>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    said: String,
}

fn said(word: &str) -> Option<&'static str> {
    match word {
        "enabled" => Some("It gets what happens from now on, and what still waited for it."),
        "disabled" => Some("It gets nothing any more. What happens meanwhile is not kept for it."),
        "redelivered" => Some("The delivery is made once more. Reload to see how it went."),
        _ => None,
    }
}

/// One choice of a row of choices.
struct Choice {
    name: &'static str,
    href: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "integrations/endpoint.html")]
struct Page {
    shell: Shell,
    id: i64,
    label: String,
    url: String,
    gets: String,
    all_topics: Vec<String>,
    made: String,
    made_iso: String,
    private: bool,
    waiting: u64,
    parked: u64,
    state: String,
    state_class: &'static str,
    enabled: bool,
    said: Option<&'static str>,
    tested: Option<(bool, String)>,
    states: Vec<Choice>,
    deliveries: Vec<DeliveryLine>,
    alone: bool,
    older: Option<String>,
    newer: Option<String>,
    sample: String,
}

/// `GET /integrations/webhooks/{id}`.
pub(in crate::ui) async fn page(
    desk: Desk,
    Path(id): Path<String>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let Ok(Query(asked)) = query else { return entry::incomplete() };
    told(&desk, &id, &asked, None).await
}

async fn told(desk: &Desk, id: &str, asked: &Asked, tested: Option<(bool, String)>) -> Response {
    let ledger = &desk.op.parts.ledger;
    let hooks = match ledger.webhooks().await {
        Ok(hooks) => hooks,
        Err(error) => return fault(&error),
    };
    let Some(hook) = hooks.iter().find(|hook| hook.id.to_string() == id) else { return unknown(desk).await };
    let state = DeliveryState::of(&asked.state);
    let filter = DeliveryFilter { webhook: Some(hook.id), state, before: asked.before };
    let mut rows = match ledger.deliveries(filter, SHOWN + 1).await {
        Ok(rows) => rows,
        Err(error) => return fault(&error),
    };
    let shown = usize::try_from(SHOWN).unwrap_or(usize::MAX);
    let more = rows.len() > shown;
    rows.truncate(shown);
    let place = format!("/integrations/webhooks/{}", hook.id);
    let word = state.map_or("", DeliveryState::as_str);
    let choice = |name, word: &str| Choice {
        name,
        href: format!("{place}?state={word}"),
        chosen: state.map_or("", DeliveryState::as_str) == word,
    };
    let older = rows.last().filter(|_| more).map(|row| format!("{place}?state={word}&before={}", row.id));
    let (standing, state_class) = standing(hook);
    let page = Page {
        id: hook.id,
        label: hook.label.clone(),
        url: hook.url.clone(),
        gets: gets(&hook.topics),
        all_topics: hook.topics.split_whitespace().map(str::to_owned).collect(),
        made: utc(hook.created_at),
        made_iso: iso(hook.created_at),
        private: hook.allow_private,
        waiting: hook.waiting,
        parked: hook.parked,
        state: standing,
        state_class,
        enabled: hook.disabled.is_none(),
        said: said(&asked.said),
        tested,
        states: vec![
            choice("All", ""),
            choice("Waiting", "waiting"),
            choice("Delivered", "delivered"),
            choice("Given up", "parked"),
        ],
        deliveries: rows.iter().map(|row| DeliveryLine::of(row, &hooks)).collect(),
        alone: true,
        older,
        newer: asked.before.map(|_| format!("{place}?state={word}")),
        sample: webhooks::sample(desk.op.parts.clock.now()),
        shell: desk.shell(Section::Integrations).await,
    };
    html(StatusCode::OK, &page)
}

/// `POST /integrations/webhooks/{id}/test`: sends a test message and says how it went.
pub(in crate::ui) async fn test(desk: Desk, Path(id): Path<String>) -> Response {
    let number = id.parse().unwrap_or(-1);
    match desk.op.parts.webhooks.test(number).await {
        Ok(tested) => told(&desk, &id, &Asked::default(), Some(outcome(&tested))).await,
        Err(error) => failed(&desk, error).await,
    }
}

/// Whether a test message arrived, and the sentence for it.
fn outcome(tested: &Tested) -> (bool, String) {
    let took = tested.took.as_millis();
    match (&tested.error, tested.status) {
        (None, Some(status)) => {
            (true, format!("The test message arrived: it was answered {status} in {took} ms."))
        }
        (None, None) => (true, format!("The test message arrived in {took} ms.")),
        (Some(error), _) => (false, format!("The test message did not arrive: {error}.")),
    }
}

/// `POST /integrations/webhooks/{id}/enable`.
pub(in crate::ui) async fn enable(desk: Desk, Path(id): Path<String>, _: Vouched) -> Response {
    match desk.op.parts.webhooks.enable(id.parse().unwrap_or(-1)).await {
        Ok(()) => Redirect::to(&format!("/integrations/webhooks/{id}?said=enabled")).into_response(),
        Err(error) => failed(&desk, error).await,
    }
}

/// `POST /integrations/webhooks/{id}/disable`.
pub(in crate::ui) async fn disable(desk: Desk, Path(id): Path<String>, _: Vouched) -> Response {
    match desk.op.parts.webhooks.disable(id.parse().unwrap_or(-1)).await {
        Ok(()) => Redirect::to(&format!("/integrations/webhooks/{id}?said=disabled")).into_response(),
        Err(error) => failed(&desk, error).await,
    }
}

/// `POST /integrations/webhooks/{id}/remove`.
pub(in crate::ui) async fn remove(desk: Desk, Path(id): Path<String>, fields: Fields) -> Response {
    let hooks = match desk.op.parts.ledger.webhooks().await {
        Ok(hooks) => hooks,
        Err(error) => return fault(&error),
    };
    let Some(hook) = hooks.iter().find(|hook| hook.id.to_string() == id) else { return unknown(&desk).await };
    if let Err(response) = removing(hook).answered(&desk, &fields).await {
        return response;
    }
    match desk.op.parts.webhooks.remove(hook.id).await {
        Ok(()) => Redirect::to("/integrations?said=removed").into_response(),
        Err(error) => failed(&desk, error).await,
    }
}

fn removing(hook: &WebhookRow) -> Question {
    let mut lines = vec![format!("{} gets nothing any more.", hook.url)];
    if hook.waiting > 0 {
        lines.push(format!("{} deliveries still wait for it and are forgotten too.", hook.waiting));
    }
    lines.push("Its secret and the list of its deliveries are forgotten.".to_owned());
    Question {
        section: Section::Integrations,
        above: (format!("/integrations/webhooks/{}", hook.id), hook.label.clone()),
        title: format!("Remove the endpoint “{}”?", hook.label),
        lines,
        warning: Some("This cannot be undone. Disabling it keeps everything.".to_owned()),
        action: format!("/integrations/webhooks/{}/remove", hook.id),
        fields: Vec::new(),
        yes: Some("Remove"),
        refusal: None,
    }
}
