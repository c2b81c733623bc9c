//! A real bitcoind on regtest for one test: its own folder and port, killed when dropped.
//!
//! There is no skipping: without a bitcoind a test that asks for one fails and says what to run.

use std::borrow::Borrow;
use std::env;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Address, Amount, Block, BlockHash, Txid};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a fresh bitcoind may take to answer.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

pub(crate) struct Bitcoind {
    process: Child,
    folder: TempDir,
    rpc: Rpc,
}

/// Calls a bitcoind; clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct Rpc {
    http: reqwest::Client,
    port: u16,
}

/// An error that bitcoind answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: i64,
    pub(crate) message: String,
}

impl Bitcoind {
    pub(crate) const USER: &str = "user";
    pub(crate) const PASSWORD: &str = "password";
    const WALLET: &str = "miner";

    /// Starts one and waits until it answers. Its wallet is empty: `mine(101)` makes the first coins spendable.
    pub(crate) async fn start() -> Bitcoind {
        Bitcoind::with(&[]).await
    }

    /// The same with these arguments more.
    pub(crate) async fn with(more: &[&str]) -> Bitcoind {
        let program = program();
        // Another process may take a port between our look and bitcoind's start: then it exits, and we try another.
        for _ in 0..5 {
            if let Some(bitcoind) = Bitcoind::launch(&program, free_port(), more).ready().await {
                return bitcoind;
            }
        }
        panic!("{} does not start; run it by hand with -regtest to see why", program.display());
    }

    /// Starts one on a port that was chosen before.
    pub(crate) async fn start_on(port: u16) -> Bitcoind {
        let started = Bitcoind::launch(&program(), port, &[]).ready().await;
        started.unwrap_or_else(|| panic!("bitcoind does not start on port {port}; was it free?"))
    }

    async fn ready(mut self) -> Option<Bitcoind> {
        if !self.is_up().await {
            return None;
        }
        self.expect("createwallet", json!([Bitcoind::WALLET])).await;
        Some(self)
    }

    fn launch(program: &PathBuf, rpc_port: u16, more: &[&str]) -> Bitcoind {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let process = Command::new(program)
            .arg("-regtest")
            .arg(format!("-datadir={}", folder.path().display()))
            .arg(format!("-rpcport={rpc_port}"))
            .arg(format!("-rpcuser={}", Bitcoind::USER))
            .arg(format!("-rpcpassword={}", Bitcoind::PASSWORD))
            .args(["-server=1", "-listen=0", "-connect=0", "-dnsseed=0", "-printtoconsole=0"])
            .args(["-fallbackfee=0.00002", "-rpcworkqueue=512"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
        Bitcoind { process, folder, rpc: Rpc { http: client(), port: rpc_port } }
    }

    async fn is_up(&mut self) -> bool {
        let answers = async {
            while self.call("getblockchaininfo", json!([])).await.is_err() {
                if self.process.try_wait().expect("the process can be asked").is_some() {
                    return false;
                }
                tokio::time::sleep(POLL).await;
            }
            true
        };
        tokio::time::timeout(STARTS_WITHIN, answers).await.unwrap_or(false)
    }

    /// Calls a method; the error is bitcoind's, or code 0 when no answer came.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value, Refused> {
        self.rpc.call(method, params).await
    }

    /// Calls a method that must succeed.
    pub(crate) async fn expect(&self, method: &str, params: Value) -> Value {
        self.call(method, params).await.unwrap_or_else(|refused| panic!("{method}: {refused:?}"))
    }

    async fn wallet(&self, method: &str, params: Value) -> Value {
        let path = format!("/wallet/{}", Bitcoind::WALLET);
        self.rpc.post(&path, method, params).await.unwrap_or_else(|refused| panic!("{method}: {refused:?}"))
    }

    /// Mines `count` blocks to its own wallet.
    pub(crate) async fn mine(&self, count: u32) -> Vec<BlockHash> {
        let address = self.wallet("getnewaddress", json!([])).await;
        let hashes = self.expect("generatetoaddress", json!([count, address])).await;
        serde_json::from_value(hashes).expect("block hashes")
    }

    /// Sends from its own wallet.
    pub(crate) async fn send(&self, address: &Address, amount: Amount) -> Txid {
        let bitcoin = amount.to_string_in(bitcoin::Denomination::Bitcoin);
        let txid = self.wallet("sendtoaddress", json!([address, bitcoin])).await;
        serde_json::from_value(txid).expect("a transaction id")
    }

    pub(crate) async fn height(&self) -> u64 {
        self.expect("getblockcount", json!([])).await.as_u64().expect("a height")
    }

    pub(crate) async fn tip(&self) -> BlockHash {
        serde_json::from_value(self.expect("getbestblockhash", json!([])).await).expect("a block hash")
    }

    /// The port on 127.0.0.1 that a node is to be pointed at, with [`Bitcoind::USER`] and [`Bitcoind::PASSWORD`].
    pub(crate) fn port(&self) -> u16 {
        self.rpc.port
    }

    /// To call it from elsewhere.
    pub(crate) fn rpc(&self) -> Rpc {
        self.rpc.clone()
    }

    /// Where it keeps its files, for a look at `regtest/debug.log`.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Rpc {
    /// Calls a method; the error is bitcoind's, or code 0 when no answer came.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value, Refused> {
        self.post("/", method, params).await
    }

    async fn post(&self, path: &str, method: &str, params: Value) -> Result<Value, Refused> {
        let no_answer = |error: reqwest::Error| Refused { code: 0, message: error.to_string() };
        let response = self
            .http
            .post(format!("http://127.0.0.1:{}{path}", self.port))
            .basic_auth(Bitcoind::USER, Some(Bitcoind::PASSWORD))
            .json(&json!({ "method": method, "params": params, "id": 1 }))
            .send()
            .await
            .map_err(no_answer)?;
        let mut answer: Value = response.json().await.map_err(no_answer)?;
        match &answer["error"] {
            Value::Null => Ok(answer["result"].take()),
            error => Err(Refused {
                code: error["code"].as_i64().unwrap_or(0),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Feeds a whole chain, genesis first, to a fresh bitcoind: it must take every block and end at the same tip.
pub(crate) async fn assert_accepted<B: Borrow<Block>>(bitcoind: &Bitcoind, blocks: &[B]) {
    let (genesis, rest) = blocks.split_first().expect("a chain has a genesis block");
    assert_eq!(bitcoind.tip().await, genesis.borrow().block_hash(), "bitcoind must be fresh");
    for (height, block) in (1..).zip(rest) {
        assert_block_accepted(bitcoind, block.borrow(), height).await;
    }
    let last = blocks.last().expect("a chain has a genesis block").borrow();
    assert_eq!(bitcoind.tip().await, last.block_hash(), "bitcoind ends at another tip");
    assert_eq!(usize::try_from(bitcoind.height().await), Ok(rest.len()));
}

/// Feeds the next block, which must become the tip.
pub(crate) async fn assert_block_accepted(bitcoind: &Bitcoind, block: &Block, height: u32) {
    let verdict = bitcoind.expect("submitblock", json!([serialize_hex(block)])).await;
    assert_eq!(
        verdict,
        Value::Null,
        "bitcoind refuses the block at height {height}: {block:#?}; its log is in {}",
        bitcoind.folder().display()
    );
}

/// The bitcoind that `scripts/bitcoind` names, without fetching one.
fn program() -> PathBuf {
    if let Some(named) = env::var_os("BITCOIND_EXE") {
        return named.into();
    }
    let on_path =
        env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let cache = env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cached = cache.or_else(home).map(|folder| folder.join("tollhouse/bitcoind"));
    on_path
        .chain(cached)
        .map(|folder| folder.join("bitcoind"))
        .find(|program| program.is_file())
        .expect("this test needs a real bitcoind: run scripts/bitcoind once, or name one in BITCOIND_EXE")
}

/// An HTTP client for this machine, whatever proxy the environment names.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client without settings can be built")
}

/// A port that is free now, and stays so until it is listened on: it lies below those that the system takes for
/// outgoing connections, and is given to one caller only. Where a process begins is a matter of its number, so that
/// two runs at once seldom meet.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(977);
    let next = || begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT + FIRST;
    let mut ports = std::iter::repeat_with(|| u16::try_from(next()).expect("below 32,000")).take(1_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("one of 1,000 ports is free")
}
