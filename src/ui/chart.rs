//! A series as bars, drawn on the server: an SVG that needs no script, and says its numbers to whoever
//! cannot see it.

use super::figures::{permille, sats_exact};

/// Height of the drawing in its own units; a bar of nothing has none.
const HEIGHT: u64 = 160;
/// Width that one step takes, and the part of it that its bar takes.
const STEP: u64 = 12;
const BAR: u64 = 8;

/// One step of a series.
pub(super) struct Step {
    /// What it is called: a day, an hour.
    pub(super) name: String,
    /// What was earned in it, millisatoshi.
    pub(super) msat: u64,
}

/// One bar.
pub(super) struct Bar {
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) height: u64,
    /// What it says when one rests on it.
    pub(super) says: String,
}

/// A drawn series.
pub(super) struct Chart {
    pub(super) width: u64,
    pub(super) height: u64,
    pub(super) bar: u64,
    pub(super) bars: Vec<Bar>,
    /// The highest bar's value, or nothing when there is none.
    pub(super) top: String,
    pub(super) first: String,
    pub(super) last: String,
    /// The whole in one sentence.
    pub(super) says: String,
}

impl Chart {
    /// Draws `steps`, oldest first, every step of the range among them.
    pub(super) fn draw(steps: &[Step]) -> Chart {
        let most = steps.iter().map(|step| step.msat).max().unwrap_or(0);
        let bars = (0..).zip(steps).filter(|(_, step)| step.msat > 0).map(|(place, step): (u64, &Step)| {
            // What earned anything is seen, however little it was.
            let height = (permille(step.msat, most) * HEIGHT / 1_000).max(2);
            let says = format!("{}: {} sat", step.name, sats_exact(step.msat));
            Bar { x: place * STEP + (STEP - BAR) / 2, y: HEIGHT - height, height, says }
        });
        let best = steps.iter().max_by_key(|step| step.msat).filter(|step| step.msat > 0);
        let name = |step: Option<&Step>| step.map_or_else(String::new, |step| step.name.clone());
        Chart {
            width: u64::try_from(steps.len()).unwrap_or(1).max(1) * STEP,
            height: HEIGHT,
            bar: BAR,
            bars: bars.collect(),
            top: best.map_or_else(String::new, |step| sats_exact(step.msat)),
            first: name(steps.first()),
            last: name(steps.last()),
            says: best.map_or_else(
                || "Nothing was earned in this time.".to_owned(),
                |step| format!("The most was {} sat, {}.", sats_exact(step.msat), step.name),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, msat: u64) -> Step {
        Step { name: name.to_owned(), msat }
    }

    #[test]
    fn what_earned_is_seen_and_what_did_not_is_not() {
        let chart = Chart::draw(&[step("1 May", 1), step("2 May", 0), step("3 May", 1_000_000)]);
        let bars: Vec<_> = chart.bars.iter().map(|bar| (bar.x, bar.y, bar.height)).collect();
        assert_eq!(bars, [(2, HEIGHT - 2, 2), (26, 0, HEIGHT)]);
        assert_eq!(
            (chart.width, chart.top.as_str(), chart.bars[1].says.as_str()),
            (36, "1,000", "3 May: 1,000 sat")
        );
        assert_eq!(chart.says, "The most was 1,000 sat, 3 May.");
        let none = Chart::draw(&[step("1 May", 0)]);
        assert!(none.bars.is_empty() && none.says.contains("Nothing"));
        assert_eq!(Chart::draw(&[]).width, STEP);
    }
}
