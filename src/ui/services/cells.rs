//! Rows of a form, cell by cell, as templates draw them.

use super::draft::Draft;
use super::terms_draft::TermsDraft;
use super::wrongs::Wrongs;

/// One field of a row.
pub(super) struct Cell {
    pub(super) id: String,
    /// Says its row, too: it is read alone.
    pub(super) label: String,
    pub(super) value: String,
    /// What may stand in an empty one.
    pub(super) holder: &'static str,
    pub(super) wrong: Option<String>,
}

/// A row that begins with a choice.
pub(super) struct Line {
    pub(super) id: String,
    pub(super) label: String,
    /// Word, name, chosen.
    pub(super) choices: Vec<(&'static str, &'static str, bool)>,
    pub(super) wrong: Option<String>,
    pub(super) cells: Vec<Cell>,
}

fn cell(wrongs: &Wrongs, id: String, label: String, value: &str, holder: &'static str) -> Cell {
    Cell { wrong: wrongs.at(&id).map(str::to_owned), id, label, value: value.to_owned(), holder }
}

impl TermsDraft {
    /// The steps of a price.
    pub(super) fn tier_cells(&self, wrongs: &Wrongs) -> Vec<Cell> {
        let row = |(n, row): (usize, super::terms_draft::TierRow)| {
            let (id, step) = (format!("tier{n}"), n + 1);
            [
                cell(wrongs, format!("{id}_up_to"), format!("Step {step}: up to"), &row.up_to, "no end"),
                cell(wrongs, format!("{id}_price"), format!("Step {step}: price"), &row.price, ""),
            ]
        };
        self.tier_rows().into_iter().flat_map(row).collect()
    }

    /// What a buyer can choose.
    pub(super) fn offer_lines(&self, wrongs: &Wrongs) -> Vec<Line> {
        const KINDS: [(&str, &str); 5] = [
            ("", "None"),
            ("request", "Request"),
            ("pack", "Pack"),
            ("pass", "Pass"),
            ("balance", "Balance"),
        ];
        let line = |(n, row): (usize, super::offer_rows::OfferRow)| {
            let (id, number) = (format!("offer{n}"), n + 1);
            let holder = match row.what.as_str() {
                "pack" => "100",
                "pass" => "1 day",
                "balance" => "1000 sat",
                _ => "",
            };
            let empty = row == super::offer_rows::OfferRow::default();
            Line {
                label: if empty { "Another offer".to_owned() } else { format!("Offer {number}") },
                choices: KINDS.into_iter().map(|(word, name)| (word, name, word == row.what)).collect(),
                wrong: wrongs.at(&format!("{id}_what")).map(str::to_owned),
                cells: vec![
                    cell(
                        wrongs,
                        format!("{id}_much"),
                        format!("Offer {number}: how much"),
                        &row.much,
                        holder,
                    ),
                    cell(wrongs, format!("{id}_price"), format!("Offer {number}: price"), &row.price, ""),
                    cell(wrongs, format!("{id}_name"), format!("Offer {number}: name"), &row.name, ""),
                ],
                id: format!("{id}_what"),
            }
        };
        self.offer_rows().into_iter().map(line).collect()
    }
}

impl Draft {
    /// The headers that the upstream gets.
    pub(super) fn header_lines(&self, wrongs: &Wrongs) -> Vec<Line> {
        let line = |(n, row): (usize, super::draft::HeaderRow)| {
            let (id, number) = (format!("header{n}"), n + 1);
            let kept = (row.from == "kept").then_some(("kept", "The value that is stored", true));
            let usual = [
                ("text", "This value", row.from == "text" || row.from.is_empty()),
                ("env", "From the environment", row.from == "env"),
            ];
            let holder = if row.from == "kept" { "kept; not shown" } else { "" };
            Line {
                id: format!("{id}_from"),
                label: format!("Header {number}: from"),
                choices: kept.into_iter().chain(usual).collect(),
                wrong: None,
                cells: vec![
                    cell(wrongs, format!("{id}_name"), format!("Header {number}: name"), &row.name, ""),
                    cell(
                        wrongs,
                        format!("{id}_value"),
                        format!("Header {number}: value or variable"),
                        &row.value,
                        holder,
                    ),
                    cell(
                        wrongs,
                        format!("{id}_prefix"),
                        format!("Header {number}: put before"),
                        &row.prefix,
                        "",
                    ),
                ],
            }
        };
        self.header_rows().into_iter().map(line).collect()
    }
}
