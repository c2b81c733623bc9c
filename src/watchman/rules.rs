//! The rules: from one moment of the appliance to what is the matter. Pure.
//!
//! What was low must rise a tenth above its limit before its alarm is over, so that a figure that wavers at the
//! limit is told once.

mod moves;
mod receiving;

use std::collections::BTreeSet;
use std::time::Duration;

use bytesize::ByteSize;

use self::receiving::resumes;
use super::{AlarmLimits, Vitals};
use crate::clock::in_words;
use crate::ports::{Alarm, Check, NodeStage};
use crate::store::AlarmRow;
use crate::types::Severity::{self, Critical, Info, Warning};
use crate::types::{Msat, Timestamp};

/// A node that is not up this long after the start is an alarm.
const START: Duration = Duration::from_secs(120);
/// Blocks come seldom, but not this seldom; not asked of a regtest chain.
const NO_BLOCK: Duration = Duration::from_secs(4 * 3_600);
/// From `clock_skew` to where block times and timeouts are misjudged.
const SKEW_TO_CRITICAL: u32 = 5;
const STALE_TO_CRITICAL: u32 = 6;
/// What is not on its way for so long may come too late: payments on-chain are claimed within hours.
const UNSENT_TO_CRITICAL: Duration = Duration::from_secs(3_600);

/// What is the matter. `standing` are the codes of the alarms that stand.
pub fn judge(vitals: &Vitals, limits: &AlarmLimits, standing: &BTreeSet<String>) -> Vec<Check> {
    let looked = Looked { vitals, limits, standing };
    let mut checks =
        vec![looked.node(), looked.disk(), looked.operations(), looked.orders(), looked.unsent()];
    // Of a node that is not there nothing else can be told, and its absence is the alarm.
    if vitals.beat.stage == NodeStage::Running {
        checks.extend([
            looked.chain(),
            looked.fees(),
            looked.clock(),
            looked.peers(),
            looked.receivable(),
            looked.reserve(),
            looked.closing(),
            looked.monitors(),
        ]);
    }
    checks
}

/// What only a running node can say is over.
const OF_THE_NODE: [&str; 10] = [
    "chain_stale",
    "fees_stale",
    "clock_skew",
    "no_blocks",
    "peers_offline",
    "cannot_receive",
    "receivable_low",
    "reserve_low",
    "closing_pending",
    "monitor_large",
];

/// What can be received is not known before a peer is connected.
const OF_THE_PEERS: [&str; 2] = ["cannot_receive", "receivable_low"];

/// The alarms of `known` that stand on, because nobody can tell whether they are over: the node is not up, or has
/// no peer yet and not for long enough for an alarm of its own.
pub fn unknown(vitals: &Vitals, limits: &AlarmLimits, known: &[AlarmRow]) -> Vec<Alarm> {
    let alone = vitals.since.alone.map(|since| span(since, vitals.now));
    let codes = match &vitals.beat.stage {
        NodeStage::Running if vitals.unpayable.is_none() => return Vec::new(),
        NodeStage::Running if resumes(vitals) || alone.is_some_and(|alone| alone < limits.peers_offline) => {
            &OF_THE_PEERS[..]
        }
        NodeStage::Running => return Vec::new(),
        _ => &OF_THE_NODE[..],
    };
    let stands = |row: &&AlarmRow| codes.contains(&row.alarm.code.as_str());
    known.iter().filter(stands).map(|row| row.alarm.clone()).collect()
}

struct Looked<'a> {
    vitals: &'a Vitals,
    limits: &'a AlarmLimits,
    standing: &'a BTreeSet<String>,
}

impl Looked<'_> {
    fn age(&self, then: Option<Timestamp>) -> Duration {
        span(then.unwrap_or(self.vitals.begun), self.vitals.now)
    }

    /// Whether `value` is too low; once it was, it must rise clearly above the limit.
    fn low(&self, code: &str, value: u64, limit: u64) -> bool {
        let margin = if self.standing.contains(code) { limit / 10 } else { 0 };
        value < limit.saturating_add(margin)
    }

    fn node(&self) -> Check {
        let up_for = self.age(None);
        match &self.vitals.beat.stage {
            NodeStage::Running => Check::fine("node", "it runs"),
            // Nothing is sold without it, although nobody is alarmed yet.
            NodeStage::Stopped => Check::fine("node", "it was stopped").cautioned(Warning),
            NodeStage::Starting(why) if up_for < START => {
                Check::fine("node", format!("it starts: {why}")).cautioned(Warning)
            }
            NodeStage::Starting(why) => {
                let text = format!("The Lightning node is not up: {why}. Nothing can be sold meanwhile.");
                let fix = "Start what does not answer, or correct where it is looked for in `tollhouse.toml` and start \
                           Tollhouse again. First steps, Network and chain source, asks each source anew.";
                Check::fine("node", format!("it does not come up: {why}"))
                    .aged(Some(up_for))
                    .with([Alarm::new("node_down", Critical, text, fix)])
            }
            NodeStage::Failed(why) => {
                let unreadable = why.contains("channel state");
                let code = if unreadable { "node_unreadable" } else { "node_down" };
                let fix = match unreadable {
                    true => {
                        "`tollhouse recover`; until then keep `channels.db` as it is, and do not start it elsewhere."
                    }
                    false => "Correct what it says and start again: `tollhouse check`, `tollhouse doctor`.",
                };
                let text = format!("The Lightning node will not come up by itself: {why}.");
                Check::fine("node", why.clone()).with([Alarm::new(code, Critical, text, fix)])
            }
        }
    }

    fn chain(&self) -> Check {
        let synced = self.vitals.view.synced_at.map(Timestamp::from_secs);
        // The node may believe that it is in step, while nobody answers it.
        let unheard = Duration::from_secs(self.vitals.chain.unheard_s);
        let age = self.age(synced).max(unheard);
        let height = self.vitals.view.block_height;
        if self.vitals.chain.stale {
            let names: Vec<&str> =
                self.vitals.chain.sources.iter().map(|source| source.name.as_str()).collect();
            let text = format!(
                "Nothing was heard of the chain for {} from any source ({}). Nothing is sold meanwhile, and no coins can be \
                 sent.",
                roughly(unheard),
                names.join(", ")
            );
            let fix = "Bring the chain source back, or name another one in `chain.sources`: `tollhouse chain --test` asks each \
                       of them.";
            return Check::fine("chain", format!("at height {height}, and nothing newer is heard"))
                .aged(Some(age))
                .with([Alarm::new("chain_stale", Critical, text, fix)]);
        }
        let check = match self.silent() {
            None => Check::fine("chain", format!("at height {height}")),
            Some(name) => {
                let detail = format!("at height {height}; {name} did not answer when it was asked last");
                Check::fine("chain", detail).cautioned(Warning)
            }
        };
        let alarm = graded(age, self.limits.chain_stale, STALE_TO_CRITICAL).map(|severity| {
            let text = format!(
                "The node was not in step with the chain for {}: payments may be misjudged, and a channel's \
                 closing may go unseen.",
                roughly(age)
            );
            let fix = "See that the chain source answers: `tollhouse doctor`. A second one in `chain.sources` takes over by itself.";
            Alarm::new("chain_stale", severity, text, fix)
        });
        check.aged(Some(age)).with(alarm).with(self.fallback())
    }

    /// The chain source in use, where it did not answer when it was asked last: nobody is alarmed for some seconds of
    /// that, and nobody is told that all is well.
    fn silent(&self) -> Option<&str> {
        let mut sources = self.vitals.chain.sources.iter();
        let silent = sources.find(|source| source.in_use && source.answers == Some(false));
        silent.map(|source| source.name.as_str())
    }

    fn fallback(&self) -> Option<Alarm> {
        let sources = &self.vitals.chain.sources;
        let used = sources.iter().position(|source| source.in_use).filter(|position| *position > 0)?;
        let (first, used) = (sources.first()?, sources.get(used)?);
        let text = format!("The chain source {} is away: {} is used meanwhile.", first.name, used.name);
        let fix = "Bring it back; the node returns to it by itself.";
        Some(Alarm::new("chain_fallback", Info, text, fix))
    }

    fn unsent(&self) -> Check {
        let unsent = &self.vitals.chain.unsent;
        let Some(first) = unsent.first() else {
            return Check::fine("unsent", "every transaction of ours was handed to the chain");
        };
        let more = match unsent.len() {
            1 => {
                "A transaction of ours is signed, and not on its way: no chain source took it yet".to_owned()
            }
            many => format!(
                "{many} transactions of ours are signed, and not on their way: no chain source took them yet. The first"
            ),
        };
        let text = format!("{more} ({}: {}). It is handed over again and again.", first.txid, first.why);
        let fix = "See that the chain source answers: `tollhouse doctor`. Do not send the same again. What closes a channel or \
                   claims a payment must be in a block within hours.";
        let late = self.age(Some(first.since)) >= UNSENT_TO_CRITICAL;
        let severity = if late { Critical } else { Warning };
        Check::fine("unsent", format!("{} wait for the chain source", unsent.len())).with([Alarm::new(
            "transactions_unsent",
            severity,
            text,
            fix,
        )])
    }

    fn fees(&self) -> Check {
        let age = self.age(self.vitals.beat.fee_rates_at);
        let late = age >= self.limits.fees_stale;
        let alarm = late.then(|| {
            let text = format!("No fee rates were learned for {}.", roughly(age));
            let fix = "See that the chain source answers and estimates fees: `tollhouse doctor`.";
            Alarm::new("fees_stale", Warning, text, fix)
        });
        let check = match self.silent() {
            None => Check::fine("fees", "fee rates are known"),
            Some(name) => {
                Check::fine("fees", format!("no newer ones are learned while {name} does not answer"))
                    .cautioned(Warning)
            }
        };
        check.aged(Some(age)).with(alarm)
    }

    fn clock(&self) -> Check {
        let Some((asked, time)) = self.vitals.since.source_time else {
            return Check::fine("clock", "nobody was asked for the time yet");
        };
        let fix = "Set the machine's clock, and keep it right (systemd-timesyncd, chrony).";
        let skewed = |severity, text: String| Alarm::new("clock_skew", severity, text, fix);
        let differs =
            time.date.map(|date| (apart(asked, date), if date > asked { "behind" } else { "ahead of" }));
        let by_date = differs.and_then(|(by, way)| {
            let severity = graded(by, self.limits.clock_skew, SKEW_TO_CRITICAL)?;
            Some(skewed(severity, format!("Our clock is {} {way} the chain source's.", roughly(by))))
        });
        // The median of eleven blocks lies an hour behind: when it is ahead of us, we are wrong.
        let by_blocks =
            time.median.filter(|median| *median > asked.plus(self.limits.clock_skew)).map(|median| {
                let by = roughly(apart(median, asked));
                skewed(Critical, format!("Our clock is at least {by} behind the blocks'."))
            });
        let silent = time.tip.filter(|_| self.vitals.view.network != "regtest").and_then(|tip| {
            let age = span(tip, asked);
            (age >= NO_BLOCK).then(|| {
                let text = format!(
                    "The newest block claims to be {} old: our clock is ahead, or the chain source hears of no blocks.",
                    roughly(age)
                );
                Alarm::new("no_blocks", Warning, text, "Compare the height with a block explorer's, and the clock with another machine's.")
            })
        });
        let detail = match differs {
            Some((by, _)) => format!("{} apart from the chain source's", roughly(by)),
            None => "the chain source does not tell its time".to_owned(),
        };
        Check::fine("clock", detail).with(by_blocks.or(by_date)).with(silent)
    }

    fn reserve(&self) -> Check {
        let (there, wanted) = (self.vitals.beat.onchain_total_sat, self.vitals.beat.reserve_wanted_sat);
        let alarm = self.low("reserve_low", there, wanted).then(|| {
            let text = format!(
                "{there} sat are there on-chain, and {wanted} sat should be: they pay the fees when a channel must be closed by force."
            );
            Alarm::new("reserve_low", Warning, text, "Send coins to the wallet: `tollhouse wallet receive`.")
        });
        Check::fine("reserve", format!("{there} sat on-chain, {wanted} sat wanted")).with(alarm)
    }

    fn closing(&self) -> Check {
        let coming = &self.vitals.beat.coming_home;
        let total: u64 = coming.iter().map(|coins| coins.amount_sat).sum();
        let mut subjects = BTreeSet::new();
        let mut check = Check::fine("closings", format!("{total} sat are on their way to the wallet"));
        for coins in coming {
            let subject = coins.channel_id.clone().unwrap_or_else(|| "unknown".to_owned());
            if !subjects.insert(subject.clone()) {
                continue;
            }
            let same = |other: &&crate::ports::ComingHome| other.channel_id == coins.channel_id;
            let amount: u64 = coming.iter().filter(same).map(|coins| coins.amount_sat).sum();
            let when =
                coins.claimable_height.map(|height| format!(", from block {height} on")).unwrap_or_default();
            let text = format!(
                "{amount} sat of a closed channel are on their way to the wallet: {}{when}.",
                coins.state
            );
            let fix = "Nothing: keep the appliance running until they are there. `tollhouse channels closed` shows them.";
            check.alarms.push(Alarm::new("closing_pending", Info, text, fix).about(subject));
        }
        check
    }

    fn monitors(&self) -> Check {
        let largest = self.vitals.since.largest_monitor_bytes;
        let alarm = (largest >= self.limits.monitor_bytes).then(|| {
            let text =
                format!("A channel's state has grown to {}: each payment becomes slower.", ByteSize(largest));
            Alarm::new(
                "monitor_large",
                Warning,
                text,
                "Close that channel by agreement at a quiet time, and open a new one.",
            )
        });
        Check::fine("monitors", format!("the largest has {}", ByteSize(largest))).with(alarm)
    }

    fn disk(&self) -> Check {
        let Some(space) = self.vitals.disk else {
            return Check::fine("disk", "the system does not tell how much room there is");
        };
        let limit = self.limits.disk_free_bytes;
        let alarm = self.low("disk_low", space.free, limit).then(|| {
            let severity = if space.free < limit / 10 { Critical } else { Warning };
            let text = format!("The disk has {} left of {}.", ByteSize(space.free), ByteSize(space.total));
            let fix = "Make room, or move the data directory to a larger disk: a full one stops the node and the gate.";
            Alarm::new("disk_low", severity, text, fix)
        });
        Check::fine("disk", format!("{} free", ByteSize(space.free))).with(alarm)
    }
}

/// Warning from `limit` on, critical from `times` as much on.
fn graded(value: Duration, limit: Duration, times: u32) -> Option<Severity> {
    match () {
        () if value >= limit.saturating_mul(times) => Some(Critical),
        () if value >= limit => Some(Warning),
        () => None,
    }
}

fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(to.millis().saturating_sub(from.millis()))
}

fn apart(one: Timestamp, other: Timestamp) -> Duration {
    Duration::from_millis(one.millis().abs_diff(other.millis()))
}

/// A span as a person would say it.
fn roughly(span: Duration) -> String {
    let seconds = span.as_secs();
    let unit = match seconds {
        0..=119 => 1,
        120..=7_199 => 60,
        7_200..=172_799 => 3_600,
        _ => 86_400,
    };
    in_words(Duration::from_secs(seconds / unit * unit))
}

fn sats(msat: u64) -> String {
    format!("{} sat", Msat::new(msat).unwrap_or(Msat::MAX).sats_floor())
}
