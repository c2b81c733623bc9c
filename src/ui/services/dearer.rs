//! What is said of a dearer price before it is saved: from what to what, and what it does to the tokens that
//! customers hold.
//!
//! Invariant: what was sold and what was given away are told apart.

use super::wording::amount;
use crate::pricing::Amount;
use crate::storefront::{Repriced, Rise};
use crate::ui::figures::{counted, sats_exact};

/// What is asked.
pub(super) fn title(rises: &[Rise]) -> String {
    let names: Vec<String> = rises.iter().map(|rise| format!("“{}”", rise.service)).collect();
    let prices = if prices_of(rises) == 1 { "price" } else { "prices" };
    format!("Change the {prices} of {}?", names.join(", "))
}

/// The button that makes it so.
pub(super) fn yes(rises: &[Rise]) -> &'static str {
    if prices_of(rises) == 1 { "Change the price" } else { "Change the prices" }
}

fn prices_of(rises: &[Rise]) -> usize {
    rises.iter().map(|rise| rise.prices.len()).sum()
}

/// What becomes dearer, and of what customers hold.
pub(super) fn lines(rise: &Rise) -> Vec<String> {
    let mut lines: Vec<String> = rise.prices.iter().map(|one| repriced(rise, one)).collect();
    lines.extend(refused(rise));
    if rise.balance_tokens > 0 {
        let (balances, left) =
            (counted(rise.balance_tokens, "sold balance"), sats_exact(rise.balance_left_msat));
        lines.push(format!("{balances} with {left} sat left in all: good as before, for fewer requests."));
    }
    if rise.given_tokens > 0 {
        let tokens = counted(rise.given_tokens, "given token");
        let left = match rise.given_left_msat {
            0 => "nothing left at this moment".to_owned(),
            msat => format!("{} sat left in all", sats_exact(msat)),
        };
        let them = if rise.given_tokens == 1 { "it" } else { "them" };
        lines.push(format!(
            "{tokens} with {left}, which nobody paid for: good as before, and a request draws more of \
             {them}."
        ));
    }
    lines.push(
        "Passes open what they opened. A pack stays good while as many requests are sold together for what it cost, \
         or for less. Tokens that were paid for and never used are not counted here, and are treated alike."
            .to_owned(),
    );
    lines
}

/// `GET /v1/day costs 5 sat instead of 2 sat.`
fn repriced(rise: &Rise, one: &Repriced) -> String {
    let alone = rise.prices.iter().filter(|other| other.pack == one.pack).count() == 1;
    let (about, several) = match one.requests.as_slice() {
        // Whatever there is, at one price.
        _ if rise.requests.is_empty() && alone => (format!("Every request of {}", rise.service), false),
        [only] => (only.clone(), false),
        some => (some.join(", "), true),
    };
    let (about, several) = match one.pack {
        Some(requests) if alone && rise.requests.is_empty() => {
            (format!("{requests} requests of {} together", rise.service), true)
        }
        Some(requests) => (format!("{requests} requests together ({about})"), true),
        None => (about, several),
    };
    if one.pack.is_some() && one.after == "not sold" {
        return format!("{about} are sold no more. Price until then: {}.", one.before);
    }
    let price = |words: &str| match (words, words.parse::<Amount>()) {
        ("free", _) => "nothing".to_owned(),
        (_, Ok(sum)) => amount(&sum),
        (rule, Err(_)) => rule.to_owned(),
    };
    let (before, after) = (price(&one.before), price(&one.after));
    match (one.certain, several) {
        (true, false) => format!("{about} costs {after} instead of {before}."),
        (true, true) => format!("{about} cost {after} instead of {before}."),
        (false, _) => {
            format!("{about} may cost more. Price from then on: {after}. Price until then: {before}.")
        }
    }
}

/// The tokens that were sold for less, and are refused there.
fn refused(rise: &Rise) -> Option<String> {
    if rise.refused_tokens == 0 {
        return None;
    }
    let tokens = counted(rise.refused_tokens, "sold token");
    let left = counted(rise.refused_requests, "paid request");
    Some(if rise.certain {
        format!(
            "{tokens} with {left} left: sold for less, and refused there from then on with an offer at the new price, \
             although paid for. Good again when the price is back, or their pack for what it cost."
        )
    } else {
        format!(
            "{tokens} with {left} left: a request that costs more than it was sold for is refused with an offer at the \
             new price, although it was paid for."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rise() -> Rise {
        let requests = vec!["GET /x".to_owned()];
        let (before, after) = ("2 sat".to_owned(), "5 sat".to_owned());
        let one = Repriced { requests, pack: None, before, after, certain: true };
        Rise {
            service: "rates".parse().unwrap(),
            requests: one.requests.clone(),
            certain: true,
            prices: vec![one],
            refused_tokens: 2,
            refused_requests: 1_200,
            balance_tokens: 1,
            balance_left_msat: 1_500,
            given_tokens: 2,
            given_left_msat: 0,
        }
    }

    #[test]
    fn the_question_names_both_prices_and_what_was_given() {
        let rise = rise();
        assert_eq!(title(std::slice::from_ref(&rise)), "Change the price of “rates”?");
        assert_eq!(yes(std::slice::from_ref(&rise)), "Change the price");
        let told = lines(&rise);
        assert_eq!(told[0], "GET /x costs 5 sat instead of 2 sat.");
        for (line, begin) in told[1..].iter().zip([
            "2 sold tokens with 1,200 paid requests left: sold for less, and refused there",
            "1 sold balance with 1.5 sat left in all: ",
            "2 given tokens with nothing left at this moment, which nobody paid for: ",
            "Passes open what they opened.",
        ]) {
            assert!(line.starts_with(begin), "{line}");
        }
    }

    #[test]
    fn a_dearer_pack_is_told_apart_from_one_request() {
        let pack = |after: &str| {
            let one = rise().prices.remove(0);
            let (before, after) = ("90 sat".to_owned(), after.to_owned());
            Rise { prices: vec![Repriced { pack: Some(10), before, after, ..one }], ..rise() }
        };
        assert_eq!(
            lines(&pack("190 sat"))[0],
            "10 requests together (GET /x) cost 190 sat instead of 90 sat."
        );
        assert_eq!(
            lines(&pack("not sold"))[0],
            "10 requests together (GET /x) are sold no more. Price until then: 90 sat."
        );
    }

    #[test]
    fn what_cannot_be_said_beforehand_is_not_promised() {
        let price = |before: &str, after: &str, certain| Repriced {
            requests: vec!["/a".to_owned(), "/b/*".to_owned()],
            pack: None,
            before: before.to_owned(),
            after: after.to_owned(),
            certain,
        };
        let rise = Rise {
            prices: vec![price("free", "1500 msat", true), price("2 sat", "0.01 USD", false)],
            certain: false,
            ..rise()
        };
        assert_eq!(yes(std::slice::from_ref(&rise)), "Change the prices");
        let told = lines(&rise);
        assert_eq!(told[0], "/a, /b/* cost 1.5 sat instead of nothing.");
        assert_eq!(told[1], "/a, /b/* may cost more. Price from then on: 0.01 USD. Price until then: 2 sat.");
        assert!(told[2].contains("a request that costs more than it was sold for is refused"), "{}", told[2]);
    }
}
