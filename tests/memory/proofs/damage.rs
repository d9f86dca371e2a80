//! Damaged and dishonest trees: each is refused for the right reason, and nothing unproven is handed on.

use super::tree::{BUDGETS, KINDS, Kind, Made, grow_kind, places, prove_all, record_of};
use crate::support::random::{Random, seed};
use std::collections::BTreeMap;
use storeshift::{
    iavl::{
        Claim, Fit, Forest, Node, NodeId, NodeKey, NodeMap, NodeReader, ProveError, ReadError, RecordStream as _, cut,
        inner_hash, leaf_hash, legacy, numbering, prove,
    },
    model::{Hash, Version},
};

/// A tree of some dozens of nodes and several versions, with the records that belong to it only.
fn sound(kind: Kind, random: &mut Random) -> (NodeMap, Claim) {
    let (mut nodes, claim) = grow_kind(kind, random, 5, 30, 60);
    let claim = claim.unwrap();
    let (kept, proof) = prove_all(&nodes, claim, BUDGETS[0]);
    assert!(proof.unwrap().leaves > 20);
    assert!(kind == Kind::Current || nodes.legacy.len() > 10, "{kind:?}");
    nodes.records.retain(|at, _| kept.iter().any(|node| node.at == *at));
    assert_eq!(places(&nodes).len(), kept.len());
    (nodes, claim)
}

/// One of every kind.
fn sounds(seed: u64) -> [(NodeMap, Claim); 3] {
    KINDS.map(|kind| sound(kind, &mut Random(seed)))
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

/// Changes one inner node's record; that of a legacy node stays under its name.
fn change_inner(
    nodes: &NodeMap,
    at: NodeId,
    change: impl FnOnce(&mut (u8, u64, Vec<u8>, Hash, NodeId, NodeId)),
) -> NodeMap {
    let mut nodes = nodes.clone();
    let record = record_of(&mut nodes, at);
    let (version, decoded) = match at {
        NodeId::Current(at) => (at.version, Node::decode(record).unwrap()),
        NodeId::Legacy(hash) => legacy::decode(hash, record).unwrap(),
    };
    let Node::Inner { height, size, key, hash, left, right } = decoded else { panic!("{at} is a leaf") };
    let mut node = (height, size, key.to_vec(), hash, left, right);
    change(&mut node);
    let (height, size, key, hash, left, right) = &node;
    let node = Node::Inner { height: *height, size: *size, key, hash: *hash, left: *left, right: *right };
    let mut changed = Vec::new();
    match at {
        NodeId::Current(_) => node.encode(&mut changed),
        NodeId::Legacy(_) => legacy::encode(version, &node, &mut changed).unwrap(),
    }
    *record_of(&mut nodes, at) = changed;
    nodes
}

fn inner_nodes(nodes: &NodeMap) -> Vec<NodeId> {
    let mut inner = places(nodes);
    let mut nodes = nodes.clone();
    inner.retain(|at| record_of(&mut nodes, *at)[0] != 0);
    inner
}

#[test]
fn a_flipped_byte_in_any_record_is_noticed() {
    let mut random = Random(seed(31));
    for sound in sounds(random.next()) {
        let mut tried = 0;
        for at in places(&sound.0) {
            for byte in 0..record_of(&mut sound.0.clone(), at).len() {
                for flip in [1 << random.below(8), 1 + random.below(255) as u8] {
                    let mut damaged = sound.0.clone();
                    record_of(&mut damaged, at)[byte] ^= flip;
                    refused(&sound, &damaged, &format!("byte {byte} of node {at} ^ {flip:#04x}"));
                    tried += 1;
                }
            }
        }
        println!("{tried} flips");
    }
}

#[test]
fn every_bit_of_a_small_legacy_tree_matters() {
    let (nodes, claim) = Made::of(&["a", "b", "c", "d", "e"]).records_as(Kind::Legacy);
    let sound = (nodes, claim);
    for at in places(&sound.0) {
        for bit in 0..record_of(&mut sound.0.clone(), at).len() * 8 {
            let mut damaged = sound.0.clone();
            record_of(&mut damaged, at)[bit / 8] ^= 1 << (bit % 8);
            refused(&sound, &damaged, &format!("bit {bit} of node {at}"));
        }
    }
}

#[test]
fn a_cut_or_longer_record_is_noticed() {
    for sound in sounds(32) {
        for at in places(&sound.0) {
            let whole = record_of(&mut sound.0.clone(), at).len();
            for length in (0..=whole + 1).filter(|length| *length != whole) {
                let mut damaged = sound.0.clone();
                record_of(&mut damaged, at).resize(length, 0);
                refused(&sound, &damaged, &format!("node {at} of {length} bytes"));
            }
        }
    }
}

#[test]
fn a_removed_record_is_missed_by_name() {
    for sound in sounds(33) {
        for removed in places(&sound.0) {
            let mut damaged = sound.0.clone();
            match removed {
                NodeId::Current(at) => damaged.records.remove(&at),
                NodeId::Legacy(hash) => damaged.legacy.remove(&hash),
            };
            let error = refused(&sound, &damaged, "removed");
            assert!(matches!(error, ProveError::Missing(at) if at == removed), "{removed}: {error}");
        }
    }
}

#[test]
fn a_record_in_anothers_place_is_noticed() {
    for sound in sounds(34) {
        for pair in places(&sound.0).windows(2) {
            let mut damaged = sound.0.clone();
            let first = std::mem::take(record_of(&mut damaged, pair[0]));
            let second = std::mem::replace(record_of(&mut damaged, pair[1]), first);
            *record_of(&mut damaged, pair[0]) = second;
            refused(&sound, &damaged, &format!("{pair:?} swapped"));
        }
    }
}

#[test]
fn a_wrong_inner_key_is_noticed_although_no_hash_covers_it() {
    for sound in sounds(35) {
        for at in inner_nodes(&sound.0) {
            for wrong in [b"".to_vec(), b"key".to_vec(), b"zzz".to_vec()] {
                let damaged = change_inner(&sound.0, at, |node| node.2 = wrong);
                let error = refused(&sound, &damaged, "wrong inner key");
                assert!(matches!(error, ProveError::InnerKey { at: found, .. } if found == at), "{at}: {error}");
            }
        }
    }
}

#[test]
fn swapped_children_are_noticed_by_the_hash() {
    for sound in sounds(36) {
        for at in inner_nodes(&sound.0) {
            let damaged = change_inner(&sound.0, at, |node| std::mem::swap(&mut node.4, &mut node.5));
            let error = refused(&sound, &damaged, "swapped children");
            assert!(matches!(error, ProveError::HashMismatch { at: found, .. } if found == at), "{at}: {error}");
        }
    }
}

#[test]
fn a_wrong_size_or_height_is_noticed() {
    for sound in sounds(37) {
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
}

#[test]
fn records_that_name_each_other_in_a_circle_come_to_an_end() {
    for sound in sounds(38) {
        let inner = inner_nodes(&sound.0);
        for &at in &inner {
            for &target in &inner {
                if matches!((at, target), (NodeId::Legacy(_), NodeId::Current(_))) {
                    continue; // a legacy record cannot say so
                }
                let damaged = change_inner(&sound.0, at, |node| node.5 = target);
                let honest = damaged == sound.0;
                if !honest {
                    refused(&sound, &damaged, &format!("the right child of {at} is {target}"));
                }
            }
        }
    }
}

/// Counts what is read.
struct Counting(NodeMap, usize);

impl NodeReader for Counting {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.1 += 1;
        self.0.read(key, out)
    }

    fn read_legacy(&mut self, hash: &Hash, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.1 += 1;
        self.0.read_legacy(hash, out)
    }
}

#[test]
fn a_circle_of_records_is_noticed_long_before_it_fills_the_memory_that_there_is() {
    let (nodes, claim) = sound(Kind::Current, &mut Random(44));
    let count = places(&nodes).len();
    for at in inner_nodes(&nodes) {
        // Below itself the whole tree again, and again.
        let damaged = change_inner(&nodes, at, |node| (node.4, node.5) = (claim.at, claim.at));
        let mut reader = Counting(damaged, 0);
        prove(&mut reader, claim, BUDGETS[0], &mut |_| true).unwrap_err();
        assert!(reader.1 <= 2 * count, "{} reads of {count} nodes", reader.1);
    }
}

#[test]
fn a_legacy_child_that_is_not_there_is_missing_by_its_name_when_proving_and_when_cutting() {
    for sound in sounds(39) {
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
}

#[test]
fn a_sound_tree_under_another_hash_is_not_the_one_that_was_asked_for() {
    for (sound, budget) in sounds(40).into_iter().flat_map(|sound| BUDGETS.map(|budget| (sound.clone(), budget))) {
        let (kept, proof) = prove_all(&sound.0, Claim { hash: Hash([1; 32]), ..sound.1 }, budget);
        assert!(kept.is_empty());
        assert!(matches!(proof, Err(ProveError::HashMismatch { at, .. }) if at == sound.1.at));
    }
}

// From here on every hash fits: a chain whose trees were built wrong would have these roots.

fn made_refused(made: &Made, wanted: impl Fn(&ProveError) -> bool, how: &str) {
    for (kind, budget) in KINDS.into_iter().flat_map(|kind| BUDGETS.map(|budget| (kind, budget))) {
        let (nodes, claim) = made.records_as(kind);
        let (kept, proof) = prove_all(&nodes, claim, budget);
        let error = proof.expect_err(how);
        assert!(wanted(&error), "{how}, {kind:?}, budget {budget}: {error}");
        assert!(kept.len() < places(&nodes).len());
    }
}

#[test]
fn trees_that_are_built_right_prove() {
    for (kind, budget) in KINDS.into_iter().flat_map(|kind| BUDGETS.map(|budget| (kind, budget))) {
        let (nodes, claim) = Made::of(&["a", "b", "c", "d", "e"]).records_as(kind);
        let (kept, proof) = prove_all(&nodes, claim, budget);
        assert_eq!((kept.len(), proof.unwrap().leaves), (9, 5));
    }
}

#[test]
fn a_root_record_that_keeps_another_hash_than_its_own_is_noticed_when_cutting_too() {
    let sound = sound(Kind::Mixed, &mut Random(41));
    let damaged = change_inner(&sound.0, sound.1.at, |node| node.3.0[0] ^= 1);
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
    for kind in KINDS {
        let (mut nodes, claim) = newer_inner.records_as(kind);
        assert!(matches!(cut(&mut nodes, claim, 0, 1), Err(ProveError::Shape { .. })), "cutting lets it through");
    }
}

#[test]
fn cutting_refuses_a_leaf_that_is_another_sizes_that_do_not_add_up_and_more_leaves_than_can_be_numbered() {
    let (mut nodes, claim) = Made::leaf(1, "a").records_as(Kind::Current);
    cut(&mut nodes, claim, 0, 1).unwrap();
    let other = Claim { hash: Hash([1; 32]), ..claim };
    assert!(matches!(cut(&mut nodes, other, 0, 1), Err(ProveError::HashMismatch { .. })));
    let with_size = |size: u64| {
        let Made::Inner { version, height, key, left, right, .. } = Made::of(&["a", "b", "c", "d"]) else { panic!() };
        Made::Inner { version, height, size, key, left, right }.records_as(Kind::Current)
    };
    for size in [3, 5, 1 << 31, 1 << 32] {
        let (mut nodes, claim) = with_size(size);
        assert!(matches!(cut(&mut nodes, claim, 0, 1), Err(ProveError::Shape { .. })), "{size}");
    }
    // A tree that is one chunk is not opened when it is cut.
    let (mut nodes, claim) = with_size((1 << 31) + 1);
    assert!(matches!(cut(&mut nodes, claim, 0, u64::MAX), Err(ProveError::Shape { .. })));
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

/// Proves and numbers a tree as if it were restored.
fn restored(nodes: &NodeMap, claim: Claim, budget: usize) -> Result<BTreeMap<NodeKey, Vec<u8>>, ProveError> {
    let mut records = BTreeMap::new();
    let mut ordinal = 0;
    prove(&mut nodes.clone(), claim, budget, &mut |node| {
        let mut record = Vec::new();
        let at = numbering::encode_record(node, ordinal, &mut record).unwrap();
        ordinal += 1;
        records.insert(at, record).is_none()
    })?;
    Ok(records)
}

/// The same, handed on as records in the order of SC, most of which are the source's own bytes.
fn as_records(nodes: &NodeMap, claim: Claim) -> BTreeMap<NodeKey, Vec<u8>> {
    let mut forest = Forest::default();
    assert_eq!(forest.read(&mut nodes.clone(), &[claim], BUDGETS[0]).unwrap(), Fit::Whole);
    let (mut stream, mut records) = (forest.records(&[0]).unwrap(), BTreeMap::new());
    while let Some((at, record)) = stream.next() {
        records.insert(at, record.to_vec());
    }
    records
}

/// Go reads integers that are longer than they need to be, and writes none.
#[test]
fn overlong_integers_in_any_record_come_out_as_short_as_they_can_be_or_are_refused() {
    for sound in sounds(42) {
        let wanted = restored(&sound.0, sound.1, BUDGETS[0]).unwrap();
        let (mut accepted, mut refused) = (0, 0);
        for at in places(&sound.0) {
            let record = record_of(&mut sound.0.clone(), at).clone();
            for (position, longer) in (0..record.len()).flat_map(|position| [(position, 1), (position, 7)]) {
                // Wherever an integer ends; elsewhere the bytes become others, and are refused.
                let mut overlong = record[..=position].to_vec();
                overlong[position] |= 0x80;
                overlong.extend((1..longer).map(|_| 0x80));
                overlong.push(0);
                overlong.extend_from_slice(&record[position + 1..]);
                let mut damaged = sound.0.clone();
                *record_of(&mut damaged, at) = overlong;
                let found = BUDGETS.map(|budget| restored(&damaged, sound.1, budget).ok());
                assert_eq!(found[0].is_some(), found[1].is_some(), "node {at}, byte {position}");
                assert!(found[0].is_none() || as_records(&damaged, sound.1) == wanted, "node {at}, byte {position}");
                match &found[0] {
                    Some(records) => {
                        assert!(*records == wanted && found[1].as_ref() == Some(records), "node {at}, byte {position}")
                    }
                    None => refused += 1,
                }
                accepted += usize::from(found[0].is_some());
            }
        }
        println!("{accepted} accepted, {refused} refused");
        assert!(accepted > 200 && refused > 200);
    }
}

#[test]
fn a_legacy_record_under_another_name_is_noticed() {
    for sound in [Kind::Mixed, Kind::Legacy].map(|kind| sound(kind, &mut Random(43))) {
        let names: Vec<Hash> = sound.0.legacy.keys().copied().collect();
        for (name, other) in names.iter().flat_map(|name| names.iter().map(move |other| (name, other))) {
            if name != other {
                let mut damaged = sound.0.clone();
                damaged.legacy.insert(*name, sound.0.legacy[other].clone());
                refused(&sound, &damaged, &format!("the record of {other} under {name}"));
            }
        }
    }
}

#[test]
fn a_legacy_record_of_another_version_is_noticed() {
    for sound in [Kind::Mixed, Kind::Legacy].map(|kind| sound(kind, &mut Random(44))) {
        for (name, record) in &sound.0.legacy {
            let (version, node) = legacy::decode(*name, record).unwrap();
            for wrong in [0, version.0 - 1, version.0 + 1, i64::MAX as u64].map(Version) {
                let mut damaged = sound.0.clone();
                let mut record = Vec::new();
                legacy::encode(wrong, &node, &mut record).unwrap();
                damaged.legacy.insert(*name, record);
                refused(&sound, &damaged, &format!("legacy {name} of version {wrong} instead of {version}"));
            }
        }
    }
}

#[test]
fn a_legacy_record_that_names_a_node_by_its_key_is_no_record() {
    let (nodes, claim) = Made::of(&["a", "b"]).records_as(Kind::Legacy);
    let record = nodes.legacy[&claim.hash].clone();
    let before_children = record.len() - 2 * 33;
    let key = NodeKey::new(Version(1), 2).to_bytes();
    // As IAVL 1.x names nodes: with 12 bytes, or with two integers.
    for child in [[&[12], &key[1..]].concat(), vec![2, 4], [&[13], &key[..]].concat()] {
        let mut damaged = nodes.clone();
        damaged.legacy.insert(claim.hash, [&record[..before_children], &child, &child].concat());
        let error = refused(&(nodes.clone(), claim), &damaged, "a child named by its key");
        assert!(matches!(error, ProveError::Malformed { at, .. } if at == claim.at), "{error}");
    }
}

#[test]
fn a_legacy_node_that_names_itself_or_those_above_it_is_refused_although_its_parents_hash_fits() {
    // Nobody can find such a hash; but a record can be put under any name, and its parent has a hash that fits.
    let leaf = |key: &str| {
        let mut record = Vec::new();
        legacy::encode(Version(1), &Node::Leaf { key: key.as_bytes(), value: b"v" }, &mut record).unwrap();
        (leaf_hash(Version(1), key.as_bytes(), b"v"), record)
    };
    let (first, name) = (leaf("a"), Hash([9; 32]));
    for height in [1, 2, 127] {
        for (left, right) in [(name, name), (first.0, name)] {
            let mut record = Vec::new();
            let of = |hash| NodeId::Legacy(hash);
            let looped = Node::Inner { height, size: 2, key: b"b", hash: name, left: of(left), right: of(right) };
            legacy::encode(Version(1), &looped, &mut record).unwrap();
            let mut nodes = NodeMap::default();
            nodes.legacy.extend([first.clone(), (name, record)]);
            let above =
                Node::Inner { height: 3, size: 3, key: b"b", hash: Hash::EMPTY, left: of(first.0), right: of(name) };
            let hash = inner_hash(3, 3, Version(1), &first.0, &name);
            let mut record = Vec::new();
            legacy::encode(Version(1), &above, &mut record).unwrap();
            nodes.legacy.insert(hash, record);
            for claim in [name, hash].map(|hash| Claim { at: of(hash), hash }) {
                for budget in BUDGETS {
                    let (kept, proof) = prove_all(&nodes, claim, budget);
                    assert!(proof.is_err() && kept.len() < 2, "{height}");
                }
                assert!(cut(&mut nodes, claim, 0, 1).is_err());
            }
        }
    }
}
