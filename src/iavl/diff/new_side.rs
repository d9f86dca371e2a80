//! The walk over the new tree: its new leaves and the subtrees it shares with the old one, in order, all proven.

use super::{
    super::{Claim, Node, NodeKey, NodeReader, ProveError, inner_hash, leaf_hash},
    check_height, child_of, decode, read,
};
use crate::model::{Hash, Version};

/// What comes next in the new tree.
pub(super) enum Front {
    /// A subtree that is in the old tree too; the largest such.
    Shared(NodeKey),
    /// A leaf that is not in the old tree.
    Leaf { at: NodeKey, record: Vec<u8> },
}

/// The parts of the new tree that are still to come, the next one last.
pub(super) struct NewSide {
    stack: Vec<Entry>,
    /// Nodes up to this version are shared.
    old: Option<Version>,
}

/// A node that was read and whose hash is the one the tree above it was built on.
struct Entry {
    at: NodeKey,
    /// Computed for a leaf, recorded for an inner node.
    hash: Hash,
    height: u8,
    /// Empty for a shared node, which is not looked into.
    record: Vec<u8>,
}

impl NewSide {
    pub fn new<R: NodeReader>(
        reader: &mut R,
        root: Option<Claim>,
        old: Option<Version>,
    ) -> Result<NewSide, ProveError> {
        let mut side = NewSide { stack: Vec::new(), old };
        if let Some(Claim { key: at, hash: expected }) = root {
            let root = side.read(reader, at, None)?;
            if root.hash != expected {
                return Err(ProveError::HashMismatch { at, expected, found: root.hash });
            }
            side.stack.push(root);
        }
        Ok(side)
    }

    pub fn next<R: NodeReader>(&mut self, reader: &mut R) -> Result<Option<Front>, ProveError> {
        while let Some(entry) = self.stack.pop() {
            if self.is_shared(entry.at) {
                return Ok(Some(Front::Shared(entry.at)));
            }
            if entry.height == 0 {
                return Ok(Some(Front::Leaf { at: entry.at, record: entry.record }));
            }
            self.open(reader, &entry)?;
        }
        Ok(None)
    }

    /// Reads the children of a new inner node and proves them with it.
    fn open<R: NodeReader>(&mut self, reader: &mut R, entry: &Entry) -> Result<(), ProveError> {
        let at = entry.at;
        let Node::Inner { height, size, left, right, .. } = decode(at, &entry.record)? else { return Ok(()) };
        let left = self.read(reader, child_of(at, left)?, Some(height))?;
        let right = self.read(reader, child_of(at, right)?, Some(height))?;
        let found = inner_hash(height, size, at.version, &left.hash, &right.hash);
        if found != entry.hash {
            return Err(ProveError::HashMismatch { at, expected: entry.hash, found });
        }
        self.stack.push(right);
        self.stack.push(left);
        Ok(())
    }

    fn read<R: NodeReader>(&self, reader: &mut R, at: NodeKey, above: Option<u8>) -> Result<Entry, ProveError> {
        let mut record = Vec::new();
        read(reader, at, &mut record)?;
        let (height, hash) = match decode(at, &record)? {
            Node::Leaf { key, value } => (0, leaf_hash(at.version, key, value)),
            Node::Inner { height, hash, .. } => (height, hash),
        };
        check_height(at, height, above)?;
        if self.is_shared(at) {
            record = Vec::new();
        }
        Ok(Entry { at, hash, height, record })
    }

    fn is_shared(&self, at: NodeKey) -> bool {
        self.old.is_some_and(|old| at.version <= old)
    }
}
