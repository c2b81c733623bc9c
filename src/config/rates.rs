//! Reads `[rates]`: where exchange rates come from.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rust_decimal::Decimal;
use toml::Spanned;

use super::document::{Section, not_a};
use super::layer::Layers;
use super::problem::{Bad, Problem};
use super::{or_default, value};
use crate::egress::Reach;
use crate::pricing::Currency;
use crate::rates::{RateSource, RatesConfig, parse_rate};

/// Polls that must fit into the time that a rate may be sold at: a jump takes three to be believed.
const POLLS_IN_MAX_AGE: u32 = 4;

pub(crate) fn read(layers: &mut Layers<'_>, top: &mut Section<'_, '_>) -> RatesConfig {
    let usual = RatesConfig::default();
    let mut section = top.section("rates");
    let max_age = layers.one(&mut section, "max_age", |text| span(text, MAX_AGE));
    let (max_age, max_age_source) = or_default(max_age, || usual.max_age);
    let refresh = layers.one(&mut section, "refresh", |text| span(text, REFRESH));
    let (refresh, refresh_source) = or_default(refresh, || usual.refresh);
    let step = layers.one(&mut section, "max_step_percent", percent);
    let (max_step_percent, step_source) = or_default(step, || usual.max_step_percent);
    if refresh * POLLS_IN_MAX_AGE > max_age {
        let what = format!(
            "asking every {} is too seldom for rates that are sold at for {}",
            humantime::format_duration(refresh),
            humantime::format_duration(max_age)
        );
        let help =
            "A rate that moves far takes three polls to be believed: let max_age be four times refresh.";
        let bad = Bad::new(what, help);
        layers.problems.push(layers.origin.problem_from(refresh_source.clone(), "rates.refresh", bad));
    }
    let fixed = read_fixed(&mut section);
    let said = section.value("sources").map(Spanned::span);
    let mut problems: Vec<Problem> = Vec::new();
    let sources = match &said {
        Some(_) => read_sources(&mut section, &fixed, &mut problems),
        None => usual.sources,
    };
    let display = section.parsed("display", currency);
    if let Some((currency, span)) = &display
        && !fixed.contains_key(currency)
        && !sources.iter().any(|source| source.currency == *currency)
    {
        let help = "Add two sources for it to rates.sources, or choose a currency that has some.";
        let bad = Bad::new(format!("no source has a rate for {currency}"), help);
        section.complain("display", Some(span.clone()), bad);
    }
    layers.show("rates.max_age", humantime::format_duration(max_age).to_string(), max_age_source);
    layers.show("rates.refresh", humantime::format_duration(refresh).to_string(), refresh_source);
    layers.show("rates.max_step_percent", max_step_percent.to_string(), step_source);
    let names: Vec<String> =
        sources.iter().map(|source| format!("{} ({})", source.name, source.currency)).collect();
    let source = said.map_or(super::Source::Default, |span| section.source_of(&span));
    layers.show("rates.sources", super::listed(&names), source);
    let at = section.value("fixed").map(Spanned::span);
    if let Some(span) = at {
        let rates: Vec<String> = fixed.iter().map(|(currency, rate)| format!("{rate} {currency}")).collect();
        let source = section.source_of(&span);
        layers.show("rates.fixed", super::listed(&rates), source);
    }
    if let Some((currency, span)) = &display {
        layers.show("rates.display", currency.to_string(), section.source_of(span));
    }
    let display = display.map(|(currency, _)| currency);
    layers.problems.extend(section.finish());
    layers.problems.extend(problems);
    RatesConfig { sources, fixed, display, max_age, max_step_percent, refresh }
}

/// From, to, and an example.
type Bounds = (Duration, Duration, &'static str);
const MAX_AGE: Bounds = (Duration::from_secs(60), Duration::from_secs(24 * 3_600), "15m");
const REFRESH: Bounds = (Duration::from_secs(10), Duration::from_secs(6 * 3_600), "1m");

fn span(text: &str, (least, most, example): Bounds) -> Result<Duration, Bad> {
    let help = format!(
        "Write a time between {} and {}, such as \"{example}\".",
        humantime::format_duration(least),
        humantime::format_duration(most)
    );
    match humantime::parse_duration(text) {
        Ok(span) if (least..=most).contains(&span) => Ok(span),
        Ok(_) => Err(Bad::new(format!("\"{text}\" is out of bounds"), help)),
        Err(_) => Err(Bad::new(format!("\"{text}\" is not a time"), help)),
    }
}

fn percent(text: &str) -> Result<u32, Bad> {
    match text.parse() {
        Ok(percent @ 1..=50) => Ok(percent),
        _ => Err(Bad::new(format!("{text} is not a bound in percent"), "Use a whole number from 1 to 50.")),
    }
}

fn currency(text: &str) -> Result<Currency, Bad> {
    text.parse().map_err(|_| {
        let what = format!("\"{text}\" is not a currency");
        Bad::new(what, "Write the three capital letters of its code, such as \"USD\".")
    })
}

fn read_fixed(section: &mut Section<'_, '_>) -> BTreeMap<Currency, Decimal> {
    let Some(whole) = section.value("fixed") else { return BTreeMap::new() };
    let help = "Write fixed = { USD = \"64000\" }: units of the currency for one bitcoin.";
    let Some(table) = whole.get_ref().as_table() else {
        section.complain("fixed", Some(whole.span()), not_a("a table", help, whole.get_ref()));
        return BTreeMap::new();
    };
    let mut fixed = BTreeMap::new();
    for (key, value) in table {
        let name = format!("fixed.{}", key.get_ref());
        let number = value.get_ref().as_integer().filter(|i| i.radix() == 10).map(|i| i.as_str());
        let read = match (currency(key.get_ref()), value.get_ref().as_str().or(number)) {
            (Err(bad), _) => Err((bad, key.span())),
            (Ok(_), None) => Err((not_a("a string", "Put it in quotes.", value.get_ref()), value.span())),
            (Ok(currency), Some(text)) => match parse_rate(text) {
                Ok(rate) => Ok((currency, rate)),
                Err(_) => Err((Bad::new(format!("\"{text}\" is not a rate"), help), value.span())),
            },
        };
        match read {
            Ok((currency, rate)) => {
                fixed.insert(currency, rate);
            }
            Err((bad, span)) => section.complain(&name, Some(span), bad),
        }
    }
    fixed
}

fn read_sources(
    section: &mut Section<'_, '_>,
    fixed: &BTreeMap<Currency, Decimal>,
    problems: &mut Vec<Problem>,
) -> Vec<RateSource> {
    let mut sources: Vec<RateSource> = Vec::new();
    let mut lines = Vec::new();
    let mut names = BTreeSet::new();
    let mut whole = true;
    for mut section in section.sections("sources") {
        let name = required(&mut section, "name", "name = \"kraken\"", value::filled);
        if let Some(name) = &name {
            if !names.insert(name.clone()) {
                let at = section.value("name").map(Spanned::span);
                let help = "Give each source its own name.";
                section.complain("name", at, Bad::new("another source has this name", help));
            }
            section.rename(format!("rates.sources.{name}"));
        }
        let reach = read_reach(&mut section);
        let url = required(&mut section, "url", "url = \"https://api.example.com/btc-usd\"", |text| {
            url(text, reach)
        });
        let pointer = required(&mut section, "pointer", "pointer = \"/data/amount\"", |text| {
            if text.is_empty() || text.starts_with('/') {
                return Ok(text.to_owned());
            }
            let help = "Write it with slashes, such as \"/data/amount\" (RFC 6901).";
            Err(Bad::new(format!("\"{text}\" is not a JSON pointer"), help))
        });
        let money = required(&mut section, "currency", "currency = \"USD\"", currency);
        match (name, url, pointer, money) {
            (Some(name), Some(url), Some(pointer), Some(currency)) => {
                lines.push(section.span());
                sources.push(RateSource { name, url, pointer, currency, reach });
            }
            _ => whole = false,
        }
        problems.extend(section.finish());
    }
    // What is missing because another line is wrong is not a second mistake.
    for (source, line) in sources.iter().zip(lines).filter(|_| whole) {
        let alone = sources.iter().filter(|other| other.currency == source.currency).count() == 1;
        if alone && !fixed.contains_key(&source.currency) {
            let what =
                format!("it is the only source for {}: one alone may be wrong unnoticed", source.currency);
            let help =
                "Add a second one; at least two must agree. For tests, use fixed = { USD = \"64000\" }.";
            section.complain("sources", Some(line), Bad::new(what, help));
        }
    }
    sources
}

fn required<T>(
    section: &mut Section<'_, '_>,
    key: &'static str,
    example: &str,
    parse: impl FnOnce(&str) -> Result<T, Bad>,
) -> Option<T> {
    if section.value(key).is_none() {
        section.complain(key, None, Bad::new("it is missing", format!("Add {example}.")));
    }
    section.parsed(key, parse).map(|(value, _)| value)
}

fn read_reach(section: &mut Section<'_, '_>) -> Reach {
    let Some(said) = section.value("allow_private") else { return Reach::Public };
    match said.get_ref().as_bool() {
        Some(private) => Reach::allowing(private),
        None => {
            let help = "Write allow_private = true to ask an address on this machine or a private network.";
            section.complain(
                "allow_private",
                Some(said.span()),
                not_a("true or false", help, said.get_ref()),
            );
            Reach::Public
        }
    }
}

/// The address of a source: a query is usual, a login is not.
fn url(text: &str, reach: Reach) -> Result<url::Url, Bad> {
    let help = "Write something like \"https://api.example.com/btc-usd\".";
    let url = url::Url::parse(text).map_err(|e| Bad::new(format!("\"{text}\" is not a URL: {e}"), help))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Bad::new(format!("\"{text}\" is not an http or https URL"), help));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Bad::new("a URL must not hold a user or password", "Leave it out."));
    }
    if url.scheme() == "http" && reach == Reach::Public {
        let what = "plain http can be changed on its way, and this is about money";
        return Err(Bad::new(what, "Use https, or allow_private = true for an address of your own."));
    }
    Ok(url)
}
