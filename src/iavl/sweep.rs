//! Proving neighbouring subtrees of SC in one forward walk over its records.
//!
//! Nodes are numbered in post-order and no child is newer than its parent, so in the order of SC, by version and then by
//! ordinal, every child comes before its parent. One pass with a slot for every ordinal therefore hashes every leaf and
//! compares every inner node with its two children, while records are read the way they lie. Owns those slots; hands
//! back nothing but the verdict.
//!
//! The slots of a span are far more than a core's caches hold, and versions interleave, so nearly every look at a child would
//! wait for memory. Records are therefore gathered into small batches, and whatever a batch is going to look at is asked for
//! before the first of its records is met.

use super::{
    Node, NodeId, NodeKey, ProveError, RecordWalk,
    merkle::{InnerNodes, MANY, leaf_hashes},
    node::NodeError,
    numbering::{self, InnerRecord},
    prove::{KeyOrder, check_inner_key, check_shape},
    room::make_room,
};
use crate::model::{Chunk, Hash, Version};

/// A walk that proves. Buffers are kept from one to the next.
#[derive(Default)]
pub struct Sweep {
    slots: Vec<Slot>,
    keys: Vec<u8>,
    record: Vec<u8>,
    batch: Batch,
    inner: Inner,
}

/// Inner nodes of a batch whose hashes are still to be held against their children's.
#[derive(Default)]
struct Inner {
    nodes: InnerNodes,
    recorded: Vec<(NodeKey, Hash)>,
}

/// Records of a walk that are still to be met.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each record was read, and where it ends in `bytes`.
    records: Vec<(NodeKey, usize)>,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// Every node of the subtrees is there, is right, and lies where it should; no other record claims their ordinals.
    Proven,
    /// The subtrees' records lie so far apart that it is cheaper to ask for them one by one. Nothing is known of them.
    Scattered,
}

/// One node, in a line of a core's caches of its own.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Slot {
    hash: Hash,
    version: Version,
    /// Leaves below; 0 while no record was met.
    size: u32,
    key_at: u32,
    key_length: u32,
    height: u8,
    /// Whether it belongs to one of the subtrees: between them lie nodes of the spine.
    wanted: bool,
}

const NOTHING: Slot =
    Slot { hash: Hash::EMPTY, version: Version(0), size: 0, key_at: 0, key_length: 0, height: 0, wanted: false };

/// Memory a leaf and its share of inner nodes takes, its key not counted.
pub const LEAF_BYTES: usize = 2 * size_of::<Slot>();

/// Records passed over before it is cheaper to seek.
const STEPS: u32 = 16;

/// Records of a batch: enough for what they wait for to arrive together and for hashing them side by side, few enough to stay in
/// the nearest caches.
const BATCH: usize = MANY;

/// Bytes of a record that is not worth copying into a batch.
const LARGE: usize = 2048;

/// Seeks that are always affordable; beyond, there must be several records read for each.
const SEEKS: u64 = 1_000;

impl Sweep {
    /// Proves subtrees of one store that follow each other in key order.
    ///
    /// # Errors
    /// The first thing that does not prove.
    pub fn prove<R: RecordWalk + ?Sized>(&mut self, walk: &mut R, chunks: &[Chunk]) -> Result<Swept, ProveError> {
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { return Ok(Swept::Proven) };
        let newest = chunks.iter().map(|chunk| chunk.version).max().unwrap_or_default();
        let begin = first.first_ordinal;
        let Some((low, high)) = nonce(begin).zip(nonce(last.root_ordinal())) else {
            return Err(ProveError::Shape {
                at: NodeKey::root_of(newest).into(),
                what: "its ordinal leaves no room for a nonce",
            });
        };
        let nodes = (high - low) as usize + 1;
        make_room(&mut self.slots, nodes);
        self.slots.resize(nodes, NOTHING);
        self.keys.clear();
        self.batch.clear();
        for chunk in chunks {
            let from = (chunk.first_ordinal - begin) as usize;
            let to = (chunk.root_ordinal() - begin) as usize;
            for slot in self.slots.get_mut(from..=to).unwrap_or_default() {
                slot.wanted = true;
            }
        }
        if !self.walk(walk, low, high, newest)? {
            return Ok(Swept::Scattered);
        }
        self.check_roots(chunks, begin)?;
        self.check_key_order(low)?;
        Ok(Swept::Proven)
    }

    /// Meets every record of these nonces up to a version; false if there are too few of them between the others.
    fn walk<R: RecordWalk + ?Sized>(
        &mut self,
        walk: &mut R,
        low: u32,
        high: u32,
        newest: Version,
    ) -> Result<bool, ProveError> {
        let (mut met, mut seeks, mut passed) = (0u64, 0u64, 0);
        walk.seek(NodeKey::new(Version(0), low));
        while let Some((at, record)) = walk.next()? {
            if at.version > newest {
                break;
            }
            if (low..=high).contains(&at.nonce) {
                passed = 0;
                met += 1;
                self.gather(at, record, low)?;
                continue;
            }
            passed += 1;
            if passed < STEPS {
                continue;
            }
            passed = 0;
            seeks += 1;
            if seeks > SEEKS + met / 4 {
                return Ok(false);
            }
            let version = if at.nonce < low { at.version } else { Version(at.version.0 + 1) };
            walk.seek(NodeKey::new(version, low));
        }
        self.meet_batch(low)?;
        Ok(true)
    }

    /// Takes one record; it is met with the rest of its batch.
    fn gather(&mut self, at: NodeKey, record: &[u8], low: u32) -> Result<(), ProveError> {
        if record.len() > LARGE {
            self.meet_batch(low)?;
            return self.meet_all([(at, record)].into_iter(), &[Node::decode(record)], low);
        }
        self.batch.add(at, record);
        if self.batch.records.len() < BATCH { Ok(()) } else { self.meet_batch(low) }
    }

    fn meet_batch(&mut self, low: u32) -> Result<(), ProveError> {
        let batch = std::mem::take(&mut self.batch);
        let mut decoded = Vec::with_capacity(BATCH);
        for (_, record) in batch.iter() {
            decoded.push(Node::decode(record));
        }
        self.look_ahead(&batch, &decoded, low);
        self.meet_all(batch.iter(), &decoded, low)?;
        self.batch = batch;
        self.batch.clear();
        Ok(())
    }

    /// Meets up to [`BATCH`] records, with all of their hashes taken together.
    fn meet_all<'a>(
        &mut self,
        records: impl Iterator<Item = (NodeKey, &'a [u8])> + Clone,
        decoded: &[Result<Node<'a>, NodeError>],
        low: u32,
    ) -> Result<(), ProveError> {
        let mut leaves: [(Version, &[u8], &[u8]); MANY] = [(Version(0), &[], &[]); MANY];
        let mut count = 0;
        for ((at, _), decoded) in records.clone().zip(decoded) {
            if let (Ok(Node::Leaf { key, value }), Some(leaf)) = (decoded, leaves.get_mut(count)) {
                *leaf = (at.version, key, value);
                count += 1;
            }
        }
        let mut hashes = [Hash::EMPTY; MANY];
        leaf_hashes(leaves.get(..count).unwrap_or_default(), &mut hashes);
        let mut hashes = hashes.into_iter();
        let met = records.zip(decoded).try_for_each(|((at, record), decoded)| {
            let is_leaf = matches!(decoded, Ok(Node::Leaf { .. }));
            let hash = is_leaf.then(|| hashes.next()).flatten().unwrap_or(Hash::EMPTY);
            self.meet(at, record, decoded, hash, low)
        });
        // First: a wrong hash tells more of what is wrong than what is wrong with the records after it.
        self.check_inner()?;
        met
    }

    /// Holds the hashes that inner nodes record against those that follow from their children.
    fn check_inner(&mut self) -> Result<(), ProveError> {
        for ((at, expected), found) in self.inner.recorded.drain(..).zip(self.inner.nodes.hashes()) {
            if found != expected {
                return Err(ProveError::HashMismatch { at: at.into(), expected, found });
            }
        }
        Ok(())
    }

    /// Reads a little of all that the records of a batch will be compared with: these reads wait for memory side by side.
    fn look_ahead(&self, batch: &Batch, decoded: &[Result<Node<'_>, NodeError>], low: u32) {
        let place = |nonce: u32| nonce.wrapping_sub(low) as usize;
        let mut seen = 0;
        let mut look = |place: usize| seen ^= self.slots.get(place).map_or(0, |slot| slot.size);
        let mut inner = [0; BATCH];
        for (((at, _), decoded), inner) in batch.records.iter().zip(decoded).zip(&mut inner) {
            look(place(at.nonce));
            if let Ok(Node::Inner { left: NodeId::Current(left), .. }) = decoded {
                // The right child lies before its parent, the smallest leaf on the right behind the left child.
                *inner = place(left.nonce) + 1;
                look(place(at.nonce).wrapping_sub(1));
                look(place(left.nonce));
                look(*inner);
            }
        }
        let keys = inner.iter().filter(|place| **place > 0).filter_map(|place| {
            let key = self.slots.get(*place)?.key_at;
            self.keys.get(key as usize)
        });
        std::hint::black_box((keys.fold(0, |seen, byte| seen ^ byte), seen));
    }

    /// One record: whatever it says of itself follows from what lies below it. The hash is a leaf's; that of an inner node is
    /// left for [`Sweep::check_inner`].
    fn meet(
        &mut self,
        at: NodeKey,
        record: &[u8],
        decoded: &Result<Node<'_>, NodeError>,
        hash: Hash,
        low: u32,
    ) -> Result<(), ProveError> {
        let place = (at.nonce - low) as usize;
        let Some(slot) = self.slots.get(place).filter(|slot| slot.wanted) else { return Ok(()) };
        let id = NodeId::Current(at);
        let shape = |what| ProveError::Shape { at: id, what };
        if slot.size != 0 {
            return Err(shape("another record has its ordinal"));
        }
        let node = decoded.as_ref().map_err(|why| ProveError::Malformed { at: id, why: why.clone() })?;
        let met = match *node {
            Node::Leaf { key, value } => {
                if record.len() != Node::leaf_len(key, value) {
                    return Err(shape("its record is not the one that was written"));
                }
                let key_at = u32::try_from(self.keys.len()).map_err(|_| shape("the keys are too large"))?;
                self.keys.extend_from_slice(key);
                Slot {
                    hash,
                    version: at.version,
                    size: 1,
                    key_at,
                    key_length: key.len() as u32,
                    height: 0,
                    wanted: true,
                }
            }
            Node::Inner { height, size, key, hash, left, right } => {
                let below = |from: usize, back: u64| {
                    let back = usize::try_from(back).ok()?;
                    self.slots.get(from.checked_sub(back)?).filter(|slot| slot.wanted && slot.size != 0)
                };
                let missing = |child: NodeId| match child {
                    NodeId::Current(_) => ProveError::Missing(child),
                    NodeId::Legacy(child) => ProveError::Legacy { at: id, child },
                };
                // In post-order the right child is the node before, and the left one lies before the right subtree.
                let right_slot = below(place, 1).ok_or_else(|| missing(right))?;
                let right_size = u64::from(right_slot.size);
                let left_slot = below(place, right_size * 2).ok_or_else(|| missing(left))?;
                let smallest = below(place, right_size * 2 - 1).ok_or_else(|| missing(right))?;
                if right_slot.version > at.version || left_slot.version > at.version {
                    return Err(shape("a child is newer than its parent"));
                }
                self.inner.nodes.push(height, size, at.version, &left_slot.hash, &right_slot.hash);
                self.inner.recorded.push((at, hash));
                let sides = |slot: &Slot| (slot.height, u64::from(slot.size));
                check_shape(id, height, size, sides(left_slot), sides(right_slot))?;
                check_inner_key(id, key, self.key(smallest))?;
                let proven = InnerRecord {
                    version: at.version,
                    height,
                    size,
                    key,
                    hash,
                    left_version: left_slot.version,
                    right_version: right_slot.version,
                    right_size,
                };
                self.record.clear();
                let ordinal = numbering::ordinal(at.nonce);
                if ordinal.and_then(|ordinal| proven.encode(ordinal, &mut self.record)) != Some(at)
                    || self.record != record
                {
                    return Err(shape("its record is not the one that was written"));
                }
                let size = u32::try_from(size).map_err(|_| shape("it is too large"))?;
                Slot { hash, version: at.version, size, key_at: 0, key_length: 0, height, wanted: true }
            }
        };
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = met;
        }
        Ok(())
    }

    /// A root with the right hash and size has every ordinal of its subtree below it.
    fn check_roots(&self, chunks: &[Chunk], begin: u64) -> Result<(), ProveError> {
        for chunk in chunks {
            let Some(at) = numbering::node_key(chunk.version, chunk.root_ordinal()) else { continue };
            let slot = self.slots.get((chunk.root_ordinal() - begin) as usize).filter(|slot| slot.size != 0);
            let slot = slot.ok_or(ProveError::Missing(at.into()))?;
            if slot.version != chunk.version {
                return Err(ProveError::Missing(at.into()));
            }
            if slot.hash != chunk.hash {
                return Err(ProveError::HashMismatch { at: at.into(), expected: chunk.hash, found: slot.hash });
            }
            if u64::from(slot.size) != chunk.leaves {
                return Err(ProveError::Shape { at: at.into(), what: "it has another size than the chunk" });
            }
        }
        Ok(())
    }

    fn check_key_order(&self, low: u32) -> Result<(), ProveError> {
        let mut last: Option<&[u8]> = None;
        for (nonce, slot) in (low..).zip(&self.slots).filter(|(_, slot)| slot.wanted && slot.height == 0) {
            let key = self.key(slot);
            if let Some(before) = last {
                KeyOrder::compare(NodeKey::new(slot.version, nonce).into(), key, before)?;
            }
            last = Some(key);
        }
        Ok(())
    }

    fn key(&self, slot: &Slot) -> &[u8] {
        let from = slot.key_at as usize;
        self.keys.get(from..from + slot.key_length as usize).unwrap_or_default()
    }
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    fn add(&mut self, at: NodeKey, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.records.push((at, self.bytes.len()));
    }

    fn iter(&self) -> impl Iterator<Item = (NodeKey, &[u8])> + Clone {
        let mut begin = 0;
        self.records.iter().map(move |&(at, end)| {
            let record = self.bytes.get(begin..end).unwrap_or_default();
            begin = end;
            (at, record)
        })
    }
}

fn nonce(ordinal: u64) -> Option<u32> {
    numbering::node_key(Version(0), ordinal).map(|key| key.nonce)
}
