//! What the Lightning library says, for people: a sentence in the middle of another one, without its full stop.

use std::borrow::Cow;

/// What its sentences mean to whoever asked for something. One that is not known here stays as it is.
const MEANINGS: [(&str, &str); 8] = [
    ("Network connection closed", "the other node cannot be reached at that address, or it hung up"),
    (
        "Failed to send the given payment",
        "no way to the payee was found: too little is spendable, or no route leads there",
    ),
    (
        "Failed to create channel",
        "the channel cannot be opened as asked: the other node may want a larger or a smaller one",
    ),
    ("Failed to close channel", "the channel cannot be closed now: the other node may be away"),
    (
        "The available funds are insufficient to complete the given operation",
        "there are not enough coins for the amount, its fee and what is kept back for channels",
    ),
    (
        "A payment with the given hash has already been initiated",
        "this invoice is being paid already, or was",
    ),
    ("Failed to create invoice request", "the offer's payee cannot be asked for an invoice"),
    ("Node is not running", "the node is not running"),
];

/// What the library calls something that it cannot read, before it lists what its parser met.
const UNREADABLE: [(&str, &str); 2] = [
    ("not a BOLT 12 offer: ", "this is not a whole BOLT 12 offer: copy it again"),
    ("not a BOLT 11 invoice: ", "this is not a valid BOLT 11 invoice"),
];

/// `text` of the library in plain words.
pub fn plain(text: &str) -> Cow<'_, str> {
    let sentence = text.trim().trim_end_matches('.');
    let known = MEANINGS.iter().find(|(said, _)| *said == sentence).map(|(_, means)| *means);
    let known = known
        .or_else(|| UNREADABLE.iter().find(|(begins, _)| text.starts_with(begins)).map(|(_, means)| *means));
    Cow::Borrowed(known.unwrap_or(sentence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{NodeFault, SendFault};

    #[test]
    fn the_librarys_sentences_become_ours() {
        let told = NodeFault("Network connection closed.".to_owned()).to_string();
        assert_eq!(told, "the other node cannot be reached at that address, or it hung up");
        let told =
            SendFault::Refused("not a BOLT 12 offer: Bech32(Parse(Char(InvalidChar('b'))))".to_owned());
        assert_eq!(told.to_string(), "this is not a whole BOLT 12 offer: copy it again");
        assert_eq!(
            plain("`x` is not an address of the form host:port"),
            "`x` is not an address of the form host:port"
        );
        assert_eq!(plain("Something new."), "Something new");
    }
}
