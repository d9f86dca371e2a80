//! Power cuts: one whole migration beside a node that commits is recorded down to each write, and carried on from what any cut may
//! have left of it.

mod explorer;
pub mod gate;
pub mod images;
mod job;
pub mod log;
pub mod recorder;
#[cfg(feature = "rocksdb")]
mod runs;
#[path = "../../fuzz/bodies/crash_schedule.rs"]
pub mod schedule;
mod schedules;
mod store;
pub mod story;
mod trail;
pub mod twins;

use crate::support::random::seed;
use explorer::{Effort, Figures, explore};
use images::{Damage, Reel};
use job::{Ending, Job};
use recorder::{Recorder, Tree, place};
use std::{path::Path, sync::Arc};
use store::Alone;
use storeshift::{disk, journal::SwitchRequest};
use story::{Recording, Story, Tale};
use trail::Checkpoints;

/// As much as the tests do, or, for the figures in PROOF.md, so many times that much.
fn effort() -> Effort {
    let times: usize = std::env::var("STORESHIFT_PROOF").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    // Those that carry a world on wait for each other most of the time.
    Effort { drawn: 200 * times, doubles: 2 * times, doubles_drawn: 2 * times, threads: 8 }
}

/// Records a tale in a directory of its own, and goes through it.
fn tell<T: Tale>(tale: &T, record: impl Fn(&T, &Path) -> Recording, effort: Effort) -> Figures {
    let seed = seed(71);
    let place = place();
    let world = place.path().join("world");
    std::fs::create_dir(&world).unwrap();
    let recording = record(tale, &world);
    let figures = explore(tale, &recording, seed, effort);
    println!("{figures:#?}");
    figures
}

#[test]
fn whatever_a_power_cut_leaves_of_a_migration_no_commit_is_lost_and_it_comes_to_its_end() {
    let figures = tell(&Story::new(seed(71)), Story::record, effort());
    assert!(figures.distinct > 50_000 && figures.double_images > 1000, "{figures:?}");
}

#[test]
fn whatever_it_leaves_of_a_job_another_run_comes_to_the_same_target_and_what_was_asked_is_remembered() {
    let effort = Effort { drawn: effort().drawn / 8, ..effort() };
    let figures = tell(&Job::new(Ending::Switched), Job::record, effort);
    assert!(figures.distinct > 1000 && figures.double_images > 100, "{figures:?}");
}

#[test]
fn whatever_it_leaves_of_a_target_that_was_lost_and_is_begun_anew_nothing_of_it_is_in_the_new() {
    let effort = Effort { drawn: effort().drawn / 8, ..effort() };
    let figures = tell(&Job::new(Ending::Lost), Job::record, effort);
    assert!(figures.distinct > 500 && figures.double_images > 100, "{figures:?}");
}

#[test]
fn whatever_it_leaves_of_a_job_that_is_given_up_nothing_of_it_comes_back() {
    let effort = Effort { drawn: effort().drawn / 8, ..effort() };
    let figures = tell(&Job::new(Ending::GivenUp), Job::record, effort);
    assert!(figures.distinct > 1000 && figures.double_images > 100, "{figures:?}");
}

#[test]
fn whatever_it_leaves_of_checkpoints_those_that_count_are_whole_and_the_others_go() {
    let effort = Effort { drawn: effort().drawn / 8, ..effort() };
    let figures = tell(&Checkpoints::new(), Checkpoints::record, effort);
    assert!(figures.distinct > 500 && figures.double_images > 10, "{figures:?}");
}

#[test]
fn whatever_it_leaves_of_a_snapshot_that_is_begun_anew_nothing_of_the_old_one_is_in_the_new() {
    let effort = Effort { drawn: effort().drawn / 20, ..effort() };
    let figures = tell(&Story::anew(seed(72)), Story::record_anew, effort);
    assert!(figures.distinct > 1000 && figures.double_images > 100, "{figures:?}");
}

#[test]
fn whatever_it_leaves_of_a_store_on_v2_every_acknowledged_version_is_there_with_its_pairs() {
    let effort = Effort { drawn: 0, doubles_drawn: 0, ..effort() };
    let figures = tell(&Alone::new(seed(73)), Alone::record, effort);
    assert!(figures.distinct > 200 && figures.double_images > 20, "{figures:?}");
}

#[test]
fn a_request_to_switch_that_was_taken_back_does_not_come_back() {
    let place = place();
    let recorder = Recorder::new(place.path());
    let mounted = disk::mount(place.path(), Arc::new(recorder.clone()));
    SwitchRequest::new(1, None).write(place.path()).unwrap();
    SwitchRequest::remove(place.path()).unwrap();
    drop(mounted);
    let (base, ops) = (Tree::empty(), recorder.ops());
    let mut reel = Reel::new(&base, &[], &ops);
    while reel.step() {}
    for damage in [Damage::Nothing, Damage::All] {
        assert_eq!(reel.image(damage).tree.find(Path::new("switch.json")), None, "{damage:?}");
    }
}

#[test]
#[cfg(feature = "rocksdb")]
fn whatever_it_leaves_of_stores_that_wait_in_sorted_runs_another_run_comes_to_the_same_target() {
    // Each of them is opened by RocksDB.
    let effort = Effort { drawn: effort().drawn / 50, doubles: 0, ..effort() };
    let figures = tell(&runs::Waiting::new(), runs::Waiting::record, effort);
    assert!(figures.distinct > 100 && figures.carried_on > 30, "{figures:?}");
}
