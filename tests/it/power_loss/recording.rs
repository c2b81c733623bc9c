//! What a process did to the files of one folder, recorded with strace and read back.
//!
//! strace because it sees every call without a line of ours in the way; where it may not trace, that is
//! a failure that says so.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::trace::{Call, Reader, descriptor, quoted};

/// The calls that change a file or make a change last. All that could: one that the recording does not
/// understand is a failure.
const CALLS: &str = "trace=open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range,\
    ftruncate,truncate,fallocate,unlink,unlinkat,rename,renameat,renameat2,link,linkat,sendfile,copy_file_range";

/// The shared index of the write-ahead log: made anew at every start, so that a power cut may do to it
/// what it likes.
const INDEX: &str = "-shm";

/// Where the recorded process says what it acknowledges.
pub(super) const SAID: &str = "said";

/// A file, told apart from another that had its name before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId(usize);

/// What one call did.
#[derive(Debug)]
pub(super) enum Deed {
    Wrote { file: FileId, at: u64, bytes: Vec<u8> },
    Cut { file: FileId, length: u64 },
    Synced { file: FileId },
    Made { file: FileId, name: String },
    Removed { name: String },
    FolderSynced,
    Said(String),
}

/// A deed, and the lines of the recording between which it happened.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) deed: Deed,
    pub(super) begun: usize,
    pub(super) done: usize,
}

/// Everything, in the order in which the calls ended.
#[derive(Debug, Default)]
pub(super) struct Recording {
    pub(super) steps: Vec<Step>,
    /// How many lines there are: a cut is before one of them.
    pub(super) lines: usize,
}

impl Recording {
    /// Runs `command` to its end and records what it does to the files in `folder`.
    pub(super) fn of(command: &Command, folder: &Path) -> Recording {
        let told = folder.parent().expect("a folder").join("strace.txt");
        let traced = Command::new("strace")
            .args([
                "-f",
                "-y",
                "--seccomp-bpf",
                "-qq",
                "-s",
                "1000000",
                "-e",
                CALLS,
                "-e",
                "signal=none",
                "-o",
            ])
            .arg(&told)
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args())
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("strace does not start ({error}): scripts/test installs it"));
        let words = String::from_utf8_lossy(&traced.stderr);
        assert!(
            traced.status.success(),
            "the recorded process ended with {}. If strace may not trace here, allow it (in a container: \
             --cap-add SYS_PTRACE, or a seccomp profile with ptrace). It said:\n{words}",
            traced.status
        );
        let mut reading = Reading { folder, ..Reading::new(folder) };
        for line in BufReader::new(File::open(&told).expect("strace wrote it")).lines() {
            // Bytes beyond ASCII are escaped.
            reading.line(&line.expect("strace writes text"));
        }
        reading.recording
    }

    /// What was acknowledged before line `cut`.
    pub(super) fn said(&self, cut: usize) -> impl Iterator<Item = &str> + Clone {
        self.steps.iter().filter(move |step| step.begun < cut).filter_map(|step| match &step.deed {
            Deed::Said(line) => Some(line.as_str()),
            _ => None,
        })
    }
}

struct Reading<'a> {
    folder: &'a Path,
    reader: Reader,
    recording: Recording,
    /// The files that have a name now.
    named: BTreeMap<String, FileId>,
    /// Where the next plain write to it goes; nothing here seeks.
    ends: HashMap<FileId, u64>,
    files: usize,
}

impl<'a> Reading<'a> {
    fn new(folder: &'a Path) -> Reading<'a> {
        let (reader, recording) = (Reader::default(), Recording::default());
        Reading { folder, reader, recording, named: BTreeMap::new(), ends: HashMap::new(), files: 0 }
    }

    fn line(&mut self, line: &str) {
        self.recording.lines += 1;
        let Some(call) = self.reader.line(line) else { return };
        if call.result < 0 && !call.name.contains("sync") {
            return;
        }
        let deed = match call.name.as_str() {
            "open" | "openat" | "creat" => self.opened(&call),
            "unlink" | "unlinkat" => self.removed(&call),
            _ => self.on_descriptor(&call),
        };
        if let Some(deed) = deed {
            let (begun, done) = call.lines;
            self.recording.steps.push(Step { deed, begun, done });
        }
    }

    /// The name of a file in the folder, its index not counted.
    fn name<'p>(&self, path: &'p str) -> Option<&'p str> {
        let name = Path::new(path).strip_prefix(self.folder).ok()?.to_str()?;
        (!name.is_empty() && !name.ends_with(INDEX)).then_some(name)
    }

    fn opened(&mut self, call: &Call) -> Option<Deed> {
        let path = path_in(&call.arguments);
        let name = self.name(&path)?.to_owned();
        if self.named.contains_key(&name) {
            assert!(!call.arguments.contains("O_TRUNC"), "a file is emptied by its opening: {call:?}");
            return None;
        }
        assert!(call.arguments.contains("O_CREAT"), "a file that nobody made: {call:?}");
        let file = FileId(self.files);
        self.files += 1;
        self.named.insert(name.clone(), file);
        Some(Deed::Made { file, name })
    }

    fn removed(&mut self, call: &Call) -> Option<Deed> {
        let path = path_in(&call.arguments);
        let name = self.name(&path)?.to_owned();
        self.named.remove(&name).expect("it was there");
        Some(Deed::Removed { name })
    }

    fn on_descriptor(&mut self, call: &Call) -> Option<Deed> {
        let (path, rest) = descriptor(&call.arguments)?;
        if Path::new(path) == self.folder {
            assert_eq!(call.name, "fsync", "a call that the recording does not know: {call:?}");
            return Some(Deed::FolderSynced);
        }
        let name = self.name(path)?;
        // A file without a name is gone with the power.
        let file = *self.named.get(name)?;
        match call.name.as_str() {
            "fsync" | "fdatasync" if call.result == 0 && !call.injected => Some(Deed::Synced { file }),
            "fsync" | "fdatasync" => None,
            "ftruncate" => Some(Deed::Cut { file, length: number(rest) }),
            "write" if name == SAID => {
                let (bytes, _) = quoted(rest);
                Some(Deed::Said(String::from_utf8(bytes).expect("it speaks text")))
            }
            "pwrite64" => {
                let (mut bytes, rest) = quoted(rest);
                let (_, at) = rest.split_once(", ").expect("a length and a place");
                bytes.truncate(usize::try_from(call.result).expect("a length"));
                Some(Deed::Wrote { file, at: number(at), bytes })
            }
            "write" => {
                let (mut bytes, _) = quoted(rest);
                bytes.truncate(usize::try_from(call.result).expect("a length"));
                let end = self.ends.entry(file).or_default();
                let at = *end;
                *end += u64::try_from(bytes.len()).expect("it fits");
                Some(Deed::Wrote { file, at, bytes })
            }
            _ => panic!("a call that the recording does not know: {call:?}"),
        }
    }
}

/// The path among the arguments of an opening or a removal.
fn path_in(arguments: &str) -> String {
    let at = arguments.find('"').expect("a path");
    String::from_utf8(quoted(&arguments[at..]).0).expect("the test's paths are text")
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}
