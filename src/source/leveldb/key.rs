//! Owns the internal key (user key ‖ LE8(sequence << 8 | type)) and its order,
//! for every part which compares keys of tables.

use std::cmp::Ordering;

/// Bytes after the user key.
pub(super) const TRAILER: usize = 8;

/// Type byte of a deletion.
pub(super) const DELETE: u8 = 0;
/// Type byte of a live value.
pub(super) const PUT: u8 = 1;

/// User part of an internal key; empty when the key is too short to have one.
#[inline]
pub(super) fn user(internal: &[u8]) -> &[u8] {
    let len = internal.len().saturating_sub(TRAILER);
    internal.get(..len).unwrap_or(&[])
}

/// `sequence << 8 | type` of an internal key; 0 when the key is too short.
#[inline]
pub(super) fn tag(internal: &[u8]) -> u64 {
    match internal.last_chunk::<TRAILER>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => 0,
    }
}

/// Whether a tag is that of a value; `None` for a type LevelDB does not have.
#[inline]
pub(super) fn is_put(tag: u64) -> Option<bool> {
    match (tag & 0xff) as u8 {
        PUT => Some(true),
        DELETE => Some(false),
        _ => None,
    }
}

/// LevelDB's order: user key ascending, sequence descending.
pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
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
