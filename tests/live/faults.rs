//! Whatever happens to the migration, the chain commits.

use super::{PACE, begin, chain::Model, keeping, places, until_switched};
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use storeshift::{
    live::{Begin, LiveStore},
    model::Version,
};

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
fn a_switch_for_which_no_commit_may_wait_is_made_in_a_moment_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    let mut model = Model::new(15);
    let mut store = LiveStore::open(&places, keeping(), None).unwrap();
    model.commits(&store, 20);
    store.migrate(Begin { max_pause: Duration::ZERO, ..begin(true) }).unwrap();
    for _ in 0..60 {
        model.commit(&store);
        std::thread::sleep(PACE * 4);
    }
    // The chain comes to rest, and is switched if it was not before.
    assert!(store.wait().unwrap().is_ok());
    model.commits(&store, 10);
    model.check(&store);
}

#[test]
fn a_commit_opens_a_gate_that_is_closed_for_too_long_and_waits_for_one_that_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::new(16);
    let store = LiveStore::open(&places(dir.path()), keeping(), None).unwrap();
    model.commits(&store, 3);
    assert_eq!(store.close(Duration::from_millis(1)).unwrap().version, Version(3));
    model.commit(&store);
    assert!(!store.seal(), "the commit did not open it");
    model.commit(&store);
    store.close(Duration::ZERO);
    assert!(store.seal());
    let committed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            model.commit(&store);
            committed.store(true, Ordering::SeqCst);
        });
        // However much time it is given, it does not pass.
        std::thread::sleep(PACE * 30);
        assert!(!committed.load(Ordering::SeqCst));
        assert_eq!(store.latest().unwrap().version, Version(5));
        store.open_gate();
        waiting.join().unwrap();
    });
    model.commits(&store, 3);
    model.check(&store);
}
