//! Every prefix of a run: a whole migration is cut off at each of its writes (to SC, to SS, to the journal's disk),
//! taken up again, and must come out byte for byte as the run that was never cut off.

use crate::support::{
    job::{World, tiny},
    random::{Random, seed},
    stores,
};
use std::sync::{Arc, OnceLock};
use storeshift::{
    Error, Kind, Outcome,
    machine::{Phase, State},
    plan::{At, Parts, Plan},
    progress::Counts,
    source::Source,
    target::Outage,
};

const CHUNK_LEAVES: u64 = 8;

fn nofast() -> Arc<dyn Source> {
    static SOURCE: OnceLock<Arc<dyn Source>> = OnceLock::new();
    SOURCE.get_or_init(|| stores::source(stores::fixture("nofast"))).clone()
}

fn small() -> Arc<dyn Source> {
    static SOURCE: OnceLock<Arc<dyn Source>> = OnceLock::new();
    SOURCE.get_or_init(|| stores::source(stores::fixture("small"))).clone()
}

fn world(source: Arc<dyn Source>, at: At, parts: Parts, workers: usize) -> World {
    let plan = Plan { at, parts, chunk_leaves: CHUNK_LEAVES, ..Plan::new() };
    World::new(source, plan, tiny(workers))
}

/// One life of the process.
struct Life {
    /// The counters when it began.
    before: Counts,
    /// The counters when it ended.
    after: Counts,
    /// Writes until the run ended; closing the journal makes a few more.
    writes: u64,
    end: Result<Outcome, Error>,
}

fn live(world: &World, outage: &Outage) -> Life {
    match world.open(outage) {
        Ok(mut migrator) => {
            let before = migrator.counts();
            let end = migrator.run();
            Life { before, after: migrator.counts(), writes: outage.seen(), end }
        }
        Err(error) => {
            Life { before: Counts::default(), after: Counts::default(), writes: outage.seen(), end: Err(error) }
        }
    }
}

/// The run that is never cut off, and how many writes it takes until it says that it is done.
fn whole(world: &World) -> (World, u64) {
    let world = world.fork();
    let life = live(&world, &Outage::never());
    assert!(matches!(life.end.unwrap(), Outcome::Done { .. }));
    assert_eq!(life.after.pairs_read, life.after.pairs_total, "without a crash nothing is read twice");
    (world, life.writes)
}

fn assert_same(found: &World, wanted: &World, how: &str) {
    assert!(*found.sc.data() == *wanted.sc.data(), "SC differs: {how}");
    assert!(*found.ss.data() == *wanted.ss.data(), "SS differs: {how}");
    // Not the attempt: a crash while switching goes back to syncing, which is a new one.
    assert_eq!(found.state().phase, wanted.state().phase, "{how}");
    assert!(matches!(found.state(), State { phase: Phase::Done { .. }, .. }), "{how}");
}

fn assert_crash(end: Result<Outcome, Error>, how: &str) {
    let error = end.expect_err(how);
    assert_eq!(error.kind(), Kind::Retry, "a failed write is neither damage nor a bug: {error} ({how})");
}

/// Cuts the run off at the given writes, those of closing it included; after each the run is taken up and finished.
fn cut_off_at(born: &World, points: impl Iterator<Item = u64>) -> u64 {
    const CLOSING: u64 = 20;
    let (wanted, writes) = whole(born);
    let workers = born.tuning.workers as u64;
    // In flight: one group in each worker's hands, as many results waiting, and one being recorded; a group is what fits
    // a kilobyte, at most four chunks of eight leaves.
    let in_flight = (2 * workers + 1) * 4 * CHUNK_LEAVES;
    let mut cuts = 0;
    for point in points.take_while(|point| *point < writes + CLOSING) {
        let how = format!("cut off at write {point} of {writes}");
        let world = born.fork();
        let first = live(&world, &Outage::after(point));
        if first.end.is_ok() {
            // It was done already and only closing it failed. (Several workers group their writes differently from run
            // to run, so theirs may need fewer.)
            assert!(point >= writes || workers > 1, "{how}");
            assert_same(&world, &wanted, &how);
            continue;
        }
        assert_crash(first.end, &how);
        let second = live(&world, &Outage::never());
        assert!(matches!(second.end, Ok(Outcome::Done { .. })), "{how}: {:?}", second.end);
        assert_same(&world, &wanted, &how);
        if second.before.pairs_total > 0 {
            let open = second.before.pairs_total - second.before.pairs_restored;
            assert_eq!(second.after.pairs_read, open, "what is recorded is not redone: {how}");
        }
        let redone = (first.after.pairs_read + second.after.pairs_read).saturating_sub(second.after.pairs_total);
        assert!(redone <= in_flight, "{redone} pairs were read twice, at most {in_flight} can be in flight: {how}");
        cuts += 1;
    }
    println!("{cuts} of {writes} writes cut off");
    cuts
}

#[test]
fn a_run_cut_off_at_any_write_and_taken_up_again_ends_as_if_it_never_was() {
    let born = world(nofast(), At::Latest, Parts::Both, 1);
    assert!(cut_off_at(&born, 0..) > 200);
}

#[test]
fn so_does_a_run_over_all_retained_history() {
    let born = world(nofast(), At::Oldest, Parts::Both, 1);
    assert!(cut_off_at(&born, 0..) > 200);
}

#[test]
fn so_does_a_run_with_two_workers() {
    let born = world(nofast(), At::Latest, Parts::Both, 2);
    assert!(cut_off_at(&born, (0..).step_by(2)) > 100);
}

#[test]
fn so_does_a_run_of_one_engine_only() {
    for parts in [Parts::Sc, Parts::Ss] {
        assert!(cut_off_at(&world(nofast(), At::Oldest, parts, 1), (0..).step_by(7)) > 20);
    }
}

#[test]
fn so_does_a_run_across_a_store_upgrade_with_large_values() {
    let seed = seed(12);
    let mut random = Random(seed);
    let born = world(small(), At::Oldest, Parts::Both, 1);
    let (_, writes) = whole(&born);
    let mut points: Vec<u64> = (0..60).map(|_| random.below(writes)).collect();
    points.sort_unstable();
    assert!(cut_off_at(&born, points.into_iter()) > 40);
}

#[test]
fn a_run_cut_off_again_while_it_recovers_still_ends_the_same() {
    let seed = seed(1);
    let mut random = Random(seed);
    let born = world(nofast(), At::Oldest, Parts::Both, 1);
    let (wanted, writes) = whole(&born);
    let mut cuts = 0;
    for _ in 0..8 {
        let first = random.below(writes);
        let crashed = born.fork();
        assert_crash(live(&crashed, &Outage::after(first)).end, "first crash");
        let survivor = crashed.fork();
        let recovery = live(&survivor, &Outage::never());
        recovery.end.unwrap();
        let rest = recovery.writes;
        // Every one of the first writes of the recovery, then some of the others.
        let points = (0..rest).filter(|point| *point < 30 || point % 41 == 0);
        for second in points {
            let how = format!("seed {seed}: cut off at {first}, then at {second} of {rest}");
            let world = crashed.fork();
            assert_crash(live(&world, &Outage::after(second)).end, &how);
            live(&world, &Outage::never()).end.unwrap();
            assert_same(&world, &wanted, &how);
            cuts += 1;
        }
    }
    println!("{cuts} runs were cut off twice");
    assert!(cuts > 200);
}

/// What no later life has to do again. Not the rank: each life that finds a switch half done begins another attempt.
fn gained(state: &State) -> (u8, u64, u64) {
    match &state.phase {
        Phase::Restoring { restored, joined, proven, .. } => (1, restored.count() + u64::from(*joined), proven.count()),
        Phase::Syncing { applied, .. } | Phase::Switching { applied, .. } => (2, applied.0, 0),
        _ => (0, 0, 0),
    }
}

#[test]
fn a_run_cut_off_every_few_writes_gets_done_all_the_same() {
    let born = world(nofast(), At::Oldest, Parts::Both, 1);
    let (wanted, writes) = whole(&born);
    let mut lives = 0;
    let world = born.fork();
    loop {
        lives += 1;
        // Enough for opening the journal and a step or two, and more each time nothing was gained.
        let before = gained(&world.state());
        let mut budget = 25;
        loop {
            if live(&world, &Outage::after(budget)).end.is_ok() {
                assert_same(&world, &wanted, "cut off again and again");
                println!("{lives} lives, {writes} writes in one");
                assert!(lives > 20);
                return;
            }
            if gained(&world.state()) > before {
                break;
            }
            budget += 25;
            assert!(budget < writes + 1000, "no budget gets this run any further");
        }
    }
}

#[test]
fn target_and_journal_of_a_finished_run_survive_being_run_again_untouched() {
    let born = world(nofast(), At::Latest, Parts::Both, 1);
    let (done, _) = whole(&born);
    let again = done.fork();
    let life = live(&again, &Outage::never());
    assert!(matches!(life.end.unwrap(), Outcome::Done { .. }));
    assert_eq!(life.after.pairs_read, 0);
    assert_same(&again, &done, "run again");
}
