//! A channel's life as a list of what happened, oldest first: from its record, and from what the node says of
//! it now.

use super::words;
use crate::ports::ChannelView;
use crate::store::{ChannelRow, FundingRow, OperationRow};
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

/// The steps of a channel that has a record, or is open, or both. `moves` are the operations on it.
pub(super) fn steps(
    view: Option<&ChannelView>,
    row: Option<&ChannelRow>,
    moves: &[OperationRow],
) -> Vec<Step> {
    let mut steps = Vec::new();
    let now = view.and_then(|view| view.funding.as_deref()).or(row.and_then(|row| row.funding.as_deref()));
    let spliced = row.and_then(|row| row.spliced_to.as_deref());
    let noted: &[FundingRow] = row.map_or(&[], |row| &row.fundings);
    // What a channel of before was opened with was not noted: its splice is not put in that place.
    let (first, later) = match noted.split_first() {
        Some((first, later)) if Some(first.funding.as_str()) != spliced || !later.is_empty() => {
            (Some(first), later)
        }
        _ => (None, noted),
    };
    let funding = first.map(|first| first.funding.as_str()).or(now.filter(|_| spliced.is_none()));
    if let Some(row) = row {
        let who =
            if row.outbound { "Opening asked for by you" } else { "Opening asked for by the other side" };
        steps.push(Step::new(who).on(row.seen_at));
    }
    let opened = row.and_then(|row| row.opened_height);
    match (view, opened) {
        (_, Some(height)) => {
            steps.push(Step::new(format!("Ready since block {}", grouped(height.into()))).by(funding));
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
    let mut before = first.and_then(|first| first.capacity_sat);
    for (place, splice) in later.iter().enumerate() {
        // Another one took its place.
        if splice.capacity_sat.is_none()
            && later[place + 1..].iter().any(|other| other.capacity_sat.is_some())
        {
            continue;
        }
        steps.push(resized(splice, before, (view.is_some(), now), moves));
        before = splice.capacity_sat.or(before);
    }
    // One from before they were noted.
    if let Some(spliced) = spliced.filter(|spliced| noted.iter().all(|row| row.funding != *spliced)) {
        steps.push(if now == Some(spliced) {
            Step::new("Has a new size").by(Some(spliced))
        } else {
            let step = Step::new("A new size waits for confirmations").by(Some(spliced));
            if view.is_none() { step } else { step.awaited() }
        });
    }
    if let Some(row) = row.filter(|row| row.closed_at.is_some()) {
        end(row, &mut steps);
    }
    steps
}

/// A splice, with what it cost where it was ours.
fn resized(
    splice: &FundingRow,
    before: Option<u64>,
    (open, now): (bool, Option<&str>),
    moves: &[OperationRow],
) -> Step {
    let asked = moves.iter().find(|row| row.outcome["spliced_to"] == splice.funding.as_str());
    let fee = asked.and_then(|row| row.outcome["fee_sat"].as_u64());
    let fee = fee.map(|fee| format!("; its fee was {} sat", grouped(fee))).unwrap_or_default();
    let sat = |sat: u64| grouped(sat);
    let height = splice.height.map(|height| format!(" in block {}", grouped(height.into())));
    let height = height.unwrap_or_default();
    let there = now == Some(splice.funding.as_str()) || splice.capacity_sat.is_some();
    let what = match (before, splice.capacity_sat) {
        _ if !there => "A new size waits for confirmations".to_owned(),
        (Some(before), Some(after)) if after > before => {
            format!("Made larger{height}, from {} to {} sat{fee}", sat(before), sat(after))
        }
        (Some(before), Some(after)) if after < before => {
            format!("Made smaller{height}, from {} to {} sat{fee}", sat(before), sat(after))
        }
        (_, Some(after)) => format!("Has a new size{height}, {} sat{fee}", sat(after)),
        (_, None) => format!("Has a new size{height}{fee}"),
    };
    let step = Step::new(what).on(splice.noted_at).by(Some(&splice.funding));
    if there || !open { step } else { step.awaited() }
}

/// Whether a cause says all that there is to say: the library's words would only say it once more.
fn tells_itself(cause: Option<&str>) -> bool {
    let known = ["seen_on_chain", "restart", "recovered", "never_opened", "payment_timed_out"];
    cause.is_some_and(|cause| cause.starts_with("agreed") || known.contains(&cause))
}

fn end(row: &ChannelRow, steps: &mut Vec<Step>) {
    // The height at which the close was heard of is that of no block of it.
    let closed = Step::new(words::cause(row.cause.as_deref())).by(row.closing_txid.as_deref());
    let mut closed = match row.closed_at {
        Some(at) => closed.on(at),
        None => closed,
    };
    if !tells_itself(row.cause.as_deref()) {
        closed.quoted.clone_from(&row.reason);
    }
    steps.push(closed);
    if row.claim_sat > 0 {
        let what = match row.claim_height {
            Some(height) => {
                format!("About {} sat wait for block {}", grouped(row.claim_sat), grouped(height.into()))
            }
            None => {
                format!(
                    "About {} sat wait for the closing transaction’s confirmations",
                    grouped(row.claim_sat)
                )
            }
        };
        steps.push(Step::new(what).awaited());
    }
    for sweep in &row.sweeps {
        let amount = grouped(sweep.amount_sat);
        let step = match sweep.confirmed_height {
            Some(height) => Step::new(format!(
                "{amount} sat swept to the wallet in block {}, less the transaction’s fee",
                grouped(height.into())
            )),
            None => Step::new(format!("A transaction that sweeps {amount} sat waits for a block")).awaited(),
        };
        steps.push(step.by(Some(&sweep.txid)));
    }
    if let Some(nothing) = words::nothing_of(row) {
        steps.push(Step::new(format!("Nothing comes back: {nothing}")));
        return;
    }
    match (row.returned_height, row.owed_sat) {
        (Some(height), Some(_)) => {
            steps.push(Step::new(format!(
                "Everything is in the wallet since block {}: {}",
                grouped(height.into()),
                words::back(row)
            )));
        }
        (Some(height), None) => steps.push(Step::new(format!(
            "All of it had arrived by block {}; how much that was, the node did not see",
            grouped(height.into())
        ))),
        (None, _) if row.claim_sat == 0 && row.sweeps.is_empty() => {
            steps.push(Step::new("What was yours in it is looked for on the chain").awaited());
        }
        (None, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::OperationState;

    fn funding(name: &str, height: Option<u32>, capacity_sat: Option<u64>) -> FundingRow {
        FundingRow { funding: format!("{name}:0"), noted_at: Timestamp::from_secs(1), height, capacity_sat }
    }

    fn record(fundings: Vec<FundingRow>, spliced_to: Option<&str>) -> ChannelRow {
        ChannelRow {
            channel_id: "c7".to_owned(),
            local_id: "7".to_owned(),
            peer: "02aa".to_owned(),
            funding: Some("g:0".to_owned()),
            capacity_sat: 80_000,
            outbound: true,
            announced: false,
            seen_at: Timestamp::from_secs(1),
            opened_height: Some(106),
            closed_at: None,
            closed_height: None,
            cause: None,
            reason: None,
            closing_txid: None,
            spliced_to: spliced_to.map(str::to_owned),
            owed_sat: None,
            came_sat: None,
            lost_sat: None,
            last_sat: None,
            side_msat: None,
            closing_cost_msat: None,
            last_at: None,
            last_height: None,
            claim_sat: 0,
            claim_height: None,
            returned_height: None,
            fundings,
            sweeps: Vec::new(),
        }
    }

    #[test]
    fn the_librarys_words_stand_only_where_ours_say_less() {
        let quoted = |cause: &str| {
            let said = (Some(cause.to_owned()), Some("said goodbye".to_owned()));
            let row = ChannelRow { cause: said.0, reason: said.1, ..record(Vec::new(), None) };
            let mut steps = Vec::new();
            end(&row, &mut steps);
            steps.swap_remove(0).quoted.is_some()
        };
        assert!(["fault", "forced_by_peer", "unknown"].into_iter().all(quoted));
        assert!(!["agreed_by_us", "agreed", "restart", "never_opened"].into_iter().any(quoted));
    }

    #[test]
    fn a_close_tells_its_block_and_one_sum() {
        let told = |row: ChannelRow| {
            let closed = ChannelRow {
                closed_at: Some(Timestamp::from_secs(2)),
                closed_height: Some(137),
                cause: Some("agreed_by_us".to_owned()),
                ..row
            };
            let all = steps(None, Some(&closed), &[]);
            all.into_iter().skip(2).map(|step| step.what).collect::<Vec<_>>()
        };
        let first = || vec![funding("f", Some(106), Some(50_000))];
        let owed = ChannelRow { owed_sat: Some(49_000), returned_height: Some(138), ..record(first(), None) };
        let home = ChannelRow { came_sat: Some(47_830), ..owed };
        assert_eq!(
            told(home),
            ["Closed by agreement; you asked", "Everything is in the wallet since block 138: 47,830 sat"]
        );
        let lost = ChannelRow { owed_sat: Some(0), lost_sat: Some(37), ..record(first(), None) };
        let words = "Nothing comes back: 37 sat too little for an output of its own, lost to the fee";
        assert_eq!(told(lost)[1], words);
    }

    #[test]
    fn a_splice_is_a_step_of_its_own_and_the_first_one_stays() {
        let told = |row: &ChannelRow| -> Vec<(String, Option<String>)> {
            let asked = OperationRow {
                id: 1,
                key: "k".to_owned(),
                kind: "splice_in".to_owned(),
                ask: json!({}),
                state: OperationState::Done,
                outcome: json!({ "spliced_to": "g:0", "fee_sat": 1_210 }),
                begun_at: Timestamp::from_secs(1),
                ended_at: None,
            };
            steps(None, Some(row), &[asked]).into_iter().skip(1).map(|step| (step.what, step.txid)).collect()
        };
        let line = |what: &str, txid: Option<&str>| (what.to_owned(), txid.map(str::to_owned));
        let first = || funding("f", Some(106), Some(50_000));
        let through = record(vec![first(), funding("g", Some(140), Some(80_000))], Some("g:0"));
        assert_eq!(
            told(&through),
            [
                line("Ready since block 106", Some("f")),
                line("Made larger in block 140, from 50,000 to 80,000 sat; its fee was 1,210 sat", Some("g")),
            ]
        );
        let waits = ChannelRow {
            funding: Some("f:0".to_owned()),
            ..record(vec![first(), funding("g", None, None)], Some("g:0"))
        };
        assert_eq!(told(&waits)[1], line("A new size waits for confirmations", Some("g")));
        // Of before they were noted: what it was opened with is not made up.
        let old = [line("Ready since block 106", None), line("Has a new size", Some("g"))];
        assert_eq!(told(&record(Vec::new(), Some("g:0"))), old);
        let seen_again = record(vec![funding("g", Some(140), Some(80_000))], Some("g:0"));
        assert_eq!(told(&seen_again)[0], old[0]);
        assert!(told(&seen_again)[1].0.starts_with("Has a new size in block 140, 80,000 sat"));
        let plain = ChannelRow { funding: Some("f:0".to_owned()), ..record(vec![first()], None) };
        assert_eq!(told(&plain), [line("Ready since block 106", Some("f"))]);
    }
}
