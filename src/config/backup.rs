//! Reads `[backup]`: when copies of the ledger are made, and where they go.

use std::path::Path;
use std::time::Duration;

use super::document::Section;
use super::layer::Layers;
use super::problem::Bad;
use super::{location, or_default};
use crate::backup::BackupConfig;

const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(30 * 86_400);
const MOST: usize = 10_000;

pub(crate) fn read(layers: &mut Layers<'_>, top: &mut Section<'_, '_>, base: &Path) -> BackupConfig {
    let usual = BackupConfig::default();
    let mut section = top.section("backup");
    let dir = location::said(layers, &mut section, "dir", base).map(|(path, source)| {
        layers.show("backup.dir", path.display().to_string(), source);
        path
    });
    let (every, source) = or_default(layers.one(&mut section, "every", span), || usual.every);
    let shown = humantime::format_duration(every).to_string();
    if dir.is_some() {
        layers.show("backup.every", shown, source);
    }
    let (keep, source) = or_default(layers.one(&mut section, "keep", count), || usual.keep);
    if dir.is_some() {
        layers.show("backup.keep", keep.to_string(), source);
    }
    layers.problems.extend(section.finish());
    BackupConfig { dir, every, keep }
}

fn span(text: &str) -> Result<Duration, Bad> {
    let help = "Write a time between 1m and 30d, such as \"6h\" or \"1d\".";
    match humantime::parse_duration(text) {
        Ok(span) if (SHORTEST..=LONGEST).contains(&span) => Ok(span),
        Ok(_) => Err(Bad::new(format!("\"{text}\" is out of bounds"), help)),
        Err(_) => Err(Bad::new(format!("\"{text}\" is not a time"), help)),
    }
}

fn count(text: &str) -> Result<usize, Bad> {
    match text.parse() {
        Ok(count @ 1..=MOST) => Ok(count),
        _ => {
            Err(Bad::new(format!("{text} is not a number of backups"), "Use a whole number from 1 to 10000."))
        }
    }
}
