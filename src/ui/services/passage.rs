//! The address that a customer asks, and the one that the API is asked for it.

use super::draft::Draft;
use crate::types::path::lies_under;

/// The two addresses of one request.
pub(super) struct Passage {
    pub(super) asked: String,
    pub(super) sent: String,
}

impl Passage {
    /// Of a request for `rest` below the service's `path`, as the gateway passes it on: with its whole path, or
    /// without `strip` at its front.
    pub(super) fn of(public: &str, upstream: &str, path: &str, strip: &str, rest: &str) -> Passage {
        let whole = format!("{}{rest}", path.trim_end_matches('/'));
        let strip = strip.trim_end_matches('/');
        let kept = whole.strip_prefix(strip).filter(|_| !strip.is_empty() && lies_under(&whole, strip));
        Passage {
            asked: format!("{public}{whole}"),
            sent: format!("{}{}", upstream.trim_end_matches('/'), kept.unwrap_or(&whole)),
        }
    }
}

/// What the form says of the path that is typed into it, by example.
pub(super) struct Example {
    pub(super) lead: &'static str,
    pub(super) now: Passage,
    /// What would be taken off, and what the API would be asked for then.
    pub(super) off: Option<(String, String)>,
}

impl Example {
    /// Of what stands in a form; where nothing does yet, of a service that might.
    pub(super) fn of(draft: &Draft, is_new: bool, gateway: &str) -> Example {
        let some =
            |typed: &str, else_: &str| if typed.is_empty() { else_.to_owned() } else { typed.to_owned() };
        let supposed = is_new && draft.path.is_empty();
        let path = if supposed { "/weather" } else { draft.path.trim_end_matches('/') };
        let (public, upstream) = (some(&draft.host, gateway), some(&draft.upstream, "http://127.0.0.1:9000"));
        let passage = |strip: &str| Passage::of(&public, &upstream, path, strip, "/today");
        Example {
            lead: if supposed { "With the path /weather, a buyer who asks" } else { "A buyer who asks" },
            now: passage(&draft.strip_prefix),
            off: (draft.strip_prefix.is_empty() && !path.is_empty())
                .then(|| (path.to_owned(), passage(path).sent)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::spec::Spec;

    #[test]
    fn the_form_says_by_example_what_is_sent() {
        let draft = |path: &str, strip: &str| {
            let (path, strip_prefix) = (path.to_owned(), strip.to_owned());
            Draft { path, strip_prefix, ..Draft::of(&Spec::default()) }
        };
        let told = |path, strip, is_new| {
            let example = Example::of(&draft(path, strip), is_new, "http://g");
            (example.now.asked, example.now.sent, example.off.map(|(_, sent)| sent))
        };
        let (weather, kept, off) = (
            "http://g/weather/today".to_owned(),
            "http://127.0.0.1:9000/weather/today",
            "http://127.0.0.1:9000/today",
        );
        assert_eq!(told("", "", true), (weather.clone(), kept.to_owned(), Some(off.to_owned())));
        assert_eq!(told("/weather/", "", false), (weather.clone(), kept.to_owned(), Some(off.to_owned())));
        assert_eq!(told("/weather", "/weather", false), (weather, off.to_owned(), None));
        assert_eq!(told("", "", false), ("http://g/today".to_owned(), off.to_owned(), None));
    }

    #[test]
    fn the_path_is_kept_unless_it_is_taken_off() {
        let sent = |upstream, path, strip| Passage::of("http://g", upstream, path, strip, "/today").sent;
        assert_eq!(
            Passage::of("http://g", "http://u", "/weather", "", "/today").asked,
            "http://g/weather/today"
        );
        assert_eq!(sent("http://u", "/weather", ""), "http://u/weather/today");
        assert_eq!(sent("http://u", "/weather", "/weather"), "http://u/today");
        assert_eq!(sent("http://u/api/", "/weather/", "/weather/"), "http://u/api/today");
        assert_eq!(sent("http://u", "/v1/weather", "/v1"), "http://u/weather/today");
        assert_eq!(sent("http://u", "/weather", "/wea"), "http://u/weather/today");
        assert_eq!(sent("http://u", "/", "/"), "http://u/today");
    }
}
