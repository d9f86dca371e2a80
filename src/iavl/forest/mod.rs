//! Neighbouring subtrees in memory: read in the order their records lie on disk, proven from the leaves up, handed on in
//! post-order as nodes or in the order of SC as records.
//!
//! Owns the one buffer that every record of the subtrees is read into. What is handed on is borrowed from it, so that a
//! value is copied once on its way from the source's block to the target's.
//!
//! Slots and records are far more than a core's caches hold, and are visited in another order than they were read in. So
//! visits go by small batches: a little of all that a batch needs is read first, and waits for memory side by side.

mod leaf_bytes;
mod legacy;
mod numbered;
mod proving;

use super::{
    Claim, Node, NodeId, NodeKey, NodeReader, Proof, ProveError, ProvenChildren, ProvenNode,
    merkle::MANY,
    prove::{check_versions, decode, read_record},
    room::make_room,
};
use crate::model::{Hash, Version};
use std::{collections::BTreeMap, ops::Range};

pub use leaf_bytes::LeafBytes;
pub use numbered::Numbered;

/// Neighbouring subtrees. Buffers are kept from one filling to the next.
#[derive(Default)]
pub struct Forest {
    records: Vec<u8>,
    slots: Vec<Slot>,
    /// The versions that were read, descending once all is read, and how many nodes each has.
    versions: Vec<(Version, u32)>,
    /// Slots in post-order, each with its version's index.
    order: Vec<(u32, u32)>,
    trees: Vec<Tree>,
    pending: BTreeMap<Version, Vec<Due>>,
    /// Nodes of the version being read, with their nonces for places.
    stack: Vec<Due>,
    legacy: legacy::Level,
    /// Leaves that were read and not hashed yet.
    unhashed: Vec<u32>,
    scratch: Vec<u8>,
}

/// Whether subtrees fit the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// They do, and are proven.
    Whole,
    /// They do not; nothing is known of them but a guess.
    TooLarge {
        /// Bytes they would take, judged by those that were read.
        expected: u64,
    },
}

/// One node, in a line of a core's caches of its own: there are two of them for every pair, visited in one order after another.
#[repr(align(64))]
struct Slot {
    /// Of a legacy node it is known before the node is read.
    hash: Hash,
    /// Index of its version in `versions`; known once it is read.
    version: u32,
    /// Of a legacy node nothing.
    nonce: u32,
    /// Where its record begins, as SC has it, if it is a leaf, its key if it is an inner node.
    record: u32,
    /// Of the record or key.
    length: u32,
    /// Leaves below.
    size: u32,
    /// The slot of its left child; that of the right one is the next.
    left: u32,
    /// Its place in `order`. Before there is one, the leaves that were found below it, whatever the record says.
    place: u32,
    height: u8,
    is_legacy: bool,
}

const _: () = assert!(size_of::<Slot>() == 64);

impl Slot {
    fn right(&self) -> u32 {
        self.left.saturating_add(1)
    }
}

/// A node that is to be read: its place among those it is read with, its slot, and the height that it has to stay below, 0 for any.
/// The height is its parent's, and not kept in the slot: what is long out of a core's caches is only written when the node is read.
type Due = (u32, u32, u8);

struct Tree {
    /// Its nodes in `order`.
    nodes: Range<usize>,
    proof: Proof,
}

const NONE: u32 = u32::MAX;

/// Nodes of a batch.
const BATCH: usize = 32;

/// Lines of a core's caches that most records lie in, and that most keys do.
const RECORD_LINES: usize = 5;
const KEY_LINES: usize = 2;

/// What a node costs beside its record: its slot, and its places in `order` and in the sorted order.
const NODE_BYTES: usize = size_of::<Slot>() + 4 * size_of::<u32>();

impl Forest {
    /// Reads and proves the subtrees under the claims, if together they fit the budget in bytes.
    ///
    /// # Errors
    /// The first thing that does not prove.
    pub fn read<R: NodeReader + ?Sized>(
        &mut self,
        reader: &mut R,
        claims: &[Claim],
        budget: usize,
    ) -> Result<Fit, ProveError> {
        self.records.clear();
        self.versions.clear();
        self.pending.clear();
        self.stack.clear();
        self.legacy.clear();
        self.unhashed.clear();
        // What lies beyond 32 bits would need wider slots; nobody has the memory to ask for it.
        let budget = budget.min(u32::MAX as usize / 2);
        // For as many nodes as fit: what is not used takes no memory.
        make_room(&mut self.slots, budget / NODE_BYTES);
        let parents_last = reader.parents_last();
        for claim in claims {
            let root = self.add(claim.at);
            self.expect(claim.at, root, 0, parents_last);
        }
        // The newest version first, because no child is newer than its parent. Within a version a subtree's nodes are
        // numbered without a gap, parents before children or after them, so one walk over it meets them in the order in
        // which they lie on disk.
        while let Some((version, mut roots)) = self.pending.pop_last() {
            roots.sort_unstable();
            let before = self.versions.len();
            self.versions.push((version, 0));
            for (order, root, below) in roots {
                self.stack.push((if parents_last { !order } else { order }, root, below));
                while let Some((nonce, index, below)) = self.stack.pop() {
                    let at = NodeKey::new(version, nonce).into();
                    self.read_slot(reader, at, before as u32, (index, below), parents_last)?;
                    if self.bytes() > budget && self.slots.len() > 1 {
                        return Ok(Fit::TooLarge { expected: self.expected_bytes(claims.len()) });
                    }
                }
            }
        }
        if !self.read_legacy(reader, budget)? {
            return Ok(Fit::TooLarge { expected: self.expected_bytes(claims.len()) });
        }
        self.hash_leaves()?;
        self.put_in_order(claims.len());
        self.prove(claims)?;
        Ok(Fit::Whole)
    }

    /// The proofs of the subtrees, in the order of their claims.
    pub fn proofs(&self) -> impl ExactSizeIterator<Item = &Proof> {
        self.trees.iter().map(|tree| &tree.proof)
    }

    /// The bytes its records and nodes take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.records.len() + self.slots.len() * NODE_BYTES + self.legacy.bytes()
    }

    /// Hands the nodes of one subtree on in post-order.
    ///
    /// # Errors
    /// [`ProveError::Sink`] if `sink` returns false.
    pub fn hand_on(&self, tree: usize, sink: &mut dyn FnMut(&ProvenNode<'_>) -> bool) -> Result<(), ProveError> {
        let nodes = self.trees.get(tree).map_or(0..0, |tree| tree.nodes.clone());
        for &(index, _) in self.order.get(nodes).unwrap_or_default() {
            let slot = self.slot(index)?;
            let mut node = ProvenNode {
                at: self.at(slot),
                version: self.version(slot),
                height: slot.height,
                size: u64::from(slot.size),
                key: self.key(slot),
                value: &[],
                hash: slot.hash,
                children: None,
            };
            if slot.left == NONE {
                node.value = self.value(slot);
            } else {
                let (left, right) = (self.slot(slot.left)?, self.slot(slot.right())?);
                let right_size = u64::from(right.size);
                node.children = Some(ProvenChildren {
                    left: self.at(left),
                    left_version: self.version(left),
                    right: self.at(right),
                    right_version: self.version(right),
                    right_size,
                });
            }
            if !sink(&node) {
                return Err(ProveError::Sink);
            }
        }
        Ok(())
    }

    /// The pairs of one subtree in key order.
    pub fn pairs(&self, tree: usize) -> impl Iterator<Item = (&[u8], &[u8])> {
        let nodes = self.trees.get(tree).map_or(0..0, |tree| tree.nodes.clone());
        let batches = self
            .order
            .get(nodes)
            .unwrap_or_default()
            .chunks(BATCH)
            .inspect(|batch| self.look_ahead(batch, RECORD_LINES));
        let slots = batches.flatten().filter_map(|&(index, _)| self.slots.get(index as usize));
        slots.filter(|slot| slot.left == NONE).map(|slot| self.pair(slot))
    }

    /// What all of the subtrees would take, if the leaves that were not read are like those that were.
    fn expected_bytes(&self, roots: usize) -> u64 {
        let sizes = self.slots.get(..roots).unwrap_or_default().iter().map(|root| u64::from(root.size.max(1)));
        let read = self.slots.iter().filter(|slot| slot.left == NONE && slot.size == 1).count();
        // Not proven yet, so they may say anything.
        (self.bytes() as u64).saturating_mul(sizes.sum()) / read.max(1) as u64
    }

    /// Adds a node that is to be read.
    fn add(&mut self, at: NodeId) -> u32 {
        let (hash, nonce, is_legacy) = match at {
            NodeId::Current(key) => (Hash::EMPTY, key.nonce, false),
            NodeId::Legacy(hash) => (hash, 0, true),
        };
        let index = self.slots.len() as u32;
        self.slots.push(Slot {
            hash,
            version: NONE,
            nonce,
            record: 0,
            length: 0,
            size: 0,
            left: NONE,
            place: 0,
            height: 0,
            is_legacy,
        });
        index
    }

    /// Has a node read when its version comes; a legacy one behind all others.
    fn expect(&mut self, at: NodeId, index: u32, below: u8, parents_last: bool) {
        match at {
            NodeId::Current(key) => {
                let order = if parents_last { !key.nonce } else { key.nonce };
                self.pending.entry(key.version).or_default().push((order, index, below));
            }
            NodeId::Legacy(hash) => self.legacy.push(&hash, index, below),
        }
    }

    fn read_slot<R: NodeReader + ?Sized>(
        &mut self,
        reader: &mut R,
        at: NodeId,
        version_index: u32,
        (index, below): (u32, u8),
        parents_last: bool,
    ) -> Result<(), ProveError> {
        let start = self.records.len();
        read_record(reader, at, &mut self.records)?;
        let record = self.records.get(start..).unwrap_or_default();
        let large = |_| ProveError::Shape { at, what: "it is too large" };
        let start = u32::try_from(start).map_err(large)?;
        let mut length = u32::try_from(record.len()).map_err(large)?;
        let (version, node) = decode(at, record)?;
        let version_index = match at {
            NodeId::Current(_) => version_index,
            NodeId::Legacy(_) => self.legacy.version(version, &mut self.versions),
        };
        if let Some((_, count)) = self.versions.get_mut(version_index as usize) {
            *count += 1;
        }
        match node {
            Node::Leaf { key, value } => {
                // A legacy leaf has its version in its record, which SC's has not; and Go accepts overlong integers, but never writes
                // them.
                let canonical = record.len() == Node::leaf_len(key, value) && at.key().is_some();
                if !canonical {
                    self.scratch.clear();
                    node.encode(&mut self.scratch);
                    self.records.truncate(start as usize);
                    self.records.extend_from_slice(&self.scratch);
                    length = self.scratch.len() as u32;
                }
                let slot = self.slot_mut(index)?;
                *slot = Slot { version: version_index, record: start, length, size: 1, ..*slot };
                self.unhashed.push(index);
                if self.unhashed.len() == MANY {
                    self.hash_leaves()?;
                }
            }
            Node::Inner { height, size, key, hash, left, right } => {
                let older = |child: NodeId| child.key().map_or(version, |key| key.version);
                check_versions(at, version, older(left), older(right))?;
                // All but the key is in the slot from here on.
                let key_at = key.as_ptr() as usize - record.as_ptr() as usize;
                length = key.len() as u32;
                let from = start as usize + key_at;
                self.records.copy_within(from..from + length as usize, start as usize);
                self.records.truncate(start as usize + length as usize);
                // A subtree of more nodes than that fits no budget.
                let size = u32::try_from(size).unwrap_or(u32::MAX);
                let (left_index, right_index) = (self.add(left), self.add(right));
                if height >= below && below > 0 {
                    // Heights fall strictly, so a cycle of records cannot keep this going.
                    return Err(ProveError::Shape { at, what: "it is not lower than its parent" });
                }
                let slot = self.slot_mut(index)?;
                *slot = Slot { hash, version: version_index, record: start, length, size, ..*slot };
                (slot.height, slot.left) = (height, left_index);
                // The last one pushed is read next.
                let children = [(right, right_index), (left, left_index)];
                let [first, second] = if parents_last { [1, 0] } else { [0, 1] };
                for child in [first, second] {
                    let Some(&(child, child_index)) = children.get(child) else { continue };
                    match child {
                        NodeId::Current(child) if child.version == version => {
                            self.stack.push((child.nonce, child_index, height));
                        }
                        child => self.expect(child, child_index, height, parents_last),
                    }
                }
            }
        }
        Ok(())
    }

    /// Finds every node's place in post-order. Parents have lower slots than their children, so that two passes over the
    /// slots do, which do not wait for one node to tell where the next one is.
    fn put_in_order(&mut self, roots: usize) {
        let leaves = |slots: &[Slot], index: u32| slots.get(index as usize).map_or(0, |slot| slot.place);
        for index in (0..self.slots.len()).rev() {
            let Some(slot) = self.slots.get(index) else { continue };
            let both = || leaves(&self.slots, slot.left) + leaves(&self.slots, slot.right());
            let below = if slot.left == NONE { 1 } else { both() };
            self.set_place(index as u32, below);
        }
        self.trees.clear();
        let mut begin = 0;
        for root in 0..roots as u32 {
            let end = begin + 2 * leaves(&self.slots, root) as usize - 1;
            let proof = Proof { leaves: 0, height: 0, first_key: Vec::new(), last_key: Vec::new() };
            self.trees.push(Tree { nodes: begin..end, proof });
            self.set_place(root, end as u32 - 1);
            begin = end;
        }
        self.order.clear();
        self.order.resize(self.slots.len(), (NONE, 0));
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else { continue };
            let (left, right, place, version) = (slot.left, slot.right(), slot.place, slot.version);
            if left != NONE {
                let right_nodes = 2 * leaves(&self.slots, right) - 1;
                self.set_place(left, place - 1 - right_nodes);
                self.set_place(right, place - 1);
            }
            if let Some(at) = self.order.get_mut(place as usize) {
                *at = (index as u32, version);
            }
        }
    }

    fn set_place(&mut self, index: u32, place: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.place = place;
        }
    }

    /// Reads a little of all that nodes have, and of their records as many lines of a core's caches.
    fn look_ahead(&self, nodes: &[(u32, u32)], lines: usize) {
        let slots = || nodes.iter().filter_map(|(index, _)| self.slots.get(*index as usize));
        let seen = slots().fold(0, |seen, slot| seen ^ slot.height);
        let records = slots().filter_map(|slot| self.records.get(slot.record as usize..));
        let seen = records
            .fold(seen, |seen, record| record.iter().step_by(64).take(lines).fold(seen, |seen, byte| seen ^ byte));
        std::hint::black_box(seen);
    }

    #[inline]
    fn version(&self, slot: &Slot) -> Version {
        self.versions.get(slot.version as usize).map_or(Version(0), |(version, _)| *version)
    }

    fn at(&self, slot: &Slot) -> NodeId {
        if slot.is_legacy {
            return NodeId::Legacy(slot.hash);
        }
        NodeKey::new(self.version(slot), slot.nonce).into()
    }

    fn record(&self, slot: &Slot) -> &[u8] {
        let start = slot.record as usize;
        self.records.get(start..start + slot.length as usize).unwrap_or_default()
    }

    fn key(&self, slot: &Slot) -> &[u8] {
        if slot.left == NONE { self.pair(slot).0 } else { self.record(slot) }
    }

    fn value(&self, slot: &Slot) -> &[u8] {
        self.pair(slot).1
    }

    /// The key and value of a leaf.
    #[inline]
    fn pair(&self, slot: &Slot) -> (&[u8], &[u8]) {
        Node::leaf_pair(self.record(slot)).unwrap_or_default()
    }

    fn slot(&self, index: u32) -> Result<&Slot, ProveError> {
        self.slots.get(index as usize).ok_or(ProveError::Sink)
    }

    fn slot_mut(&mut self, index: u32) -> Result<&mut Slot, ProveError> {
        self.slots.get_mut(index as usize).ok_or(ProveError::Sink)
    }
}
