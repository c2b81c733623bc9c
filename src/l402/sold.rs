//! What a token sells, as its minted caveats say it.
//!
//! Invariant: the minted caveats come first, in one fixed order and spelling, so that they are
//! known by their place and nothing that a holder appends can pass for one of them.

use std::fmt;
use std::str::FromStr;

use crate::types::{Kind, Msat, Name, Timestamp};

/// The price in another currency that a sale was made at, such as `0.002 USD@64000.12`: the amount,
/// and the units of its currency that a bitcoin cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

/// A text that cannot stand in a token as a quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a quote is 1 to 64 of 0-9, A-Z, `.`, `@` and space")]
pub struct NotQuotable;

impl Quoted {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Quoted {
    type Err = NotQuotable;

    fn from_str(text: &str) -> Result<Quoted, NotQuotable> {
        let clean = |b: u8| b.is_ascii_digit() || b.is_ascii_uppercase() || matches!(b, b'.' | b'@' | b' ');
        if (1..=64).contains(&text.len()) && text.bytes().all(clean) {
            Ok(Quoted(text.to_owned()))
        } else {
            Err(NotQuotable)
        }
    }
}

/// What was sold with a token (MONEY rule 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sold {
    /// The service.
    pub service: Name,
    /// The route that was asked for; of a pass, the scope that it opens.
    pub route: Name,
    /// The kind.
    pub kind: Kind,
    /// How many units: requests, or millisatoshi of a balance, or seconds of a pass.
    pub units: u64,
    /// The price of the whole.
    pub sold: Msat,
    /// The price's revision at that time.
    pub revision: u32,
    /// The dearest request that one unit of a request or pack opens; zero for the other kinds.
    pub covers: Msat,
    /// That price in the currency that it was quoted in, if it was.
    pub quote: Option<Quoted>,
    /// When the token ends; told in whole seconds, the rest is dropped.
    pub valid_until: Timestamp,
}

/// Stands for no quote.
const NONE: &str = "-";

impl Sold {
    /// How many caveats are minted.
    pub(super) const CAVEATS: usize = 9;

    /// One request at `price`, quoted in bitcoin.
    pub const fn request(
        service: Name,
        route: Name,
        price: Msat,
        revision: u32,
        valid_until: Timestamp,
    ) -> Sold {
        Sold {
            service,
            route,
            kind: Kind::Request,
            units: 1,
            sold: price,
            revision,
            covers: price,
            quote: None,
            valid_until,
        }
    }

    /// The minted caveats, in their order.
    pub(super) fn caveats(&self) -> [String; Sold::CAVEATS] {
        [
            format!("services={}:0", self.service),
            format!("{}_valid_until={}", self.service, self.valid_until.secs()),
            format!("route={}", self.route),
            format!("offer={}", self.kind),
            format!("units={}", self.units),
            format!("sold_msat={}", self.sold.msat()),
            format!("revision={}", self.revision),
            format!("covers_msat={}", self.covers.msat()),
            format!("quote={}", self.quote.as_ref().map_or(NONE, Quoted::as_str)),
        ]
    }

    /// Reads the minted caveats and returns those after them; `None` unless they are spelled
    /// exactly as [`Sold::caveats`] does.
    pub(super) fn read(caveats: &[Vec<u8>]) -> Option<(Sold, &[Vec<u8>])> {
        let (minted, appended) = caveats.split_first_chunk::<{ Sold::CAVEATS }>()?;
        let [services, valid_until, route, offer, units, sold, revision, covers, quote] = minted;
        let name = value(services, "services=")?.strip_suffix(":0")?;
        let sold = Sold {
            service: name.parse().ok()?,
            valid_until: Timestamp::from_secs(
                value(valid_until, &format!("{name}_valid_until="))?.parse().ok()?,
            ),
            route: value(route, "route=")?.parse().ok()?,
            kind: value(offer, "offer=")?.parse().ok()?,
            units: value(units, "units=")?.parse().ok()?,
            sold: Msat::new(value(sold, "sold_msat=")?.parse().ok()?).ok()?,
            revision: value(revision, "revision=")?.parse().ok()?,
            covers: Msat::new(value(covers, "covers_msat=")?.parse().ok()?).ok()?,
            quote: match value(quote, "quote=")? {
                NONE => None,
                text => Some(text.parse().ok()?),
            },
        };
        // `parse` also takes `+1` and `01`: whatever reads must be what would have been written.
        let alike = sold.caveats().iter().zip(minted).all(|(written, read)| written.as_bytes() == read);
        alike.then_some((sold, appended))
    }
}

fn value<'a>(caveat: &'a [u8], key: &str) -> Option<&'a str> {
    std::str::from_utf8(caveat).ok()?.strip_prefix(key)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any sale that could have been minted.
    pub(in crate::l402) fn any_sold() -> impl Strategy<Value = Sold> {
        let name = "[a-z][a-z0-9_-]{0,63}".prop_map(|text| text.parse::<Name>().unwrap());
        let money = 0..=Msat::MAX.msat();
        let numbers = (any::<u64>(), money.clone(), any::<u32>(), money, 0u64..=1 << 40);
        let quote =
            proptest::option::of("[0-9A-Z.@ ]{1,64}".prop_map(|text| text.parse::<Quoted>().unwrap()));
        let kind = proptest::sample::select(&Kind::ALL[..]);
        (name.clone(), name, kind, numbers, quote).prop_map(
            |(service, route, kind, (units, sold, revision, covers, until), quote)| Sold {
                service,
                route,
                kind,
                units,
                sold: Msat::new(sold).unwrap(),
                revision,
                covers: Msat::new(covers).unwrap(),
                quote,
                valid_until: Timestamp::from_secs(until),
            },
        )
    }

    fn bytes(caveats: &[String]) -> Vec<Vec<u8>> {
        caveats.iter().map(|caveat| caveat.as_bytes().to_vec()).collect()
    }

    proptest! {
        #[test]
        fn what_is_minted_is_read(sold in any_sold(), more in ".{0,40}") {
            let mut caveats = bytes(&sold.caveats());
            caveats.push(more.clone().into_bytes());
            let (read, appended) = Sold::read(&caveats).unwrap();
            prop_assert_eq!(read, sold);
            prop_assert_eq!(appended, &[more.into_bytes()]);
        }

        #[test]
        fn nothing_else_is_read(sold in any_sold(), place in 0usize..Sold::CAVEATS, other in any::<Vec<u8>>()) {
            let mut caveats = bytes(&sold.caveats());
            prop_assert!(Sold::read(&caveats[..place]).is_none());
            let shuffled = { let mut c = caveats.clone(); c.swap(place, (place + 1) % Sold::CAVEATS); c };
            prop_assert!(Sold::read(&shuffled).is_none());
            if caveats[place] != other {
                caveats[place] = other;
                prop_assert!(Sold::read(&caveats).is_none());
            }
        }
    }

    #[test]
    fn other_spellings_are_not_ours() {
        let (service, route) = ("rates".parse().unwrap(), "fx".parse().unwrap());
        let until = Timestamp::from_secs(1_800_000_000);
        let price = Msat::new(21_000).unwrap();
        let quote = Some("0.01 USD@47619.05".parse().unwrap());
        let sold = Sold { quote, ..Sold::request(service, route, price, 3, until) };
        let right = sold.caveats();
        assert_eq!(
            right.join(" "),
            "services=rates:0 rates_valid_until=1800000000 route=fx offer=request units=1 sold_msat=21000 revision=3 \
             covers_msat=21000 quote=0.01 USD@47619.05"
        );
        let wrong = [
            (0, "services=rates:1"),
            (0, "services=rates:0,more:0"),
            (0, "services=Rates:0"),
            (1, "rates_valid_until=18446744073709551615"),
            (1, "more_valid_until=1800000000"),
            (3, "offer=gift"),
            (4, "units=+1"),
            (4, "units=01"),
            (5, "sold_msat=2100000000000000001"),
            (6, "revision= 3"),
            (7, "covers_msat=021000"),
            (8, "quote="),
            (8, "quote=0.01 usd"),
        ];
        for (place, text) in wrong {
            let mut caveats = bytes(&right);
            caveats[place] = text.as_bytes().to_vec();
            assert!(Sold::read(&caveats).is_none(), "{text}");
        }
    }
}
