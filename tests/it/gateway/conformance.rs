//! The statements of the protocols and the threats, each by its number: tried here, or proved by a test that
//! is named and has to exist.
//!
//! `L` is L402 and `P` the `Payment` scheme as their documents say them; `T` is a threat. A row that names
//! other tests is as good as they are: a name that no test has any more fails here.

use std::path::Path;

use futures_util::future::BoxFuture;
use tollhouse::catalog::{Dialects, Service};

use super::client::Reply;
use super::offers::shop;
use super::upstream::Origin;
use super::{TestGate, quick, service};

mod acceptance;
mod emission;
mod payment;
mod threats;

/// One statement.
struct Row {
    number: &'static str,
    says: &'static str,
    proof: Proof,
}

enum Proof {
    /// Tried in the world of the table.
    Here(for<'a> fn(&'a World) -> BoxFuture<'a, ()>),
    /// `file test`, below the crate's folder.
    Tests(&'static [&'static str]),
}

use Proof::{Here, Tests};

const fn row(number: &'static str, says: &'static str, proof: Proof) -> Row {
    Row { number, says, proof }
}

/// A gate that sells `/` at 10 sat and `/dear` at 50 sat, everything below `/shop` in offers, and below `/old`
/// in the old dialect too.
struct World {
    gate: TestGate,
    origin: Origin,
}

impl World {
    async fn new() -> World {
        let origin = Origin::start().await;
        let named = |name: &str, service: Service| Service {
            name: name.parse().expect("a name"),
            path: format!("/{name}"),
            routes: Vec::new(),
            ..service
        };
        let old = Service { dialects: Dialects::of(["lsat", "l402"]), ..service(&origin) };
        let services = vec![service(&origin), named("shop", shop(&origin)), named("old", old)];
        World { gate: TestGate::with(services, quick()).await, origin }
    }

    /// `GET /ok` with `lines`.
    async fn get(&self, lines: &str) -> Reply {
        self.gate.get("/ok", lines).await
    }

    /// Asserts that `lines` are answered by a fresh 402 with `code`, and that nobody was served.
    async fn refused(&self, lines: &str, code: &str) {
        let before = self.origin.hits();
        let reply = self.get(lines).await;
        assert_eq!((reply.status, reply.code().as_str()), (402, code), "{lines:.120}");
        assert!(reply.header("www-authenticate").is_some_and(|line| line.starts_with("L402 macaroon=")));
        assert_eq!(self.origin.hits(), before, "{lines:.120}");
    }

    /// Asserts that `lines` open one request.
    async fn opens(&self, lines: &str) {
        let before = self.origin.hits();
        let reply = self.get(lines).await;
        assert_eq!((reply.status, self.origin.hits()), (200, before + 1), "{lines:.120}: {}", reply.text());
    }
}

fn rows() -> Vec<Row> {
    let all = [emission::rows(), acceptance::rows(), payment::rows(), threats::rows()];
    all.into_iter().flatten().collect()
}

#[tokio::test]
async fn every_statement_holds() {
    let world = World::new().await;
    let mut tried = 0;
    for row in rows() {
        println!("{:<4} {}", row.number, row.says);
        if let Here(check) = row.proof {
            check(&world).await;
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried} were tried");
    world.gate.audited().await;
}

#[test]
fn every_test_that_a_statement_names_exists() {
    let mut missing = Vec::new();
    for row in rows() {
        let Tests(named) = row.proof else { continue };
        assert!(!named.is_empty(), "{}: nothing proves it", row.number);
        missing.extend(
            named.iter().filter(|name| !is_a_test(name)).map(|name| format!("{}: {name}", row.number)),
        );
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Whether `name` is the file of a test and the test in it.
fn is_a_test(name: &str) -> bool {
    let (file, test) = name.split_once(' ').expect("a file and a test");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let named = |line: &&str| line.contains(&format!("fn {test}("));
    lines.iter().position(named).is_some_and(|at| {
        lines[..at]
            .iter()
            .rev()
            .take(4)
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
            || text.contains("proptest! {")
    })
}

/// Every number once, the threats all there.
#[test]
fn the_numbers_are_whole() {
    let mut numbers: Vec<&str> = rows().iter().map(|row| row.number).collect();
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), count, "a number comes twice");
    for threat in (1..=14).chain([19]) {
        let number = format!("T{threat}");
        assert!(numbers.contains(&number.as_str()), "{number}");
    }
}
