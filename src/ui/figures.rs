//! Numbers and times as a person reads them: satoshi in groups of three, never a float.

use rust_decimal::Decimal;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::pricing::Fiat;
use crate::types::Timestamp;
pub(super) use crate::types::{grouped, grouped_in};

/// What of a closed channel came back, satoshi: exactly, or about.
pub(super) fn back((sat, exactly): (u64, bool)) -> String {
    if exactly { format!("{} sat", grouped(sat)) } else { format!("about {} sat", grouped(sat)) }
}

/// A part of a sentence.
pub(super) struct Span {
    pub(super) text: String,
    /// It is typed: a command, a file, a setting.
    pub(super) code: bool,
}

/// A sentence in which backticks stand around what is typed.
pub(super) fn spans(sentence: &str) -> Vec<Span> {
    let parts = sentence.split('`').enumerate().map(|(place, part)| match place % 2 {
        0 => Span { text: typeset(&grouped_in(part)), code: false },
        _ => Span { text: part.to_owned(), code: true },
    });
    parts.filter(|span| !span.text.is_empty()).collect()
}

/// A sentence in which what is typed stands between the quotation marks of print, in the place of backticks.
pub(super) fn quoted(sentence: &str) -> String {
    let mut marks = ['“', '”'].into_iter().cycle();
    sentence.chars().map(|char| if char == '`' { marks.next().unwrap_or(char) } else { char }).collect()
}

/// A sentence with the apostrophes of print, where it has no others.
pub(super) fn typeset(sentence: &str) -> String {
    let mut before = ' ';
    let after_letters = sentence.chars().all(|char| {
        let fits = char != '\'' || before.is_alphabetic();
        before = char;
        fits
    });
    if after_letters { sentence.replace('\'', "’") } else { sentence.to_owned() }
}

/// The network as people call it: the library's word for mainnet is `bitcoin`.
pub(super) fn network_word(network: &str) -> &str {
    if network == "bitcoin" { "mainnet" } else { network }
}

/// Millisatoshi as satoshi, exact: `1500` is `1.5`.
pub(super) fn sats_exact(msat: u64) -> String {
    let whole = grouped(msat / 1_000);
    let thousandths = format!("{:03}", msat % 1_000);
    match thousandths.trim_end_matches('0') {
        "" => whole,
        rest => format!("{whole}.{rest}"),
    }
}

/// Millisatoshi as whole satoshi, rounded down: for balances, where less is never too much.
pub(super) fn sats_whole(msat: u64) -> String {
    grouped(msat / 1_000)
}

/// `1 paid call`, `2 paid calls`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        many => format!("{} {noun}s", grouped(many)),
    }
}

/// An address in the pieces between which a line may break.
pub(super) fn pieces(address: &str) -> Vec<&str> {
    address.split_inclusive(['/', '.', ':', '?', '&', '=', '-', '_']).collect()
}

/// The first and last characters of a long identifier.
pub(super) fn shortened(text: &str) -> String {
    match (text.get(..8), text.len().checked_sub(6).and_then(|from| text.get(from..))) {
        (Some(head), Some(tail)) if text.len() > 16 => format!("{head}…{tail}"),
        _ => text.to_owned(),
    }
}

/// The part of `whole` that `part` is, in thousandths.
pub(super) fn permille(part: u64, whole: u64) -> u64 {
    let thousandths = u128::from(part) * 1_000 / u128::from(whole.max(1));
    u64::try_from(thousandths).unwrap_or(1_000).min(1_000)
}

/// An amount of another currency, to what a person counts with.
pub(super) fn fiat(worth: Fiat) -> String {
    let Fiat { amount, currency } = worth;
    let (digits, least) =
        if amount < Decimal::new(1, 2) { (4, Decimal::new(1, 4)) } else { (2, Decimal::ZERO) };
    if !amount.is_zero() && amount < least {
        return format!("under {least} {currency}");
    }
    let text = format!("{:.*}", digits, amount.round_dp(u32::try_from(digits).unwrap_or(2)));
    let (whole, part) = text.split_once('.').unwrap_or((&text, "00"));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), grouped);
    format!("{whole}.{part} {currency}")
}

/// The part of what was demanded that was paid, in percent; `None` when nothing was demanded. Who pays later than
/// they ask can make it more than all there is, which nobody would believe.
pub(super) fn conversion(sales: u64, demands: u64) -> Option<String> {
    // Rounded, but all only where all was paid.
    let half = u128::from(demands / 2);
    let part = (u128::from(sales) * 1_000 + half).checked_div(u128::from(demands))?;
    let all = if sales < demands { 99 } else { 100 };
    Some(match part {
        0 if sales > 0 => "under 0.1 %".to_owned(),
        0 => "0 %".to_owned(),
        1..=99 => format!("{}.{} %", part / 10, part % 10),
        _ => format!("{} %", ((part + 5) / 10).min(all)),
    })
}

/// How `now` stands beside what was `earlier`, in the time called `name`; `None` where that had nothing.
pub(super) fn beside(now: u64, earlier: u64, name: &str) -> Option<String> {
    let (word, by) = if now >= earlier { ("more", now - earlier) } else { ("less", earlier - now) };
    let percent = (u128::from(by) * 100).checked_div(u128::from(earlier))?;
    Some(match percent {
        0 => format!("as much as in {name}"),
        1..1_000 => format!("{percent} % {word} than in {name}"),
        // Nobody reads such a percentage.
        _ => format!("{} times as much as in {name}", grouped(now / earlier)),
    })
}

/// An instant for a machine: RFC 3339.
pub(super) fn iso(at: Timestamp) -> String {
    moment(at).format(&Rfc3339).unwrap_or_default()
}

/// An instant for a person; the script replaces it by the browser's local time.
pub(super) fn utc(at: Timestamp) -> String {
    moment(at)
        .format(format_description!(
            "[day padding:none] [month repr:short] [year] [hour]:[minute]:[second] UTC"
        ))
        .unwrap_or_default()
}

/// A day for a person, in UTC as all sums are.
pub(super) fn day(at: Timestamp) -> String {
    moment(at).format(format_description!("[day padding:none] [month repr:short] [year]")).unwrap_or_default()
}

/// An hour for a person, likewise.
pub(super) fn hour(at: Timestamp) -> String {
    moment(at)
        .format(format_description!("[day padding:none] [month repr:short] [year] [hour]:[minute] UTC"))
        .unwrap_or_default()
}

fn moment(at: Timestamp) -> OffsetDateTime {
    i64::try_from(at.secs())
        .ok()
        .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_currencies_are_told_in_what_people_count_with() {
        let told = |text: &str| fiat(text.parse().expect("an amount"));
        assert_eq!(
            [told("0 USD"), told("0.0032 USD"), told("0.00001 USD")],
            ["0.0000 USD", "0.0032 USD", "under 0.0001 USD"]
        );
        assert_eq!(
            [told("0.32 EUR"), told("1234567.891 EUR"), told("3 JPY")],
            ["0.32 EUR", "1,234,567.89 EUR", "3.00 JPY"]
        );
    }

    #[test]
    fn conversion_is_told_in_percent() {
        let told = |sales, demands| conversion(sales, demands).unwrap_or_default();
        assert_eq!([told(0, 0), told(1, 0), told(0, 9)], ["", "", "0 %"]);
        assert_eq!([told(1, 9_999), told(1, 30), told(30, 250)], ["under 0.1 %", "3.3 %", "12 %"]);
        assert_eq!([told(7, 7), told(9, 7), told(9_999, 10_000)], ["100 %", "100 %", "99 %"]);
        assert_eq!([told(58, 202), told(10, 35), told(1, 15)], ["29 %", "29 %", "6.7 %"]);
        let told = |now, earlier| beside(now, earlier, "May").unwrap_or_default();
        assert_eq!(
            [told(5, 0), told(3, 2), told(1, 2)],
            ["", "50 % more than in May", "50 % less than in May"]
        );
        assert_eq!([told(200, 199), told(109, 10)], ["as much as in May", "990 % more than in May"]);
        assert_eq!(told(23_000, 2), "11,500 times as much as in May");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567, 100_000].map(grouped),
            ["0", "999", "1,000", "1,234,567", "100,000"]
        );
        assert_eq!(
            [0, 250, 1_500, 15_000, 1_234_567_001].map(sats_exact),
            ["0", "0.25", "1.5", "15", "1,234,567.001"]
        );
        assert_eq!(sats_whole(1_999), "1");
        assert_eq!(typeset("the node's key, the peers' word"), "the node’s key, the peers’ word");
        assert_eq!(typeset("say 'a' to the node's"), "say 'a' to the node's");
        assert_eq!(quoted("`a` is not `b`"), "“a” is not “b”");
        let typed: Vec<_> =
            spans("See `it's`: now.").into_iter().map(|span| (span.text, span.code)).collect();
        let wanted = [("See ", false), ("it's", true), (": now.", false)];
        assert_eq!(typed, wanted.map(|(text, code)| (text.to_owned(), code)));
        assert_eq!([0, 1, 2_000].map(|n| counted(n, "call")), ["0 calls", "1 call", "2,000 calls"]);
        assert_eq!(shortened("0123456789abcdef0123"), "01234567…ef0123");
        assert_eq!(shortened("short"), "short");
        assert_eq!(pieces("https://a.example/b"), ["https:", "/", "/", "a.", "example/", "b"]);
        assert_eq!([permille(1, 2), permille(5, 0), permille(u64::MAX, 1)], [500, 1_000, 1_000]);
        assert_eq!(iso(Timestamp::from_secs(1_700_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(utc(Timestamp::from_secs(1_700_000_000)), "14 Nov 2023 22:13:20 UTC");
    }
}
