//! Three upstreams that read requests each in their own way, and tell which they read.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::super::PATIENCE;
use crate::bitcoind::free_port;

/// What a server read.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// `METHOD target` of each request.
    pub(super) hits: Vec<String>,
    /// How often it read what was none.
    pub(super) malformed: usize,
}

/// A server that runs.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    kind: Kind,
}

enum Kind {
    Hyper { hits: Arc<Mutex<Vec<String>>>, tracker: TaskTracker },
    Nginx { process: Process, folder: tempfile::TempDir },
    Node { process: Process, reads: JoinHandle<Reads> },
}

/// Ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    pub(super) async fn hyper() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (hits, tracker) = (Arc::<Mutex<Vec<String>>>::default(), TaskTracker::new());
        let (all, tasks) = (Arc::clone(&hits), tracker.clone());
        // Apart from its connections, which end.
        TaskTracker::new().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let hits = Arc::clone(&all);
                let service = hyper::service::service_fn(move |request| read(Arc::clone(&hits), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                // A gate that breaks off is what this is about.
                tasks.spawn(async move { drop(connection.await) });
            }
        });
        Server { name: "hyper", address, kind: Kind::Hyper { hits, tracker } }
    }

    pub(super) fn nginx() -> Server {
        let program = program("NGINX_EXE", "nginx");
        for _ in 0..5 {
            if let Some(server) = nginx(&program, free_port()) {
                return server;
            }
        }
        panic!("{} does not start", program.display());
    }

    pub(super) fn node() -> Server {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/gateway/smuggling/upstream.js");
        let mut command = Command::new(program("NODE_EXE", "node"));
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process(command.spawn().expect("node starts: scripts/test says which"));
        let mut says = BufReader::new(process.0.stdout.take().expect("piped"));
        let mut line = String::new();
        says.read_line(&mut line).expect("text");
        let port = line.strip_prefix("listening ").expect("its port").trim_end();
        let port: u16 = port.parse().expect("a port");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        // All the time, for a full pipe would hold it up.
        let reads = std::thread::spawn(move || told(says));
        Server { name: "node", address, kind: Kind::Node { process, reads } }
    }

    /// Ends it in order and says what it read.
    pub(super) async fn finish(self) -> Reads {
        let finish = async {
            match self.kind {
                Kind::Hyper { hits, tracker } => {
                    tracker.close();
                    tracker.wait().await;
                    let hits = hits.lock().expect("no test panics here").clone();
                    Reads { hits, malformed: 0 }
                }
                Kind::Nginx { process, folder } => ended(move || quit(process, &folder)).await,
                Kind::Node { mut process, reads } => {
                    drop(process.0.stdin.take());
                    ended(move || reads.join().expect("it tells")).await
                }
            }
        };
        tokio::time::timeout(PATIENCE, finish).await.expect("it ends in time")
    }
}

async fn ended(end: impl FnOnce() -> Reads + Send + 'static) -> Reads {
    tokio::task::spawn_blocking(end).await.expect("it ends")
}

fn quit(mut nginx: Process, folder: &tempfile::TempDir) -> Reads {
    let told = Command::new("kill").args(["-QUIT", &nginx.0.id().to_string()]).status();
    assert!(told.expect("kill runs").success());
    nginx.0.wait().expect("it ends");
    logged(folder)
}

/// What Node says, to its end.
fn told(says: BufReader<ChildStdout>) -> Reads {
    let mut reads = Reads::default();
    for line in says.lines().map(|line| line.expect("text")) {
        match line.strip_prefix("malformed ") {
            Some(count) => reads.malformed = count.parse().expect("a number"),
            None => reads.hits.push(line),
        }
    }
    reads
}

/// A program that `scripts/test` found.
fn program(variable: &str, usual: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(usual), PathBuf::from)
}

async fn read(
    hits: Arc<Mutex<Vec<String>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    hits.lock().expect("no test panics here").push(format!("{} {}", request.method(), request.uri()));
    let _ = request.into_body().collect().await;
    Ok(Response::new(Full::new(Bytes::from_static(b"ok"))))
}

/// One process, until it is told to quit; `None` when the port is taken.
fn nginx(program: &PathBuf, port: u16) -> Option<Server> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
        .concat();
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log stderr notice;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n{temporary}log_format told '$status $request';\naccess_log {at}/log told;\n\
         client_body_buffer_size 1m;\nkeepalive_timeout 1h;\nkeepalive_requests 1000000;\n\
         server {{ listen 127.0.0.1:{port}; location / {{ return 200 'ok'; }} }}\n}}\n"
    );
    let file = folder.path().join("conf");
    std::fs::write(&file, configuration).expect("the folder is there");
    let mut command = Command::new(program);
    command.args(["-e", "stderr", "-c"]).arg(&file).arg("-p").arg(folder.path()).stderr(Stdio::piped());
    let spawned = command.spawn();
    let mut process = Process(
        spawned.unwrap_or_else(|e| panic!("{}: {e}: scripts/test says which to take", program.display())),
    );
    // What it says first, it says when it listens, or when it cannot.
    let mut says = BufReader::new(process.0.stderr.take().expect("piped"));
    let mut line = String::new();
    while says.read_line(&mut line).expect("text") > 0 {
        if line.contains("nginx/") {
            std::thread::spawn(move || says.read_to_end(&mut Vec::new()));
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            return Some(Server { name: "nginx", address, kind: Kind::Nginx { process, folder } });
        }
    }
    eprintln!("{line}");
    None
}

fn logged(folder: &tempfile::TempDir) -> Reads {
    let log = std::fs::read_to_string(folder.path().join("log")).expect("its log");
    let mut reads = Reads::default();
    for line in log.lines() {
        let (status, request) = line.split_once(' ').expect("a status and a request");
        // 499 and a 400 with a whole request line are clients that left in their body.
        match status {
            "400" if !request.ends_with("HTTP/1.1") => {
                eprintln!("nginx could not read: {request}");
                reads.malformed += 1;
            }
            _ => reads.hits.push(request.trim_end_matches(" HTTP/1.1").to_owned()),
        }
    }
    reads
}
