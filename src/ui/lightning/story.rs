//! A channel's life as a list of what happened, oldest first: from its record, and from what the node says of
//! it now.

use super::words;
use crate::ports::ChannelView;
use crate::store::ChannelRow;
use crate::types::Timestamp;
use crate::ui::figures::{grouped, iso, utc};

/// One thing that happened, or is to come.
pub(super) struct Step {
    /// What.
    pub(super) what: String,
    /// When, for machines and for people, where a time was noted.
    pub(super) at: Option<(String, String)>,
    /// A transaction that belongs to it.
    pub(super) txid: Option<String>,
    /// In the library's own words, or the other node's.
    pub(super) quoted: Option<String>,
    /// It is still to come.
    pub(super) open: bool,
}

impl Step {
    fn new(what: impl Into<String>) -> Step {
        Step { what: what.into(), at: None, txid: None, quoted: None, open: false }
    }

    fn on(mut self, at: Timestamp) -> Step {
        self.at = Some((iso(at), utc(at)));
        self
    }

    fn by(mut self, txid: Option<&str>) -> Step {
        self.txid = txid.map(|txid| txid.split(':').next().unwrap_or_default().to_owned());
        self
    }

    fn awaited(mut self) -> Step {
        self.open = true;
        self
    }
}

/// The steps of a channel that has a record, or is open, or both.
pub(super) fn steps(view: Option<&ChannelView>, row: Option<&ChannelRow>) -> Vec<Step> {
    let mut steps = Vec::new();
    let funding =
        view.and_then(|view| view.funding.as_deref()).or(row.and_then(|row| row.funding.as_deref()));
    if let Some(row) = row {
        let who = if row.outbound { "You asked for it" } else { "The other side asked for it" };
        steps.push(Step::new(who).on(row.seen_at));
    }
    let opened = row.and_then(|row| row.opened_height);
    match (view, opened) {
        (_, Some(height)) => {
            steps.push(Step::new(format!("Ready at height {}", grouped(height.into()))).by(funding));
        }
        (Some(view), None) if !view.ready => {
            let wanted = view.confirmations_required.unwrap_or(0);
            let seen = view.confirmations.unwrap_or(0).min(wanted);
            let what = format!("Waits for confirmations: {seen} of {wanted}");
            steps.push(Step::new(what).by(funding).awaited());
        }
        (Some(_), None) => steps.push(Step::new("Ready").by(funding)),
        (None, None) => {}
    }
    if let Some(spliced) = row.and_then(|row| row.spliced_to.as_deref()) {
        let through = funding == Some(spliced);
        let step = if through {
            Step::new("Has a new size")
        } else {
            Step::new("A new size waits for confirmations")
        };
        let step = step.by(Some(spliced));
        steps.push(if through || view.is_none() { step } else { step.awaited() });
    }
    if let Some(row) = row.filter(|row| row.closed_at.is_some()) {
        end(row, &mut steps);
    }
    steps
}

fn end(row: &ChannelRow, steps: &mut Vec<Step>) {
    let height = row.closed_height.map(|height| format!(", at height {}", grouped(height.into())));
    let what = format!("{}{}", words::cause(row.cause.as_deref()), height.unwrap_or_default());
    let closed = Step::new(what).by(row.closing_txid.as_deref());
    let mut closed = match row.closed_at {
        Some(at) => closed.on(at),
        None => closed,
    };
    closed.quoted.clone_from(&row.reason);
    steps.push(closed);
    if row.claim_sat > 0 {
        let what = match row.claim_height {
            Some(height) => {
                format!("{} sat wait for height {}", grouped(row.claim_sat), grouped(height.into()))
            }
            None => {
                format!("{} sat wait for the closing transaction's confirmations", grouped(row.claim_sat))
            }
        };
        steps.push(Step::new(what).awaited());
    }
    for sweep in &row.sweeps {
        let amount = grouped(sweep.amount_sat);
        let step = match sweep.confirmed_height {
            Some(height) => {
                Step::new(format!("{amount} sat swept to the wallet at height {}", grouped(height.into())))
            }
            None => Step::new(format!("A transaction that sweeps {amount} sat waits for a block")).awaited(),
        };
        steps.push(step.by(Some(&sweep.txid)));
    }
    match (row.returned_height, row.owed_sat) {
        (_, Some(0)) => steps.push(Step::new("Nothing of it was yours")),
        (Some(height), Some(_)) => {
            steps.push(Step::new(format!(
                "Everything is in the wallet, at height {}",
                grouped(height.into())
            )));
        }
        (Some(height), None) => steps.push(Step::new(format!(
            "Nothing of it is still to come, at height {}; how much came, the node did not see",
            grouped(height.into())
        ))),
        (None, _) if row.claim_sat == 0 && row.sweeps.is_empty() => {
            steps.push(Step::new("What was yours in it is looked for on the chain").awaited());
        }
        (None, _) => {}
    }
}
