//! Damaged and dishonest trees: each is refused for the right reason, and nothing unproven is handed on.

use super::tree::{BUDGETS, Made, grow, prove_all};
use crate::support::random::{Random, seed};
use storeshift::{
    iavl::{Claim, Node, NodeId, NodeKey, NodeMap, ProveError, cut, inner_hash},
    model::{Hash, Version},
};

/// A tree of some dozens of nodes and several versions, with the records that belong to it only.
fn sound(random: &mut Random) -> (NodeMap, Claim) {
    let (nodes, claim) = grow(random, 5, 30, 60);
    let claim = claim.unwrap();
    let (kept, proof) = prove_all(&nodes, claim, BUDGETS[0]);
    assert!(proof.unwrap().leaves > 20);
    let records = kept.iter().map(|node| (node.at, nodes.records[&node.at].clone())).collect();
    (NodeMap { records, ..NodeMap::default() }, claim)
}

/// Asserts that the tree is refused under every budget, that only nodes of the sound tree were handed on, and returns
/// the error under the large budget.
fn refused(sound: &(NodeMap, Claim), damaged: &NodeMap, how: &str) -> ProveError {
    let (right, _) = prove_all(&sound.0, sound.1, BUDGETS[0]);
    let mut errors = BUDGETS.map(|budget| {
        let (kept, proof) = prove_all(damaged, sound.1, budget);
        assert!(right.starts_with(&kept), "{how}: something unproven was handed on");
        proof.expect_err(how)
    });
    std::mem::replace(&mut errors[0], ProveError::Sink)
}

/// Changes one inner node's record.
fn change_inner(
    nodes: &NodeMap,
    at: NodeKey,
    change: impl FnOnce(&mut (u8, u64, Vec<u8>, Hash, NodeId, NodeId)),
) -> NodeMap {
    let mut nodes = nodes.clone();
    let record = nodes.records[&at].clone();
    let Ok(Node::Inner { height, size, key, hash, left, right }) = Node::decode(&record) else {
        panic!("{at} is a leaf")
    };
    let mut node = (height, size, key.to_vec(), hash, left, right);
    change(&mut node);
    let (height, size, key, hash, left, right) = &node;
    let mut record = Vec::new();
    Node::Inner { height: *height, size: *size, key, hash: *hash, left: *left, right: *right }.encode(&mut record);
    nodes.records.insert(at, record);
    nodes
}

fn inner_nodes(nodes: &NodeMap) -> Vec<NodeKey> {
    let inner = |record: &[u8]| matches!(Node::decode(record), Ok(Node::Inner { .. }));
    nodes.records.iter().filter(|(_, record)| inner(record)).map(|(at, _)| *at).collect()
}

#[test]
fn a_flipped_byte_in_any_record_is_noticed() {
    let mut random = Random(seed(31));
    let sound = sound(&mut random);
    let mut tried = 0;
    for (at, record) in &sound.0.records {
        for byte in 0..record.len() {
            for flip in [1 << random.below(8), 1 + random.below(255) as u8] {
                let mut damaged = sound.0.clone();
                damaged.records.get_mut(at).unwrap()[byte] ^= flip;
                refused(&sound, &damaged, &format!("byte {byte} of node {at} ^ {flip:#04x}"));
                tried += 1;
            }
        }
    }
    println!("{tried} flips");
}

#[test]
fn a_cut_or_longer_record_is_noticed() {
    let sound = sound(&mut Random(32));
    for (at, record) in &sound.0.records {
        for length in 0..=record.len() + 1 {
            if length == record.len() {
                continue;
            }
            let mut damaged = sound.0.clone();
            damaged.records.get_mut(at).unwrap().resize(length, 0);
            refused(&sound, &damaged, &format!("node {at} of {length} bytes"));
        }
    }
}

#[test]
fn a_removed_record_is_missed_by_name() {
    let sound = sound(&mut Random(33));
    for removed in sound.0.records.keys() {
        let mut damaged = sound.0.clone();
        damaged.records.remove(removed);
        let error = refused(&sound, &damaged, "removed");
        assert!(matches!(error, ProveError::Missing(at) if at == *removed), "{removed}: {error}");
    }
}

#[test]
fn a_record_in_anothers_place_is_noticed() {
    let sound = sound(&mut Random(34));
    let keys: Vec<NodeKey> = sound.0.records.keys().copied().collect();
    for pair in keys.windows(2) {
        let mut damaged = sound.0.clone();
        let (a, b) = (damaged.records[&pair[0]].clone(), damaged.records[&pair[1]].clone());
        damaged.records.extend([(pair[0], b), (pair[1], a)]);
        refused(&sound, &damaged, &format!("{pair:?} swapped"));
    }
}

#[test]
fn a_wrong_inner_key_is_noticed_although_no_hash_covers_it() {
    let sound = sound(&mut Random(35));
    for at in inner_nodes(&sound.0) {
        for wrong in [b"".to_vec(), b"key".to_vec(), b"zzz".to_vec()] {
            let damaged = change_inner(&sound.0, at, |node| node.2 = wrong);
            let error = refused(&sound, &damaged, "wrong inner key");
            assert!(matches!(error, ProveError::InnerKey { at: found, .. } if found == at), "{at}: {error}");
        }
    }
}

#[test]
fn swapped_children_are_noticed_by_the_hash() {
    let sound = sound(&mut Random(36));
    for at in inner_nodes(&sound.0) {
        let damaged = change_inner(&sound.0, at, |node| std::mem::swap(&mut node.4, &mut node.5));
        let error = refused(&sound, &damaged, "swapped children");
        assert!(matches!(error, ProveError::HashMismatch { at: found, .. } if found == at), "{at}: {error}");
    }
}

#[test]
fn a_wrong_size_or_height_is_noticed() {
    let sound = sound(&mut Random(37));
    for at in inner_nodes(&sound.0) {
        for damaged in [
            change_inner(&sound.0, at, |node| node.1 += 1),
            change_inner(&sound.0, at, |node| node.1 = 0),
            change_inner(&sound.0, at, |node| node.1 = i64::MAX as u64),
        ] {
            // By the hash, or by the sum in the node above, whichever is checked first.
            let error = refused(&sound, &damaged, "wrong size");
            assert!(matches!(error, ProveError::HashMismatch { .. } | ProveError::Shape { .. }), "{at}: {error}");
        }
        refused(&sound, &change_inner(&sound.0, at, |node| node.0 += 1), "wrong height");
    }
}

#[test]
fn records_that_name_each_other_in_a_circle_come_to_an_end() {
    let sound = sound(&mut Random(38));
    let inner = inner_nodes(&sound.0);
    for &at in &inner {
        for &target in &inner {
            let damaged = change_inner(&sound.0, at, |node| node.5 = NodeId::Current(target));
            let honest = damaged == sound.0;
            if !honest {
                refused(&sound, &damaged, &format!("the right child of {at} is {target}"));
            }
        }
    }
}

#[test]
fn a_legacy_child_that_is_not_there_is_missing_by_its_name_when_proving_and_when_cutting() {
    let sound = sound(&mut Random(39));
    for at in inner_nodes(&sound.0) {
        for left in [true, false] {
            let damaged = change_inner(&sound.0, at, |node| {
                *(if left { &mut node.4 } else { &mut node.5 }) = NodeId::Legacy(Hash([9; 32]));
            });
            let named = NodeId::Legacy(Hash([9; 32]));
            let error = refused(&sound, &damaged, "legacy child");
            assert!(matches!(error, ProveError::Missing(found) if found == named), "{at}: {error}");
            let error = cut(&mut damaged.clone(), sound.1, 0, 1).expect_err("legacy child");
            assert!(matches!(error, ProveError::Missing(found) if found == named), "{at}: {error}");
        }
    }
}

#[test]
fn a_sound_tree_under_another_hash_is_not_the_one_that_was_asked_for() {
    let sound = sound(&mut Random(40));
    for budget in BUDGETS {
        let (kept, proof) = prove_all(&sound.0, Claim { hash: Hash([1; 32]), ..sound.1 }, budget);
        assert!(kept.is_empty());
        assert!(matches!(proof, Err(ProveError::HashMismatch { at, .. }) if at == sound.1.at));
    }
}

// From here on every hash fits: a chain whose trees were built wrong would have these roots.

fn made_refused(made: &Made, wanted: impl Fn(&ProveError) -> bool, how: &str) {
    let (nodes, claim) = made.records();
    for budget in BUDGETS {
        let (kept, proof) = prove_all(&nodes, claim, budget);
        let error = proof.expect_err(how);
        assert!(wanted(&error), "{how}, budget {budget}: {error}");
        assert!(kept.len() < nodes.records.len());
    }
}

#[test]
fn trees_that_are_built_right_prove() {
    let (nodes, claim) = Made::of(&["a", "b", "c", "d", "e"]).records();
    for budget in BUDGETS {
        let (kept, proof) = prove_all(&nodes, claim, budget);
        assert_eq!((kept.len(), proof.unwrap().leaves), (9, 5));
    }
}

#[test]
fn a_root_record_that_keeps_another_hash_than_its_own_is_noticed_when_cutting_too() {
    let sound = sound(&mut Random(41));
    let damaged = change_inner(&sound.0, sound.1.at.key().unwrap(), |node| node.3.0[0] ^= 1);
    let error = cut(&mut damaged.clone(), sound.1, 0, 4).expect_err("the root's own record is wrong");
    assert!(matches!(error, ProveError::HashMismatch { at, .. } if at == sound.1.at), "{error}");
}

#[test]
fn keys_out_of_order_are_refused_wherever_they_are_although_the_hashes_fit() {
    let order = |error: &ProveError| matches!(error, ProveError::KeyOrder { .. });
    for keys in
        [["b", "a", "c", "d"], ["a", "c", "b", "d"], ["a", "b", "d", "c"], ["a", "a", "b", "c"], ["a", "b", "b", "c"]]
    {
        made_refused(&Made::of(&keys), order, &format!("{keys:?}"));
    }
}

#[test]
fn sizes_and_heights_that_do_not_add_up_are_refused_although_the_hashes_fit() {
    let shape = |error: &ProveError| matches!(error, ProveError::Shape { .. });
    for (height_off, size_off) in [(0, 1), (0, 1000), (1, 0), (100, 0)] {
        let Made::Inner { version, height, size, key, left, right } = Made::of(&["a", "b", "c", "d"]) else { panic!() };
        let made = Made::Inner { version, height: height + height_off, size: size + size_off, key, left, right };
        made_refused(&made, shape, &format!("height +{height_off}, size +{size_off}"));
        let deeper = Made::Inner {
            version: 1,
            height: 3 + height_off,
            size: 5 + size_off,
            key: b"e".to_vec(),
            left: Box::new(made),
            right: Box::new(Made::leaf(1, "e")),
        };
        made_refused(&deeper, shape, &format!("below: height +{height_off}, size +{size_off}"));
    }
}

#[test]
fn a_child_newer_than_its_parent_is_refused_however_small_the_pieces() {
    let shape = |error: &ProveError| matches!(error, ProveError::Shape { .. });
    let newer_leaf = Made::inner(2, Made::leaf(1, "a"), Made::leaf(3, "b"));
    let newer_inner = Made::inner(2, Made::inner(3, Made::leaf(1, "a"), Made::leaf(1, "b")), Made::leaf(1, "c"));
    for made in [newer_leaf.clone(), newer_inner.clone(), Made::inner(4, newer_leaf, Made::leaf(1, "z"))] {
        made_refused(&made, shape, &format!("{made:?}"));
    }
    let (mut nodes, claim) = newer_inner.records();
    assert!(matches!(cut(&mut nodes, claim, 0, 1), Err(ProveError::Shape { .. })), "cutting lets it through");
}

#[test]
fn an_inner_node_is_never_taken_for_its_own_child() {
    // The hash of a node that is its own child cannot be found, but its record can claim to have one.
    let mut nodes = NodeMap::default();
    let at = NodeKey::new(Version(1), 1);
    let hash = inner_hash(1, 2, Version(1), &Hash([1; 32]), &Hash([1; 32]));
    let mut record = Vec::new();
    let child = NodeId::Current(at);
    Node::Inner { height: 1, size: 2, key: b"a", hash, left: child, right: child }.encode(&mut record);
    nodes.records.insert(at, record);
    for budget in BUDGETS {
        let (kept, proof) = prove_all(&nodes, Claim { at: at.into(), hash }, budget);
        assert!(proof.is_err() && kept.is_empty());
    }
    assert!(cut(&mut nodes, Claim { at: at.into(), hash }, 0, 1).is_err());
}
