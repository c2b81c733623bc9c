//! A list that is read page by page, newest first, and the choices that narrow it.

/// One choice of a row of choices.
pub(super) struct Choice {
    pub(super) name: &'static str,
    pub(super) href: String,
    pub(super) chosen: bool,
}

/// The ways from one page of a list to others.
pub(super) struct Pages {
    /// To the first one, where this is another.
    pub(super) newest: Option<String>,
    /// To the next one, where there is one.
    pub(super) older: Option<String>,
}

impl Pages {
    /// Of a page of `shown` rows, of which one more was read to tell whether there is a next page; that one is taken
    /// off. The page begins before row `before`, `id` numbers rows, and `link` leads to the page before one.
    pub(super) fn of<T>(
        rows: &mut Vec<T>,
        shown: u32,
        before: Option<i64>,
        id: impl Fn(&T) -> i64,
        link: impl Fn(Option<i64>) -> String,
    ) -> Pages {
        let shown = usize::try_from(shown).unwrap_or(usize::MAX);
        let more = rows.len() > shown;
        rows.truncate(shown);
        Pages {
            newest: before.map(|_| link(None)),
            older: rows.last().filter(|_| more).map(|row| link(Some(id(row)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_leads_to_the_next_where_there_is_one() {
        let of = |rows: &[i64], before| {
            let mut rows = rows.to_vec();
            let pages = Pages::of(&mut rows, 2, before, |row| *row, |before| format!("{before:?}"));
            (rows.len(), pages.newest, pages.older)
        };
        let to = |before: Option<i64>| Some(format!("{before:?}"));
        assert_eq!(of(&[], None), (0, None, None));
        assert_eq!(of(&[9, 8], None), (2, None, None));
        assert_eq!(of(&[9, 8, 7], None), (2, None, to(Some(8))));
        assert_eq!(of(&[9, 8], Some(10)), (2, to(None), None));
    }
}
