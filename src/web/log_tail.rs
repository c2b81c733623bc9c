//! The end of the log, kept in memory for the operator's page: what was written last, bounded in lines and bytes.
//!
//! It is fed by the same filter as the log on stderr and holds nothing that is not written there. It is lost
//! when the process ends: the log itself is whoever keeps stderr.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that are kept.
const MOST_LINES: usize = 2_000;
/// What is kept of one line, in bytes: with [`MOST_LINES`] at most 4 MiB.
const LONGEST_LINE: usize = 2_048;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LogLine {
    /// Rises with every line of this run.
    pub number: u64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// The line as it was written, with its moment.
    pub text: String,
}

/// The tail; a clone is another handle on the same one.
#[derive(Clone, Debug, Default)]
pub struct LogTail(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<LogLine>,
    last: u64,
}

impl LogTail {
    /// The newest lines at least as grave as `level` and after number `after`, the oldest first, at most `most`.
    pub fn lines(&self, level: Level, after: u64, most: usize) -> Vec<LogLine> {
        let kept = self.kept();
        let wanted = |line: &&LogLine| line.number > after && grave(line.level) <= level;
        let mut lines: Vec<LogLine> = kept.lines.iter().rev().filter(wanted).take(most).cloned().collect();
        lines.reverse();
        lines
    }

    /// How many lines this run has written; those that are not kept any more too.
    pub fn written(&self) -> u64 {
        self.kept().last
    }

    fn push(&self, level: Level, text: &str) {
        let text = text.trim_end();
        if text.is_empty() {
            return;
        }
        let end = (0..=LONGEST_LINE.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let mut line: String = text[..end].chars().map(|c| if c == '\n' { c } else { shown(c) }).collect();
        if end < text.len() {
            line.push('…');
        }
        let mut kept = self.kept();
        kept.last += 1;
        let number = kept.last;
        if kept.lines.len() == MOST_LINES {
            kept.lines.pop_front();
        }
        kept.lines.push_back(LogLine { number, level: word(level), text: line });
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a terminal would obey is shown, not done.
fn shown(c: char) -> char {
    if c.is_control() && c != '\t' { '�' } else { c }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The level that `word` means; what is unknown is the least grave.
fn grave(word: &str) -> Level {
    word.parse().unwrap_or(Level::TRACE)
}

/// Takes the lines of one event.
#[derive(Debug)]
pub struct LineWriter {
    tail: LogTail,
    level: Level,
}

impl io::Write for LineWriter {
    /// The formatter writes a whole line at once.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tail.push(self.level, &String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogTail {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter { tail: self.clone(), level: Level::INFO }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> LineWriter {
        LineWriter { tail: self.clone(), level: *about.level() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_found_by_how_grave_they_are() {
        let tail = LogTail::default();
        let log = tracing_subscriber::fmt().with_ansi(false).with_max_level(Level::TRACE);
        let subscriber = log.with_writer(tail.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(peer = "<img src=x>", "hello");
            tracing::error!("it \u{1b}[31mbroke");
            tracing::debug!("{}", "é".repeat(4_000));
        });
        let texts = |level| tail.lines(level, 0, 9).into_iter().map(|line| line.text).collect::<Vec<_>>();
        let all = texts(Level::TRACE);
        assert_eq!(all.len(), 3);
        assert!(all[0].contains("INFO") && all[0].contains("hello") && all[0].contains("<img src=x>"));
        assert!(all[2].ends_with('…') && all[2].len() <= LONGEST_LINE + 3, "{}", all[2].len());
        assert_eq!(texts(Level::WARN).len(), 1);
        assert!(!all[1].contains('\u{1b}'), "{}", all[1]);
        assert_eq!(tail.lines(Level::TRACE, 1, 9)[0].number, 2);
        for _ in 0..MOST_LINES {
            tail.push(Level::INFO, "more\n");
        }
        assert_eq!((tail.lines(Level::TRACE, 0, usize::MAX).len(), tail.written()), (MOST_LINES, 2_003));
        assert_eq!(tail.lines(Level::TRACE, 0, 2).last().map(|line| line.number), Some(2_003));
    }
}
