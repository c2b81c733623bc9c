//! What a form sends, read by the names of its fields; what cannot be read is said in the field's own words.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Form;
use axum::extract::{FromRequest, Request};
use axum::response::Response;

use super::entry;
use crate::web::Operator;
use crate::web::password::Password;

/// The fields of one form, none before one is sent. `Debug` shows their names alone: one of them may be a secret.
#[derive(Default)]
pub(super) struct Fields(BTreeMap<String, String>);

/// Why a form is shown again, in a sentence that names the field.
pub(super) type Refused = String;

impl Fields {
    /// A field's text without blanks around it; empty when it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |text| text.trim())
    }

    /// The same, `None` when it is empty.
    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// Whether a box is ticked.
    pub(super) fn ticked(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A whole number; groups of digits may be set apart by blanks, commas or apostrophes.
    pub(super) fn number(&self, name: &str, label: &str) -> Result<u64, Refused> {
        match self.optional_number(name, label)? {
            Some(number) => Ok(number),
            None => Err(format!("{label} is missing.")),
        }
    }

    /// The same; `None` when the field is empty.
    pub(super) fn optional_number(&self, name: &str, label: &str) -> Result<Option<u64>, Refused> {
        let Some(text) = self.optional(name) else { return Ok(None) };
        let digits: String =
            text.chars().filter(|c| !c.is_whitespace() && !matches!(c, ',' | '\'' | '’' | '_')).collect();
        let number = digits.parse().map_err(|_| format!("{label} must be a whole number, not “{text}”."))?;
        Ok(Some(number))
    }

    /// A field as it was typed, with the blanks around it, which may belong to a secret; `None` when it is empty.
    pub(super) fn raw(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|text| !text.is_empty()).cloned()
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The password that was typed, if any.
    pub(super) fn password(&self) -> Option<Password> {
        self.raw("password").map(Password::new)
    }

    /// The fields that `names` lists, to be sent once more.
    pub(super) fn again(&self, names: &[&str]) -> Vec<(String, String)> {
        let one = |name: &&str| self.0.get(*name).map(|text| ((*name).to_owned(), text.clone()));
        names.iter().filter_map(one).collect()
    }

    /// Every field of a form, to be sent once more; not what answers a question.
    pub(super) fn all_again(&self) -> Vec<(String, String)> {
        let own = self.all().filter(|(name, _)| !matches!(*name, "key" | "password"));
        own.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromRequest<Arc<Operator>> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, op: &Arc<Operator>) -> Result<Fields, Response> {
        match Form::from_request(request, op).await {
            Ok(Form(fields)) => Ok(Fields(fields)),
            Err(_) => Err(entry::incomplete()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, text: &str) -> Fields {
        Fields(BTreeMap::from([(name.to_owned(), text.to_owned())]))
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for text in ["20000", " 20,000 ", "20 000", "20'000", "20_000"] {
            assert_eq!(one("sat", text).number("sat", "Amount"), Ok(20_000), "{text}");
        }
        for text in ["2.5", "-1", "20k", "99999999999999999999"] {
            let refused = one("sat", text).number("sat", "Amount").expect_err(text);
            assert!(refused.starts_with("Amount must be a whole number"), "{refused}");
        }
        assert_eq!(one("sat", " ").optional_number("sat", "Amount"), Ok(None));
        assert_eq!(one("other", "1").number("sat", "Amount"), Err("Amount is missing.".to_owned()));
    }

    #[test]
    fn what_answers_a_question_is_not_sent_again() {
        let typed = [("key", "k"), ("password", "p"), ("toml", "a\r\nb")];
        let fields = Fields(typed.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
        assert_eq!(fields.all_again(), [("toml".to_owned(), "a\r\nb".to_owned())]);
    }

    #[test]
    fn what_was_typed_is_not_shown_in_a_log() {
        assert_eq!(format!("{:?}", one("password", "secret words")), "{\"password\"}");
    }
}
