//! A node in Rust whose state migrates itself: commits go on, and come to the app hashes of a node that never migrated.
#![cfg(feature = "rocksdb")]

#[path = "../../benches/live/blocks.rs"]
mod blocks;
#[allow(dead_code)]
mod chain;
mod faults;
#[path = "../memory/existence/judge.rs"]
#[allow(dead_code)]
mod judge;
#[path = "../../benches/live/kill.rs"]
mod kill;
mod killed;
#[path = "../../benches/live/node.rs"]
mod node;
#[path = "../../benches/live/pace.rs"]
#[allow(dead_code)]
mod pace;
mod places;
#[path = "../../benches/live/trial.rs"]
#[allow(dead_code)]
mod trial;

use chain::{Model, tuning};
use std::{path::Path, time::Duration};
use storeshift::{
    Outcome,
    live::{Begin, Keeping, LiveStore, Places},
    model::Version,
    plan::Parts,
    root_store::{Options, Pruning, StoreError},
};

fn places(dir: &Path) -> Places {
    Places { v1: dir.join("application.db"), v2: dir.join("v2") }
}

fn keeping() -> Keeping {
    let pruning = Pruning::Keep { recent: 5, interval: 3 };
    Keeping { store: Options { pruning, threads: 1, ..Options::default() }, ..Keeping::default() }
}

fn begin(switch: bool) -> Begin {
    let mut begin = Begin { switch, tuning: tuning(), ..Begin::new() };
    begin.plan.chunk_leaves = 20;
    begin
}

/// From one block to the next. A chain that never rests may commit faster than versions can be applied.
const PACE: Duration = Duration::from_millis(3);

/// Commits until the migration has ended, and returns the version of the switch.
fn until_switched(store: &LiveStore, model: &mut Model) -> Version {
    while store.is_migrating() {
        model.commit(store);
        std::thread::sleep(PACE);
    }
    match store.wait() {
        Some(Ok(Outcome::Done { version, .. })) => version,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_goes_on_committing_while_it_migrates_and_after_the_switch_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let mut model = Model::new(1);
    let mut store = LiveStore::open(&places, keeping(), None).unwrap();
    model.commits(&store, 30);
    store.migrate(begin(true)).unwrap();
    let switched = until_switched(&store, &mut model);
    assert!(store.source().is_none(), "the store is not on store/v1 any more");
    model.commits(&store, 20);
    model.check(&store);
    drop(store);
    let store = LiveStore::open(&places, keeping(), None).unwrap();
    assert!(!store.is_migrating() && store.source().is_none());
    model.commits(&store, 5);
    model.check(&store);
    assert!(switched.0 > 30);
    // What is neither on store/v2 nor in store/v1 any more is an error, and never absent.
    assert!(matches!(store.at(Version(1)), Err(StoreError::NoVersion { .. })));
}

#[test]
fn versions_before_the_snapshot_are_read_from_store_v1_while_it_is_kept_and_else_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let mut model = Model::new(3);
    let keeping = Keeping { store: Options { threads: 1, ..Options::default() }, ..Keeping::default() };
    let mut store = LiveStore::open(&places, keeping, None).unwrap();
    model.commits(&store, 30);
    store.migrate(begin(true)).unwrap();
    until_switched(&store, &mut model);
    let height = Version(store.status().unwrap().height.unwrap());
    assert!(height >= Version(30));
    for restart in [false, true] {
        if restart {
            drop(store);
            store = LiveStore::open(&places, keeping, None).unwrap();
        }
        assert_eq!(store.span().unwrap().oldest, Version(1));
        model.commits(&store, 3);
        model.check(&store);
    }
    drop(store);
    std::fs::remove_dir_all(&places.v1).unwrap();
    let store = LiveStore::open(&places, keeping, None).unwrap();
    assert_eq!(store.span().unwrap().oldest, height);
    assert!(matches!(store.at(Version(height.0 - 1)), Err(StoreError::NoVersion { .. })));
    model.commits(&store, 3);
    model.check(&store);
}

#[test]
fn a_migration_is_carried_on_by_itself_however_often_the_node_is_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let mut model = Model::new(2);
    for restart in 0..12 {
        let begin = (restart > 0).then(|| begin(false));
        let store = LiveStore::open(&places, keeping(), begin).unwrap();
        assert_eq!(store.is_migrating(), restart > 0, "restart {restart}");
        model.commits(&store, 1 + restart % 4);
    }
    // By itself, with the plan it was begun with.
    let store = LiveStore::open(&places, keeping(), None).unwrap();
    assert!(store.is_migrating());
    until_switched(&store, &mut model);
    model.commits(&store, 10);
    model.check(&store);
}

#[test]
fn with_state_storage_alone_the_chain_stays_on_its_trees_and_the_pairs_follow_every_commit() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let mut model = Model::new(4);
    let mut store = LiveStore::open(&places, keeping(), None).unwrap();
    model.commits(&store, 20);
    let mut pairs_only = begin(true);
    pairs_only.plan.parts = Parts::Ss;
    store.migrate(pairs_only).unwrap();
    for _ in 0..40 {
        model.commit(&store);
        std::thread::sleep(PACE);
    }
    // At rest, so the last version is applied some time.
    while store.status().and_then(|status| status.applied) != Some(60) {
        assert!(store.is_migrating(), "{:?}", store.wait());
        std::thread::sleep(PACE);
    }
    assert!(store.source().is_some(), "the trees of store/v1 stay the commitment");
    // What is applied is not held any longer.
    store.prune().unwrap();
    assert!(store.span().unwrap().oldest > Version(50), "{:?}", store.span());
    store.stop_migrating();
    model.commits(&store, 3);
    model.check(&store);
}
