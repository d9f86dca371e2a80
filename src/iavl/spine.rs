//! Cutting a tree into chunks: the spine is the inner nodes above them.
//!
//! Owns the walk from the root down that proves every spine node and every chunk's root node, so that chunks can later
//! be proven on their own. Hands the spine and the chunks to the snapshot's manifest.

use super::{
    Claim, Node, NodeKey, NodeReader, OpenedInner, ProveError,
    merkle::leaf_hash,
    numbering::{self, InnerRecord, left_ordinal, right_ordinal},
    prove::{decode, open_inner, read_record},
};
use crate::model::{Chunk, Hash, Version};

/// An inner node above the chunks. All but `key` is proven; `key` is checked once the chunks' keys are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpineNode {
    /// Post-order ordinal in the store's tree.
    pub ordinal: u64,
    /// The version that created it.
    pub version: Version,
    /// Height.
    pub height: u8,
    /// Leaves below.
    pub size: u64,
    /// Smallest key of the right subtree.
    pub key: Vec<u8>,
    /// Merkle hash.
    pub hash: Hash,
    /// Version of the left child.
    pub left_version: Version,
    /// Version of the right child.
    pub right_version: Version,
    /// Leaves below the right child.
    pub right_size: u64,
}

impl SpineNode {
    /// Appends its SC record and returns its key; `None` if a nonce does not fit.
    pub fn encode_record(&self, out: &mut Vec<u8>) -> Option<NodeKey> {
        let record = InnerRecord {
            version: self.version,
            height: self.height,
            size: self.size,
            key: &self.key,
            hash: self.hash,
            left_version: self.left_version,
            right_version: self.right_version,
            right_size: self.right_size,
        };
        record.encode(self.ordinal, out)
    }

    /// First ordinal of its right subtree: the chunk that begins there begins with the smallest key of that subtree.
    #[must_use]
    pub fn right_first_ordinal(&self) -> u64 {
        left_ordinal(self.ordinal, self.right_size).saturating_add(1)
    }
}

/// A tree cut into chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Inner nodes above the chunks, ascending by ordinal.
    pub spine: Vec<SpineNode>,
    /// Chunks in ascending order of keys.
    pub chunks: Vec<Chunk>,
}

/// Proves the tree under `root` from the top down to the first subtrees of at most `chunk_leaves` leaves.
///
/// `store` is copied into the chunks. Reads about three nodes per chunk.
///
/// # Errors
/// As [`super::prove()`]; a tree with more leaves than nonces is a [`ProveError::Shape`].
pub fn cut<R: NodeReader + ?Sized>(
    reader: &mut R,
    root: Claim,
    store: u32,
    chunk_leaves: u64,
) -> Result<Cut, ProveError> {
    let mut cut = Cut::default();
    let first = inspect(reader, root)?;
    if first.size() > numbering::MAX_LEAVES {
        return Err(ProveError::Shape { at: root.at, what: "the tree has more than 2^31 leaves" });
    }
    let root_ordinal = first.size().saturating_mul(2).saturating_sub(2);
    let mut open = vec![(root, root_ordinal, first)];
    while let Some((claim, ordinal, node)) = open.pop() {
        let size = node.size();
        match node {
            Inspected::Inner(node) if size > chunk_leaves.max(1) => {
                let left = inspect(reader, node.left)?;
                let right = inspect(reader, node.right)?;
                let right_size = right.size();
                if left.size().checked_add(right_size) != Some(size) {
                    return Err(ProveError::Shape { at: claim.at, what: "its size is not the sum of its children's" });
                }
                cut.spine.push(SpineNode {
                    ordinal,
                    version: node.version,
                    height: node.height,
                    size,
                    key: node.key,
                    hash: claim.hash,
                    left_version: node.left_version,
                    right_version: node.right_version,
                    right_size,
                });
                // The left child is popped first, so chunks come out in key order.
                open.push((node.right, right_ordinal(ordinal), right));
                open.push((node.left, left_ordinal(ordinal, right_size), left));
            }
            node => cut.chunks.push(Chunk {
                store,
                version: node.version(),
                nonce: claim.at.key().map(|key| key.nonce),
                hash: claim.hash,
                height: node.height(),
                leaves: size,
                first_ordinal: ordinal.saturating_sub(size.saturating_mul(2).saturating_sub(2)),
            }),
        }
    }
    cut.spine.sort_unstable_by_key(|node| node.ordinal);
    Ok(cut)
}

enum Inspected {
    Leaf(Version),
    Inner(OpenedInner),
}

impl Inspected {
    fn version(&self) -> Version {
        match self {
            Inspected::Leaf(version) => *version,
            Inspected::Inner(node) => node.version,
        }
    }

    fn size(&self) -> u64 {
        match self {
            Inspected::Leaf(_) => 1,
            Inspected::Inner(node) => node.size,
        }
    }

    fn height(&self) -> u8 {
        match self {
            Inspected::Leaf(_) => 0,
            Inspected::Inner(node) => node.height,
        }
    }
}

/// Proves one node, whichever it is.
fn inspect<R: NodeReader + ?Sized>(reader: &mut R, claim: Claim) -> Result<Inspected, ProveError> {
    let at = claim.at;
    let mut record = Vec::new();
    read_record(reader, at, &mut record)?;
    match decode(at, &record)? {
        (version, Node::Leaf { key, value }) => {
            let found = leaf_hash(version, key, value);
            if found != claim.hash {
                return Err(ProveError::HashMismatch { at, expected: claim.hash, found });
            }
            Ok(Inspected::Leaf(version))
        }
        (_, Node::Inner { .. }) => open_inner(reader, claim).map(Inspected::Inner),
    }
}
