//! A whole tree whose records are the input's: proving and cutting it come to an end, in pieces of any size alike, and
//! what is handed on is in order and adds up.

use storeshift::{
    iavl::{Claim, Node, NodeKey, NodeMap, cut, leaf_hash, prove},
    model::Version,
};

pub fn run(data: &[u8]) {
    let Some((&first, mut rest)) = data.split_first() else { return };
    let mut nodes = NodeMap::default();
    let at = |nonce: usize| NodeKey::new(Version(1), nonce as u32 + 1);
    // Each record: a byte for its length, then its bytes.
    while let Some((&length, after)) = rest.split_first() {
        let (record, after) = after.split_at(usize::from(length).min(after.len()));
        nodes.records.insert(at(nodes.records.len()), record.to_vec());
        rest = after;
        if nodes.records.len() == 64 {
            break;
        }
    }
    let key = at(usize::from(first) % nodes.records.len().max(1));
    // The root's own word is taken for its hash, or everything would end there.
    let hash = match nodes.records.get(&key).map(|record| Node::decode(record)) {
        Some(Ok(Node::Inner { hash, .. })) => hash,
        Some(Ok(Node::Leaf { key, value })) => leaf_hash(Version(1), key, value),
        _ => return,
    };
    let claim = Claim { at: key.into(), hash };
    let proofs = [1 << 20, 200, 0].map(|budget| {
        let mut last: Option<Vec<u8>> = None;
        let mut leaves = 0;
        let proof = prove(&mut nodes, claim, budget, &mut |node| {
            if node.children.is_none() {
                assert!(last.as_deref().is_none_or(|last| last < node.key));
                last = Some(node.key.to_vec());
                leaves += 1;
            }
            true
        });
        proof.map(|proof| assert_eq!(proof.leaves, leaves)).is_ok()
    });
    assert_eq!(proofs, [proofs[0]; 3], "whether a tree proves depends on the size of the pieces");
    let cut = cut(&mut nodes, claim, 0, 2);
    if proofs[0] {
        let cut = cut.expect("a tree that proves can be cut");
        assert_eq!(cut.spine.len() + 1, cut.chunks.len());
    }
}
