//! A real cache in front: it keeps what is free and says so, and never what was paid for (THREATS 13).

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::client::{Reply, ask};
use super::upstream::{Origin, Step};
use super::{TestGate, head};
use crate::bitcoind::free_port;

/// nginx with a cache that keeps all that it may, for an hour; ends with the test.
struct Cache {
    address: SocketAddr,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Cache {
    fn before(gate: SocketAddr) -> Cache {
        let started = (0..5).find_map(|_| Cache::at(free_port(), gate));
        started.expect("nginx starts: scripts/test says which to take")
    }

    fn at(port: u16, gate: SocketAddr) -> Option<Cache> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .concat();
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log stderr notice;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n{temporary}access_log off;\nproxy_cache_path {at}/kept keys_zone=kept:1m;\n\
             server {{ listen 127.0.0.1:{port};\nlocation / {{\nproxy_pass http://{gate};\n\
             proxy_set_header Host $host;\nproxy_http_version 1.1;\nproxy_cache kept;\nproxy_cache_valid any 1h;\n\
             add_header X-Cache $upstream_cache_status always;\n}} }}\n}}\n"
        );
        let file = folder.path().join("conf");
        std::fs::write(&file, configuration).expect("the folder is there");
        let program = std::env::var_os("NGINX_EXE").map_or_else(|| PathBuf::from("nginx"), PathBuf::from);
        let mut command = Command::new(&program);
        command.args(["-e", "stderr", "-c"]).arg(&file).arg("-p").arg(folder.path()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        // What it says first, it says when it listens, or when it cannot.
        let mut says = BufReader::new(process.stderr.take().expect("piped"));
        let mut line = String::new();
        while says.read_line(&mut line).expect("text") > 0 {
            if line.contains("nginx/") {
                std::thread::spawn(move || says.read_to_end(&mut Vec::new()));
                let address = SocketAddr::from(([127, 0, 0, 1], port));
                return Some(Cache { address, process, _folder: folder });
            }
        }
        eprintln!("{line}");
        let _ = process.wait();
        None
    }

    async fn get(&self, path: &str, lines: &str) -> Reply {
        ask(self.address, head("GET", path, lines).as_bytes()).await
    }
}

#[tokio::test]
async fn a_cache_in_front_never_serves_what_was_paid_for() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let cache = Cache::before(gate.address);
    let public = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\ncache-control: public, max-age=3600\r\n\r\nsecret";
    for path in ["/paid", "/free/open", "/plain"] {
        origin.script(path, vec![Step::say(public)]);
    }
    origin.script("/plain", vec![Step::say("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret")]);

    // The cache works: what is free is kept where its upstream allows it.
    for expected in ["MISS", "HIT"] {
        let free = cache.get("/free/open", "").await;
        assert_eq!((free.status, free.header("x-cache")), (200, Some(expected)), "{free:?}");
    }
    // No demand for payment is kept, not even by a cache that is told to keep any answer.
    let demands = [cache.get("/paid", "").await, cache.get("/paid", "").await];
    let [first, second] = demands.map(|reply| {
        assert_eq!((reply.status, reply.header("x-cache")), (402, Some("MISS")), "{reply:?}");
        reply.json()["paymentHash"].as_str().expect("a hash").to_owned()
    });
    assert_ne!(first, second, "each has its own invoice");
    for path in ["/paid", "/plain", "/steering", "/404"] {
        let credential = gate.buy(path).await;
        let paid = cache.get(path, &credential.line()).await;
        assert_eq!(paid.status, if path == "/404" { 404 } else { 200 }, "{path}: {paid:?}");
        assert_eq!(paid.header("cache-control"), Some("private, no-store"), "{path}");
        assert_eq!(gate.settled(&credential).await, (0, 0, 1), "{path}");
        let unpaid = cache.get(path, "").await;
        assert_eq!((unpaid.status, unpaid.header("x-cache")), (402, Some("MISS")), "{path}: {unpaid:?}");
        assert!(!unpaid.text().contains("secret"), "{path}");
        let spent = cache.get(path, &credential.line()).await;
        assert_eq!(
            (spent.status, spent.code().as_str()),
            (402, "spent"),
            "{path}: not out of the cache either"
        );
    }
    gate.audited().await;
}
