//! Random histories against an ordered map, and the invariants of a balanced search tree.

use super::histories::{Contents, apply_to_model, put};
use crate::{
    iavl::{
        Claim, NodeKey, NodeMap, NodeReader, ReadError, prove,
        tree::{Tree, TreeError},
    },
    model::{Change, Hash, Version},
};
use proptest::prelude::*;

pub(in crate::iavl) fn changes(keys: u8, most: usize) -> impl Strategy<Value = Vec<Change>> {
    let value = prop::option::weighted(0.6, prop::collection::vec(0u8..3, 0..3));
    let change = (0..keys, value).prop_map(|(key, value)| Change { key: vec![b'k', key], value });
    prop::collection::vec(change, 0..most)
}

/// The contents of a tree, with every invariant checked on the way.
pub(super) fn contents(map: &mut NodeMap, root: Option<Claim>) -> Contents {
    let mut contents = Contents::new();
    let mut heights: Vec<u8> = Vec::new();
    if let Some(root) = root {
        // Proves hashes, sizes, heights, the order of keys and inner keys.
        let proof = prove(map, root, usize::MAX, &mut |node| {
            if node.children.is_some() {
                let (right, left) = (heights.pop().unwrap(), heights.pop().unwrap());
                assert!(left.abs_diff(right) <= 1, "node {} is out of balance", node.at);
            } else {
                contents.insert(node.key.to_vec(), node.value.to_vec());
            }
            heights.push(node.height);
            true
        });
        assert_eq!(proof.unwrap().leaves, contents.len() as u64);
    }
    contents
}

proptest! {
    #[test]
    fn contents_are_those_of_a_map_and_the_tree_keeps_its_invariants(
        history in prop::collection::vec((changes(40, 60), prop::option::of(0usize..40)), 1..8)
    ) {
        let mut map = NodeMap::default();
        let mut model = Contents::new();
        let mut tree = Tree::load(None, Version(0));
        for (index, (changes, keep)) in history.into_iter().enumerate() {
            let version = Version(index as u64 + 1);
            // In two halves, so that nodes are dropped from an uncommitted version too.
            let (front, back) = changes.split_at(changes.len() / 2);
            tree.apply(&mut map, front).unwrap();
            if let Some(keep) = keep {
                tree.forget(keep);
            }
            tree.apply(&mut map, back).unwrap();
            let committed = tree.commit(&mut map, version).unwrap();
            apply_to_model(&mut model, &changes);
            put(&mut map, &committed);
            prop_assert!(committed.records.is_sorted_by(|a, b| a.0 < b.0));
            prop_assert!(committed.records.iter().zip(1..).all(|((key, _), n)| *key == NodeKey::new(version, n)));
            let root = committed.root.map(|key| Claim { at: key.into(), hash: committed.hash });
            prop_assert_eq!(root.is_none(), committed.hash == Hash::EMPTY);
            prop_assert_eq!(contents(&mut map, root), model.clone());
            if let Some(keep) = keep {
                tree.forget(keep);
                prop_assert!(tree.resident() <= keep.max(1));
            }
        }
        tree.forget(0);
        prop_assert_eq!(tree.resident(), usize::from(!model.is_empty()), "the root alone stays");
    }
}

#[test]
fn nodes_in_memory_are_counted_exactly() {
    let mut map = NodeMap::default();
    let mut tree = Tree::load(None, Version(0));
    let change = |key: u8, value| Change { key: vec![key], value };
    tree.apply(&mut map, &(0..100).map(|key| change(key, Some(vec![key]))).collect::<Vec<_>>()).unwrap();
    assert_eq!(tree.resident(), 199);
    let removals: Vec<_> = (0..99u32).map(|key| change((key * 37 % 99) as u8, None)).collect();
    tree.apply(&mut map, &removals[..40]).unwrap();
    assert_eq!(tree.resident(), 119);
    tree.apply(&mut map, &removals[40..]).unwrap();
    assert_eq!(tree.resident(), 1);
    tree.apply(&mut map, &[change(99, None)]).unwrap();
    assert_eq!(tree.resident(), 0);
}

#[test]
fn versions_only_go_up_and_a_refused_one_leaves_the_tree_as_it_is() {
    let mut map = NodeMap::default();
    let mut tree = Tree::load(None, Version(7));
    tree.apply(&mut map, &[Change { key: vec![1], value: Some(vec![]) }]).unwrap();
    for version in [0, 6, 7, i64::MAX as u64 + 1] {
        assert!(matches!(tree.commit(&mut map, Version(version)), Err(TreeError::Version { .. })));
    }
    assert_eq!(tree.commit(&mut map, Version(9)).unwrap().root, Some(NodeKey::root_of(Version(9))));
}

/// Counts reads.
struct Counting(NodeMap, usize);

impl NodeReader for Counting {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.1 += 1;
        self.0.read(key, out)
    }
}

#[test]
fn every_node_is_read_at_most_once_and_only_along_the_paths_of_changes() {
    let mut map = NodeMap::default();
    let mut tree = Tree::load(None, Version(0));
    let key = |n: u32| n.to_be_bytes().to_vec();
    let sets: Vec<_> = (0..4096).map(|n| Change { key: key(n), value: Some(vec![1]) }).collect();
    tree.apply(&mut map, &sets).unwrap();
    let first = tree.commit(&mut map, Version(1)).unwrap();
    put(&mut map, &first);
    let mut reader = Counting(map, 0);
    let mut tree = Tree::load(first.root, Version(1));
    tree.apply(&mut reader, &[]).unwrap();
    assert_eq!(reader.1, 0, "nothing is read before it is needed");
    tree.apply(&mut reader, &[Change { key: key(5000), value: None }]).unwrap();
    assert!(reader.1 <= 14, "removing an absent key reads one path: {}", reader.1);
    tree.apply(&mut reader, &[Change { key: key(77), value: Some(vec![2]) }]).unwrap();
    assert!(reader.1 <= 14 + 2 * 14, "a path and its siblings: {}", reader.1);
    tree.apply(&mut reader, &sets).unwrap();
    assert_eq!(reader.1, 2 * 4096 - 1);
}

#[test]
fn changes_read_nothing_any_more_where_their_keys_were_touched() {
    let key = |n: u32| (n * 2).to_be_bytes().to_vec();
    let mut map = NodeMap::default();
    let mut tree = Tree::load(None, Version(0));
    let sets: Vec<_> = (0..4096).map(|n| Change { key: key(n), value: Some(vec![1]) }).collect();
    tree.apply(&mut map, &sets).unwrap();
    let first = tree.commit(&mut map, Version(1)).unwrap();
    put(&mut map, &first);
    let mut reader = Counting(map, 0);
    for n in (0..4096).step_by(61) {
        let mut tree = Tree::load(first.root, Version(1));
        // There, and between two that are there.
        for key in [key(n), (n * 2 + 1).to_be_bytes().to_vec()] {
            tree.touch(&mut reader, &key).unwrap();
        }
        let read = reader.1;
        tree.apply(&mut reader, &[Change { key: key(n), value: Some(vec![2]) }]).unwrap();
        assert_eq!(reader.1, read, "setting key {n}");
    }
}

#[test]
fn levels_are_read_from_the_root_down_while_there_is_room_and_leave() {
    let mut map = NodeMap::default();
    let mut tree = Tree::load(None, Version(0));
    let sets: Vec<_> = (0..1024u32).map(|n| Change { key: n.to_be_bytes().to_vec(), value: Some(vec![1]) }).collect();
    tree.apply(&mut map, &sets).unwrap();
    let first = tree.commit(&mut map, Version(1)).unwrap();
    put(&mut map, &first);
    let mut reader = Counting(map, 0);
    for most in [0, 1, 2, 3, 7, 100, 127, 2047, 5000] {
        let mut tree = Tree::load(first.root, Version(1));
        let before = reader.1;
        tree.widen(&mut reader, most, &|| true).unwrap();
        assert_eq!((tree.resident(), reader.1 - before), (most.min(2047), most.min(2047)));
        // What is there stays, and a second time adds nothing.
        tree.widen(&mut reader, most, &|| true).unwrap();
        assert_eq!(tree.resident(), most.min(2047));
        // Whole levels but for the last: to forget down to what those have takes only the rest.
        let whole = (most + 1).checked_ilog2().map_or(0, |levels| (1usize << levels) - 1).min(2047);
        tree.forget(whole);
        assert_eq!(tree.resident(), whole.max(usize::from(most > 0)));
    }
    let mut tree = Tree::load(first.root, Version(1));
    tree.widen(&mut reader, 5000, &|| false).unwrap();
    assert_eq!(tree.resident(), 0);
    let mut empty = Tree::load(None, Version(1));
    empty.widen(&mut reader, 5, &|| true).unwrap();
    empty.touch(&mut reader, b"k").unwrap();
    assert_eq!(empty.resident(), 0);
}

#[test]
fn a_tree_dissolves_in_steps_until_it_is_told_to_be_quick() {
    let mut map = NodeMap::default();
    let grown = || {
        let mut tree = Tree::load(None, Version(0));
        let sets: Vec<_> =
            (0..100u32).map(|n| Change { key: n.to_be_bytes().to_vec(), value: Some(vec![1]) }).collect();
        tree.apply(&mut NodeMap::default(), &sets).unwrap();
        tree
    };
    for (step, stop_at, asked) in [(1, usize::MAX, 199), (10, usize::MAX, 19), (10, 3, 3), (1000, usize::MAX, 0)] {
        let mut count = 0;
        grown().dissolve(step, &mut || {
            count += 1;
            count < stop_at
        });
        assert_eq!(count, asked);
    }
    Tree::load(None, Version(0)).dissolve(1, &mut || panic!("there is nothing to drop"));
    let mut tree = grown();
    tree.commit(&mut map, Version(1)).unwrap();
    tree.dissolve(50, &mut || true);
}
