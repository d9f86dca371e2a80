//! Which of three records was altered, where a node's hash is not that of its children.
//!
//! Pure. Presumes that the hash the node's record keeps is right: its parent confirms that, or the record is accused there.

use super::{
    below::Below,
    finding::{Finding, Kind},
};
use crate::{
    iavl::{NodeId, ProveError, inner_hash},
    model::{Hash, Version},
};

/// An inner node, read and not judged yet.
pub(super) struct Inner {
    pub at: NodeId,
    pub version: Version,
    pub height: u8,
    pub size: u64,
    pub key: Vec<u8>,
    pub recorded: Hash,
}

impl Inner {
    fn hash(&self, height: u8, size: u64, left: &Hash, right: &Hash) -> Hash {
        inner_hash(height, size, self.version, left, right)
    }

    /// Whether size or height are not those of the subtree, although the hash covers them.
    pub fn misshaped(&self, leaves: u64, height: u8) -> Option<Finding> {
        if self.size != leaves {
            return Some(self.wrong_size(leaves));
        }
        (self.height != height).then(|| self.wrong_height(height))
    }

    fn wrong_size(&self, leaves: u64) -> Finding {
        let words = format!("node {} says it has {} keys below, it has {leaves}", self.at, self.size);
        Finding::new(Kind::WrongSize, words).node(self.at)
    }

    fn wrong_height(&self, height: u8) -> Finding {
        let words = format!("node {} says it is {} high, it is {height}", self.at, self.height);
        Finding::new(Kind::WrongHeight, words).node(self.at)
    }
}

/// Which record is to blame for a node whose hash is not that of its children. Given are the smallest keys below the children,
/// as far as known, and the smallest key that belongs below the node.
pub(super) fn accuse(
    node: &Inner,
    [left, right]: [&Below; 2],
    [first_left, first_right]: [Option<Vec<u8>>; 2],
    low: Option<&[u8]>,
) -> Finding {
    let (at, is_right) = (node.at, node.recorded);
    let (l, r) = (&left.recorded, &right.recorded);
    let (leaves, height) = (left.leaves.saturating_add(right.leaves), left.height.max(right.height).saturating_add(1));
    if node.hash(node.height, leaves, l, r) == is_right {
        return node.wrong_size(leaves);
    }
    if node.hash(height, node.size, l, r) == is_right {
        return node.wrong_height(height);
    }
    if node.hash(node.height, node.size, r, l) == is_right {
        let words = format!("the children of node {at}, {} and {}, are exchanged", left.at, right.at);
        return Finding::new(Kind::WrongOrder, words).node(at);
    }
    // A current node does not say which hashes its children must have, a legacy one names them by it.
    let is_inner = |child: &Below| child.height > 0;
    if at.key().is_some() && left.is_sound && right.is_sound {
        let fits = node.size == leaves && node.height == height;
        // A subtree that is sound by itself and begins elsewhere belongs elsewhere.
        let is_astray = |child: &Below, first: &Option<Vec<u8>>, low: Option<&[u8]>| {
            is_inner(child) && low.is_some() && first.is_some() && first.as_deref() != low
        };
        let is_right_of = first_left.as_ref().is_some_and(|first| *first >= node.key);
        let is_astray = is_astray(left, &first_left, low)
            || is_astray(right, &first_right, Some(&node.key))
            || (is_inner(left) && is_right_of);
        if (is_inner(left) && is_inner(right)) || !fits || is_astray {
            let words = format!(
                "node {at} points to {} and {}, each sound by itself, and has the hash of others: a pointer leads astray",
                left.at, right.at
            );
            return Finding::new(Kind::WrongChild, words).node(at);
        }
        let suspect = match (is_inner(left), is_inner(right)) {
            (false, true) => Some(left),
            (true, false) => Some(right),
            // The smallest key on the right is known: it is the node's own.
            (false, false) if first_right.is_some_and(|first| first != node.key) => Some(right),
            (false, false) if low.is_some() && first_left.as_deref() != low => Some(left),
            _ => None,
        };
        if let Some(leaf) = suspect {
            let words =
                format!("key or value of leaf {} was altered: its parent {at} has the hash of another", leaf.at);
            return Finding::new(Kind::WrongHash, words).node(leaf.at).parent(Some(at));
        }
    }
    let words = if at.key().is_some() {
        format!(
            "the hash of node {at} is not that of its children {} and {}: one of the three records was altered",
            left.at, right.at
        )
    } else {
        format!("the record of node {at} has another hash than the one it is kept under: it was altered")
    };
    Finding::new(Kind::WrongHash, words).node(at)
}

/// A record that keeps a wrong hash while all around it is right.
pub(super) fn altered_hash(below: &Below, above: &str) -> Finding {
    let (at, recorded, computed) = (below.at, below.recorded, below.computed);
    let words = format!("the record of node {at} keeps the hash {recorded}; its children and {above} give {computed}");
    Finding::new(Kind::WrongHash, words).node(at)
}

/// What a proof objects to, as a finding.
pub(super) fn of_proof(why: &ProveError) -> Finding {
    let kind = match why {
        ProveError::Read(_) | ProveError::Sink => Kind::Unreadable,
        ProveError::Missing(_) => Kind::MissingNode,
        ProveError::Malformed { .. } => Kind::BadRecord,
        ProveError::Legacy { .. } => Kind::WrongChild,
        ProveError::HashMismatch { .. } => Kind::WrongHash,
        ProveError::Shape { .. } => Kind::WrongSize,
        ProveError::KeyOrder { .. } => Kind::WrongOrder,
        ProveError::InnerKey { .. } => Kind::WrongInnerKey,
    };
    let finding = Finding::new(kind, why.to_string());
    match why.at() {
        Some(at) => finding.node(at),
        None => finding,
    }
}
