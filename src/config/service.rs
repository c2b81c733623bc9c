//! Reads `[[service]]` and `[[service.route]]`: the shape and sense are the catalogue's, the lines are ours.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::{Origin, Section, parse};
use super::layer::Environment;
use super::problem::{Bad, Problem, Problems, Source};
use crate::catalog::Service;
use crate::catalog::spec::{Spec, SpecFault, clash, words};

/// The services that one file names, each with the lines of its settings.
#[derive(Clone, Debug)]
pub struct FileServices {
    /// The file.
    pub file: PathBuf,
    /// What it says.
    pub specs: Vec<Spec>,
    origin: Origin,
    places: Vec<Places>,
}

/// Where in the file each setting of one service stands.
#[derive(Clone, Debug)]
struct Places {
    /// `service.rates`, or `service[0]` for one without a name.
    prefix: String,
    whole: Range<usize>,
    spans: HashMap<String, Range<usize>>,
}

impl Places {
    /// The setting's own place, or that of the nearest table around it.
    fn span(&self, field: &str) -> &Range<usize> {
        let mut name = field;
        loop {
            if let Some(span) = self.spans.get(name) {
                return span;
            }
            match name.rfind(['.', '[']) {
                Some(cut) => name = &name[..cut],
                None => return &self.whole,
            }
        }
    }
}

impl FileServices {
    /// Reads a file that holds services and nothing else.
    ///
    /// # Errors
    /// When it cannot be read, or what it holds has not the shape of services; all problems at once.
    pub fn load(path: &Path) -> Result<FileServices, Problems> {
        let of_file = |what: String, help: &str| {
            let (file, source) = (Some(path.to_owned()), Source::Default);
            Problems(vec![Problem { file, source, setting: String::new(), what, help: help.to_owned() }])
        };
        let bytes = std::fs::read(path).map_err(|e| of_file(format!("cannot be read: {e}"), ""))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| of_file("this is not UTF-8 text".to_owned(), "Save the file as UTF-8."))?;
        FileServices::read(path, &text)
    }

    /// Like [`FileServices::load`], with the file's text at hand.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(path: &Path, text: &str) -> Result<FileServices, Problems> {
        let (file, shape) = FileServices::read_any(path, text)?;
        if shape.iter().all(Vec::is_empty) {
            return Ok(file);
        }
        let faults =
            shape.iter().enumerate().flat_map(|(index, faults)| faults.iter().map(move |f| (index, f)));
        Err(Problems(faults.map(|(index, fault)| file.problem(index, fault)).collect()))
    }

    fn read_any(path: &Path, text: &str) -> Result<(FileServices, Vec<Vec<SpecFault>>), Problems> {
        let (origin, table, syntax) = parse(path, text);
        if !syntax.is_empty() {
            return Err(Problems(syntax));
        }
        let mut top = Section::top(&origin, &table);
        let (file, shape) = FileServices::of_section(&mut top, &origin);
        let problems = top.finish();
        if problems.is_empty() { Ok((file, shape)) } else { Err(Problems(problems)) }
    }

    /// The services of `top`, and what is wrong with the shape of each.
    fn of_section(top: &mut Section<'_, '_>, origin: &Origin) -> (FileServices, Vec<Vec<SpecFault>>) {
        let file = origin.path.clone().unwrap_or_default();
        let mut read = FileServices { file, specs: Vec::new(), origin: origin.clone(), places: Vec::new() };
        let mut shapes = Vec::new();
        for (index, section) in top.sections("service").into_iter().enumerate() {
            let mut spans = HashMap::new();
            let value = section.raw().map_or(Value::Null, |table| object(table, "", &mut spans));
            let (spec, shape) = Spec::read(&value);
            let named = words::name(&spec.name).map(|name| format!("service.{name}"));
            let prefix = named.unwrap_or_else(|_| format!("service[{index}]"));
            read.places.push(Places { prefix, whole: section.span(), spans });
            read.specs.push(spec);
            shapes.push(shape);
        }
        (read, shapes)
    }

    /// `fault` of the service with this number, with its place.
    pub fn problem(&self, index: usize, fault: &SpecFault) -> Problem {
        let bad = Bad::new(fault.what.clone(), fault.help.clone());
        let Some(places) = self.places.get(index) else {
            return self.origin.problem_from(Source::Default, &fault.field, bad);
        };
        let dot = if fault.field.is_empty() { "" } else { "." };
        let setting = format!("{}{dot}{}", places.prefix, fault.field);
        self.origin.problem(places.span(&fault.field), &setting, bad)
    }

    /// What is allowed and has a risk that its operator should know, with its place.
    pub(super) fn doubts(&self) -> Vec<Problem> {
        let doubts =
            |(index, spec): (usize, &Spec)| spec.doubts().into_iter().map(move |doubt| (index, doubt));
        let all = self.specs.iter().enumerate().flat_map(doubts);
        all.map(|(index, doubt)| self.problem(index, &doubt)).collect()
    }

    /// Where the service with this number begins, as told in another's problem.
    fn place(&self, index: usize, from: &Path) -> String {
        let source = self.places.get(index).map(|places| self.origin.source(&places.whole));
        let line = source.unwrap_or(Source::Default);
        if self.file == from { format!("on {line}") } else { format!("in {}, {line}", self.file.display()) }
    }
}

/// The inline services of `top` and those of the file that it names, compiled; those without a problem
/// are returned.
pub(crate) fn read_all(
    top: &mut Section<'_, '_>,
    origin: &Origin,
    services_file: Option<&Path>,
    env: &Environment,
    problems: &mut Vec<Problem>,
) -> (Vec<FileServices>, Vec<Service>) {
    let mut files = vec![FileServices::of_section(top, origin)];
    match services_file
        .map(|path| std::fs::read_to_string(path).map_err(|e| (path, e)).map(|text| (path, text)))
    {
        // An editor that saves in two steps leaves such a file for a moment: it must not end every sale.
        Some(Ok((path, text))) if text.trim().is_empty() => {
            let help = "Put services or a comment into it, or leave the setting out.";
            top.complain_at("services_file", Bad::new(format!("{} is empty", path.display()), help));
        }
        Some(Ok((path, text))) => match FileServices::read_any(path, &text) {
            Ok(file) => files.push(file),
            Err(wrong) => problems.extend(wrong.0),
        },
        Some(Err((path, error))) => {
            let bad = Bad::new(format!("{} cannot be read: {error}", path.display()), "");
            top.complain_at("services_file", bad);
        }
        None => {}
    }
    let mut compiled: Vec<(usize, usize, Service)> = Vec::new();
    for (number, (file, shapes)) in files.iter().enumerate() {
        for (index, (spec, shape)) in file.specs.iter().zip(shapes).enumerate() {
            match spec.compile_after(shape.clone(), &|name| env.get(name).map(str::to_owned)) {
                Ok(service) => {
                    let found = compiled.iter().find_map(|(n, i, earlier)| {
                        clash(earlier, &service)
                            .map(|(key, what)| (key, what, files[*n].0.place(*i, &file.file)))
                    });
                    if let Some((key, what, place)) = found {
                        let help = "Give each service its own name, and its own host or path.";
                        let bad = Bad::new(format!("{what} ({place})"), help);
                        problems.push(file.problem(index, &SpecFault::new(key, bad)));
                    }
                    compiled.push((number, index, service));
                }
                Err(faults) => problems.extend(faults.iter().map(|fault| file.problem(index, fault))),
            }
        }
    }
    let services = compiled.into_iter().map(|(_, _, service)| service).collect();
    (files.into_iter().map(|(file, _)| file).collect(), services)
}

/// The table as a value, and the place of everything in it.
fn object(table: &DeTable<'_>, at: &str, spans: &mut HashMap<String, Range<usize>>) -> Value {
    let mut map = Map::new();
    for (key, value) in table {
        let name = key.get_ref().to_string();
        let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        let value = plain(value, &at, spans);
        // A table of its own begins at its key; a value stands where it is.
        spans.entry(at).and_modify(|span| span.start = span.start.min(key.span().start));
        map.insert(name, value);
    }
    Value::Object(map)
}

fn plain(value: &Spanned<DeValue<'_>>, at: &str, spans: &mut HashMap<String, Range<usize>>) -> Value {
    spans.insert(at.to_owned(), value.span());
    match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(yes) => Value::Bool(*yes),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i64::from_str_radix(&digits, number.radix()).map_or(Value::String(digits), Value::from)
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => {
            let one = |(index, item)| plain(item, &format!("{at}[{index}]"), spans);
            Value::Array(items.iter().enumerate().map(one).collect())
        }
        DeValue::Table(table) => object(table, at, spans),
    }
}
