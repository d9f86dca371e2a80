//! Damaged, missing and impossible records are errors, never panics.

use super::{histories::put, model::changes};
use crate::{
    iavl::{
        Node, NodeId, NodeKey, NodeMap,
        tree::{Tree, TreeError},
    },
    model::{Change, Hash, Version},
};
use proptest::prelude::*;

fn set(key: &[u8]) -> Change {
    Change { key: key.to_vec(), value: Some(vec![7]) }
}

fn remove(key: &[u8]) -> Change {
    Change { key: key.to_vec(), value: None }
}

/// A tree of 20 leaves at version 1 in a map.
fn sample() -> (NodeMap, Option<NodeKey>) {
    let mut map = NodeMap::default();
    let mut tree = Tree::load(None, Version(0));
    tree.apply(&mut map, &(0..20).map(|n| set(&[b'k', n * 2])).collect::<Vec<_>>()).unwrap();
    let committed = tree.commit(&mut map, Version(1)).unwrap();
    put(&mut map, &committed);
    (map, committed.root)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_bytes_records_have_nothing_panics(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<prop::sample::Index>())),
        changes in changes(40, 30),
    ) {
        let (mut map, root) = sample();
        let keys: Vec<NodeKey> = map.records.keys().copied().collect();
        for (record, byte, value) in damage {
            let record = map.records.get_mut(record.get(&keys)).unwrap();
            let index = byte.index(record.len());
            record[index] = value;
        }
        if let Some((record, length)) = cut {
            let record = map.records.get_mut(record.get(&keys)).unwrap();
            record.truncate(length.index(record.len()));
        }
        let mut tree = Tree::load(root, Version(1));
        if tree.apply(&mut map, &changes).is_err() {
            prop_assert!(matches!(tree.apply(&mut map, &[]), Err(TreeError::Broken)));
            prop_assert!(matches!(tree.commit(&mut map, Version(2)), Err(TreeError::Broken)));
            tree.forget(0);
        } else if let Ok(committed) = tree.commit(&mut map, Version(2)) {
            tree.forget(3);
            put(&mut map, &committed);
            let _ = tree.apply(&mut map, &changes);
        }
    }
}

/// Puts an inner node over two leaves `a` and `c` in the place of the root, changed by `change`.
fn with_root(change: impl Fn(&mut Node<'_>)) -> Result<(), TreeError> {
    let mut map = NodeMap::default();
    let mut put = |version, nonce, node: &Node<'_>| {
        let mut record = Vec::new();
        node.encode(&mut record);
        map.records.insert(NodeKey::new(Version(version), nonce), record);
    };
    put(5, 2, &Node::Leaf { key: b"a", value: b"1" });
    put(6, 2, &Node::Leaf { key: b"a", value: b"1" });
    put(5, 3, &Node::Leaf { key: b"c", value: b"2" });
    let child = |nonce| NodeId::Current(NodeKey::new(Version(5), nonce));
    let mut root = Node::Inner { height: 1, size: 2, key: b"c", hash: Hash::EMPTY, left: child(2), right: child(3) };
    change(&mut root);
    put(5, 1, &root);
    let mut tree = Tree::load(Some(NodeKey::root_of(Version(5))), Version(6));
    tree.apply(&mut map, &[set(b"b"), remove(b"c"), remove(b"a")])
}

#[test]
fn impossible_trees_are_refused_each_for_its_reason() {
    with_root(|_| {}).unwrap();
    let child = |node: &mut Node<'_>, to: NodeId| {
        if let Node::Inner { left, .. } = node {
            *left = to;
        }
    };
    let legacy = with_root(|root| child(root, NodeId::Legacy(Hash::EMPTY))).unwrap_err();
    assert!(matches!(legacy, TreeError::Legacy { .. }), "{legacy}");
    assert!(legacy.to_string().contains("legacy"), "{legacy}");
    let missing = with_root(|root| child(root, NodeId::Current(NodeKey::new(Version(5), 9)))).unwrap_err();
    assert!(matches!(missing, TreeError::Missing(key) if key.nonce == 9), "{missing}");
    let cycle = with_root(|root| child(root, NodeId::Current(NodeKey::new(Version(5), 1)))).unwrap_err();
    assert!(matches!(cycle, TreeError::Shape { .. }), "{cycle}");
    let newer = with_root(|root| child(root, NodeId::Current(NodeKey::new(Version(6), 2)))).unwrap_err();
    assert!(matches!(newer, TreeError::Shape { at, .. } if at.version == Version(6)), "{newer}");
    let size = with_root(|root| {
        if let Node::Inner { size, .. } = root {
            *size = 3;
        }
    });
    assert!(matches!(size.unwrap_err(), TreeError::Shape { .. }));
}

#[test]
fn a_size_is_checked_also_where_a_removal_takes_the_node_away() {
    let mut map = sample().0;
    let root = NodeKey::root_of(Version(1));
    let mut record = Vec::new();
    let child = |nonce| NodeId::Current(NodeKey::new(Version(2), nonce));
    Node::Inner { height: 1, size: 5, key: b"c", hash: Hash::EMPTY, left: child(2), right: child(3) }
        .encode(&mut record);
    map.records.insert(NodeKey::root_of(Version(2)), record);
    for (nonce, key) in [(2, b"a"), (3, b"c")] {
        let mut record = Vec::new();
        Node::Leaf { key, value: b"" }.encode(&mut record);
        map.records.insert(NodeKey::new(Version(2), nonce), record);
    }
    let mut tree = Tree::load(Some(NodeKey::root_of(Version(2))), Version(2));
    assert!(matches!(tree.apply(&mut map, &[remove(b"a")]), Err(TreeError::Shape { .. })));
    // A root newer than its version, and a root that is a reference: the caller gave the wrong key.
    let mut tree = Tree::load(Some(root), Version(0));
    assert!(matches!(tree.apply(&mut map, &[remove(b"a")]), Err(TreeError::Shape { .. })));
    map.records.insert(NodeKey::root_of(Version(3)), root.to_bytes().to_vec());
    let mut tree = Tree::load(Some(NodeKey::root_of(Version(3))), Version(3));
    assert!(matches!(tree.commit(&mut map, Version(4)), Err(TreeError::Malformed { .. })));
}
