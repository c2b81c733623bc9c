//! Which paths a route covers, and which of two patterns is the more specific.

use std::cmp::Ordering;
use std::fmt;

/// Which paths a route covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// This path only.
    Exact(String),
    /// Everything under this prefix, at segment borders (`/v1/files/*` in the configuration).
    Under(String),
    /// Canonical text with segments such as `{id}`, each of which is any one segment:
    /// `/v1/users/{id}/posts`, or with `/*` at its end all below.
    Template(String),
}

impl PathPattern {
    /// The path, or the prefix, or the template without its `/*`.
    pub fn front(&self) -> &str {
        match self {
            PathPattern::Exact(path) | PathPattern::Under(path) => path,
            PathPattern::Template(text) => text.strip_suffix("/*").unwrap_or(text),
        }
    }

    /// Whether both cover the same paths.
    pub fn same_paths(&self, other: &PathPattern) -> bool {
        Shape::of(self, Spelling::Exact) == Shape::of(other, Spelling::Exact)
    }
}

impl fmt::Display for PathPattern {
    /// As the configuration has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathPattern::Exact(path) | PathPattern::Template(path) => f.write_str(path),
            PathPattern::Under(path) => write!(f, "{}/*", path.trim_end_matches('/')),
        }
    }
}

/// How paths are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Byte for byte.
    Exact,
    /// Letter case and a trailing slash count for nothing, as in many frameworks.
    Loose,
}

/// A request's path in one spelling, in segments.
#[derive(Debug)]
pub(super) struct Segments(String);

impl Segments {
    pub(super) fn of(path: &str, spelling: Spelling) -> Segments {
        Segments(match spelling {
            Spelling::Exact => path.to_owned(),
            Spelling::Loose => path.trim_end_matches('/').to_ascii_lowercase(),
        })
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.strip_prefix('/').unwrap_or(&self.0).split('/')
    }
}

/// What a pattern says of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// It is this.
    Named(String),
    /// It is any, but there.
    Any,
}

/// A pattern, ready to be compared with paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    steps: Vec<Step>,
    /// Whether it goes on below.
    open: bool,
}

impl Shape {
    pub(super) fn of(pattern: &PathPattern, spelling: Spelling) -> Shape {
        let open = match pattern {
            PathPattern::Exact(_) => false,
            PathPattern::Under(_) => true,
            PathPattern::Template(text) => text.ends_with("/*"),
        };
        let braces = matches!(pattern, PathPattern::Template(_));
        let front = if open { pattern.front().trim_end_matches('/') } else { pattern.front() };
        if open && front.is_empty() {
            return Shape { steps: Vec::new(), open };
        }
        let step = |segment: &str| {
            if braces && segment.starts_with('{') { Step::Any } else { Step::Named(segment.to_owned()) }
        };
        Shape { steps: Segments::of(front, spelling).iter().map(step).collect(), open }
    }

    /// Whether it covers the path.
    pub(super) fn covers(&self, path: &Segments) -> bool {
        let mut segments = path.iter();
        let fits = self.steps.iter().all(|step| match (step, segments.next()) {
            (Step::Named(own), Some(segment)) => own == segment,
            (Step::Any, Some(segment)) => !segment.is_empty(),
            (_, None) => false,
        });
        fits && (self.open || segments.next().is_none())
    }

    /// Of two that cover one path, the greater is the more specific: from the left, a named segment
    /// before `{any}`, and that before `*`; an end before `*`.
    pub(super) fn specificity(&self, other: &Shape) -> Ordering {
        let rank = |shape: &Shape, at: usize| match shape.steps.get(at) {
            Some(Step::Named(_)) => 3,
            Some(Step::Any) => 2,
            None if at == shape.steps.len() && !shape.open => 1,
            None => 0,
        };
        let longest = self.steps.len().max(other.steps.len());
        (0..=longest)
            .map(|at| rank(self, at).cmp(&rank(other, at)))
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::spec::words::pattern;

    fn shape(text: &str) -> Shape {
        Shape::of(&pattern(text).expect("a pattern"), Spelling::Exact)
    }

    #[test]
    fn segments_are_matched_one_by_one() {
        for (text, path, covered) in [
            ("/v1/users/{id}/posts", "/v1/users/7/posts", true),
            ("/v1/users/{id}/posts", "/v1/users//posts", false),
            ("/v1/users/{id}/posts", "/v1/users/7/8/posts", false),
            ("/v1/users/{id}/posts", "/v1/users/7/posts/", false),
            ("/v1/users/{id}", "/v1/users/", false),
            ("/v1/users/{id}/*", "/v1/users/7", true),
            ("/v1/users/{id}/*", "/v1/users/7/a/b", true),
            ("/v1/users/{id}/*", "/v1/users", false),
            ("/v1/*", "/v1", true),
            ("/v1/*", "/v1/", true),
            ("/v1/*", "/v10", false),
            ("/*", "/", true),
            ("/", "/", true),
            ("/", "/a", false),
            ("/a/", "/a/", true),
            ("/a", "/a/", false),
        ] {
            assert_eq!(shape(text).covers(&Segments::of(path, Spelling::Exact)), covered, "{text} {path}");
        }
    }

    #[test]
    fn the_order_of_patterns_is_total_on_what_they_share() {
        let order =
            ["/*", "/a/*", "/a/{x}/*", "/a/{x}/{y}", "/a/{x}/c", "/a/b/*", "/a/b/{y}", "/a/b/c/*", "/a/b/c"];
        for (low, first) in order.iter().enumerate() {
            for (high, second) in order.iter().enumerate() {
                let found = shape(first).specificity(&shape(second));
                assert_eq!(found, low.cmp(&high), "{first} {second}");
            }
        }
        let same = |a: &str, b: &str| pattern(a).expect("one").same_paths(&pattern(b).expect("one"));
        assert!(same("/a/{x}", "/a/{y}") && !same("/a/{x}", "/a/x") && same("/a/*", "/a/*"));
    }

    #[test]
    fn patterns_are_read_and_shown_alike() {
        for text in ["/v1/health", "/v1/files/*", "/*", "/v1/users/{id}/posts", "/v1/{a}/{b-c}/*", "/{x}"] {
            assert_eq!(pattern(text).expect(text).to_string(), text);
        }
        for bad in [
            "",
            "v1",
            "{id}",
            "/a{id}",
            "/{id}x",
            "/{}",
            "/{a b}",
            "/{id}//x",
            "/{id}/../x",
            "/{id}//*",
            "/{a}/*/b",
        ] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }
}
