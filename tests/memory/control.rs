//! Pausing a migration wherever it can be: it stands still, and resumed, or stopped and begun again, it ends as if it never was.

use crate::{
    scenarios::{block, chain, open, world},
    support::{disk::Disk, job::World},
};
use redb::StorageBackend;
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};
use storeshift::{
    Error, Migrator, Outcome,
    governor::{Governor, Held, Limits},
    journal::Journal,
    model::Version,
    plan::{At, Tuning},
    source::{MemoryEngine, Rootmulti},
    target::{MemoryCommitment, MemoryStorage, Outage, Target},
};

/// The journal's disk, which pauses the job at one of its syncs: with something just recorded.
#[derive(Clone, Debug)]
struct Pausing {
    disk: Disk,
    left: Arc<AtomicU64>,
    governor: Arc<OnceLock<Governor>>,
}

impl StorageBackend for Pausing {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data()?;
        if let Some(governor) = self.governor.get()
            && self.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            governor.set(paused());
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }
}

fn paused() -> Limits {
    Limits { paused: Some("by the test".to_owned()), ..Limits::default() }
}

/// Opens a job that will be paused at the given sync of its journal; 0 is before its first step.
fn pausing(world: &World, sync: u64, outage: &Outage) -> (Migrator, Arc<AtomicU64>) {
    let left = Arc::new(AtomicU64::new(sync));
    let disk = Pausing { disk: world.journal.with(outage), left: left.clone(), governor: Arc::default() };
    let sc = MemoryCommitment::new(Some(&world.sc), outage.clone());
    let ss = MemoryStorage::new(Some(&world.ss), outage.clone());
    let target = Target { sc: Some(Box::new(sc)), ss: Some(Box::new(ss)) };
    let journal = Journal::on_backend(disk.clone(), None).unwrap();
    let migrator = Migrator::assemble(world.source.clone(), target, journal, world.tuning).unwrap();
    disk.governor.set(migrator.governor()).unwrap();
    if sync == 0 {
        migrator.governor().set(paused());
    }
    (migrator, left)
}

fn held(governor: &Governor) -> Option<Held> {
    governor.standing().wait.map(|wait| wait.held)
}

fn assert_same(world: &World, wanted: &World, how: &str) {
    assert!(*world.sc.data() == *wanted.sc.data(), "SC differs: {how}");
    assert!(*world.ss.data() == *wanted.ss.data(), "SS differs: {how}");
}

#[test]
fn paused_wherever_something_was_recorded_a_job_stands_still_and_ends_as_if_it_never_was() {
    let chain = chain(&["store1", "store2", "store3"], 24, 10);
    let mut born = world(&chain, At::Version(Version(4)), true);
    born.tuning = Tuning { memory: 16 << 10, ..born.tuning };
    let wanted = born.fork();
    let (mut whole, left) = pausing(&wanted, u64::MAX, &Outage::never());
    whole.run().unwrap();
    let syncs = u64::MAX - left.load(Ordering::SeqCst);
    drop(whole);
    let mut steps: BTreeMap<&str, u32> = BTreeMap::new();
    for sync in 0..=syncs {
        let (world, outage) = (born.fork(), Outage::never());
        let (mut migrator, _) = pausing(&world, sync, &outage);
        let (governor, stop, progress) = (migrator.governor(), migrator.stop(), migrator.progress());
        let is_stopped = sync % 2 == 1;
        let how = format!("paused at sync {sync} of {syncs}");
        let outcome = std::thread::scope(|scope| {
            let running = scope.spawn(|| migrator.run());
            while !running.is_finished() && held(&governor) != Some(Held::Paused) {
                std::thread::yield_now();
            }
            if !running.is_finished() {
                let before = (outage.seen(), progress.counts());
                *steps.entry(world.state().next().name()).or_default() += 1;
                for _ in 0..200 {
                    std::thread::yield_now();
                }
                assert_eq!((outage.seen(), progress.counts()), before, "nothing is done: {how}");
                if is_stopped { stop.ask("enough") } else { governor.set(Limits::default()) }
            }
            running.join().unwrap()
        });
        drop(migrator);
        match outcome {
            Err(Error::Stopped(_)) if is_stopped => {
                open(&world).run().unwrap();
            }
            outcome => assert!(matches!(outcome, Ok(Outcome::Done { .. })), "{how}: {outcome:?}"),
        }
        assert_same(&world, &wanted, &how);
    }
    println!("{syncs} syncs, paused in {steps:?}");
    for step in ["snapshot", "restore", "join", "prove", "conclude", "sync"] {
        assert!(steps.get(step).is_some_and(|count| *count > 0), "never paused in {step}: {steps:?}");
    }
    for step in ["fence", "drain", "check", "flip"] {
        assert!(!steps.contains_key(step), "a fenced chain was kept waiting: {steps:?}");
    }
}

#[test]
fn limits_that_change_all_the_time_change_nothing_of_what_is_written() {
    let chain = chain(&["store1", "store2", "store3"], 24, 10);
    let mut born = world(&chain, At::Oldest, true);
    born.tuning.workers = 4;
    let wanted = born.fork();
    open(&wanted).run().unwrap();
    let world = born.fork();
    let mut migrator = open(&world);
    let governor = migrator.governor();
    let changes = std::thread::scope(|scope| {
        let running = scope.spawn(|| migrator.run());
        let mut changes = 0;
        while !running.is_finished() {
            let workers = [Some(1), Some(3), None, Some(2)][changes % 4];
            // So much that nobody waits for long.
            let bytes_per_second = [Some(1 << 30), None][changes % 2];
            let paused = (changes % 8 == 3).then(|| "by the test".to_owned());
            governor.set(Limits { workers, bytes_per_second, paused, ..Limits::default() });
            changes += 1;
            std::thread::yield_now();
        }
        running.join().unwrap().unwrap();
        changes
    });
    println!("{changes} changes");
    drop(migrator);
    assert_same(&world, &wanted, "limits that change");
}

/// The chain goes on while the job stands still, and a later run takes up what it committed.
#[test]
fn what_the_chain_commits_during_a_pause_is_there_in_the_end() {
    let stores = ["store1", "store2"];
    let mut chain = chain(&stores, 6, 10);
    let mut born = world(&chain, At::Version(Version(3)), true);
    let (mut migrator, _) = pausing(&born, 0, &Outage::never());
    let (governor, stop) = (migrator.governor(), migrator.stop());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| migrator.run());
        while held(&governor) != Some(Held::Paused) {
            std::thread::yield_now();
        }
        for version in 7..=9 {
            chain.commit(&block(&stores, version, 10));
        }
        stop.ask("the node's database grew");
        assert!(matches!(running.join().unwrap(), Err(Error::Stopped(_))));
    });
    drop(migrator);
    let grown: MemoryEngine = chain.engine.clone();
    born.source = Arc::new(Rootmulti::new(grown));
    let tip = born.source.latest().unwrap();
    assert!(matches!(open(&born).run().unwrap(), Outcome::Done { version, .. } if version == tip));
}
