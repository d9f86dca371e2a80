//! A tree that grows from version to version: applies changes to it exactly as Go's IAVL 1.x does and yields the
//! records of the next version.
//!
//! Owns the nodes it has read or made, as a tree of boxes whose other parts are only named by their node keys; reads
//! those through a [`NodeReader`] when an operation comes by. Hands the new records to whoever writes them to SC.
//!
//! Source of the algorithm: cosmos/iavl v1.2.2, `mutable_tree.go` and `node.go`. Shape, hashes, node keys and bytes are
//! those of Go for the same operations in the same order. Nonces of nodes that exist already are taken as they are, so
//! trees numbered by an importer or by [`super::numbering`] go on just as well.
//!
//! What is read is checked for shape (heights fall, sizes add up, children are not newer), not against hashes: the
//! recorded hash of a node that is kept goes into the hash of its new parent, and so into the root, which the caller
//! compares with the chain's. A wrong inner key leads to a wrong leaf and is found the same way.

mod balance;
mod commit;
mod edit;
mod forget;
mod resident;
#[cfg(test)]
pub(in crate::iavl) mod tests;
mod warm;

use super::{NodeKey, NodeReader, ReadError, node::NodeError};
use crate::model::{Change, ChangeRef, Hash, Version};
use resident::{Link, Source};

/// One store's tree at a version, with changes on the way to the next.
#[derive(Debug)]
pub struct Tree {
    /// `None` is the empty tree.
    root: Option<Link>,
    /// The version the tree last stood at.
    version: Version,
    /// Nodes in memory.
    resident: usize,
    /// Kept from one operation to the next, for the record being read.
    scratch: Vec<u8>,
    /// An operation failed half way: the nodes in memory are no tree any more.
    broken: bool,
}

/// What one version of a tree amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Merkle hash of the root; [`Hash::EMPTY`] for the empty tree.
    pub hash: Hash,
    /// Where the root node is; `None` for the empty tree. Older than the version if nothing changed, or if removals
    /// left an existing node as the root.
    pub root: Option<NodeKey>,
    /// All records of the version in ascending order of keys. The first is always (version, 1): the new root node, a
    /// 13-byte reference to an older one, or no bytes for the empty tree.
    pub records: Vec<(NodeKey, Vec<u8>)>,
}

/// Why changes could not be applied. The tree is of no use afterwards and has to be loaded anew.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A node that its parent names, or the root, does not exist.
    #[error("node {0} is missing although the tree names it")]
    Missing(NodeKey),
    /// The bytes are no node record.
    #[error("node {at}: {why}")]
    Malformed {
        /// Where it was read.
        at: NodeKey,
        /// What is wrong with the bytes.
        why: NodeError,
    },
    /// A child kept under its hash, as IAVL up to 0.20 wrote it.
    #[error("node {at} refers to a legacy node (IAVL 0.20 or older, kept under its hash {child})")]
    Legacy {
        /// The inner node.
        at: NodeKey,
        /// Hash of the legacy child.
        child: Hash,
    },
    /// Sizes, heights or versions that no IAVL tree has.
    #[error("node {at}: {what}")]
    Shape {
        /// The node.
        at: NodeKey,
        /// What is impossible about it.
        what: &'static str,
    },
    /// The tree would outgrow the format: height 127, 2^63 - 1 leaves, or 2^32 - 1 new nodes in one version.
    #[error("the tree has outgrown the format: {0}")]
    TooLarge(&'static str),
    /// Versions only go up.
    #[error("a tree at version {at} cannot be committed as version {version}")]
    Version {
        /// Version of the tree.
        at: Version,
        /// Version asked for.
        version: Version,
    },
    /// An earlier operation failed half way.
    #[error("an earlier operation on this tree failed; it has to be loaded anew")]
    Broken,
}

impl Tree {
    /// The tree at `version` whose root node is at `root` (`None`: the empty tree). Reads nothing yet.
    ///
    /// `root` is where the node itself is, not the key of a reference to it; it is written into reference roots of
    /// later versions as it stands.
    #[must_use]
    pub fn load(root: Option<NodeKey>, version: Version) -> Tree {
        Tree { root: root.map(Link::Stored), version, resident: 0, scratch: Vec::new(), broken: false }
    }

    /// The version the tree stands at: that of the last commit, or of loading. Changes applied since are on top of it.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// How many nodes are in memory, about 200 bytes plus the key each (and, for new leaves, the value until commit).
    #[must_use]
    pub fn resident(&self) -> usize {
        self.resident
    }

    /// Applies sets and removals in the order given.
    ///
    /// Setting a key to the value it has makes a new leaf all the same, and removing an absent key does nothing, as in
    /// Go. Reads about two nodes for every node that changes and is not in memory.
    ///
    /// # Errors
    /// A node that cannot be read or is malformed. The tree is then of no use: every later call returns
    /// [`TreeError::Broken`].
    pub fn apply<R: NodeReader>(&mut self, reader: &mut R, changes: &[Change]) -> Result<(), TreeError> {
        self.whole(|tree| {
            changes.iter().try_for_each(|change| match &change.value {
                Some(value) => tree.set(reader, &change.key, value),
                None => tree.remove(reader, &change.key),
            })
        })
    }

    /// As [`Tree::apply`], with one set or removal.
    ///
    /// # Errors
    /// As [`Tree::apply`].
    pub fn change<R: NodeReader>(&mut self, reader: &mut R, change: ChangeRef<'_>) -> Result<(), TreeError> {
        self.whole(|tree| match change.value {
            Some(value) => tree.set(reader, change.key, value),
            None => tree.remove(reader, change.key),
        })
    }

    /// Makes what was applied the given version: hashes and numbers the new nodes (in pre-order from nonce 1) and
    /// returns their records. The tree stands at that version then and goes on from memory, so the records need not be
    /// readable until [`Tree::forget`]. The reader is only used where the root itself was not in memory.
    ///
    /// # Errors
    /// `version` is not above the tree's (the tree stays as it is), or the root cannot be read.
    pub fn commit<R: NodeReader>(&mut self, reader: &mut R, version: Version) -> Result<Committed, TreeError> {
        if version <= self.version || version > Version::MAX {
            return Err(TreeError::Version { at: self.version, version });
        }
        self.whole(|tree| {
            let committed = tree.commit_root(reader, version)?;
            tree.version = version;
            Ok(committed)
        })
    }

    /// Drops nodes from memory until at most about `keep` are left, the upper levels first among those kept. Only
    /// nodes of committed versions are dropped: all records returned by commits so far must be readable by then.
    ///
    /// Does nothing while there are no more than `keep`, so it can be called after every version.
    pub fn forget(&mut self, keep: usize) {
        if self.resident > keep && !self.broken {
            self.resident = forget::trim(self.root.as_mut(), keep);
        }
    }

    /// Runs one operation and marks the tree as broken if it does not come to its end.
    fn whole<T>(&mut self, operation: impl FnOnce(&mut Tree) -> Result<T, TreeError>) -> Result<T, TreeError> {
        if self.broken {
            return Err(TreeError::Broken);
        }
        self.broken = true;
        let done = operation(self)?;
        self.broken = false;
        Ok(done)
    }

    /// The root link apart from what is needed to read below it.
    fn split<'a, R: NodeReader>(&'a mut self, reader: &'a mut R) -> (&'a mut Option<Link>, Source<'a, R>) {
        let source = Source { reader, scratch: &mut self.scratch, resident: &mut self.resident, newest: self.version };
        (&mut self.root, source)
    }
}
