//! Services on their way from a page into the catalogue: what would stop earning is asked about, what can be sold is
//! kept, and the APIs behind it are asked once whether they are there.
//!
//! Invariant: every form, text and button that changes what is sold goes through [`Saving::save`].

use axum::response::{IntoResponse, Redirect, Response};

use super::frame::Frame;
use super::{address, dearer};
use crate::catalog::spec::{Spec, SpecFault};
use crate::store::{GrantFilter, GrantState};
use crate::storefront::{Change, How, Plan, Refusal, Rise, Run, Stop};
use crate::types::Name;
use crate::ui::figures::{counted, sats_exact};
use crate::ui::form::Fields;
use crate::ui::question::Question;
use crate::ui::shell::{Desk, Section};

/// Tokens that are counted before their service stops.
const COUNTED: u32 = 2_000;

/// Services as a page has them, each with what is wrong with its shape.
pub(in crate::ui) struct Saving {
    given: Vec<(Spec, Vec<SpecFault>)>,
    above: (String, String),
    action: String,
    /// What the question says beside what stops.
    beside: Option<&'static str>,
}

/// What was kept.
pub(in crate::ui) struct Saved {
    plan: Plan,
    /// The services whose API did not answer.
    silent: Vec<Name>,
}

/// Why nothing was kept.
pub(in crate::ui) enum Unsaved {
    /// It is asked about first.
    Asked(Response),
    /// It cannot be sold so.
    Refused(Refusal),
}

impl Saving {
    /// What was typed into the form of `frame`.
    pub(super) fn typed(frame: &Frame, given: Vec<(Spec, Vec<SpecFault>)>) -> Saving {
        Saving {
            given,
            above: frame.above.clone(),
            action: frame.action.clone(),
            beside: Some("Whatever else you changed is saved with it."),
        }
    }

    /// What a button of a service's page makes of it.
    pub(super) fn pressed(spec: Spec, button: &str) -> Saving {
        let here = address(&spec.name);
        let above = (here.clone(), spec.name.clone());
        Saving { given: vec![(spec, Vec::new())], above, action: format!("{here}/{button}"), beside: None }
    }

    /// The first thing to sell.
    pub(in crate::ui) fn first(given: (Spec, Vec<SpecFault>)) -> Saving {
        let above = ("/start".to_owned(), "First steps".to_owned());
        Saving { given: vec![given], above, action: "/start/service".to_owned(), beside: None }
    }

    /// Keeps it, once what stops by it, and what customers have bought and lose by it, was asked about. `fields` are the form's.
    pub(in crate::ui) async fn save(self, desk: &Desk, fields: &Fields) -> Result<Saved, Unsaved> {
        let storefront = &desk.op.parts.storefront;
        let planned = storefront.put(self.given.clone(), Run::Dry).await.map_err(Unsaved::Refused)?;
        let allowed = match self.question(&planned, fields) {
            Some(mut question) => {
                question.lines.extend(paid_ahead(desk, &planned.stops).await);
                question.answered(desk, fields).await.map(|_| ())
            }
            None => desk.vouched(&self.action, fields).await,
        };
        allowed.map_err(Unsaved::Asked)?;
        self.kept(desk).await.map_err(Unsaved::Refused)
    }

    /// What stops by it, and what customers have bought and lose by it, for a question that is asked anyway.
    pub(super) async fn consequences(&self, desk: &Desk) -> Result<Vec<String>, Refusal> {
        let planned = desk.op.parts.storefront.put(self.given.clone(), Run::Dry).await?;
        let question = asked(&planned.stops, &planned.rises, self.above.clone(), self.action.clone());
        let told = question.map(|question| question.lines.into_iter().chain(question.warning));
        Ok(told.into_iter().flatten().chain(paid_ahead(desk, &planned.stops).await).collect())
    }

    /// Keeps it; whatever had to be asked was answered.
    pub(super) async fn kept(self, desk: &Desk) -> Result<Saved, Refusal> {
        let plan = desk.op.parts.storefront.put(self.given, Run::Real).await?;
        Ok(Saved { silent: desk.op.silent(&plan).await, plan })
    }

    fn question(&self, planned: &Plan, fields: &Fields) -> Option<Question> {
        let (above, action) = (self.above.clone(), self.action.clone());
        let question = asked(&planned.stops, &planned.rises, above, action)?;
        let doubts = self.given.iter().flat_map(|(spec, _)| doubts(spec));
        let beside = self.beside.map(str::to_owned);
        let lines = question.lines.into_iter().chain(doubts).chain(beside).collect();
        Some(Question { lines, fields: fields.all_again(), ..question })
    }
}

/// What is allowed of the prices and will hardly be meant.
fn doubts(spec: &Spec) -> Vec<String> {
    spec.price_doubts().iter().map(|doubt| format!("Mind: {}. {}", doubt.what, doubt.help)).collect()
}

impl Saved {
    /// The page of the service `name`, which says what became of it.
    pub(super) fn back(&self, name: &str) -> Response {
        let change = self.plan.changes.iter().find(|change| change.service.as_str() == name);
        self.lead(&address(name), &[("said", change.map_or("same", word))])
    }

    /// The page at `path`, told of `pairs` and of whose API is silent.
    pub(in crate::ui) fn lead(&self, path: &str, pairs: &[(&str, &str)]) -> Response {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs);
        if !self.silent.is_empty() {
            let names: Vec<&str> = self.silent.iter().map(Name::as_str).collect();
            query.append_pair("silent", &names.join(" "));
        }
        Redirect::to(&format!("{path}?{}", query.finish())).into_response()
    }
}

/// What is said of a service that was changed.
fn word(change: &Change) -> &'static str {
    let mode = |spec: &Option<serde_json::Value>| {
        spec.as_ref().map(|spec| spec["mode"].as_str().unwrap_or("on").to_owned())
    };
    match (mode(&change.before), mode(&change.after).as_deref()) {
        (before, after) if before.as_deref() == after => "saved",
        (_, Some("shadow")) => "shadow",
        (_, Some("off")) => "off",
        (None, _) => "added",
        _ => "on",
    }
}

/// What was paid ahead for the services that would serve nobody any more, as far as it is worth telling.
pub(super) async fn paid_ahead(desk: &Desk, stops: &[Stop]) -> Vec<String> {
    let mut lines = Vec::new();
    for stop in stops.iter().filter(|stop| matches!(stop.how, How::Off | How::Removed)) {
        let state = Some(GrantState::Live);
        let filter = GrantFilter { service: Some(stop.service.clone()), state, ..GrantFilter::default() };
        // The question is asked without it, too.
        let Ok(rows) = desk.op.parts.ledger.grants(filter, COUNTED, None).await else { continue };
        let owed = rows.iter().map(|row| row.grant.owed().msat()).filter(|msat| *msat > 0);
        let (tokens, msat) =
            owed.fold((0_u64, 0_u64), |(tokens, sum), msat| (tokens + 1, sum.saturating_add(msat)));
        if tokens > 0 {
            let more =
                if u32::try_from(rows.len()).is_ok_and(|len| len >= COUNTED) { "At least " } else { "" };
            let (stop_, of) = if tokens == 1 { ("stops", "of it") } else { ("stop", "of them") };
            lines.push(format!(
                "{more}{} {stop_} working; {} sat {of} were paid and are not used up.",
                counted(tokens, "token"),
                sats_exact(msat)
            ));
        }
    }
    lines
}

/// What is asked before `stops` and `rises`; nothing when there are none.
pub(super) fn asked(
    stops: &[Stop],
    rises: &[Rise],
    above: (String, String),
    action: String,
) -> Option<Question> {
    let (title, mut lines, warning, yes) = match stops {
        [] if rises.is_empty() => return None,
        [] => (dearer::title(rises), Vec::new(), None, dearer::yes(rises)),
        [stop] => (title(stop), lines(stop), warning(stop), yes(stop)),
        several => {
            let names: Vec<String> = several.iter().map(|stop| format!("“{}”", stop.service)).collect();
            let told = |stop: &Stop| {
                let name = stop.service.clone();
                lines(stop).into_iter().map(move |line| format!("{name}: {line}"))
            };
            let lines = several.iter().flat_map(told).collect();
            (format!("Stop earning with {}?", names.join(", ")), lines, None, "Save it so")
        }
    };
    lines.extend(rises.iter().flat_map(dearer::lines));
    Some(Question {
        section: Section::Services,
        above,
        title,
        lines,
        warning,
        action,
        fields: Vec::new(),
        yes: Some(yes),
        refusal: None,
    })
}

fn title(stop: &Stop) -> String {
    let name = &stop.service;
    match (stop.how, stop.requests.as_slice()) {
        (How::Off, _) => format!("Turn “{name}” off?"),
        (How::Removed, _) => format!("Remove the service “{name}”?"),
        (How::Free | How::Shadow, []) => format!("Let everybody use “{name}” for nothing?"),
        (How::Free | How::Shadow, [one]) => format!("Let everybody ask {one} for nothing?"),
        (How::Free | How::Shadow, _) => format!("Let everybody use parts of “{name}” for nothing?"),
    }
}

fn lines(stop: &Stop) -> Vec<String> {
    let all_pass = "Customers pay nothing from then on: every request passes, also without a token.";
    let undrawn = "Nothing is drawn from tokens meanwhile.";
    let lines: &[&str] = match (stop.how, stop.requests.as_slice()) {
        (How::Shadow, _) => {
            &[all_pass, "What it would have earned is counted, and the page shows it.", undrawn]
        }
        (How::Free, []) => &[all_pass, undrawn],
        (How::Free, some) => {
            let some = some.join(", ");
            return vec![
                format!("These requests cost something now, and nothing from then on: {some}."),
                "They pass, also without a token, and nothing is drawn from tokens for them.".to_owned(),
            ];
        }
        (How::Off, _) => &[
            "Customers are refused from then on: its addresses answer 404, also to those who have paid for a pack, a \
             pass or a balance.",
            "What is left of their tokens stays theirs, and opens again when it is back on sale; passes go on running \
             out.",
        ],
        (How::Removed, _) => &[
            "Its addresses answer 404 from then on.",
            "Tokens that were sold for it open nothing any more, also what is left of packs, passes and balances: \
             their buyers have paid.",
            "Payments and sums of it stay in the books.",
        ],
    };
    lines.iter().map(|&line| line.to_owned()).collect()
}

fn warning(stop: &Stop) -> Option<String> {
    let kept = "To stop selling and keep it, turn it off instead. A service of the same name that is added later opens \
                for those tokens again.";
    (stop.how == How::Removed).then(|| kept.to_owned())
}

const fn yes(stop: &Stop) -> &'static str {
    match stop.how {
        How::Off => "Turn it off",
        How::Removed => "Remove",
        How::Free | How::Shadow if stop.requests.is_empty() => "Let all pass",
        How::Free | How::Shadow => "Let them pass",
    }
}

/// A service whose own API did not answer when it was saved.
pub(in crate::ui) struct Silent {
    pub(in crate::ui) name: String,
    pub(in crate::ui) upstream: String,
    /// Where its address is changed.
    pub(in crate::ui) edit: String,
}

/// Those that a page's query names, of what there is.
pub(in crate::ui) fn silent(desk: &Desk, query: Option<&str>) -> Vec<Silent> {
    let named = |name: &str| query.is_some_and(|names| names.split(' ').any(|own| own == name));
    let stock = desk.op.parts.storefront.stock();
    let one = |own: &crate::storefront::Stocked| Silent {
        name: own.name.to_string(),
        upstream: own.spec.upstream.clone().unwrap_or_default(),
        edit: format!("{}/edit#upstream", address(own.name.as_str())),
    };
    stock.iter().filter(|own| named(own.name.as_str())).map(one).collect()
}
