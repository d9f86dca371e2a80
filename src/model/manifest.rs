//! The manifest of a snapshot: its stores, and where each one's chunks are.

use super::{Hash, StoreKey, Timestamp, Version};

/// One store of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreEntry {
    /// The store.
    pub name: StoreKey,
    /// The root recorded by store/v1; none for stores without a tree.
    pub root: Option<Hash>,
    /// Where the root node is in SC: its version and ordinal; none for the empty tree.
    pub top: Option<(Version, u64)>,
    /// Its leaves.
    pub leaves: u64,
    /// Its first chunk.
    pub first_chunk: u64,
    /// How many chunks it has.
    pub chunks: u64,
}

/// The snapshot without its chunks and spines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The stores in order of name.
    pub stores: Vec<StoreEntry>,
    /// Block time of the snapshot version, if store/v1 recorded one.
    pub timestamp: Option<Timestamp>,
}

impl Manifest {
    /// Pairs in all stores.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.stores.iter().map(|store| store.leaves).sum()
    }

    /// Chunks in all stores.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.stores.iter().map(|store| store.chunks).sum()
    }
}
