//! The language of formulas, for those who write prices.

/// What a formula may say, in plain text; each indented line is an example that compiles.
pub const FORMULA_GUIDE: &str = r#"A formula is an expression in CEL whose value is a whole number of
millisatoshi.

    1000 + request.size_bytes / 1024 * 10
    request.method == "POST" ? sat(5) : sat(1)
    fiat("0.002 USD") * int(get(request.query.pages, "1"))
    response.json.usage.total_tokens * 15
    sat(1) + ceil(response.bytes / 1024.0 * 2.5)

It may read of the request
    request.method, path, query, headers, size_bytes, json (the body)
and of the answer
    response.status, headers, bytes, ms (since the request was sent on), chunks
    (events), json (when it has ended)

Parameters and headers are text; int() and double() read numbers in text. A
parameter, header or field is read by its name or in brackets, and has() and
get() ask for one that may be missing:
    request.headers["x-tier"] == "gold" ? 500 : 1000
    has(request.json.n) ? request.json.n * 100 : 100
    get(request.json.options[0].weight, 1) * 100

There are  + - * / %  == != < <= > >=  && || !  c ? a : b  in  and
    sat(n)   fiat("0.002 USD")   min(a, b)   max(a, b)   size(x)
    int(x)   double(x)   ceil(x)   floor(x)   get(place, default)   has(place)
    text.contains(part)   text.startsWith(part)   text.endsWith(part)
Numbers with a point are exact. Dividing two whole numbers rounds towards
zero: write 1024.0 and ceil() to round up. What repeats (map, filter, all,
exists), matches patterns or joins text is not allowed.

A formula that reads the answer needs a ceiling: so much is held before the
request, the cost is taken, the rest is let go. One that only rises with
bytes, ms and chunks is charged while the answer flows; any other at its end.

There is no price when something that is read is missing, is there twice (also
in other letter case) or is of the wrong kind, when the result is below zero
or has a fraction, and when it is zero without `zero = "allow"`. Then the
fallback is the price, or the request is refused. Whoever can make the formula
fail chooses the fallback: let it be no bargain. Give different paths
different routes rather than comparing request.path: routes know that servers
may answer /Chat and /chat/ alike.
"#;

#[cfg(test)]
mod tests {
    use super::FORMULA_GUIDE;
    use crate::pricing::{Formula, Zero};
    use crate::types::Msat;

    #[test]
    fn the_examples_compile() {
        let lists = ["request.method, path", "response.status, ", "(events)", "sat(n)", "int(x)", "text."];
        let examples = FORMULA_GUIDE.lines().filter_map(|line| line.strip_prefix("    "));
        let examples: Vec<&str> =
            examples.filter(|line| !lists.iter().any(|list| line.starts_with(list))).collect();
        assert_eq!(examples.len(), 8);
        for example in examples {
            let formula = Formula::compile(example, Msat::from_sat(100).ok(), Zero::Refuse);
            assert!(formula.is_ok(), "{example}: {formula:?}");
        }
    }
}
