//! Keys for programs: asked for, confirmed, shown once, revoked.

use std::time::Duration;

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::above;
use crate::clock::in_words;
use crate::store::ApiKeyRow;
use crate::types::Msat;
use crate::ui::figures::{quoted, sats_exact, utc};
use crate::ui::form::{Fields, Refused};
use crate::ui::question::{Question, notice};
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{fault, html};
use crate::web::keys::{self, Scope};
use crate::web::{KeyAsk, KeyWish};

const DAY: Duration = Duration::from_secs(86_400);

/// How long a key may last: what the form sends, what it says, and the span.
const LASTS: [(&str, &str, Option<Duration>); 6] = [
    ("1", "A day", Some(DAY)),
    ("7", "A week", Some(Duration::from_secs(7 * 86_400))),
    ("30", "30 days", Some(Duration::from_secs(30 * 86_400))),
    ("90", "90 days", Some(Duration::from_secs(90 * 86_400))),
    ("365", "A year", Some(Duration::from_secs(365 * 86_400))),
    ("", "No end", None),
];
/// What is chosen before anybody chose: a key that was forgotten about ends.
const USUALLY_LASTS: &str = "90";

/// The scopes as the form lists them: what can take everything comes last.
const LISTED: [Scope; 7] = [
    Scope::Read,
    Scope::Integrate,
    Scope::ForwardAuth,
    Scope::Metrics,
    Scope::Wallet,
    Scope::Pay,
    Scope::Admin,
];

/// What a scope is called by people.
const fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "See the books",
        Scope::Pay => "Pay",
        Scope::Admin => "Do everything",
        Scope::Integrate => "Sell for an application",
        Scope::ForwardAuth => "Answer for another proxy",
        Scope::Metrics => "Read the metrics",
        Scope::Wallet => "Spend within limits",
    }
}

/// One scope of the form.
struct ScopeTick {
    word: &'static str,
    name: &'static str,
    allows: &'static str,
    /// What whoever finds such a key can take.
    warns: Option<String>,
    ticked: bool,
}

/// One choice of a list.
struct Choice {
    value: &'static str,
    name: &'static str,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "integrations/new_key.html")]
struct New {
    shell: Shell,
    refusal: Option<Refused>,
    label: String,
    scopes: Vec<ScopeTick>,
    lasts: Vec<Choice>,
    per_day: String,
    per_payment: String,
}

#[derive(Template)]
#[template(path = "integrations/new_secret.html")]
struct Made {
    shell: Shell,
    title: String,
    secret: String,
    how: &'static str,
    example: Option<String>,
}

/// `GET /integrations/keys/new`.
pub(in crate::ui) async fn form(desk: Desk) -> Response {
    shown(&desk, &Fields::default(), None).await
}

async fn shown(desk: &Desk, fields: &Fields, refusal: Option<Refused>) -> Response {
    let status = if refusal.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let tick = |scope: Scope| ScopeTick {
        word: scope.word(),
        name: name(scope),
        allows: scope.allows().trim_start_matches("everything: "),
        warns: grave(&[scope]),
        ticked: fields.ticked(scope.word()),
    };
    let lasts = if fields.ticked("lasts") { fields.text("lasts") } else { USUALLY_LASTS };
    let choice =
        |(value, name, _): (&'static str, &'static str, _)| Choice { value, name, chosen: lasts == value };
    let page = New {
        refusal: refusal.map(|text| quoted(&text)),
        label: fields.text("label").to_owned(),
        scopes: LISTED.into_iter().map(tick).collect(),
        lasts: LASTS.into_iter().map(choice).collect(),
        per_day: fields.text("per_day_sat").to_owned(),
        per_payment: fields.text("per_payment_sat").to_owned(),
        shell: desk.shell(Section::Integrations).await,
    };
    html(status, &page)
}

/// `POST /integrations/keys`: asks whether it is meant, then makes the key and shows it once.
pub(in crate::ui) async fn add(desk: Desk, fields: Fields) -> Response {
    let ask = match wish(&fields).and_then(|wish| wish.checked().map_err(|problem| problem.detail)) {
        Ok(ask) => ask,
        Err(refusal) => return shown(&desk, &fields, Some(refusal)).await,
    };
    let names = || ["label", "lasts", "per_day_sat", "per_payment_sat"].into_iter();
    let names: Vec<&'static str> = names().chain(Scope::ALL.into_iter().map(Scope::word)).collect();
    let now = desk.op.parts.clock.now();
    let question = Question {
        section: Section::Integrations,
        above: above(),
        title: format!("Make the key “{}”?", ask.label),
        lines: lines(&ask, ask.lasts.map(|lasts| utc(now.plus(lasts)))),
        warning: grave(&ask.scopes),
        action: "/integrations/keys".to_owned(),
        fields: fields.again(&names),
        yes: Some("Make the key"),
        refusal: None,
    };
    let key = match question.answered(&desk, &fields).await {
        Ok(key) => key,
        Err(response) => return response,
    };
    if !desk.op.first_time(&key) {
        let text = "This was answered already, and the key it made was shown then. If it is lost, revoke that one \
                    and make another.";
        return notice(&desk, Section::Integrations, above(), StatusCode::CONFLICT, ("Made already", text))
            .await;
    }
    let parts = &desk.op.parts;
    let made = match keys::make(&parts.ledger, parts.entropy.as_ref(), now, &ask).await {
        Ok(made) => made,
        Err(error) => {
            desk.op.not_after_all(&key);
            return fault(&error);
        }
    };
    let origin = &parts.config.origin;
    let (secret, how, example) = if ask.limits.is_some() {
        let how = "Give it to a client of LND's REST interface as its macaroon in hexadecimal, with this page’s \
                   address as LND's.";
        (made.key.as_macaroon(), how, None)
    } else {
        let example = format!("curl -H 'Authorization: Bearer {}' {origin}/api/v1/status", made.key.text());
        let reads = ask.scopes.iter().any(|scope| matches!(scope, Scope::Read | Scope::Admin));
        let how = "The program sends it with each request as Authorization: Bearer and the key.";
        (made.key.text().to_owned(), how, reads.then_some(example))
    };
    let shell = desk.shell(Section::Integrations).await;
    html(StatusCode::OK, &Made { shell, title: format!("The key “{}”", ask.label), secret, how, example })
}

/// What the form says.
fn wish(fields: &Fields) -> Result<KeyWish, Refused> {
    let sat = |name, label| match fields.optional_number(name, label)? {
        None => Ok(None),
        Some(sat) => Msat::from_sat(sat).map(Some).map_err(|_| format!("{label} is more than there is.")),
    };
    let lasts = LASTS.iter().find(|(value, ..)| *value == fields.text("lasts"));
    let (.., lasts) = lasts.ok_or("Choose when it ends from the list.")?;
    let ticked = Scope::ALL.into_iter().filter(|scope| fields.ticked(scope.word()));
    Ok(KeyWish {
        label: fields.text("label").to_owned(),
        scopes: ticked.map(|scope| scope.word().to_owned()).collect(),
        per_day: sat("per_day_sat", "What it may pay in a day")?,
        per_payment: sat("per_payment_sat", "What one payment may cost")?,
        lasts: *lasts,
    })
}

fn lines(ask: &KeyAsk, ends: Option<String>) -> Vec<String> {
    let mut lines: Vec<String> = ask
        .scopes
        .iter()
        .map(|scope| format!("It may {}.", scope.allows()).replace("may everything", "do everything"))
        .collect();
    if let Some(limits) = ask.limits {
        let sat = |amount: Msat| sats_exact(amount.msat());
        lines.push(format!(
            "It pays at most {} sat a day (UTC) and {} sat in one payment, fees included.",
            sat(limits.per_day),
            sat(limits.per_payment)
        ));
    }
    lines.push(match (ask.lasts, ends) {
        (Some(lasts), Some(ends)) => format!("It ends by itself in {}, {ends}.", in_words(lasts)),
        _ => "It has no end: it works until you revoke it.".to_owned(),
    });
    lines.push("It is shown once, on the next page. Only its hash is kept.".to_owned());
    lines
}

/// What whoever finds such a key can take.
fn grave(scopes: &[Scope]) -> Option<String> {
    let text = if scopes.contains(&Scope::Admin) {
        "Whoever has it can send every coin away."
    } else if scopes.contains(&Scope::Pay) {
        "Whoever has it can pay out everything that is spendable."
    } else {
        return None;
    };
    Some(text.to_owned())
}

/// `POST /integrations/keys/{id}/revoke`.
pub(in crate::ui) async fn revoke(desk: Desk, Path(id): Path<String>, fields: Fields) -> Response {
    let rows = match desk.op.parts.ledger.list_api_keys().await {
        Ok(rows) => rows,
        Err(error) => return fault(&error),
    };
    let Some(row) = rows.iter().find(|row| row.revoked_at.is_none() && row.id.to_string() == id) else {
        let told = ("There is no such key", "It may have been revoked already. Nothing was changed.");
        return notice(&desk, Section::Integrations, above(), StatusCode::NOT_FOUND, told).await;
    };
    if let Err(response) = revoking(row).answered(&desk, &fields).await {
        return response;
    }
    match desk.op.parts.ledger.revoke_api_key(row.id).await {
        Ok(_) => Redirect::to("/integrations?said=revoked").into_response(),
        Err(error) => fault(&error),
    }
}

fn revoking(row: &ApiKeyRow) -> Question {
    let mut lines = vec!["It opens nothing from its next request on.".to_owned()];
    if row.scopes == Scope::Wallet.word() {
        lines.push("Payments that are under way are finished; they cannot be called back.".to_owned());
    }
    if row.label == keys::ADMIN_LABEL {
        lines.push(
            "It is the key in the file admin.key, with which the tollhouse commands on this machine ask. They will \
             need another: make one with the scope admin, and put it into that file."
                .to_owned(),
        );
    }
    Question {
        section: Section::Integrations,
        above: above(),
        title: format!("Revoke the key “{}”?", row.label),
        lines,
        warning: Some("This cannot be undone: a program that still needs it gets a new key.".to_owned()),
        action: format!("/integrations/keys/{}/revoke", row.id),
        fields: Vec::new(),
        yes: Some("Revoke"),
        refusal: None,
    }
}

/// A secret that is shown once, of an endpoint.
pub(super) async fn shown_once(desk: &Desk, title: String, secret: String, how: &'static str) -> Response {
    let shell = desk.shell(Section::Integrations).await;
    html(StatusCode::OK, &Made { shell, title, secret, how, example: None })
}
