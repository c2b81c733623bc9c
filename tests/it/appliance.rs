//! The real program as a process of its own: started as a user does, read line by line, asked over its sockets.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tollhouse::sandbox::buyer::{Answer, Buyer, Wanted};
use tollhouse::types::PaymentHash;

use crate::bitcoind::{client, free_port};

/// How long anything may take before the test fails. Generous: the tests share few cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// Whole worlds run one after the other: several nodes at once on few cores only make each other late.
pub(crate) static TURN: Mutex<()> = Mutex::const_new(());

/// A running `tollhouse`, killed when dropped.
pub(crate) struct Process {
    child: Child,
    lines: UnboundedReceiver<String>,
    heard: Vec<String>,
}

/// The program with an environment that holds nothing but `home`.
pub(crate) fn tollhouse(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollhouse"));
    command.env_clear().env("HOME", home).env("TMPDIR", home).stdin(Stdio::null()).args(args);
    command
}

impl Process {
    pub(crate) fn spawn(mut command: Command) -> Process {
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("the program runs");
        let (tell, lines) = unbounded_channel();
        read_lines(child.stdout.take().expect("piped"), tell.clone());
        read_lines(child.stderr.take().expect("piped"), tell);
        Process { child, lines, heard: Vec::new() }
    }

    /// The next line that holds `part`.
    pub(crate) async fn says(&mut self, part: &str) -> String {
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = self.lines.recv().await {
                self.heard.push(line.clone());
                if line.contains(part) {
                    return Some(line);
                }
            }
            None
        });
        let found = found.await.ok().flatten();
        found.unwrap_or_else(|| panic!("it never said {part:?}:\n{}", self.heard.join("\n")))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends the signal and waits for the end, which it gives with all that was said.
    pub(crate) async fn end(mut self, signal: &str) -> (ExitStatus, String) {
        let told = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.id())]).status();
        assert!(told.expect("a shell").success(), "it had ended before SIG{signal}");
        self.ended().await
    }

    /// Waits for the end by itself.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, String) {
        until("the process to end", async || self.child.try_wait().expect("it can be asked")).await;
        while let Some(line) = self.lines.recv().await {
            self.heard.push(line);
        }
        (self.child.wait().expect("it ended"), self.heard.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(from: impl Read + Send + 'static, to: UnboundedSender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = to.send(line);
        }
    });
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Where the chain comes from, as the lines of a `[chain]` section.
pub(crate) fn bitcoind_section(port: u16) -> String {
    format!(
        "source = \"bitcoind\"\nhost = \"127.0.0.1\"\nport = {port}\nuser = \"user\"\npassword = \"password\""
    )
}

/// `tollhouse run` with a configuration of its own.
pub(crate) struct Appliance {
    home: TempDir,
    pub(crate) gateway: String,
    pub(crate) admin: String,
    pub(crate) peers: String,
    process: Option<Process>,
    http: reqwest::Client,
}

impl Appliance {
    /// Writes the file and starts; `services` is the end of the file.
    pub(crate) fn start(chain: &str, services: &str) -> Appliance {
        let mut appliance = Appliance::written(chain, services);
        appliance.start_again();
        appliance
    }

    /// Writes the file alone.
    pub(crate) fn written(chain: &str, services: &str) -> Appliance {
        let home = TempDir::new().expect("a folder");
        let [gateway, admin, peers] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let text = format!(
            "network = \"regtest\"\ndata_dir = \"{}/data\"\nlog = \"warn\"\n\
             [gateway]\nlisten = \"{gateway}\"\n[admin]\nlisten = \"{admin}\"\n\
             [lightning]\nlisten = [\"{peers}\"]\n[chain]\n{chain}\n{services}",
            home.path().display()
        );
        std::fs::write(home.path().join("tollhouse.toml"), text).expect("written");
        let (gateway, admin) = (format!("http://{gateway}"), format!("http://{admin}"));
        Appliance { home, gateway, admin, peers, process: None, http: client() }
    }

    pub(crate) fn start_again(&mut self) {
        self.process = Some(Process::spawn(self.command(&[])));
    }

    /// Starts with a command of its own.
    pub(crate) fn start_as(&mut self, command: Command) {
        self.process = Some(Process::spawn(command));
    }

    /// `run` on this configuration, with more arguments.
    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let file = self.home.path().join("tollhouse.toml");
        let mut command = tollhouse(self.home.path(), &["run", "--config"]);
        command.arg(file).args(more);
        command
    }

    /// Another command on this configuration.
    pub(crate) fn tool(&self, name: &str, more: &[&str]) -> Command {
        let mut command = tollhouse(self.home.path(), &[name, "--config"]);
        command.arg(self.home.path().join("tollhouse.toml")).args(more);
        command
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.home.path().join("tollhouse.toml")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// SIGKILL; gives what it had said.
    pub(crate) async fn kill(&mut self) -> String {
        self.process.take().expect("it runs").end("KILL").await.1
    }

    /// SIGTERM; it must end in order.
    pub(crate) async fn stop(&mut self) {
        self.stopped().await;
    }

    /// The same; gives all that it said.
    pub(crate) async fn stopped(&mut self) -> String {
        let (status, said) = self.process.take().expect("it runs").end("TERM").await;
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.trim_end().lines().any(|line| line == "stopped"), "{said}");
        said
    }

    pub(crate) fn key(&self) -> Option<String> {
        let key = std::fs::read_to_string(self.data_dir().join("regtest/admin.key")).ok()?;
        Some(key.trim().to_owned())
    }

    pub(crate) async fn try_api(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(StatusCode, Value)> {
        let request = self.http.request(method, format!("{}{path}", self.admin)).bearer_auth(self.key()?);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.ok()?;
        Some((answer.status(), answer.json().await.ok()?))
    }

    /// Asks the admin API what must succeed.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.try_api(Method::GET, path, None).await.expect("the admin API answers");
        assert_eq!(answer.0, StatusCode::OK, "{path}: {}", answer.1);
        answer.1
    }

    /// Tells the admin API what it must take.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.try_api(Method::POST, path, Some(&body)).await.expect("the admin API answers");
        assert!(answer.0.is_success(), "{path}: {} {}", answer.0, answer.1);
        answer.1
    }

    /// Tells the admin API what it may refuse just now.
    pub(crate) async fn tell(&self, path: &str, body: Value) {
        self.try_api(Method::POST, path, Some(&body)).await.expect("the admin API answers");
    }

    /// Tells the admin API what it must refuse: status and code.
    pub(crate) async fn refused(&self, path: &str, body: Value) -> (u16, String) {
        let answer = self.try_api(Method::POST, path, Some(&body)).await.expect("the admin API answers");
        (answer.0.as_u16(), answer.1["code"].as_str().unwrap_or_default().to_owned())
    }

    /// The node as the status shows it, once it is as wanted.
    pub(crate) async fn node(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async || {
            let (_, status) = self.try_api(Method::GET, "/api/v1/status", None).await?;
            wanted(&status["node"]).then(|| status["node"].clone())
        };
        until(what, look).await
    }

    /// The node, once it runs.
    pub(crate) async fn up(&self) -> Value {
        self.node("the node to run", |node| node["running"] == true).await
    }

    /// A customer that pays from this node.
    pub(crate) fn customer(&self) -> Buyer {
        Buyer::new(&self.admin, &self.key().expect("the first start wrote a key")).expect("a client")
    }
}

/// The payment that a 402 asks for.
pub(crate) fn asked_for(answer: &Answer) -> PaymentHash {
    assert_eq!(answer.status, 402, "{}", answer.body);
    let challenge = answer.challenge().expect("an L402 challenge");
    challenge.identifier().expect("an L402 identifier").payment_hash
}

/// Asks until a payment is asked for: while the peer is away for a moment the gate sells nothing.
pub(crate) async fn challenged(customer: &Buyer, wanted: &Wanted, credential: Option<&str>) -> Answer {
    until("the gate to sell", async || {
        let answer = customer.ask(wanted, credential).await.expect("an answer");
        let waits = answer.status == 503 && answer.body["code"] == "cannot_receive";
        (!waits).then_some(answer)
    })
    .await
}

/// Pays what a 402 asks, and gives the credential. The same invoice again is the same payment, so that one that
/// found no way because the peer was away for a moment is asked for again.
pub(crate) async fn paid(customer: &Buyer, unpaid: &Answer) -> String {
    let challenge = unpaid.challenge().expect("a challenge");
    until("the payment", async || match customer.pay(&challenge).await {
        Ok(credential) => Some(credential),
        Err(error) => {
            eprintln!("not paid yet: {error:#}");
            None
        }
    })
    .await
}

/// Buys once: 402, paid, 200, and a replay that gets a fresh 402. Gives the payment and what was sold.
pub(crate) async fn buy(customer: &Buyer, url: &str) -> (PaymentHash, Value) {
    let wanted = Wanted { url: url.to_owned(), body: None };
    let unpaid = challenged(customer, &wanted, None).await;
    let hash = asked_for(&unpaid);
    let credential = paid(customer, &unpaid).await;
    let paid = customer.ask(&wanted, Some(&credential)).await.expect("an answer");
    assert_eq!(paid.status, 200, "{}", paid.body);
    let replay = challenged(customer, &wanted, Some(&credential)).await;
    assert_ne!(asked_for(&replay), hash, "the replay is offered the invoice that was paid");
    (hash, paid.body)
}
