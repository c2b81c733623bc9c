//! An invoice as a QR code, drawn as one path of an SVG.

use std::fmt::Write;

use qrcode::types::Color;
use qrcode::{EcLevel, QrCode};

/// A code: its side in modules, and the dark ones as SVG path data, one unit each.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) side: usize,
    pub(super) path: String,
}

/// The quiet zone that a camera needs around a code (ISO/IEC 18004), in modules.
pub(super) const QUIET: usize = 4;

/// Draws `bolt11` as wallets read it; `None` when it is longer than the largest code.
///
/// Capitals: they take 5.5 bits each where small letters take 8, and BOLT 11 is the same in both.
pub(super) fn drawn(bolt11: &str) -> Option<Drawn> {
    let text = format!("LIGHTNING:{}", bolt11.to_ascii_uppercase());
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
        let drawn = drawn(&format!("lnbcrt{}", "q".repeat(300))).unwrap();
        assert_eq!((drawn.side - 2 * QUIET - 17) % 4, 0, "a size that codes have");
        assert!(drawn.path.starts_with("M4 4h7v1h-7z"), "the corner's bar is seven wide: {}", drawn.path);
        assert!(drawn.side < 80 && drawn.path.len() < 40_000);
        assert_eq!(super::drawn(&"q".repeat(5_000)), None);
    }
}
