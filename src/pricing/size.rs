//! Sizes in bytes as an operator writes them: `10 MB`, `512 KiB`, `100 B`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(u64);

/// A text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a size: write a whole number and a unit, such as \"10 MB\", \"512 KiB\" or \"100 B\"")]
pub struct NotASize(String);

/// The units, those that printing tries first at the front.
const UNITS: [(&str, u64); 9] = [
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Size {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Size {
        Size(bytes)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    /// The largest unit of which it is a whole number; reads back as it was.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, size): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(*size);
        let (unit, size) = UNITS.iter().find(whole).unwrap_or(&("B", 1));
        write!(f, "{} {unit}", self.0 / size)
    }
}

impl FromStr for Size {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Size, NotASize> {
        let wrong = || NotASize(text.to_owned());
        let trimmed = text.trim();
        let at = trimmed.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = trimmed.split_at(at);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let named = |(name, _): &&(&str, u64)| name.eq_ignore_ascii_case(unit.trim());
        let (_, size) = UNITS.iter().find(named).ok_or_else(wrong)?;
        number.checked_mul(*size).map(Size).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_read_and_print_alike() {
        for (text, shown) in
            [("10 MB", "10 MB"), ("1000kb", "1 MB"), ("1 MiB", "1 MiB"), ("1025 B", "1025 B"), ("0 B", "0 B")]
        {
            assert_eq!(text.parse::<Size>().map(|size| size.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for bad in ["", "10", "MB", "-1 MB", "1.5 MB", "1 XB", "99999999999999999999 B", "99999999999 TB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_size_reads_back(bytes in any::<u64>(), unit in 0usize..UNITS.len(), few in 0u64..5_000) {
            for size in [Size(bytes), Size(few * UNITS[unit].1)] {
                prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
            }
        }
    }
}
