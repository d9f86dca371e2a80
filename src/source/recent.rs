//! Nodes that recent versions made, remembered until a later version replaces them.
//!
//! Owns the rule what is worth remembering while the differences between neighbouring versions are read in order: a node
//! is read when its version makes it, and once more when another one replaces it, never between or after. So new nodes
//! are put in and replaced ones taken out, and what is there is part of the newest tree.

use crate::{
    iavl::{NodeKey, NodeReader, ReadError},
    model::{StoreKey, Version},
};
use std::collections::{BTreeMap, HashMap};

/// What a remembered record costs beside its bytes, roughly.
const OVERHEAD: usize = 88;
/// Longer records (of leaves with large values) are not worth their room.
const LONGEST: usize = 512;

type Records = HashMap<(u32, NodeKey), Box<[u8]>>;

/// Records of nodes of all stores, bounded in bytes. When they have grown to half of the bound, they become the older
/// half, and what was the older half before is forgotten.
#[derive(Debug)]
pub(super) struct Recent {
    half: usize,
    bytes: usize,
    younger: Records,
    older: Records,
    stores: BTreeMap<StoreKey, u32>,
    /// Lower nodes are not put in. The higher a node is, the sooner it is replaced.
    lowest: u8,
    /// The version that is read, and how often the halves have changed in it.
    version: Version,
    turns: u32,
    /// Versions since they last changed.
    calm: u32,
}

/// After so many versions in which the halves did not change, lower nodes are tried again.
const CALM: u32 = 64;

impl Recent {
    pub fn new(bytes: usize) -> Recent {
        Recent {
            half: bytes / 2,
            bytes: 0,
            younger: Records::new(),
            older: Records::new(),
            stores: BTreeMap::new(),
            lowest: 0,
            version: Version(0),
            turns: 0,
            calm: 0,
        }
    }

    /// A short name for a store.
    pub fn number(&mut self, store: &StoreKey) -> u32 {
        let next = self.stores.len() as u32;
        *self.stores.entry(store.clone()).or_insert(next)
    }

    /// What one version makes has to fit, or it is gone when the next one asks for it: then only the upper levels are kept.
    pub fn begin(&mut self, version: Version) {
        if version == self.version {
            return;
        }
        self.calm = if self.turns == 0 { self.calm + 1 } else { 0 };
        if self.turns > 1 {
            self.lowest = self.lowest.saturating_add(1);
        } else if self.calm >= CALM {
            (self.lowest, self.calm) = (self.lowest.saturating_sub(1), 0);
        }
        (self.version, self.turns) = (version, 0);
    }

    fn put(&mut self, store: u32, key: NodeKey, record: &[u8]) {
        // A record begins with the height, zigzag encoded.
        if record.len() > LONGEST || record.first().is_none_or(|height| height / 2 < self.lowest) {
            return;
        }
        self.bytes += record.len() + OVERHEAD;
        self.younger.insert((store, key), record.into());
        if self.bytes >= self.half {
            self.older = std::mem::take(&mut self.younger);
            self.bytes = 0;
            self.turns += 1;
        }
    }

    fn take(&mut self, store: u32, key: NodeKey) -> Option<Box<[u8]>> {
        if let Some(record) = self.younger.remove(&(store, key)) {
            self.bytes = self.bytes.saturating_sub(record.len() + OVERHEAD);
            return Some(record);
        }
        self.older.remove(&(store, key))
    }
}

/// Reads the nodes for the difference between a version and the one before.
pub(super) struct Remembering<'a, R> {
    pub store: u32,
    pub version: Version,
    pub recent: &'a mut Recent,
    /// Reads what the version made, in the order of its keys.
    pub new: R,
    /// Reads what it replaced.
    pub old: R,
}

impl<R: NodeReader> NodeReader for Remembering<'_, R> {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        if key.version == self.version {
            let start = out.len();
            let found = self.new.read(key, out)?;
            if found {
                self.recent.put(self.store, key, out.get(start..).unwrap_or_default());
            }
            return Ok(found);
        }
        if let Some(record) = self.recent.take(self.store, key) {
            out.extend_from_slice(&record);
            return Ok(true);
        }
        self.old.read(key, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iavl::NodeMap;

    fn key(version: u64, nonce: u32) -> NodeKey {
        NodeKey::new(Version(version), nonce)
    }

    #[test]
    fn a_node_is_remembered_from_its_version_until_it_is_replaced_and_the_bytes_stay_bounded() {
        let mut map = NodeMap::default();
        for version in 1..=50 {
            map.records.extend((1..=100).map(|nonce| (key(version, nonce), vec![0, version as u8])));
        }
        let mut recent = Recent::new(20_000);
        let store = recent.number(&StoreKey::from("bank"));
        assert_eq!(recent.number(&StoreKey::from("bank")), store);
        assert_ne!(recent.number(&StoreKey::from("gov")), store);
        for version in 1..=50 {
            recent.begin(Version(version));
            let (new, old) = (map.clone(), NodeMap::default());
            let mut nodes = Remembering { store, version: Version(version), recent: &mut recent, new, old };
            for nonce in 1..=100 {
                let mut record = Vec::new();
                assert!(nodes.read(key(version, nonce), &mut record).unwrap());
                assert_eq!(record, [0, version as u8]);
            }
            let mut record = Vec::new();
            if version > 1 {
                assert!(nodes.read(key(version - 1, 100), &mut record).unwrap(), "the last of the version before");
                assert!(!nodes.read(key(version - 1, 100), &mut record).unwrap(), "it was replaced");
                assert_eq!(record, [0, version as u8 - 1]);
            }
            assert_eq!(recent.lowest, 0, "a version fits");
            assert!((recent.younger.len() + recent.older.len()) * (2 + OVERHEAD) <= 20_000);
        }
    }

    #[test]
    fn of_versions_that_do_not_fit_the_upper_levels_are_remembered() {
        let mut recent = Recent::new(20_000);
        for version in 1..=20 {
            recent.begin(Version(version));
            for nonce in 1..=1000u32 {
                // Nodes of height 0 to 9, as many as in a tree.
                let height = nonce.trailing_zeros() as u8;
                recent.put(0, key(version, nonce), &[2 * height, 0]);
            }
        }
        assert!((2..=4).contains(&recent.lowest), "{}", recent.lowest);
        assert!(recent.take(0, key(20, 512)).is_some());
        assert!(recent.take(0, key(20, 511)).is_none());
        for version in 21..=1000 {
            recent.begin(Version(version));
        }
        assert_eq!(recent.lowest, 0, "small versions fit again");
    }
}
