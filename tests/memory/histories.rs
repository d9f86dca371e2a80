//! Histories that IAVL up to 0.20 began and IAVL 1.x went on with: what changed from version to version, and what a store grew by, is
//! what it would be had IAVL 1.x written all of it.

use crate::support::{
    legacy::{Carried, carry_over},
    random::Random,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use storeshift::{
    iavl::{
        Claim, Node, NodeId, NodeKey, NodeMap, NodeReader, ProveError, ReadError, RecordStream as _,
        diff::{OldTree, diff, diff_to_replay},
        growth::{Growth, Readers, Trunk},
        legacy, numbering, prove,
        tree::Tree,
    },
    model::{Change, Hash, Version},
};

type Records = BTreeMap<NodeKey, Vec<u8>>;

/// A history of a store: its records, what each version changed, and the roots' hashes.
struct History {
    records: Records,
    changes: BTreeMap<Version, Vec<Change>>,
    hashes: BTreeMap<Version, Hash>,
}

fn set(key: &str, value: &str) -> Change {
    Change { key: key.as_bytes().to_vec(), value: Some(value.as_bytes().to_vec()) }
}

fn remove(key: &str) -> Change {
    Change { key: key.as_bytes().to_vec(), value: None }
}

fn history(blocks: Vec<Vec<Change>>) -> History {
    let (mut nodes, mut tree) = (NodeMap::default(), Tree::load(None, Version(0)));
    let mut history = History { records: Records::new(), changes: BTreeMap::new(), hashes: BTreeMap::new() };
    for (changes, version) in blocks.into_iter().zip(1..) {
        let version = Version(version);
        tree.apply(&mut nodes, &changes).unwrap();
        let committed = tree.commit(&mut nodes, version).unwrap();
        nodes.records.extend(committed.records);
        history.hashes.insert(version, committed.hash);
        history.changes.insert(version, changes);
    }
    history.records = nodes.records;
    history
}

/// Blocks of one pass over the keys, some of them empty, as a chain writes them.
fn blocks(random: &mut Random, versions: u64, most: u64, keys: u64) -> Vec<Vec<Change>> {
    let block = |_| {
        let mut changes: BTreeMap<String, Change> = BTreeMap::new();
        let count = if random.below(4) == 0 { 0 } else { random.below(most) + 1 };
        for _ in 0..count {
            let key = format!("key{:03}", random.below(keys));
            let value = format!("v{}", random.below(1000));
            let change = if random.below(3) == 0 { remove(&key) } else { set(&key, &value) };
            changes.insert(key, change);
        }
        changes.into_values().collect()
    };
    (0..versions).map(block).collect()
}

fn claim(history: &History, carried: &Carried, version: Version) -> Option<Claim> {
    carried.roots[&version].map(|at| Claim { at, hash: history.hashes[&version] })
}

/// The same history where all of it is of IAVL 1.x.
fn current(history: &History) -> Carried {
    carry_over(&history.records, Version(0)).unwrap()
}

fn differences(history: &History, carried: &Carried, from: Version, to: Version) -> Vec<Change> {
    let old = carried.roots[&from].map(|root| OldTree { root, version: from });
    let new = claim(history, carried, to);
    let mut nodes = carried.nodes.clone();
    let (mut proven, mut unproven) = (Vec::new(), Vec::new());
    let change = |key: &[u8], value: Option<&[u8]>| Change { key: key.to_vec(), value: value.map(<[u8]>::to_vec) };
    diff(&mut nodes, old, new, &mut |key, value| {
        proven.push(change(key, value));
        true
    })
    .unwrap();
    diff_to_replay(&mut nodes, old, new.map(|new| new.at), &mut |key, value| {
        unproven.push(change(key, value));
        true
    })
    .unwrap();
    assert_eq!(proven, unproven);
    proven
}

/// The tree of a version as SC has it after a migration at that version, and its root.
fn migrated(history: &History, carried: &Carried, version: Version) -> (NodeMap, Option<NodeKey>) {
    let (mut target, mut root, mut ordinal) = (NodeMap::default(), None, 0);
    if let Some(claim) = claim(history, carried, version) {
        prove(&mut carried.nodes.clone(), claim, usize::MAX, &mut |node| {
            let mut record = Vec::new();
            root = numbering::encode_record(node, ordinal, &mut record);
            ordinal += 1;
            target.records.insert(root.unwrap(), record).is_none()
        })
        .unwrap();
    }
    (target, root)
}

/// Records and changes that a stretch gives.
type Given = (Vec<(NodeKey, Vec<u8>)>, Vec<Vec<Change>>);

/// What a store grew by from one version to another, over SC or over store/v1 itself.
fn grown(history: &History, carried: &Carried, from: Version, to: Version, over_sc: bool) -> Result<Given, ProveError> {
    let (mut target, root) = match over_sc {
        true => migrated(history, carried, from),
        false => (carried.nodes.clone(), None),
    };
    let source_root = carried.roots[&from];
    let target_root = if over_sc { root.map(NodeId::Current) } else { source_root };
    let trunk = Trunk { version: from, hash: history.hashes[&from], root: source_root.zip(target_root) };
    let roots: Vec<Hash> = (from.0 + 1..=to.0).map(|version| history.hashes[&Version(version)]).collect();
    let (mut grown, mut source) = (carried.nodes.clone(), carried.nodes.clone());
    let same_after = if over_sc { from } else { Version(0) };
    let mut readers = Readers { grown: &mut grown, source: &mut source, target: &mut target, same_after };
    let mut growth = Growth::default();
    let count = growth.read(&mut readers, trunk, &roots, usize::MAX)?;
    assert_eq!(count, roots.len());
    let mut records = Vec::new();
    if over_sc {
        let mut stream = growth.records();
        while let Some((at, record)) = stream.next() {
            records.push((at, record.to_vec()));
        }
        assert_eq!(records.len(), growth.record_count());
    }
    let change = |change: storeshift::model::ChangeRef<'_>| Change {
        key: change.key.to_vec(),
        value: change.value.map(<[u8]>::to_vec),
    };
    let changes = (0..count).map(|number| growth.changes(number).map(change).collect()).collect();
    Ok((records, changes))
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The nodes and roots of a step of `iavl_mixed.json`: what IAVL v0.20.1 and v1.2.2 left in the database.
fn go(step: usize) -> (NodeMap, BTreeMap<Version, Option<Hash>>) {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../vectors/iavl_mixed.json")).unwrap();
    let (mut nodes, mut roots) = (NodeMap::default(), BTreeMap::new());
    for record in vectors[step]["Raw"].as_array().unwrap() {
        let bytes = |field: &str| unhex(record[field].as_str().unwrap());
        let (key, value) = (bytes("K"), bytes("V"));
        match key[0] {
            b's' => drop(nodes.records.insert(NodeKey::from_bytes(&key).unwrap(), value)),
            b'n' => drop(nodes.legacy.insert(Hash(key[1..].try_into().unwrap()), value)),
            b'r' => {
                let version = Version(u64::from_be_bytes(key[1..].try_into().unwrap()));
                roots.insert(version, (!value.is_empty()).then(|| Hash(value.try_into().unwrap())));
            }
            _ => {}
        }
    }
    (nodes, roots)
}

/// The history of the vectors.
fn of_the_vectors() -> History {
    history(vec![
        vec![set("a", "1"), set("b", "2"), set("c", "3")],
        vec![set("b", "22"), set("d", "")],
        vec![],
        vec![remove("a")],
        vec![],
        vec![set("b", "222")],
    ])
}

#[test]
fn what_these_tests_make_of_a_history_is_byte_for_byte_what_go_made_of_it() {
    let history = of_the_vectors();
    let carried = carry_over(&history.records, Version(4)).unwrap();
    assert_eq!((carried.nodes.clone(), carried.legacy_roots.clone()), go(2));
    let mut until_5 = carried;
    until_5.nodes.records.retain(|at, _| at.version <= Version(5));
    assert_eq!((until_5.nodes, until_5.legacy_roots), go(1));
}

#[test]
fn versions_any_distance_apart_differ_as_they_would_without_legacy_nodes() {
    let (mut compared, mut anew) = (0, 0);
    for seed in 0..12 {
        let history = history(blocks(&mut Random(seed), 12, 12, 60));
        let whole = current(&history);
        for until in 1..=12 {
            let Some(carried) = carry_over(&history.records, Version(until)) else { continue };
            anew += usize::from(carried.nodes.records.keys().any(|at| at.nonce == 0));
            for (from, to) in (1..12).flat_map(|from| (from + 1..=12).map(move |to| (Version(from), Version(to)))) {
                let wanted = differences(&history, &whole, from, to);
                assert_eq!(differences(&history, &carried, from, to), wanted, "seed {seed}, {until}: {from} to {to}");
                compared += 1;
            }
        }
    }
    assert!(compared > 5_000 && anew > 5, "{compared} compared, {anew} with a root that was written anew");
}

#[test]
fn a_root_that_has_two_names_is_one_node_whichever_version_is_the_older() {
    // At 3 IAVL 1.x writes the root of 2 anew; at 4 it becomes a child under its new name.
    let leaf = history(vec![vec![set("a", "1")], vec![], vec![], vec![set("b", "2")]]);
    let inner = history(vec![vec![set("a", "1"), set("b", "1")], vec![], vec![], vec![set("c", "2"), set("d", "2")]]);
    for history in [leaf, inner] {
        let carried = carry_over(&history.records, Version(2)).unwrap();
        let by_key = NodeId::Current(NodeKey::new(Version(1), 0));
        assert!(matches!(carried.roots[&Version(2)], Some(NodeId::Legacy(_))));
        assert_eq!(carried.roots[&Version(3)], Some(by_key));
        assert_eq!(differences(&history, &carried, Version(2), Version(3)), []);
        assert_eq!(differences(&history, &carried, Version(2), Version(4)), history.changes[&Version(4)]);
        assert_eq!(differences(&history, &carried, Version(3), Version(4)), history.changes[&Version(4)]);
        // The other way round: who has only the older name names it so above a tree that has the newer one.
        let mut reversed = carried.clone();
        reversed.roots.insert(Version(2), carried.roots[&Version(3)]);
        let root = NodeKey::root_of(Version(4));
        let record = reversed.nodes.records[&root].clone();
        let Node::Inner { height, size, key, hash, left, right } = Node::decode(&record).unwrap() else { panic!() };
        let Some(old @ NodeId::Legacy(_)) = carried.roots[&Version(2)] else { panic!() };
        let named = |child: NodeId| if child.is_same(by_key) { old } else { child };
        let mut renamed = Vec::new();
        Node::Inner { height, size, key, hash, left: named(left), right: named(right) }.encode(&mut renamed);
        reversed.nodes.records.insert(root, renamed);
        assert_eq!(differences(&history, &reversed, Version(2), Version(4)), history.changes[&Version(4)]);
        assert_eq!(differences(&history, &reversed, Version(2), Version(3)), []);
    }
}

#[test]
fn a_root_that_was_written_anew_is_not_taken_for_another_legacy_node() {
    let history = history(vec![
        vec![set("a", "1"), set("b", "1"), set("c", "1")],
        vec![set("b", "2")],
        vec![],
        vec![set("d", "2")],
    ]);
    let mut carried = carry_over(&history.records, Version(2)).unwrap();
    // The record of version 1's root where that of version 2's ought to be.
    let Some(NodeId::Legacy(other)) = carried.roots[&Version(1)] else { panic!() };
    let record = carried.nodes.legacy[&other].clone();
    let mut wrong = Vec::new();
    legacy::decode(other, &record).unwrap().1.encode(&mut wrong);
    *carried.nodes.records.get_mut(&NodeKey::new(Version(2), 0)).unwrap() = wrong;
    let old = Some(OldTree { root: carried.roots[&Version(2)].unwrap(), version: Version(2) });
    let new = claim(&history, &carried, Version(3));
    assert!(matches!(diff(&mut carried.nodes, old, new, &mut |_, _| true), Err(ProveError::HashMismatch { .. })));
}

#[test]
fn what_a_store_grew_by_over_a_legacy_tree_is_what_it_would_be_over_a_current_one() {
    let (mut grew, mut over_legacy, mut refused) = (0, 0, 0);
    for seed in 0..12 {
        let history = history(blocks(&mut Random(100 + seed), 12, 12, 60));
        let whole = current(&history);
        for until in 1..12 {
            let Some(carried) = carry_over(&history.records, Version(until)) else { continue };
            for from in until..12 {
                for over_sc in [true, false] {
                    let (from, to) = (Version(from), Version(12));
                    let wanted = grown(&history, &whole, from, to, over_sc).unwrap();
                    match grown(&history, &carried, from, to, over_sc) {
                        Ok(given) => {
                            assert!(given == wanted, "seed {seed}, {until}: {from} to {to}, over SC {over_sc}");
                            grew += 1;
                            over_legacy += usize::from(matches!(carried.roots[&from], Some(NodeId::Legacy(_))));
                        }
                        // A node that was written anew has two names, which only a replay can follow.
                        Err(why) => {
                            assert!(carried.nodes.records.keys().any(|at| at.nonce == 0), "{why}");
                            refused += 1;
                        }
                    }
                }
            }
        }
    }
    println!("{grew} grew, {over_legacy} of them right over a legacy root; {refused} are for a replay");
    assert!(grew > 500 && over_legacy > 50 && refused < grew / 4, "{grew} {over_legacy} {refused}");
}

/// A tree that could not be looked at must not be taken for an empty one: what is gone would not be missed.
#[test]
fn a_trunk_that_nobody_can_find_is_not_taken_for_the_empty_tree() {
    let history = history(vec![vec![set("a", "1"), set("b", "1")], vec![set("a", "2"), remove("b")]]);
    let mut nodes = NodeMap { records: history.records.clone(), ..NodeMap::default() };
    let (mut source, mut target) = (nodes.clone(), nodes.clone());
    let trunk = Trunk { version: Version(1), hash: history.hashes[&Version(1)], root: None };
    let mut readers = Readers { grown: &mut nodes, source: &mut source, target: &mut target, same_after: Version(0) };
    assert!(Growth::default().read(&mut readers, trunk, &[history.hashes[&Version(2)]], usize::MAX).is_err());
}

/// Grows on the first version of a store whose only nodes these are.
fn grows(nodes: &NodeMap, trunk: Hash, root: Hash) -> Result<usize, ProveError> {
    let (mut grown, mut source, mut target) = (nodes.clone(), nodes.clone(), nodes.clone());
    let at = NodeId::Current(NodeKey::root_of(Version(1)));
    let trunk = Trunk { version: Version(1), hash: trunk, root: Some((at, at)) };
    let mut readers = Readers { grown: &mut grown, source: &mut source, target: &mut target, same_after: Version(0) };
    Growth::default().read(&mut readers, trunk, &[root], usize::MAX)
}

#[test]
fn another_trunk_than_the_one_that_was_asked_for_is_refused_though_nothing_of_it_is_kept() {
    let history = history(vec![vec![set("a", "1"), set("b", "1")], vec![remove("a"), remove("b")]]);
    let nodes = NodeMap { records: history.records.clone(), ..NodeMap::default() };
    assert_eq!(grows(&nodes, history.hashes[&Version(1)], Hash::EMPTY).unwrap(), 1);
    // What was removed from it would be another tree's.
    assert!(matches!(grows(&nodes, Hash([1; 32]), Hash::EMPTY), Err(ProveError::HashMismatch { .. })));
}

#[test]
fn nodes_that_are_not_numbered_as_they_grew_are_refused_though_their_hashes_fit() {
    let history = history(vec![vec![set("a", "1"), set("b", "1")], vec![set("a", "2"), set("b", "2")]]);
    let mut nodes = NodeMap { records: history.records.clone(), ..NodeMap::default() };
    let hashes = [1, 2].map(|version| history.hashes[&Version(version)]);
    assert_eq!(grows(&nodes, hashes[0], hashes[1]).unwrap(), 1);
    let [root, one, other] = [1, 2, 3].map(|nonce| NodeKey::new(Version(2), nonce));
    let [first, second] = [one, other].map(|at| nodes.records[&at].clone());
    nodes.records.extend([(one, second), (other, first)]);
    let record = nodes.records[&root].clone();
    let Ok(Node::Inner { height, size, key, hash, left, right }) = Node::decode(&record) else { panic!() };
    let mut swapped = Vec::new();
    Node::Inner { height, size, key, hash, left: right, right: left }.encode(&mut swapped);
    nodes.records.insert(root, swapped);
    let read = grows(&nodes, hashes[0], hashes[1]);
    assert!(matches!(read, Err(ProveError::Shape { .. })), "{read:?}");
}

#[test]
fn an_old_leaf_that_is_not_the_one_its_parent_names_is_not_taken_for_one_that_was_replaced() {
    let history = history(vec![vec![set("a", "1"), set("t", "1")], vec![remove("t"), set("k", "2")]]);
    let mut nodes = NodeMap { records: history.records.clone(), ..NodeMap::default() };
    let [old, new] = [1, 2].map(|version| NodeKey::root_of(Version(version)));
    let differ = |nodes: &NodeMap| {
        let new = Claim { at: new.into(), hash: history.hashes[&Version(2)] };
        let old = OldTree { root: old.into(), version: Version(1) };
        diff(&mut nodes.clone(), Some(old), Some(new), &mut |_, _| true)
    };
    differ(&nodes).unwrap();
    let record = nodes.records[&old].clone();
    let Ok(Node::Inner { height, size, hash, left, right, .. }) = Node::decode(&record) else { panic!() };
    let mut other = Vec::new();
    Node::Inner { height, size, key: b"k", hash, left, right }.encode(&mut other);
    nodes.records.insert(old, other);
    // Otherwise "t" would not be removed.
    assert!(matches!(differ(&nodes), Err(ProveError::InnerKey { .. })));
}

/// Refuses legacy nodes.
struct Modern(NodeMap);

impl NodeReader for Modern {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.0.read(key, out)
    }
}

#[test]
fn a_legacy_base_of_which_any_node_is_missing_or_wrong_is_refused_or_was_not_looked_at() {
    let history = history(blocks(&mut Random(7), 8, 10, 30));
    let Some(carried) = (3..8).find_map(|until| {
        carry_over(&history.records, Version(until)).filter(|carried| {
            (until..8).any(|from| matches!(carried.roots[&Version(from)], Some(NodeId::Legacy(_))))
                && grown(&history, carried, Version(until), Version(8), false).is_ok()
        })
    }) else {
        panic!("no history fits")
    };
    let from = *carried.legacy_roots.keys().max().unwrap();
    let wanted = grown(&history, &carried, from, Version(8), false).unwrap();
    let (mut refused, mut harmless) = (0, 0);
    for (name, record) in &carried.nodes.legacy {
        for bit in 0..=record.len() * 8 {
            let mut damaged = carried.clone();
            if bit == record.len() * 8 {
                damaged.nodes.legacy.remove(name);
            } else {
                damaged.nodes.legacy.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            }
            match grown(&history, &damaged, from, Version(8), false) {
                Ok(given) => {
                    assert!(given == wanted, "{name}, bit {bit}");
                    harmless += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    println!("{refused} refused, {harmless} not looked at");
    assert!(refused > 100, "{refused}");
    // SC has no legacy nodes; a record there that names one is nothing to go on with.
    let root = carried.roots[&from];
    let trunk = Trunk { version: from, hash: history.hashes[&from], root: root.zip(root) };
    let (mut grown, mut source) = (carried.nodes.clone(), carried.nodes.clone());
    let mut target = Modern(carried.nodes.clone());
    let mut readers = Readers { grown: &mut grown, source: &mut source, target: &mut target, same_after: from };
    let roots = [history.hashes[&from.next()]];
    assert!(matches!(Growth::default().read(&mut readers, trunk, &roots, usize::MAX), Err(ProveError::Missing(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_carried_over_at_any_version_differs_and_grows_the_same(
        seed: u64, versions in 2u64..9, most in 1u64..20, keys in 1u64..50, until in 1u64..9,
    ) {
        let history = history(blocks(&mut Random(seed), versions, most, keys));
        let until = until.min(versions);
        let whole = current(&history);
        let Some(carried) = carry_over(&history.records, Version(until)) else { return Ok(()) };
        for (from, to) in (1..versions).map(|from| (Version(from), Version(from + 1))) {
            prop_assert_eq!(differences(&history, &carried, from, to), differences(&history, &whole, from, to));
        }
        for over_sc in [true, false] {
            if let Ok(given) = grown(&history, &carried, Version(until), Version(versions), over_sc) {
                prop_assert!(given == grown(&history, &whole, Version(until), Version(versions), over_sc).unwrap());
            }
        }
    }
}
