//! That nothing panics, overflows a stack or takes long, and what holds for every formula.

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::compiler::MOST_NODES;
use super::super::evaluation::{FUEL, Facts, evaluate};
use super::{answer, compile, dollars, request};
use crate::pricing::{Formula, Metering, RequestFacts, ResponseFacts, Zero};
use crate::types::Msat;

#[test]
fn the_parser_gets_nothing_that_could_overflow_its_stack() {
    let repeated = |front: &str, times: usize, middle: &str, back: &str| {
        format!("{}{middle}{}", front.repeat(times), back.repeat(times))
    };
    let mut texts = Vec::new();
    for times in [16, 24, 25, 47, 48, 49, 60, 96, 150, 250, 340, 500, 511, 1_000] {
        texts.extend([
            repeated("(", times, "1", ")"),
            repeated("[", times, "1", "]"),
            repeated("{1:", times, "1", "}"),
            repeated("sat(", times, "1", ")"),
            repeated("a[", times, "1", "]"),
            repeated("(1+", times, "1", ")"),
            repeated("(true?1:", times, "1", ")"),
            repeated("true?", times, "1", ":1"),
            repeated("true?1:", times, "1", ""),
            repeated("-", times, "1", ""),
            repeated("- ", times, "1", ""),
            repeated("!", times, "true", ""),
            repeated("1+", times, "1", ""),
            repeated("1<", times, "1", ""),
            repeated("true&&", times, "true", ""),
            repeated("a.", times, "a", ""),
            format!("request.json{}", "[0]".repeat(times)),
            format!("min(1{})", ",1".repeat(times)),
            repeated("(", times, "", ""),
            repeated("", times, "1", ")"),
            repeated("'", times, "", ""),
            repeated("has(", times, "a.b", ")"),
            repeated("1 in [", times, "1", "]"),
        ]);
    }
    // A quarter of a worker's stack, and twice what the deepest took.
    let run = move || texts.iter().filter(|text| compile(text).is_ok()).count();
    let thread = std::thread::Builder::new().stack_size(1024 * 1024).spawn(run).unwrap();
    assert!(thread.join().unwrap() > 20);
}

#[test]
fn no_request_makes_a_formula_slow() {
    let long = "x".repeat(1 << 20);
    let facts = RequestFacts {
        method: "POST".to_owned(),
        path: format!("/{}", "a".repeat(8_000)),
        query: Some("a=b&".repeat(2_000)),
        headers: HeaderMap::new(),
        size_bytes: Some(1 << 20),
        json: Some(json!({"a": long, "b": long, "list": vec![0; 100_000]})),
    };
    let texts = [
        ["request.json.a == request.json.b"; 15].join(" && "),
        ["request.json.a.contains(request.json.b)"; 15].join(" || "),
        ["!has(request.query.zz)"; 20].join(" && "),
        ["request.json[request.json.a] == 1"; 15].join(" && "),
        ["!(1 in request.json.list)"; 20].join(" && "),
        ["size(request.json.a) > 1"; 20].join(" && "),
        ["request.json.a <= request.json.b"; 15].join(" && "),
        ["request.json.a.startsWith(request.json.b)"; 15].join(" && "),
    ];
    for text in texts {
        let formula = compile(&format!("{text} ? 1 : 2")).unwrap();
        let (_, effort) = evaluate(&formula.0.root, Facts { request: &facts, answer: &answer(), rate: None });
        assert!(effort.nodes <= MOST_NODES, "{text}");
        // The last look fails before it looks.
        assert!(effort.fuel > FUEL / 2 && formula.price(&facts, None, None).is_err(), "{text}: {effort:?}");
    }
}

/// Formulas that are mostly meaningful, and wilder ones.
fn any_formula() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|int| int.to_string()),
        (0u32..100_000, 0u32..1_000).prop_map(|(whole, part)| format!("{whole}.{part}")),
        proptest::sample::select(vec![
            "request.size_bytes",
            "request.method",
            "request.query.n",
            "request.query.d",
            "request.headers[\"x-tier\"]",
            "request.json",
            "request.json.n",
            "request.json.list",
            "request.json.deep.er",
            "response.bytes",
            "response.ms",
            "response.json.usage",
            "true",
            "null",
            "\"gold\"",
            "fiat(\"0.002 USD\")",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let one = inner.clone();
        let binary =
            proptest::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]);
        prop_oneof![
            (inner.clone(), binary, inner.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            (proptest::sample::select(vec!["-", "!", "sat", "int", "size", "ceil", "double", "has"]), one)
                .prop_map(|(call, a)| format!("{call}({a})")),
            (proptest::sample::select(vec!["min", "max", "get"]), inner.clone(), inner.clone())
                .prop_map(|(call, a, b)| format!("{call}({a}, {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{a}[{b}]")),
        ]
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("n|list|deep|er|usage", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = compile(&text);
    }

    #[test]
    fn no_soup_of_signs_panics(
        text in r#"([0-9a-z."'()\[\]{}?:!&|<>=+*/%, -]|request|response|json|has|\\|`|u|x| in ){0,60}"#
    ) {
        if let Ok(formula) = compile(&text) {
            let _ = formula.price(&request(), Some(&answer()), None);
        }
    }

    #[test]
    fn whatever_compiles_ends_soon_and_is_never_free(text in any_formula(), json in any_json(), used in any::<u64>()) {
        let Ok(formula) = compile(&text) else { return Ok(()) };
        let json = Some(json);
        let facts = RequestFacts { json: json.clone(), size_bytes: Some(used), ..request() };
        let reply = ResponseFacts { json, bytes: used, ms: used, ..answer() };
        let rate = dollars("64000.12");
        let looked = Facts { request: &facts, answer: &reply, rate: Some(&rate) };
        let (_, effort) = evaluate(&formula.0.root, looked);
        prop_assert!(effort.nodes <= MOST_NODES);
        if let Ok(price) = formula.price(&facts, Some(&reply), Some(&rate)) {
            prop_assert!(price > Msat::ZERO);
        }
        // What it says it does not read may be left out.
        let reads = formula.reads();
        let blind = RequestFacts {
            method: if reads.method { facts.method.clone() } else { String::new() },
            path: if reads.path { facts.path.clone() } else { String::new() },
            query: if reads.query { facts.query.clone() } else { None },
            headers: if reads.headers { facts.headers.clone() } else { HeaderMap::new() },
            size_bytes: facts.size_bytes,
            json: if reads.request_json { facts.json.clone() } else { None },
        };
        prop_assert_eq!(
            formula.price(&facts, Some(&reply), Some(&rate)),
            formula.price(&blind, Some(&reply), Some(&rate))
        );
        // What is worked out before the answer is the same after it.
        let settled = formula.settle(facts.clone(), Some(rate));
        prop_assert_eq!(
            formula.price(&facts, Some(&reply), Some(&rate)).map_err(|why| why.code()),
            settled.price(&reply).map_err(|why| why.code())
        );
        // Its own text means the same again.
        prop_assert_eq!(compile(formula.text()).map(|again| again.0.root.clone()), Ok(formula.0.root.clone()));
    }

    #[test]
    fn flowing_costs_never_fall(text in any_formula(), from in 0u64..1 << 40, more in 0u64..1 << 40) {
        let Ok(formula) = compile(&text) else { return Ok(()) };
        if formula.metering() != Metering::Flowing {
            return Ok(());
        }
        let cost = |bytes| {
            let reply = ResponseFacts { bytes, ms: bytes / 7, chunks: bytes / 1_000, ..answer() };
            formula.price(&request(), Some(&reply), Some(&dollars("64000.12")))
        };
        if let (Ok(before), Ok(after)) = (cost(from), cost(from + more)) {
            prop_assert!(before <= after, "{text}");
        }
    }

    #[test]
    fn reckoning_is_cels(a in -2_000i64..2_000, b in -2_000i64..2_000, c in 1i64..50, flag: bool) {
        let text = format!("({a} * {b} - {a} / {c} + {b} % {c}) * ({flag} ? {c} : 3) + 1000000000");
        let cel = cel::Program::compile(&text).unwrap().execute(&cel::Context::default());
        let ours = Formula::compile(&text, None, Zero::Refuse).unwrap();
        let price = ours.price(&request(), None, None).unwrap();
        prop_assert_eq!(cel, Ok(cel::Value::Int(i64::try_from(price.msat()).unwrap())));
    }
}
