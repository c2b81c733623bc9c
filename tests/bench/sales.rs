//! The whole loop, 402 to 200, one sale after the other, and where its time goes.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;
use tollhouse::sandbox::buyer::{Buyer, Wanted};
use tollhouse::sandbox::world::World;

const WARM_UP: usize = 5;
const SALES: usize = 100;

/// Milliseconds at the median and at the 95th of 100.
#[derive(Serialize)]
struct Spread {
    p50_ms: f64,
    p95_ms: f64,
}

impl Spread {
    fn of(mut spans: Vec<Duration>) -> Spread {
        spans.sort();
        let at = |percent: usize| {
            let index = (spans.len() * percent / 100).min(spans.len().saturating_sub(1));
            spans.get(index).map_or(0.0, |span| span.as_secs_f64() * 1_000.0)
        };
        Spread { p50_ms: at(50), p95_ms: at(95) }
    }
}

/// How long sales took, whole and by part.
#[derive(Serialize)]
pub(crate) struct Sales {
    whole: Spread,
    challenge: Spread,
    payment: Spread,
    redemption: Spread,
    sales: usize,
}

impl fmt::Display for Sales {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "One sale, 402 to 200, over a direct channel ({} in a row), ms", self.sales)?;
        writeln!(f, "                                         p50       p95")?;
        let parts = [
            ("whole", &self.whole),
            ("  the 402", &self.challenge),
            ("  the payment (Lightning, two nodes)", &self.payment),
            ("  the paid request (reserve, forward)", &self.redemption),
        ];
        for (index, (name, spread)) in parts.iter().enumerate() {
            let end = if index + 1 == parts.len() { "" } else { "\n" };
            write!(f, "  {name:<37}{:>7.1}   {:>7.1}{end}", spread.p50_ms, spread.p95_ms)?;
        }
        Ok(())
    }
}

/// Sells, and takes the time.
pub(crate) async fn measure(world: &World) -> Result<Sales> {
    let key = std::fs::read_to_string(world.payer.admin_key_file())?;
    let buyer = Buyer::new(&world.payer.admin_url(), key.trim())?;
    let url = format!("{}/v1/exchange-rates?base=USD&quote=EUR", world.shop.gateway_url());
    let wanted = Wanted { url, body: None };
    let (mut whole, mut challenge, mut payment, mut redemption) = (vec![], vec![], vec![], vec![]);
    for sale in 0..WARM_UP + SALES {
        let begun = Instant::now();
        let unpaid = buyer.ask(&wanted, None).await?;
        let challenged = begun.elapsed();
        let credential = buyer.pay(&unpaid.challenge()?).await?;
        let paid = begun.elapsed();
        let answer = buyer.ask(&wanted, Some(&credential)).await?;
        let served = begun.elapsed();
        ensure!(answer.status == 200, "a paid request got {}", answer.status);
        if sale >= WARM_UP {
            whole.push(served);
            challenge.push(challenged);
            payment.push(paid - challenged);
            redemption.push(served - paid);
        }
    }
    Ok(Sales {
        whole: Spread::of(whole),
        challenge: Spread::of(challenge),
        payment: Spread::of(payment),
        redemption: Spread::of(redemption),
        sales: SALES,
    })
}
