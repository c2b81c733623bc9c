//! `/lightning/rules`: what the appliance does by itself to stay able to be paid.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::decimal::scaled;
use super::{Said, Tab, words};
use crate::ui::figures::{grouped, sats_exact};
use crate::ui::form::Fields;
use crate::ui::operation_line::OperationLine;
use crate::ui::question::{Question, notice};
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{fault, html};
use crate::upkeep::{PAY_OUT_RULE, Rule, RuleRefused, RuleView, SPLICE_OUT_RULE};

const PATH: &str = "/lightning/rules";
const FIELDS: &[&str] = &["to", "below_sat", "until_sat", "above_sat", "keep_sat", "per_day_sat", "max_fee"];
/// What routing may cost when nothing is said: one percent.
const USUAL_FEE_PPM: u64 = 10_000;

/// How a rule stands, and its form.
struct Line {
    name: &'static str,
    title: &'static str,
    on: bool,
    in_file: bool,
    says: String,
    now: Option<String>,
    today: Option<String>,
    last: Option<OperationLine>,
    last_why: Option<String>,
    refusal: Option<String>,
    to: String,
    first: String,
    second: String,
    per_day: String,
    max_fee: String,
}

#[derive(Template)]
#[template(path = "lightning/rules.html")]
struct Page {
    shell: Shell,
    tab: Tab,
    said: Option<&'static str>,
    /// The rule whose form was refused, and why.
    refusal: Option<(&'static str, String)>,
    vault: bool,
    rules: Vec<Line>,
}

/// `GET /lightning/rules`.
pub(super) async fn page(desk: Desk, Query(said): Query<Said>) -> Response {
    let said = match said.said.as_str() {
        "set" => Some("The rule is in force."),
        "off" => Some("The rule is off. What it had begun is finished."),
        _ => None,
    };
    shown(&desk, StatusCode::OK, said, None).await
}

fn known(name: &str) -> Option<&'static str> {
    [PAY_OUT_RULE, SPLICE_OUT_RULE].into_iter().find(|known| *known == name)
}

async fn unknown(desk: &Desk) -> Response {
    let above = (PATH.to_owned(), "Rules".to_owned());
    let text = "There are two rules: paying out and splicing out.";
    notice(desk, Section::Lightning, above, StatusCode::NOT_FOUND, ("No such rule", text)).await
}

/// `POST /lightning/rules/{name}`: asks, then sets it.
pub(super) async fn set(desk: Desk, Path(name): Path<String>, fields: Fields) -> Response {
    let Some(name) = known(&name) else { return unknown(&desk).await };
    let keeper = desk.op.parts.upkeep.keeper();
    let read = read(name, &fields).and_then(|rule| keeper.check(&rule).map(|()| rule).map_err(plain));
    let rule = match read {
        Ok(rule) => rule,
        Err(text) => return shown(&desk, StatusCode::BAD_REQUEST, None, Some((name, &fields, text))).await,
    };
    let asked = match keeper.ask_payee(&rule).await.map_err(plain) {
        Ok(warning) => warning,
        Err(text) => return shown(&desk, StatusCode::BAD_REQUEST, None, Some((name, &fields, text))).await,
    };
    let mut lines = vec![
        words::rule_terms(name, &rule.terms()),
        "It is in force at once, and does not ask again. Each time is recorded, and told under Activity."
            .to_owned(),
    ];
    lines.extend(asked.as_deref().map(words::sentence));
    let question = Question {
        section: Section::Lightning,
        above: (PATH.to_owned(), "Rules".to_owned()),
        title: "Let this happen by itself?".to_owned(),
        lines,
        warning: Some("What it pays or sends cannot be taken back.".to_owned()),
        action: format!("{PATH}/{name}"),
        fields: fields.again(FIELDS),
        yes: Some("Set the rule"),
        refusal: None,
    };
    if let Err(response) = question.answered(&desk, &fields).await {
        return response;
    }
    match keeper.set(name, Some(rule)).await {
        Ok(()) => Redirect::to(&format!("{PATH}?said=set")).into_response(),
        Err(RuleRefused::Store(error)) => fault(&error),
        Err(refusal) => shown(&desk, StatusCode::CONFLICT, None, Some((name, &fields, plain(refusal)))).await,
    }
}

/// `POST /lightning/rules/{name}/off`: asks, then switches it off.
pub(super) async fn off(desk: Desk, Path(name): Path<String>, fields: Fields) -> Response {
    let Some(name) = known(&name) else { return unknown(&desk).await };
    let question = Question {
        section: Section::Lightning,
        above: (PATH.to_owned(), "Rules".to_owned()),
        title: "Switch the rule off?".to_owned(),
        lines: vec![
            format!("“{}” rests until it is set again.", words::rule_name(name)),
            "What it has begun is finished.".to_owned(),
        ],
        warning: None,
        action: format!("{PATH}/{name}/off"),
        fields: Vec::new(),
        yes: Some("Switch it off"),
        refusal: None,
    };
    if let Err(response) = question.answered(&desk, &fields).await {
        return response;
    }
    match desk.op.parts.upkeep.keeper().set(name, None).await {
        Ok(()) => Redirect::to(&format!("{PATH}?said=off")).into_response(),
        Err(RuleRefused::Store(error)) => fault(&error),
        Err(refusal) => {
            shown(&desk, StatusCode::CONFLICT, None, Some((name, &Fields::default(), plain(refusal)))).await
        }
    }
}

fn plain(refusal: RuleRefused) -> String {
    format!("Nothing changed: {refusal}.").replace(": to: ", ": ")
}

/// The rule that a form asks for.
fn read(name: &'static str, fields: &Fields) -> Result<Rule, String> {
    let to = fields.optional("to").ok_or("Say where it goes to.")?;
    let per_day = fields.number("per_day_sat", "The most on one day")?;
    let terms = if name == PAY_OUT_RULE {
        let below = fields.number("below_sat", "“When less than this can be received”")?;
        let until = fields.number("until_sat", "“Pay until this can be”")?;
        if until <= below {
            return Err(
                "“Pay until this can be” must be more than “When less than this can be received”.".to_owned()
            );
        }
        let fee = fields.optional("max_fee").unwrap_or("1");
        let ppm = scaled(fee, 4).ok_or_else(|| {
            format!("The most that routing may cost must be a percentage such as 1 or 0.25, not “{fee}”.")
        })?;
        json!({ "to": to, "below_sat": below, "until_sat": until, "per_day_sat": per_day, "max_fee_ppm": ppm })
    } else {
        let above = fields.number("above_sat", "“When more than this is spendable”")?;
        let keep = fields.number("keep_sat", "“Leave this”")?;
        if keep > above {
            return Err("“Leave this” must not be more than “When more than this is spendable”.".to_owned());
        }
        json!({ "to": to, "above_sat": above, "keep_sat": keep, "per_day_sat": per_day })
    };
    Rule::read(name, terms)
}

/// A form that was refused: of which rule, what was typed, and why.
type Refused<'f> = (&'static str, &'f Fields, String);

async fn shown(
    desk: &Desk,
    status: StatusCode,
    said: Option<&'static str>,
    refused: Option<Refused<'_>>,
) -> Response {
    let views = match desk.op.parts.upkeep.keeper().view().await {
        Ok(views) => views,
        Err(error) => return fault(&error),
    };
    let too = words::counted_too(&desk.op.parts.node.view().await).unwrap_or_default();
    let line = |view: &RuleView| {
        let line = line(view, refused.as_ref().filter(|(name, ..)| *name == view.name));
        let counts = view.name == PAY_OUT_RULE;
        Line { now: line.now.map(|now| if counts { format!("{now}{too}") } else { now }), ..line }
    };
    let page = Page {
        shell: desk.shell(Section::Lightning).await,
        tab: Tab::Rules,
        said,
        refusal: refused
            .as_ref()
            .map(|(name, _, text)| (*name, format!("{}: {text}", words::rule_name(name)))),
        vault: desk.op.parts.vault.view().is_some(),
        rules: views.iter().map(line).collect(),
    };
    html(status, &page)
}

fn line(view: &RuleView, refused: Option<&Refused<'_>>) -> Line {
    let terms = view.terms.clone().unwrap_or(Value::Null);
    let on = view.terms.is_some();
    let field = |name: &str, is: String| match refused {
        Some((_, fields, _)) => fields.text(name).to_owned(),
        None => is,
    };
    let sat = |name: &str| field(name, terms[name].as_u64().map(grouped).unwrap_or_default());
    let ppm = terms["max_fee_ppm"].as_u64().unwrap_or(USUAL_FEE_PPM);
    let (first, second) =
        if view.name == PAY_OUT_RULE { ("below_sat", "until_sat") } else { ("above_sat", "keep_sat") };
    let usual_to = if view.name == SPLICE_OUT_RULE { "vault" } else { "" };
    Line {
        name: view.name,
        title: words::rule_name(view.name),
        on,
        in_file: view.in_file,
        says: match &view.terms {
            Some(terms) => words::rule_terms(view.name, terms),
            None => what_for(view.name).to_owned(),
        },
        now: view.said.as_ref().map(|(_, why)| words::sentence(why)),
        today: on.then(|| sats_exact(view.drawn.msat())),
        last_why: view.last.as_ref().and_then(|row| row.ask["why"].as_str()).map(words::sentence),
        last: view.last.as_ref().map(OperationLine::of),
        refusal: refused.map(|(.., text)| text.clone()),
        to: field("to", terms["to"].as_str().unwrap_or(usual_to).to_owned()),
        first: sat(first),
        second: sat(second),
        per_day: sat("per_day_sat"),
        max_fee: field("max_fee", words::percent(ppm).trim_end_matches(" %").to_owned()),
    }
}

fn what_for(name: &str) -> &'static str {
    if name == PAY_OUT_RULE {
        "What is earned fills your side of the channels until nothing more can be received. This rule pays out to \
         a wallet of yours before that, and the room comes back."
    } else {
        "This rule moves earned coins from a channel to the vault or an address, where this machine cannot spend \
         them. It does not bring room to receive: paying out does."
    }
}
