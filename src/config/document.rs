//! The configuration file as read: TOML whose every key and value knows its line.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Bad, Problem, Source, nearest};

/// Turns byte offsets into line numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    pub(crate) fn of(text: &str) -> Lines {
        Lines(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect())
    }

    /// The line, from 1, that holds the byte at `offset`.
    pub(crate) fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}

/// The file's name and lines: what a problem needs to say where it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) path: Option<PathBuf>,
    pub(crate) lines: Lines,
}

impl Origin {
    pub(crate) fn source(&self, span: &Range<usize>) -> Source {
        Source::File(self.lines.at(span.start))
    }

    pub(crate) fn problem(&self, span: &Range<usize>, setting: &str, bad: Bad) -> Problem {
        self.problem_from(self.source(span), setting, bad)
    }

    pub(crate) fn problem_from(&self, source: Source, setting: &str, bad: Bad) -> Problem {
        let file = matches!(source, Source::File(_)).then(|| self.path.clone()).flatten();
        Problem { file, source, setting: setting.to_owned(), what: bad.what, help: bad.help }
    }
}

/// Parses `text`; the second part are the errors of syntax, with their lines.
pub(crate) fn parse<'t>(path: &Path, text: &'t str) -> (Origin, Spanned<DeTable<'t>>, Vec<Problem>) {
    let origin = Origin { path: Some(path.to_owned()), lines: Lines::of(text) };
    let (table, errors) = DeTable::parse_recoverable(text);
    let problems = errors
        .into_iter()
        .map(|error| {
            let bad = Bad::new(format!("this is not TOML: {}", error.message()), "");
            origin.problem(&error.span().unwrap_or(0..0), "", bad)
        })
        .collect();
    (origin, table, problems)
}

/// One table of the file that is being read, and which of its keys were asked for.
pub(crate) struct Section<'d, 't> {
    origin: &'d Origin,
    /// `""` at the top, else the table's name such as `gateway` or `service[0]`.
    prefix: String,
    span: Range<usize>,
    table: Option<&'d DeTable<'t>>,
    known: BTreeSet<&'static str>,
    problems: Vec<Problem>,
}

impl<'d, 't> Section<'d, 't> {
    pub(crate) fn top(origin: &'d Origin, table: &'d Spanned<DeTable<'t>>) -> Section<'d, 't> {
        Section::new(origin, String::new(), table.span(), Some(table.get_ref()))
    }

    fn new(
        origin: &'d Origin,
        prefix: String,
        span: Range<usize>,
        table: Option<&'d DeTable<'t>>,
    ) -> Section<'d, 't> {
        Section { origin, prefix, span, table, known: BTreeSet::new(), problems: Vec::new() }
    }

    /// The full name of one of this table's keys.
    pub(crate) fn name_of(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    /// Where the table begins.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub(crate) fn source_of(&self, span: &Range<usize>) -> Source {
        self.origin.source(span)
    }

    /// The table itself, for who reads it otherwise.
    pub(crate) fn raw(&self) -> Option<&'d DeTable<'t>> {
        self.table
    }

    /// Notes a problem with `key` where it stands, if it does.
    pub(crate) fn complain_at(&mut self, key: &'static str, bad: Bad) {
        let at = self.value(key).map(Spanned::span);
        self.complain(key, at, bad);
    }

    /// Notes a problem with `key`, at `span` or where the table begins.
    pub(crate) fn complain(&mut self, key: &str, span: Option<Range<usize>>, bad: Bad) {
        let name = self.name_of(key);
        let problem = self.origin.problem(&span.unwrap_or(self.span.clone()), &name, bad);
        self.problems.push(problem);
    }

    /// The value under `key`, if the file has it; the key counts as known from now on.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'t>>> {
        self.known.insert(key);
        self.table.and_then(|table| table.get(key))
    }

    /// A string under `key`.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<(&'d str, Range<usize>)> {
        let value = self.value(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some((text, value.span())),
            None => {
                let bad = not_a("a string", "Put it in quotes.", value.get_ref());
                self.complain(key, Some(value.span()), bad);
                None
            }
        }
    }

    /// A string under `key`, parsed.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Bad>,
    ) -> Option<(T, Range<usize>)> {
        let (text, span) = self.text(key)?;
        match parse(text) {
            Ok(value) => Some((value, span)),
            Err(bad) => {
                self.complain(key, Some(span), bad);
                None
            }
        }
    }

    /// The table under `key`; an empty one when there is none.
    pub(crate) fn section(&mut self, key: &'static str) -> Section<'d, 't> {
        let name = self.name_of(key);
        let empty = Section::new(self.origin, name.clone(), self.span(), None);
        let Some(value) = self.value(key) else { return empty };
        match value.get_ref().as_table() {
            Some(table) => Section::new(self.origin, name, value.span(), Some(table)),
            None => {
                let help = format!("Write a line [{name}] and its settings below it.");
                self.complain(key, Some(value.span()), not_a("a table", &help, value.get_ref()));
                empty
            }
        }
    }

    /// The tables of the list under `key`, such as each `[[service]]`.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Section<'d, 't>> {
        let name = self.name_of(key);
        let Some(value) = self.value(key) else { return Vec::new() };
        let help = format!(
            "Begin each with a line [[{}]].",
            name.replace(|c: char| !c.is_ascii_lowercase() && c != '.', "")
        );
        let Some(array) = value.get_ref().as_array() else {
            self.complain(key, Some(value.span()), not_a("a list of tables", &help, value.get_ref()));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in array.iter().enumerate() {
            match item.get_ref().as_table() {
                Some(table) => {
                    let name = format!("{name}[{index}]");
                    sections.push(Section::new(self.origin, name, item.span(), Some(table)));
                }
                None => self.complain(key, Some(item.span()), not_a("a table", &help, item.get_ref())),
            }
        }
        sections
    }

    /// Uses the service's name in place of its number in what is said from now on.
    pub(crate) fn rename(&mut self, prefix: String) {
        for problem in &mut self.problems {
            if let Some(rest) = problem.setting.strip_prefix(&self.prefix) {
                problem.setting = format!("{prefix}{rest}");
            }
        }
        self.prefix = prefix;
    }

    /// Every problem of this table, the keys that nobody asked for included.
    pub(crate) fn finish(mut self) -> Vec<Problem> {
        for (key, value) in self.table.into_iter().flatten() {
            let word: &str = key.get_ref();
            if self.known.contains(word) {
                continue;
            }
            let what = if value.get_ref().is_table() {
                "there is no such section"
            } else {
                "there is no such setting"
            };
            let help = match nearest(word, self.known.iter().copied()) {
                Some(meant) => format!("Did you mean `{meant}`?"),
                None => {
                    let known: Vec<&str> = self.known.iter().copied().collect();
                    format!("Known here: {}.", known.join(", "))
                }
            };
            self.complain(word, Some(key.span()), Bad::new(what, help));
        }
        self.problems
    }
}

/// A value of the wrong type.
pub(crate) fn not_a(wanted: &str, help: &str, found: &DeValue<'_>) -> Bad {
    Bad::new(format!("expected {wanted}, found {} {}", article(found.type_str()), found.type_str()), help)
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines() {
        let lines = Lines::of("a\nbc\n\nd");
        let at: Vec<usize> = [0, 1, 2, 4, 5, 6].map(|o| lines.at(o)).into();
        assert_eq!(at, [1, 1, 2, 2, 3, 4]);
    }
}
