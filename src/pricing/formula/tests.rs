//! What formulas give, and what they refuse.

use http::{HeaderMap, HeaderValue};
use serde_json::json;

use super::*;
use crate::pricing::Rate;
use crate::types::Timestamp;

mod bounds;

const CEILING: Msat = match Msat::from_sat(1_000_000) {
    Ok(ceiling) => ceiling,
    Err(_) => Msat::MAX,
};

fn compile(text: &str) -> Result<Formula, FormulaFault> {
    Formula::compile(text, Some(CEILING), Zero::Refuse)
}

fn request() -> RequestFacts {
    let mut headers = HeaderMap::new();
    headers.insert("x-tier", HeaderValue::from_static("gold"));
    headers.append("x-many", HeaderValue::from_static("1"));
    headers.append("x-many", HeaderValue::from_static("2"));
    headers.insert("x-odd", HeaderValue::from_bytes(b"\xff").unwrap());
    RequestFacts {
        method: "POST".to_owned(),
        path: "/v1/chat".to_owned(),
        query: Some("n=3&size=%6Carge&a+b=c&d=1&d=2&empty=&minus=-2".to_owned()),
        headers,
        size_bytes: Some(2_048),
        json: Some(json!({
            "n": 4, "model": "big", "ratio": 1.5, "whole": 2.0, "flag": true, "nothing": null, "large": u64::MAX,
            "tiny": 1e-300, "list": [1, 2, {"k": 7}], "words": ["a", "b"], "deep": {"er": {"x": 9}}, "a-b": 5
        })),
    }
}

fn answer() -> ResponseFacts {
    ResponseFacts {
        status: 200,
        headers: HeaderMap::new(),
        bytes: 10_000,
        ms: 1_500,
        chunks: 12,
        json: Some(json!({"usage": {"total_tokens": 321}})),
    }
}

fn dollars(per_btc: &str) -> Rate {
    Rate { currency: "USD".parse().unwrap(), per_btc: per_btc.parse().unwrap(), at: Timestamp::default() }
}

/// The price, or the code of what is wrong.
fn price(text: &str) -> Result<u64, String> {
    let formula = compile(text).map_err(|fault| format!("{text}: {fault} ({})", fault.help))?;
    let rate = dollars("100000");
    let price = formula.price(&request(), Some(&answer()), Some(&rate));
    price.map(Msat::msat).map_err(|why| why.code().to_owned())
}

fn failure(text: &str) -> String {
    let formula = compile(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    formula.price(&request(), Some(&answer()), None).unwrap_err().to_string()
}

#[test]
fn formulas_reckon() {
    for (text, msat) in [
        ("1000 + request.size_bytes / 1024 * 10", 1_020),
        ("sat(2)", 2_000),
        ("sat(0.5)", 500),
        ("5u + 0x10", 21),
        ("-3 + 5", 2),
        ("7 / 2", 3),
        ("7 % 4", 3),
        ("ceil(7 / 2.0)", 4),
        ("floor(7 / 2.0)", 3),
        ("int(3.9)", 3),
        ("ceil(0.1 * 3)", 1),
        // Exact where floating point is not: 0.1 + 0.2 is 0.3.
        ("0.1 + 0.2 == 0.3 ? 1 : 2", 1),
        ("10.0", 10),
        ("min(3, 1, 2)", 1),
        ("max(3, 1.5)", 3),
        ("request.method == \"POST\" ? sat(2) : sat(1)", 2_000),
        ("request.path.startsWith(\"/v1/\") && !request.path.endsWith(\"x\") ? 7 : 8", 7),
        ("request.path.contains(\"chat\") ? 7 : 8", 7),
        ("int(request.query.n) * 10", 30),
        ("request.query.size == \"large\" ? 5 : 6", 5),
        ("request.query[\"a b\"] == \"c\" ? 5 : 6", 5),
        ("int(get(request.query.missing, \"12\"))", 12),
        ("\"n\" in request.query && !(\"m\" in request.query) ? 5 : 6", 5),
        ("has(request.query.n) && !has(request.query.m) ? 5 : 6", 5),
        ("request.headers[\"x-tier\"] in [\"gold\", \"silver\"] ? 5 : 6", 5),
        ("request.headers[\"X-Tier\"] == \"gold\" ? 5 : 6", 5),
        ("get(request.headers[\"x-none\"], \"none\") == \"none\" ? 5 : 6", 5),
        ("\"x-tier\" in request.headers ? 5 : 6", 5),
        ("request.json.n * 100", 400),
        ("ceil(request.json.ratio * 10)", 15),
        ("request.json.whole * 10", 20),
        ("request.json.deep.er.x", 9),
        ("request.json[\"deep\"][\"er\"].x", 9),
        ("request.json[\"a-b\"]", 5),
        ("request.json.list[2].k", 7),
        ("request.json.list[int(request.query.n) - 1].k", 7),
        ("size(request.json.list) + size(request.json) + request.json.model.size()", 18),
        ("2 in request.json.list && \"b\" in request.json.words && \"n\" in request.json ? 5 : 6", 5),
        ("has(request.json.deep.er.x) && !has(request.json.deep.no.x) ? 5 : 6", 5),
        ("get(request.json.no.such, 3) + get(request.json.nothing, 4) + get(request.json.list[9], 5)", 12),
        ("get(request.json.nothing.deeper, 4)", 4),
        ("request.json.nothing == null ? 5 : 6", 5),
        ("request.json.flag ? 5 : 6", 5),
        ("request.json.flag == true ? 5 : 6", 5),
        ("request.json.model == 5 ? 5 : 6", 6),
        // A side that decides does so whatever becomes of the other, as in CEL.
        ("request.json.no == 1 || true ? 5 : 6", 5),
        ("request.json.no == 1 && false ? 5 : 6", 6),
        ("true || request.json.no ? 5 : 6", 5),
        ("fiat(\"0.002 USD\")", 2_000),
        ("fiat(\"0.002 USD\") * request.json.n", 8_000),
        ("response.json.usage.total_tokens * 10", 3_210),
        // Nobody forges the upstream's answer.
        ("get(response.json.Usage, 7)", 7),
        ("response.bytes / 1000 + response.ms + response.chunks + response.status", 1_722),
        ("// a comment\n1 + // another\n 2", 3),
    ] {
        assert_eq!(price(text), Ok(msat), "{text}");
    }
}

#[test]
fn what_gives_no_price_says_so_with_its_own_code() {
    for (text, code) in [
        ("request.json.n - 4", "price_zero"),
        ("request.json.n - 5", "price_negative"),
        ("request.json.n * -0.5", "price_negative"),
        ("request.json.n * 0.3", "formula_failed"),
        ("request.json.n / (request.json.n - 4)", "formula_failed"),
        ("request.json.n % (request.json.n - 4)", "formula_failed"),
        ("request.json.n / 0.0", "formula_failed"),
        ("request.json.n * 9223372036854775807", "price_overflow"),
        ("9223372036854775807 + request.json.n", "price_overflow"),
        ("-9223372036854775807 - request.json.n", "price_overflow"),
        ("request.json.large", "price_overflow"),
        ("request.json.large * request.json.large * 1.0", "price_overflow"),
        ("request.json.n + 2100000000000000000", "price_overflow"),
        ("request.json.tiny", "formula_failed"),
        ("request.json.model * 2", "formula_failed"),
        ("request.json.model", "formula_failed"),
        ("request.json.list", "formula_failed"),
        ("request.json", "formula_failed"),
        ("request.json.missing", "formula_failed"),
        ("request.json.list[3]", "formula_failed"),
        ("request.json.list[-1]", "formula_failed"),
        ("request.json.list[\"a\"]", "formula_failed"),
        ("request.json.n.x", "formula_failed"),
        ("get(request.json.n.x, 1)", "formula_failed"),
        ("request.json.list == request.json.list ? 1 : 2", "formula_failed"),
        ("request.json.n < request.json.model ? 1 : 2", "formula_failed"),
        ("request.json.n ? 1 : 2", "formula_failed"),
        ("int(request.query.size)", "formula_failed"),
        ("int(request.query.empty)", "formula_failed"),
        ("int(request.query.minus)", "price_negative"),
        ("int(request.query.missing)", "formula_failed"),
        ("int(request.headers[\"x-odd\"])", "formula_failed"),
        // There are servers that read these fields and parameters in any letter case.
        ("request.json.Flag ? 1 : 2", "formula_failed"),
        ("get(request.json.Missing.N, 7) + get(request.json.N, 1)", "formula_failed"),
        ("has(request.json.deep.ER) ? 1 : 2", "formula_failed"),
        ("\"MODEL\" in request.json ? 1 : 2", "formula_failed"),
        ("int(get(request.query.N, \"1\"))", "formula_failed"),
        // The upstream may read the other one: neither is a price, and no default either.
        ("int(request.query.d)", "formula_failed"),
        ("int(get(request.query.d, \"1\"))", "formula_failed"),
        ("has(request.query.d) ? 1 : 2", "formula_failed"),
        ("int(request.headers[\"x-many\"])", "formula_failed"),
    ] {
        assert_eq!(price(text), Err(code.to_owned()), "{text}");
    }
    assert_eq!(
        failure("request.json.deep.no.x"),
        "the price formula fails: request.json.deep.no is not there"
    );
    assert_eq!(
        failure("int(request.query.d)"),
        "the price formula fails: request.query.d is there more than once, or with other letter case"
    );
    assert_eq!(
        failure("request.json[\"a b\"][3]"),
        "the price formula fails: request.json[\"a b\"] is not there"
    );
    // Values never show.
    assert_eq!(
        failure("request.json.model * 2"),
        "the price formula fails: request.json.model is not a number"
    );
    assert_eq!(failure("fiat(\"1 USD\")"), "no source has a rate for USD");
}

#[test]
fn zero_needs_leave() {
    let free = Formula::compile("request.json.n - 4", None, Zero::Allow).unwrap();
    let quote = free.quote(&request(), None).unwrap();
    assert!(quote.is_free());
    assert_eq!(
        compile("0").unwrap_err().message,
        "the formula never gives a price: the price is zero, and the rule does not say that it may be"
    );
    assert!(Formula::compile("0", None, Zero::Allow).is_ok());
}

#[test]
fn a_body_that_cannot_be_read_is_not_an_empty_one() {
    let formula = compile("get(request.json.n, 1)").unwrap();
    let empty = RequestFacts { size_bytes: Some(0), ..RequestFacts::default() };
    assert_eq!(formula.price(&empty, None, None).map(Msat::msat), Ok(1));
    for size_bytes in [None, Some(1), Some(1 << 40)] {
        let unread = RequestFacts { size_bytes, ..RequestFacts::default() };
        let why = formula.price(&unread, None, None).unwrap_err();
        assert_eq!(why, Failure::Unreadable("request.json").into());
    }
    let formula = compile("get(response.json.n, 1)").unwrap();
    let unread = ResponseFacts { bytes: 10, ..ResponseFacts::default() };
    assert!(formula.price(&empty, Some(&unread), None).is_err());
    assert!(formula.price(&empty, Some(&ResponseFacts::default()), None).is_ok());
}

#[test]
fn what_is_not_allowed_is_refused_with_help() {
    for (text, message) in [
        ("", "the formula is empty"),
        ("   ", "the formula is empty"),
        ("1 +", "the formula is not CEL"),
        ("(1", "the formula is not CEL"),
        ("1;2", "the formula is not CEL"),
        ("`a`", "the formula is not CEL"),
        ("99999999999999999999", "the formula is not CEL"),
        ("1e40", "this number is too large"),
        ("18446744073709551615u", "this number is too large"),
        ("[1, 2].map(x, x * 2)", "map, filter, all and exists are not for prices"),
        ("request.json.items.all(x, x > 1) ? 1 : 2", "map, filter, all and exists"),
        ("request.json.filter(x, x > 1)", "map, filter, all and exists"),
        ("request.json.exists_one(x, x > 1) ? 1 : 2", "map, filter, all and exists"),
        ("request.path.matches(\"(a+)+$\") ? 1 : 2", "patterns are not for prices"),
        ("matches(request.path, \"a\") ? 1 : 2", "patterns are not for prices"),
        ("size(request.path + request.path)", "this is text, and a number is needed here"),
        ("size([1] + [2])", "a list stands only after `in`"),
        ("size([1])", "a list stands only after `in`"),
        ("size({\"a\": 1})", "maps and messages"),
        ("Thing{a: 1}", "maps and messages"),
        ("size(b\"abc\")", "bytes are not for prices"),
        ("duration(\"1s\")", "`duration` is not known"),
        ("timestamp(\"2020-01-01T00:00:00Z\")", "`timestamp` is not known"),
        ("string(5)", "`string` is not known"),
        ("type(5)", "`type` is not known"),
        ("request", "`request` is not one value"),
        ("request[\"json\"]", "`request` has no keys"),
        ("request.body", "`request.body` is not known"),
        ("request.jsom.n", "`request.jsom` is not known"),
        ("req.json", "`req` is not known"),
        (".request.json.n", "`.request` is not known"),
        ("sta(5)", "`sta` is not known"),
        ("sat(5, 6)", "`sat` is not called like this"),
        ("5.sat()", "`sat` is not called like this"),
        ("min(5)", "`min` is not called like this"),
        ("request.method", "this is text, and a number is needed here"),
        ("request.query", "this is the whole query"),
        ("request.headers", "this is all headers"),
        ("true", "this is true or false"),
        ("null", "this is null"),
        ("request.query.n * 10", "this is text, and a number is needed here"),
        ("request.query.n == 10 ? 1 : 2", "text cannot be compared with a number"),
        ("request.size_bytes == null ? 1 : 2", "a number cannot be compared with null"),
        ("request.size_bytes ? 1 : 2", "this is a number, and true or false is needed here"),
        ("request.method.x", "this is text, which has no parts"),
        ("true ? 1 : \"a\"", "one branch is a number and the other text"),
        ("size(5)", "a number has no size"),
        ("int(true)", "true or false is no number"),
        ("request.headers[\"a b\"] == \"\" ? 1 : 2", "`a b` is not a header's name"),
        ("request.json[true]", "true or false is no key here"),
        ("request.query[5] == \"\" ? 1 : 2", "a number is no key here"),
        ("get(5, 6)", "get reads a parameter, a header or a JSON field"),
        ("int(get(request.query.n, 5))", "this is a number, where text may be missing"),
        ("has(request.json) ? 1 : 2", "this is always there"),
        ("has(5) ? 1 : 2", "the formula is not CEL"),
        ("5 in [\"a\"] ? 1 : 2", "a number is never text"),
        ("5 in request.query ? 1 : 2", "a number is never in the whole query"),
        ("fiat(\"5 sat\")", "this amount is in bitcoin"),
        ("fiat(\"5\")", "`5` is not an amount"),
        ("fiat(request.path)", "fiat takes an amount in quotes"),
        ("fiat(\"1 USD\") + fiat(\"1 EUR\")", "the formula is in USD and EUR"),
        ("1 / 0", "the formula never gives a price: the price formula fails: a division by zero"),
        ("1.5", "the formula never gives a price"),
        ("-1", "the formula never gives a price: the price is below zero"),
        ("9223372036854775807", "the formula never gives a price: the price is more than 21 million bitcoin"),
    ] {
        let fault = match Formula::compile(text, None, Zero::Refuse) {
            Err(fault) => fault,
            Ok(_) => panic!("{text} compiles"),
        };
        assert!(fault.message.starts_with(message), "{text}: {}", fault.message);
        assert!(!fault.help.is_empty(), "{text}");
    }
    let fault = compile("1000 + request.jsom.n").unwrap_err();
    assert_eq!((fault.help.as_str(), fault.column), ("did you mean `request.json`?", Some(15)));
    let fault = compile("1000 +\n  2 3").unwrap_err();
    assert_eq!(fault.column, Some(12), "{fault}");
    let ceiling = Formula::compile("response.bytes", None, Zero::Refuse).unwrap_err();
    assert!(ceiling.help.contains("ceiling"));
}

#[test]
fn what_is_read_is_known() {
    let reads = |text: &str| compile(text).unwrap().reads();
    assert_eq!(reads("5"), Reads::NOTHING);
    assert_eq!(reads("request.json.n"), Reads { request_json: true, ..Reads::NOTHING });
    assert_eq!(
        reads("has(request.query.n) ? request.size_bytes : size(request.headers[\"x\"])"),
        Reads { query: true, size_bytes: true, headers: true, ..Reads::NOTHING }
    );
    assert_eq!(
        reads("true ? 1 : response.json.x + response.bytes + fiat(\"1 EUR\")"),
        Reads { response_json: true, bytes: true, rate: "EUR".parse().ok(), ..Reads::NOTHING }
    );
}

#[test]
fn metering_is_flowing_only_when_the_cost_cannot_fall() {
    let metering = |text: &str| compile(text).unwrap().metering();
    for exact in ["5", "request.json.n", "request.size_bytes - 5"] {
        assert_eq!(metering(exact), Metering::Exact, "{exact}");
    }
    for flowing in [
        "response.bytes",
        "1000 + response.bytes / 1024 * 10",
        "sat(1) + response.chunks * 50 + response.ms / 10",
        "max(1000, int(request.query.n)) * response.bytes",
        "request.method == \"GET\" ? response.bytes : 5",
        "response.status == 200 ? response.bytes : 1",
        "ceil(response.bytes / 1024.0) * 3",
        "min(response.bytes, response.ms) % 7 * 0 + response.bytes - 5 > 0 ? 1 : 1",
        "response.status",
    ] {
        let expected = if flowing.contains('%') { Metering::AtEnd } else { Metering::Flowing };
        assert_eq!(metering(flowing), expected, "{flowing}");
    }
    for at_end in [
        "response.json.usage.total_tokens",
        "response.bytes + response.json.n",
        "1000 - response.bytes",
        "response.bytes < 1000 ? 1000 : 500",
        "response.bytes % 1000 + 1",
        "response.bytes * request.json.n",
        "1000000 / response.bytes",
        "response.bytes - response.ms",
        "-response.bytes + 5",
        "request.json.list[response.chunks]",
        "size(request.json.list[response.chunks])",
    ] {
        assert_eq!(metering(at_end), Metering::AtEnd, "{at_end}");
    }
}

#[test]
fn quotes_of_formulas_hold_what_may_be_charged() {
    let quote = |text: &str| compile(text).unwrap().quote(&request(), Some(dollars("100000"))).unwrap();
    let exact = quote("fiat(\"0.002 USD\") * 2");
    assert_eq!((exact.least.msat(), exact.most.msat(), exact.metering), (4_000, 4_000, Metering::Exact));
    assert_eq!(exact.changed.map(|(fiat, _)| fiat.to_string()), Some("0.004 USD".to_owned()));
    // Never more than the ceiling.
    assert_eq!(quote("request.json.n * sat(2000000)").most, CEILING);
    assert_eq!(quote("response.bytes + sat(2000000)").least, CEILING);
    let flowing = quote("1000 + response.bytes");
    assert_eq!((flowing.least.msat(), flowing.most, flowing.metering), (1_000, CEILING, Metering::Flowing));
    assert_eq!(quote("response.bytes").least.msat(), 1);
    // The header is not known yet: it may be as dear as anything.
    assert_eq!(quote("int(response.headers[\"x-cost\"])").least, CEILING);
    let at_end = quote("response.json.usage.total_tokens");
    assert_eq!((at_end.least, at_end.most, at_end.metering), (CEILING, CEILING, Metering::AtEnd));
}
