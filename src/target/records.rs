//! Node records of one store on their way into SC, gathered until they are worth a sorted run.

use crate::iavl::NodeKey;

/// Records of one store in one buffer. Filled in any order, read in key order.
#[derive(Default)]
pub struct RecordRun {
    bytes: Vec<u8>,
    index: Vec<(NodeKey, usize, usize)>,
}

impl RecordRun {
    /// Adds a record that `encode` appends to the buffer; `encode` returns its key, or nothing if it cannot be stored.
    /// Returns the key and the record.
    pub fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Option<NodeKey>) -> Option<(NodeKey, &[u8])> {
        let start = self.bytes.len();
        let key = encode(&mut self.bytes)?;
        self.index.push((key, start, self.bytes.len()));
        Some((key, self.bytes.get(start..)?))
    }

    /// Bytes held, the index included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() + self.index.len() * size_of::<(NodeKey, usize, usize)>()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Puts the records in key order.
    pub fn sort(&mut self) {
        self.index.sort_unstable_by_key(|(key, _, _)| *key);
    }

    /// The records in their present order.
    pub fn iter(&self) -> impl Iterator<Item = (NodeKey, &[u8])> {
        self.index.iter().map(|&(key, start, end)| (key, self.bytes.get(start..end).unwrap_or_default()))
    }

    /// Empties it and keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
    }
}
