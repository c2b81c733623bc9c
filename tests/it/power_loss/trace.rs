//! One line of strace's output as a system call on a file.
//!
//! Threads interleave: a call may be told in two lines, its beginning `<unfinished ...>` and its end
//! `<... name resumed>`. A call counts from its first line to its last.

use std::collections::HashMap;
use std::ops::Range;

/// One finished call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// As written, without the brackets.
    pub(super) arguments: String,
    /// What it gave; negative for a failure.
    pub(super) result: i64,
    /// Whether strace kept it from happening.
    pub(super) injected: bool,
    /// The numbers of its first line and its last.
    pub(super) lines: (usize, usize),
}

/// Reads the lines one after the other.
#[derive(Debug, Default)]
pub(super) struct Reader {
    lines: usize,
    /// By thread: the first line's number and its text.
    open: HashMap<String, (usize, String)>,
}

impl Reader {
    /// The call that this line ends, if it ends one.
    pub(super) fn line(&mut self, line: &str) -> Option<Call> {
        self.lines += 1;
        let (thread, rest) = line.split_once(' ').expect("a line begins with its thread");
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            return None;
        }
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            self.open.insert(thread.to_owned(), (self.lines, begun.to_owned()));
            return None;
        }
        let (first, whole) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let (_, end) = resumed.split_once(" resumed>").expect("the end of a call");
                let (first, begun) = self.open.remove(thread).expect("a call that ends has begun");
                (first, begun + end)
            }
            None => (self.lines, rest.to_owned()),
        };
        Some(call(&whole, (first, self.lines)))
    }
}

fn call(text: &str, lines: (usize, usize)) -> Call {
    let (name, rest) = text.split_once('(').unwrap_or_else(|| panic!("not a call: {text}"));
    let (arguments, outcome) = rest.rsplit_once(" = ").unwrap_or_else(|| panic!("no outcome: {text}"));
    let arguments = arguments.trim_end().strip_suffix(')').unwrap_or_else(|| panic!("no end: {text}"));
    let number = outcome.split([' ', '<']).next().unwrap_or_default();
    // A call that a kill interrupted has no outcome: it may have happened.
    let result = number.parse().unwrap_or(-1);
    let injected = outcome.contains("(INJECTED)");
    Call { name: name.to_owned(), arguments: arguments.to_owned(), result, injected, lines }
}

/// The path of the descriptor that the arguments begin with (`7</tmp/x>, …`), and what follows it.
pub(super) fn descriptor(arguments: &str) -> Option<(&str, &str)> {
    let (number, rest) = arguments.split_once('<')?;
    number.parse::<u32>().ok()?;
    let (path, rest) = rest.split_once('>')?;
    Some((path, rest.strip_prefix(", ").unwrap_or(rest)))
}

/// The quoted bytes that the text begins with, and what follows them.
pub(super) fn quoted(text: &str) -> (Vec<u8>, &str) {
    let whole = text.as_bytes();
    assert_eq!(whole.first(), Some(&b'"'), "not quoted: {text}");
    let (mut bytes, mut at) = (Vec::with_capacity(text.len() / 2), 1);
    loop {
        match whole[at] {
            b'"' => break,
            b'\\' => at = escaped(whole, at + 1, &mut bytes),
            plain => {
                bytes.push(plain);
                at += 1;
            }
        }
    }
    let rest = &text[at + 1..];
    assert!(!rest.starts_with("..."), "strace left some bytes out: {text}");
    (bytes, rest.strip_prefix(", ").unwrap_or(rest))
}

/// Reads one escape behind its backslash; gives where it ends.
fn escaped(whole: &[u8], at: usize, bytes: &mut Vec<u8>) -> usize {
    let simple = match whole[at] {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'0'..=b'7' => {
            let digits: Range<usize> =
                at..at + whole[at..].iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            let value =
                whole[digits.clone()].iter().fold(0u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
            bytes.push(u8::try_from(value).expect("three octal digits of strace's are a byte"));
            return digits.end;
        }
        same => same,
    };
    bytes.push(simple);
    at + 1
}

#[test]
fn lines_are_read_as_strace_writes_them() {
    let mut reader = Reader::default();
    let lines = [
        r#"11  pwrite64(9</d/ledger.db>, "a\0\1\00012\n\\\"\377", 9, 4096 <unfinished ...>"#,
        r#"12  fsync(8</d/ledger.db-wal>)         = 0"#,
        r#"11  <... pwrite64 resumed>)             = 9"#,
        r#"12  fdatasync(8</d/x>)         = 0 (INJECTED)"#,
        r#"12  openat(AT_FDCWD</d>, "/d/x", O_RDWR|O_CREAT) = -1 ENOENT (No such file or directory)"#,
        r#"12  openat(AT_FDCWD</d>, "/d/x", O_RDWR|O_CREAT, 0600) = 11</d/x>"#,
        r#"12  +++ exited with 0 +++"#,
    ];
    let calls: Vec<Call> = lines.iter().filter_map(|line| reader.line(line)).collect();
    let told: Vec<_> = calls.iter().map(|call| (call.name.as_str(), call.result, call.lines)).collect();
    assert_eq!(
        told,
        [
            ("fsync", 0, (2, 2)),
            ("pwrite64", 9, (1, 3)),
            ("fdatasync", 0, (4, 4)),
            ("openat", -1, (5, 5)),
            ("openat", 11, (6, 6)),
        ]
    );
    assert!(calls[2].injected && !calls[0].injected);
    let (path, rest) = descriptor(&calls[1].arguments).expect("a descriptor");
    assert_eq!((path, quoted(rest)), ("/d/ledger.db", (b"a\0\x01\x0012\n\\\"\xff".to_vec(), "9, 4096")));
}
