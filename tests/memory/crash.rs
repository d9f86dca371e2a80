//! Power cuts: one whole migration beside a node that commits is recorded down to each write, and carried on from what any cut may
//! have left of it.

mod explorer;
mod images;
mod log;
mod recorder;
mod story;
mod twins;

use crate::support::random::seed;
use explorer::{Effort, explore};
use std::path::Path;
use story::Story;

/// A directory where files cost no disk.
fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// As much as the tests do, or, for the figures in PROOF.md, so many times that much.
fn effort() -> Effort {
    let times: usize = std::env::var("STORESHIFT_PROOF").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    // Those that carry a world on wait for each other most of the time.
    Effort { drawn: 200 * times, doubles: 2 * times, doubles_drawn: 2 * times, threads: 8 }
}

#[test]
fn whatever_a_power_cut_leaves_of_a_migration_no_commit_is_lost_and_it_comes_to_its_end() {
    let seed = seed(71);
    let story = Story::new(seed);
    let place = place();
    let recording = story.record(place.path());
    let figures = explore(&story, &recording, seed, effort());
    println!("{figures:#?}");
    assert!(figures.distinct > 50_000 && figures.double_images > 1000, "{figures:?}");
}
