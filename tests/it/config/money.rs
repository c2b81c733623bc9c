//! Rates and providers as a file writes them.

use super::*;

#[test]
fn every_mistake_in_the_rates_names_its_line() {
    // Lines 1 to 4 are HEAD, [rates] is line 5.
    let with = |lines: &str| format!("{HEAD}[rates]\n{lines}\n");
    wrong(&with("max_age = \"soon\""), 6, "rates.max_age", "is not a time");
    wrong(&with("max_age = \"10s\""), 6, "rates.max_age", "out of bounds");
    wrong(&with("refresh = \"1s\""), 6, "rates.refresh", "out of bounds");
    wrong(&with("refresh = \"10m\""), 6, "rates.refresh", "too seldom");
    wrong(&with("max_step_percent = 0"), 6, "rates.max_step_percent", "from 1 to 50");
    wrong(&with("max_setp_percent = 5"), 6, "rates.max_setp_percent", "Did you mean");
    wrong(&with("display = \"dollars\""), 6, "rates.display", "not a currency");
    wrong(&with("display = \"EUR\""), 6, "rates.display", "no source has a rate for EUR");
    wrong(&with("fixed = 5"), 6, "rates.fixed", "expected a table");
    wrong(&with("fixed = { usd = \"1\" }"), 6, "rates.fixed.usd", "not a currency");
    for lie in ["\"0\"", "0", "\"-5\"", "\"1e5\"", "\"many\"", "true"] {
        wrong(&with(&format!("fixed = {{ USD = {lie} }}")), 6, "rates.fixed.USD", "");
    }
    let source = |name: &str, rest: &str| {
        format!(
            "{{ name = \"{name}\", url = \"https://a.example/\", pointer = \"/a\", currency = \"USD\"{rest} }}"
        )
    };
    let (one, two) = (source("one", ""), source("two", ""));
    assert_eq!(read(&with(&format!("sources = [{one}, {two}]"))).expect("in order").rates.sources.len(), 2);
    wrong(&with(&format!("sources = [{one}]")), 6, "rates.sources", "only source for USD");
    wrong(&with(&format!("sources = [{one}, {one}]")), 6, "rates.sources.one.name", "another source");
    wrong(&with(&format!("sources = [{one},\n{}]", source("two", ", a = 1"))), 7, "rates.sources.two.a", "");
    let changed = |from: &str, to: &str| with(&format!("sources = [{one},\n{}]", two.replacen(from, to, 1)));
    wrong(&changed("https:", "http:"), 7, "rates.sources.two.url", "plain http");
    wrong(&changed("https://a", "https://u:p@a"), 7, "rates.sources.two.url", "user or password");
    wrong(&changed("\"/a\"", "\"a\""), 7, "rates.sources.two.pointer", "JSON pointer");
    wrong(&changed("\"USD\"", "\"dollars\""), 7, "rates.sources.two.currency", "not a currency");
    wrong(&changed("pointer = \"/a\", ", ""), 7, "rates.sources.two.pointer", "it is missing");
    let private = format!(", allow_private = {}", "5");
    wrong(
        &with(&format!("sources = [{one},\n{}]", source("two", &private))),
        7,
        "rates.sources.two.allow_private",
        "",
    );

    // Any currency may be displayed that has sources or a fixed rate; none is unless it is said.
    for (lines, currency) in
        [("display = \"USD\"", "USD"), ("fixed = { CHF = 57000 }\ndisplay = \"CHF\"", "CHF")]
    {
        let display = read(&with(lines)).expect("in order").rates.display;
        assert_eq!(display.map(|display| display.to_string()).as_deref(), Some(currency));
    }
    // A fixed rate needs no second source; without a word of it the usual three are there.
    let settings = read(&with(&format!("sources = [{one}]\nfixed = {{ USD = 64000 }}"))).expect("in order");
    assert_eq!(settings.rates.fixed.len(), 1);
    assert_eq!(read(HEAD).expect("in order").rates, tollhouse::rates::RatesConfig::default());
    let http = "sources = [{ name = \"one\", url = \"http://127.0.0.1:1/\", pointer = \"\", currency = \"USD\", \
                allow_private = true }]\nfixed = { USD = \"1\" }";
    assert!(read(&with(http)).is_ok(), "an address of one's own may be plain");
}

#[test]
fn a_provider_that_opens_channels_is_named_whole() {
    let node = "node = \"0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\"";
    let address = "address = \"lsp.example:9735\"";
    let said = |lines: &str| format!("{HEAD}[liquidity.lsps2]\n{lines}\n");
    let settings = read(&said(&format!("{node}\n{address}"))).expect("it is right");
    let just_in_time = settings.node.liquidity.just_in_time.expect("it is set");
    assert_eq!((just_in_time.max_fee.sats_floor(), just_in_time.max_fee_percent), (5_000, 30));
    assert_eq!(just_in_time.max_per_hour, 12);
    wrong(&said(node), 5, "liquidity.lsps2.address", "it is missing");
    wrong(&said(address), 5, "liquidity.lsps2.node", "it is missing");
    wrong(&said("token = \"x\""), 6, "liquidity.lsps2.token", "without who takes it");
    wrong(&said(&format!("{node}\naddress = \"lsp\"")), 7, "liquidity.lsps2.address", "not a node's address");
    let percent = format!("{node}\n{address}\nmax_fee_percent = 101");
    wrong(&said(&percent), 8, "liquidity.lsps2.max_fee_percent", "out of bounds");
    wrong(&format!("{HEAD}[liquidity.lsps3]\nnode = \"\"\n"), 5, "liquidity.lsps3", "");
}
