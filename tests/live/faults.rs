//! Whatever happens to the migration, the chain commits.

use super::{begin, chain::Model, keeping, places, until_switched};
use std::{fs, time::Duration};
use storeshift::live::{Begin, LiveStore};

fn until(what: &str, mut true_by_now: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !true_by_now() {
        assert!(began.elapsed() < Duration::from_secs(300), "never {what}");
        std::thread::yield_now();
    }
}

#[test]
fn commits_go_on_while_the_migration_is_paused_and_it_goes_on_when_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let mut model = Model::new(11);
    fs::create_dir(&places.v2).unwrap();
    fs::write(places.v2.join("PAUSE"), "").unwrap();
    let mut store = LiveStore::open(&places, keeping(), None).unwrap();
    model.commits(&store, 20);
    store.migrate(begin(true)).unwrap();
    until("paused", || store.status().is_some_and(|status| status.wait.is_some()));
    model.commits(&store, 50);
    assert!(store.is_migrating() && store.source().is_some());
    // What the migration needs is still there: pruning waits for it, and for nothing else.
    assert!(store.span().unwrap().oldest.0 <= 21, "{:?}", store.span());
    fs::remove_file(places.v2.join("PAUSE")).unwrap();
    until_switched(&store, &mut model);
    model.commits(&store, 10);
    model.check(&store);
}

#[test]
fn a_migration_that_holds_too_many_versions_is_given_up_and_begins_anew_with_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let mut model = Model::new(12);
    fs::create_dir(&places.v2).unwrap();
    fs::write(places.v2.join("PAUSE"), "").unwrap();
    let mut store = LiveStore::open(&places, keeping(), None).unwrap();
    model.commits(&store, 20);
    store.migrate(Begin { held_versions: Some(15), ..begin(true) }).unwrap();
    until("paused", || store.status().is_some_and(|status| status.wait.is_some()));
    model.commits(&store, 40);
    let end = store.wait().unwrap().unwrap_err();
    assert!(end.contains("more versions"), "{end}");
    store.prune().unwrap();
    assert!(store.span().unwrap().oldest.0 > 40, "{:?}", store.span());
    model.check(&store);
    drop(store);
    fs::remove_file(places.v2.join("PAUSE")).unwrap();
    let store = LiveStore::open(&places, keeping(), Some(begin(true))).unwrap();
    until_switched(&store, &mut model);
    assert_eq!(store.status().unwrap().epoch, 2);
    model.commits(&store, 10);
    model.check(&store);
}

#[test]
fn commits_go_on_when_the_disk_is_full_and_the_migration_waits_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let mut model = Model::new(13);
    let mut store = LiveStore::open(&places, keeping(), None).unwrap();
    model.commits(&store, 20);
    let mut greedy = begin(true);
    greedy.tuning.reserve = u64::MAX / 2;
    store.migrate(greedy).unwrap();
    let end = store.wait().unwrap().unwrap_err();
    assert!(end.contains("disk"), "{end}");
    model.commits(&store, 20);
    store.migrate(begin(true)).unwrap();
    until_switched(&store, &mut model);
    model.commits(&store, 10);
    model.check(&store);
}

#[test]
fn commits_go_on_when_a_migration_cannot_write_or_is_not_one() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let mut model = Model::new(14);
    let mut store = LiveStore::open(&places, keeping(), None).unwrap();
    model.commits(&store, 20);
    let mut wrong = begin(true);
    wrong.plan.chunk_leaves = 0;
    store.migrate(wrong).unwrap();
    assert!(store.wait().unwrap().unwrap_err().contains("chunk_leaves"));
    model.commits(&store, 5);
    // Something else lies where SC is to be.
    fs::create_dir_all(places.v2.join("sc")).unwrap();
    fs::write(places.v2.join("sc/else"), "").unwrap();
    store.migrate(begin(true)).unwrap();
    assert!(store.wait().unwrap().is_err());
    model.commits(&store, 20);
    assert!(store.source().is_some());
    model.check(&store);
}

#[test]
fn a_switch_that_takes_longer_than_a_commit_may_wait_is_undone_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let mut model = Model::new(15);
    let mut store = LiveStore::open(&places, keeping(), None).unwrap();
    model.commits(&store, 20);
    // No commit waits at all: the switch has to find a moment in which none comes.
    store.migrate(Begin { max_pause: Duration::ZERO, ..begin(true) }).unwrap();
    until("undone or switched", || {
        model.commit(&store);
        let undone = |status: storeshift::Status| status.attempts > 0;
        !store.is_migrating() || store.status().is_some_and(undone)
    });
    model.commits(&store, 5);
    // The chain comes to rest, and is switched.
    assert!(store.wait().unwrap().is_ok());
    model.commits(&store, 10);
    model.check(&store);
}
