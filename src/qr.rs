//! A text as a QR code, drawn as one path of an SVG.

use std::fmt::Write;

use qrcode::types::Color;
use qrcode::{EcLevel, QrCode};

/// A code: its side in modules, and the dark ones as SVG path data, one unit each.
#[derive(Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Modules on a side, with the quiet zone.
    pub side: usize,
    /// The dark modules: the `d` of an SVG path.
    pub path: String,
}

/// The quiet zone that a camera needs around a code (ISO/IEC 18004), in modules.
const QUIET: usize = 4;

/// Draws a link that a wallet opens, such as an invoice or an address; `None` when it is longer than the
/// largest code.
///
/// In capitals: they take 5.5 bits each where small letters take 8. For texts that are the same in both, as
/// BOLT 11 and bech32 are.
pub fn in_capitals(scheme: &str, text: &str) -> Option<Drawn> {
    drawn(&format!("{scheme}:{text}").to_ascii_uppercase())
}

/// Draws `text` as it stands; `None` when it is longer than the largest code.
pub fn drawn(text: &str) -> Option<Drawn> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L).ok()?;
    let side = code.width();
    let mut path = String::new();
    for (y, row) in code.to_colors().chunks(side).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run.first() == Some(&Color::Dark) {
                let (left, top, wide) = (x + QUIET, y + QUIET, run.len());
                write!(path, "M{left} {top}h{wide}v1h-{wide}z").expect("a string takes all");
            }
            x += run.len();
        }
    }
    Some(Drawn { side: side + 2 * QUIET, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_finders_and_its_quiet_zone() {
        let drawn = in_capitals("lightning", &format!("lnbcrt{}", "q".repeat(300))).unwrap();
        assert_eq!((drawn.side - 2 * QUIET - 17) % 4, 0, "a size that codes have");
        assert!(drawn.path.starts_with("M4 4h7v1h-7z"), "the corner's bar is seven wide: {}", drawn.path);
        assert!(drawn.side < 80 && drawn.path.len() < 40_000);
        assert_eq!(super::drawn(&"q".repeat(5_000)), None);
        let small = super::drawn(&format!("lightning:lnbcrt{}", "q".repeat(300))).unwrap();
        assert!(small.side > drawn.side, "capitals take less room");
    }
}
