//! Proving a subtree: every node is read, checked against what is already proven above it, and only then handed on.
//!
//! Works on the source and on the target alike. Hands the proven nodes on in post-order, which is the order of their
//! ordinals. What the Merkle hash does not cover (inner keys, the order of leaf keys) is checked here too.
//!
//! A subtree is read into memory whole, in the order its records lie on disk, and if that takes more than the budget
//! it is cut into its two halves and each is proven on its own; so memory is bounded by the budget plus one record.

use super::{
    Node, NodeId, NodeKey, NodeReader, ReadError,
    forest::{Fit, Forest},
    legacy,
    merkle::{inner_hash, leaf_hash},
    node::NodeError,
};
use crate::model::{Chunk, Hash, Version, to_hex};

/// What is known of a node before it is read: where it is and which hash it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where the node is.
    pub at: NodeId,
    /// The Merkle hash it must have.
    pub hash: Hash,
}

impl Claim {
    /// A chunk's subtree in store/v1.
    #[must_use]
    pub fn of(chunk: &Chunk) -> Claim {
        let at = match chunk.nonce {
            Some(nonce) => NodeKey::new(chunk.version, nonce).into(),
            None => NodeId::Legacy(chunk.hash),
        };
        Claim { at, hash: chunk.hash }
    }
}

/// A node whose hash, size, height and key order are proven.
#[derive(Clone, Copy, Debug)]
pub struct ProvenNode<'a> {
    /// Where it was read.
    pub at: NodeId,
    /// The version that made it.
    pub version: Version,
    /// Height; 0 for a leaf.
    pub height: u8,
    /// Leaves below, 1 for a leaf.
    pub size: u64,
    /// Key of the leaf, or smallest key of the right subtree.
    pub key: &'a [u8],
    /// Value of a leaf; empty for inner nodes.
    pub value: &'a [u8],
    /// Merkle hash.
    pub hash: Hash,
    /// Where its children were read; none for a leaf.
    pub children: Option<ProvenChildren>,
}

/// What a proven inner node knows of its children.
#[derive(Clone, Copy, Debug)]
pub struct ProvenChildren {
    /// Where the left child was read.
    pub left: NodeId,
    /// The version that made it.
    pub left_version: Version,
    /// Where the right child was read.
    pub right: NodeId,
    /// The version that made it.
    pub right_version: Version,
    /// Leaves below the right child: with it the ordinals of both children follow from the parent's.
    pub right_size: u64,
}

/// What remains of a proven subtree once all its nodes were handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Leaves.
    pub leaves: u64,
    /// Height of the root.
    pub height: u8,
    /// Smallest key.
    pub first_key: Vec<u8>,
    /// Largest key.
    pub last_key: Vec<u8>,
}

/// Why a subtree could not be proven.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A node that its parent names does not exist.
    #[error("node {0} is missing although its parent names it")]
    Missing(NodeId),
    /// The bytes are no node record.
    #[error("node {at}: {why}")]
    Malformed {
        /// Where it was read.
        at: NodeId,
        /// What is wrong with the bytes.
        why: NodeError,
    },
    /// A child named by its hash, as in IAVL up to 0.20, where there are no such nodes.
    #[error("node {at} names a child by its hash {child}, as IAVL up to 0.20 did; there are no such nodes in SC")]
    Legacy {
        /// The inner node.
        at: NodeId,
        /// Hash of the legacy child.
        child: Hash,
    },
    /// The node is not the one the tree above it was built on.
    #[error("node {at} has hash {found}, the tree above it needs {expected}")]
    HashMismatch {
        /// Where it was read.
        at: NodeId,
        /// What the proven part of the tree says.
        expected: Hash,
        /// What the record gives.
        found: Hash,
    },
    /// Sizes, heights or versions that no IAVL tree has.
    #[error("node {at}: {what}")]
    Shape {
        /// The inner node.
        at: NodeId,
        /// What is impossible about it.
        what: &'static str,
    },
    /// Leaf keys do not ascend.
    #[error("leaf {at} has key {key}, which is not above the key before it, {before}")]
    KeyOrder {
        /// The leaf, or the root of the subtree that begins with it.
        at: NodeId,
        /// Its key, hex.
        key: String,
        /// The key of the leaf before it, hex.
        before: String,
    },
    /// An inner key is not the smallest key of the right subtree. The hash does not cover it, searches rely on it.
    #[error("inner node {at} has key {found}, the smallest key of its right subtree is {expected}")]
    InnerKey {
        /// The inner node.
        at: NodeId,
        /// Smallest key of the right subtree, hex.
        expected: String,
        /// Its key, hex.
        found: String,
    },
    /// Whoever takes the nodes gave up.
    #[error("the proven nodes could not be handed on")]
    Sink,
}

impl ProveError {
    /// The node it was found at, as far as one can be named.
    #[must_use]
    pub fn at(&self) -> Option<NodeId> {
        match self {
            ProveError::Read(_) | ProveError::Sink => None,
            ProveError::Missing(at)
            | ProveError::Malformed { at, .. }
            | ProveError::Legacy { at, .. }
            | ProveError::HashMismatch { at, .. }
            | ProveError::Shape { at, .. }
            | ProveError::KeyOrder { at, .. }
            | ProveError::InnerKey { at, .. } => Some(*at),
        }
    }
}

/// Proves the subtree under `claim` and hands its nodes to `sink` in post-order.
///
/// `budget` bounds the bytes of node records kept in memory, one record more in the worst case. `sink` returns false to
/// stop; it may have seen part of the subtree when an error is returned, but never a node that is not proven.
///
/// # Errors
/// The first thing that does not prove, or [`ProveError::Sink`].
pub fn prove<R: NodeReader + ?Sized>(
    reader: &mut R,
    claim: Claim,
    budget: usize,
    sink: &mut dyn FnMut(&ProvenNode<'_>) -> bool,
) -> Result<Proof, ProveError> {
    prove_in_pieces(&mut Forest::default(), reader, claim, 0, budget, sink)
}

/// As [`prove`], with buffers of the caller's, for a subtree that is expected to take `bytes` of memory: where that is more
/// than the budget it is cut without trying first.
///
/// # Errors
/// As [`prove`].
pub fn prove_in_pieces<R: NodeReader + ?Sized>(
    forest: &mut Forest,
    reader: &mut R,
    claim: Claim,
    bytes: u64,
    budget: usize,
    sink: &mut dyn FnMut(&ProvenNode<'_>) -> bool,
) -> Result<Proof, ProveError> {
    enum Task {
        Prove(Claim),
        /// With the bytes that are expected.
        Cut(Claim, u64),
        Join(Box<JoinNode>),
    }
    let task = |claim, bytes, leaves| {
        // A leaf cannot be cut, however large it is.
        if bytes > budget as u64 && leaves > 1 { Task::Cut(claim, bytes) } else { Task::Prove(claim) }
    };
    let mut order = KeyOrder::default();
    let mut done: Vec<Proof> = Vec::new();
    let leaves = if bytes > budget as u64 { Claimed::read(reader, claim.at)?.leaves } else { 1 };
    let mut tasks = vec![task(claim, bytes, leaves)];
    while let Some(next) = tasks.pop() {
        match next {
            Task::Prove(claim) => match forest.read(reader, &[claim], budget)? {
                Fit::Whole => {
                    for proof in forest.proofs() {
                        order.check(claim.at, proof)?;
                        done.push(proof.clone());
                    }
                    forest.hand_on(0, sink)?;
                }
                Fit::TooLarge { expected } => tasks.push(Task::Cut(claim, expected)),
            },
            Task::Cut(claim, bytes) => {
                let (node, [left, right]) = JoinNode::open(reader, claim)?;
                let share =
                    |leaves: u64| (u128::from(bytes) * u128::from(leaves) / u128::from(node.size.max(1))) as u64;
                let [left, right] = [left, right].map(|(claim, leaves)| task(claim, share(leaves), leaves));
                tasks.push(Task::Join(Box::new(node)));
                tasks.push(right);
                tasks.push(left);
            }
            Task::Join(node) => {
                let (Some(right), Some(left)) = (done.pop(), done.pop()) else {
                    return Err(ProveError::Shape { at: node.claim.at, what: "its subtrees were lost" });
                };
                done.push(node.close(left, right, sink)?);
            }
        }
    }
    done.pop().ok_or(ProveError::Missing(claim.at))
}

/// Proves one inner node from its children's records; the children's hashes are proven with it.
///
/// # Errors
/// As [`prove`]. A leaf is a [`ProveError::Shape`].
pub fn open_inner<R: NodeReader + ?Sized>(reader: &mut R, claim: Claim) -> Result<OpenedInner, ProveError> {
    let (node, [(left, _), (right, _)]) = JoinNode::open(reader, claim)?;
    let (left_version, right_version) = (node.left.1, node.right.1);
    let JoinNode { version, height, size, key, .. } = node;
    Ok(OpenedInner { version, height, size, key, left, left_version, right, right_version })
}

/// An inner node proven by [`open_inner`].
#[derive(Clone, Debug)]
pub struct OpenedInner {
    /// The version that made it.
    pub version: Version,
    /// Height, from 1.
    pub height: u8,
    /// Leaves below; proven, because the hash covers it.
    pub size: u64,
    /// The inner key; not proven, because no hash covers it.
    pub key: Vec<u8>,
    /// Left child.
    pub left: Claim,
    /// The version that made it.
    pub left_version: Version,
    /// Right child.
    pub right: Claim,
    /// The version that made it.
    pub right_version: Version,
}

/// Leaf keys must ascend strictly over everything that is handed on.
#[derive(Default)]
pub(super) struct KeyOrder {
    last: Option<Vec<u8>>,
}

impl KeyOrder {
    /// Checks that a subtree begins above where the one before it ended.
    fn check(&mut self, at: NodeId, proof: &Proof) -> Result<(), ProveError> {
        if let Some(last) = &self.last {
            KeyOrder::compare(at, &proof.first_key, last)?;
        }
        self.last = Some(proof.last_key.clone());
        Ok(())
    }

    pub(super) fn compare(at: NodeId, key: &[u8], before: &[u8]) -> Result<(), ProveError> {
        if key > before {
            return Ok(());
        }
        Err(ProveError::KeyOrder { at, key: to_hex(key), before: to_hex(before) })
    }
}

/// An inner node above pieces, kept while its two subtrees are proven.
struct JoinNode {
    claim: Claim,
    version: Version,
    height: u8,
    size: u64,
    key: Vec<u8>,
    left: (NodeId, Version),
    right: (NodeId, Version),
}

impl JoinNode {
    /// Opens a node; its children come with the leaves they say they have.
    fn open<R: NodeReader + ?Sized>(reader: &mut R, claim: Claim) -> Result<(JoinNode, [(Claim, u64); 2]), ProveError> {
        let at = claim.at;
        let mut record = Vec::new();
        read_record(reader, at, &mut record)?;
        let (version, node) = decode(at, &record)?;
        let Node::Inner { height, size, key, hash, left: left_at, right: right_at } = node else {
            return Err(ProveError::Shape { at, what: "an inner node was expected, it is a leaf" });
        };
        if hash != claim.hash {
            // What the record keeps is what Go takes for the node's hash.
            return Err(ProveError::HashMismatch { at, expected: claim.hash, found: hash });
        }
        let left = Claimed::read(reader, left_at)?;
        let right = Claimed::read(reader, right_at)?;
        check_versions(at, version, left.version, right.version)?;
        let found = inner_hash(height, size, version, &left.hash, &right.hash);
        if found != claim.hash {
            return Err(ProveError::HashMismatch { at, expected: claim.hash, found });
        }
        let children = [(left_at, &left), (right_at, &right)];
        let children = children.map(|(at, child)| (Claim { at, hash: child.hash }, child.leaves));
        let (left, right) = ((left_at, left.version), (right_at, right.version));
        Ok((JoinNode { claim, version, height, size, key: key.to_vec(), left, right }, children))
    }

    fn close(
        &self,
        left: Proof,
        right: Proof,
        sink: &mut dyn FnMut(&ProvenNode<'_>) -> bool,
    ) -> Result<Proof, ProveError> {
        let at = self.claim.at;
        check_shape(at, self.height, self.size, (left.height, left.leaves), (right.height, right.leaves))?;
        check_inner_key(at, &self.key, &right.first_key)?;
        let children = ProvenChildren {
            left: self.left.0,
            left_version: self.left.1,
            right: self.right.0,
            right_version: self.right.1,
            right_size: right.leaves,
        };
        let node = ProvenNode {
            at,
            version: self.version,
            height: self.height,
            size: self.size,
            key: &self.key,
            value: &[],
            hash: self.claim.hash,
            children: Some(children),
        };
        if !sink(&node) {
            return Err(ProveError::Sink);
        }
        Ok(Proof { leaves: self.size, height: self.height, first_key: left.first_key, last_key: right.last_key })
    }
}

/// What a record stands for.
struct Claimed {
    version: Version,
    /// Computed for a leaf, recorded for an inner node.
    hash: Hash,
    /// The leaves it says it has.
    leaves: u64,
}

impl Claimed {
    fn read<R: NodeReader + ?Sized>(reader: &mut R, at: NodeId) -> Result<Claimed, ProveError> {
        let mut record = Vec::new();
        read_record(reader, at, &mut record)?;
        let (version, node) = decode(at, &record)?;
        Ok(match node {
            Node::Leaf { key, value } => Claimed { version, hash: leaf_hash(version, key, value), leaves: 1 },
            Node::Inner { hash, size, .. } => Claimed { version, hash, leaves: size },
        })
    }
}

/// Appends the record of a node, whichever kind it is.
pub(super) fn read_record<R: NodeReader + ?Sized>(
    reader: &mut R,
    at: NodeId,
    out: &mut Vec<u8>,
) -> Result<(), ProveError> {
    let is_there = match &at {
        NodeId::Current(key) => reader.read(*key, out)?,
        NodeId::Legacy(hash) => reader.read_legacy(hash, out)?,
    };
    if is_there { Ok(()) } else { Err(ProveError::Missing(at)) }
}

/// The version that made a node, and the node.
#[inline]
pub(super) fn decode(at: NodeId, record: &[u8]) -> Result<(Version, Node<'_>), ProveError> {
    let decoded = match at {
        NodeId::Current(key) => Node::decode(record).map(|node| (key.version, node)),
        NodeId::Legacy(hash) => legacy::decode(hash, record),
    };
    decoded.map_err(|why| ProveError::Malformed { at, why })
}

pub(super) fn check_versions(at: NodeId, version: Version, left: Version, right: Version) -> Result<(), ProveError> {
    if left > version || right > version {
        return Err(ProveError::Shape { at, what: "a child is newer than its parent" });
    }
    Ok(())
}

pub(super) fn check_shape(
    at: NodeId,
    height: u8,
    size: u64,
    left: (u8, u64),
    right: (u8, u64),
) -> Result<(), ProveError> {
    let what = if left.1.checked_add(right.1) != Some(size) {
        "its size is not the sum of its children's"
    } else if u16::from(left.0.max(right.0)) + 1 != u16::from(height) {
        "its height is not one above its higher child's"
    } else {
        return Ok(());
    };
    Err(ProveError::Shape { at, what })
}

pub(super) fn check_inner_key(at: NodeId, found: &[u8], expected: &[u8]) -> Result<(), ProveError> {
    if found == expected {
        return Ok(());
    }
    Err(ProveError::InnerKey { at, expected: to_hex(expected), found: to_hex(found) })
}
