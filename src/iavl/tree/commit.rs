//! Hashing, numbering and encoding the new nodes of a version (`saveNewNodes` and `SaveRoot` of IAVL).

use super::{
    super::{Node, NodeId, NodeKey, NodeReader, inner_hash, leaf_hash},
    Committed, Tree, TreeError,
    resident::{Body, Limit, Link, Resident},
};
use crate::model::{Hash, Version};

impl Tree {
    pub(super) fn commit_root<R: NodeReader>(
        &mut self,
        reader: &mut R,
        version: Version,
    ) -> Result<Committed, TreeError> {
        let mut records = Records { version, records: Vec::new() };
        let root_record = NodeKey::root_of(version);
        let (root, mut source) = self.split(reader);
        let Some(root) = root else {
            return Ok(Committed { hash: Hash::EMPTY, root: None, records: vec![(root_record, Vec::new())] });
        };
        let limit = Limit::root(source.newest);
        let (at, hash) = records.save(source.load(root, limit)?)?;
        if records.records.is_empty() {
            records.records.push((root_record, at.to_bytes().to_vec()));
        }
        Ok(Committed { hash, root: Some(at), records: records.records })
    }
}

/// The records of one version as they are made.
struct Records {
    version: Version,
    records: Vec<(NodeKey, Vec<u8>)>,
}

impl Records {
    /// Saves a node with all new nodes below it; where it is and its hash. Nodes are numbered on the way down, so the
    /// records come out in ascending order, and encoded on the way up, because a record needs its children's keys.
    fn save(&mut self, node: &mut Resident) -> Result<(NodeKey, Hash), TreeError> {
        if let Some(stored) = node.stored {
            return Ok(stored);
        }
        let index = self.records.len();
        let nonce = u32::try_from(index + 1).map_err(|_| TreeError::TooLarge("more than 2^32 - 1 new nodes"))?;
        let at = NodeKey::new(self.version, nonce);
        self.records.push((at, Vec::new()));
        let (hash, record) = match &mut node.body {
            Body::Leaf { record } => {
                let record = std::mem::take(record);
                let hash = match Node::decode(&record) {
                    Ok(Node::Leaf { key, value }) => leaf_hash(self.version, key, value),
                    Ok(Node::Inner { .. }) | Err(_) => return Err(TreeError::Broken),
                };
                (hash, record)
            }
            Body::Inner { left, right } => {
                let (left, left_hash) = self.save_child(left)?;
                let (right, right_hash) = self.save_child(right)?;
                let hash = inner_hash(node.height, node.size, self.version, &left_hash, &right_hash);
                let (left, right) = (NodeId::Current(left), NodeId::Current(right));
                let mut record = Vec::with_capacity(node.key.len() + 80);
                Node::Inner { height: node.height, size: node.size, key: &node.key, hash, left, right }
                    .encode(&mut record);
                (hash, record)
            }
        };
        if let Some(slot) = self.records.get_mut(index) {
            slot.1 = record;
        }
        node.stored = Some((at, hash));
        Ok((at, hash))
    }

    /// Both children of a new node are in memory: renewing it has read them.
    fn save_child(&mut self, link: &mut Link) -> Result<(NodeKey, Hash), TreeError> {
        self.save(link.node_mut().ok_or(TreeError::Broken)?)
    }
}
