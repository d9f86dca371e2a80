//! The record of a legacy node: what is read can be written and reads back the same, and it proves under its own hash only.

use storeshift::{
    iavl::{Claim, Node, NodeId, NodeMap, inner_hash, leaf_hash, legacy, prove},
    model::Hash,
};

pub fn run(data: &[u8]) {
    // The first 32 bytes are a name it could be kept under.
    let Some((name, record)) = data.split_first_chunk::<32>() else { return };
    let name = Hash(*name);
    let Ok((version, node)) = legacy::decode(name, record) else { return };
    let mut encoded = Vec::new();
    assert_eq!(legacy::encode(version, &node, &mut encoded), Some(()));
    assert_eq!(legacy::decode(name, &encoded), Ok((version, node)));
    assert!(encoded.len() <= record.len(), "what we write is the shortest form");
    let own = match node {
        Node::Leaf { key, value } => leaf_hash(version, key, value),
        Node::Inner { height, size, left, right, .. } => {
            let (NodeId::Legacy(left), NodeId::Legacy(right)) = (left, right) else {
                panic!("a legacy node over others")
            };
            inner_hash(height, size, version, &left, &right)
        }
    };
    for at in [name, own] {
        let mut nodes = NodeMap::default();
        nodes.legacy.insert(at, record.to_vec());
        let claim = Claim { at: NodeId::Legacy(at), hash: at };
        for budget in [1 << 20, 0] {
            let mut handed_on = 0;
            let proof = prove(&mut nodes, claim, budget, &mut |proven| {
                let Node::Leaf { key, value } = node else { panic!("an inner node without its children") };
                assert_eq!((proven.version, proven.key, proven.value, proven.hash), (version, key, value, own));
                handed_on += 1;
                true
            });
            assert_eq!(proof.is_ok(), at == own && matches!(node, Node::Leaf { .. }));
            assert_eq!(handed_on, u32::from(proof.is_ok()));
        }
    }
}
