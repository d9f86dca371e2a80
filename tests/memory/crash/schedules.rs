//! Schedules that nobody thought of, drawn here and not by a fuzzer: what a chain commits, when its migration goes on, where its power goes.

use super::schedule::{Lost, played, run};
use crate::support::random::{Random, seed};
use std::{
    panic::catch_unwind,
    sync::atomic::{AtomicU64, Ordering},
};

/// The bytes of a schedule.
fn draw(random: &mut Random) -> Vec<u8> {
    (0..random.below(400)).map(|_| random.next() as u8).collect()
}

#[test]
fn whatever_schedule_a_chain_migrates_itself_by_it_ends_as_one_to_which_nothing_happened() {
    let times: u64 = std::env::var("STORESHIFT_PROOF").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let (seed, next, schedules) = (seed(71), AtomicU64::new(0), 200 * times);
    std::thread::scope(|scope| {
        // Most of the time they wait for each other.
        let hand = || {
            while let number @ 0.. = next.fetch_add(1, Ordering::SeqCst)
                && number < schedules
            {
                let bytes = draw(&mut Random(seed.wrapping_add(number)));
                if catch_unwind(|| run(&bytes)).is_err() {
                    next.store(schedules, Ordering::SeqCst);
                    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    panic!("schedule {number} of seed {seed} fails; its bytes: {hex}");
                }
            }
        };
        let hands: Vec<_> = (0..4).map(|_| scope.spawn(hand)).collect();
        hands.into_iter().for_each(|hand| hand.join().unwrap());
    });
    println!("{schedules} schedules");
}

#[test]
fn the_same_schedule_gives_the_same_run() {
    let mut random = Random(seed(71));
    for _ in 0..12 {
        let bytes = draw(&mut random);
        assert_eq!(played(&bytes, Lost::Nothing), played(&bytes, Lost::Nothing), "{bytes:02x?}");
    }
}

#[test]
fn a_disk_or_an_engine_that_does_not_sync_is_found_out_within_a_few_schedules() {
    let seed = seed(71);
    for lost in [Lost::SyncsOfFiles, Lost::SyncsOfDirectories, Lost::SyncsOfEngines] {
        let fails = |number: &u64| {
            let bytes = draw(&mut Random(seed.wrapping_add(*number)));
            catch_unwind(|| played(&bytes, lost)).is_err()
        };
        let found = (0..60).find(fails);
        println!("without {lost:?}: schedule {found:?} fails");
        assert!(found.is_some(), "{lost:?}");
    }
}
