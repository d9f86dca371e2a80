//! Digests over streams of records: what the journal remembers of a chunk once it is durable.

use super::to_hex;
use std::fmt;

/// A BLAKE3 hash over a stream of records.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Builds a [`Digest`] record by record: `LE4 length ‖ bytes` of every part. Lengths make the stream unambiguous.
pub struct RecordDigest {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

impl RecordDigest {
    /// BLAKE3 reaches its speed on large inputs only, so parts are gathered up to this size first. It takes input in pieces
    /// of this size exactly: after anything else it must finish a chunk and small subtrees one by one before it is fast.
    const BUFFER: usize = 32 * 1024;

    /// A digest for one kind of stream; streams of different kinds never have equal digests.
    #[must_use]
    pub fn new(kind: &'static str) -> RecordDigest {
        RecordDigest {
            hasher: blake3::Hasher::new_derive_key(kind),
            buffer: Vec::with_capacity(Self::BUFFER + size_of::<u32>()),
        }
    }

    /// Adds one part of a record.
    pub fn add(&mut self, part: &[u8]) {
        self.buffer.extend_from_slice(&(part.len() as u32).to_le_bytes());
        let mut rest = part;
        while self.buffer.len() + rest.len() >= Self::BUFFER {
            if self.buffer.is_empty() {
                // A large part need not pass through the buffer.
                let (pieces, later) = rest.split_at(rest.len() / Self::BUFFER * Self::BUFFER);
                self.hasher.update(pieces);
                rest = later;
                continue;
            }
            let (now, later) = rest.split_at(Self::BUFFER.saturating_sub(self.buffer.len()));
            self.buffer.extend_from_slice(now);
            rest = later;
            let (whole, length) = self.buffer.split_at(Self::BUFFER);
            self.hasher.update(whole);
            // At most a length that reached over the end.
            let over = length.len();
            self.buffer.copy_within(Self::BUFFER.., 0);
            self.buffer.truncate(over);
        }
        self.buffer.extend_from_slice(rest);
    }

    /// The digest of everything added since the last call; starts anew.
    pub fn take(&mut self) -> Digest {
        self.hasher.update(&self.buffer);
        self.buffer.clear();
        let digest = Digest(*self.hasher.finalize().as_bytes());
        self.hasher.reset();
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_depends_on_kind_parts_and_their_joints_but_not_on_buffering() {
        let digest = |kind, parts: &[&[u8]]| {
            let mut d = RecordDigest::new(kind);
            parts.iter().for_each(|p| d.add(p));
            d.take()
        };
        assert_ne!(digest("a", &[b"xy"]), digest("b", &[b"xy"]));
        assert_ne!(digest("a", &[b"xy"]), digest("a", &[b"x", b"y"]));
        let large = vec![7u8; 300_000];
        let mut d = RecordDigest::new("a");
        d.add(b"discarded");
        d.take();
        d.add(b"s");
        d.add(&large);
        assert_eq!(d.take(), digest("a", &[b"s", &large]));
    }

    #[test]
    fn a_digest_is_blake3_over_lengths_and_parts_wherever_they_end() {
        const BUFFER: usize = RecordDigest::BUFFER;
        let bytes: Vec<u8> = (0..3 * BUFFER).map(|n| (n % 251) as u8).collect();
        for first in (0..12).chain(BUFFER - 12..BUFFER + 4).chain([2 * BUFFER - 8, 2 * BUFFER - 4, 3 * BUFFER]) {
            let mut whole = blake3::Hasher::new_derive_key("a");
            let mut digest = RecordDigest::new("a");
            for part in [first, 0, 300, BUFFER, 7].map(|length| &bytes[..length]) {
                whole.update(&(part.len() as u32).to_le_bytes());
                whole.update(part);
                digest.add(part);
            }
            assert_eq!(digest.take(), Digest(*whole.finalize().as_bytes()), "{first}");
        }
    }
}
