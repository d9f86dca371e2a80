//! The walk over the new tree: its new leaves and the subtrees it shares with the old one, in order, all proven if asked for.

use super::{
    super::{Claim, Node, NodeId, NodeReader, ProveError, inner_hash, leaf_hash, prove::decode},
    Proof, check_height, check_version, read,
};
use crate::model::{Hash, Version};

/// What comes next in the new tree.
pub(super) enum Front {
    /// A subtree that is in the old tree too; the largest such.
    Shared(NodeId),
    /// A leaf that is not in the old tree.
    Leaf { at: NodeId, record: Vec<u8> },
}

/// The parts of the new tree that are still to come, the next one last.
pub(super) struct NewSide {
    stack: Vec<Entry>,
    /// Nodes up to this version are shared.
    old: Option<Version>,
    proof: Proof,
    due: Option<Begins>,
}

/// What the next front has to begin with: the key of an inner node whose right subtree it begins.
pub(super) struct Begins {
    /// The inner node.
    pub from: NodeId,
    /// Its key, which must be the smallest of that subtree.
    pub key: Vec<u8>,
}

struct Entry {
    at: NodeId,
    /// Height of the node above; none for the root.
    above: Option<u8>,
    /// None while nobody has asked for it. When proving, it was read with its sibling, and its hash is the one the tree
    /// above it was built on.
    read: Option<Read>,
    /// Of a right child, when proving.
    begins: Option<Begins>,
}

/// A node that was read.
struct Read {
    version: Version,
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
        let mut side = NewSide { stack: Vec::new(), old, proof, due: None };
        if let Some(Claim { at, hash: expected }) = root {
            let mut root = Entry { at, above: None, read: None, begins: None };
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
        while let Some(Entry { at, above, read, begins }) = self.stack.pop() {
            if begins.is_some() {
                self.due = begins;
            }
            // Most need not be read to tell.
            if read.is_none() && at.key().is_some_and(|key| self.is_shared(key.version)) {
                return Ok(Some(Front::Shared(at)));
            }
            let node = match read {
                Some(node) => node,
                None => self.read(reader, at, above)?,
            };
            if self.is_shared(node.version) {
                return Ok(Some(Front::Shared(at)));
            }
            if node.height == 0 {
                return Ok(Some(Front::Leaf { at, record: node.record }));
            }
            self.open(reader, at, &node)?;
        }
        Ok(None)
    }

    /// What the front that was just handed out has to begin with, if that follows from an inner key. No hash covers those.
    pub fn due(&mut self) -> Option<Begins> {
        self.due.take()
    }

    /// Goes on with the children of a new inner node; when proving, reads them and proves them with it.
    fn open<R: NodeReader>(&mut self, reader: &mut R, at: NodeId, node: &Read) -> Result<(), ProveError> {
        let (version, Node::Inner { height, size, key, left, right, .. }) = decode(at, &node.record)? else {
            return Ok(());
        };
        let above = Some(height);
        let mut left = Entry { at: check_version(at, version, left)?, above, read: None, begins: None };
        let mut right = Entry { at: check_version(at, version, right)?, above, read: None, begins: None };
        if self.proof == Proof::Here {
            let (of_left, of_right) = (self.read(reader, left.at, above)?, self.read(reader, right.at, above)?);
            let found = inner_hash(height, size, version, &of_left.hash, &of_right.hash);
            if of_left.version.max(of_right.version) > version {
                return Err(ProveError::Shape { at, what: "a child is newer than its parent" });
            }
            if found != node.hash {
                return Err(ProveError::HashMismatch { at, expected: node.hash, found });
            }
            (left.read, right.read) = (Some(of_left), Some(of_right));
            right.begins = Some(Begins { from: at, key: key.to_vec() });
        }
        self.stack.push(right);
        self.stack.push(left);
        Ok(())
    }

    fn read<R: NodeReader>(&self, reader: &mut R, at: NodeId, above: Option<u8>) -> Result<Read, ProveError> {
        let mut record = Vec::new();
        read(reader, at, &mut record)?;
        let (version, node) = decode(at, &record)?;
        let (height, hash) = match node {
            Node::Leaf { key, value } if self.proof == Proof::Here => (0, leaf_hash(version, key, value)),
            Node::Leaf { .. } => (0, Hash::EMPTY),
            Node::Inner { height, hash, .. } => (height, hash),
        };
        check_height(at, height, above)?;
        if self.is_shared(version) {
            record = Vec::new();
        }
        Ok(Read { version, hash, height, record })
    }

    fn is_shared(&self, version: Version) -> bool {
        self.old.is_some_and(|old| version <= old)
    }
}
