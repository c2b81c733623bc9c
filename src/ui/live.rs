//! The part of Home that moves: revenue, balances, channels, the last payments.

use askama::Template;

use super::alarm::AlarmLine;
use super::channel_line::ChannelLine;
use super::coins::on_the_way;
use super::figures::{beside, conversion, counted, grouped, grouped_in, sats_exact, sats_whole, utc};
use super::lapse::ago;
use super::payment_line::PaymentLine;
use super::sale::Sale;
use super::steps::StepLine;
use super::{operation, outlook, room};
use crate::ports::{ChainView, NodeView};
use crate::store::{AlarmRow, StoreError};
use crate::treasury::{OpenChannel, of_each_channel, reserve_missing};
use crate::types::{Msat, Severity, Timestamp};
use crate::web::{Checklist, Operator, Step};

/// Payments shown.
const SHOWN: u32 = 20;
/// A node that heard nothing of the chain for this long is shown as behind.
const STALE_SECS: u64 = 600;

/// One sum and the calls behind it.
pub(super) struct Earned {
    pub(super) figure: String,
    pub(super) calls: String,
    /// Beside the time before.
    against: String,
}

/// How many of those who were asked to pay did.
struct Converted {
    part: String,
    of: String,
}

/// Balances of one kind; never added to those of the other.
struct Balances {
    receivable: String,
    spendable: String,
    reserved: String,
}

/// Why nobody can pay while the node does not run, and that nothing is lost.
pub(super) async fn away(op: &Operator) -> String {
    let why = op.node_waits_for().await.map(|why| format!(" {}", operation::sentence(&why)));
    let why = why.unwrap_or_else(|| " The log says why.".to_owned());
    format!("The Lightning node is not running, so nobody can pay now. Coins and channels are kept.{why}")
}

/// Whether buyers can pay.
struct Receiving {
    title: String,
    /// There is no room, but a payment that is large enough opens a channel: what that costs.
    opens: Option<String>,
    /// There is none: the ways to come by some.
    ways: bool,
    /// What has to end by itself first.
    wait: Option<String>,
    /// What was earned can be paid out.
    pay_out: Option<String>,
    /// There is more when other nodes are back.
    away: Option<String>,
}

/// Everything that moves, as one moment saw it.
#[derive(Template)]
#[template(path = "live.html")]
pub(super) struct Live {
    pub(super) after: String,
    pub(super) today: Earned,
    week: Earned,
    month: Earned,
    total: Earned,
    converted: Converted,
    unearned: String,
    /// What is wrong, and where to look.
    alarm: Option<(String, &'static str, &'static str)>,
    alarms: Vec<AlarmLine>,
    steps: Vec<StepLine>,
    /// All that selling needs is done.
    sells: bool,
    outlook: String,
    receiving: Receiving,
    /// The node runs, so what it has is known.
    known: bool,
    lightning: Balances,
    onchain: Balances,
    /// That coins are missing for what is to be kept back on-chain.
    missing: Option<String>,
    /// What is in neither sum while it moves.
    on_the_way: Option<String>,
    /// What each channel takes of the wallet.
    keeps: String,
    channels_title: String,
    channels: Vec<ChannelLine>,
    node_address: String,
    sync: String,
    payments: Vec<PaymentLine>,
    sale: Sale,
}

impl Live {
    /// Reads the ledger and the node, after what was delivered so far is counted.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(super) async fn read(op: &Operator) -> Result<Live, StoreError> {
        let ledger = &op.parts.ledger;
        ledger.barrier().await;
        // The id first: an event that lands between the two reads is shown twice, never missed.
        let newest = *ledger.watch().borrow();
        let after = format!("{}.{newest}", ledger.generation().await?.generation);
        let now = op.parts.clock.now();
        let revenue = ledger.revenue(now).await?;
        let payments = ledger.payments(SHOWN, None).await?;
        let node = op.parts.treasury.node().await;
        let standing = op.parts.treasury.standing(&node.channels).await?;
        let list = op.checklist().await?;
        let opening = standing.iter().filter(|channel| channel.view.is_opening() && !channel.being_closed);
        let opening: u64 = opening.map(|channel| channel.view.spendable_msat / 1_000).sum();
        let coins = op.parts.treasury.coins().await.ok().filter(|_| node.running);
        let alarms = ledger.alarms().await?;
        // Why the node is away is told once, above what nobody can mend before it is back.
        let said = match node.running {
            true => alarms.iter().any(|row| row.alarm.severity == Severity::Critical),
            false => {
                alarms.iter().any(|row| matches!(row.alarm.code.as_str(), "node_down" | "node_unreadable"))
            }
        };
        let alarms = self::alarms(alarms, &list);
        let alarm = match node.running {
            true => silence(&node, now).map(|says| (says, "/start/chain", "Ask the chain source now")),
            false => Some((away(op).await, "/system", "How the node stands")),
        };
        let earned = |sum: Msat, calls, against| Earned {
            figure: sats_exact(sum.msat()),
            calls: counted(calls, "paid call"),
            against,
        };
        let [yesterday, week_before, month_before] = revenue.before;
        Ok(Live {
            after,
            today: earned(
                revenue.today,
                revenue.calls_today,
                // A day that runs is no match for one that is over: no percentage.
                format!("; yesterday {} sat", sats_exact(yesterday.msat())),
            ),
            week: earned(
                revenue.week,
                revenue.calls_week,
                against(revenue.week, week_before, "the 7 days before"),
            ),
            month: earned(
                revenue.month,
                revenue.calls_month,
                against(revenue.month, month_before, "the 30 days before"),
            ),
            total: earned(revenue.total, revenue.calls_total, String::new()),
            converted: Converted {
                part: conversion(revenue.sales_month, revenue.demands_month)
                    .unwrap_or_else(|| "–".to_owned()),
                of: match revenue.demands_month {
                    0 => "none in 30 days".to_owned(),
                    _ => {
                        let (paid, asked) = (grouped(revenue.sales_month), grouped(revenue.demands_month));
                        format!("{paid} of {asked} in 30 days")
                    }
                },
            },
            unearned: sats_exact(revenue.unearned.msat()),
            alarm: alarm.filter(|_| !said),
            alarms,
            steps: if list.is_shown() { StepLine::all(&list) } else { Vec::new() },
            sells: list.done,
            outlook: match node.running {
                true => outlook::sentence(&op.parts.upkeep.forecast().await?),
                false => String::new(),
            },
            receiving: receiving(op, &node, &standing),
            known: node.running,
            lightning: Balances {
                receivable: sats_whole(node.receivable_msat),
                spendable: sats_whole(node.spendable_msat),
                reserved: grouped(standing.iter().map(|channel| channel.held.ours_sat).sum()),
            },
            onchain: Balances {
                receivable: String::new(),
                spendable: grouped(node.onchain_spendable_sat),
                reserved: grouped(node.onchain_reserved_sat),
            },
            missing: reserve_missing(node.onchain_reserved_sat, node.onchain_reserve_wanted_sat)
                .map(|missing| grouped_in(&missing)),
            on_the_way: coins.and_then(|coins| on_the_way(&coins, opening)),
            keeps: grouped_in(&of_each_channel()),
            channels_title: counted(u64::try_from(node.channels.len()).unwrap_or(u64::MAX), "channel"),
            channels: ChannelLine::all(&standing, &ledger.open_operations().await?),
            node_address: match node.listening.first() {
                Some(address) => format!("{}@{address}", node.node_id),
                None => node.node_id.clone(),
            },
            sync: sync(&node, &op.parts.chain.chain(), now),
            payments: payments.iter().map(PaymentLine::of).collect(),
            sale: Sale::of(op),
        })
    }
}

/// How a time stands beside the one before it, behind its calls.
fn against(now: Msat, earlier: Msat, name: &str) -> String {
    match beside(now.msat(), earlier.msat(), name) {
        None if now == earlier => String::new(),
        None => format!("; nothing in {name}"),
        Some(beside) => format!("; {beside}"),
    }
}

/// What stands; what the open first steps say already is not said twice.
fn alarms(mut rows: Vec<AlarmRow>, list: &Checklist) -> Vec<AlarmLine> {
    rows.retain(|row| match row.alarm.code.as_str() {
        "seed_not_verified" => !list.is_shown() || list.is_done(Step::Words),
        "backup_missing" => !list.is_shown() || list.is_done(Step::Backup),
        _ => true,
    });
    AlarmLine::all(rows)
}

fn silence(node: &NodeView, now: Timestamp) -> Option<String> {
    let heard = Timestamp::from_secs(node.synced_at?);
    (now.secs().saturating_sub(heard.secs()) > STALE_SECS).then(|| {
        format!(
            "The node last heard from its chain source {}. Channels are not watched until it answers again, and \
             before long nothing is sold.",
            ago(heard, now)
        )
    })
}

fn receiving(op: &Operator, node: &NodeView, standing: &[OpenChannel]) -> Receiving {
    let told =
        |title: String| Receiving { title, opens: None, ways: false, wait: None, pay_out: None, away: None };
    if !node.running {
        return told("Nobody can pay you now".to_owned());
    }
    let opening = room::opening(op);
    let title = room::title(node, opening.as_ref().map(|(least, _)| least.as_str()));
    if node.receivable_msat >= 1_000 {
        return Receiving { away: room::away(node), ..told(title) };
    }
    let opens = opening.map(|(_, fee)| {
        format!(
            "The provider keeps at least {fee} sat of it. Who buys for less gets an error until there is room in a \
             channel."
        )
    });
    let (wait, pay_out) = (room::wait(node, standing), room::pay_out(node));
    Receiving { opens, ways: true, wait, pay_out, ..told(title) }
}

/// When the chain was heard of last, and no more than that: the page may stand for long, and the source may be away.
fn sync(node: &NodeView, chain: &ChainView, now: Timestamp) -> String {
    if !node.running {
        return "What is in the channels and on the wallet is told when the node runs.".to_owned();
    }
    let peers = counted(u64::try_from(node.peers_connected).unwrap_or(u64::MAX), "peer");
    let height = grouped(u64::from(node.block_height));
    let heard = match node.synced_at {
        Some(at) => format!(
            "Block {height}; the node last heard from its chain source on {}, {}.",
            utc(Timestamp::from_secs(at)),
            ago(Timestamp::from_secs(at), now)
        ),
        None => "Not yet in step with the chain.".to_owned(),
    };
    let silent = chain.sources.iter().any(|source| source.in_use && source.answers == Some(false));
    let silent = if silent { " It did not answer when it was asked last." } else { "" };
    format!("{peers} connected. {heard}{silent}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::SourceView;

    #[test]
    fn the_chain_is_told_by_when_it_was_heard_of_last() {
        let now = Timestamp::from_secs(1_800_000_000);
        let node = NodeView { running: true, synced_at: Some(1_799_999_997), ..NodeView::default() };
        let said = |answers| {
            let source = SourceView { kind: "bitcoind", name: "b".to_owned(), in_use: true, answers };
            sync(&node, &ChainView { sources: vec![source], ..ChainView::default() }, now)
        };
        let fine = said(Some(true));
        assert!(
            fine.ends_with("heard from its chain source on 15 Jan 2027 07:59:57 UTC, just now."),
            "{fine}"
        );
        assert!(said(Some(false)).ends_with("just now. It did not answer when it was asked last."));
    }
}
