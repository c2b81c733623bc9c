//! A seeded generator for campaigns that do things at random moments.

/// Draws the same numbers for the same seed (SplitMix64). The threads of a campaign still run as they
/// like, so a seed narrows a failure down and does not replay it to the instruction.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The seed that the environment variable gives, or a new one.
    pub(crate) fn seed(variable: &str) -> u64 {
        use std::hash::{BuildHasher, RandomState};
        match std::env::var(variable) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}: `{text}` is not a number")),
            Err(_) => RandomState::new().hash_one("a campaign"),
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// One of the list.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let length = u64::try_from(list.len()).expect("it fits");
        (length > 0).then(|| &list[usize::try_from(self.below(length)).expect("an index")])
    }

    /// An index below `length`, which is not zero.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        let drawn = self.below(u64::try_from(length).expect("it fits"));
        usize::try_from(drawn).expect("an index")
    }

    /// Any byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// Another generator, for another thread.
    pub(crate) fn fork(&mut self) -> Chance {
        Chance(self.next())
    }
}

/// Says the seed when the test fails.
pub(crate) struct SaysSeed(pub(crate) &'static str, pub(crate) u64);

impl Drop for SaysSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}={} draws the same again", self.0, self.1);
        }
    }
}

/// The number that the environment variable gives, or `usual`.
pub(crate) fn count(variable: &str, usual: u64) -> u64 {
    std::env::var(variable)
        .map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: `{text}` is not a number")))
}
