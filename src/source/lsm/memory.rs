//! Owns the contents of the live logs: an immutable sorted table of the newest entry per
//! key, tombstones included. Hands entries by position to cursor and iterator.

use std::cmp::Reverse;

use super::key::{DELETE, PUT};

/// Newest entry per user key of all replayed logs.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    arena: Vec<u8>,
    entries: Vec<Entry>,
}

/// One entry; its key and value adjoin in the arena.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: usize,
    value: usize,
    end: usize,
    tag: u64,
}

impl Memory {
    /// Adds an entry; [`Memory::sort`] must follow before any reading.
    pub(crate) fn push(&mut self, sequence: u64, key: &[u8], value: Option<&[u8]>) {
        let start = self.arena.len();
        self.arena.extend_from_slice(key);
        let middle = self.arena.len();
        self.arena.extend_from_slice(value.unwrap_or(&[]));
        let kind = if value.is_some() { PUT } else { DELETE };
        self.entries.push(Entry {
            key: start,
            value: middle,
            end: self.arena.len(),
            tag: sequence << 8 | u64::from(kind),
        });
    }

    /// Bytes taken, for the bound on logs.
    pub(crate) fn bytes(&self) -> u64 {
        (self.arena.len() + self.entries.len() * size_of::<Entry>()) as u64
    }

    /// Sorts, and drops all but the newest entry of each key.
    pub(crate) fn sort(&mut self) {
        let Memory { arena, entries } = self;
        let key = |e: &Entry| arena.get(e.key..e.value).unwrap_or(&[]);
        entries.sort_by(|a, b| {
            let order = key(a).cmp(key(b));
            order.then_with(|| Reverse(a.tag).cmp(&Reverse(b.tag)))
        });
        entries.dedup_by(|later, kept| key(later) == key(kept));
        entries.shrink_to_fit();
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// First position whose key is not below `user`.
    pub(crate) fn seek(&self, user: &[u8]) -> usize {
        self.entries.partition_point(|e| self.arena.get(e.key..e.value).unwrap_or(&[]) < user)
    }

    /// User key at a position.
    #[inline]
    pub(crate) fn user(&self, at: usize) -> Option<&[u8]> {
        let entry = self.entries.get(at)?;
        self.arena.get(entry.key..entry.value)
    }

    /// `sequence << 8 | type` at a position; 0 past the end.
    #[inline]
    pub(crate) fn tag(&self, at: usize) -> u64 {
        self.entries.get(at).map_or(0, |entry| entry.tag)
    }

    /// Value at a position; empty for a tombstone.
    #[inline]
    pub(crate) fn value(&self, at: usize) -> &[u8] {
        let value = self.entries.get(at);
        let value = value.and_then(|entry| self.arena.get(entry.value..entry.end));
        value.unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entry_of_a_key_is_kept_whatever_the_order() {
        let mut memory = Memory::default();
        memory.push(3, b"b", Some(b"new"));
        memory.push(1, b"b", Some(b"old"));
        memory.push(2, b"a", Some(b"gone"));
        memory.push(4, b"a", None);
        memory.sort();
        assert_eq!(memory.len(), 2);
        assert_eq!(memory.tag(0), 4 << 8);
        assert_eq!(memory.seek(b"b"), 1);
        assert_eq!(memory.value(1), b"new");
        assert_eq!(memory.user(2), None);
    }
}
