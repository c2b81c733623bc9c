//! What a token sells, as its minted caveats say it.
//!
//! Invariant: the minted caveats come first, in one fixed order and spelling, so that they are
//! known by their place and nothing that a holder appends can pass for one of them. A later offer
//! may have a layout of its own: the fourth caveat names it.

use crate::types::{Msat, Name, Timestamp};

/// The kind of thing that is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offer {
    /// Requests, one unit each.
    Request,
}

impl Offer {
    /// Its word in the token.
    pub const fn as_str(self) -> &'static str {
        match self {
            Offer::Request => "request",
        }
    }

    fn read(word: &str) -> Option<Offer> {
        (word == "request").then_some(Offer::Request)
    }
}

/// What was sold with a token (MONEY rule 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sold {
    /// The service.
    pub service: Name,
    /// The route that was asked for.
    pub route: Name,
    /// The kind.
    pub offer: Offer,
    /// How many units.
    pub units: u32,
    /// The price of the whole.
    pub sold: Msat,
    /// The price's revision at that time.
    pub revision: u32,
    /// When the token ends; told in whole seconds, the rest is dropped.
    pub valid_until: Timestamp,
}

impl Sold {
    /// How many caveats are minted.
    pub(super) const CAVEATS: usize = 7;

    /// The minted caveats, in their order.
    pub(super) fn caveats(&self) -> [String; Sold::CAVEATS] {
        [
            format!("services={}:0", self.service),
            format!("{}_valid_until={}", self.service, self.valid_until.secs()),
            format!("route={}", self.route),
            format!("offer={}", self.offer.as_str()),
            format!("units={}", self.units),
            format!("sold_msat={}", self.sold.msat()),
            format!("revision={}", self.revision),
        ]
    }

    /// Reads the minted caveats and returns those after them; `None` unless they are spelled
    /// exactly as [`Sold::caveats`] does.
    pub(super) fn read(caveats: &[Vec<u8>]) -> Option<(Sold, &[Vec<u8>])> {
        let (minted, appended) = caveats.split_first_chunk::<{ Sold::CAVEATS }>()?;
        let [services, valid_until, route, offer, units, sold, revision] = minted;
        let name = value(services, "services=")?.strip_suffix(":0")?;
        let sold = Sold {
            service: name.parse().ok()?,
            valid_until: Timestamp::from_secs(
                value(valid_until, &format!("{name}_valid_until="))?.parse().ok()?,
            ),
            route: value(route, "route=")?.parse().ok()?,
            offer: Offer::read(value(offer, "offer=")?)?,
            units: value(units, "units=")?.parse().ok()?,
            sold: Msat::new(value(sold, "sold_msat=")?.parse().ok()?).ok()?,
            revision: value(revision, "revision=")?.parse().ok()?,
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
        let numbers = (any::<u32>(), 0..=Msat::MAX.msat(), any::<u32>(), 0u64..=1 << 40);
        (name.clone(), name, numbers).prop_map(|(service, route, (units, sold, revision, until))| Sold {
            service,
            route,
            offer: Offer::Request,
            units,
            sold: Msat::new(sold).unwrap(),
            revision,
            valid_until: Timestamp::from_secs(until),
        })
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
        fn nothing_else_is_read(sold in any_sold(), place in 0usize..7, other in any::<Vec<u8>>()) {
            let mut caveats = bytes(&sold.caveats());
            prop_assert!(Sold::read(&caveats[..place]).is_none());
            let shuffled = { let mut c = caveats.clone(); c.swap(place, (place + 1) % 7); c };
            prop_assert!(Sold::read(&shuffled).is_none());
            if caveats[place] != other {
                caveats[place] = other;
                prop_assert!(Sold::read(&caveats).is_none());
            }
        }
    }

    #[test]
    fn other_spellings_are_not_ours() {
        let sold = Sold {
            service: "rates".parse().unwrap(),
            route: "fx".parse().unwrap(),
            offer: Offer::Request,
            units: 1,
            sold: Msat::new(21_000).unwrap(),
            revision: 3,
            valid_until: Timestamp::from_secs(1_800_000_000),
        };
        let right = sold.caveats();
        assert_eq!(
            right.join(" "),
            "services=rates:0 rates_valid_until=1800000000 route=fx offer=request units=1 sold_msat=21000 revision=3"
        );
        let wrong = [
            (0, "services=rates:1"),
            (0, "services=rates:0,more:0"),
            (0, "services=Rates:0"),
            (1, "rates_valid_until=18446744073709551615"),
            (1, "more_valid_until=1800000000"),
            (3, "offer=pass"),
            (4, "units=+1"),
            (4, "units=01"),
            (5, "sold_msat=2100000000000000001"),
            (6, "revision= 3"),
        ];
        for (place, text) in wrong {
            let mut caveats = bytes(&right);
            caveats[place] = text.as_bytes().to_vec();
            assert!(Sold::read(&caveats).is_none(), "{text}");
        }
    }
}
