//! The real binary, `tollhouse demo --data-dir`, as a process that can be killed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tollhouse::sandbox::place::DemoPlace;

/// A world that is set up anew, with a channel to replace, is ready well before.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the node says when it gives up on its channel state.
const UNREADABLE: &str = "the stored channel state could not be read in";

pub(super) struct Demo {
    pub(super) place: DemoPlace,
    process: Mutex<Child>,
    pub(super) http: reqwest::Client,
}

impl Demo {
    /// Starts the world in `dir` and waits until it sells; `None` when a node cannot read its channel
    /// state any more. Any other way to fail is a fault.
    pub(super) async fn start(dir: &Path) -> Option<Demo> {
        let (told, file) = (dir.join("stderr.log"), dir.join("demo.json"));
        let mut process = Command::new(env!("CARGO_BIN_EXE_tollhouse"))
            .args(["demo", "--log", "warn", "--data-dir"])
            .arg(dir)
            .env("TOLLHOUSE_DEMO_FILE", &file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&told).expect("a file"))
            .spawn()
            .expect("the demo starts");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let (up, is_up) = oneshot::channel();
        std::thread::spawn(move || {
            let mut up = Some(up);
            for line in output.lines().map_while(Result::ok) {
                if let Some(up) = up.take_if(|_| line.contains("Ctrl-C ends it")) {
                    let _ = up.send(());
                }
            }
        });
        let process = Mutex::new(process);
        if !matches!(tokio::time::timeout(PATIENCE, is_up).await, Ok(Ok(()))) {
            let mut process = process.lock().expect("no test panics here");
            let _ = process.kill();
            process.wait().expect("it ends");
            if last_words(&told).contains(UNREADABLE) {
                return None;
            }
            panic!("the demo did not become ready:\n{}", last_words(&told));
        }
        let place = DemoPlace::read(&file).expect("the demo file");
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build();
        Some(Demo { place, process, http: http.expect("a client") })
    }

    /// What the admin API says.
    pub(super) async fn status(&self) -> Value {
        let asked =
            self.http.get(format!("{}/api/v1/status", self.place.admin)).bearer_auth(&self.place.admin_key);
        asked.send().await.expect("the admin API answers").json().await.expect("JSON")
    }

    /// kill -9.
    pub(super) fn kill(&self) {
        let mut process = self.process.lock().expect("no test panics here");
        process.kill().expect("it was running");
        let status = process.wait().expect("it ends");
        assert!(status.code().is_none(), "the demo ended by itself: {status}");
    }

    /// SIGTERM, and an orderly end.
    pub(super) fn end(&self) {
        let mut process = self.process.lock().expect("no test panics here");
        let told = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
        assert!(told.expect("`kill` runs").success());
        let status = process.wait().expect("it ends");
        assert!(status.success(), "the demo ended badly: {status}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Ok(process) = self.process.get_mut() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn last_words(file: &PathBuf) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
