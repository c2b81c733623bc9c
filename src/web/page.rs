//! One page of a list whose newest rows come first, on a page and in the API alike.
//!
//! A page ends with a cursor: the number of its last row. The next page has the rows before it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// How many rows a page has: 1 to 500, by default 50.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Rows(u32);

impl Rows {
    /// The most rows of one page.
    pub const MOST: u32 = 500;

    /// How many to read: one more than are shown tells whether there is a next page.
    pub const fn to_read(self) -> u32 {
        self.0.saturating_add(1)
    }

    /// Leaves of what was read what is shown, and gives the cursor of the next page, if there is one.
    pub fn page<R, N>(self, read: &mut Vec<R>, number: impl FnOnce(&R) -> N) -> Option<N> {
        let shown = usize::try_from(self.0).unwrap_or(usize::MAX);
        let more = read.len() > shown;
        read.truncate(shown);
        read.last().filter(|_| more).map(number)
    }
}

impl Default for Rows {
    fn default() -> Rows {
        Rows(50)
    }
}

impl TryFrom<u32> for Rows {
    type Error = String;

    fn try_from(rows: u32) -> Result<Rows, String> {
        match rows {
            1..=Rows::MOST => Ok(Rows(rows)),
            _ => Err(format!("must be 1 to {}", Rows::MOST)),
        }
    }
}

impl JsonSchema for Rows {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Rows".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer", "minimum": 1, "maximum": Rows::MOST, "default": Rows::default().0,
            "description": "How many rows a page has.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_one_begins() {
        let two = Rows::try_from(2).expect("fits");
        assert_eq!(two.to_read(), 3);
        let mut read = vec![9, 7, 4];
        assert_eq!((two.page(&mut read, |row| *row), read), (Some(7), vec![9, 7]));
        let mut last = vec![4, 1];
        assert_eq!((two.page(&mut last, |row| *row), last), (None, vec![4, 1]));
        let mut none: Vec<i64> = Vec::new();
        assert_eq!(two.page(&mut none, |row| *row), None);
        assert!(Rows::try_from(0).is_err() && Rows::try_from(501).is_err() && Rows::try_from(500).is_ok());
    }
}
