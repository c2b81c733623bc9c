//! What is kept back of the wallet for closing channels by force: how much, in one wording for all that tell it.

/// What the node keeps back for closing one channel by force, satoshi.
pub const RESERVE_SAT: u64 = 25_000;

/// What each channel takes of the wallet while it is open.
pub fn of_each_channel() -> String {
    format!(
        "Each channel keeps {RESERVE_SAT} sat of the on-chain wallet back while it is open, for closing it by force; one \
         with a provider that you named keeps none, and neither does one without anchor outputs, which pays for its own \
         closing."
    )
}

/// That less is kept back than is wanted; `None` where it is not so.
pub fn reserve_missing(reserved_sat: u64, wanted_sat: u64) -> Option<String> {
    let missing = wanted_sat.checked_sub(reserved_sat).filter(|missing| *missing > 0)?;
    Some(format!(
        "{missing} sat are missing of the {wanted_sat} sat that are to be kept back for closing channels by force: what \
         comes to the on-chain wallet is kept back first"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_and_the_handbook_has_the_same_number() {
        assert_eq!(reserve_missing(25_000, 25_000), None);
        assert_eq!(reserve_missing(25_000, 0), None);
        let said = reserve_missing(12_000, 50_000).expect("it is missing");
        assert!(said.starts_with("38000 sat are missing of the 50000 sat"), "{said}");
        let number = format!("{},{:03} sat", RESERVE_SAT / 1_000, RESERVE_SAT % 1_000);
        let handbook = include_str!("../../README.md").split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = of_each_channel().replace(&format!("{RESERVE_SAT} sat"), &number);
        assert_eq!(handbook.matches(wanted.trim_end_matches('.')).count(), 1, "{wanted}");
    }
}
