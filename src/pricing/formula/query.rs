//! A query's parameters, as servers read forms, found without decoding those that are not asked for.

use std::borrow::Cow;

use url::form_urlencoded;

/// The decoded parameters of `query` that some server takes for `key`: in whatever letter case, and as PHP
/// spells names. Name and value.
pub(super) fn parameters<'a>(
    query: &'a str,
    key: &str,
) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
    let named = move |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        !pair.is_empty() && spelled(decoded(name.as_bytes())).eq(spelled(key.bytes()))
    };
    let found = query.split('&').filter(named);
    found.filter_map(|pair| form_urlencoded::parse(pair.as_bytes()).next())
}

/// A name as the least exact of servers reads it: without spaces before it, without `[…]` and what comes
/// after a zero, a dot and a space as `_`, in no letter case.
fn spelled(name: impl Iterator<Item = u8>) -> impl Iterator<Item = u8> {
    let name = name.skip_while(|octet| *octet == b' ').take_while(|octet| !matches!(octet, 0 | b'['));
    name.map(|octet| if matches!(octet, b'.' | b' ') { b'_' } else { octet.to_ascii_lowercase() })
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
        fn parameters_are_those_of_a_form(query in "([a-cA%=&+._]|%[0-9a-fA-F]{2}|%C3%A9|é){0,12}", key in "[a-cB é._]{0,3}") {
            let form = form_urlencoded::parse(query.as_bytes());
            let form: Vec<_> = form.filter(|(name, _)| **name == *key).collect();
            let found = parameters(&query, &key).filter(|(name, _)| **name == *key);
            prop_assert_eq!(found.collect::<Vec<_>>(), form);
        }
    }

    #[test]
    fn what_some_server_takes_for_the_parameter_is_found() {
        let many = |query: &str, key: &str| parameters(query, key).count();
        for other in ["N_x=9", "n.x=9", "n+x=9", "+n_x=9", "%20n_x=9", "n_x[]=9", "n_x%5B0%5D=9", "n_x%00y=9"]
        {
            assert_eq!(many(&format!("n_x=1&{other}"), "n_x"), 2, "{other}");
        }
        for own in ["n-x=9", "nx=9", "n_xy=9", "n_x_=9", "[n_x]=9", "=9"] {
            assert_eq!(many(&format!("n_x=1&{own}"), "n_x"), 1, "{own}");
        }
    }
}
