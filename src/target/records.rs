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

    /// Puts the records in key order and hands them out. If they are those of neighbouring ordinals, and no others of the
    /// store lie between them, what [`RecordStream::alone`] says holds; whoever loads others of them loads them `whole`.
    pub fn sorted(&mut self) -> impl RecordStream {
        self.index.sort_unstable_by_key(|(key, _, _)| *key);
        let mut sorted = Sorted { run: self, next: 0, stretch: 0, alone: 0 };
        sorted.begin_stretch();
        sorted
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
    /// Where the records of the next one's version end.
    stretch: usize,
    /// Bytes of the records up to there.
    alone: usize,
}

impl Sorted<'_> {
    fn begin_stretch(&mut self) {
        let rest = self.run.index.get(self.next..).unwrap_or_default();
        let version = rest.first().map(|(key, _, _)| key.version);
        let stretch = rest.iter().take_while(|(key, _, _)| Some(key.version) == version);
        let (records, bytes) =
            stretch.fold((0, 0), |(records, bytes), (_, start, end)| (records + 1, bytes + (end - start) as usize));
        (self.stretch, self.alone) = (self.next + records, bytes);
    }
}

impl RecordStream for Sorted<'_> {
    fn alone(&self) -> usize {
        self.alone
    }

    fn next(&mut self) -> Option<(NodeKey, &[u8])> {
        let &(key, start, end) = self.run.index.get(self.next)?;
        self.next += 1;
        self.alone -= (end - start) as usize;
        if self.next == self.stretch {
            self.begin_stretch();
        }
        Some((key, self.run.bytes.get(start as usize..end as usize)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Version;

    #[test]
    fn before_each_record_the_bytes_of_its_version_that_are_still_to_come_are_known() {
        let mut run = RecordRun::default();
        let lengths = [(3, 7), (1, 100), (3, 0), (2, 5), (3, 1), (1, 30)];
        for (nonce, (version, length)) in lengths.into_iter().enumerate() {
            run.push(|out| {
                out.resize(out.len() + length, 9);
                Some(NodeKey::new(Version(version), nonce as u32))
            });
        }
        let mut sorted = run.sorted();
        let mut found = Vec::new();
        loop {
            let alone = sorted.alone();
            let Some((key, record)) = sorted.next() else { break };
            found.push((key.version.0, alone, record.len()));
        }
        assert_eq!(found, [(1, 130, 100), (1, 30, 30), (2, 5, 5), (3, 8, 7), (3, 1, 0), (3, 1, 1)]);
        assert_eq!(sorted.alone(), 0);
    }
}
