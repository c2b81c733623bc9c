//! The binary form of a macaroon of version 2, read as any server writes it: third-party caveats too, and
//! no limit of ours but on its size.

use super::{Caveat, LastSeal, NotHeld};
use crate::l402::seal::Seal;

/// The first byte.
pub(super) const VERSION_2: u8 = 2;
/// Field tags, as libmacaroons and go-macaroon have them.
pub(super) const END: u8 = 0;
const LOCATION: u8 = 1;
pub(super) const IDENTIFIER: u8 = 2;
const VERIFICATION: u8 = 4;
pub(super) const SIGNATURE: u8 = 6;

/// A macaroon's parts.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) location: Option<String>,
    pub(super) identifier: Vec<u8>,
    pub(super) caveats: Vec<Caveat>,
    /// Where its list of caveats ends.
    pub(super) end: usize,
    pub(super) seal: LastSeal,
}

impl Packet {
    pub(super) fn read(bytes: &[u8]) -> Result<Packet, NotHeld> {
        if bytes.first() != Some(&VERSION_2) {
            return Err(NotHeld::Version);
        }
        Reader { bytes, at: 1 }.packet().ok_or(NotHeld::Undecodable)
    }

    /// The conditions that the server checks itself.
    pub(super) fn first_party(&self) -> Vec<Vec<u8>> {
        let first = |caveat: &Caveat| match caveat {
            Caveat::First(caveat) => Some(caveat.clone()),
            Caveat::Third(_) => None,
        };
        self.caveats.iter().filter_map(first).collect()
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The fields of one section.
#[derive(Default)]
struct Section<'a> {
    location: Option<&'a [u8]>,
    identifier: Option<&'a [u8]>,
    verification: Option<&'a [u8]>,
}

impl<'a> Reader<'a> {
    fn packet(mut self) -> Option<Packet> {
        let head = self.section()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (location, identifier) = (head.location.map(text), head.identifier?.to_vec());
        let mut caveats = Vec::new();
        while self.bytes.get(self.at) != Some(&END) {
            let caveat = self.section()?;
            let identifier = caveat.identifier?.to_vec();
            caveats.push(match caveat.verification {
                Some(_) => Caveat::Third(caveat.location.map(text)),
                None => Caveat::First(identifier),
            });
        }
        let end = self.at;
        self.at += 1;
        let (tag, signature) = self.field()?;
        let seal = Seal::from_bytes(signature.try_into().ok()?);
        (tag == SIGNATURE && self.at == self.bytes.len()).then_some(Packet {
            location,
            identifier,
            caveats,
            end,
            seal,
        })
    }

    /// Fields up to the mark of their end, each at most once and in the order of their tags.
    fn section(&mut self) -> Option<Section<'a>> {
        let mut section = Section::default();
        let mut before = END;
        loop {
            if self.bytes.get(self.at) == Some(&END) {
                self.at += 1;
                return Some(section);
            }
            let (tag, value) = self.field()?;
            if tag <= before {
                return None;
            }
            before = tag;
            match tag {
                LOCATION => section.location = Some(value),
                IDENTIFIER => section.identifier = Some(value),
                VERIFICATION => section.verification = Some(value),
                _ => return None,
            }
        }
    }

    /// A tag, a length in groups of seven bits with the lowest first, and as many bytes.
    fn field(&mut self) -> Option<(u8, &'a [u8])> {
        let tag = *self.bytes.get(self.at)?;
        let (mut length, mut shift) = (0usize, 0u32);
        loop {
            self.at += 1;
            let byte = *self.bytes.get(self.at)?;
            length |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            // Three groups are 2 MiB, more than any token has.
            if shift > 14 {
                return None;
            }
        }
        let start = self.at + 1;
        let value = self.bytes.get(start..start.checked_add(length)?)?;
        self.at = start + length;
        Some((tag, value))
    }
}
