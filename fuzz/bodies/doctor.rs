//! The doctor on a small chain's database with records lost, moved, changed and added: whatever it calls whole or fit to be
//! migrated proves, version by version and tree by tree, by the code that proves trees.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};
use storeshift::{
    doctor::{Scope, Watch, examine},
    iavl::{
        Access, Claim, NodeMap, prove,
        tree::Tree,
        varint::{put_bytes, put_uv},
    },
    model::{Change, Hash, StoreKey, Version},
    plan::Tuning,
    progress::Stop,
    source::{MemoryEngine, Rootmulti, Source, StoreRoot, is_memory_store},
};

/// Versions and ranges of them that are looked at.
const MOST: u64 = 64;

pub fn run(data: &[u8]) {
    let source = Rootmulti::new(MemoryEngine { pairs: changed(data) });
    let tuning = Tuning { workers: 1, memory: 1 << 20, ..Tuning::default() };
    let Ok(report) = examine(&source, Scope::default(), tuning, &Watch::default(), &Stop::default()) else { return };
    for range in &report.migratable {
        assert!(report.latest.is_some(), "what has no newest version is not migrated");
        for version in (range.first..=range.last).take(MOST as usize) {
            assert!(proves(&source, version, range.leave_out_memory_stores), "version {version}: {}", report.verdict);
        }
    }
    for range in &report.whole {
        for version in (range.first..=range.last).take(MOST as usize) {
            assert!(proves(&source, version, true), "version {version} is not whole: {}", report.verdict);
        }
    }
    if report.sound
        && let Some(latest) = report.latest
    {
        assert!(proves(&source, latest, true), "the newest version, {latest}: {}", report.verdict);
    }
    // What is whole up to the newest version is not kept back.
    if let Some(latest) = report.latest
        && report.sound
    {
        let held_back = report.excluded.iter().any(|range| (range.first..=range.last).contains(&latest));
        assert!(!held_back, "nothing is damaged, and the newest version is not fit: {}", report.verdict);
    }
}

/// Whether every tree of a version proves from its root down.
fn proves(source: &dyn Source, version: u64, without_memory_stores: bool) -> bool {
    let version = Version(version);
    let Ok(Some(info)) = source.commit_info(version) else { return false };
    info.stores.iter().filter(|store| !(without_memory_stores && is_memory_store(store))).all(|store| {
        let Some(hash) = store.root else { return false };
        match source.root(&store.name, version) {
            Ok(Some(StoreRoot::Empty)) => hash == Hash::EMPTY,
            Ok(Some(StoreRoot::Node { at, .. })) => {
                let mut nodes = source.nodes(&store.name, Access::Points);
                prove(&mut *nodes, Claim { at, hash }, 1 << 20, &mut |_| true).is_ok()
            }
            _ => false,
        }
    })
}

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The chain's pairs, changed as the input says: four bytes for each change.
fn changed(data: &[u8]) -> Pairs {
    static CHAIN: OnceLock<Arc<Pairs>> = OnceLock::new();
    let chain = CHAIN.get_or_init(|| Arc::new(chain()));
    let mut pairs = Pairs::clone(chain);
    let (changes, rest) = data.as_chunks::<4>();
    for &[what, one, other, bits] in changes.iter().take(32) {
        let nth = |at: u8| pairs.iter().nth(usize::from(at) % pairs.len().max(1)).map(|(k, v)| (k.clone(), v.clone()));
        let (Some((key, mut value)), Some((second, theirs))) = (nth(one), nth(other)) else { break };
        match what % 8 {
            0 => drop(pairs.remove(&key)),
            1 => drop(pairs.insert(key, theirs)),
            2 => {
                let at = usize::from(other) % value.len().max(1);
                if let Some(byte) = value.get_mut(at) {
                    *byte ^= bits;
                }
                pairs.insert(key, value);
            }
            3 => {
                value.truncate(usize::from(other));
                pairs.insert(key, value);
            }
            4 => {
                value.push(bits);
                pairs.insert(key, value);
            }
            5 => {
                // Another key, the first time with the same value.
                let mut key = key;
                let at = key.len().saturating_sub(1 + usize::from(other) % 14);
                if let Some(byte) = key.get_mut(at) {
                    *byte ^= bits;
                }
                pairs.insert(key, value);
            }
            6 => {
                pairs.insert(key, theirs);
                pairs.insert(second, value);
            }
            _ => drop(pairs.insert(key, rest.to_vec())),
        }
    }
    pairs
}

/// Eight versions of three stores: one that changes, one that rests, one that begins late and is empty at first.
fn chain() -> Pairs {
    let mut pairs = Pairs::new();
    let mut trees: BTreeMap<&str, (Tree, NodeMap)> = BTreeMap::new();
    for name in ["bank", "gov"] {
        trees.insert(name, (Tree::load(None, Version(0)), NodeMap::default()));
    }
    for version in (1..=8).map(Version) {
        if version == Version(4) {
            trees.insert("late", (Tree::load(None, Version(3)), NodeMap::default()));
        }
        let mut info = vec![0x08];
        put_uv(&mut info, version.0);
        for (name, (tree, nodes)) in &mut trees {
            tree.apply(nodes, &block(name, version.0)).expect("changes of ours");
            let committed = tree.commit(nodes, version).expect("a tree of ours");
            for (at, record) in committed.records {
                pairs.insert([format!("s/k:{name}/").as_bytes(), &at.to_bytes()].concat(), record.clone());
                nodes.records.insert(at, record);
            }
            let mut id = vec![0x08];
            put_uv(&mut id, version.0);
            id.push(0x12);
            put_bytes(&mut id, &committed.hash.0);
            let mut store = vec![0x0a];
            put_bytes(&mut store, StoreKey::from(*name).as_str().as_bytes());
            store.push(0x12);
            put_bytes(&mut store, &id);
            info.push(0x12);
            put_bytes(&mut info, &store);
        }
        pairs.insert(format!("s/{version}").into_bytes(), info);
    }
    pairs.insert(b"s/latest".to_vec(), vec![0x08, 8]);
    pairs
}

fn block(store: &str, version: u64) -> Vec<Change> {
    let set = |key: u64| Change { key: vec![b'k', key as u8], value: Some(vec![version as u8; 3]) };
    match (store, version) {
        ("bank", _) => {
            let mut keys = [version % 5, 5 + version % 3, 8 + version];
            keys.sort_unstable();
            keys.into_iter().map(set).collect()
        }
        ("gov", 1) => (0..5).map(set).collect(),
        ("gov", 6) => vec![Change { key: vec![b'k', 2], value: None }],
        ("late", 6..) => vec![set(version)],
        _ => Vec::new(),
    }
}
