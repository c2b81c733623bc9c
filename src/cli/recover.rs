//! `tollhouse recover`: brings the coins home when channel state is lost, old or unreadable, while the
//! appliance is stopped.
//!
//! It says what it found and what it will do, asks, and changes nothing before; then it runs the node, without
//! the gate, until the coins are in the on-chain wallet or it is interrupted. Exit codes: 0 all coins are home;
//! 1 it failed; 2 bad arguments, or not confirmed; 3 interrupted with coins on their way, or it is not proved that all
//! are home.

mod outcome;

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::operator::{Failure, fail, table};
use super::run::{in_runtime, told_to_stop};
use super::{logging, next, say, times, unlocking, warn};
use crate::app::offline::{Offline, Told};
use crate::app::take_dir;
use crate::backup;
use crate::config::{Environment, Flags, Settings};
use crate::node::{Birthday, MonitoredChannel, Search};
use crate::rescue::{Found, Place, Recovery, Source};
use crate::secrets::SeedPlace;
use crate::types::{counted, grouped};
use outcome::{Ended, told_text};

/// What `recover` is told.
#[derive(Args, Debug)]
pub(super) struct RecoverArgs {
    /// A recovery snapshot that lies elsewhere
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// A peer to call, with its address: KEY@HOST:PORT. Those in the snapshot are called anyway
    #[arg(long, value_name = "PEER", value_parser = peer)]
    peer: Vec<(String, String)>,
    /// With bitcoind and the seed alone: read blocks from this height, and do not ask which coins there are
    #[arg(long, value_name = "HEIGHT")]
    since: Option<u32>,
    /// With the seed alone: after so many unused addresses in a row look no further, with a server or --since
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(20..=5_000))]
    gap: u32,
    /// All of it may have been put back from a backup, so that nothing there tells its age: let no channel be
    /// closed with it by this node, only by the peers
    #[arg(long)]
    may_be_old: bool,
    /// Only say what there is to recover from
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// Print one JSON object at the end, errors too
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

fn peer(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('@').filter(|(key, address)| !key.is_empty() && address.contains(':'));
    let (key, address) = parts.ok_or("expected KEY@HOST:PORT")?;
    Ok((key.to_owned(), address.to_owned()))
}

pub(super) fn run(args: &RecoverArgs, env: &Environment) -> ExitCode {
    let settings = match Settings::load(&args.flags, env) {
        Ok(settings) => settings,
        Err(problems) => return fail(&Failure::arguments(problems.to_string()), args.json),
    };
    logging::start(&settings.log);
    match in_runtime(recover(args, settings)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&Failure::refused("not_recovered", format!("{error:#}")), args.json),
    }
}

async fn recover(args: &RecoverArgs, settings: Settings) -> Result<u8> {
    // Installed first: an interrupt is never a kill.
    let stop = told_to_stop()?;
    let offline = open(settings, &args.flags).await?;
    let (mut recovery, channels) = offline.look(args.snapshot.as_deref())?;
    if let Some(file) = &args.snapshot {
        not_left_aside(file, &recovery, offline.place(), &args.flags)?;
    }
    if args.may_be_old {
        recovery.doubt();
    }
    let plan = plan_json(&recovery, &channels, &offline.place().node_id);
    if args.dry_run {
        let said = &args.peer;
        say(if args.json { plan.to_string() } else { plan_text(&recovery, &channels, said, &plan) })?;
        return Ok(0);
    }
    warn(plan_text(&recovery, &channels, &args.peer, &plan));
    warn(what_happens(recovery.found(), &channels));
    if !args.yes && !confirmed()? {
        warn("Nothing was changed.");
        return Ok(2);
    }
    let birthday = if recovery.found().source == Source::Seed {
        warn("Looking for the wallet's past. On mainnet this takes some minutes.");
        let found = offline.birthday(Search { since: args.since, gap: args.gap }).await?;
        warn(past(found.as_ref(), args));
        found
    } else {
        None
    };
    if let Some(aside) = offline.rebuild(recovery, birthday.as_ref())? {
        warn(format!("The channel state that was there is kept as {}.", aside.display()));
    }
    let mut tell = |told: Told| warn(told_text(&told));
    let brought = offline.bring_home(&args.peer, &mut tell, stop).await?;
    let ended = Ended { brought: &brought, dust_sat: outcome::dust(&channels, &brought) };
    if args.json {
        say(ended.json(&plan))?;
    } else {
        say(ended.text(|| next::after_recovery(&offline.place().dir, &args.flags)))?;
    }
    Ok(if ended.all_home() { 0 } else { 3 })
}

/// What is known of the past of a wallet that comes from its seed alone.
fn past(found: Option<&Birthday>, args: &RecoverArgs) -> String {
    match found {
        Some(Birthday { blocks: Some((from, to)), .. }) if args.since.is_some() => format!(
            "The node reads the blocks from {from} to {to}, for the first {} addresses of each kind (--gap).",
            args.gap
        ),
        Some(Birthday { blocks: Some((from, to)), found, .. }) => {
            format!("{}; the node reads the blocks from {from} to {to}.", counted(*found, "coin"))
        }
        Some(Birthday { found, .. }) => format!(
            "{} {} paid. After {} unused ones in a row none was looked for: if you handed out more \
             than that without being paid, say a larger --gap.",
            found,
            if *found == 1 { "address was" } else { "addresses were" },
            args.gap
        ),
        None => "No address of the wallet was ever paid, as far as was looked.".to_owned(),
    }
}

/// A snapshot that was named, and is of another history than the state that is there, tells that the node began
/// anew here, before its channels were brought home: what knows none of them must not stand in their way.
fn not_left_aside(file: &Path, recovery: &Recovery, place: &Place, flags: &Flags) -> Result<()> {
    let found = recovery.found();
    match &found.source {
        Source::Store => {}
        Source::Snapshot { file: used, .. } if used != file => {}
        Source::Snapshot { .. } | Source::Seed => return Ok(()),
    }
    let empty = tempfile::tempdir()?;
    let alone = Place { dir: empty.path().to_owned(), second: None, ..place.clone() };
    let named = Recovery::look(alone, Some(file))?;
    let history = |found: &Found| found.generation.as_ref().map(|reach| reach.lineage.clone());
    if history(found) == history(named.found()) {
        warn(format!("not used  {}: what is used is as new, or newer", file.display()));
        return Ok(());
    }
    let (dir, aside) = (place.dir.display(), place.dir.join("begun-anew"));
    let aside = next::word(&aside.display().to_string());
    bail!(
        "the channel state in {dir} is of another history than {}: the node began anew here before it was recovered. \
         Nothing was changed. If no channel was opened since, put that aside and say this again: `mkdir {aside} && \
         mv {}/channels.* {aside}/ && {}`",
        file.display(),
        next::word(&dir.to_string()),
        next::command(&format!("recover --snapshot {}", next::word(&file.display().to_string())), flags)
    )
}

/// The appliance must be stopped, and its seed be there: a new one would find nothing.
async fn open(settings: Settings, flags: &Flags) -> Result<Offline> {
    let lock = take_dir(&settings.data_dir)?;
    let (dir, network) = (settings.network_dir(), settings.node.network);
    // Its channels live elsewhere: recovering here would close them.
    backup::refuse_if_moved(&dir)?;
    if SeedPlace::look(&dir)? == SeedPlace::Empty {
        bail!(next::no_seed(&dir, flags));
    }
    let Some(secrets) = unlocking::open(settings.unlock.clone(), dir, network).await? else {
        bail!("the seed is locked: nobody said its passphrase");
    };
    Offline::new(lock, settings, &secrets)
}

const WHAT_HAPPENS: &str = "\
What happens now:
- The channel state is set up anew from the above, without the library's channel manager. What is there now is
  kept beside it under another name.
- The node starts without the gate, calls the peers, and they close the channels, as a node that does not know
  its channels makes them do. This cannot be undone: nothing can be sold until there are channels again.
- What was yours in them comes to the on-chain wallet: after the close confirms, and for payments that were
  under way after up to some days. Fees of the chain are taken from it.";

const FROM_THE_SEED: &str = "\
What happens now:
- The wallet is set up anew from the seed. What is there now is kept beside it under another name.
- The node starts without the gate and looks for the coins that were paid to the wallet. Of channels a seed knows
  nothing: what was yours in them comes home only from a recovery snapshot (--snapshot FILE).";

const CLOSES: &str = "
- A channel whose peer does not answer stays open: call it by --peer. When `tollhouse run` starts, or a payment
  that was under way comes near its end, this node closes it by itself; its coins then wait for the channel's
  delay.";

const CLOSES_NONE: &str = "
- This node closes no channel by itself, now or later: with a state that is not the newest it could lose all of the
  channel. So the above is set up in a way that cannot. A channel whose peer does not answer stays open: call
  it by --peer, or ask its operator to force-close. Nobody else can bring those coins home.";

const CLOSES_SOME: &str = "
- The channels that only their peer can close were recovered before from a state that may be old. This node cannot
  close them by itself, now or later: call the peer by --peer, or ask its operator to force-close.";

const MAY_BE_OLD: &str = "
- What came or went after that state was written is settled by what the peer publishes. A payment that was on
  its way at that very moment may be lost.";

fn what_happens(found: &Found, channels: &[MonitoredChannel]) -> String {
    if found.source == Source::Seed {
        return FROM_THE_SEED.to_owned();
    }
    let closes = match closing(found, channels) {
        Closing::All => &[CLOSES][..],
        Closing::Some => &[CLOSES, CLOSES_SOME, MAY_BE_OLD],
        Closing::None => &[CLOSES_NONE, MAY_BE_OLD],
    };
    format!("{WHAT_HAPPENS}{}", closes.concat())
}

/// Which of the open channels this node closes by itself once they are recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    All,
    /// Not those that were recovered before from a state that may be old.
    Some,
    None,
}

fn closing(found: &Found, channels: &[MonitoredChannel]) -> Closing {
    let open = || channels.iter().filter(|channel| !channel.closed);
    match found.newest {
        Some(true) if open().all(|channel| channel.closes_alone) => Closing::All,
        Some(true) if open().any(|channel| channel.closes_alone) => Closing::Some,
        _ => Closing::None,
    }
}

/// What is there is the newest, and every open channel's in truth: one that was recovered before from a state that
/// may be old still has that.
fn newest(found: &Found, channels: &[MonitoredChannel]) -> Option<bool> {
    found.newest.filter(|newest| !newest || closing(found, channels) == Closing::All)
}

fn confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        warn("There is no terminal to ask on: say --yes.");
        return Ok(false);
    }
    warn("Go on? Type yes:");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("the answer cannot be read")?;
    Ok(answer.trim() == "yes")
}

fn plan_json(recovery: &Recovery, channels: &[MonitoredChannel], node_id: &str) -> Value {
    let found = recovery.found();
    let (source, file, written_at) = match &found.source {
        Source::Store => ("channels.db", None, None),
        Source::Snapshot { file, written_at } => ("snapshot", Some(file), Some(written_at)),
        Source::Seed => ("seed", None, None),
    };
    json!({
        "node_id": node_id,
        "source": source,
        "file": file,
        "written_at": written_at,
        "newest": newest(found, channels),
        "passed_over": found.passed_over,
        "channels": channels,
    })
}

/// Where the channel's peer is called: as `said` on the line, else as it is known.
fn address_of(channel: &MonitoredChannel, said: &[(String, String)]) -> String {
    let said =
        said.iter().find(|(key, _)| key.eq_ignore_ascii_case(&channel.peer)).map(|(_, address)| address);
    let known = said.or(channel.peer_address.as_ref());
    known.cloned().unwrap_or_else(|| "unknown: it calls, or say --peer".to_owned())
}

fn plan_text(
    recovery: &Recovery,
    channels: &[MonitoredChannel],
    said: &[(String, String)],
    plan: &Value,
) -> String {
    let found = recovery.found();
    let mut lines = vec![format!("node      {}", plan["node_id"].as_str().unwrap_or_default())];
    lines.push(match &found.source {
        Source::Store => "from      the channels' monitors in channels.db".to_owned(),
        Source::Snapshot { file, .. } => {
            format!(
                "from      the recovery snapshot {} of {}",
                file.display(),
                times::moment(&plan["written_at"])
            )
        }
        Source::Seed => {
            "from      the seed alone: coins on-chain are found; those in channels only when their peers \
                         close them, and only by a recovery snapshot (--snapshot FILE)"
                .to_owned()
        }
    });
    let state = match (&found.source, found.newest, closing(found, channels)) {
        (Source::Seed, ..) => None,
        (_, Some(true), Closing::All) => Some("every channel's newest"),
        (_, Some(true), Closing::Some) => Some(
            "the newest, but for channels that were recovered before: only the peers can close those, with theirs",
        ),
        (_, Some(true), Closing::None) => Some(
            "as the last recovery left it, which cannot be proved to be the newest: only the peers can close the \
             channels, with theirs",
        ),
        (_, Some(false), _) => {
            Some("NOT the newest of every channel: only the peers can close them, with theirs")
        }
        (_, None, _) => Some(
            "it cannot be proved that it is the newest: only the peers can close the channels, with theirs",
        ),
    };
    lines.extend(state.map(|state| format!("state     {state}")));
    lines.extend(found.passed_over.iter().map(|why| format!("not used  {why}")));
    if !channels.is_empty() {
        let rows = channels.iter().map(|channel| {
            [
                channel.peer.clone(),
                channel.funding.clone(),
                format!("{} sat", grouped(channel.ours_sat)),
                state_of(channel).to_owned(),
                address_of(channel, said),
            ]
        });
        lines.push(table(["PEER", "FUNDING", "YOURS", "STATE", "ADDRESS"], rows));
    }
    let urgent = channels.iter().filter_map(|channel| Some((channel.settle_before?, channel)));
    for (height, channel) in urgent {
        lines.push(format!(
            "urgent    {} under way in the channel with {}: what is not settled on-chain before \
             block {height} may be lost",
            counted(channel.under_way, "payment"),
            channel.peer
        ));
    }
    lines.join("\n")
}

fn state_of(channel: &MonitoredChannel) -> &'static str {
    match (channel.closed, channel.closes_alone) {
        (true, _) => "closed",
        (false, true) => "open",
        (false, false) => "open, only its peer can close it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn channel(closed: bool, closes_alone: bool) -> MonitoredChannel {
        MonitoredChannel {
            channel_id: "aa".to_owned(),
            funding: "bb:0".to_owned(),
            peer: "02".to_owned(),
            peer_address: None,
            ours_sat: 7,
            under_way: 0,
            settle_before: None,
            closed,
            seen_height: 100,
            closes_alone,
        }
    }

    #[test]
    fn a_peer_that_was_named_is_called_where_it_was_said() {
        let (away, known) = (
            channel(false, true),
            MonitoredChannel { peer_address: Some("a:1".to_owned()), ..channel(false, true) },
        );
        let said = [("02".to_owned(), "b:2".to_owned())];
        assert_eq!(
            (address_of(&away, &said), address_of(&known, &said)),
            ("b:2".to_owned(), "b:2".to_owned())
        );
        assert_eq!(address_of(&known, &[]), "a:1");
        assert!(address_of(&away, &[]).starts_with("unknown"));
    }

    #[test]
    fn nothing_is_promised_that_this_node_cannot_do() {
        let (armed, disarmed, closed) = (channel(false, true), channel(false, false), channel(true, false));
        let table = [
            // Newest; the channels; which this node closes; what is told of the whole.
            (Some(true), vec![armed.clone(), closed.clone()], Closing::All, Some(true)),
            (Some(true), vec![], Closing::All, Some(true)),
            (Some(true), vec![disarmed.clone(), closed], Closing::None, None),
            (Some(true), vec![armed.clone(), disarmed.clone()], Closing::Some, None),
            // What is not proved is disarmed by the recovery itself.
            (Some(false), vec![armed.clone()], Closing::None, Some(false)),
            (None, vec![armed, disarmed], Closing::None, None),
        ];
        for (number, (proved, channels, closes, told)) in table.into_iter().enumerate() {
            let found =
                Found { source: Source::Store, generation: None, newest: proved, passed_over: Vec::new() };
            assert_eq!(closing(&found, &channels), closes, "row {number}");
            assert_eq!(newest(&found, &channels), told, "row {number}");
            let text = what_happens(&found, &channels);
            let by_itself = text.contains("this node closes it by itself");
            assert_eq!(by_itself, closes != Closing::None, "row {number}");
            assert_eq!(text.contains("may be lost"), closes != Closing::All, "row {number}");
            let none = text.contains("This node closes no channel by itself, now or later");
            assert_eq!(none, closes == Closing::None, "row {number}");
        }
        let found = Found { source: Source::Seed, generation: None, newest: None, passed_over: Vec::new() };
        let text = what_happens(&found, &[]);
        assert!(text.contains("looks for the coins") && !text.contains("calls the peers"), "{text}");
    }
}
