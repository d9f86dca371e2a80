//! What is known of a subtree once it was walked over, and how a record becomes a node.

use super::finding::Finding;
use crate::{
    iavl::{Node, NodeId, legacy},
    model::{Hash, Version},
};

/// What a node's parent has to know of it.
#[derive(Clone, Debug)]
pub(super) struct Below {
    pub at: NodeId,
    /// Counted.
    pub leaves: u64,
    /// Counted.
    pub height: u8,
    /// The hash that its record keeps; of a leaf, the one its content gives.
    pub recorded: Hash,
    /// The hash that its content and its children give.
    pub computed: Hash,
    pub first: First,
    pub is_sound: bool,
    /// What is to be said if `recorded` is right and `computed` is not.
    pub wrong: Option<Finding>,
    /// Whether its damage was told when it was met before: its hash may be wrong.
    pub was_told: bool,
}

/// The smallest key below a node.
#[derive(Clone, Debug)]
pub(super) enum First {
    Known(Vec<u8>),
    /// To be looked for.
    Look,
    /// Damage is in the way.
    Unknown,
}

impl Below {
    pub fn is_consistent(&self) -> bool {
        self.recorded == self.computed
    }
}

/// A subtree that was proven, or not, before.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub is_sound: bool,
    pub first: Option<Vec<u8>>,
}

/// The version that made a node, and the node; or what is wrong with the record.
pub(super) fn decode(at: NodeId, record: &[u8]) -> Result<(Version, Node<'_>), String> {
    if record.is_empty() {
        return Err("has an empty record".to_owned());
    }
    let decoded = match at {
        NodeId::Current(key) => Node::decode(record).map(|node| (key.version, node)),
        NodeId::Legacy(hash) => legacy::decode(hash, record),
    };
    decoded.map_err(|why| format!("has a record that is {why}").replace("is not a node record", "is none"))
}
