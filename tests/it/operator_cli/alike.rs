//! The commands are alike: one name for one thing, the same questions before what cannot be undone.

use std::collections::BTreeMap;

use clap::{Arg, Command};

/// Leads to the appliance that is asked.
const APPLIANCE: [&str; 6] = ["config", "data-dir", "network", "admin", "admin-key-file", "demo"];
/// Leads to settings and files, where no appliance is asked.
const FILES: [&str; 3] = ["config", "data-dir", "network"];
/// They need no configured appliance: a token, a URL, and the demo lead elsewhere.
const ELSEWHERE: [&str; 3] = ["token", "fetch", "demo"];
const BY_FILES: [&str; 3] = ["run", "check", "recover"];
/// Runs until it is told to stop, and is no answer to anything.
const ENDLESS: [&str; 1] = ["run"];
/// What these do is not taken back by another command.
const GRAVE: [&str; 9] =
    ["revoke", "remove", "retire", "honour", "settle", "release-payouts", "restore", "export", "import"];
/// The one has the words of caveats, the other those of curl and of other paying clients.
const OTHERS_WORDS: [&str; 2] = ["token attenuate", "fetch"];

/// A command that does something: its whole name, and its options.
struct Leaf {
    name: String,
    about: bool,
    options: Vec<Arg>,
    positional: Vec<Arg>,
}

impl Leaf {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|arg| arg.get_long() == Some(option))
    }

    fn first(&self) -> &str {
        self.name.split(' ').next().unwrap_or_default()
    }

    fn last(&self) -> &str {
        self.name.rsplit(' ').next().unwrap_or_default()
    }
}

fn value_name(arg: &Arg) -> Option<String> {
    let takes = arg.get_action().takes_values();
    takes.then(|| arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string))?
}

/// Every command under `command`, those too that have others below them and do something alone.
fn leaves(command: &Command, name: &str, found: &mut Vec<Leaf>) {
    assert_eq!(command.get_all_aliases().count(), 0, "{name} has one name");
    let below: Vec<&Command> = command.get_subcommands().filter(|one| one.get_name() != "help").collect();
    if below.is_empty() || !command.is_subcommand_required_set() {
        let shown = |arg: &&Arg| !matches!(arg.get_id().as_str(), "help" | "version");
        let (positional, options): (Vec<Arg>, Vec<Arg>) =
            command.get_arguments().filter(shown).cloned().partition(Arg::is_positional);
        found.push(Leaf { name: name.to_owned(), about: command.get_about().is_some(), options, positional });
    }
    for one in below {
        let name =
            if name.is_empty() { one.get_name().to_owned() } else { format!("{name} {}", one.get_name()) };
        leaves(one, &name, found);
    }
}

fn commands() -> Vec<Leaf> {
    let mut whole = tollhouse::cli::commands();
    // Options of a noun reach its verbs.
    whole.build();
    let mut found = Vec::new();
    leaves(&whole, "", &mut found);
    found.retain(|leaf| !leaf.name.is_empty());
    assert!(found.len() > 80, "{}", found.len());
    found
}

#[test]
fn every_command_is_led_to_its_appliance_alike_and_answers_programs() {
    for leaf in commands() {
        assert!(leaf.about, "{} says what it does", leaf.name);
        let wanted: &[&str] = match leaf.first() {
            "init" => &["config", "data-dir", "network"],
            first if ELSEWHERE.contains(&first) => &[],
            first if BY_FILES.contains(&first) => &FILES,
            _ => &APPLIANCE,
        };
        for option in wanted {
            assert!(leaf.has(option), "{} has no --{option}", leaf.name);
        }
        assert!(leaf.has("json") || ENDLESS.contains(&leaf.first()), "{} has no --json", leaf.name);
        for arg in leaf.options.iter().chain(&leaf.positional) {
            assert!(arg.get_help().is_some(), "{}: {} is explained", leaf.name, arg.get_id());
            // The setting is named as other commands name the same file.
            let names = arg.get_all_aliases().unwrap_or_default();
            let known = names.is_empty() || names == ["passphrase-file"];
            // What programs call by its name of before goes on working.
            let before =
                || leaf.name == "fetch" && names == [format!("{}s", arg.get_long().unwrap_or_default())];
            assert!(known || before(), "{}: {}", leaf.name, arg.get_id());
        }
    }
}

#[test]
fn whatever_moves_coins_or_cannot_be_undone_asks_first() {
    let mut asking = 0;
    for leaf in commands() {
        // A seed comes back where there is none.
        let grave = GRAVE.contains(&leaf.last())
            && !["services export", "seed restore"].contains(&leaf.name.as_str());
        let moves = leaf.has("key");
        assert!(leaf.has("yes") || !(grave || moves), "{} does not ask", leaf.name);
        assert!(leaf.has("dry-run") || !moves, "{} does not say beforehand what it moves", leaf.name);
        assert!(leaf.has("yes") || !leaf.has("dry-run"), "{}", leaf.name);
        asking += usize::from(leaf.has("yes"));
    }
    assert!(asking > 20, "{asking}");
}

#[test]
fn one_thing_has_one_name() {
    let mut values: BTreeMap<String, (String, String)> = BTreeMap::new();
    for leaf in &commands() {
        for arg in &leaf.options {
            let long = arg.get_long().expect("an option has a name").to_owned();
            let Some(value) = value_name(arg) else { continue };
            let of = format!("{} --{long} {value}", leaf.name);
            if OTHERS_WORDS.contains(&leaf.name.as_str()) {
                // Whatever else is others' word, satoshi are told alike.
                assert_eq!(long.contains("-sat"), value == "SATS" && long.ends_with("-sat"), "{of}");
                continue;
            }
            let plain = |byte: u8| byte.is_ascii_uppercase() || b"_=: ".contains(&byte);
            assert!(value.bytes().all(plain), "{of}");
            assert_eq!(long.ends_with("-sat"), value == "SATS", "{of}: satoshi are --…-sat");
            assert!(!["sat", "sats", "amount"].contains(&long.as_str()) && !long.ends_with("-sats"), "{of}");
            assert_eq!(long.ends_with("-msat"), value == "MSAT", "{of}");
            let before = values.entry(long).or_insert_with(|| (value.clone(), of.clone()));
            assert_eq!(before.0, value, "{of}, and {}", before.1);
        }
        for arg in &leaf.positional {
            let value = value_name(arg).unwrap_or_default();
            assert!(!value.contains("SAT") && !value.contains("AMOUNT"), "{}: a sum is an option", leaf.name);
        }
    }
    let value = |name: &str| values.get(name).map(|(value, _)| value.as_str());
    assert_eq!([value("limit"), value("before"), value("amount-sat")], [Some("N"), Some("ID"), Some("SATS")]);
}
