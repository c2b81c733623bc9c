//! What was typed into one field of a service's form, read.

use crate::catalog::spec::{SpecFault, Wrong};

/// What a field says; nothing when it is empty.
pub(super) fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The words of a list, between blanks and commas.
pub(super) fn words(text: &str) -> Vec<String> {
    let parts = text.split([',', ' ', '\n', '\t']);
    parts.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A browser ends the lines of a field with two characters, and a spec with one.
pub(super) fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// A whole number, groups of digits set apart as people do; nothing when the field is empty or no number.
pub(super) fn count(text: &str, field: &str, faults: &mut Vec<SpecFault>) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | ',' | '\'' | '_')).collect();
    let number = digits.parse().ok();
    if number.is_none() {
        let wrong = Wrong::new(format!("\"{text}\" is not a whole number"), "Write digits alone.");
        faults.push(SpecFault::new(field, wrong));
    }
    number
}
