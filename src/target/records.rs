//! Node records of one store on their way into SC, gathered until they are worth a sorted run.

use crate::iavl::NodeKey;

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

    /// Bytes held, the index included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() + self.index.len() * size_of::<(NodeKey, u32, u32)>()
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
        self.index
            .iter()
            .map(|&(key, start, end)| (key, self.bytes.get(start as usize..end as usize).unwrap_or_default()))
    }

    /// Empties it and keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
    }
}
