//! What is sold is never nothing, never covers more than was priced, and its rate reads back.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::catalog::{Service, Terms, Upstream, rate_of};
use crate::pricing::{LockedRate, RequestFacts, Rule};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn rate(per_btc: &str) -> Rate {
    Rate { currency: "USD".parse().unwrap(), per_btc: per_btc.parse().unwrap(), at: NOW }
}

fn matched(terms: Terms) -> Matched {
    let upstream = Upstream::at("http://127.0.0.1:1/".parse().unwrap());
    let service = Service::new("api".parse().unwrap(), "/", terms, upstream);
    let terms = Arc::clone(&service.terms);
    Matched { service: Arc::new(service), route: "default".parse().unwrap(), terms, revision: 0 }
}

/// What `what` is sold as where a request costs `price`.
fn sold(price: &str, what: Offering, rate: Rate) -> Result<Ware, NotSold> {
    let offer = Offer { name: "it".parse().unwrap(), what };
    let rule = Rule::Fixed(price.parse().unwrap());
    let matched = matched(Terms { rule, offers: vec![offer.clone()], ..Terms::fixed(Msat::ZERO) });
    let (request, exchange) = (RequestFacts::default(), LockedRate(rate));
    let ask = Ask { request: &request, exchange: &exchange, now: NOW, fallback: None };
    let quote = matched.terms.rule.quote(&ask)?;
    Ware::of(&offer, &matched, &quote, &ask)
}

#[test]
fn each_kind_has_its_units_and_its_price() {
    let amount = |text: &str| text.parse::<Amount>().unwrap();
    let hour = Duration::from_secs(3_600);
    for (what, units, price, covers, quote) in [
        (Offering::Request, 1, 20_000, 20_000, Some("0.01 USD@50000")),
        (Offering::Pack { requests: 7, price: None }, 7, 140_000, 20_000, Some("0.01 USD@50000")),
        (
            Offering::Pack { requests: 7, price: Some(amount("100 sat")) },
            7,
            100_000,
            20_000,
            Some("0.01 USD@50000"),
        ),
        (Offering::Pass { lasts: hour, price: amount("1 USD") }, 3_600, 2_000_000, 0, Some("1 USD@50000")),
        (Offering::Pass { lasts: hour, price: amount("9 sat") }, 3_600, 9_000, 0, None),
        (Offering::Balance { value: amount("50 sat"), price: None }, 50_000, 50_000, 0, None),
        (
            Offering::Balance { value: amount("50 sat"), price: Some(amount("0.02 USD")) },
            50_000,
            40_000,
            0,
            Some("0.02 USD@50000"),
        ),
    ] {
        let ware = sold("0.01 USD", what.clone(), rate("50000")).unwrap();
        assert_eq!((ware.units, ware.price.msat(), ware.covers.msat()), (units, price, covers), "{what:?}");
        assert_eq!(ware.quote.as_ref().map(Quoted::as_str), quote, "{what:?}");
    }
    let small = Offering::Balance { value: amount("19999 msat"), price: None };
    assert!(matches!(sold("0.01 USD", small, rate("50000")), Err(NotSold::TooSmall { .. })));
}

#[test]
fn a_pack_with_its_own_price_stays_where_it_was_priced() {
    let pack = Offer {
        name: "p".parse().unwrap(),
        what: Offering::Pack { requests: 9, price: "9 sat".parse().ok() },
    };
    let cheap = Terms { offers: vec![pack.clone()], ..Terms::fixed(Msat::from_sat(2).unwrap()) };
    let mut matched = matched(cheap.clone());
    let request = RequestFacts::default();
    let exchange = LockedRate(rate("1"));
    let ask = Ask { request: &request, exchange: &exchange, now: NOW, fallback: None };
    let mut of = |terms: Terms| {
        matched.terms = Arc::new(terms);
        let quote = matched.terms.rule.quote(&ask).unwrap();
        Ware::of(&pack, &matched, &quote, &ask).map(|ware| ware.covers.msat())
    };
    assert_eq!(of(cheap.clone()), Ok(2_000));
    let dear = Terms { rule: Rule::Fixed("500 sat".parse().unwrap()), ..cheap };
    assert_eq!(of(dear.clone()), Err(NotSold::PricedApart));
    assert_eq!(of(Terms { scope: "own".parse().unwrap(), ..dear }), Ok(500_000));
}

proptest! {
    #[test]
    fn nothing_is_sold_for_nothing_and_the_rate_reads_back(
        whole in 0u64..=1_000_000, part in 0u64..1_000_000_000_000, per_btc in 1u64..=10_u64.pow(17), scale in 0u32..12,
        requests in 2u64..1_000_000,
    ) {
        let price = format!("{whole}.{part:012} USD");
        let rate = Rate { per_btc: Decimal::new(i64::try_from(per_btc).unwrap(), scale), ..rate("1") };
        for what in [Offering::Request, Offering::Pack { requests, price: None }] {
            if let Ok(ware) = sold(&price, what, rate) {
                prop_assert!(ware.price > Msat::ZERO && ware.covers > Msat::ZERO);
                prop_assert!(ware.covers <= ware.price);
                let read = rate_of(ware.quote.unwrap().as_str(), NOW).unwrap();
                // At the rate that the token names, what was sold covers what it was sold for.
                let again = LockedRate(read).0.worth(price.parse().unwrap());
                prop_assert!(again.is_some_and(|msat| msat <= ware.covers), "{again:?} {:?}", ware.covers);
            }
        }
    }

    #[test]
    fn no_quote_panics(text in "[0-9A-Z.@ ]{1,64}") {
        if let Ok(quoted) = text.parse::<Quoted>() {
            let _ = rate_of(quoted.as_str(), NOW);
        }
    }
}
