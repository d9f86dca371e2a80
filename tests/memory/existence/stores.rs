//! Every pair of every version of the fixtures, and keys between them, up to the app hash that the chain had; stores of all kinds; the
//! same proofs from a target as from its source.

use super::judge::{Judged, is_committed, queries, read};
use crate::{
    scenarios::{chain, open, world},
    support::stores::{Chain, fixture, source},
};
use std::collections::BTreeMap;
use storeshift::{
    iavl::{
        Access, Claim, NodeId, NodeKey, NodeMap, RootRecord,
        ics23::{CommitmentProof, StoreProof, StoreProofError},
        prove,
    },
    model::{CommitInfo, Hash, Sibling, StoreInfo, StoreKey, Version},
    plan::At,
    source::{Source, StoreRoot, commit_info},
    target::Commitment as _,
};

#[path = "../../fixtures/oldest.rs"]
mod oldest;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The root of a store, and all its pairs, read in another way than a proof does.
fn tree(source: &dyn Source, store: &StoreInfo, version: Version) -> (Option<NodeId>, Pairs) {
    let StoreRoot::Node { at, .. } = source.root(&store.name, version).unwrap().unwrap() else {
        return (None, Pairs::new());
    };
    let mut pairs = Pairs::new();
    let claim = Claim { at, hash: store.root.unwrap() };
    let mut nodes = source.nodes(&store.name, Access::Runs);
    prove(&mut nodes, claim, 1 << 24, &mut |node| {
        if node.height == 0 {
            pairs.push((node.key.to_vec(), node.value.to_vec()));
        }
        true
    })
    .unwrap();
    (Some(at), pairs)
}

/// The app hashes that the chain had.
fn app_hashes(name: &str) -> BTreeMap<u64, Hash> {
    let path = format!("{}/tests/fixtures/{name}/expected.json", env!("CARGO_MANIFEST_DIR"));
    let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let versions = expected["versions"].as_array().unwrap().iter();
    versions.map(|v| (v["version"].as_u64().unwrap(), v["app_hash"].as_str().unwrap().parse().unwrap())).collect()
}

#[test]
fn every_key_of_every_retained_version_and_every_gap_between_proves_up_to_the_chains_own_app_hash() {
    // PebbleDB's is Go's to judge, in `tests/interop/proofs.rs`.
    for (name, oldest) in oldest::FIXTURES.into_iter().filter(|(name, _)| *name != "pebble") {
        let source = source(fixture(name));
        let app_hashes = app_hashes(name);
        let mut judged = Judged::default();
        for version in oldest..=source.latest().unwrap().0 {
            let info = source.commit_info(Version(version)).unwrap().unwrap();
            // Memory stores of SDK 0.46 have no root, and count.
            for store in info.stores.iter().filter(|store| store.root.is_some()) {
                let (root, pairs) = tree(source.as_ref(), store, info.version);
                let mut nodes = source.nodes(&store.name, Access::Points);
                for (key, value) in queries(&pairs) {
                    let proof = StoreProof::prove(&mut nodes, root, &info, &store.name, &key).unwrap();
                    judged.check_chain(&proof, &store.name, &app_hashes[&version], &key, value);
                }
            }
        }
        println!("{name}: {judged:?}");
        assert!(judged.there > 100 && judged.absent > 100 && judged.no_tree > 0, "{name}: {judged:?}");
    }
}

#[test]
fn a_store_proves_into_the_app_hash_however_many_there_are_and_however_long_their_names() {
    let name = |i: usize| StoreKey::from(format!("{i:03}{}", "n".repeat(i * i * 7 % 300)));
    let root = |i: usize| match i % 5 {
        3 => Some(Hash::EMPTY),
        4 => None,
        _ => Some(Hash::of(&[&[i as u8]])),
    };
    for count in 1..=70 {
        let store = |i| StoreInfo { name: name(i), version: Version(1), root: root(i) };
        // The order they come in says nothing.
        let stores = (0..count).rev().map(store).collect();
        let info = CommitInfo { version: Version(1), stores, timestamp: None };
        let app_hash = info.app_hash();
        for i in 0..count {
            let proof = |key: &[u8]| StoreProof::prove(&mut NodeMap::default(), None, &info, &name(i), key);
            if i % 5 < 3 {
                assert!(matches!(proof(b"key"), Err(StoreProofError::Root { .. })), "a root and no tree");
                continue;
            }
            let proof = proof(b"key").unwrap();
            assert_eq!(proof.app_hash(), app_hash);
            let simple = read(&CommitmentProof::Exist(proof.store));
            let recorded = root(i).map_or(Vec::new(), |root| root.0.to_vec());
            // The judge refuses the empty value that a memory store has for a root.
            assert_eq!(is_committed(&simple, &app_hash, &name(i), &recorded), i % 5 == 3, "{i} of {count}");
            assert!(!is_committed(&simple, &app_hash, &name(i + 1), &recorded));
            assert!(!is_committed(&simple, &app_hash, &name(i), &Hash::of(&[b"another"]).0));
            assert!(!is_committed(&simple, &Hash::EMPTY, &name(i), &recorded));
        }
        let unknown = StoreProof::prove(&mut NodeMap::default(), None, &info, &StoreKey::from("no"), b"key");
        assert!(matches!(unknown, Err(StoreProofError::NoStore { .. })));
    }
}

#[test]
fn every_store_of_the_commit_infos_that_go_hashed_leads_to_gos_app_hash() {
    let cases: serde_json::Value = serde_json::from_str(include_str!("../../vectors/apphash_v1_cases.json")).unwrap();
    let real: serde_json::Value = serde_json::from_str(include_str!("../../vectors/rootmulti_v1.json")).unwrap();
    let cases = cases.as_array().unwrap().iter().map(|case| &case["info"]);
    let real = real.as_array().unwrap().iter().map(|step| &step["commit_info"]).filter(|info| !info.is_null());
    let mut stores = 0;
    for case in cases.chain(real) {
        let text = case["protobuf"].as_str().unwrap();
        let bytes = (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap());
        let info = commit_info::decode(&bytes.collect::<Vec<u8>>()).unwrap();
        for leaf in case["stores"].as_array().unwrap_or(&Vec::new()) {
            let siblings = info.siblings(&StoreKey::from(leaf["name"].as_str().unwrap())).unwrap();
            let up = |hash: Hash, sibling: &Sibling| match sibling {
                Sibling::Left(left) => Hash::of(&[&[1], &left.0, &hash.0]),
                Sibling::Right(right) => Hash::of(&[&[1], &hash.0, &right.0]),
            };
            let root = siblings.iter().fold(leaf["leaf"].as_str().unwrap().parse().unwrap(), up);
            assert_eq!(root.to_string(), case["app_hash"].as_str().unwrap());
            stores += 1;
        }
        assert_eq!(info.siblings(&StoreKey::from("no")), None);
    }
    assert!(stores > 50, "{stores}");
}

#[test]
fn a_target_gives_the_very_proofs_of_its_source() {
    let mut chain: Chain = chain(&["acc", "a-store-with-a-long-name", "b"], 30, 4);
    chain.add_store("empty");
    // Idle: the root of every store is a reference, in the source too.
    chain.commit(&Vec::new());
    chain.commit(&Vec::new());
    let world = world(&chain, At::Version(Version(20)), true);
    open(&world).run().unwrap();
    let mut judged = Judged::default();
    for version in 20..=chain.version.0 {
        let version = Version(version);
        let (ours, theirs) = (world.sc.commit_info(version).unwrap().unwrap(), &world.source);
        let info = theirs.commit_info(version).unwrap().unwrap();
        for store in &info.stores {
            let (root, pairs) = tree(theirs.as_ref(), store, version);
            let mut nodes = world.sc.nodes(&store.name, Access::Points).unwrap();
            let at = NodeKey::root_of(version);
            let mut record = Vec::new();
            assert!(nodes.read(at, &mut record).unwrap());
            let migrated = match RootRecord::decode(&record).unwrap() {
                RootRecord::Empty => None,
                RootRecord::Reference(to) => Some(to.into()),
                RootRecord::Node => Some(at.into()),
            };
            let mut source = theirs.nodes(&store.name, Access::Points);
            for (key, value) in queries(&pairs) {
                let proof = StoreProof::prove(&mut nodes, migrated, &ours, &store.name, &key).unwrap();
                assert_eq!(proof, StoreProof::prove(&mut source, root, &info, &store.name, &key).unwrap());
                judged.check_chain(&proof, &store.name, &info.app_hash(), &key, value);
            }
        }
    }
    assert!(judged.there > 1000 && judged.absent > 1000 && judged.no_tree > 0, "{judged:?}");
}
