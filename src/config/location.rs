//! Where things are when nobody says: the data directory, the configuration file, the client's state.

use std::path::{Path, PathBuf};

use super::document::Section;
use super::layer::{Environment, Flags, Layers};
use super::problem::{Problem, Problems, Source};
use super::value;

/// Where an appliance keeps its things when nobody says: `$XDG_DATA_HOME/tollhouse`, or
/// `~/.local/share/tollhouse`.
pub(super) fn data_dir(env: &Environment) -> Option<PathBuf> {
    below(env, "XDG_DATA_HOME", ".local/share")
}

/// Where the paying client keeps what it must not forget: `$TOLLHOUSE_STATE_DIR`,
/// `$XDG_STATE_HOME/tollhouse`, or `~/.local/state/tollhouse`.
pub fn state_dir(env: &Environment) -> Option<PathBuf> {
    match env.get("TOLLHOUSE_STATE_DIR") {
        Some(dir) => Some(PathBuf::from(dir)),
        None => below(env, "XDG_STATE_HOME", ".local/state"),
    }
}

fn below(env: &Environment, variable: &str, in_home: &str) -> Option<PathBuf> {
    // The XDG rules: a path that is not absolute is to be ignored.
    let given = env.get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = given.or_else(|| env.get("HOME").map(|home| Path::new(home).join(in_home)))?;
    Some(base.join("tollhouse"))
}

/// The file that a setting names, and where it is said. What the configuration file says is beside that file.
pub(super) fn said(
    layers: &mut Layers<'_>,
    section: &mut Section<'_, '_>,
    key: &'static str,
    base: &Path,
) -> Option<(PathBuf, Source)> {
    let (text, source) = layers.one(section, key, value::filled)?;
    let base = if matches!(source, Source::File(_)) { base } else { Path::new("") };
    Some((expand(&text, base, layers.env), source))
}

/// The configuration file, and whether somebody asked for this very one.
///
/// # Errors
/// When nothing says where it is and there is no home directory.
pub fn config_file(flags: &Flags, env: &Environment) -> Result<(PathBuf, bool), Problems> {
    if let Some(path) = &flags.config {
        return Ok((path.clone(), true));
    }
    if let Some(path) = env.get("TOLLHOUSE_CONFIG") {
        return Ok((PathBuf::from(path), true));
    }
    let said = flags.data_dir.as_deref().or_else(|| env.get("TOLLHOUSE_DATA_DIR"));
    let dir = said.map(|dir| expand(dir, Path::new(""), env)).or_else(|| data_dir(env));
    dir.map(|dir| (dir.join("tollhouse.toml"), false)).ok_or_else(|| {
        Problems(vec![Problem {
            file: None,
            source: Source::Default,
            setting: String::new(),
            what: "there is no home directory to look for the configuration file in".to_owned(),
            help: "Use --config FILE, or set HOME.".to_owned(),
        }])
    })
}

/// A path as a person writes it: `~/` is the home directory, and what is relative starts at `base`.
pub(crate) fn expand(text: &str, base: &Path, env: &Environment) -> PathBuf {
    match (text.strip_prefix("~/"), env.get("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => base.join(text),
    }
}
