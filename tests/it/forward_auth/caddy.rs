//! A real Caddy for one test: its own folder and port, killed when dropped.
//!
//! There is no skipping: without one a test that asks for it fails and says what to run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::bitcoind::free_port;

/// How long a Caddy may take to listen.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

pub(crate) struct Caddy {
    process: Child,
    folder: TempDir,
    pub(crate) address: SocketAddr,
}

impl Caddy {
    /// Starts one with `site` in front of what `site` says. `{key}` in it is read from the environment,
    /// as the README shows.
    pub(crate) async fn start(site: &str, key: &str) -> Caddy {
        let program = program();
        let folder = TempDir::new().expect("a temporary folder");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let text = format!(
            "{{\n\tadmin off\n\tauto_https off\n}}\nhttp://:{} {{\n\tbind 127.0.0.1\n{site}\n}}\n",
            address.port()
        );
        std::fs::write(folder.path().join("Caddyfile"), text).expect("written");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let process = Command::new(&program)
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(folder.path().join("Caddyfile"))
            .env_clear()
            .env("HOME", folder.path())
            .env("XDG_DATA_HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .env("TOLLHOUSE_KEY", key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not run: {error}", program.display()));
        let mut caddy = Caddy { process, folder, address };
        let listens = async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                if caddy.process.try_wait().expect("it can be asked").is_some() {
                    panic!("Caddy ended: {}", caddy.log());
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let listens = tokio::time::timeout(STARTS_WITHIN, listens).await;
        assert!(listens.is_ok(), "Caddy does not listen: {}", caddy.log());
        caddy
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Caddy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `$CADDY_EXE`, else one on `PATH`, else the one that scripts/caddy unpacked.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("CADDY_EXE") {
        return named.into();
    }
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let cached = cache.map(|cache| cache.join("tollhouse/caddy"));
    on_path
        .into_iter()
        .flatten()
        .chain(cached)
        .map(|folder| folder.join("caddy"))
        .find(|file| file.is_file())
        .expect("this test needs a real Caddy: run scripts/caddy once, or name one in CADDY_EXE")
}
