//! Chunks: proven subtrees as units of work, and sets of them.

use super::{Digest, Hash, Version};

/// A chunk's number: its place in the order stores by name, then keys ascending. Starts at 0.
pub type ChunkId = u64;

/// One subtree of one store's tree in the snapshot. Everything but the bounds is proven against the app hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Index of the store in the snapshot's commit info.
    pub store: u32,
    /// Version part of the subtree root's node key in the source.
    pub version: Version,
    /// Nonce part of the subtree root's node key in the source; none for a legacy node, which is kept under its hash.
    pub nonce: Option<u32>,
    /// Merkle hash of the subtree.
    pub hash: Hash,
    /// Height of the subtree; 0 is a single leaf.
    pub height: u8,
    /// Leaves in the subtree, which is the number of its pairs.
    pub leaves: u64,
    /// Post-order ordinal, in the store's tree, of the subtree's first node.
    pub first_ordinal: u64,
}

impl Chunk {
    /// Nodes in the subtree.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        self.leaves.saturating_mul(2).saturating_sub(1)
    }

    /// Post-order ordinal of the subtree's root, its last node.
    #[must_use]
    pub fn root_ordinal(&self) -> u64 {
        self.first_ordinal.saturating_add(self.nodes()).saturating_sub(1)
    }
}

/// What is known of a chunk once it is durable in the target. Its SC records need no digest: every byte of them follows
/// from the chunk's Merkle hash, its keys and its first ordinal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Digest over the chunk's pairs in key order, if SS is written.
    pub ss: Option<Digest>,
    /// Bytes of keys and values in its pairs.
    pub bytes: u64,
    /// Smallest key.
    pub first_key: Vec<u8>,
    /// Largest key.
    pub last_key: Vec<u8>,
}

/// A set of chunk numbers as disjoint ascending ranges: small, because chunks are finished nearly in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkSet {
    ranges: Vec<(ChunkId, ChunkId)>,
    count: u64,
}

impl ChunkSet {
    /// How many chunks are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The set as disjoint, not touching, ascending ranges, ends excluded.
    #[must_use]
    pub fn ranges(&self) -> &[(ChunkId, ChunkId)] {
        &self.ranges
    }

    /// The set of these ranges; `None` if they are not as [`ChunkSet::ranges`] gives them.
    #[must_use]
    pub fn from_ranges(ranges: Vec<(ChunkId, ChunkId)>) -> Option<ChunkSet> {
        let mut count = 0u64;
        let mut last = None;
        for &(start, end) in &ranges {
            if end <= start || last.is_some_and(|last| start <= last) {
                return None;
            }
            count = count.checked_add(end - start)?;
            last = Some(end);
        }
        Some(ChunkSet { ranges, count })
    }

    /// Whether a chunk is in the set.
    #[must_use]
    pub fn contains(&self, id: ChunkId) -> bool {
        let after = self.ranges.partition_point(|&(start, _)| start <= id);
        after.checked_sub(1).and_then(|i| self.ranges.get(i)).is_some_and(|&(_, end)| id < end)
    }

    /// Puts a chunk in; false if it was there already.
    pub fn insert(&mut self, id: ChunkId) -> bool {
        let Some(end) = id.checked_add(1) else { return false };
        if self.contains(id) {
            return false;
        }
        let at = self.ranges.partition_point(|&(start, _)| start <= id);
        let joins_left = at.checked_sub(1).and_then(|i| self.ranges.get(i)).is_some_and(|&(_, e)| e == id);
        let joins_right = self.ranges.get(at).is_some_and(|&(start, _)| start == end);
        match (joins_left, joins_right) {
            (true, true) => {
                let (_, right_end) = self.ranges.remove(at);
                self.set_end(at - 1, right_end);
            }
            (true, false) => self.set_end(at - 1, end),
            (false, true) => {
                if let Some(range) = self.ranges.get_mut(at) {
                    range.0 = id;
                }
            }
            (false, false) => self.ranges.insert(at, (id, end)),
        }
        self.count += 1;
        true
    }

    /// Takes a chunk out; false if it was not there.
    pub fn remove(&mut self, id: ChunkId) -> bool {
        if !self.contains(id) {
            return false;
        }
        let at = self.ranges.partition_point(|&(start, _)| start <= id) - 1;
        let (start, end) = self.ranges.remove(at);
        if id + 1 < end {
            self.ranges.insert(at, (id + 1, end));
        }
        if start < id {
            self.ranges.insert(at, (start, id));
        }
        self.count -= 1;
        true
    }

    fn set_end(&mut self, index: usize, end: ChunkId) {
        if let Some(range) = self.ranges.get_mut(index) {
            range.1 = end;
        }
    }
}

impl FromIterator<ChunkId> for ChunkSet {
    fn from_iter<I: IntoIterator<Item = ChunkId>>(ids: I) -> ChunkSet {
        let mut set = ChunkSet::default();
        for id in ids {
            set.insert(id);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_chunk_set_behaves_like_an_ordinary_set(ops in prop::collection::vec((any::<bool>(), 0u64..40), 0..200)) {
            let mut set = ChunkSet::default();
            let mut model = BTreeSet::new();
            for (insert, id) in ops {
                if insert {
                    prop_assert_eq!(set.insert(id), model.insert(id));
                } else {
                    prop_assert_eq!(set.remove(id), model.remove(&id));
                }
                prop_assert_eq!(set.count(), model.len() as u64);
                for probe in 0..41 {
                    prop_assert_eq!(set.contains(probe), model.contains(&probe));
                }
                // The canonical form: equal sets are equal values, whatever the order they were filled in.
                prop_assert_eq!(&set, &model.iter().copied().collect::<ChunkSet>());
            }
        }
    }
}
