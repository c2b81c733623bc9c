//! Bytes that only the holder of a key can read or change, of any length, as a stream.
//!
//! A file is a mark, a salt and chunks of 64 KiB, each sealed with ChaCha20-Poly1305 (RFC 8439) under a
//! key that HKDF-SHA256 derives from the given one and the salt. A nonce is the chunk's number and whether
//! it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015), so a chunk that
//! is cut off, moved, repeated or changed is found. Nothing is given out before its chunk was proved.

use std::io::{self, Read, Write};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;
use zeroize::Zeroizing;

use crate::clock::Entropy;

const MARK: &[u8; 8] = b"TOLLSEA1";
const SALT: usize = 32;
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;

/// Seals what is written to it; [`SealedWriter::finish`] it, or the file cannot be opened.
pub struct SealedWriter<W: Write> {
    inner: W,
    key: LessSafeKey,
    number: u64,
    waiting: Zeroizing<Vec<u8>>,
}

impl<W: Write> SealedWriter<W> {
    /// Begins a sealed stream in `inner`.
    ///
    /// # Errors
    /// When `inner` cannot be written.
    pub fn new(mut inner: W, key: &[u8; 32], entropy: &dyn Entropy) -> io::Result<SealedWriter<W>> {
        let mut salt = [0u8; SALT];
        entropy.fill(&mut salt);
        inner.write_all(MARK)?;
        inner.write_all(&salt)?;
        let waiting = Zeroizing::new(Vec::with_capacity(CHUNK + TAG));
        Ok(SealedWriter { inner, key: chunk_key(key, &salt), number: 0, waiting })
    }

    /// Seals the last chunk and gives the writer back; nothing is flushed or synced.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.inner)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let nonce = nonce(self.number, last);
        self.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut *self.waiting).map_err(|_| too_long())?;
        self.inner.write_all(&self.waiting)?;
        self.waiting.clear();
        self.number = self.number.checked_add(1).ok_or_else(too_long)?;
        Ok(())
    }
}

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits until more comes: only then is it known not to be the last.
        if self.waiting.len() == CHUNK && !bytes.is_empty() {
            self.seal(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Opens what a [`SealedWriter`] sealed. Any doubt is an error of kind `InvalidData`.
pub struct SealedReader<R: Read> {
    inner: R,
    key: LessSafeKey,
    number: u64,
    sealed: Vec<u8>,
    open: Zeroizing<Vec<u8>>,
    given: usize,
    ended: bool,
}

impl<R: Read> SealedReader<R> {
    /// Begins to read a sealed stream.
    ///
    /// # Errors
    /// When it cannot be read, or does not begin as one.
    pub fn new(mut inner: R, key: &[u8; 32]) -> io::Result<SealedReader<R>> {
        let (mut mark, mut salt) = ([0u8; MARK.len()], [0u8; SALT]);
        inner.read_exact(&mut mark).map_err(|_| doubtful("it is not a sealed file"))?;
        if &mark != MARK {
            return Err(doubtful("it is not a sealed file, or of a version that is not known here"));
        }
        inner.read_exact(&mut salt).map_err(|_| doubtful("it is cut off"))?;
        let mut reader = SealedReader {
            inner,
            key: chunk_key(key, &salt),
            number: 0,
            sealed: Vec::with_capacity(CHUNK + TAG + 1),
            open: Zeroizing::default(),
            given: 0,
            ended: false,
        };
        reader.read_chunk()?;
        Ok(reader)
    }

    /// Opens the next chunk. One byte more than a chunk is read, which tells whether it is the last.
    fn read_chunk(&mut self) -> io::Result<()> {
        let wanted = CHUNK + TAG + 1 - self.sealed.len();
        let limit = u64::try_from(wanted).map_err(|_| too_long())?;
        (&mut self.inner).take(limit).read_to_end(&mut self.sealed)?;
        let last = self.sealed.len() <= CHUNK + TAG;
        let next = if last { None } else { self.sealed.pop() };
        let nonce = nonce(self.number, last);
        let wrong = "the key is not the one that it was sealed with, or it was changed or cut off";
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut self.sealed);
        let open = opened.map_err(|_| doubtful(wrong))?;
        self.open.clear();
        self.open.extend_from_slice(open);
        zeroize::Zeroize::zeroize(&mut self.sealed);
        self.sealed.extend(next);
        self.given = 0;
        self.ended = last;
        self.number = self.number.checked_add(1).ok_or_else(too_long)?;
        Ok(())
    }
}

impl<R: Read> Read for SealedReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given == self.open.len() && !self.ended && !into.is_empty() {
            self.read_chunk()?;
        }
        let rest = &self.open[self.given..];
        let taken = rest.len().min(into.len());
        into[..taken].copy_from_slice(&rest[..taken]);
        self.given += taken;
        Ok(taken)
    }
}

/// Seals a few bytes at once.
pub fn seal(key: &[u8; 32], bytes: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let sealed = SealedWriter::new(Vec::new(), key, entropy).and_then(|mut writer| {
        writer.write_all(bytes)?;
        writer.finish()
    });
    sealed.expect("memory can be written, and has less than 2^64 chunks")
}

/// Opens what [`seal`] sealed.
///
/// # Errors
/// When the key is another one, or the bytes are not what was sealed.
pub fn open(key: &[u8; 32], sealed: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::default();
    SealedReader::new(sealed, key)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether bytes begin as [`seal`]'s do.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK)
}

/// A key for one purpose, from a secret: HKDF-SHA256 (RFC 5869) with the purpose as its info.
pub fn derive(secret: &[u8], purpose: &str) -> Zeroizing<[u8; 32]> {
    hkdf_32(b"tollhouse", secret, purpose.as_bytes())
}

fn hkdf_32(salt: &[u8], secret: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0u8; 32]);
    let pseudo_random = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let info = [info];
    let expanded = pseudo_random.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut *key));
    expanded.expect("32 bytes are what SHA-256 gives");
    key
}

fn chunk_key(key: &[u8; 32], salt: &[u8]) -> LessSafeKey {
    let key = hkdf_32(salt, key, b"chunks");
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*key).expect("32 bytes are a key"))
}

fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0u8; 12];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

fn doubtful(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn too_long() -> io::Error {
    doubtful("it is too long")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::CountingEntropy;

    const KEY: [u8; 32] = [7; 32];

    fn bytes(length: usize) -> Vec<u8> {
        (0..=250u8).cycle().take(length).collect()
    }

    #[test]
    fn what_was_sealed_opens_at_every_length() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5] {
            let sealed = seal(&KEY, &bytes(length), &CountingEntropy::default());
            assert_eq!(*open(&KEY, &sealed).unwrap(), bytes(length), "{length}");
            assert!(open(&[8; 32], &sealed).is_err(), "another key");
        }
    }

    #[test]
    fn every_change_is_found() {
        let sealed = seal(&KEY, &bytes(2 * CHUNK + 9), &CountingEntropy::default());
        let head = MARK.len() + SALT;
        for at in [0, 9, head, head + CHUNK, head + CHUNK + TAG, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&KEY, &changed).is_err(), "byte {at}");
        }
        for length in
            [0, 7, 8, head, head + 3, head + CHUNK + TAG, head + 2 * (CHUNK + TAG), sealed.len() - 1]
        {
            assert!(open(&KEY, &sealed[..length]).is_err(), "cut at {length}");
        }
        let longer = [&sealed[..], b"x"].concat();
        assert!(open(&KEY, &longer).is_err());
        let (first, rest) = sealed[head..].split_at(CHUNK + TAG);
        let (second, third) = rest.split_at(CHUNK + TAG);
        let swapped = [&sealed[..head], second, first, third].concat();
        assert!(open(&KEY, &swapped).is_err());
    }

    #[test]
    fn keys_differ_by_purpose() {
        assert_ne!(*derive(&KEY, "a"), *derive(&KEY, "b"));
        assert_eq!(*derive(&KEY, "a"), *derive(&KEY, "a"));
    }
}
