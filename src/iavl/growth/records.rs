//! The records that SC needs of a stretch: those of store/v1, with SC's keys where they name a node of the base.

use super::{
    super::{Node, NodeId, NodeKey, RecordStream},
    Grown, Growth, Link, Place, Trunk,
};
use crate::model::{Hash, Version};

impl Growth {
    /// The records of all its versions, in the order of SC, root records included.
    pub fn records(&self) -> Records<'_> {
        Records { growth: self, number: 0, index: 0, record: Vec::new() }
    }

    /// The tree that the stretch ends with, for the next one to grow on.
    #[must_use]
    pub fn trunk(&self) -> Option<Trunk> {
        let number = self.versions.len().checked_sub(1)?;
        let root = self.versions.get(number)?.root;
        let version = self.version(number);
        if root == Link::NONE {
            return Some(Trunk { version, hash: Hash::EMPTY, root: None });
        }
        let hash = self.below(root).ok()?.hash;
        Some(Trunk { version, hash, root: Some(self.keys(root)?) })
    }

    fn version(&self, number: usize) -> Version {
        Version(self.from.0 + number as u64 + 1)
    }

    /// Where a node lies in store/v1 and in SC.
    fn keys(&self, link: Link) -> Option<(NodeId, NodeId)> {
        match link.place() {
            Place::Nowhere => None,
            Place::Base(index) => self.base.keys(index),
            Place::Grown(index) => {
                let number = self.versions.partition_point(|stage| stage.nodes as usize <= index);
                let nonce = (index - self.range(number).start) as u32 + 1;
                let key = NodeKey::new(self.version(number), nonce);
                Some((key.into(), key.into()))
            }
        }
    }
}

/// Hands out SC records, ascending.
pub struct Records<'a> {
    growth: &'a Growth,
    /// The version, counted from 0, and its next node.
    number: usize,
    index: usize,
    record: Vec<u8>,
}

impl Records<'_> {
    fn encode(&mut self, node: &Grown) -> Option<()> {
        let child = |link| self.growth.keys(link).map(|(_, target)| target);
        let node = Node::Inner {
            height: node.height,
            size: node.size,
            key: self.growth.key(node),
            hash: node.hash,
            left: child(node.left)?,
            right: child(node.right)?,
        };
        self.record.clear();
        node.encode(&mut self.record);
        Some(())
    }
}

impl RecordStream for Records<'_> {
    fn next(&mut self) -> Option<(NodeKey, &[u8])> {
        let growth = self.growth;
        let nodes = growth.range(self.number);
        if !nodes.is_empty() && self.index == nodes.end {
            self.number += 1;
            return self.next();
        }
        let version = growth.version(self.number);
        if nodes.is_empty() {
            let root = growth.versions.get(self.number)?.root;
            self.number += 1;
            self.record.clear();
            if root != Link::NONE {
                self.record.extend_from_slice(&growth.keys(root)?.1.key()?.to_bytes());
            }
            return Some((NodeKey::root_of(version), &self.record));
        }
        let node = growth.nodes.get(self.index)?;
        let at = NodeKey::new(version, (self.index - nodes.start) as u32 + 1);
        self.index += 1;
        if node.height == 0 {
            // A leaf's record says nothing of where it lies: the source's is SC's.
            return Some((at, growth.record(node)));
        }
        self.encode(node)?;
        Some((at, &self.record))
    }
}
