//! A query's parameters, as servers read forms, found without decoding those that are not asked for.

use std::borrow::Cow;

use url::form_urlencoded;

/// The decoded parameters of `query` that are called `key`, in whatever letter case: name and value.
pub(super) fn parameters<'a>(
    query: &'a str,
    key: &str,
) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
    let named = move |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        let name = decoded(name.as_bytes()).map(|octet| octet.to_ascii_lowercase());
        !pair.is_empty() && name.eq(key.bytes().map(|octet| octet.to_ascii_lowercase()))
    };
    let found = query.split('&').filter(named);
    found.filter_map(|pair| form_urlencoded::parse(pair.as_bytes()).next())
}

/// The octets of `text` without `%XX` and `+`.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (first, tail) = rest.split_first()?;
        rest = tail;
        Some(match (first, tail) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (other, _) => *other,
        })
    })
}

fn digit(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => Some(hex - b'0'),
        b'a'..=b'f' => Some(hex - b'a' + 10),
        b'A'..=b'F' => Some(hex - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parameters_are_those_of_a_form(query in "([a-cA%=&+]|%[0-9a-fA-F]{2}|%C3%A9|é){0,12}", key in "[a-cB é]{0,3}") {
            let form = form_urlencoded::parse(query.as_bytes());
            let form: Vec<_> = form.filter(|(name, _)| name.eq_ignore_ascii_case(&key)).collect();
            prop_assert_eq!(parameters(&query, &key).collect::<Vec<_>>(), form);
        }
    }
}
