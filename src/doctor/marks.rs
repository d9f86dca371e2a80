//! Marks: which nodes of a store were met, and under which there is damage. A bit each.
//!
//! The survey says where the nodes are ([`Layout`]); the walks mark what they have proven, so that a tree that shares it is
//! done there, and in the end what was never met is what no version needs.

use crate::{
    iavl::{Forest, NodeId, NodeKey, ProveError},
    model::Version,
};
use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Where the bits of each version's nodes begin.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Version and first bit, both ascending.
    versions: Vec<(Version, u64)>,
    bits: u64,
    highest: u32,
    /// Records of legacy nodes.
    legacy: u64,
}

/// Children that are remembered because one of two is wrong.
const SUSPECTS: usize = 4096;

/// What a legacy node takes at most in a set of numbers.
const LEGACY_BYTES: u64 = 21;

impl Layout {
    /// Takes note of a node record; they come in the order of their keys.
    pub fn add(&mut self, key: NodeKey) {
        if self.versions.last().is_none_or(|(version, _)| *version != key.version) {
            self.close();
            self.versions.push((key.version, self.bits));
        }
        self.highest = self.highest.max(key.nonce.max(1));
    }

    /// Takes note of a legacy node record.
    pub fn add_legacy(&mut self) {
        self.legacy += 1;
    }

    /// All records were seen.
    pub fn close(&mut self) {
        self.bits += u64::from(self.highest);
        self.highest = 0;
    }

    /// Bytes that it and its marks take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // A vector that grows may have twice what it needs.
        self.held() + (self.bits + u64::from(self.highest)) / 4 + self.legacy * LEGACY_BYTES
    }

    /// Bytes that it takes itself.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.versions.len() as u64 * 32
    }

    /// The bit of a node; none if there is no record near it.
    fn bit(&self, key: NodeKey) -> Option<u64> {
        let index = self.versions.binary_search_by_key(&key.version, |(version, _)| *version).ok()?;
        let (_, first) = self.versions.get(index)?;
        let next = self.versions.get(index + 1).map_or(self.bits, |(_, first)| *first);
        // Nonce 0 is another name of nonce 1.
        let bit = first + u64::from(key.nonce.max(1)) - 1;
        (bit < next).then_some(bit)
    }
}

/// Legacy nodes by a number that is drawn for their hash, differently in every run: of ten million nodes two have the same one
/// in one run of three hundred thousand.
struct Legacy {
    seen: HashSet<u64>,
    bad: HashSet<u64>,
}

/// The marks of one store.
pub struct Marks {
    layout: Layout,
    seen: Vec<AtomicU64>,
    bad: Vec<AtomicU64>,
    legacy: Mutex<Legacy>,
    numbers: RandomState,
    met: AtomicU64,
    met_legacy: AtomicU64,
    suspects: Mutex<HashMap<NodeId, NodeId>>,
}

impl Marks {
    /// None yet.
    #[must_use]
    pub fn new(layout: Layout) -> Marks {
        let words = || (0..layout.bits.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let (seen, bad) = (words(), words());
        let seen_legacy = HashSet::with_capacity(usize::try_from(layout.legacy).unwrap_or(0));
        let legacy = Mutex::new(Legacy { seen: seen_legacy, bad: HashSet::new() });
        let (met, met_legacy) = (AtomicU64::new(0), AtomicU64::new(0));
        let (numbers, suspects) = (RandomState::new(), Mutex::default());
        Marks { layout, seen, bad, legacy, numbers, met, met_legacy, suspects }
    }

    /// Marks a node as met, once everything below it was.
    pub fn mark(&self, at: NodeId, is_sound: bool) {
        self.mark_all([at], is_sound);
    }

    /// Marks many.
    pub fn mark_all(&self, nodes: impl IntoIterator<Item = NodeId>, are_sound: bool) {
        let mut legacy = None;
        for at in nodes {
            match at {
                NodeId::Current(key) => {
                    let Some(bit) = self.layout.bit(key) else { continue };
                    if !are_sound {
                        set(&self.bad, bit);
                    }
                    self.met.fetch_add(u64::from(set(&self.seen, bit)), Ordering::Relaxed);
                }
                NodeId::Legacy(hash) => {
                    let legacy: &mut Legacy =
                        legacy.get_or_insert_with(|| self.legacy.lock().unwrap_or_else(PoisonError::into_inner));
                    let number = self.numbers.hash_one(hash);
                    if !are_sound {
                        legacy.bad.insert(number);
                    }
                    self.met_legacy.fetch_add(u64::from(legacy.seen.insert(number)), Ordering::Relaxed);
                }
            }
        }
    }

    /// Whether a node was met, and if so, whether it and everything below it is sound.
    #[must_use]
    pub fn known(&self, at: NodeId) -> Option<bool> {
        match at {
            NodeId::Current(key) => {
                let bit = self.layout.bit(key)?;
                get(&self.seen, bit).then(|| !get(&self.bad, bit))
            }
            NodeId::Legacy(hash) => {
                let legacy = self.legacy.lock().unwrap_or_else(PoisonError::into_inner);
                let number = self.numbers.hash_one(hash);
                legacy.seen.contains(&number).then(|| !legacy.bad.contains(&number))
            }
        }
    }

    /// Remembers that one of two children is wrong, and which node was blamed for it.
    pub fn suspect(&self, children: [NodeId; 2], blamed: NodeId) {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        if suspects.len() < SUSPECTS {
            suspects.extend(children.map(|child| (child, blamed)));
        }
    }

    /// The node that was blamed for what this one may be the cause of.
    pub fn blamed_for(&self, child: NodeId) -> Option<NodeId> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).get(&child).copied()
    }

    /// Nodes that were met: current ones and legacy ones.
    #[must_use]
    pub fn met(&self) -> (u64, u64) {
        (self.met.load(Ordering::Relaxed), self.met_legacy.load(Ordering::Relaxed))
    }
}

/// Sets a bit; whether it was not set before.
fn set(words: &[AtomicU64], bit: u64) -> bool {
    let mask = 1 << (bit % 64);
    words.get((bit / 64) as usize).is_some_and(|word| word.fetch_or(mask, Ordering::AcqRel) & mask == 0)
}

fn get(words: &[AtomicU64], bit: u64) -> bool {
    words.get((bit / 64) as usize).is_some_and(|word| word.load(Ordering::Acquire) >> (bit % 64) & 1 == 1)
}

/// Marks all nodes of a proven subtree of a forest.
pub(super) fn mark_whole(forest: &Forest, tree: usize, marks: &Marks) -> Result<(), ProveError> {
    let mut batch = Vec::with_capacity(1024);
    forest.hand_on(tree, &mut |node| {
        batch.push(node.at);
        if batch.len() == batch.capacity() {
            marks.mark_all(batch.drain(..), true);
        }
        true
    })?;
    marks.mark_all(batch, true);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn marks_are_a_set_of_nodes_in_which_nonce_0_is_nonce_1(
            records in prop::collection::btree_set((1u64..6, 0u32..9), 0..30),
            marked in prop::collection::vec((1u64..6, 0u32..9, any::<bool>()), 0..40),
        ) {
            let mut layout = Layout::default();
            let key = |version, nonce| NodeKey::new(Version(version), nonce);
            records.iter().for_each(|(version, nonce)| layout.add(key(*version, *nonce)));
            layout.close();
            let marks = Marks::new(layout);
            let mut model: BTreeMap<(u64, u32), bool> = BTreeMap::new();
            let there: BTreeSet<(u64, u32)> = records.iter().map(|(version, nonce)| (*version, (*nonce).max(1))).collect();
            for (version, nonce, sound) in marked {
                if there.contains(&(version, nonce.max(1))) {
                    marks.mark(key(version, nonce).into(), sound);
                    *model.entry((version, nonce.max(1))).or_insert(true) &= sound;
                }
            }
            for version in 0..7 {
                for nonce in 0..10 {
                    let known = marks.known(key(version, nonce).into());
                    prop_assert_eq!(known, model.get(&(version, nonce.max(1))).copied());
                }
            }
            prop_assert_eq!(marks.met().0, model.len() as u64);
        }
    }
}
