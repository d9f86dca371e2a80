//! Nodes in memory and the links between them. A link is read on first use and checked against the node above it.

use super::{
    super::{Node, NodeId, NodeKey, NodeReader, leaf_hash, node::MAX_HEIGHT},
    TreeError,
};
use crate::model::{Hash, Version};

/// A node of the tree as its parent holds it.
#[derive(Debug)]
pub(super) enum Link {
    /// Where the node is; it has not been read, or was dropped from memory.
    Stored(NodeKey),
    /// The node in memory.
    Loaded(Box<Resident>),
}

/// A node in memory.
#[derive(Debug)]
pub(super) struct Resident {
    /// Where it is stored and its hash; `None` for a node of the version that is being made.
    pub stored: Option<(NodeKey, Hash)>,
    /// Height above the leaves.
    pub height: u8,
    /// Leaves below, 1 for a leaf.
    pub size: u64,
    /// Key of the leaf, or smallest key of the right subtree.
    pub key: Box<[u8]>,
    pub body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// A leaf. Of a new one the record to be written; nothing needs the value of a stored one.
    Leaf {
        record: Vec<u8>,
    },
    Inner {
        left: Link,
        right: Link,
    },
}

impl Default for Link {
    /// The gap a link leaves while it is moved. No node has this key.
    fn default() -> Link {
        Link::Stored(NodeKey::new(Version(0), 0))
    }
}

/// What names nodes that do not have a key yet in errors.
pub(super) const UNSAVED: NodeKey = NodeKey { version: Version(0), nonce: 0 };

/// Where links are read from.
pub(super) struct Source<'a, R> {
    pub reader: &'a mut R,
    pub scratch: &'a mut Vec<u8>,
    /// Count of nodes in memory.
    pub resident: &'a mut usize,
    /// The version of the tree, which no node in it exceeds.
    pub newest: Version,
}

/// What a parent promises about a node below it.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    /// The greatest height.
    pub height: u8,
    /// The newest version.
    pub version: Version,
}

impl Limit {
    /// The limit for a root.
    pub fn root(version: Version) -> Limit {
        Limit { height: MAX_HEIGHT, version }
    }
}

impl<R: NodeReader> Source<'_, R> {
    /// The node behind a link, read if need be.
    pub fn load<'l>(&mut self, link: &'l mut Link, limit: Limit) -> Result<&'l mut Resident, TreeError> {
        if let Link::Stored(at) = *link {
            *link = Link::Loaded(Box::new(self.read(at, limit)?));
            *self.resident += 1;
        }
        link.node_mut().ok_or(TreeError::Broken)
    }

    fn read(&mut self, at: NodeKey, limit: Limit) -> Result<Resident, TreeError> {
        self.scratch.clear();
        if !self.reader.read(at, self.scratch)? {
            return Err(TreeError::Missing(at));
        }
        let shape = |what| Err(TreeError::Shape { at, what });
        if at.version > limit.version {
            return shape("it is newer than the node or the tree above it");
        }
        let node = match Node::decode(self.scratch).map_err(|why| TreeError::Malformed { at, why })? {
            Node::Leaf { key, value } => Resident {
                stored: Some((at, leaf_hash(at.version, key, value))),
                height: 0,
                size: 1,
                key: key.into(),
                body: Body::Leaf { record: Vec::new() },
            },
            Node::Inner { height, size, key, hash, left, right } => Resident {
                stored: Some((at, hash)),
                height,
                size,
                key: key.into(),
                body: Body::Inner { left: named(at, left)?, right: named(at, right)? },
            },
        };
        // Heights fall strictly, so that a cycle of records ends and no path is longer than the greatest height.
        if node.height > limit.height {
            return shape("it is not lower than the node above it");
        }
        Ok(node)
    }
}

fn named(at: NodeKey, child: NodeId) -> Result<Link, TreeError> {
    match child {
        NodeId::Current(key) => Ok(Link::Stored(key)),
        NodeId::Legacy(child) => Err(TreeError::Legacy { at, child }),
    }
}

impl Link {
    /// The node, if it is in memory.
    pub fn node(&self) -> Option<&Resident> {
        match self {
            Link::Loaded(node) => Some(node),
            Link::Stored(_) => None,
        }
    }

    /// The node, if it is in memory.
    pub fn node_mut(&mut self) -> Option<&mut Resident> {
        match self {
            Link::Loaded(node) => Some(node),
            Link::Stored(_) => None,
        }
    }
}

impl Resident {
    /// A leaf of the version being made.
    pub fn new_leaf(key: &[u8], value: &[u8]) -> Resident {
        let mut leaf = Resident { stored: None, height: 0, size: 1, key: key.into(), body: Body::empty_leaf() };
        leaf.set_value(value);
        leaf
    }

    /// Turns a leaf into one of the version being made.
    pub fn set_value(&mut self, value: &[u8]) {
        let mut record = Vec::with_capacity(self.key.len() + value.len() + 8);
        Node::Leaf { key: &self.key, value }.encode(&mut record);
        self.stored = None;
        self.body = Body::Leaf { record };
    }

    /// What can be promised about the children. Children of a new node may be of any version up to the tree's.
    pub fn limit(&self, newest: Version) -> Limit {
        Limit {
            height: self.height.saturating_sub(1),
            version: self.stored.map_or(newest, |(at, _)| at.version.min(newest)),
        }
    }

    /// Where it is stored, for errors.
    pub fn at(&self) -> NodeKey {
        self.stored.map_or(UNSAVED, |(at, _)| at)
    }
}

impl Body {
    /// A leaf without a record.
    pub fn empty_leaf() -> Body {
        Body::Leaf { record: Vec::new() }
    }
}
