//! Where migrated nodes lie in SC: numbering by post-order ordinal.
//!
//! A node's nonce is its post-order ordinal in its store's tree, plus 2; key (H, 1) is always a 13-byte reference to
//! the root. So every subtree knows its node keys from its first ordinal alone, in any order and without counters, and
//! no root looks like a version below H (which the Go importer's numbering does, and which can stop pruning for ever).

use super::{Node, NodeId, NodeKey, prove::ProvenNode};
use crate::model::{Hash, Version};

/// Nonces 0 and 1 have meanings of their own, so ordinals start here.
const FIRST_NONCE: u64 = 2;

/// Most leaves a store may have: its 2n - 1 nodes must fit 32-bit nonces from 2 on.
pub const MAX_LEAVES: u64 = 1 << 31;

/// The key in SC of the node with this ordinal; `None` if the nonce does not fit 32 bits.
#[must_use]
pub fn node_key(version: Version, ordinal: u64) -> Option<NodeKey> {
    let nonce = ordinal.checked_add(FIRST_NONCE).and_then(|nonce| u32::try_from(nonce).ok())?;
    Some(NodeKey::new(version, nonce))
}

/// The ordinal of the node with this nonce; `None` for the nonces that have meanings of their own.
#[must_use]
pub fn ordinal(nonce: u32) -> Option<u64> {
    u64::from(nonce).checked_sub(FIRST_NONCE)
}

/// The ordinal of the left child of a node.
#[must_use]
pub fn left_ordinal(ordinal: u64, right_size: u64) -> u64 {
    ordinal.saturating_sub(right_size.saturating_mul(2))
}

/// The ordinal of the right child of a node.
#[must_use]
pub fn right_ordinal(ordinal: u64) -> u64 {
    ordinal.saturating_sub(1)
}

/// Appends the SC record of a proven node with this ordinal and returns its key; `None` if a nonce does not fit.
pub fn encode_record(node: &ProvenNode<'_>, ordinal: u64, out: &mut Vec<u8>) -> Option<NodeKey> {
    let Some(children) = node.children else {
        Node::Leaf { key: node.key, value: node.value }.encode(out);
        return node_key(node.version, ordinal);
    };
    let record = InnerRecord {
        version: node.version,
        height: node.height,
        size: node.size,
        key: node.key,
        hash: node.hash,
        left_version: children.left_version,
        right_version: children.right_version,
        right_size: children.right_size,
    };
    record.encode(ordinal, out)
}

/// What the SC record of an inner node is made of, beside its ordinal.
pub(super) struct InnerRecord<'a> {
    pub version: Version,
    pub height: u8,
    pub size: u64,
    pub key: &'a [u8],
    pub hash: Hash,
    pub left_version: Version,
    pub right_version: Version,
    pub right_size: u64,
}

impl InnerRecord<'_> {
    /// As [`encode_record`].
    pub fn encode(&self, ordinal: u64, out: &mut Vec<u8>) -> Option<NodeKey> {
        let left = node_key(self.left_version, left_ordinal(ordinal, self.right_size))?;
        let right = node_key(self.right_version, right_ordinal(ordinal))?;
        let (left, right) = (NodeId::Current(left), NodeId::Current(right));
        let InnerRecord { height, size, key, hash, .. } = *self;
        Node::Inner { height, size, key, hash, left, right }.encode(out);
        node_key(self.version, ordinal)
    }
}
