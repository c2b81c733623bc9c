//! Instants as commands print them.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

/// An instant of the API, in milliseconds since the Unix epoch, as `2026-03-01 12:00:00Z`; `-` when
/// there is none, or nobody noted it.
pub(super) fn moment(ms: &Value) -> String {
    let at =
        ms.as_u64().filter(|ms| *ms > 0).and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
    // Beyond the year 9999 the formatter gives up, by an error inside `Display`.
    let far = ms.as_u64().is_some_and(|ms| ms >= 253_402_300_800_000);
    match at {
        Some(at) if !far => humantime::format_rfc3339_seconds(at).to_string().replace('T', " "),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_told_to_the_second() {
        assert_eq!(moment(&Value::from(1_760_000_000_999_u64)), "2025-10-09 08:53:20Z");
        assert_eq!(moment(&Value::Null), "-");
        assert_eq!(moment(&Value::from(0)), "-");
        assert_eq!(moment(&Value::from(u64::MAX)), "-");
    }
}
