//! What a 402 and a proof cost: the processor's time, without sockets, and allocations.
//!
//! The 402 is the whole gateway's: a request goes into its router and the answer's body is read. The proof
//! is read from its header and verified; the debit, which is a write to the disk, is `debits`.

use std::fmt;
use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio_util::task::TaskTracker;
use tollhouse::clock::SystemEntropy;
use tollhouse::l402::{
    Identifier, MasterKeys, Sold, Token, UnknownCaveats, Use, authorization, presented, verify,
};
use tollhouse::ports::Minter;
use tollhouse::proxy::router;
use tollhouse::types::{Msat, Preimage, Timestamp};
use tower::ServiceExt;

use crate::challenges::gateway;

const WARM_UP: u32 = 200;
const CHALLENGES: u32 = 4_000;
const PROOFS: u32 = 100_000;

/// Of one each: microseconds of the processor's time, and allocations.
#[derive(Serialize)]
pub(crate) struct Cost {
    challenge_us: f64,
    challenge_allocations: u64,
    challenge_allocated_bytes: u64,
    invoice_us: f64,
    proof_us: f64,
    proof_allocations: u64,
    forged_us: f64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Microseconds of the processor's time, one thread, no sockets")?;
        let (count, bytes) = (self.challenge_allocations, self.challenge_allocated_bytes);
        writeln!(
            f,
            "  a 402, from request to body       {:>8.1}   {count} allocations, {bytes} bytes",
            self.challenge_us
        )?;
        writeln!(f, "    of it making the invoice        {:>8.1}", self.invoice_us)?;
        writeln!(
            f,
            "  a proof, from header to verified  {:>8.1}   {} allocations",
            self.proof_us, self.proof_allocations
        )?;
        write!(f, "  one that is forged                {:>8.1}", self.forged_us)
    }
}

/// Measures on this thread, with invoices of `minter` and a ledger at `file`.
pub(crate) fn measure(minter: Arc<dyn Minter>, file: &Path) -> Result<Cost> {
    let (runtime, tasks) =
        (tokio::runtime::Builder::new_current_thread().enable_all().build()?, TaskTracker::new());
    let gate = {
        let _here = runtime.enter();
        router(gateway(file, Arc::clone(&minter), &tasks)?)
    };
    (0..WARM_UP).try_for_each(|_| challenge(&runtime, &gate))?;
    let challenge_us = per_call(CHALLENGES, || challenge(&runtime, &gate))?;
    let mut done = Ok(());
    let allocated = allocation_counter::measure(|| done = challenge(&runtime, &gate));
    done?;
    let invoice_us = per_call(CHALLENGES, || invoice(&*minter))?;

    let sale = Sale::new()?;
    let (good, forged) = (sale.headers(&sale.preimage)?, sale.headers(&Preimage::from_bytes([1; 32]))?);
    ensure!(sale.opens(&good) && !sale.opens(&forged), "only the payer's preimage opens");
    let look = |headers: &HeaderMap| {
        black_box(sale.opens(black_box(headers)));
        Ok(())
    };
    let proof = allocation_counter::measure(|| {
        black_box(sale.opens(&good));
    });
    Ok(Cost {
        challenge_us,
        challenge_allocations: allocated.count_total,
        challenge_allocated_bytes: allocated.bytes_total,
        invoice_us,
        proof_us: per_call(PROOFS, || look(&good))?,
        proof_allocations: proof.count_total,
        forged_us: per_call(PROOFS, || look(&forged))?,
    })
}

/// One unpaid request, answered whole.
fn challenge(runtime: &Runtime, gate: &Router) -> Result<()> {
    let mut request = Request::get("/v1/exchange-rates").header(HOST, "api.example").body(Body::empty())?;
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9))));
    runtime.block_on(async {
        let answer = gate.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        ensure!(answer.status() == StatusCode::PAYMENT_REQUIRED, "not a 402: {}", answer.status());
        black_box(answer.into_body().collect().await?.to_bytes());
        Ok(())
    })
}

fn invoice(minter: &dyn Minter) -> Result<()> {
    let ask = tollhouse::ports::InvoiceAsk {
        amount: Msat::from_sat(5)?,
        description: "sample: one request".to_owned(),
        expiry: std::time::Duration::from_secs(900),
    };
    black_box(minter.mint(&ask).map_err(|fault| anyhow::anyhow!("{fault}"))?);
    Ok(())
}

/// A token that was sold and paid.
struct Sale {
    keys: MasterKeys,
    preimage: Preimage,
    sold: Sold,
    token: Token,
}

impl Sale {
    fn new() -> Result<Sale> {
        let keys = MasterKeys::new(1, [(1, [3; 32])])?;
        let preimage = Preimage::from_bytes([7; 32]);
        let token_id = keys.new_token_id(&*SystemEntropy::new());
        let identifier = Identifier { payment_hash: preimage.payment_hash(), token_id };
        let until = Timestamp::from_secs(1_800_000_000);
        let sold = Sold::request("sample".parse()?, "all".parse()?, Msat::from_sat(5)?, 0, until);
        let token = Token::mint(&keys, "api.example", &identifier, &sold)?;
        Ok(Sale { keys, preimage, sold, token })
    }

    fn headers(&self, preimage: &Preimage) -> Result<HeaderMap> {
        let value = HeaderValue::try_from(authorization(&self.token.base64(), preimage))?;
        Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
    }

    fn opens(&self, headers: &HeaderMap) -> bool {
        let how =
            Use { service: &self.sold.service, method: "GET", path: "/v1/x", now: Timestamp::default() };
        presented(headers).is_ok_and(|credentials| {
            credentials.iter().any(|one| verify(&self.keys, one, &how, UnknownCaveats::Refuse).is_ok())
        })
    }
}

/// Microseconds of this thread's time for one call, the best of three rounds.
fn per_call(calls: u32, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let begun = on_processor_ns()?;
        (0..calls).try_for_each(|_| call())?;
        best = best.min((on_processor_ns()? - begun) / 1e3 / f64::from(calls));
    }
    Ok(best)
}

/// How long this thread was on a processor, in nanoseconds; Linux brings it up to date at each tick.
fn on_processor_ns() -> Result<f64> {
    // Giving way brings it up to date.
    std::thread::yield_now();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").context("the thread's own time")?;
    Ok(told.split_whitespace().next().context("a number")?.parse()?)
}
