//! What a command prints. Sellers, payees and servers of others have a say in some of it, and a terminal obeys what
//! it is sent: it loses its control characters here, where all text goes through.

use std::fmt::{self, Display};
use std::io;

/// Writes `text` and the line's end.
///
/// # Errors
/// When `out` cannot be written.
pub(super) fn line(out: impl io::Write, text: impl Display) -> io::Result<()> {
    let mut plain = Plain { out, fault: None };
    match fmt::Write::write_fmt(&mut plain, format_args!("{text}\n")) {
        Ok(()) => Ok(()),
        Err(error) => Err(plain.fault.unwrap_or_else(|| io::Error::other(error))),
    }
}

/// Passes on what shows, keeping no copy: some of it is secret.
struct Plain<W> {
    out: W,
    fault: Option<io::Error>,
}

impl<W: io::Write> fmt::Write for Plain<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split(steers) {
            self.out.write_all(piece.as_bytes()).map_err(|error| {
                self.fault = Some(error);
                fmt::Error
            })?;
        }
        Ok(())
    }
}

fn steers(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_steers_the_terminal_and_a_fault_is_told() {
        let mut out = Vec::new();
        line(&mut out, "a\u{1b}]52;c;x\u{7}\u{9b}2J\r\tb\nä").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a]52;c;x2J\tb\nä\n");
        let full = line(&mut [0; 1][..], "ab").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WriteZero);
    }
}
