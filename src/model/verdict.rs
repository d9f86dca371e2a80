//! Verdicts: what a comparison with store/v1 found. A verdict is recorded, not thrown.

use super::{Hash, StoreKey, Version};
use std::fmt;

/// How the data disagrees, with everything an operator needs to look it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The root of a store differs from what store/v1 recorded.
    Root {
        /// The store.
        store: StoreKey,
        /// The version.
        version: Version,
        /// Root recorded by store/v1.
        expected: Hash,
        /// Root found.
        found: Hash,
    },
    /// The app hash differs although every store could be read.
    AppHash {
        /// The version.
        version: Version,
        /// App hash recorded by store/v1.
        expected: Hash,
        /// App hash found.
        found: Hash,
    },
    /// A chunk in the target is not what was written, or does not prove.
    Chunk {
        /// The chunk's number.
        chunk: u64,
        /// The store it belongs to.
        store: StoreKey,
        /// What is wrong, in words.
        what: String,
    },
    /// A store in the target is wrong outside any chunk: in its spine, its root record or its versions after the snapshot.
    Store {
        /// The store.
        store: StoreKey,
        /// What is wrong, in words.
        what: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Root { store, version, expected, found } => write!(
                f,
                "store {store} at version {version}: store/v1 recorded root {expected}, the target's tree has {found}"
            ),
            Verdict::AppHash { version, expected, found } => {
                write!(f, "version {version}: store/v1 recorded app hash {expected}, the target has {found}")
            }
            Verdict::Chunk { chunk, store, what } => write!(f, "chunk {chunk} of store {store} in the target: {what}"),
            Verdict::Store { store, what } => write!(f, "store {store} in the target: {what}"),
        }
    }
}
