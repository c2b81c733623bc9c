//! What every form of services has around its fields: where one came from, its title, where it goes, and what it knows
//! of the moment at which it was opened.

use super::{address, seen};
use crate::storefront::Stocked;

/// The frame of a form.
pub(super) struct Frame {
    /// Where one came from: address and name.
    pub(super) above: (String, String),
    pub(super) title: String,
    /// Where the form goes.
    pub(super) action: String,
    /// Nobody changed the service since.
    pub(super) seen: String,
    /// It adds something.
    pub(super) is_new: bool,
}

impl Frame {
    /// Around what adds services, at `action`.
    pub(super) fn adding(title: &str, action: &str) -> Frame {
        Frame {
            above: ("/services".to_owned(), "Services".to_owned()),
            title: title.to_owned(),
            action: action.to_owned(),
            seen: String::new(),
            is_new: true,
        }
    }

    /// Around what changes `own`, at `part` of its page's address.
    pub(super) fn of(own: &Stocked, title: String, part: &str) -> Frame {
        let here = address(own.name.as_str());
        Frame {
            action: format!("{here}/{part}"),
            above: (here, own.name.to_string()),
            title,
            seen: seen(own),
            is_new: false,
        }
    }
}
