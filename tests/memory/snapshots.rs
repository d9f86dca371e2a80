//! Versions that cannot be migrated, and that the beginning of a job refuses by name instead of beginning.

use crate::support::stores::{Block, Chain, encode_commit_info};
use std::sync::Arc;
use storeshift::{
    iavl::NodeKey,
    model::{CommitInfo, Hash, Version},
    phases::snapshot::preflight,
    plan::{At, Plan},
    source::{self, MemoryEngine, Rootmulti},
    target,
};

fn chain() -> (Chain, Vec<CommitInfo>) {
    let mut chain = Chain::with_stores(&["bank", "gov"]);
    let block = |version: u64| -> Block {
        let pair = |key: u64| (format!("{version}-{key}").into_bytes(), Some(vec![version as u8]));
        ["bank", "gov"].into_iter().map(|store| (store, (0..5).map(pair).collect())).collect()
    };
    let infos = (1..=6).map(|version| chain.commit(&block(version))).collect();
    (chain, infos)
}

fn begin(engine: &MemoryEngine, plan: &Plan) -> Result<CommitInfo, String> {
    preflight(Arc::new(Rootmulti::new(engine.clone())).as_ref(), plan).map_err(|error| error.to_string())
}

fn at(at: At) -> Plan {
    Plan { at, ..Plan::new() }
}

fn root(store: &str, version: u64) -> Vec<u8> {
    [format!("s/k:{store}/").as_bytes(), &NodeKey::root_of(Version(version)).to_bytes()].concat()
}

#[test]
fn a_version_of_which_a_tree_is_gone_is_refused_and_history_begins_after_it() {
    let (chain, _) = chain();
    assert_eq!(begin(&chain.engine, &at(At::Oldest)).unwrap().version, Version(1));
    for store in ["bank", "gov"] {
        let mut engine = chain.engine.clone();
        engine.pairs.remove(&root(store, 3)).unwrap();
        let refused = begin(&engine, &at(At::Version(Version(3)))).unwrap_err();
        assert!(refused.contains(store) && refused.contains("no tree of version 3"), "{refused}");
        assert_eq!(begin(&engine, &at(At::Oldest)).unwrap().version, Version(4));
    }
}

#[test]
fn a_root_that_is_not_the_one_its_commit_info_says_is_refused() {
    let (chain, _) = chain();
    let mut engine = chain.engine.clone();
    // What a prune that was interrupted leaves: another version's root under this one's key.
    let ghost = engine.pairs[&root("bank", 2)].clone();
    engine.pairs.insert(root("bank", 3), ghost);
    let refused = begin(&engine, &at(At::Version(Version(3)))).unwrap_err();
    assert!(refused.contains("bank") && refused.contains("its commit info says"), "{refused}");
    assert_eq!(begin(&engine, &at(At::Oldest)).unwrap().version, Version(4));
}

#[test]
fn stores_that_are_no_iavl_stores_are_refused() {
    let (chain, infos) = chain();
    let with = |change: &dyn Fn(&mut CommitInfo)| {
        let (mut engine, mut info) = (chain.engine.clone(), infos[5].clone());
        change(&mut info);
        engine.pairs.insert(b"s/6".to_vec(), encode_commit_info(&info));
        begin(&engine, &at(At::Latest)).unwrap_err()
    };
    let older = with(&|info| info.stores[0].version = Version(5));
    assert!(older.contains("recorded at version 5"), "{older}");
    let memory = with(&|info| (info.stores[1].version, info.stores[1].root) = (Version(0), None));
    assert!(memory.contains("memory store") && memory.contains("leave"), "{memory}");
    let rootless = with(&|info| info.stores[1].root = None);
    assert!(rootless.contains("no root"), "{rootless}");
}

#[test]
fn another_app_hash_than_the_trusted_one_is_refused() {
    let (chain, infos) = chain();
    let trusting = |app_hash: Hash| Plan { app_hash: Some(app_hash), ..at(At::Latest) };
    begin(&chain.engine, &trusting(infos[5].app_hash())).unwrap();
    // A block's header carries that of the version before.
    let refused = begin(&chain.engine, &trusting(infos[4].app_hash())).unwrap_err();
    assert!(refused.contains("the trusted one is"), "{refused}");
}

#[test]
fn a_legacy_root_that_is_cut_short_is_damage_and_not_an_empty_tree() {
    let (chain, mut infos) = chain();
    let key = [b"s/k:bank/r".as_slice(), &6u64.to_be_bytes()].concat();
    let mut engine = chain.engine.clone();
    engine.pairs.remove(&root("bank", 6)).unwrap();
    // Of an empty tree nothing but the root tells.
    infos[5].stores[0].root = Some(Hash::EMPTY);
    engine.pairs.insert(b"s/6".to_vec(), encode_commit_info(&infos[5]));
    engine.pairs.insert(key.clone(), Vec::new());
    begin(&engine, &at(At::Latest)).unwrap();
    for length in [1, 31, 33] {
        engine.pairs.insert(key.clone(), vec![7; length]);
        let refused = begin(&engine, &at(At::Latest)).unwrap_err();
        assert!(refused.contains("32 bytes"), "{refused}");
    }
}

#[test]
fn a_commit_info_in_anothers_place_is_refused() {
    let (chain, _) = chain();
    let mut engine = chain.engine.clone();
    let other = engine.pairs[b"s/5".as_slice()].clone();
    engine.pairs.insert(b"s/6".to_vec(), other);
    let refused = begin(&engine, &at(At::Latest)).unwrap_err();
    assert!(refused.contains("of another version"), "{refused}");
}

#[test]
fn commit_infos_that_are_cut_within_a_field_or_have_bytes_left_over_are_refused() {
    let (_, infos) = chain();
    for info in &infos {
        let bytes = source::commit_info::encode(info);
        let whole = (0..bytes.len()).filter(|length| source::commit_info::decode(&bytes[..*length]).is_ok()).count();
        // Between two fields nobody can tell: nothing, the version, and each store.
        assert_eq!(whole, 2 + info.stores.len());
        let mut bytes = target::commit_info::encode(info);
        assert!(target::commit_info::decode(&bytes).is_some());
        bytes.push(0);
        assert_eq!(target::commit_info::decode(&bytes), None);
    }
}
