//! Amounts as commands print them for people: satoshi in groups of three, with decimals where there are parts of one.

use serde_json::Value;

use crate::types::{Msat, grouped, grouped_in};

/// A whole number of the API in groups; nothing where there is none.
pub(super) fn number(value: &Value) -> String {
    value.as_u64().map(grouped).unwrap_or_default()
}

/// Millisatoshi of the API in satoshi; `-` when there is none.
pub(super) fn sats(msat: &Value) -> String {
    match (msat.as_u64(), msat.as_i64()) {
        (Some(msat), _) => in_sat(msat),
        (None, Some(lost)) => format!("-{}", in_sat(lost.unsigned_abs())),
        (None, None) => "-".to_owned(),
    }
}

/// A budget that is filled up again may have given more than there is.
fn in_sat(msat: u64) -> String {
    match Msat::new(msat) {
        Ok(amount) => grouped_in(&amount.in_sat().to_string()),
        Err(_) => format!("{} sat", grouped(msat / 1_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_satoshi() {
        let told = [0, 250, 1_500, 2_000_000].map(|msat: u64| sats(&msat.into()));
        assert_eq!(told, ["0 sat", "0.25 sat", "1.5 sat", "2,000 sat"]);
        assert_eq!(sats(&(-1_500).into()), "-1.5 sat");
        assert_eq!(sats(&Value::Null), "-");
    }
}
