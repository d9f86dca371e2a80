//! Owns the index of a table: for each data block its place, under a key that no key of the block is above and all of the
//! next are. Every point read searches it, so its entries are small: keys as short as that allows, user keys only, and no
//! lengths of values (`index.key.is.user.key`, `index.value.is.delta.encoded`). RocksDB's own writer leaves keys with
//! timestamps as they are, for want of a comparator that shortens them; any key in between does for its readers.

use super::{Handle, TIMESTAMP, block::common};
use crate::iavl::varint::put_uv;
use std::io;

/// Entries from one restart point to the next: each can be searched for.
pub(super) const INTERVAL: u32 = 1;

/// The timestamp of a key that was made up: the newest, which comes first of all versions.
const FIRST: [u8; TIMESTAMP] = [0xff; TIMESTAMP];

/// Collects the entries of one table.
#[derive(Debug, Default)]
pub(super) struct Index {
    out: Vec<u8>,
    restarts: Vec<u32>,
}

impl Index {
    /// Adds a block whose last key is `last`, before the one whose first key is `next`, if there is one.
    ///
    /// # Errors
    /// The index would not be addressable with 32 bits.
    pub(super) fn add(&mut self, last: &[u8], next: Option<&[u8]>, timestamps: bool, block: Handle) -> io::Result<()> {
        let at = u32::try_from(self.out.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the index of a table is too large"))?;
        let (key, timestamp) = next.and_then(|next| separator(last, next, timestamps)).unwrap_or((last, &[]));
        self.restarts.push(at);
        // Nothing is shared with the key before, and a handle tells where it ends.
        self.out.push(0);
        put_uv(&mut self.out, (key.len() + timestamp.len()) as u64);
        self.out.extend_from_slice(key);
        self.out.extend_from_slice(timestamp);
        block.put(&mut self.out);
        Ok(())
    }

    /// Appends the block.
    pub(super) fn build(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.out);
        for restart in &self.restarts {
            out.extend_from_slice(&restart.to_le_bytes());
        }
        out.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
    }
}

/// A key, and its timestamp, after `last` and before `next` that is shorter than `last`; none if there is none of this form:
/// the beginning of `next` up to where it differs.
fn separator<'a>(last: &[u8], next: &'a [u8], timestamps: bool) -> Option<(&'a [u8], &'static [u8])> {
    let stamp = if timestamps { TIMESTAMP } else { 0 };
    let last = last.get(..last.len().checked_sub(stamp)?)?;
    let next = next.get(..next.len().checked_sub(stamp)?)?;
    let length = common(last, next) + 1;
    // Not all of `next`: of that, the newest version need not come before the one that is there.
    (length < last.len() && length < next.len()).then_some((next.get(..length)?, FIRST.get(..stamp)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;

    fn order(key: &[u8], timestamps: bool) -> (Vec<u8>, Reverse<u64>) {
        let (key, stamp) = key.split_at(key.len() - if timestamps { TIMESTAMP } else { 0 });
        (key.to_vec(), Reverse(stamp.try_into().map_or(0, u64::from_le_bytes)))
    }

    #[test]
    fn a_separator_is_short_after_the_last_key_and_before_the_next() {
        let keys: Vec<Vec<u8>> = (0..6usize)
            .flat_map(|length| (0..4usize.pow(length as u32)).map(move |n| (length, n)))
            .map(|(length, n)| (0..length).map(|at| [0, 1, 2, 0xff][n >> (2 * at) & 3]).collect())
            .collect();
        let mut short = 0;
        for timestamps in [false, true] {
            for (nth, one) in keys.iter().enumerate().step_by(7) {
                for (other, stamp) in keys.iter().skip(nth % 5).step_by(5).zip([0, 1, u64::MAX].into_iter().cycle()) {
                    let full = |key: &[u8], stamp: u64| {
                        if timestamps { [key, &stamp.to_le_bytes()].concat() } else { key.to_vec() }
                    };
                    let mut pair = [full(one, 1), full(other, stamp)];
                    pair.sort_by_key(|key| order(key, timestamps));
                    let [last, next] = pair;
                    if last == next {
                        continue;
                    }
                    let Some((key, stamp)) = separator(&last, &next, timestamps) else { continue };
                    let made = [key, stamp].concat();
                    assert!(made.len() < last.len(), "{last:?} {next:?}: {made:?}");
                    let [last, made, next] = [last, made, next].map(|key| order(&key, timestamps));
                    assert!(last <= made && made < next, "{last:?} {next:?}: {made:?}");
                    short += 1;
                }
            }
        }
        assert!(short > 1000, "{short}");
    }
}
