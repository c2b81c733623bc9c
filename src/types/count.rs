//! How many of a thing, as a person says it.

use std::fmt::Display;

/// `1 hour`, `2 hours`. For nouns that take an s.
pub fn counted<N: Copy + Display + TryInto<u64>>(number: N, noun: &str) -> String {
    let one = number.try_into().is_ok_and(|number| number == 1);
    format!("{number} {noun}{}", if one { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_several() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "hour")), ["0 hours", "1 hour", "2 hours"]);
    }
}
