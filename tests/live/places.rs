//! What lies where a node keeps its state is what it was, or the node does not start on it.

use super::{PACE, begin, chain::Model, keeping, places, until_switched};
use std::fs;
use storeshift::{
    live::{LiveError, LiveStore},
    migrator,
    model::Version,
    plan::{Paths, Tuning},
};

fn refused(opened: Result<LiveStore, LiveError>, words: &str) {
    match opened {
        Ok(store) => panic!("it was opened, at {:?}", store.span()),
        Err(error) => assert!(error.to_string().contains(words), "{error}"),
    }
}

#[test]
fn a_store_v2_that_is_of_record_and_gone_or_older_or_another_jobs_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let mut model = Model::new(21);
    let mut store = LiveStore::open(&places, keeping(), None).unwrap();
    model.commits(&store, 20);
    store.migrate(begin(true)).unwrap();
    until_switched(&store, &mut model);
    model.commits(&store, 5);
    drop(store);
    let away = dir.path().join("away");
    for part in ["sc", "ss"] {
        let there = places.v2.join(part);
        fs::rename(&there, &away).unwrap();
        refused(LiveStore::open(&places, keeping(), None), part);
        assert!(!there.exists(), "a new {part} was made in the place of the lost one");
        // An empty one is no better.
        fs::create_dir(&there).unwrap();
        refused(LiveStore::open(&places, keeping(), None), part);
        fs::remove_dir_all(&there).unwrap();
        fs::rename(&away, &there).unwrap();
        let identity = there.join("storeshift.job");
        let ours = fs::read(&identity).unwrap();
        fs::write(&identity, "00112233445566778899aabbccddeeff").unwrap();
        refused(LiveStore::open(&places, keeping(), None), "belongs to job");
        fs::write(&identity, ours).unwrap();
    }
    let store = LiveStore::open(&places, keeping(), None).unwrap();
    model.commits(&store, 5);
    model.check(&store);
}

#[test]
fn what_a_chain_that_was_given_back_has_left_on_store_v2_is_not_wiped_by_opening_it() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let mut model = Model::new(22);
    let mut store = LiveStore::open(&places, keeping(), None).unwrap();
    model.commits(&store, 20);
    store.migrate(begin(true)).unwrap();
    let switched = until_switched(&store, &mut model);
    model.commits(&store, 5);
    let newest = store.latest().unwrap().version;
    drop(store);
    let paths = Paths { source: places.v1.clone(), target: places.v2.clone(), ..Paths::default() };
    let lost = newest.0 - switched.0;
    let returned = migrator::back(&paths, lost, Tuning::default()).unwrap();
    assert_eq!((returned.switched, returned.lost), (switched, lost));
    for asked in [None, Some(begin(true))] {
        let store = LiveStore::open(&places, keeping(), asked.clone()).unwrap();
        assert_eq!(store.latest().unwrap().version, switched, "it is on store/v1");
        if asked.is_some() {
            assert!(store.wait().unwrap().unwrap_err().contains("storeshift abort"));
        }
        assert!(!store.is_migrating());
        assert!(places.v2.join("sc/CURRENT").exists() && places.v2.join("ss/CURRENT").exists());
    }
}

#[test]
fn another_chains_store_v1_is_not_migrated_into_a_half_done_target_though_pruning_left_nothing_of_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let ours = places(dir.path());
    let mut model = Model::new(23);
    let mut store = LiveStore::open(&ours, keeping(), None).unwrap();
    model.commits(&store, 20);
    store.migrate(begin(false)).unwrap();
    for _ in 0..20 {
        model.commit(&store);
        std::thread::sleep(PACE);
    }
    while store.status().and_then(|status| status.applied) != Some(40) {
        std::thread::sleep(PACE);
    }
    drop(store);
    let mut theirs = places(&dir.path().join("other"));
    fs::create_dir(dir.path().join("other")).unwrap();
    let mut other = Model::new(24);
    let store = LiveStore::open(&theirs, keeping(), None).unwrap();
    other.commits(&store, 42);
    store.prune().unwrap();
    let oldest = store.span().unwrap().oldest;
    assert!(oldest > Version(21) && oldest <= Version(40), "{oldest}");
    drop(store);
    theirs.v2 = ours.v2;
    let store = LiveStore::open(&theirs, keeping(), None).unwrap();
    other.commits(&store, 3);
    let end = store.wait().unwrap().unwrap_err();
    assert!(end.contains("another chain"), "{end}");
    other.commits(&store, 3);
}
