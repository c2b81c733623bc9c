//! Decimal numbers of forms, without floats.

/// `text` in units of its last of `places` decimals: with three, `1.5` is 1500. `None` when it is no such number.
pub(super) fn scaled(text: &str, places: usize) -> Option<u64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || rest.len() > places || !digits(whole) || !digits(rest) {
        return None;
    }
    format!("{whole}{rest:0<places$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_whole_numbers_of_a_smaller_unit() {
        let read = ["0", "1", "1.5", "0.001", "12.", "007"].map(|text| scaled(text, 3));
        assert_eq!(read, [0, 1_000, 1_500, 1, 12_000, 7_000].map(Some));
        for text in ["", "1.0005", ".5", "-1", "1e3", "1,5", "1.2.3", "99999999999999999999"] {
            assert_eq!(scaled(text, 3), None, "{text}");
        }
        assert_eq!(scaled("0.25", 4), Some(2_500));
    }
}
