//! The walk over the new tree: its new leaves and the subtrees it shares with the old one, in order, all proven if asked for.

use super::{
    super::{Claim, Node, NodeKey, NodeReader, ProveError, inner_hash, leaf_hash},
    Proof, check_height, child_of, decode, read,
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
    proof: Proof,
}

struct Entry {
    at: NodeKey,
    /// Height of the node above; none for the root.
    above: Option<u8>,
    /// None while nobody has asked for it. When proving, it was read with its sibling, and its hash is the one the tree
    /// above it was built on.
    read: Option<Read>,
}

/// A node that was read.
struct Read {
    /// Computed for a leaf, recorded for an inner node; nothing when not proving.
    hash: Hash,
    height: u8,
    /// Empty for a shared node, which is not looked into.
    record: Vec<u8>,
}

impl NewSide {
    /// The whole tree, proven against the claim on the way, or only its shape.
    pub fn new<R: NodeReader>(
        reader: &mut R,
        root: Option<Claim>,
        old: Option<Version>,
        proof: Proof,
    ) -> Result<NewSide, ProveError> {
        let mut side = NewSide { stack: Vec::new(), old, proof };
        if let Some(Claim { key: at, hash: expected }) = root {
            let mut root = Entry { at, above: None, read: None };
            if proof == Proof::Here {
                let found = side.read(reader, at, None)?;
                if found.hash != expected {
                    return Err(ProveError::HashMismatch { at, expected, found: found.hash });
                }
                root.read = Some(found);
            }
            side.stack.push(root);
        }
        Ok(side)
    }

    pub fn next<R: NodeReader>(&mut self, reader: &mut R) -> Result<Option<Front>, ProveError> {
        while let Some(Entry { at, above, read }) = self.stack.pop() {
            if self.is_shared(at) {
                return Ok(Some(Front::Shared(at)));
            }
            let node = match read {
                Some(node) => node,
                None => self.read(reader, at, above)?,
            };
            if node.height == 0 {
                return Ok(Some(Front::Leaf { at, record: node.record }));
            }
            self.open(reader, at, &node)?;
        }
        Ok(None)
    }

    /// Goes on with the children of a new inner node; when proving, reads them and proves them with it.
    fn open<R: NodeReader>(&mut self, reader: &mut R, at: NodeKey, node: &Read) -> Result<(), ProveError> {
        let Node::Inner { height, size, left, right, .. } = decode(at, &node.record)? else { return Ok(()) };
        let above = Some(height);
        let mut left = Entry { at: child_of(at, left)?, above, read: None };
        let mut right = Entry { at: child_of(at, right)?, above, read: None };
        if self.proof == Proof::Here {
            let (of_left, of_right) = (self.read(reader, left.at, above)?, self.read(reader, right.at, above)?);
            let found = inner_hash(height, size, at.version, &of_left.hash, &of_right.hash);
            if found != node.hash {
                return Err(ProveError::HashMismatch { at, expected: node.hash, found });
            }
            (left.read, right.read) = (Some(of_left), Some(of_right));
        }
        self.stack.push(right);
        self.stack.push(left);
        Ok(())
    }

    fn read<R: NodeReader>(&self, reader: &mut R, at: NodeKey, above: Option<u8>) -> Result<Read, ProveError> {
        let mut record = Vec::new();
        read(reader, at, &mut record)?;
        let (height, hash) = match decode(at, &record)? {
            Node::Leaf { key, value } if self.proof == Proof::Here => (0, leaf_hash(at.version, key, value)),
            Node::Leaf { .. } => (0, Hash::EMPTY),
            Node::Inner { height, hash, .. } => (height, hash),
        };
        check_height(at, height, above)?;
        if self.is_shared(at) {
            record = Vec::new();
        }
        Ok(Read { hash, height, record })
    }

    fn is_shared(&self, at: NodeKey) -> bool {
        self.old.is_some_and(|old| at.version <= old)
    }
}
