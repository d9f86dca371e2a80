//! Proving a subtree: every node is read, checked against what is already proven above it, and only then handed on.
//!
//! Works on the source and on the target alike. Hands the proven nodes on in post-order, which is the order of their
//! ordinals. What the Merkle hash does not cover (inner keys, the order of leaf keys) is checked here too.
//!
//! A subtree is read into memory whole, in the order its records lie on disk, and if that takes more than the budget
//! it is cut into its two halves and each is proven on its own; so memory is bounded by the budget plus one record.

use super::{
    Child, Node, NodeKey, NodeReader, ReadError,
    forest::{Fit, Forest},
    node::{NodeError, inner_hash, leaf_hash},
};
use crate::model::{Hash, to_hex};

/// What is known of a node before it is read: where it is and which hash it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where the node is.
    pub key: NodeKey,
    /// The Merkle hash it must have.
    pub hash: Hash,
}

/// A node whose hash, size, height and key order are proven.
#[derive(Clone, Copy, Debug)]
pub struct ProvenNode<'a> {
    /// Where it was read.
    pub at: NodeKey,
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
    pub left: NodeKey,
    /// Where the right child was read.
    pub right: NodeKey,
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
    #[error(
        "node {at} refers to a legacy node (IAVL 0.20 or older, kept under its hash {child}); \
         this release migrates IAVL 1.x trees only"
    )]
    Legacy {
        /// The inner node.
        at: NodeKey,
        /// Hash of the legacy child.
        child: Hash,
    },
    /// The node is not the one the tree above it was built on.
    #[error("node {at} has hash {found}, the tree above it needs {expected}")]
    HashMismatch {
        /// Where it was read.
        at: NodeKey,
        /// What the proven part of the tree says.
        expected: Hash,
        /// What the record gives.
        found: Hash,
    },
    /// Sizes, heights or versions that no IAVL tree has.
    #[error("node {at}: {what}")]
    Shape {
        /// The inner node.
        at: NodeKey,
        /// What is impossible about it.
        what: &'static str,
    },
    /// Leaf keys do not ascend.
    #[error("leaf {at} has key {key}, which is not above the key before it, {before}")]
    KeyOrder {
        /// The leaf, or the root of the subtree that begins with it.
        at: NodeKey,
        /// Its key, hex.
        key: String,
        /// The key of the leaf before it, hex.
        before: String,
    },
    /// An inner key is not the smallest key of the right subtree. The hash does not cover it, searches rely on it.
    #[error("inner node {at} has key {found}, the smallest key of its right subtree is {expected}")]
    InnerKey {
        /// The inner node.
        at: NodeKey,
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
    pub fn at(&self) -> Option<NodeKey> {
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
    let leaves = if bytes > budget as u64 { claimed(reader, claim.key)?.1 } else { 1 };
    let mut tasks = vec![task(claim, bytes, leaves)];
    while let Some(next) = tasks.pop() {
        match next {
            Task::Prove(claim) => match forest.read(reader, &[claim], budget)? {
                Fit::Whole => {
                    for proof in forest.proofs() {
                        order.check(claim.key, proof)?;
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
                    return Err(ProveError::Shape { at: node.claim.key, what: "its subtrees were lost" });
                };
                done.push(node.close(left, right, sink)?);
            }
        }
    }
    done.pop().ok_or(ProveError::Missing(claim.key))
}

/// Proves one inner node from its children's records; the children's hashes are proven with it.
///
/// # Errors
/// As [`prove`]. A leaf is a [`ProveError::Shape`].
pub fn open_inner<R: NodeReader + ?Sized>(reader: &mut R, claim: Claim) -> Result<OpenedInner, ProveError> {
    let (node, [(left, _), (right, _)]) = JoinNode::open(reader, claim)?;
    Ok(OpenedInner { height: node.height, size: node.size, key: node.key, left, right })
}

/// An inner node proven by [`open_inner`].
#[derive(Clone, Debug)]
pub struct OpenedInner {
    /// Height, from 1.
    pub height: u8,
    /// Leaves below; proven, because the hash covers it.
    pub size: u64,
    /// The inner key; not proven, because no hash covers it.
    pub key: Vec<u8>,
    /// Left child.
    pub left: Claim,
    /// Right child.
    pub right: Claim,
}

/// Leaf keys must ascend strictly over everything that is handed on.
#[derive(Default)]
pub(super) struct KeyOrder {
    last: Option<Vec<u8>>,
}

impl KeyOrder {
    /// Checks that a subtree begins above where the one before it ended.
    fn check(&mut self, at: NodeKey, proof: &Proof) -> Result<(), ProveError> {
        if let Some(last) = &self.last {
            KeyOrder::compare(at, &proof.first_key, last)?;
        }
        self.last = Some(proof.last_key.clone());
        Ok(())
    }

    pub(super) fn compare(at: NodeKey, key: &[u8], before: &[u8]) -> Result<(), ProveError> {
        if key > before {
            return Ok(());
        }
        Err(ProveError::KeyOrder { at, key: to_hex(key), before: to_hex(before) })
    }
}

/// An inner node above pieces, kept while its two subtrees are proven.
struct JoinNode {
    claim: Claim,
    height: u8,
    size: u64,
    key: Vec<u8>,
    left: NodeKey,
    right: NodeKey,
}

impl JoinNode {
    /// Opens a node; its children come with the leaves they say they have.
    fn open<R: NodeReader + ?Sized>(reader: &mut R, claim: Claim) -> Result<(JoinNode, [(Claim, u64); 2]), ProveError> {
        let at = claim.key;
        let mut record = Vec::new();
        read_record(reader, at, &mut record)?;
        let Node::Inner { height, size, key, hash, left, right } = decode(at, &record)? else {
            return Err(ProveError::Shape { at, what: "an inner node was expected, it is a leaf" });
        };
        let (left, right) = (current(at, left)?, current(at, right)?);
        check_versions(at, left, right)?;
        if hash != claim.hash {
            // What the record keeps is what Go takes for the node's hash.
            return Err(ProveError::HashMismatch { at, expected: claim.hash, found: hash });
        }
        let (left_hash, left_leaves) = claimed(reader, left)?;
        let (right_hash, right_leaves) = claimed(reader, right)?;
        let found = inner_hash(height, size, at.version, &left_hash, &right_hash);
        if found != claim.hash {
            return Err(ProveError::HashMismatch { at, expected: claim.hash, found });
        }
        let children = [(left, left_hash, left_leaves), (right, right_hash, right_leaves)];
        let node = JoinNode { claim, height, size, key: key.to_vec(), left, right };
        Ok((node, children.map(|(key, hash, leaves)| (Claim { key, hash }, leaves))))
    }

    fn close(
        &self,
        left: Proof,
        right: Proof,
        sink: &mut dyn FnMut(&ProvenNode<'_>) -> bool,
    ) -> Result<Proof, ProveError> {
        let at = self.claim.key;
        check_shape(at, self.height, self.size, (left.height, left.leaves), (right.height, right.leaves))?;
        check_inner_key(at, &self.key, &right.first_key)?;
        let children = ProvenChildren { left: self.left, right: self.right, right_size: right.leaves };
        let node = ProvenNode {
            at,
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

pub(super) fn read_record<R: NodeReader + ?Sized>(
    reader: &mut R,
    at: NodeKey,
    out: &mut Vec<u8>,
) -> Result<(), ProveError> {
    if reader.read(at, out)? { Ok(()) } else { Err(ProveError::Missing(at)) }
}

pub(super) fn decode(at: NodeKey, record: &[u8]) -> Result<Node<'_>, ProveError> {
    Node::decode(record).map_err(|why| ProveError::Malformed { at, why })
}

pub(super) fn current(at: NodeKey, child: Child) -> Result<NodeKey, ProveError> {
    match child {
        Child::Current(key) => Ok(key),
        Child::Legacy(child) => Err(ProveError::Legacy { at, child }),
    }
}

/// The hash a record stands for, computed for a leaf, recorded for an inner node; and the leaves it says it has.
fn claimed<R: NodeReader + ?Sized>(reader: &mut R, at: NodeKey) -> Result<(Hash, u64), ProveError> {
    let mut record = Vec::new();
    read_record(reader, at, &mut record)?;
    Ok(match decode(at, &record)? {
        Node::Leaf { key, value } => (leaf_hash(at.version, key, value), 1),
        Node::Inner { hash, size, .. } => (hash, size),
    })
}

pub(super) fn check_versions(at: NodeKey, left: NodeKey, right: NodeKey) -> Result<(), ProveError> {
    if left.version > at.version || right.version > at.version {
        return Err(ProveError::Shape { at, what: "a child is newer than its parent" });
    }
    Ok(())
}

pub(super) fn check_shape(
    at: NodeKey,
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

pub(super) fn check_inner_key(at: NodeKey, found: &[u8], expected: &[u8]) -> Result<(), ProveError> {
    if found == expected {
        return Ok(());
    }
    Err(ProveError::InnerKey { at, expected: to_hex(expected), found: to_hex(found) })
}
