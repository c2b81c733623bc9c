//! One table of a document that is being read: what was asked for, and what is wrong with the rest.

use serde_json::{Map, Value};

use super::SpecFault;
use super::words::{Wrong, nearest};

/// A table at `at` in the document. Faults are gathered in the reader's list.
pub(super) struct Fields<'v, 'f> {
    at: String,
    table: &'v Map<String, Value>,
    known: Vec<&'static str>,
    pub(super) faults: &'f mut Vec<SpecFault>,
}

/// The name of `key` in the table at `at`.
pub(super) fn join(at: &str, key: &str) -> String {
    match (at, key) {
        ("", key) => key.to_owned(),
        (at, "") => at.to_owned(),
        (at, key) => format!("{at}.{key}"),
    }
}

impl<'v, 'f> Fields<'v, 'f> {
    /// The table `value`, or nothing and a fault that says what was `wanted`.
    pub(super) fn of(
        at: String,
        value: &'v Value,
        help: &str,
        faults: &'f mut Vec<SpecFault>,
    ) -> Option<Fields<'v, 'f>> {
        match value.as_object() {
            Some(table) => Some(Fields { at, table, known: Vec::new(), faults }),
            None => {
                faults.push(SpecFault::new(at, not_a("a table", help, value)));
                None
            }
        }
    }

    pub(super) fn name_of(&self, key: &str) -> String {
        join(&self.at, key)
    }

    /// The value under `key`; the key counts as known from now on.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'v Value> {
        self.known.push(key);
        // JSON's null is no value, as if the line were not there.
        self.table.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn complain(&mut self, key: &str, wrong: Wrong) {
        self.faults.push(SpecFault::new(self.name_of(key), wrong));
    }

    /// A string.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        self.text_of(key, value)
    }

    /// `value` as a string.
    pub(super) fn text_of(&mut self, key: &str, value: &Value) -> Option<String> {
        let text = value.as_str().map(str::to_owned);
        if text.is_none() {
            self.complain(key, not_a("a string", "Put it in quotes.", value));
        }
        text
    }

    /// A number that is not negative.
    pub(super) fn count(&mut self, key: &'static str) -> Option<u64> {
        let value = self.value(key)?;
        let number = value.as_u64();
        if number.is_none() {
            self.complain(key, not_a("a whole number", "Write it without quotes.", value));
        }
        number
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.complain(key, not_a("true or false", "Write it without quotes.", value));
        }
        flag
    }

    /// Complains that `key` is missing, unless another key is a misspelling of it.
    pub(super) fn lacks(&mut self, key: &'static str, help: &str) {
        let missing = self.value(key).is_none();
        if missing && self.table.keys().all(|name| self.known.contains(&name.as_str())) {
            self.complain(key, Wrong::new("it is missing", help));
        }
    }

    /// A list.
    pub(super) fn list(&mut self, key: &'static str, help: &str) -> Option<&'v [Value]> {
        let value = self.value(key)?;
        let list = value.as_array().map(Vec::as_slice);
        if list.is_none() {
            self.complain(key, not_a("a list", help, value));
        }
        list
    }

    /// The table under `key`, read by `read`.
    pub(super) fn table<T>(
        &mut self,
        key: &'static str,
        help: &str,
        read: impl FnOnce(&mut Fields<'_, '_>) -> T,
    ) -> Option<T> {
        let value = self.value(key)?;
        self.inside(key, value, help, read)
    }

    /// The table `value`, which is at `key`, read by `read`.
    pub(super) fn inside<T>(
        &mut self,
        key: &str,
        value: &Value,
        help: &str,
        read: impl FnOnce(&mut Fields<'_, '_>) -> T,
    ) -> Option<T> {
        let mut fields = Fields::of(self.name_of(key), value, help, self.faults)?;
        let got = read(&mut fields);
        fields.finish();
        Some(got)
    }

    /// The tables of the list under `key`, each read by `read`.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        help: &str,
        mut read: impl FnMut(&mut Fields<'_, '_>) -> T,
    ) -> Option<Vec<T>> {
        let list = self.list(key, help)?;
        let mut read_one = |(index, value)| self.inside(&format!("{key}[{index}]"), value, help, &mut read);
        Some(list.iter().enumerate().filter_map(&mut read_one).collect())
    }

    /// Every key and value of the table under `key`.
    pub(super) fn entries(
        &mut self,
        key: &'static str,
        help: &str,
    ) -> impl Iterator<Item = (&'v String, &'v Value)> + use<'v> {
        let table = self.value(key).and_then(|value| {
            let table = value.as_object();
            if table.is_none() {
                self.complain(key, not_a("a table", help, value));
            }
            table
        });
        table.into_iter().flatten()
    }

    /// Complains of the keys that nobody asked for.
    pub(super) fn finish(self) {
        for (key, value) in self.table.iter().filter(|(key, _)| !self.known.contains(&key.as_str())) {
            let what =
                if value.is_object() { "there is no such section" } else { "there is no such setting" };
            let help = match nearest(key, self.known.iter().copied()) {
                Some(meant) => format!("Did you mean `{meant}`?"),
                None => {
                    let mut known = self.known.clone();
                    known.sort_unstable();
                    format!("Known here: {}.", known.join(", "))
                }
            };
            self.faults.push(SpecFault::new(join(&self.at, key), Wrong::new(what, help)));
        }
    }
}

/// A value of the wrong type.
pub(super) fn not_a(wanted: &str, help: &str, found: &Value) -> Wrong {
    let found = match found {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a float",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    };
    Wrong::new(format!("expected {wanted}, found {found}"), help)
}
