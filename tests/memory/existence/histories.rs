//! Trees that Go wrote, of every step of the vectors, and trees of all shapes, grown here, of nodes of all kinds.

use super::judge::Judged;
use crate::{
    proofs::tree::{KINDS, grow_kind, prove_all},
    support::random::{Random, seed},
};
use std::collections::{BTreeMap, BTreeSet};
use storeshift::{
    iavl::{Access, Claim, NodeId, NodeMap, NodeReader, ReadError, ics23::prove_key},
    model::{Hash, StoreKey, Version},
    source::{MemoryEngine, Rootmulti, Source as _, StoreRoot},
};

type Raw = BTreeMap<Vec<u8>, Vec<u8>>;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// Proves all of one version of a store that has these records, whose root Go says has this hash.
fn check(judged: &mut Judged, raw: &Raw, version: Version, root: Hash, what: &str) {
    let pairs = raw.iter().map(|(key, value)| ([b"s/k:tree/", key.as_slice()].concat(), value.clone())).collect();
    let source = Rootmulti::new(MemoryEngine { pairs });
    let store = StoreKey::from("tree");
    let claim = match source.root(&store, version).unwrap().unwrap_or_else(|| panic!("{what}: no version {version}")) {
        StoreRoot::Empty => None,
        StoreRoot::Node { at, .. } => Some(Claim { at, hash: root }),
    };
    assert!(claim.is_some() || root == Hash::EMPTY, "{what}");
    let mut nodes = source.nodes(&store, Access::Points);
    let mut pairs = Vec::new();
    if let Some(claim) = claim {
        storeshift::iavl::prove(&mut nodes, claim, 1 << 20, &mut |node| {
            if node.height == 0 {
                pairs.push((node.key.to_vec(), node.value.to_vec()));
            }
            true
        })
        .unwrap();
    }
    judged.check_all(&mut nodes, claim, &pairs);
}

#[test]
fn every_tree_that_go_wrote_proves_to_the_root_that_go_gave_it() {
    let mut judged = Judged::default();
    let mut trees = 0;
    for (name, text) in [
        ("basic", include_str!("../../vectors/iavl_v1_basic.json")),
        ("legacy", include_str!("../../vectors/iavl_v0_legacy.json")),
        ("mixed", include_str!("../../vectors/iavl_mixed.json")),
        ("import", include_str!("../../vectors/iavl_v1_import.json")),
    ] {
        let steps: serde_json::Value = serde_json::from_str(text).unwrap();
        for step in steps.as_array().unwrap() {
            let (Some(raw), Some(root)) = (step["Raw"].as_array(), step["RootHash"].as_str()) else { continue };
            let record = |record: &serde_json::Value| {
                (unhex(record["K"].as_str().unwrap()), unhex(record["V"].as_str().unwrap()))
            };
            let raw = raw.iter().map(record).collect();
            let what = format!("{name}: {}", step["Name"]);
            check(&mut judged, &raw, Version(step["Version"].as_u64().unwrap()), root.parse().unwrap(), &what);
            trees += 1;
        }
    }
    let histories: serde_json::Value = serde_json::from_str(include_str!("../../vectors/iavl_histories.json")).unwrap();
    for history in histories.as_array().unwrap() {
        for step in history["versions"].as_array().unwrap() {
            let Some(records) = step["records"].as_array() else { continue };
            let record = |record: &serde_json::Value| {
                let (key, value) = record.as_str().unwrap().split_once('=').unwrap();
                ([b"s", unhex(key).as_slice()].concat(), unhex(value))
            };
            // What a version has, and what it goes on from: each step has the records of its version alone.
            let mut raw: Raw = BTreeMap::new();
            raw.extend(history["base"]["records"].as_array().into_iter().flatten().map(record));
            for earlier in history["versions"].as_array().unwrap() {
                if earlier["version"].as_u64() <= step["version"].as_u64() {
                    raw.extend(earlier["records"].as_array().into_iter().flatten().map(record));
                }
            }
            raw.extend(records.iter().map(record));
            let what = format!("{} {}", history["name"], step["version"]);
            let root = step["root"].as_str().unwrap().parse().unwrap();
            check(&mut judged, &raw, Version(step["version"].as_u64().unwrap()), root, &what);
            trees += 1;
        }
    }
    println!("{trees} trees: {judged:?}");
    assert!(trees > 100 && judged.there > 500 && judged.absent > 500 && judged.no_tree > 5, "{trees}: {judged:?}");
}

/// Counts what is read.
struct Counting<'a> {
    nodes: &'a mut NodeMap,
    read: BTreeSet<NodeId>,
    reads: u64,
}

impl NodeReader for Counting<'_> {
    fn read(&mut self, key: storeshift::iavl::NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.reads += 1;
        self.read.insert(key.into());
        self.nodes.read(key, out)
    }

    fn read_legacy(&mut self, hash: &Hash, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.reads += 1;
        self.read.insert(NodeId::Legacy(*hash));
        self.nodes.read_legacy(hash, out)
    }
}

#[test]
fn grown_trees_of_every_kind_of_node_prove_and_no_more_is_read_than_the_way_down() {
    let mut random = Random(seed(23));
    let mut judged = Judged::default();
    for round in 0..120 {
        for kind in KINDS {
            let (mut nodes, claim) = grow_kind(kind, &mut random, 1 + round % 9, 1 + round, 1 + round * 2);
            let mut pairs = Vec::new();
            let mut height = 0;
            if let Some(claim) = claim {
                let (kept, proof) = prove_all(&nodes, claim, 1 << 20);
                height = u64::from(proof.unwrap().height);
                let leaves = kept.into_iter().filter(|node| node.height == 0);
                pairs.extend(leaves.map(|node| (node.key, node.value)));
            }
            judged.check_all(&mut nodes, claim, &pairs);
            for (key, value) in super::judge::queries(&pairs) {
                let mut counting = Counting { nodes: &mut nodes, read: BTreeSet::new(), reads: 0 };
                prove_key(&mut counting, claim, &key).unwrap();
                let most = if value.is_some() { 2 * height + 1 } else { 4 * height + 2 };
                assert!(counting.reads <= most, "{} reads, height {height}", counting.reads);
            }
        }
    }
    println!("{judged:?}");
    assert!(judged.there > 1000 && judged.absent > 1000 && judged.empty > 100, "{judged:?}");
}
