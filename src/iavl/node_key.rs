//! Node keys: where a node of the tree is stored.

use crate::model::Version;
use std::fmt;

/// (version, nonce): the version that created a node and its number among the nodes of that version.
///
/// On disk `s` ‖ BE8 version ‖ BE4 nonce, behind the store's prefix (IAVL 1.x `node.go`, `keyformat`). Ordered by
/// version, then nonce, which is also the order on disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey {
    /// The version that created the node.
    pub version: Version,
    /// Its number within the version, from 1. 0 is a root re-encoded by pruning or from the legacy format.
    pub nonce: u32,
}

impl NodeKey {
    /// Length of an encoded node key with its leading `s`.
    pub const LEN: usize = 13;

    /// The key with this version and nonce.
    #[must_use]
    pub fn new(version: Version, nonce: u32) -> NodeKey {
        NodeKey { version, nonce }
    }

    /// The key under which the root of a version is looked up.
    #[must_use]
    pub fn root_of(version: Version) -> NodeKey {
        NodeKey { version, nonce: 1 }
    }

    /// The record key: `s` ‖ BE8 version ‖ BE4 nonce.
    #[must_use]
    pub fn to_bytes(self) -> [u8; NodeKey::LEN] {
        let mut bytes = [b's'; NodeKey::LEN];
        if let Some(slot) = bytes.get_mut(1..9) {
            slot.copy_from_slice(&self.version.0.to_be_bytes());
        }
        if let Some(slot) = bytes.get_mut(9..13) {
            slot.copy_from_slice(&self.nonce.to_be_bytes());
        }
        bytes
    }

    /// Reads a record key; `None` if it is not one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<NodeKey> {
        let bytes: &[u8; NodeKey::LEN] = bytes.try_into().ok()?;
        let [b's', rest @ ..] = bytes else { return None };
        let (version, nonce) = rest.split_at(8);
        Some(NodeKey {
            version: Version(u64::from_be_bytes(version.try_into().ok()?)),
            nonce: u32::from_be_bytes(nonce.try_into().ok()?),
        })
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.version, self.nonce)
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
