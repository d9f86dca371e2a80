//! A subtree in memory: read in the order its records lie on disk, proven from the leaves up, handed on in post-order.

use super::{
    Claim, Node, NodeKey, NodeReader, Proof, ProveError, ProvenChildren, ProvenNode,
    node::{inner_hash, leaf_hash},
    prove::{KeyOrder, check_inner_key, check_shape, check_versions, current, decode, read_record},
};
use crate::model::{Hash, Version};
use std::{collections::BinaryHeap, ops::Range};

/// A subtree in memory. Buffers are kept from one piece to the next.
#[derive(Default)]
pub(super) struct Piece {
    records: Vec<u8>,
    slots: Vec<Slot>,
    frontier: BinaryHeap<(Version, u32, u32)>,
    parents_last: bool,
}

/// Whether a subtree fits the budget.
pub(super) enum Fit {
    /// It does, and is proven.
    Whole,
    /// It does not; nothing is known of it.
    TooLarge,
}

struct Slot {
    at: NodeKey,
    hash: Hash,
    size: u64,
    key: Range<usize>,
    value: Range<usize>,
    parent: u32,
    left: u32,
    right: u32,
    height: u8,
    /// Children not read yet; meaningful for inner nodes.
    waiting: u8,
}

const NONE: u32 = u32::MAX;

impl Piece {
    /// Reads and proves the subtree under a claim, if its records fit the budget.
    pub(super) fn read<R: NodeReader + ?Sized>(
        &mut self,
        reader: &mut R,
        claim: Claim,
        budget: usize,
    ) -> Result<Fit, ProveError> {
        self.records.clear();
        self.slots.clear();
        self.frontier.clear();
        self.parents_last = reader.parents_last();
        self.expect(claim.key, NONE);
        while let Some((_, _, index)) = self.frontier.pop() {
            let is_leaf = self.read_slot(reader, index)?;
            if is_leaf {
                self.settle(index, claim.hash)?;
            }
            let used = self.records.len() + self.slots.len() * size_of::<Slot>();
            if used > budget && self.slots.len() > 1 {
                return Ok(Fit::TooLarge);
            }
        }
        // Every inner node was compared with its children's hashes; the root is compared with the claim.
        match self.slots.first() {
            Some(root) if root.hash == claim.hash => Ok(Fit::Whole),
            Some(root) => Err(ProveError::HashMismatch { at: root.at, expected: claim.hash, found: root.hash }),
            None => Err(ProveError::Missing(claim.key)),
        }
    }

    /// Adds a node that is to be read.
    fn expect(&mut self, at: NodeKey, parent: u32) -> u32 {
        let index = self.slots.len() as u32;
        self.slots.push(Slot {
            at,
            hash: Hash::EMPTY,
            size: 0,
            key: 0..0,
            value: 0..0,
            parent,
            left: NONE,
            right: NONE,
            height: 0,
            waiting: 0,
        });
        let order = if self.parents_last { at.nonce } else { !at.nonce };
        self.frontier.push((at.version, order, index));
        index
    }

    fn read_slot<R: NodeReader + ?Sized>(&mut self, reader: &mut R, index: u32) -> Result<bool, ProveError> {
        let at = self.slot(index)?.at;
        let start = self.records.len();
        read_record(reader, at, &mut self.records)?;
        let record = self.records.get(start..).unwrap_or_default();
        let place = |part: &[u8]| {
            // Where a part of the record lies in the buffer of all records.
            let from = part.as_ptr() as usize - record.as_ptr() as usize + start;
            from..from + part.len()
        };
        match decode(at, record)? {
            Node::Leaf { key, value } => {
                let hash = leaf_hash(at.version, key, value);
                let (key, value) = (place(key), place(value));
                let slot = self.slot_mut(index)?;
                (slot.hash, slot.size, slot.key, slot.value) = (hash, 1, key, value);
                Ok(true)
            }
            Node::Inner { height, size, key, hash, left, right } => {
                let (left, right) = (current(at, left)?, current(at, right)?);
                check_versions(at, left, right)?;
                let key = place(key);
                let depth_left = height;
                let slot = self.slot_mut(index)?;
                (slot.hash, slot.size, slot.key, slot.height, slot.waiting) = (hash, size, key, height, 2);
                let parent = slot.parent;
                if parent != NONE && self.slot(parent)?.height <= depth_left {
                    // Heights fall strictly, so a cycle of records cannot keep this loop going.
                    return Err(ProveError::Shape { at, what: "it is not lower than its parent" });
                }
                let left = self.expect(left, index);
                let right = self.expect(right, index);
                let slot = self.slot_mut(index)?;
                (slot.left, slot.right) = (left, right);
                // Its own recorded hash is what its parent is proven with; whether the record keeps it is proven when
                // its children are there.
                self.count_down(parent)?;
                Ok(false)
            }
        }
    }

    /// A leaf is there: its parent may now be provable.
    fn settle(&mut self, index: u32, root_hash: Hash) -> Result<(), ProveError> {
        let parent = self.slot(index)?.parent;
        if parent == NONE {
            let slot = self.slot(index)?;
            if slot.hash != root_hash {
                return Err(ProveError::HashMismatch { at: slot.at, expected: root_hash, found: slot.hash });
            }
            return Ok(());
        }
        self.count_down(parent)
    }

    /// One child of `parent` is there; when both are, the parent's hash, size and height are checked.
    fn count_down(&mut self, parent: u32) -> Result<(), ProveError> {
        if parent == NONE {
            return Ok(());
        }
        let slot = self.slot_mut(parent)?;
        slot.waiting = slot.waiting.saturating_sub(1);
        if slot.waiting > 0 {
            return Ok(());
        }
        let slot = self.slot(parent)?;
        let (left, right) = (self.slot(slot.left)?, self.slot(slot.right)?);
        let found = inner_hash(slot.height, slot.size, slot.at.version, &left.hash, &right.hash);
        if found != slot.hash {
            return Err(ProveError::HashMismatch { at: slot.at, expected: slot.hash, found });
        }
        check_shape(slot.at, slot.height, slot.size, (left.height, left.size), (right.height, right.size))
    }

    /// Hands the nodes on in post-order, checking key order and inner keys on the way.
    pub(super) fn hand_on(
        &self,
        order: &mut KeyOrder,
        sink: &mut dyn FnMut(&ProvenNode<'_>) -> bool,
    ) -> Result<Proof, ProveError> {
        let mut smallest: Vec<&[u8]> = Vec::with_capacity(64);
        let mut largest: &[u8] = &[];
        let mut path: Vec<(u32, bool)> = vec![(0, false)];
        while let Some((index, children_done)) = path.pop() {
            let slot = self.slot(index)?;
            let key = self.records.get(slot.key.clone()).unwrap_or_default();
            let mut node = ProvenNode {
                at: slot.at,
                height: slot.height,
                size: slot.size,
                key,
                value: &[],
                hash: slot.hash,
                children: None,
            };
            if slot.left == NONE {
                order.check(slot.at, key)?;
                smallest.push(key);
                largest = key;
                node.value = self.records.get(slot.value.clone()).unwrap_or_default();
            } else if children_done {
                let right_smallest = smallest.pop().unwrap_or_default();
                check_inner_key(slot.at, key, right_smallest)?;
                let (left, right) = (self.slot(slot.left)?, self.slot(slot.right)?);
                node.children = Some(ProvenChildren { left: left.at, right: right.at, right_size: right.size });
            } else {
                path.push((index, true));
                path.push((slot.right, false));
                path.push((slot.left, false));
                continue;
            }
            if !sink(&node) {
                return Err(ProveError::Sink);
            }
        }
        let root = self.slot(0)?;
        Ok(Proof {
            leaves: root.size,
            height: root.height,
            first_key: smallest.pop().unwrap_or_default().to_vec(),
            last_key: largest.to_vec(),
        })
    }

    fn slot(&self, index: u32) -> Result<&Slot, ProveError> {
        self.slots.get(index as usize).ok_or(ProveError::Sink)
    }

    fn slot_mut(&mut self, index: u32) -> Result<&mut Slot, ProveError> {
        self.slots.get_mut(index as usize).ok_or(ProveError::Sink)
    }
}
