//! How a tree names a node.

use super::NodeKey;
use crate::model::Hash;
use std::fmt;

/// A node of IAVL 1.x is kept under its key, one that IAVL up to 0.20 wrote under its hash. A database that was carried over
/// has both in one tree: current nodes above, legacy ones below; never the other way round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeId {
    /// `s` ‖ BE8 version ‖ BE4 nonce.
    Current(NodeKey),
    /// `n` ‖ hash.
    Legacy(Hash),
}

impl NodeId {
    /// The node's key, if it has one.
    #[must_use]
    pub fn key(self) -> Option<NodeKey> {
        match self {
            NodeId::Current(key) => Some(key),
            NodeId::Legacy(_) => None,
        }
    }

    /// Whether two names mean the same node: pruning renames the root (version, 1) to (version, 0); children and references go
    /// on naming it as they did.
    #[must_use]
    pub fn is_same(self, other: NodeId) -> bool {
        self.plain() == other.plain()
    }

    /// The name that all names of a node have in common.
    #[must_use]
    pub fn plain(self) -> NodeId {
        match self {
            NodeId::Current(key) => NodeId::Current(NodeKey { nonce: key.nonce.max(1), ..key }),
            legacy @ NodeId::Legacy(_) => legacy,
        }
    }
}

impl From<NodeKey> for NodeId {
    fn from(key: NodeKey) -> NodeId {
        NodeId::Current(key)
    }
}

impl PartialEq<NodeKey> for NodeId {
    fn eq(&self, key: &NodeKey) -> bool {
        self.key() == Some(*key)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeId::Current(key) => key.fmt(f),
            NodeId::Legacy(hash) => write!(f, "legacy {hash}"),
        }
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
