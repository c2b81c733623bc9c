//! What is wrong with a form: each fault of a spec at the field that says it, in words that fit a form.

use crate::catalog::spec::{Spec, SpecFault};
use crate::storefront::Refusal;
use crate::ui::figures::grouped_in;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The field, where the form has one for it.
    pub(super) id: Option<String>,
    /// Its name on the page, or the setting's.
    pub(super) label: String,
    /// What is wrong, and what to do.
    pub(super) says: String,
}

/// Everything that is wrong with a form.
#[derive(Clone, Debug, Default)]
pub(super) struct Wrongs {
    /// What that means for what was typed.
    pub(super) intro: &'static str,
    /// Each thing.
    pub(super) list: Vec<Wrong>,
}

/// A change was not taken.
const UNSAVED: &str = "Nothing was saved.";
/// A service stands closed.
const CLOSED: &str = "This service is closed, for it can be sold no more as it is written.";

impl Wrongs {
    /// Nothing was typed yet, or all of it is right.
    pub(super) fn none() -> Wrongs {
        Wrongs::default()
    }

    /// What is wrong with the field `id`.
    pub(super) fn at(&self, id: &str) -> Option<&str> {
        self.list.iter().find(|wrong| wrong.id.as_deref() == Some(id)).map(|wrong| wrong.says.as_str())
    }

    /// Whether something is wrong with a field of the form's part `group`, which opens then.
    pub(super) fn within(&self, group: &str) -> bool {
        let mut ids = self.list.iter().filter_map(|wrong| wrong.id.as_deref());
        ids.any(|id| match group {
            "told" => matches!(id, "title" | "description" | "openapi" | "dialect_l402"),
            "reached" => {
                matches!(id, "host" | "upstream_host" | "connect" | "header" | "idle")
                    || place(id).0 == HEADERS
            }
            _ => matches!(id, "restore_on" | "invoice_expiry" | "token_life"),
        })
    }

    /// Whether anything is.
    pub(super) fn any(&self) -> bool {
        !self.list.is_empty()
    }

    /// Why `refusal`, of one service whose settings at `part` the form shows: nothing for the service itself,
    /// `route[2]` for a route of it. `headers` are the names of the form's rows of headers.
    pub(super) fn of(refusal: &Refusal, part: &str, headers: &[&str]) -> Wrongs {
        match refusal {
            Refusal::Faults(faults) => {
                let one = |fault: &SpecFault| wrong(fault, part, headers);
                Wrongs::unsaved(faults.iter().map(|wrong| one(&wrong.fault)).collect())
            }
            other => Wrongs::whole(&other.to_string()),
        }
    }

    /// One thing that is of no field.
    pub(super) fn whole(text: &str) -> Wrongs {
        Wrongs::unsaved(vec![Wrong { id: None, label: String::new(), says: sentence(text) }])
    }

    /// Why a change was not taken.
    pub(super) fn unsaved(mut list: Vec<Wrong>) -> Wrongs {
        list.sort_by_key(|wrong| wrong.id.as_deref().map_or((0, 0), place));
        Wrongs { intro: UNSAVED, list }
    }

    /// Why a stored service is closed.
    pub(super) fn closed(faults: &[SpecFault], headers: &[&str]) -> Wrongs {
        let intro = if faults.is_empty() { "" } else { CLOSED };
        Wrongs { intro, list: faults.iter().map(|fault| wrong(fault, "", headers)).collect() }
    }
}

/// What is wrong or doubtful with a stored service, in the words of the form on which it is mended.
pub(super) fn told(fault: &SpecFault, spec: &Spec) -> String {
    let headers: Vec<&str> = spec.upstream_headers.keys().map(String::as_str).collect();
    let route = row(&fault.field, "route").map(|(at, _)| at);
    let part = route.map(|at| format!("route[{at}]")).unwrap_or_default();
    let Wrong { label, says, .. } = wrong(fault, &part, &headers);
    let of = route.and_then(|at| spec.route.get(at)).map(|route| {
        let method = route.method.as_ref().map(|method| format!("{method} ")).unwrap_or_default();
        format!("{method}{}, ", route.path.as_deref().unwrap_or_default())
    });
    grouped_in(&format!("{}{label}: {says}", of.unwrap_or_default()))
}

/// The fields from top to bottom; rows of a list by how their names begin.
const ORDER: [&str; 31] = [
    "name",
    "upstream",
    "method",
    "path",
    "amount",
    "formula",
    "ceiling",
    "tier",
    "per",
    "byte_ceiling",
    "fallback",
    "offer",
    "free_requests",
    "free_per",
    "free_by",
    "restore_on",
    "invoice_expiry",
    "token_life",
    "mode",
    "title",
    "description",
    "openapi",
    "dialect_l402",
    "host",
    "strip_prefix",
    "upstream_host",
    "header0",
    "connect",
    "header",
    "idle",
    "",
];
/// The place of the rows of headers in [`ORDER`].
const HEADERS: usize = 26;

/// Where a field stands in the form, and which row of a list it is in.
fn place(id: &str) -> (usize, usize) {
    if let Some(at) = ORDER.iter().position(|own| *own == id) {
        return (at, 0);
    }
    let rows = [("header", HEADERS), ("tier", 7), ("offer", 11)];
    let row = rows.into_iter().find_map(|(list, at)| Some((id.strip_prefix(list)?, at)));
    row.map_or((ORDER.len(), 0), |(rest, at)| {
        let number = rest.split('_').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        (at, number)
    })
}

fn wrong(fault: &SpecFault, part: &str, headers: &[&str]) -> Wrong {
    let inside = match part {
        "" => Some(fault.field.as_str()),
        part => fault.field.strip_prefix(part).map(|rest| rest.trim_start_matches('.')),
    };
    let (id, label) = match inside.and_then(|setting| field(setting, headers)) {
        Some((id, label)) => (Some(id), label),
        None => (None, fault.field.clone()),
    };
    // What to do is told in the words of a services file, which is not what is filled in here.
    let help = if fault.help.contains(" = ") || fault.help.contains("{ ") { "" } else { fault.help.as_str() };
    let says = format!("{} {}", sentence(&fault.what), plain(help));
    Wrong { id, label, says: says.trim_end().to_owned() }
}

/// The field for a setting, and its name on the page.
fn field(setting: &str, headers: &[&str]) -> Option<(String, String)> {
    let known = |id: &str, label: &str| Some((id.to_owned(), label.to_owned()));
    if let Some(rest) = setting.strip_prefix("upstream_headers.") {
        let at = headers.iter().position(|name| *name == rest || rest.strip_suffix(".env") == Some(*name));
        return at.map(|n| (format!("header{n}_value"), format!("Header {}", headers[n])));
    }
    if let Some((n, part)) = row(setting, "offers") {
        let part = if matches!(part, "price" | "name" | "what") { part } else { "much" };
        return Some((format!("offer{n}_{part}"), format!("Offer {}", n + 1)));
    }
    if let Some((n, part)) = row(setting, "tiers") {
        let part = if part == "up_to" { part } else { "price" };
        return Some((format!("tier{n}_{part}"), format!("Step {}", n + 1)));
    }
    match setting {
        "name" => known("name", "Name"),
        "path" => known("path", "Path"),
        "method" => known("method", "Method"),
        "host" => known("host", "Host"),
        "upstream" => known("upstream", "Your API’s address"),
        "strip_prefix" => known("strip_prefix", "Prefix to remove"),
        "upstream_host" => known("upstream_host", "Host it is asked for"),
        "openapi" => known("openapi", "OpenAPI document"),
        "mode" => known("mode", "Selling"),
        "browser_unlock" => known("browser_unlock", "A browser that paid (under As text)"),
        "timeouts.connect" => known("connect", "For a connection"),
        "timeouts.header" => known("header", "For an answer"),
        "timeouts.idle" => known("idle", "For more of it"),
        "price" => known("amount", "Price"),
        "price.formula" => known("formula", "Formula"),
        "price.ceiling" => known("ceiling", "At most"),
        "price.fallback" | "fallback" => known("fallback", "Fallback price"),
        "tiers" => known("tier0_price", "Steps"),
        "per" => known("per", "For each"),
        "ceiling" => known("byte_ceiling", "At most for one request"),
        "offers" => known("offer0_what", "What a buyer can choose"),
        "free.requests" => known("free_requests", "Free requests"),
        "free.per" => known("free_per", "Per"),
        "free.by" => known("free_by", "Counted for"),
        "invoice_expiry" => known("invoice_expiry", "An invoice can be paid for"),
        "token_life" => known("token_life", "A token lives for"),
        other if other.starts_with("restore_on") => known("restore_on", "Give back on"),
        other if other.starts_with("dialects") => known("dialect_l402", "Dialects"),
        _ => None,
    }
}

/// The number and the rest of `list[2].price`.
fn row<'s>(setting: &'s str, list: &str) -> Option<(usize, &'s str)> {
    let (number, rest) = setting.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
    Some((number.parse().ok()?, rest.trim_start_matches('.')))
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    plain(&format!("{first}{}{end}", letters.as_str()))
}

/// Names stand between quotation marks on a page.
fn plain(text: &str) -> String {
    text.replace('`', "\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storefront::ServiceFault;

    fn fault(field: &str, what: &str, help: &str) -> ServiceFault {
        let fault = SpecFault { field: field.to_owned(), what: what.to_owned(), help: help.to_owned() };
        ServiceFault { index: 0, service: "a".to_owned(), fault }
    }

    #[test]
    fn a_stored_service_is_doubted_in_the_words_of_its_form() {
        let spec =
            Spec::read(&serde_json::json!({ "name": "a", "route": [{ "path": "/x", "method": "GET" }] })).0;
        let doubt = |field: &str| {
            told(&fault(field, "2000 requests cost 20000 sat as a pack", "Ask less.").fault, &spec)
        };
        let says = "2000 requests cost 20,000 sat as a pack. Ask less.";
        assert_eq!(doubt("offers[1].price"), format!("Offer 2: {says}"));
        assert_eq!(doubt("route[0].offers[1].price"), format!("GET /x, Offer 2: {says}"));
    }

    #[test]
    fn a_fault_stands_at_its_field() {
        let refusal = Refusal::Faults(vec![
            fault("price", "it is missing", "Add a line such as price = \"50 sat\"."),
            fault("route[1].offers[2].pass", "\"soon\" is not a span of time", "Write it such as \"1 day\"."),
            fault("upstream_headers.X-Key.env", "the environment variable A is not set", "Set `A`."),
        ]);
        let of = |part| {
            let wrongs = Wrongs::of(&refusal, part, &["X-Other", "X-Key"]);
            wrongs.list.into_iter().map(|wrong| (wrong.id, wrong.label, wrong.says)).collect::<Vec<_>>()
        };
        let line = |id: Option<&str>, label: &str, says: &str| {
            (id.map(str::to_owned), label.to_owned(), says.to_owned())
        };
        let span = "\"soon\" is not a span of time. Write it such as \"1 day\".";
        let unset = "The environment variable A is not set. Set \"A\".";
        assert_eq!(
            of(""),
            [
                line(None, "route[1].offers[2].pass", span),
                line(Some("amount"), "Price", "It is missing."),
                line(Some("header1_value"), "Header X-Key", unset),
            ]
        );
        assert_eq!(of("route[1]")[2], line(Some("offer2_much"), "Offer 3", span));
        assert_eq!(of("route[1]")[0].0, None, "a setting of the service is not on a route's form");
    }
}
