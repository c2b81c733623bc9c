//! What has to be in order before `tollhouse run` handles real money.
//!
//! Invariant: an encrypted seed and verified words are never waived; a person may take the rest upon
//! themselves (`--i-know`).

use std::fmt::Write;
use std::path::Path;

use anyhow::{Result, bail};
use bitcoin::Network;

use super::tell;
use crate::backup;
use crate::config::{Settings, Source};
use crate::ports::KeyValue;
use crate::secrets::{SeedPlace, private_dir};
use crate::store::{Ledger, NodeStore};

/// The file of a node that has run before.
const CHANNELS_FILE: &str = "channels.db";

/// Where the node keeps what it knows of each channel.
const MONITORS: &str = "monitors";

/// Where it is noted which of them are closed.
const LEDGER_FILE: &str = backup::LEDGER_FILE;

/// One line of the list.
struct Point {
    what: &'static str,
    done: bool,
    may_be_waived: bool,
    fix: String,
}

/// How `run` may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At once.
    Now,
    /// With a page that makes the seed, and has its words proved: until then there is nothing that could be lost.
    SeedFirst,
}

/// Prints the list where real money is at stake. With `choose_seed` a seed is chosen on any network.
///
/// # Errors
/// When something on it is not in order that is not, or cannot be, waived.
pub(super) fn check(settings: &Settings, i_know: bool, choose_seed: bool) -> Result<Start> {
    let dir = settings.network_dir();
    if settings.node.network != Network::Bitcoin {
        return if choose_seed { first_seed(&dir) } else { Ok(Start::Now) };
    }
    let points = points(settings, &dir)?;
    let mut list = String::from("Before real money:");
    for point in &points {
        let mark = if point.done { 'x' } else { ' ' };
        write!(list, "\n  [{mark}] {}", point.what)?;
        if !point.fix.is_empty() {
            write!(list, ": {}", point.fix)?;
        }
    }
    tell(list);
    match open(&points, i_know) {
        0 => Ok(Start::Now),
        // The page sees to the seed and its words, and what may be waived was.
        _ if SeedPlace::look(&dir)? == SeedPlace::Empty
            && points.iter().all(|point| point.done || !point.may_be_waived || i_know) =>
        {
            Ok(Start::SeedFirst)
        }
        _ if points.iter().any(|point| !point.done && !point.may_be_waived) => {
            bail!(
                "mainnet waits for the list above; --i-know skips neither the seed nor its words, but without a seed \
                 it opens a page that makes one"
            )
        }
        _ => bail!("mainnet waits for the list above; --i-know starts without what is open there"),
    }
}

/// On a network whose coins are worth nothing a seed is made by itself, unless somebody wants to choose it.
fn first_seed(dir: &Path) -> Result<Start> {
    match SeedPlace::look(dir)? {
        SeedPlace::Empty => Ok(Start::SeedFirst),
        _ => {
            tell("There is a seed already: --choose-seed changes nothing.");
            Ok(Start::Now)
        }
    }
}

fn points(settings: &Settings, dir: &Path) -> Result<[Point; 4]> {
    let encrypted = matches!(SeedPlace::look(dir)?, SeedPlace::Sealed(_));
    let verified = encrypted && SeedPlace::marks(dir)?.is_some_and(|marks| marks.verified_at.is_some());
    let fix = |done: bool, text: &str| if done { String::new() } else { text.to_owned() };
    let (takes, about) = backups(settings, dir)?;
    let channel = has_a_channel(dir)? || said(settings, "liquidity.lsps");
    Ok([
        Point {
            what: "encrypted seed",
            done: encrypted,
            may_be_waived: false,
            fix: fix(encrypted, "`tollhouse seed new` makes one, `tollhouse seed restore` brings yours"),
        },
        Point {
            what: "words verified",
            done: verified,
            may_be_waived: false,
            fix: fix(verified, "`tollhouse seed verify` asks for three of them"),
        },
        Point { what: "backup destination", done: takes, may_be_waived: true, fix: about },
        Point {
            what: "a channel, or a way to one",
            done: channel,
            may_be_waived: true,
            fix: fix(channel, "say liquidity.lsps2, or start with --i-know and open or buy a channel"),
        },
    ])
}

/// Whether backups have a place that takes them now, and what is to be said of it.
fn backups(settings: &Settings, dir: &Path) -> Result<(bool, String)> {
    let Some(to) = &settings.backup.dir else {
        return Ok((false, "say backup.dir: a directory on another disk".to_owned()));
    };
    private_dir(dir)?;
    let to = backup::Destination::new(to.clone(), dir.to_owned());
    Ok(match to.takes().and_then(|()| to.is_apart()) {
        Ok(true) => (true, String::new()),
        Ok(false) => (true, "it is on the disk that the data is on, and dies with it".to_owned()),
        Err(fault) => (false, fault.to_string()),
    })
}

/// Whether the node has a channel: it keeps a monitor of each, also for a while after one was closed, which
/// the ledger notes. The directory is ours.
fn has_a_channel(dir: &Path) -> Result<bool> {
    let (channels, ledger) = (dir.join(CHANNELS_FILE), dir.join(LEDGER_FILE));
    if !channels.exists() || NodeStore::open(&channels)?.list(MONITORS, "")?.is_empty() {
        return Ok(false);
    }
    // A ledger of an older version, or one that was just made, does not tell.
    Ok(!ledger.exists() || Ledger::has_open_channel(&ledger).ok().flatten().unwrap_or(true))
}

/// Whether a setting that begins so was said, wherever.
fn said(settings: &Settings, beginning: &str) -> bool {
    settings.shown.iter().any(|shown| shown.setting.starts_with(beginning) && shown.source != Source::Default)
}

/// How many open points keep the appliance from starting.
fn open(points: &[Point], i_know: bool) -> usize {
    points.iter().filter(|point| !(point.done || (i_know && point.may_be_waived))).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_waived_is() {
        let point = |done, may_be_waived| Point { what: "", done, may_be_waived, fix: String::new() };
        assert_eq!(open(&[point(true, false), point(false, true)], false), 1);
        assert_eq!(open(&[point(true, false), point(false, true)], true), 0);
        assert_eq!(open(&[point(false, false), point(true, true)], true), 1);
    }
}
