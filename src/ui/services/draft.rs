//! A service and a route as forms have them. What a form does not show stays as it is.
//!
//! Invariant: a form that is sent back unchanged says the same spec again; where that cannot be, the spec is
//! for the text page alone ([`Draft::holds`]).

use super::terms_draft::TermsDraft;
use super::typed::{lines, said};
use crate::catalog::Dialects;
use crate::catalog::spec::{HeaderSpec, RouteSpec, Spec, SpecFault, TimeoutsSpec};
use crate::ui::form::Fields;

/// More than any service has.
const MOST_HEADERS: usize = 64;
/// Empty rows below those that say something.
const SPARE: usize = 2;

/// A header that the upstream gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HeaderRow {
    pub(super) name: String,
    /// `kept`, `text` or `env`.
    pub(super) from: String,
    /// The value, or the variable's name; never what is stored.
    pub(super) value: String,
    pub(super) prefix: String,
}

/// A service as it stands in a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) mode: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) upstream: String,
    pub(super) strip_prefix: String,
    pub(super) upstream_host: String,
    pub(super) headers: Vec<HeaderRow>,
    pub(super) connect: String,
    pub(super) header: String,
    pub(super) idle: String,
    pub(super) openapi: String,
    pub(super) dialects: Vec<String>,
    pub(super) unlock: bool,
    pub(super) terms: TermsDraft,
}

/// A route as it stands in a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RouteDraft {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) terms: TermsDraft,
}

impl Draft {
    /// What the form shows of `spec`, whose secrets are left out.
    pub(super) fn of(spec: &Spec) -> Draft {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let waits = spec.timeouts.clone().unwrap_or_default();
        Draft {
            name: spec.name.clone(),
            title: text(&spec.title),
            description: text(&spec.description),
            mode: spec.mode.clone().unwrap_or_else(|| "on".to_owned()),
            host: text(&spec.host),
            path: text(&spec.path),
            upstream: text(&spec.upstream),
            strip_prefix: text(&spec.strip_prefix),
            upstream_host: text(&spec.upstream_host),
            headers: spec.upstream_headers.iter().map(|(name, value)| HeaderRow::of(name, value)).collect(),
            connect: text(&waits.connect),
            header: text(&waits.header),
            idle: text(&waits.idle),
            openapi: text(&spec.openapi),
            dialects: spoken(spec),
            unlock: spec.browser_unlock == Some(true),
            terms: TermsDraft::of_service(&spec.terms),
        }
    }

    /// What was typed.
    pub(super) fn typed(fields: &Fields) -> Draft {
        let text = |name: &str| lines(fields.text(name));
        let spoken = Dialects::WORDS.into_iter().filter(|word| fields.ticked(&format!("dialect_{word}")));
        Draft {
            name: text("name"),
            title: text("title"),
            description: text("description"),
            mode: text("mode"),
            host: text("host"),
            path: text("path"),
            upstream: text("upstream"),
            strip_prefix: text("strip_prefix"),
            upstream_host: text("upstream_host"),
            headers: (0..MOST_HEADERS).filter_map(|n| HeaderRow::typed(fields, n)).collect(),
            connect: text("connect"),
            header: text("header"),
            idle: text("idle"),
            openapi: text("openapi"),
            dialects: spoken.map(str::to_owned).collect(),
            unlock: fields.ticked("browser_unlock"),
            terms: TermsDraft::typed(fields),
        }
    }

    /// What it says, on top of `base`, which it was made of.
    pub(super) fn spec(&self, base: &Spec) -> (Spec, Vec<SpecFault>) {
        let (terms, faults) = self.terms.service_terms(&base.terms);
        let waits =
            TimeoutsSpec { connect: said(&self.connect), header: said(&self.header), idle: said(&self.idle) };
        let usual_mode = base.mode.is_none() && self.mode == "on";
        let spec = Spec {
            name: self.name.clone(),
            title: said(&self.title),
            description: said(&self.description),
            mode: if usual_mode { None } else { said(&self.mode) },
            host: said(&self.host),
            path: said(&self.path),
            upstream: said(&self.upstream),
            strip_prefix: said(&self.strip_prefix),
            upstream_host: said(&self.upstream_host),
            upstream_headers: self.headers.iter().map(|row| (row.name.clone(), row.spec())).collect(),
            timeouts: if waits == TimeoutsSpec::default() && base.timeouts.as_ref() != Some(&waits) {
                None
            } else {
                Some(waits)
            },
            openapi: said(&self.openapi),
            dialects: if self.dialects == spoken(base) {
                base.dialects.clone()
            } else {
                Some(self.dialects.clone())
            },
            browser_unlock: if self.unlock == (base.browser_unlock == Some(true)) {
                base.browser_unlock
            } else {
                Some(self.unlock)
            },
            terms,
            samples: base.samples.clone(),
            route: base.route.clone(),
        };
        (spec, faults)
    }

    /// Whether a form can show all of `spec` that it would write.
    pub(super) fn holds(spec: &Spec) -> bool {
        let (again, faults) = Draft::of(spec).spec(spec);
        faults.is_empty() && again == *spec
    }

    /// The headers, and empty rows to fill in.
    pub(super) fn header_rows(&self) -> Vec<(usize, HeaderRow)> {
        let spare = std::iter::repeat_n(HeaderRow::default(), SPARE);
        self.headers.iter().cloned().chain(spare).enumerate().collect()
    }

    /// Whether its 402 speaks `word`.
    pub(super) fn speaks(&self, word: &str) -> bool {
        self.dialects.iter().any(|own| own == word)
    }
}

/// The dialects that a service's 402 speaks, in their usual order.
fn spoken(spec: &Spec) -> Vec<String> {
    let words = match &spec.dialects {
        None => Dialects::default().words(),
        Some(own) => Dialects::WORDS.into_iter().filter(|word| own.iter().any(|own| own == word)).collect(),
    };
    words.into_iter().map(str::to_owned).collect()
}

impl HeaderRow {
    fn of(name: &str, value: &HeaderSpec) -> HeaderRow {
        let (from, value, prefix) = match value {
            HeaderSpec::Literal(_) | HeaderSpec::Redacted { .. } => ("kept", "", ""),
            HeaderSpec::Env { env, prefix } => ("env", env.as_str(), prefix.as_deref().unwrap_or_default()),
        };
        HeaderRow {
            name: name.to_owned(),
            from: from.to_owned(),
            value: value.to_owned(),
            prefix: prefix.to_owned(),
        }
    }

    fn typed(fields: &Fields, n: usize) -> Option<HeaderRow> {
        let text = |part: &str| lines(fields.text(&format!("header{n}_{part}")));
        let row = HeaderRow {
            name: text("name"),
            from: text("from"),
            value: text("value"),
            prefix: text("prefix"),
        };
        (!row.name.is_empty() || !row.value.is_empty()).then_some(row)
    }

    fn spec(&self) -> HeaderSpec {
        match self.from.as_str() {
            "env" => HeaderSpec::Env { env: self.value.clone(), prefix: said(&self.prefix) },
            // What is typed beside a kept value takes its place.
            "kept" if self.value.is_empty() => HeaderSpec::Redacted { redacted: true },
            _ => HeaderSpec::Literal(self.value.clone()),
        }
    }
}

impl RouteDraft {
    /// What the form shows of `route`.
    pub(super) fn of(route: &RouteSpec) -> RouteDraft {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        RouteDraft {
            name: text(&route.name),
            description: text(&route.description),
            method: text(&route.method),
            path: text(&route.path),
            terms: TermsDraft::of(&route.terms),
        }
    }

    /// What was typed.
    pub(super) fn typed(fields: &Fields) -> RouteDraft {
        let text = |name: &str| lines(fields.text(name));
        RouteDraft {
            name: text("name"),
            description: text("description"),
            method: text("method"),
            path: text("path"),
            terms: TermsDraft::typed(fields),
        }
    }

    /// What it says, on top of `base`, which it was made of.
    pub(super) fn route(&self, base: &RouteSpec) -> (RouteSpec, Vec<SpecFault>) {
        let (terms, faults) = self.terms.terms(&base.terms);
        let route = RouteSpec {
            name: said(&self.name),
            description: said(&self.description),
            method: said(&self.method),
            path: said(&self.path),
            terms,
        };
        (route, faults)
    }

    /// Whether a form can show all of `route`.
    pub(super) fn holds(route: &RouteSpec) -> bool {
        let (again, faults) = RouteDraft::of(route).route(route);
        faults.is_empty() && again == *route
    }
}

#[cfg(test)]
mod tests;
