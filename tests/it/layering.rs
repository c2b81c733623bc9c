//! The house's plan, enforced: ranks, no cycles, no peers, no unmapped module, and the rooms that
//! alone may touch SQL, LDK and BDK.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each module's rank (ARCHITECTURE.md); a module imports only from ranks below its own.
const RANKS: &[(u8, &[&str])] = &[
    (0, &["types", "clock", "moment", "qr"]),
    (1, &["l402", "payment_auth", "pricing", "ledger", "event", "request", "ports", "tally"]),
    (2, &["catalog", "chain", "store", "egress", "secrets", "throttle"]),
    (3, &["backup", "node", "vault", "rates", "storefront"]),
    (4, &["gate", "payments", "rescue", "treasury", "webhooks"]),
    (5, &["inbound", "metering", "upkeep", "watchman"]),
    (6, &["checkout", "custody"]),
    (7, &["proxy", "web", "agent"]),
    (8, &["api", "ui", "forward_auth", "wallet_face"]),
    (9, &["config"]),
    (10, &["app"]),
    (11, &["sandbox"]),
    (12, &["cli"]),
    (13, &["main"]),
];

/// The one step inside a rank: the clock tells the time in `types::Timestamp`.
const STEP_INSIDE: (&str, &str) = ("clock", "types");

fn rank_of(module: &str) -> Option<u8> {
    RANKS.iter().find(|(_, names)| names.contains(&module)).map(|(rank, _)| *rank)
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("the source folder can be read");
    for entry in entries {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The top-level module that a file belongs to.
fn module_of(file: &Path) -> String {
    let relative = file.strip_prefix(source()).expect("the file lies under src");
    let first = relative.components().next().expect("a path has a first component");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The code without comments.
fn code_of(file: &Path) -> String {
    let text = std::fs::read_to_string(file).expect("a source file can be read");
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every `crate::x` and `tollhouse::x`, grouped imports included.
fn paths_from(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in ["crate::", "tollhouse::"] {
        for (at, _) in code.match_indices(root) {
            let rest = &code[at + root.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                found.extend(heads_of_group(group));
            } else {
                found.insert(head(rest));
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn head(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn heads_of_group(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut heads = vec![head(group)];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => heads.push(head(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    rust_files(&source(), &mut found);
    assert!(found.len() > 10, "the walk found the sources");
    found
}

#[test]
fn a_module_imports_only_from_ranks_below_its_own() {
    let mut breaches = Vec::new();
    for file in files() {
        let module = module_of(&file);
        if module == "lib" {
            continue;
        }
        let Some(rank) = rank_of(&module) else {
            breaches.push(format!("{} belongs to no ranked module", file.display()));
            continue;
        };
        for target in paths_from(&code_of(&file)) {
            if target == module || (module.as_str(), target.as_str()) == STEP_INSIDE {
                continue;
            }
            match rank_of(&target) {
                Some(below) if below < rank => {}
                Some(above) => {
                    breaches.push(format!("{module} (rank {rank}) imports {target} (rank {above})"))
                }
                None if module == "main" => {}
                None => breaches.push(format!("{module} imports `{target}`, which has no rank")),
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn a_file_imports_no_file_that_imports_it() {
    // Inside a module, the children may use the parent's types, but siblings form no cycle.
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files() {
        let relative = file.strip_prefix(source()).expect("under src").with_extension("");
        let name = relative.to_string_lossy().replace(['/', '\\'], "::");
        let Some((parent, _)) = name.rsplit_once("::") else { continue };
        let code = code_of(&file);
        let siblings = code.match_indices("super::").map(|(at, root)| head(&code[at + root.len()..]));
        let named = siblings.map(|sibling| format!("{parent}::{sibling}"));
        uses.insert(name.clone(), named.filter(|sibling| *sibling != name).collect());
    }
    let mut cycles = Vec::new();
    for start in uses.keys() {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = uses[start].iter().collect();
        while let Some(name) = next.pop() {
            if name == start {
                cycles.push(start.clone());
                break;
            }
            if seen.insert(name)
                && let Some(more) = uses.get(name)
            {
                next.extend(more);
            }
        }
    }
    assert!(cycles.is_empty(), "import cycles through: {cycles:?}");
}

#[test]
fn sql_ldk_and_bdk_stay_in_their_rooms() {
    let rooms: [(&str, &[&str]); 3] =
        [("rusqlite", &["store"]), ("ldk_node", &["node"]), ("bdk_wallet", &["vault"])];
    let mut breaches = Vec::new();
    for file in files() {
        let (module, code) = (module_of(&file), code_of(&file));
        for (library, allowed) in rooms {
            if code.contains(&format!("{library}::")) && !allowed.contains(&module.as_str()) {
                breaches.push(format!("{} speaks to {library}", file.display()));
            }
        }
        if rank_of(&module).is_some_and(|rank| rank < 7) && code.contains("axum::") {
            breaches.push(format!("{} knows axum below rank 7", file.display()));
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn every_module_is_on_the_code_map() {
    let map = std::fs::read_to_string(source().join("lib.rs")).expect("src/lib.rs can be read");
    for line in map.lines() {
        let Some(name) = line.strip_prefix("pub mod ").map(|rest| rest.trim_end_matches(';')) else {
            continue;
        };
        let rank = rank_of(name).unwrap_or_else(|| panic!("`{name}` has no rank"));
        let row = format!("//! | {rank} | [`{name}`] |");
        assert!(map.contains(&row), "the code map lacks the row: {row}");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("a source file can be read");
        assert!(text.starts_with("//!"), "{} does not start with //!", file.display());
    }
}

#[test]
fn the_reader_of_imports_sees_what_it_should() {
    let code = "use crate::{a, b::{c, d}, e};\nlet x = crate::f::g();\nuse crate::h;";
    let seen: Vec<String> = paths_from(code).into_iter().collect();
    assert_eq!(seen, ["a", "b", "e", "f", "h"]);
}
