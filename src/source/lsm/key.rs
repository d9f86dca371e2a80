//! Owns the internal key (user key ‖ LE8(sequence << 8 | kind)), its order, and what a kind means, for every part which
//! compares or judges keys of tables.

use std::cmp::Ordering;

/// Bytes after the user key.
pub(crate) const TRAILER: usize = 8;

/// Kind of a deletion in memory, whatever it was in its log.
pub(crate) const DELETE: u8 = 0;
/// Kind of a live value in memory, whatever it was in its log.
pub(crate) const PUT: u8 = 1;

/// What an entry does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Gives it a value.
    Put,
    /// Removes it.
    Delete,
    /// A merge operand: the value needs the engine's merge operator.
    Merge,
    /// A removal of a whole range.
    RangeDelete,
    /// A key over a range.
    RangeKey,
    /// No kind of this engine.
    Unknown,
}

/// The meaning of each kind byte of an engine's tables.
#[derive(Debug)]
pub struct Kinds(pub(crate) [Kind; 256]);

impl Kinds {
    /// The meaning of the kind in `sequence << 8 | kind`.
    #[inline]
    pub(crate) fn of(&self, tag: u64) -> Kind {
        // Every byte has its place in the table.
        self.0.get((tag & 0xff) as usize).copied().unwrap_or(Kind::Unknown)
    }
}

/// User part of an internal key; empty when the key is too short to have one.
#[inline]
pub(crate) fn user(internal: &[u8]) -> &[u8] {
    let len = internal.len().saturating_sub(TRAILER);
    internal.get(..len).unwrap_or(&[])
}

/// `sequence << 8 | kind` of an internal key; 0 when the key is too short.
#[inline]
pub(crate) fn tag(internal: &[u8]) -> u64 {
    match internal.last_chunk::<TRAILER>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => 0,
    }
}

/// The order of internal keys: user key ascending, sequence descending.
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    user(a).cmp(user(b)).then_with(|| tag(b).cmp(&tag(a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_entries_of_a_key_come_first() {
        let key = |user: &[u8], seq: u64| [user, &(seq << 8 | 1).to_le_bytes()].concat();
        assert_eq!(compare(&key(b"a", 9), &key(b"a", 3)), Ordering::Less);
        assert_eq!(compare(&key(b"a", 1), &key(b"b", 9)), Ordering::Less);
        assert_eq!(compare(&key(b"ab", 1), &key(b"a", 9)), Ordering::Greater);
        assert_eq!(user(b"short"), b"");
        assert_eq!(tag(b"short"), 0);
    }
}
