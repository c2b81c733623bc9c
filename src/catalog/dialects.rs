//! In which dialects a service's 402 says the price.
//!
//! What is offered, not what is taken: a token that was sold stays good whatever dialect is switched off
//! afterwards, for its buyer has paid.

/// The dialects of a service's 402. There is always one: where only `payment` is wanted and cannot say
/// what is sold, the 402 says it in `l402`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialects {
    /// An `LSAT` line before the others, for clients from before L402 had its name.
    pub lsat: bool,
    /// The `L402` line.
    pub l402: bool,
    /// The `Payment` line, where a single request is sold for whole satoshi.
    pub payment: bool,
}

impl Default for Dialects {
    /// `l402` and `payment`.
    fn default() -> Dialects {
        Dialects { lsat: false, l402: true, payment: true }
    }
}

impl Dialects {
    /// The words for them, in the order of their lines.
    pub const WORDS: [&'static str; 3] = ["lsat", "l402", "payment"];

    /// Those that `words` name, each one of [`Dialects::WORDS`].
    pub fn of<'w>(words: impl IntoIterator<Item = &'w str>) -> Dialects {
        let mut dialects = Dialects { lsat: false, l402: false, payment: false };
        for word in words {
            dialects.lsat |= word == "lsat";
            dialects.l402 |= word == "l402";
            dialects.payment |= word == "payment";
        }
        dialects
    }

    /// Their words, in the order of their lines.
    pub fn words(self) -> Vec<&'static str> {
        let spoken = Dialects::WORDS.into_iter().zip([self.lsat, self.l402, self.payment]);
        spoken.filter_map(|(word, spoken)| spoken.then_some(word)).collect()
    }
}
