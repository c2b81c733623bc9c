//! What a quote costs: fixed prices, tiers, formulas, and the dearest formulas that we could think of; beside
//! them, the same formula in the CEL crate's own interpreter.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;
use tollhouse::pricing::{Ask, Formula, LockedRate, Rate, RequestFacts, Rule, Tier, Tiers, Volume, Zero};
use tollhouse::types::{Msat, Timestamp};

/// The longest that any formula may take for any request, in microseconds.
const BOUND_US: f64 = 1_000.0;

/// Nanoseconds of one quote.
#[derive(Serialize)]
pub(crate) struct Prices {
    fixed: f64,
    dollars: f64,
    tiers: f64,
    formula: f64,
    formula_json: f64,
    formula_json_by_crate: f64,
    worst: f64,
    compile: f64,
}

impl fmt::Display for Prices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Nanoseconds of one quote")?;
        writeln!(f, "  50 sat                            {:>8.0}", self.fixed)?;
        writeln!(f, "  0.002 USD                         {:>8.0}", self.dollars)?;
        writeln!(f, "  tiers                             {:>8.0}", self.tiers)?;
        writeln!(f, "  a formula over the size           {:>8.0}", self.formula)?;
        writeln!(f, "  a formula over a 2 kB JSON body   {:>8.0}", self.formula_json)?;
        let ratio = self.formula_json_by_crate / self.formula_json;
        writeln!(
            f,
            "    by the crate's interpreter      {:>8.0}   ours is {ratio:.1} times faster",
            self.formula_json_by_crate
        )?;
        writeln!(f, "  the worst found, over 1 MB        {:>8.0}   the bound is 1,000,000", self.worst)?;
        write!(f, "  compiling a formula, once         {:>8.0}", self.compile)
    }
}

/// Measures them all.
pub(crate) fn measure() -> Result<Prices> {
    let small = request(json!({
        "model": "big", "max_tokens": 512,
        "messages": (0..20).map(|n| json!({"role": "user", "content": "x".repeat(80 + n)})).collect::<Vec<_>>(),
    }));
    let tier = |up_to, price: &str| Ok::<_, anyhow::Error>(Tier { up_to, price: price.parse()? });
    let tiers = Tiers::new(Volume::Requests, vec![tier(Some(100), "2 sat")?, tier(None, "1 sat")?])?;
    let text = r#"request.json.max_tokens * (request.json.model == "big" ? 15 : 5) + size(request.json.messages) * 10"#;
    let of = |text: &str| quote(&Rule::Formula(compile(text)?), &small);

    let program = cel::Program::compile(text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let by_crate = per_call(2_000, || {
        let mut context = cel::Context::default();
        let body = small.json.clone().unwrap_or_default();
        let asked = context.add_variable("request", json!({ "json": body }));
        black_box((asked.is_ok(), program.execute(&context).is_ok()));
    });

    let worst = worst()?;
    anyhow::ensure!(worst < BOUND_US * 1_000.0 * 10.0, "a formula took {worst} ns: ten times the bound");
    Ok(Prices {
        fixed: quote(&Rule::Fixed("50 sat".parse()?), &small)?,
        dollars: quote(&Rule::Fixed("0.002 USD".parse()?), &small)?,
        tiers: quote(&Rule::Tiers(tiers), &small)?,
        formula: of("1000 + request.size_bytes / 1024 * 10")?,
        formula_json: of(text)?,
        formula_json_by_crate: by_crate,
        worst,
        compile: per_call(500, || {
            black_box(compile(text).is_ok());
        }),
    })
}

/// The dearest evaluation that we know how to make: each spends all its fuel on what is slowest.
fn worst() -> Result<f64> {
    let needle = format!("{}b", "a".repeat(30_000));
    let large = request(json!({
        "text": format!("{}b", "a".repeat(65_000)), "needle": needle, "long": "x".repeat(1 << 20),
        "fractions": vec![0.123_456_789; 100_000], "words": vec!["x".repeat(60); 20_000],
    }));
    let absent = format!("\"{}y\"", "x".repeat(59));
    let texts = [
        ["request.json.text.contains(request.json.needle)"; 12].join(" || "),
        ["request.json.long == request.json.long"; 15].join(" && "),
        ["!has(request.query.zz)"; 20].join(" && "),
        ["!(1 in request.json.fractions)"; 20].join(" && "),
        vec![format!("!({absent} in request.json.words)"); 8].join(" && "),
        ["size(request.json.long) > 1"; 20].join(" && "),
    ];
    let mut worst = 0f64;
    for text in texts {
        let rule = Rule::Formula(compile(&format!("{text} ? 1 : 2"))?);
        worst = worst.max(quote(&rule, &large)?);
    }
    Ok(worst)
}

fn compile(text: &str) -> Result<Formula> {
    Formula::compile(text, None, Zero::Refuse).with_context(|| text.to_owned())
}

fn request(json: serde_json::Value) -> RequestFacts {
    RequestFacts {
        method: "POST".to_owned(),
        path: "/v1/chat".to_owned(),
        query: Some("%61=%62&".repeat(1_000)),
        size_bytes: Some(2_048),
        json: Some(json),
        ..RequestFacts::default()
    }
}

/// Nanoseconds of one quote of `request` by `rule`.
fn quote(rule: &Rule, request: &RequestFacts) -> Result<f64> {
    let rate = Rate { currency: "USD".parse()?, per_btc: "64000.12".parse()?, at: Timestamp::default() };
    let exchange = LockedRate(rate);
    let ask = Ask { request, exchange: &exchange, now: Timestamp::default(), fallback: Msat::new(1).ok() };
    Ok(per_call(500, || {
        black_box(rule.quote(black_box(&ask)).is_ok());
    }))
}

/// Nanoseconds of one call, the best of five rounds.
fn per_call(calls: u32, mut call: impl FnMut()) -> f64 {
    let mut round = || {
        let begun = Instant::now();
        (0..calls).for_each(|_| call());
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
    };
    (0..5).map(|_| round()).fold(f64::INFINITY, f64::min)
}
