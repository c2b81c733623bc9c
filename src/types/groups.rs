//! Digits in groups of three, as people read them.

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A text with its amounts in groups: every number that `sat` follows, on the same line. Nothing that is quoted, or
/// joined to other letters, is touched: it may be typed into a command or a file.
pub fn grouped_in(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(in_line).collect();
    lines.join("\n")
}

fn in_line(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let says_sat = |word: Option<&&str>| {
        word.is_some_and(|word| word.trim_end_matches(['.', ',', ';', ':', ')']) == "sat")
    };
    let told = words.iter().enumerate().map(|(place, word)| match says_sat(words.get(place + 1)) {
        true => amount(word).unwrap_or_else(|| (*word).to_owned()),
        false => (*word).to_owned(),
    });
    told.collect::<Vec<_>>().join(" ")
}

/// A number, perhaps with decimals, with a sign or in brackets, in groups.
fn amount(word: &str) -> Option<String> {
    let digits = word.trim_start_matches(['(', '-', '+']);
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let decimals = rest.strip_prefix('.').unwrap_or("0");
    let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = whole.parse().ok().filter(|_| plain(whole) && plain(decimals))?;
    Some(format!("{}{}{rest}", word.strip_suffix(digits)?, grouped(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_in_a_text_are_in_groups_and_nothing_else_is_touched() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            grouped_in("Of 98214 sat in 1000 blocks, 20000 sat. 5 sat/vB 70000 sats"),
            "Of 98,214 sat in 1000 blocks, 20,000 sat. 5 sat/vB 70000 sats"
        );
        assert_eq!(
            grouped_in("spendable  20000 sat\n(-1500.25 sat)"),
            "spendable  20,000 sat\n(-1,500.25 sat)"
        );
        let typed = "--amount-sat 20000\nprice = \"20000 sat\", 1,000 sat, a20000 sat, 1.2.3 sat";
        assert_eq!(grouped_in(typed), typed);
    }
}
