//! A forest's nodes numbered: its records as SC gets them.

use super::{BATCH, Forest, NONE, RECORD_LINES};
use crate::iavl::{
    NodeKey, RecordStream,
    numbering::{self, InnerRecord},
};

impl Forest {
    /// Numbers the nodes and hands out their SC records in the order of SC. `first_ordinals` has, for each subtree, the
    /// ordinal of its first node in the store's tree. None if an ordinal leaves no room for a nonce.
    pub fn records(&self, first_ordinals: &[u64]) -> Option<Numbered<'_>> {
        // Ordinals ascend along `order`, so dealing it out by version sorts by (version, ordinal).
        let mut next = 0;
        let mut places: Vec<u32> = vec![0; self.versions.len()];
        for (place, (_, count)) in places.iter_mut().zip(&self.versions).rev() {
            *place = next;
            next += count;
        }
        let mut sorted = vec![(0, 0); self.order.len()];
        for (tree, first) in self.trees.iter().zip(first_ordinals) {
            for (ordinal, &(index, version)) in (*first..).zip(self.order.get(tree.nodes.clone()).unwrap_or_default()) {
                let place = places.get_mut(version as usize)?;
                *sorted.get_mut(*place as usize)? = (index, u32::try_from(ordinal).ok()?);
                *place += 1;
            }
        }
        let record_bytes = self.records.len() / self.slots.len().max(1);
        Some(Numbered { forest: self, sorted, next: 0, stretches: places, record_bytes, record: Vec::new() })
    }
}

/// The SC records of a forest, in the order of SC.
pub struct Numbered<'a> {
    forest: &'a Forest,
    /// Slots and their ordinals.
    sorted: Vec<(u32, u32)>,
    next: usize,
    /// Where the stretch of each version ends in `sorted`; the versions descend, so the last one comes first.
    stretches: Vec<u32>,
    /// Bytes of a record on average.
    record_bytes: usize,
    record: Vec<u8>,
}

impl Numbered<'_> {
    fn look_ahead(&self) {
        let batch = self.sorted.get(self.next..).unwrap_or_default();
        let batch = batch.get(..BATCH).unwrap_or(batch);
        self.forest.look_ahead(batch, RECORD_LINES);
        let slots = batch.iter().filter_map(|(index, _)| self.forest.slots.get(*index as usize));
        let children = slots.flat_map(|slot| [slot.left, slot.right()]);
        let children = children.filter_map(|child| self.forest.slots.get(child as usize));
        std::hint::black_box(children.fold(0, |seen, child| seen ^ child.nonce));
    }
}

impl RecordStream for Numbered<'_> {
    /// The subtrees are neighbours, so within a version nobody else's ordinals lie between theirs.
    fn alone(&self) -> usize {
        let end = self.stretches.iter().rev().find(|end| **end as usize > self.next).copied().unwrap_or(0);
        (end as usize).saturating_sub(self.next) * self.record_bytes
    }

    fn next(&mut self) -> Option<(NodeKey, &[u8])> {
        let forest = self.forest;
        if self.next.is_multiple_of(BATCH) {
            self.look_ahead();
        }
        let (index, ordinal) = *self.sorted.get(self.next)?;
        let slot = forest.slots.get(index as usize)?;
        self.next += 1;
        if self.stretches.last().is_some_and(|end| *end as usize <= self.next) {
            self.stretches.pop();
        }
        let version = forest.version(slot);
        if slot.left == NONE {
            // A leaf's record says nothing of where it lies: the source's is SC's.
            return Some((numbering::node_key(version, u64::from(ordinal))?, forest.record(slot)));
        }
        let (left, right) = (forest.slots.get(slot.left as usize)?, forest.slots.get(slot.right() as usize)?);
        let node = InnerRecord {
            version,
            height: slot.height,
            size: u64::from(slot.size),
            key: forest.key(slot),
            hash: slot.hash,
            left_version: forest.version(left),
            right_version: forest.version(right),
            right_size: u64::from(right.size),
        };
        self.record.clear();
        let key = node.encode(u64::from(ordinal), &mut self.record)?;
        Some((key, &self.record))
    }
}
