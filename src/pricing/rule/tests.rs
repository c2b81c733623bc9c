//! Rules as they are written, quoted, explained, metered and packed.

use proptest::prelude::*;

use super::*;
use crate::pricing::{
    Exchange, Formula, Meter, NoExchange, RateFault, RequestFacts, ResponseFacts, Sample, Size, Tier, Used,
    Zero,
};
use crate::types::Timestamp;

/// USD at one price, EUR never fresh.
struct Market(&'static str);

impl Exchange for Market {
    fn rate(&self, currency: Currency, now: Timestamp) -> Result<Rate, RateFault> {
        match currency.as_str() {
            "USD" => Ok(Rate { currency, per_btc: self.0.parse().unwrap(), at: now }),
            "EUR" => Err(RateFault::Stale(currency)),
            _ => Err(RateFault::Unknown(currency)),
        }
    }
}

const MARKET: Market = Market("64000");

fn sat(sat: u64) -> Msat {
    Msat::from_sat(sat).unwrap()
}

fn fixed(amount: &str) -> Rule {
    Rule::Fixed(amount.parse().unwrap())
}

fn formula(text: &str) -> Rule {
    Rule::Formula(Formula::compile(text, Some(sat(100)), Zero::Refuse).unwrap())
}

fn by_requests(prices: &[(Option<u64>, &str)]) -> Rule {
    tiers(Volume::Requests, prices)
}

fn tiers(volume: Volume, prices: &[(Option<u64>, &str)]) -> Rule {
    let tier = |(up_to, price): &(Option<u64>, &str)| Tier { up_to: *up_to, price: price.parse().unwrap() };
    Rule::Tiers(Tiers::new(volume, prices.iter().map(tier).collect()).unwrap())
}

fn by_bytes() -> Rule {
    let volume = Volume::Bytes { per: Size::new(1_000_000), ceiling: sat(500) };
    tiers(volume, &[(Some(10_000_000), "5 sat"), (None, "1 sat")])
}

fn quote(rule: &Rule, fallback: Option<Msat>) -> Result<Quote, Unpriced> {
    let request = RequestFacts { size_bytes: Some(0), ..RequestFacts::default() };
    rule.quote(&Ask { request: &request, exchange: &MARKET, now: Timestamp::default(), fallback })
}

/// The rule that `text`, as `Display` wrote it, says.
fn read(text: &str) -> Rule {
    let Ok(table) = format!("rule = {text}").parse::<toml::Table>() else {
        return if text == "free" { Rule::Free } else { fixed(text) };
    };
    let text = |key: &str| table["rule"].get(key).map(|value| value.as_str().unwrap().to_owned());
    let ceiling = text("ceiling").map(|ceiling| ceiling.parse().unwrap());
    if let Some(formula) = text("formula") {
        let zero = if text("zero").as_deref() == Some("allow") { Zero::Allow } else { Zero::Refuse };
        return Rule::Formula(Formula::compile(&formula, ceiling, zero).unwrap());
    }
    let size = |text: &str| text.parse::<Size>().unwrap();
    let volume = match text("per") {
        Some(per) => Volume::Bytes { per: size(&per), ceiling: ceiling.unwrap() },
        None => Volume::Requests,
    };
    let tier = |value: &toml::Value| Tier {
        up_to: value.get("up_to").map(|up_to| match up_to {
            toml::Value::String(text) => size(text).bytes(),
            number => u64::try_from(number.as_integer().unwrap()).unwrap(),
        }),
        price: value["price"].as_str().unwrap().parse().unwrap(),
    };
    let all = table["rule"]["tiers"].as_array().unwrap();
    Rule::Tiers(Tiers::new(volume, all.iter().map(tier).collect()).unwrap())
}

#[test]
fn rules_read_as_they_are_written() {
    let allowed = Formula::compile("request.size_bytes", None, Zero::Allow).unwrap();
    for (rule, text) in [
        (Rule::Free, "free"),
        (fixed("50 sat"), "50 sat"),
        (fixed("0.0020 USD"), "0.002 USD"),
        (formula("1000 + response.bytes"), r#"{ formula = "1000 + response.bytes", ceiling = "100 sat" }"#),
        (Rule::Formula(allowed), r#"{ formula = "request.size_bytes", zero = "allow" }"#),
        (
            by_requests(&[(Some(100), "2 sat"), (None, "250 msat")]),
            r#"{ tiers = [{ up_to = 100, price = "2 sat" }, { price = "250 msat" }] }"#,
        ),
        (
            by_bytes(),
            r#"{ tiers = [{ up_to = "10 MB", price = "5 sat" }, { price = "1 sat" }], per = "1 MB", ceiling = "500 sat" }"#,
        ),
    ] {
        assert_eq!(rule.to_string(), text);
        assert_eq!(read(text), rule);
    }
    for text in
        ["1 +\n request.size_bytes", "request.path == \"a\\\"'b\\\\\" ? 1 : 2", "'''é''' == \"\" ? 1 : 2"]
    {
        let rule = formula(text);
        assert_eq!(read(&rule.to_string()), rule, "{rule}");
    }
}

#[test]
fn what_has_no_price_falls_back_or_is_refused() {
    for (rule, code) in [
        (fixed("1 EUR"), "rate_stale"),
        (fixed("1 GBP"), "rate_unknown"),
        (fixed("9999999999999 USD"), "price_overflow"),
        (by_requests(&[(Some(5), "1 sat"), (None, "1 EUR")]), "rate_stale"),
        (formula("true ? 5 : fiat(\"1 EUR\")"), "rate_stale"),
        (formula("response.json.cost + fiat(\"1 EUR\")"), "rate_stale"),
        (formula("request.size_bytes"), "price_zero"),
        (formula("request.size_bytes - 1"), "price_negative"),
        (formula("request.json.n"), "formula_failed"),
    ] {
        let why = quote(&rule, None).unwrap_err();
        assert_eq!(why.code(), code, "{rule}");
        let fallen = quote(&rule, Some(sat(60))).unwrap();
        assert_eq!((fallen.least, fallen.most, fallen.metering), (sat(60), sat(60), Metering::Exact));
        assert_eq!(fallen.fallback, Some(why));
        assert_eq!((fallen.changed, fallen.rate), (None, None));
        // Whatever the answer is like, it costs what was quoted.
        let meter = Meter::new(&rule, RequestFacts::default(), &fallen, Used::default());
        let answer = ResponseFacts { bytes: 1 << 40, ..ResponseFacts::default() };
        assert_eq!(meter.cost(&answer), Ok(sat(60)));
    }
}

#[test]
fn quotes_say_why() {
    let why = |rule: &Rule, fallback| quote(rule, fallback).unwrap().why(rule);
    assert_eq!(
        why(&fixed("0.002 USD"), None),
        [
            "0.002 USD for each request",
            "0.002 USD is 3125 msat at 64000 USD for a bitcoin, rounded up",
            "this request costs 3125 msat"
        ]
    );
    assert_eq!(
        why(&fixed("1 EUR"), Some(sat(60))),
        [
            "1 EUR for each request",
            "the rule gave no price (rate_stale: the rate for EUR is too old to sell at), so the fallback price holds",
            "this request costs 60 sat"
        ]
    );
    assert_eq!(
        why(&by_requests(&[(Some(10), "2 sat"), (None, "1 sat")]), None)[1],
        "this request costs 1 sat to 2 sat: how much, the token's use before it says"
    );
    assert_eq!(
        why(&by_bytes(), None),
        [
            "5 sat for each 1 MB of answer up to the token's first 10 MB, then 1 sat; at most 500 sat for one request",
            "this request costs 1 msat to 500 sat: it is metered while the answer flows"
        ]
    );
    assert_eq!(
        why(&formula("response.json.n"), None),
        [
            "by a formula in millisatoshi, at most 100 sat: response.json.n",
            "this request costs at most 100 sat: how much, its answer says"
        ]
    );
    assert_eq!(why(&Rule::Free, None), ["free", "this request costs 0 sat"]);
}

#[test]
fn packs_cost_what_their_requests_cost() {
    let request = RequestFacts { size_bytes: Some(700), ..RequestFacts::default() };
    let ask = |fallback| Ask { request: &request, exchange: &MARKET, now: Timestamp::default(), fallback };
    let pack = |rule: &Rule| rule.pack_price(100, &ask(None)).unwrap();
    assert_eq!(pack(&fixed("50 sat")).msat, sat(5_000));
    // Changed as a whole, so that rounding costs the buyer a millisatoshi at most.
    let dollars = pack(&fixed("0.000001 USD"));
    assert_eq!(dollars.msat.msat(), 157);
    assert_eq!(dollars.changed.map(|(fiat, _)| fiat.to_string()), Some("0.0001 USD".to_owned()));
    assert_eq!(pack(&by_requests(&[(Some(10), "2 sat"), (None, "1 sat")])).msat, sat(110));
    assert_eq!(pack(&formula("request.size_bytes")).msat, sat(70));
    assert_eq!(fixed("1 EUR").pack_price(3, &ask(Some(sat(5)))).unwrap().msat, sat(15));
    assert_eq!(
        fixed("1 EUR").pack_price(3, &ask(None)),
        Err(RateFault::Stale("EUR".parse().unwrap()).into())
    );
    assert_eq!(fixed("50 sat").pack_price(0, &ask(None)), Err(Unpriced::Zero));
    let free = Rule::Formula(Formula::compile("request.size_bytes - 700", None, Zero::Allow).unwrap());
    assert_eq!(free.pack_price(5, &ask(None)), Err(Unpriced::Zero));
    assert_eq!(fixed("50 sat").pack_price(u64::MAX, &ask(None)), Err(Unpriced::Overflow));
}

#[test]
fn meters_keep_the_rate_and_the_use_that_they_began_with() {
    let rule = formula("response.json.tokens * fiat(\"0.002 USD\")");
    let quoted = quote(&rule, None).unwrap();
    let meter = Meter::new(&rule, RequestFacts::default(), &quoted, Used::default());
    let answer = |json| ResponseFacts { bytes: 10, json, ..ResponseFacts::default() };
    assert_eq!(meter.cost(&answer(Some(serde_json::json!({"tokens": 3})))).map(Msat::msat), Ok(9_375));
    // No price for what was delivered: never nothing.
    let charge = |json, fallback| meter.charge(&answer(json), fallback);
    let tokens = |tokens: i64| Some(serde_json::json!({"tokens": tokens}));
    assert_eq!(charge(None, None).msat, sat(100));
    assert_eq!(charge(None, Some(sat(7))).msat, sat(7));
    assert_eq!(charge(None, Some(sat(700))).msat, sat(100));
    assert_eq!(charge(tokens(-1), None).unpriced, Some(Unpriced::Negative));
    assert_eq!(charge(tokens(0), None).msat, quoted.least);
    assert_eq!(charge(tokens(1_000), None).msat, sat(100));

    let rule = by_requests(&[(Some(10), "2 sat"), (None, "1 sat")]);
    let quoted = quote(&rule, None).unwrap();
    for (requests, price) in [(0, 2), (9, 2), (10, 1)] {
        let meter = Meter::new(&rule, RequestFacts::default(), &quoted, Used { requests, bytes: 0 });
        assert_eq!(meter.cost(&ResponseFacts::default()), Ok(sat(price)));
    }
    let flowing = formula("response.bytes / 1000");
    let meter =
        Meter::new(&flowing, RequestFacts::default(), &quote(&flowing, None).unwrap(), Used::default());
    assert_eq!(meter.cost(&ResponseFacts::default()).map(Msat::msat), Ok(1));
}

#[test]
fn samples_show_what_a_rule_makes_of_them() {
    let sample = Sample {
        request: RequestFacts { size_bytes: Some(10), ..RequestFacts::default() },
        answer: ResponseFacts { status: 200, bytes: 2_500_000, ..ResponseFacts::default() },
    };
    let price =
        |rule: &Rule| rule.try_samples(std::slice::from_ref(&sample), &NoExchange, Timestamp::default());
    assert_eq!(price(&by_bytes())[0].price, Ok(Msat::new(12_500).unwrap()));
    assert_eq!(price(&by_bytes())[0].held, Some((Msat::new(1).unwrap(), sat(500))));
    assert_eq!(price(&formula("request.size_bytes"))[0].price.as_ref().map(|p| p.msat()), Ok(10));
    assert_eq!(price(&formula("request.json.n"))[0].price.as_ref().unwrap_err().code(), "formula_failed");
    assert_eq!(price(&fixed("1 USD"))[0].held, None);
}

proptest! {
    #[test]
    fn fiat_is_rounded_up_and_back(micros in 1u64..1_000_000_000_000, per_btc in 1u64..100_000_000) {
        let rate = Rate { currency: "USD".parse().unwrap(), per_btc: per_btc.into(), at: Timestamp::default() };
        let fiat: Fiat = format!("{}.{:06} USD", micros / 1_000_000, micros % 1_000_000).parse().unwrap();
        let exact = u128::from(micros) * 100_000;
        match rate.worth(fiat) {
            Some(msat) => {
                prop_assert_eq!(u128::from(msat.msat()), exact.div_ceil(u128::from(per_btc)));
                prop_assert!(rate.back(msat).unwrap().amount >= fiat.amount);
            }
            None => prop_assert!(exact.div_ceil(u128::from(per_btc)) > u128::from(Msat::MAX.msat())),
        }
    }
}
