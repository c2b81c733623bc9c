//! Every alarm that there is, for people and programs that meet its code: when it is raised, and what to do.

use schemars::JsonSchema;
use serde::Serialize;

use crate::types::Severity::{self, Critical, Info, Warning};

/// One kind of alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AlarmCode {
    /// Stable word.
    pub code: &'static str,
    /// How bad it is when it is raised.
    pub severity: Severity,
    /// When it is raised, and when it becomes worse.
    pub when: &'static str,
    /// What to do; the alarm itself says it with its figures.
    pub fix: &'static str,
}

const fn of(code: &'static str, severity: Severity, when: &'static str, fix: &'static str) -> AlarmCode {
    AlarmCode { code, severity, when, fix }
}

/// All of them, those about earning first.
pub const CODES: &[AlarmCode] = &[
    of(
        "node_down",
        Critical,
        "the Lightning node does not come up for two minutes, or ended",
        "`tollhouse doctor` says what does not answer; mend that or the settings, and start again",
    ),
    of(
        "node_unreadable",
        Critical,
        "the node cannot read its channel state",
        "start once or twice more; else stop it, and `tollhouse recover`. Keep `channels.db` as it is",
    ),
    of(
        "cannot_receive",
        Critical,
        "the smallest price cannot be received, and no channel is opened for it",
        "open or buy a channel (`tollhouse inbound`), or pay out (`tollhouse pay-out`)",
    ),
    of(
        "receivable_low",
        Warning,
        "what can be received is below alarms.receivable_sales times the highest price, or one payment cannot bring that price",
        "`tollhouse pay-out`, `tollhouse inbound quote`, or a rule (`tollhouse rules`)",
    ),
    of(
        "peers_offline",
        Critical,
        "there are channels, and no peer is connected for alarms.peers_offline",
        "see that this machine reaches the network, and the peers are up: `tollhouse peers`",
    ),
    of(
        "chain_stale",
        Warning,
        "out of step with the chain for alarms.chain_stale; critical at six times as long, or when no source is heard of for chain.stale_after",
        "`tollhouse doctor`, `tollhouse chain --test`; a second one in `chain.sources` takes over by itself",
    ),
    of(
        "chain_fallback",
        Info,
        "the first chain source is away, and another one is used",
        "bring it back; the node returns to it by itself",
    ),
    of(
        "transactions_unsent",
        Warning,
        "a transaction of ours is signed, and no chain source took it yet: a close, a claim, a funding, a send; critical after an hour",
        "`tollhouse doctor`; it is handed over again by itself, so do not send the same again",
    ),
    of(
        "fees_stale",
        Warning,
        "no fee rates were learned for alarms.fees_stale",
        "see that the chain source estimates fees: `tollhouse doctor`",
    ),
    of(
        "no_blocks",
        Warning,
        "the newest block claims to be four hours old (not on regtest)",
        "compare the height with a block explorer's, and the clock with another machine's",
    ),
    of(
        "clock_skew",
        Warning,
        "our clock and the chain source's, or the blocks', differ by alarms.clock_skew; critical at five times as much",
        "set the clock, and keep it right (systemd-timesyncd, chrony)",
    ),
    of(
        "reserve_low",
        Warning,
        "fewer coins on-chain than closing the channels by force may take",
        "send coins to the wallet: `tollhouse wallet receive`",
    ),
    of(
        "closing_pending",
        Info,
        "coins of a closed channel, or their sweep, are on their way",
        "nothing: keep it running; `tollhouse channels closed` shows them",
    ),
    of(
        "channel_closed_by_restart",
        Warning,
        "LDK closed a channel because the process had been killed in the middle of a payment; stands for a week",
        "nothing is lost but fees and days; stop it with SIGTERM or Ctrl-C, and open another channel",
    ),
    of(
        "monitor_large",
        Warning,
        "a channel's stored state is larger than alarms.monitor_size",
        "close that channel by agreement at a quiet time, and open a new one",
    ),
    of(
        "operation_unclear",
        Warning,
        "nobody can tell how a payment out or a move of coins ended",
        "`tollhouse operations`; look it up at a block explorer or the payee's, then `tollhouse operations settle`",
    ),
    of(
        "operation_overdue",
        Warning,
        "a payment out or a move of coins is on its way for three days",
        "`tollhouse operations`; ask the other side. What never ends is ended with `tollhouse operations settle`",
    ),
    of(
        "order_overdue",
        Warning,
        "a channel was ordered and paid, or began to be, and is not there a day later; stands for 60 days",
        "`tollhouse inbound orders`; ask the provider, who owes the channel or the money",
    ),
    of(
        "order_refund_unseen",
        Warning,
        "the provider of an ordered channel says that it gave the money back; only you can see that it came",
        "look for it; then `tollhouse inbound close`, or ask the provider",
    ),
    of(
        "books_wrong",
        Critical,
        "the audit after a crash found a mistake; stands for a week",
        "`tollhouse audit` says which rows; keep `ledger.db` as it is, and report it",
    ),
    of(
        "possible_surplus",
        Info,
        "a payment was told twice in one run; stands for a day",
        "`tollhouse payments HASH`; what came twice is nobody's revenue",
    ),
    of(
        "disk_low",
        Warning,
        "less room than alarms.disk_free; critical at a tenth of it",
        "make room, or move the data directory to a larger disk: a full one stops the node and the gate",
    ),
    of(
        "seed_not_verified",
        Info,
        "nobody proved to have the words on paper; on mainnet a warning",
        "`tollhouse seed verify`, or First steps",
    ),
    of(
        "possible_stale_restore",
        Critical,
        "the channel state is older than its mark outside of it: the node stays away from its peers",
        "put the newest `channels.db` back if there is one; else `tollhouse recover`. Never start an old copy elsewhere",
    ),
    of(
        "snapshot_failed",
        Warning,
        "the channels' recovery snapshot could not be written",
        "make its directory writable, or name another one: `snapshot.dir`",
    ),
    of(
        "snapshot_old",
        Warning,
        "the recovery snapshot is behind the channels for alarms.snapshot_age",
        "`tollhouse log` says why; until then `channels.db` alone has the newest",
    ),
    of(
        "backup_missing",
        Warning,
        "on mainnet, and no backup.dir is set",
        "name a folder on another disk: `backup.dir`",
    ),
    of("backup_failed", Warning, "the last backup failed", "`tollhouse backup now` says what is in the way"),
    of(
        "backup_old",
        Warning,
        "the newest backup is older than alarms.backup_age",
        "`tollhouse backup now` says what is in the way",
    ),
    of(
        "payouts_parked",
        Warning,
        "the ledger was brought back from a copy: nothing is sent",
        "look at what was sent since (`tollhouse wallet history`, `tollhouse operations`), then `tollhouse backup release-payouts`",
    ),
    of(
        "tokens_doubtful",
        Warning,
        "tokens came that the restored ledger cannot prove; their holders are refused",
        "`tollhouse tokens doubtful`, then `tollhouse tokens honour` one, or all",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// What each `Alarm::new(` of the sources under `dir` is given as its code, outside of tests.
    fn raised(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                raised(&path, found);
                continue;
            }
            let name = path.display().to_string();
            if !name.ends_with(".rs") || name.ends_with("tests.rs") || name.ends_with("codes.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
            for call in shipped.split("Alarm::new(").skip(1) {
                let code = match call.trim_start().strip_prefix('"') {
                    Some(literal) => vec![literal.split('"').next().unwrap_or_default()],
                    // One of two, which that file names.
                    None => vec!["node_down", "node_unreadable"],
                };
                assert!(code.iter().all(|code| shipped.contains(&format!("\"{code}\""))), "{name}: {code:?}");
                found.extend(code.into_iter().map(str::to_owned));
            }
        }
    }

    #[test]
    fn all_alarms_are_listed_once_and_no_other() {
        let mut raises = BTreeSet::new();
        raised(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut raises);
        let listed: BTreeSet<String> = CODES.iter().map(|one| one.code.to_owned()).collect();
        assert_eq!(raises, listed);
        assert_eq!(listed.len(), CODES.len(), "each once");
    }
}
