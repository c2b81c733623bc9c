//! `tollhouse seed`: make one, bring one back, prove that its words are on paper, change what opens it.
//!
//! The words are printed once, on a terminal, and never taken on the command line. What is asked of a
//! running appliance goes through its API, because the seed's file is its own then.

mod running;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::operator::{Failure, OperatorArgs, Shown, ask, ask_here};
use super::times::moment;
use super::unlocking::{self, attended, said_or_typed, spoken};
use super::{next, warn};
use crate::clock::{Clock, SystemClock, SystemEntropy};
use crate::config::{AdminPlace, Environment, Flags};
use crate::secrets::{
    KeyFiles, Opener, OpensWith, Passphrase, Secrets, Seed, SeedFault, SeedPlace, Unlock, UnlockKey,
    WordCount, Words,
};
use crate::store::{DirLock, Locked};
use crate::types::Timestamp;

/// Wrong answers that are taken at the terminal.
const TRIES: u32 = 3;
/// Said when they were right.
const VERIFIED: &str = "The words are verified.";

#[derive(Debug, clap::Args)]
pub(super) struct SeedArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// A file or descriptor whose first line is the passphrase [default: as the settings say, else asked for]
    #[arg(long, value_name = "FILE", global = true)]
    passphrase_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a seed, and show its words once
    New {
        /// How many words: 24 or 12
        #[arg(long, value_name = "N", default_value_t = 24)]
        words: u32,
        /// Print the words although stdout is no terminal
        #[arg(long)]
        yes_print: bool,
    },
    /// Bring a seed back from its 12 or 24 words
    Restore {
        /// A file or descriptor with the words [default: typed, or stdin]
        #[arg(long, value_name = "FILE")]
        words_file: Option<PathBuf>,
    },
    /// Say how the seed is kept, and whether its words were verified; nothing secret
    Show,
    /// Print the words, once; until they were verified, again
    Words {
        /// They were shown before; takes the passphrase, where there is one
        #[arg(long)]
        again: bool,
        /// Print the words although stdout is no terminal
        #[arg(long)]
        yes_print: bool,
    },
    /// Prove that you have the words: three of them are asked for
    Verify,
    /// Set or change the passphrase that opens the seed
    Passphrase {
        /// A file or descriptor whose first line is the new one [default: asked for]
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// Let the key file open the seed still
        #[arg(long)]
        keep_key_file: bool,
    },
    /// Let a key file open the seed with nobody there, beside the passphrase
    KeyFile {
        /// The file; it is made when it is not there
        #[arg(value_name = "FILE")]
        path: PathBuf,
    },
}

pub(super) fn run(args: &SeedArgs, env: &Environment) -> ExitCode {
    let place = match Place::find(args, env) {
        Ok(place) => place,
        Err(failure) => return super::operator::fail(&failure, args.operator.json()),
    };
    match args.command.as_ref().unwrap_or(&Command::Show) {
        Command::New { words, yes_print } => {
            here(args, || place.make(*words, *yes_print, args.operator.json()))
        }
        Command::Restore { words_file } => here(args, || place.bring(words_file.as_deref())),
        Command::Show => here(args, || place.status()),
        Command::Words { again, yes_print } => match on_paper(*yes_print).and_then(|()| place.taken()) {
            Ok(Some(lock)) => here(args, || place.words(&lock, *again, args.operator.json())),
            Ok(None) => ask(&args.operator, env, async |admin| {
                running::words(admin, args.passphrase_file.as_deref(), *again, args.operator.json()).await
            }),
            Err(failure) => super::operator::fail(&failure, args.operator.json()),
        },
        Command::Verify => match place.taken() {
            Ok(Some(lock)) => here(args, || place.verify(&lock)),
            Ok(None) => ask(&args.operator, env, running::verify),
            Err(failure) => super::operator::fail(&failure, args.operator.json()),
        },
        Command::Passphrase { new_passphrase_file, keep_key_file } => {
            let (new, keep) = (new_passphrase_file.as_deref(), *keep_key_file);
            match place.taken() {
                Ok(Some(lock)) => here(args, || place.change(&lock, new, keep)),
                Ok(None) => ask(&args.operator, env, async |admin| {
                    running::change(admin, args.passphrase_file.as_deref(), new, keep).await
                }),
                Err(failure) => super::operator::fail(&failure, args.operator.json()),
            }
        }
        Command::KeyFile { path } => here(args, || place.let_key_in(path)),
    }
}

fn here(args: &SeedArgs, work: impl FnOnce() -> Result<Shown, Failure>) -> ExitCode {
    ask_here(&args.operator, work)
}

/// The place of a seed.
struct Place {
    data_dir: PathBuf,
    dir: PathBuf,
    network: bitcoin::Network,
    unlock: Unlock,
    flags: Flags,
}

impl Place {
    fn find(args: &SeedArgs, env: &Environment) -> Result<Place, Failure> {
        let place = args.operator.place(env)?.ok_or_else(|| {
            Failure::arguments("which seed? Use --config FILE, or --data-dir DIR and --network NETWORK")
        })?;
        let AdminPlace { data_dir, network, unlock, .. } = place;
        let passphrase_file = args.passphrase_file.clone().or(unlock.passphrase_file);
        let unlock = Unlock { passphrase_file, ..unlock };
        let flags = args.operator.settings_flags();
        Ok(Place { dir: data_dir.join(network.to_string()), data_dir, network, unlock, flags })
    }

    /// The right to the directory; `None` when an appliance runs there.
    fn taken(&self) -> Result<Option<DirLock>, Failure> {
        crate::secrets::private_dir(&self.data_dir).map_err(spoken)?;
        match DirLock::take(&self.data_dir) {
            Ok(lock) => Ok(Some(lock)),
            Err(Locked::Taken(_)) => Ok(None),
            Err(error) => Err(spoken(error)),
        }
    }

    fn free(&self) -> Result<DirLock, Failure> {
        let running = "an appliance runs on this directory: stop it first, then this again";
        let stop = || Failure::refused("running", running);
        self.taken()?.ok_or_else(stop)
    }

    /// What shall open a new seed: as was said, or typed twice.
    fn first_opener(&self) -> Result<Opener, Failure> {
        let said = self.unlock.passphrase_file.is_some() || self.unlock.key_file.is_some();
        if said || !attended() {
            let entropy = SystemEntropy::new();
            crate::secrets::private_dir(&self.dir).map_err(spoken)?;
            return self.unlock.first_opener(&self.dir, self.network, entropy.as_ref()).map_err(spoken);
        }
        new_passphrase().map(Opener::Passphrase)
    }

    fn make(&self, words: u32, yes_print: bool, as_json: bool) -> Result<Shown, Failure> {
        let count = match words {
            12 => WordCount::Twelve,
            24 => WordCount::TwentyFour,
            _ => return Err(Failure::arguments("a seed has 24 words, or 12")),
        };
        on_paper(yes_print)?;
        let _lock = self.free()?;
        if SeedPlace::look(&self.dir).map_err(spoken)? != SeedPlace::Empty {
            return Err(Failure::refused(
                "seed_exists",
                format!("there is a seed in {} already", self.dir.display()),
            ));
        }
        let entropy = SystemEntropy::new();
        let opener = self.first_opener()?;
        let words = Words::make(count, entropy.as_ref());
        let secrets =
            Secrets::create(&self.dir, self.network, words, &opener, entropy.as_ref()).map_err(spoken)?;
        let seed = secrets.custody();
        let shown = Zeroizing::new(seed.show(None, now()).map_err(spoken)?.to_string());
        if as_json {
            let words: Vec<&str> = shown.split(' ').collect();
            return Ok(Shown::new(json!({ "words": words, "network": self.network.to_string() }), ""));
        }
        let listed = Zeroizing::new(in_columns(&shown));
        super::say(&*listed).map_err(spoken)?;
        if attended() && std::io::stdout().is_terminal() {
            warn("Write these words down, in this order, on paper. They are not shown again.");
            typed_line("Press Enter when that is done; the words leave the screen then.")?;
            // The words, what was said below them, and the line that Enter ended.
            let up = listed.lines().count().saturating_add(3);
            unlocking::prompt(&format!("\x1b[{up}A\x1b[J")).map_err(spoken)?;
            let (done, proven) = match prove(seed) {
                Ok(()) => (VERIFIED.to_owned(), true),
                Err(failure) => (format!("{}. The seed is there all the same.", failure.text), false),
            };
            let text = format!("{done}\n{}", next::after_new_seed(proven, &self.flags));
            return Ok(Shown::new(self.told(seed), text));
        }
        let text = format!("Write the words down, on paper.\n{}", next::after_new_seed(false, &self.flags));
        Ok(Shown::new(self.told(seed), text))
    }

    fn bring(&self, words_file: Option<&Path>) -> Result<Shown, Failure> {
        let _lock = self.free()?;
        if SeedPlace::look(&self.dir).map_err(spoken)? != SeedPlace::Empty {
            let text = format!(
                "there is a seed in {} already, and nothing was done. {}",
                self.dir.display(),
                next::another_seed(&self.dir, &self.flags)
            );
            return Err(Failure::refused("seed_exists", text));
        }
        let words = match words_file {
            Some(path) => Words::from_file(path).map_err(spoken)?,
            None => Words::read(&typed_line("The 12 or 24 words, in their order:")?).map_err(spoken)?,
        };
        let opener = self.first_opener()?;
        let entropy = SystemEntropy::new();
        let restored = Secrets::restore(&self.dir, self.network, words, &opener, entropy.as_ref(), now());
        let secrets = restored.map_err(spoken)?;
        Ok(Shown::new(self.told(secrets.custody()), next::after_seed(&self.flags)))
    }

    fn status(&self) -> Result<Shown, Failure> {
        let seen = SeedPlace::look(&self.dir).map_err(spoken)?;
        let (state, ways) = match seen {
            SeedPlace::Empty => ("none", OpensWith::default()),
            SeedPlace::Plain => ("plain", OpensWith::default()),
            SeedPlace::Sealed(ways) => ("encrypted", ways),
        };
        let marks = SeedPlace::marks(&self.dir).map_err(spoken)?.unwrap_or_default();
        let value = json!({
            "network": self.network.to_string(),
            "state": state,
            "opens_with": names(ways),
            "shown_at": marks.shown_at,
            "verified_at": marks.verified_at,
        });
        let when = |name: &str| match value[name].is_null() {
            true => "not yet".to_owned(),
            false => moment(&value[name]),
        };
        let text = format!(
            "seed          {state}{}\nopens with    {}\nwords shown   {}\nverified      {}",
            if seen == SeedPlace::Plain { " (not encrypted; the next start encrypts it)" } else { "" },
            if names(ways).is_empty() { "nothing".to_owned() } else { names(ways).join(" or ") },
            when("shown_at"),
            when("verified_at"),
        );
        Ok(Shown::new(value, text))
    }

    fn words(&self, _lock: &DirLock, again: bool, as_json: bool) -> Result<Shown, Failure> {
        let (passphrase, secrets) = self.open_with()?;
        let again = again.then_some(passphrase.as_ref());
        let shown = secrets.custody().show(again, now()).map_err(not_shown)?;
        printed(shown, as_json)
    }

    fn verify(&self, _lock: &DirLock) -> Result<Shown, Failure> {
        let secrets = self.open()?;
        prove(secrets.custody())?;
        Ok(Shown::new(self.told(secrets.custody()), VERIFIED))
    }

    fn change(&self, _lock: &DirLock, new: Option<&Path>, keep: bool) -> Result<Shown, Failure> {
        let (current, secrets) = self.open_with()?;
        let new = match new {
            Some(path) => Passphrase::read(path).map_err(spoken)?,
            None => new_passphrase()?,
        };
        let key_files = if keep { KeyFiles::Keep } else { KeyFiles::Forget };
        let seed = secrets.custody();
        seed.set_passphrase(current.as_ref(), &new, key_files, SystemEntropy::new().as_ref())
            .map_err(spoken)?;
        Ok(Shown::new(self.told(seed), changed(seed.status().opens_with)))
    }

    fn let_key_in(&self, path: &Path) -> Result<Shown, Failure> {
        let _lock = self.free()?;
        let (current, secrets) = self.open_with()?;
        let entropy = SystemEntropy::new();
        let key = UnlockKey::read_or_make(path, entropy.as_ref()).map_err(spoken)?;
        let seed = secrets.custody();
        seed.set_key_file(current.as_ref(), &key, entropy.as_ref()).map_err(spoken)?;
        let text = format!(
            "{} opens the seed. Name it as unlock.key_file, and keep it where the seed's copies are not: whoever has \
             both has the coins.",
            path.display()
        );
        Ok(Shown::new(self.told(seed), text))
    }

    fn open(&self) -> Result<Secrets, Failure> {
        self.open_with().map(|opened| opened.1)
    }

    /// The secrets, and the passphrase that opened them, where one did.
    fn open_with(&self) -> Result<(Option<Passphrase>, Secrets), Failure> {
        match SeedPlace::look(&self.dir).map_err(spoken)? {
            SeedPlace::Empty => {
                return Err(Failure::refused(
                    "no_seed",
                    format!("there is no seed in {}", self.dir.display()),
                ));
            }
            SeedPlace::Sealed(ways) if ways.passphrase => {
                let file = self.unlock.passphrase_file.as_deref();
                if file.is_some() || attended() || !ways.key_file {
                    let passphrase = said_or_typed(file, "Passphrase of the seed").map_err(spoken)?;
                    let opener = Opener::Passphrase(passphrase.clone());
                    let entropy = SystemEntropy::new();
                    let opened = Secrets::open_or_create(&self.dir, self.network, &opener, entropy.as_ref());
                    return Ok((Some(passphrase), opened.map_err(spoken)?));
                }
            }
            SeedPlace::Sealed(_) | SeedPlace::Plain => {}
        }
        let opened = unlocking::open_now(&self.unlock, &self.dir, self.network).map_err(spoken)?;
        let locked = || Failure::refused("locked", "nobody said the passphrase");
        Ok((None, opened.ok_or_else(locked)?))
    }

    fn told(&self, seed: &Seed) -> Value {
        let status = seed.status();
        json!({
            "network": self.network.to_string(),
            "words": seed.word_count(),
            "opens_with": names(status.opens_with),
            "shown_at": status.shown_at,
            "verified_at": status.verified_at,
        })
    }
}

/// Whether somebody sees what is printed, or wants it printed all the same.
fn on_paper(yes_print: bool) -> Result<(), Failure> {
    if yes_print || std::io::stdout().is_terminal() {
        return Ok(());
    }
    let text = "stdout is no terminal, so nobody would see the words: say --yes-print to print them all the same. \
                Nothing was done";
    Err(Failure::refused("no_terminal", text))
}

fn not_shown(fault: SeedFault) -> Failure {
    let code = match fault {
        SeedFault::Verified => "words_verified",
        SeedFault::Shown => "words_were_shown",
        SeedFault::WrongPassphrase => "wrong_passphrase",
        _ => "seed",
    };
    let help = if code == "words_were_shown" { ": --again" } else { "" };
    Failure::refused(code, format!("{fault}{help}"))
}

fn printed(words: &str, as_json: bool) -> Result<Shown, Failure> {
    if as_json {
        return Ok(Shown::new(json!({ "words": words.split(' ').collect::<Vec<_>>() }), ""));
    }
    super::say(&*Zeroizing::new(in_columns(words))).map_err(spoken)?;
    let text = "Write these words down, in this order, on paper; then run `tollhouse seed verify`.";
    Ok(Shown::new(Value::Null, text))
}

/// Asks for three words until they are right, or too often wrong.
fn prove(seed: &Seed) -> Result<(), Failure> {
    let mut tries = TRIES;
    loop {
        let asked = seed.ask(SystemEntropy::new().as_ref());
        let answer = answers(&asked)?;
        tries -= 1;
        match seed.verify(&answer, now()) {
            Err(fault) if tries > 0 && attended() => warn(format!("{}.", fault)),
            done => return done.map_err(|fault| Failure::refused("wrong_words", fault.to_string())),
        }
    }
}

fn answers(asked: &[usize]) -> Result<Vec<Zeroizing<String>>, Failure> {
    asked.iter().map(|number| typed_line(&format!("Word {number}:"))).collect()
}

fn changed(opens_with: OpensWith) -> String {
    match opens_with.key_file {
        true => "The new passphrase opens the seed, and the key file still does.".to_owned(),
        false => "Only the new passphrase opens the seed now: a key file does no more, and can be deleted."
            .to_owned(),
    }
}

/// A passphrase typed twice, or the first line of stdin.
fn new_passphrase() -> Result<Passphrase, Failure> {
    let new = said_or_typed(None, "New passphrase (at least 12 characters)").map_err(spoken)?;
    new.fit().map_err(|unfit| Failure::refused("unfit_passphrase", unfit.to_string()))?;
    if attended() {
        let again = unlocking::typed("The same again").map_err(spoken)?;
        if !new.repeats(&again) {
            return Err(Failure::refused("not_the_same", "the two are not the same: nothing was changed"));
        }
    }
    Ok(new)
}

/// A line that somebody types, seen as it is typed.
fn typed_line(what: &str) -> Result<Zeroizing<String>, Failure> {
    if attended() {
        unlocking::prompt(&format!("{what} ")).map_err(spoken)?;
    }
    unlocking::line().map_err(spoken)
}

/// Words with their numbers, four in a row.
fn in_columns(words: &str) -> String {
    let words: Vec<String> =
        words.split(' ').enumerate().map(|(at, word)| format!("{:>2} {word:<12}", at + 1)).collect();
    let rows: Vec<String> = words.chunks(4).map(|row| row.concat().trim_end().to_owned()).collect();
    rows.join("\n")
}

fn names(ways: OpensWith) -> Vec<&'static str> {
    let ways = [("passphrase", ways.passphrase), ("key_file", ways.key_file)];
    ways.into_iter().filter(|way| way.1).map(|way| way.0).collect()
}

fn now() -> Timestamp {
    SystemClock::new(Timestamp::default()).now()
}
