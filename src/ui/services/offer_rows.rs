//! One thing that a buyer may choose, as a row of a form.

use super::typed::{count, lines, said};
use crate::catalog::spec::{OfferSpec, SpecFault, Wrong};
use crate::ui::form::Fields;

/// One row. An empty one says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OfferRow {
    /// `request`, `pack`, `pass` or `balance`.
    pub(super) what: String,
    /// How many requests, how long, how much.
    pub(super) much: String,
    pub(super) price: String,
    pub(super) name: String,
}

impl OfferRow {
    /// Single requests.
    pub(super) fn request() -> OfferRow {
        OfferRow { what: "request".to_owned(), ..OfferRow::default() }
    }

    /// The row of an offer.
    pub(super) fn of(offer: &OfferSpec) -> OfferRow {
        match offer {
            OfferSpec::Word(word) => OfferRow { what: word.clone(), ..OfferRow::default() },
            OfferSpec::Sold { pack, pass, balance, price, name } => {
                let number = pack.map(|pack| pack.to_string());
                let (what, much) = match (number, pass, balance) {
                    (Some(number), None, None) => ("pack", number),
                    (None, Some(pass), None) => ("pass", pass.clone()),
                    (None, None, Some(balance)) => ("balance", balance.clone()),
                    // Nothing, or several things: no row says that.
                    _ => ("", String::new()),
                };
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                OfferRow { what: what.to_owned(), much, price: text(price), name: text(name) }
            }
        }
    }

    /// Row `n` as it was typed; `None` when it is empty.
    pub(super) fn typed(fields: &Fields, n: usize) -> Option<OfferRow> {
        let text = |part: &str| lines(fields.text(&format!("offer{n}_{part}")));
        let row =
            OfferRow { what: text("what"), much: text("much"), price: text("price"), name: text("name") };
        (row != OfferRow::default()).then_some(row)
    }

    /// The offer that the row says; where it says none, why.
    pub(super) fn spec(&self, n: usize, faults: &mut Vec<SpecFault>) -> Option<OfferSpec> {
        let mut wrong = |part: &str, what: &str, help: &str| {
            faults.push(SpecFault::new(format!("offers[{n}].{part}"), Wrong::new(what, help)));
        };
        let (price, name) = (said(&self.price), said(&self.name));
        let (mut pack, mut pass, mut balance) = (None, None, None);
        match self.what.as_str() {
            "request" => {
                let more = "Leave it empty: one request costs what the price says.";
                for (part, text) in [("much", &self.much), ("price", &self.price), ("name", &self.name)] {
                    if !text.is_empty() {
                        wrong(part, "single requests have only the price above", more);
                    }
                }
                return Some(OfferSpec::Word("request".to_owned()));
            }
            "" => {
                wrong("what", "it does not say what is sold", "Choose a pack, a pass or a balance.");
                return None;
            }
            _ if self.much.is_empty() => {
                wrong("much", "it is missing", "Write how many requests, how long, or how much.");
                return None;
            }
            "pack" => pack = Some(count(&self.much, &format!("offers[{n}].much"), faults)?),
            "pass" => pass = Some(self.much.clone()),
            _ => balance = Some(self.much.clone()),
        }
        Some(OfferSpec::Sold { pack, pass, balance, price, name })
    }
}
