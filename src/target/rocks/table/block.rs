//! Owns the plain block: prefix-compressed entries, restart points, and their count. Appends to a buffer of the caller's,
//! so that the writer builds data blocks where they will be written from.

use crate::iavl::varint::put_uv;
use std::io;

/// Builds one block after the other at the end of a buffer.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    /// Where the block begins in the buffer.
    start: usize,
    restarts: Vec<u32>,
    /// Entries from one restart point to the next.
    interval: u32,
    /// Entries since the last restart point.
    since: u32,
    last: Vec<u8>,
}

impl BlockBuilder {
    pub(super) fn new(interval: u32) -> BlockBuilder {
        BlockBuilder { start: 0, restarts: Vec::new(), interval, since: interval, last: Vec::new() }
    }

    /// Begins a block at a position of the buffer, its end.
    pub(super) fn begin(&mut self, start: usize) {
        self.start = start;
        self.restarts.clear();
        self.since = self.interval;
    }

    /// Where the block begins.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.restarts.is_empty()
    }

    /// The key added last, without its suffix; it outlives its block.
    pub(super) fn last(&self) -> &[u8] {
        &self.last
    }

    /// Bytes of the block if it were finished now.
    #[inline]
    pub(super) fn bytes(&self, out: &[u8]) -> usize {
        out.len() - self.start + self.restarts.len() * 4 + 4
    }

    /// Adds the entry `key` ‖ `suffix`. Keys ascend; the suffix is the same for all keys, and is never shared.
    ///
    /// # Errors
    /// The block would not be addressable with 32 bits.
    #[inline]
    pub(super) fn add(&mut self, out: &mut Vec<u8>, key: &[u8], suffix: &[u8], value: &[&[u8]]) -> io::Result<()> {
        let length = value.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        // Three lengths of five bytes, a restart point.
        let entry = length.saturating_add(key.len()).saturating_add(suffix.len()).saturating_add(3 * 5 + 4);
        if self.bytes(out).saturating_add(entry) > u32::MAX as usize {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a record is too large for a block"));
        }
        let shared = if self.since < self.interval {
            self.since += 1;
            common(&self.last, key)
        } else {
            self.since = 1;
            self.restarts.push((out.len() - self.start) as u32);
            0
        };
        let rest = key.get(shared..).unwrap_or_default();
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);

        let unshared = rest.len() + suffix.len();
        if shared | unshared < 0x80 && length < 0x4000 {
            // Nearly every entry. Appending a known number of bytes is a store.
            let (shared, unshared) = (shared as u8, unshared as u8);
            if length < 0x80 {
                out.extend_from_slice(&[shared, unshared, length as u8]);
            } else {
                out.extend_from_slice(&[shared, unshared, length as u8 | 0x80, (length >> 7) as u8]);
            }
        } else {
            put_uv(out, shared as u64);
            put_uv(out, unshared as u64);
            put_uv(out, length as u64);
        }
        out.extend_from_slice(rest);
        out.extend_from_slice(suffix);
        for part in value {
            out.extend_from_slice(part);
        }
        Ok(())
    }

    /// Completes the block.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        for restart in &self.restarts {
            out.extend_from_slice(&restart.to_le_bytes());
        }
        out.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
    }
}

/// How many bytes two keys have in common at their beginning.
#[inline]
pub(super) fn common(a: &[u8], b: &[u8]) -> usize {
    let mut same = 0;
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        let differs = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differs != 0 {
            return same + (differs.trailing_zeros() / 8) as usize;
        }
        same += 8;
    }
    let rest = |key| <[u8]>::get(key, same..).unwrap_or_default();
    same + rest(a).iter().zip(rest(b)).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_beginnings_of_any_length() {
        let key: Vec<u8> = (0..40).collect();
        for length in 0..=key.len() {
            for same in 0..=length {
                let mut other = key.clone();
                if let Some(byte) = other.get_mut(same) {
                    *byte ^= 0x80;
                }
                assert_eq!(common(&key[..length], &other), same);
                assert_eq!(common(&other, &key[..length]), same);
            }
        }
    }
}
