//! A node record: what is read can be written, and reads back the same.

use storeshift::iavl::{Node, NodeKey, RootRecord};

pub fn run(data: &[u8]) {
    if let Ok(node) = Node::decode(data) {
        let mut encoded = Vec::new();
        node.encode(&mut encoded);
        assert_eq!(Node::decode(&encoded), Ok(node));
        assert!(encoded.len() <= data.len(), "what we write is the shortest form");
    }
    if let Some(key) = NodeKey::from_bytes(data) {
        assert_eq!(key.to_bytes(), data);
    }
    if let Some(RootRecord::Node) = RootRecord::decode(data) {
        assert!(NodeKey::from_bytes(data).is_none(), "a reference taken for a node");
    }
}
