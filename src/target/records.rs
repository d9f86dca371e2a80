//! Node records of one store on their way into SC, gathered until they are worth a sorted run.

use crate::iavl::{NodeKey, RecordStream};

/// Records of one store in one buffer. Filled in any order, read in key order.
#[derive(Default)]
pub struct RecordRun {
    bytes: Vec<u8>,
    index: Vec<(NodeKey, u32, u32)>,
}

impl RecordRun {
    /// Adds a record that `encode` appends to the buffer; `encode` returns its key, or nothing if it cannot be stored.
    /// Returns the key and the record.
    pub fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Option<NodeKey>) -> Option<(NodeKey, &[u8])> {
        let start = self.bytes.len();
        let key = encode(&mut self.bytes)?;
        // Runs are handed over long before 4 GiB, and no value is larger than half of that.
        let (from, to) = (u32::try_from(start).ok()?, u32::try_from(self.bytes.len()).ok()?);
        self.index.push((key, from, to));
        Some((key, self.bytes.get(start..)?))
    }

    /// The record of a key, if the run was filled in key order.
    #[must_use]
    pub fn get(&self, key: NodeKey) -> Option<&[u8]> {
        let at = self.index.binary_search_by_key(&key, |(at, _, _)| *at).ok()?;
        let &(_, start, end) = self.index.get(at)?;
        self.bytes.get(start as usize..end as usize)
    }

    /// Bytes held, the index included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() + self.index.len() * size_of::<(NodeKey, u32, u32)>()
    }

    /// Puts the records in key order and hands them out.
    pub fn sorted(&mut self) -> impl RecordStream {
        self.index.sort_unstable_by_key(|(key, _, _)| *key);
        Sorted { run: self, next: 0 }
    }

    /// Empties it and keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
    }
}

struct Sorted<'a> {
    run: &'a RecordRun,
    next: usize,
}

impl RecordStream for Sorted<'_> {
    fn next(&mut self) -> Option<(NodeKey, &[u8])> {
        let &(key, start, end) = self.run.index.get(self.next)?;
        self.next += 1;
        Some((key, self.run.bytes.get(start as usize..end as usize)?))
    }
}
