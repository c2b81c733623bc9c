//! On-chain: where the coins are, what is on its way home, what came and went; and the vault beside it.

pub(super) mod cold;
pub(super) mod cold_form;
mod history;
pub(super) mod receive;
pub(super) mod send;

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use super::figures::{grouped, grouped_in, shortened};
use super::lapse::wait;
use super::shell::{Desk, Section, Shell};
use super::{entry, fault, html};
use crate::ports::{Claim, CoinsView, Sweep, UnsentView, Waits};
use crate::store::StoreError;
use crate::treasury::reserve_missing;
use cold::Cold;
use history::{History, Moved};
use receive::Deposit;

/// The page above those of this room.
const ABOVE: (&str, &str) = ("/coins", "On-chain & vault");
/// Closed channels that are looked through for a close that no chain source took.
const MOST_CLOSED: u32 = 500;

/// What the page is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    after: Option<String>,
    said: Option<String>,
}

/// Coins on their way to the wallet.
struct Homecoming {
    channel: Option<(String, String)>,
    amount: String,
    waits: String,
    txid: Option<String>,
}

/// The on-chain wallet, as far as the node tells.
struct Wallet {
    spendable: String,
    reserved: String,
    /// That coins are missing for it.
    missing: Option<String>,
    pending: Option<String>,
    /// A transaction of ours was taken by no chain source yet.
    untaken: bool,
    splicing: Option<String>,
    coming: Option<String>,
    homecomings: Vec<Homecoming>,
    history: Vec<Moved>,
    /// On its way in, and none of those.
    unlisted: Option<String>,
    /// What channels cost in fees.
    channel_fees: Option<String>,
    older: Option<String>,
    newest: bool,
    /// Shown while there is nothing yet.
    deposit: Option<Deposit>,
}

#[derive(Template)]
#[template(path = "coins.html")]
struct Page {
    shell: Shell,
    said: Option<&'static str>,
    wallet: Option<Wallet>,
    cold: Option<Cold>,
}

/// `GET /coins`.
pub(super) async fn page(desk: Desk, query: Result<Query<Asked>, QueryRejection>) -> Response {
    let Ok(Query(asked)) = query else { return entry::incomplete() };
    let wallet = match wallet(&desk, asked.after.as_deref()).await {
        Ok(wallet) => wallet,
        Err(error) => return fault(&error),
    };
    let said = asked.said.as_deref().and_then(said);
    let cold = desk.op.parts.vault.view().map(|view| Cold::of(&view));
    html(StatusCode::OK, &Page { shell: desk.shell(Section::Coins).await, said, wallet, cold })
}

fn said(word: &str) -> Option<&'static str> {
    match word {
        "vault-removed" => Some("The vault is not watched any more. Its coins are where they were."),
        _ => None,
    }
}

/// `None` while the node cannot be asked; the page says so.
async fn wallet(desk: &Desk, after: Option<&str>) -> Result<Option<Wallet>, StoreError> {
    let parts = &desk.op.parts;
    let (Ok(coins), Ok(all)) = (parts.treasury.coins().await, desk.op.wallet_history().await) else {
        return Ok(None);
    };
    let unsent = parts.chain.chain().unsent;
    let untaken = untaken(desk, &unsent).await?;
    let unlisted = Some(all.unlisted_sat).filter(|sat| *sat > 0 && after.is_none());
    let channel_fees = all.channel_fees.says().map(|says| grouped_in(&says));
    let history = History::of(all.transactions, after, &unsent);
    let homecomings = homecomings(&coins, &untaken);
    let coming: u64 = coming_sat(&coins);
    let pending = coins.total_sat.saturating_sub(coins.spendable_sat).saturating_sub(coins.reserved_sat);
    let empty = coins.total_sat == 0 && history.lines.is_empty() && after.is_none();
    let deposit = match empty {
        true => desk.op.deposit_address().await.ok().map(|address| Deposit::of(&address)),
        false => None,
    };
    Ok(Some(Wallet {
        spendable: grouped(coins.spendable_sat),
        reserved: grouped(coins.reserved_sat),
        missing: reserve_missing(coins.reserved_sat, coins.reserve_wanted_sat)
            .map(|missing| grouped_in(&missing)),
        pending: (pending > 0).then(|| grouped(pending)),
        untaken: !unsent.is_empty(),
        splicing: Some(coins.splicing_sat).filter(|sat| *sat > 0).map(grouped),
        coming: (coming > 0).then(|| grouped(coming)),
        homecomings,
        history: history.lines,
        unlisted: unlisted.map(grouped),
        channel_fees,
        older: history.older,
        newest: after.is_none(),
        deposit,
    }))
}

/// What is ours in contracts of channels that are no longer open, and not in the wallet yet.
fn claims(coins: &CoinsView) -> impl Iterator<Item = &Claim> {
    coins.claims.iter().filter(|claim| claim.amount_sat > 0 && !claim.in_wallet && !claim.open)
}

/// Sweeps that the wallet does not see yet.
fn sweeps(coins: &CoinsView) -> impl Iterator<Item = &Sweep> {
    coins.sweeps.iter().filter(|sweep| !sweep.in_wallet)
}

fn coming_sat(coins: &CoinsView) -> u64 {
    let claimed = claims(coins).map(|claim| claim.amount_sat);
    claimed.chain(sweeps(coins).map(|sweep| sweep.amount_sat)).fold(0, u64::saturating_add)
}

/// What is ours and in none of the sums of channels and wallet that can be used now, in a sentence: on its way home, in
/// the wallet without a block, in a splice; and in channels that are `opening`, satoshi.
pub(super) fn on_the_way(coins: &CoinsView, opening: u64) -> Option<String> {
    let waits = coins.total_sat.saturating_sub(coins.spendable_sat).saturating_sub(coins.reserved_sat);
    let parts = [
        (coming_sat(coins), "of closed channels come home"),
        (waits, "in the wallet wait for a block"),
        (coins.splicing_sat, "move with a splice"),
        (opening, "of yours are in channels that are opening"),
    ];
    let told: Vec<String> = parts
        .into_iter()
        .filter(|(sat, _)| *sat > 0)
        .map(|(sat, what)| format!("{} sat {what}", grouped(sat)))
        .collect();
    (!told.is_empty()).then(|| format!("On the way, and counted above in none: {}.", told.join("; ")))
}

/// What no chain source took yet: the transactions' ids, and the channels whose closing transaction is among them.
async fn untaken(desk: &Desk, unsent: &[UnsentView]) -> Result<BTreeSet<String>, StoreError> {
    if unsent.is_empty() {
        return Ok(BTreeSet::new());
    }
    let closed = desk.op.parts.ledger.closed_channels(MOST_CLOSED).await?;
    let spent = |funding: &String| unsent.iter().any(|one| one.spends.contains(funding));
    let closed = closed.into_iter().filter(|row| row.funding.as_ref().is_some_and(spent));
    let ids = unsent.iter().map(|one| one.txid.clone());
    Ok(ids.chain(closed.map(|row| row.channel_id)).collect())
}

fn homecomings(coins: &CoinsView, untaken: &BTreeSet<String>) -> Vec<Homecoming> {
    let link = |id: &str| (format!("/lightning/channels/{id}"), shortened(id));
    let claimed = claims(coins).map(|claim| Homecoming {
        channel: Some(link(&claim.channel_id)),
        amount: grouped(claim.amount_sat),
        waits: match claim.waits {
            Waits::Closing if untaken.contains(&claim.channel_id) => {
                "The closing transaction is signed, and no chain source took it yet.".to_owned()
            }
            _ => waits(claim, coins.height),
        },
        txid: None,
    });
    let swept = sweeps(coins).map(|sweep| Homecoming {
        channel: sweep.channel_id.as_deref().map(link),
        amount: grouped(sweep.amount_sat),
        waits: match &sweep.txid {
            Some(txid) if untaken.contains(txid) => {
                "The sweep is signed, and no chain source took it yet.".to_owned()
            }
            Some(_) => "The sweep was sent, and the wallet does not see it yet.".to_owned(),
            None => "The sweep is sent with the next block.".to_owned(),
        },
        txid: sweep.txid.as_deref().map(shortened),
    });
    claimed.chain(swept).collect()
}

fn waits(claim: &Claim, height: u32) -> String {
    let what = match claim.waits {
        Waits::Closing => "The closing transaction is in no block yet.",
        Waits::Confirmations => "The channel is closed; its delay runs.",
        Waits::Proof => "A payment was under way: our proof is on its way to the chain.",
        Waits::Timeout => "A payment was under way: it is yours when the other side gives no proof in time.",
        Waits::OthersProof => "A payment was under way: it is yours only if its proof still comes.",
        Waits::Never => "Nothing is in it: another transaction spent what was to fund the channel.",
        Waits::Penalty => {
            "The other side closed with an old state: all of it is yours once the claim is in a block."
        }
    };
    match claim.until_height {
        Some(until) => format!("{what} {}", at_block(until, height)),
        None => what.to_owned(),
    }
}

/// `At block 300, in about 2 hours.`
fn at_block(until: u32, height: u32) -> String {
    let block = grouped(until.into());
    match until.saturating_sub(height) {
        0 => format!("At block {block}, which is there."),
        blocks => format!("At block {block}, in about {}.", wait(blocks)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_in_no_other_sum() {
        assert_eq!(on_the_way(&CoinsView::default(), 0), None);
        let coins = CoinsView {
            total_sat: 30_000,
            spendable_sat: 4_000,
            reserved_sat: 25_000,
            ..CoinsView::default()
        };
        let told = on_the_way(&coins, 1_979_340).unwrap();
        assert_eq!(
            told,
            "On the way, and counted above in none: 1,000 sat in the wallet wait for a block; 1,979,340 sat of yours are in \
             channels that are opening."
        );
    }

    #[test]
    fn what_is_waited_for_is_said_with_its_time() {
        let claim = |waits, until_height| Claim {
            channel_id: "aa".to_owned(),
            peer: "02".to_owned(),
            amount_sat: 5,
            waits,
            until_height,
            in_wallet: false,
            open: false,
        };
        assert_eq!(
            waits(&claim(Waits::Confirmations, Some(1_144)), 1_000),
            "The channel is closed; its delay runs. At block 1,144, in about 24 hours."
        );
        assert!(waits(&claim(Waits::Closing, None), 7).ends_with("is in no block yet."));
        let said = [at_block(5, 9), at_block(10, 9), at_block(1_009, 9)];
        assert_eq!(
            said,
            [
                "At block 5, which is there.",
                "At block 10, in about 10 minutes.",
                "At block 1,009, in about 7 days."
            ]
        );
    }
}
