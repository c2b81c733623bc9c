//! A query's parameters, as servers read forms, found without decoding those that are not asked for.

use std::borrow::Cow;

use url::form_urlencoded;

/// The decoded values of the parameters of `query` that are called `key`.
pub(super) fn values<'a>(query: &'a str, key: &str) -> impl Iterator<Item = Cow<'a, str>> {
    let named = move |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        !pair.is_empty() && decoded(name.as_bytes()).eq(key.bytes())
    };
    let found = query.split('&').filter(named);
    found.filter_map(|pair| form_urlencoded::parse(pair.as_bytes()).next()).map(|(_, value)| value)
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
        fn parameters_are_those_of_a_form(query in "([a-c%=&+]|%[0-9a-fA-F]{2}|%C3%A9|é){0,12}", key in "[a-c é]{0,3}") {
            let form = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == key.as_str());
            let form: Vec<_> = form.map(|(_, value)| value).collect();
            prop_assert_eq!(values(&query, &key).collect::<Vec<_>>(), form);
        }
    }
}
