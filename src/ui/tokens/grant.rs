//! A token given away: shown once, and never again.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::above;
use crate::types::Name;
use crate::ui::figures::{iso, quoted, utc};
use crate::ui::form::Fields;
use crate::ui::html;
use crate::ui::question::{Question, notice};
use crate::ui::shell::{Desk, Section, Shell};
use crate::web::{GiftWords, Problem};

/// The form's fields, to be sent again with the answer.
const FIELDS: [&str; 5] = ["label", "service", "budget", "per", "expires"];

#[derive(Template)]
#[template(path = "tokens/grant.html")]
struct Form {
    shell: Shell,
    refusal: Option<String>,
    /// The field that made no sense, and why.
    wrong: Option<(&'static str, String)>,
    services: Vec<(String, bool)>,
    label: String,
    budget: String,
    per: String,
    expires: String,
}

#[derive(Template)]
#[template(path = "tokens/given.html")]
struct Given {
    shell: Shell,
    label: String,
    service: String,
    hash: String,
    until: String,
    until_iso: String,
    authorization: String,
    macaroon: String,
    preimage: String,
    sample: String,
}

impl Form {
    /// What is wrong with a field.
    fn wrong_at(&self, field: &str) -> Option<&str> {
        self.wrong.as_ref().filter(|(own, _)| *own == field).map(|(_, why)| why.as_str())
    }
}

/// `GET /tokens/grant`.
pub(super) async fn form(desk: Desk) -> Response {
    let form =
        Form { expires: "30 days".to_owned(), budget: "1000 sat".to_owned(), ..empty(&desk, "").await };
    html(StatusCode::OK, &form)
}

async fn empty(desk: &Desk, chosen: &str) -> Form {
    let stock = desk.op.parts.storefront.stock();
    let names = stock.iter().map(|own| own.name.to_string());
    Form {
        refusal: None,
        wrong: None,
        services: names.map(|name| (name.clone(), name == chosen)).collect(),
        label: String::new(),
        budget: String::new(),
        per: String::new(),
        expires: String::new(),
        shell: desk.shell(Section::Tokens).await,
    }
}

/// `POST /tokens/grant`.
pub(super) async fn give(desk: Desk, fields: Fields) -> Response {
    let ask = match words(&fields).and_then(GiftWords::read) {
        Ok(ask) => ask,
        Err(problem) => return again(&desk, &fields, problem).await,
    };
    let until = desk.op.parts.clock.now().plus(ask.lasts);
    let budget = crate::ui::figures::sats_exact(ask.budget.msat());
    let much = match ask.per {
        Some(per) => format!("{budget} sat in each {}", crate::clock::in_words(per)),
        None => format!("{budget} sat in all"),
    };
    let question = Question {
        section: Section::Tokens,
        above: above(),
        title: format!("Give “{}” a token?", ask.label),
        lines: vec![
            format!("Whoever holds it uses {} without paying, for {much}.", ask.service),
            format!("It is good until {}, unless you revoke it.", utc(until)),
            "It is shown once. Nobody can show it again, and neither can you.".to_owned(),
        ],
        warning: None,
        action: "/tokens/grant".to_owned(),
        fields: fields.again(&FIELDS),
        yes: Some("Give it"),
        refusal: None,
    };
    let key = match question.answered(&desk, &fields).await {
        Ok(key) => key,
        Err(response) => return response,
    };
    if !desk.op.first_time(&key) {
        let text = "This was answered already, and the token it made was shown then. If it is lost, revoke that \
                    one and give another.";
        let up = above();
        return notice(&desk, Section::Tokens, up, StatusCode::CONFLICT, ("Given already", text)).await;
    }
    let (label, service) = (ask.label.clone(), ask.service.to_string());
    match desk.op.give(ask).await {
        Ok(gift) => {
            let given = Given {
                sample: tried(&desk, &service),
                hash: gift.payment_hash.to_hex(),
                until: utc(gift.valid_until),
                until_iso: iso(gift.valid_until),
                authorization: gift.authorization(),
                macaroon: gift.macaroon(),
                preimage: gift.preimage(),
                label,
                service,
                shell: desk.shell(Section::Tokens).await,
            };
            html(StatusCode::CREATED, &given)
        }
        Err(problem) => {
            desk.op.not_after_all(&key);
            again(&desk, &fields, problem).await
        }
    }
}

/// The line that asks `service` in a shell, with the header in `$TOKEN`: what costs something there, else its own address.
fn tried(desk: &Desk, service: &str) -> String {
    let gateway = &desk.op.parts.config.gateway;
    let (host, url) = desk.op.sample(Some(service)).map_or_else(
        || {
            let stock = desk.op.parts.storefront.stock();
            let own = stock.iter().find(|own| own.name.as_str() == service);
            let path = own.and_then(|own| own.spec.path.clone()).unwrap_or_else(|| "/".to_owned());
            (own.and_then(|own| own.spec.host.clone()), format!("{gateway}{path}"))
        },
        |sample| (sample.host, sample.url),
    );
    let host = host.map(|host| format!("-H 'Host: {host}' ")).unwrap_or_default();
    format!("curl -H \"Authorization: $TOKEN\" {host}'{url}'")
}

fn words(fields: &Fields) -> Result<GiftWords<'_>, Problem> {
    let service: Name = fields
        .text("service")
        .parse()
        .map_err(|_| Problem::bad_request("unknown_service", "Choose the service that the token opens."))?;
    Ok(GiftWords {
        service,
        budget: fields.text("budget"),
        per: fields.optional("per"),
        expires: fields.optional("expires"),
        label: fields.text("label"),
    })
}

async fn again(desk: &Desk, fields: &Fields, problem: Problem) -> Response {
    let text = |name: &str| fields.text(name).to_owned();
    // The API names the setting; the form has it under a name for people, and marks its field.
    let named = [("budget", "Budget"), ("per", "Per"), ("expires", "Valid for")].into_iter().find_map(
        |(field, label)| {
            let rest = problem.detail.strip_prefix(field)?.strip_prefix(": ")?;
            Some((field, label, rest.to_owned()))
        },
    );
    let refusal = match &named {
        Some((_, label, rest)) => format!("Nothing was given. {label}: {rest}"),
        None => format!("Nothing was given. {}", problem.detail),
    };
    let form = Form {
        refusal: Some(quoted(&refusal)),
        wrong: named.map(|(field, _, rest)| (field, quoted(&rest))),
        label: text("label"),
        budget: text("budget"),
        per: text("per"),
        expires: text("expires"),
        ..empty(desk, fields.text("service")).await
    };
    html(problem.status, &form)
}
