//! What is drawn from a balance for an answer, to the millisatoshi, however the answer ends.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollhouse::catalog::{Offer, Offering, PathPattern, RestorePolicy, Route, Service, Terms, Upstream};
use tollhouse::pricing::{Amount, Formula, Rule, Zero};
use tollhouse::types::Msat;

use super::client::{Reply, ask};
use super::upstream::{Origin, Step};
use super::{Credential, PATIENCE, TestGate, head, patient, quick};

mod cut;
mod ends;
mod limits;
mod tiers;
mod together;

fn msat(amount: u64) -> Msat {
    Msat::new(amount).expect("in range")
}

/// What costs as `formula` says, at most `ceiling`, drawn from a balance of `balance`.
fn metered(formula: &str, ceiling: u64, balance: u64) -> Terms {
    let formula = Formula::compile(formula, Some(msat(ceiling)), Zero::Refuse).expect("a formula");
    Terms { rule: Rule::Formula(formula), ..drawn(balance) }
}

/// What costs 5 sat, drawn from a balance of `balance`.
fn drawn(balance: u64) -> Terms {
    let what = Offering::Balance { value: Amount::Msat(msat(balance)), price: None };
    let name = "balance".parse().expect("a name");
    Terms { offers: vec![Offer { name, what }], ..Terms::fixed(msat(5_000)) }
}

/// Sells balances of `balance` for what is under these paths:
///
/// - `/plain`: 5 sat; `/given` the same, and a 404 costs nothing
/// - `/bytes`: 10 msat a byte, at most 50 sat
/// - `/events`: 1 sat an event, at most 20 sat
/// - `/usage`: 100 msat a token, at most 30 sat; `/sure` the same, 7 sat when nobody can tell
/// - `/forgiven`: 1 sat and 100 msat a token, if the answer says how many, at most 30 sat
/// - `/time`: 100 msat a millisecond, at most 20 sat
fn service(origin: &Origin, balance: u64) -> Service {
    let usage = "response.json.usage.total_tokens * 100";
    let restore = RestorePolicy::new(vec![(500, 599), (404, 404)]);
    let routes = [
        ("given", Terms { restore, ..drawn(balance) }),
        ("bytes", metered("response.bytes * 10", 50_000, balance)),
        ("events", metered("response.chunks * 1000", 20_000, balance)),
        ("usage", metered(usage, 30_000, balance)),
        ("sure", Terms { fallback: Some(msat(7_000)), ..metered(usage, 30_000, balance) }),
        ("forgiven", metered("1000 + get(response.json.usage.total_tokens, 0) * 100", 30_000, balance)),
        ("time", metered("1 + response.ms * 100", 20_000, balance)),
    ]
    .map(|(name, terms)| {
        Route::new(name.parse().expect("a name"), None, PathPattern::Under(format!("/{name}")), terms)
    });
    let upstream = Upstream::at(format!("http://{}/", origin.address).parse().expect("a URL"));
    Service {
        routes: routes.to_vec(),
        ..Service::new("api".parse().expect("a name"), "/", drawn(balance), upstream)
    }
}

/// An answer that announces its length.
fn sized(head: &str, body: &str) -> Vec<Step> {
    vec![Step::say(format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))]
}

/// An answer in these chunks, each sent by itself.
fn chunked(head: &str, chunks: &[&str]) -> Vec<Step> {
    let mut steps = vec![Step::say(format!("HTTP/1.1 {head}\r\ntransfer-encoding: chunked\r\n\r\n"))];
    steps.extend(chunks.iter().map(|chunk| Step::chunk(chunk)));
    steps.push(Step::say("0\r\n\r\n"));
    steps
}

/// The same without its last `missing` steps, and then `then`.
fn broken(mut steps: Vec<Step>, missing: usize, then: Step) -> Vec<Step> {
    steps.truncate(steps.len() - missing);
    steps.push(then);
    steps
}

const STREAM: &str = "200 OK\r\ncontent-type: text/event-stream";

/// The books are right, and say this of `credential`: left, held, spent.
async fn assert_books(gate: &TestGate, credential: &Credential, units: super::Units, what: &str) {
    assert_eq!(gate.settled(credential).await, units, "{what}");
    let report = gate.ledger.audit().await.expect("the ledger reads");
    assert!(
        report.ok || report.mismatches.iter().all(|m| m.starts_with("the hours say")),
        "{what}: {report:?}"
    );
}

pub(super) async fn open(gate: &TestGate, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gate.address).await.expect("the gate listens");
    stream.write_all(request.as_bytes()).await.expect("the gate reads");
    stream
}

/// Reads until `mark` came; gives all that came.
pub(super) async fn read_until(stream: &mut TcpStream, mark: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut byte = [0u8; 1];
    let read = async {
        while !bytes.ends_with(mark.as_bytes()) {
            stream.read_exact(&mut byte).await.expect("more to come");
            bytes.push(byte[0]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it comes in time");
    bytes
}

/// Reads what is still to come; gives all of the reply.
pub(super) async fn read_rest(stream: &mut TcpStream, mut before: Vec<u8>) -> Reply {
    let mut buffer = [0u8; 16 * 1024];
    let read = async {
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            before.extend_from_slice(&buffer[..length]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it ends in time");
    Reply::read(&before, false)
}
