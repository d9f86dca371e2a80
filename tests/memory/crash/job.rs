//! A job on a database that stands still: brought up to its newest version, and then switched on request, or given up. Whatever a power
//! cut leaves, another run comes to the same target, or the wiping is gone on with.

use super::{
    log::{Held, Op},
    recorder::{Recorder, Tree, place},
    story::{Recording, Tale, journal_says, listing},
    twins::{DAMAGED, Twins},
};
use crate::support::{
    failing::{Failing, Fate},
    job::tiny,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};
use storeshift::{
    Error, Kind, Migrator, Outcome, disk,
    journal::{Journal, SwitchRequest, control},
    machine::{Phase, State},
    migrator,
    plan::{At, Paths, Plan, Tuning},
    target::{CommitmentData, Engines, StorageData},
};

#[derive(Clone, Copy, PartialEq)]
pub enum Ending {
    Switched,
    GivenUp,
    /// Its target is damaged while the snapshot is restored, and it is begun anew.
    Lost,
}

pub struct Job {
    ending: Ending,
    /// What the target holds in the end.
    target: (CommitmentData, StorageData),
}

impl Job {
    pub fn new(ending: Ending) -> Job {
        let mut job = Job { ending, target: Default::default() };
        let (place, twins) = (place(), Twins::holding(Vec::new(), None));
        let world = place.path().join("world");
        job.run(&world, &twins, true);
        job.target = held(&world, &twins);
        assert!(!job.target.0.records.is_empty() && !job.target.1.pairs.is_empty());
        job
    }

    /// Runs the job; up to the switch, or through it.
    fn run(&self, dir: &Path, twins: &Twins, switch: bool) -> Outcome {
        self.open(dir, twins, switch).unwrap().run().unwrap()
    }

    fn open(&self, dir: &Path, twins: &Twins, switch: bool) -> Result<Migrator, Error> {
        let paths = Paths { source: source(dir), target: target(dir), ..Paths::default() };
        let at = if self.ending == Ending::GivenUp { At::Latest } else { At::Oldest };
        let plan = Plan { at, chunk_leaves: 64, ..Plan::new() };
        let tuning = Tuning { memory: 32 << 20, switch, ..tiny(1) };
        let engines: Arc<dyn Engines> = Arc::new(twins.clone());
        migrator::open_with(&engines, &paths, &plan, tuning)
    }

    /// A target whose engine is damaged while the snapshot is restored, as it is before any journal's write that fails.
    fn damaged(&self, dir: &Path) -> Twins {
        for writes in 1.. {
            drop(fs::remove_dir_all(target(dir)));
            let (twins, left) = (Twins::holding(Vec::new(), None), Arc::new(AtomicI64::new(writes)));
            let asked = move || if left.fetch_sub(1, Ordering::SeqCst) > 0 { Fate::Happens } else { Fate::Fails };
            let mounted = disk::mount(dir, Arc::new(Failing(Arc::new(asked))));
            let end = self.open(dir, &twins, true).and_then(|mut job| job.run());
            drop(mounted);
            assert!(end.is_err(), "it was never in the middle");
            let state = state(&target(dir).join("journal"));
            if state
                .is_some_and(|state| matches!(state.phase, Phase::Restoring { restored, .. } if restored.count() > 0))
            {
                fs::write(target(dir).join("sc").join(DAMAGED), "").unwrap();
                return twins;
            }
        }
        unreachable!()
    }

    fn record_lost(&self, dir: &Path) -> Recording {
        let engines = self.damaged(dir).held().clone();
        let base = Tree::read(dir);
        let recorder = Recorder::new(dir);
        let mounted = disk::mount(dir, Arc::new(recorder.clone()));
        let twins = Twins::holding(engines.clone(), Some(recorder.clone()));
        assert!(matches!(self.run(dir, &twins, true), Outcome::Done { .. }));
        recorder.note(Op::Told("done".to_owned()));
        drop(mounted);
        let state = state(&target(dir).join("journal")).unwrap();
        assert_eq!((state.epoch, state.losses), (2, 1));
        Recording { base, engines, ops: recorder.ops() }
    }

    pub fn record(&self, dir: &Path) -> Recording {
        if self.ending == Ending::Lost {
            return self.record_lost(dir);
        }
        let recorder = Recorder::new(dir);
        let mounted = disk::mount(dir, Arc::new(recorder.clone()));
        let twins = Twins::holding(Vec::new(), Some(recorder.clone()));
        assert!(matches!(self.run(dir, &twins, false), Outcome::CaughtUp { .. }));
        recorder.note(Op::Told("caught up".to_owned()));
        match self.ending {
            Ending::Switched => {
                let journal = target(dir).join("journal");
                control::change(&journal, |control| control.workers = Some(3)).unwrap();
                recorder.note(Op::Told("limited".to_owned()));
                control::change(&journal, |control| control.bytes_per_second = Some(1 << 40)).unwrap();
                SwitchRequest::new(1, None).write(&target(dir).join("journal")).unwrap();
                recorder.note(Op::Told("asked".to_owned()));
                assert!(matches!(self.run(dir, &twins, true), Outcome::Done { .. }));
                recorder.note(Op::Told("done".to_owned()));
            }
            Ending::GivenUp => {
                let journal = target(dir).join("journal");
                SwitchRequest::new(1, None).write(&journal).unwrap();
                control::change(&journal, |control| control.workers = Some(3)).unwrap();
                recorder.note(Op::Told("given up".to_owned()));
                migrator::abort(&target(dir)).unwrap();
                recorder.note(Op::Told("gone".to_owned()));
            }
            Ending::Lost => {}
        }
        drop(mounted);
        Recording { base: Tree::empty(), engines: Vec::new(), ops: recorder.ops() }
    }
}

impl Tale for Job {
    fn says(&self, dir: &Path) -> (Option<u64>, String) {
        journal_says(dir, &target(dir).join("journal"))
    }

    fn recover(&self, dir: &Path, twins: &Twins, told: &[String], recorder: Option<&Recorder>) {
        let was_told = |what: &str| told.iter().any(|told| told == what);
        let journal = target(dir).join("journal");
        let state = state(&journal);
        let phase = state.as_ref().map(|state| &state.phase);
        if was_told("gone") && !was_told("again") {
            assert!(state.is_none(), "it is there again: {state:?}");
            assert!(!target(dir).join("sc").exists() && !target(dir).join("ss").exists());
        } else if was_told("done") {
            assert!(matches!(phase, Some(Phase::Done { .. })), "{phase:?}");
        } else if was_told("caught up") && !was_told("given up") {
            assert!(
                matches!(phase, Some(Phase::Syncing { .. } | Phase::Switching { .. } | Phase::Done { .. })),
                "{phase:?}"
            );
        }
        if was_told("given up") && !was_told("again") && state.is_none() {
            let asked = ["switch.json", "control.json"].map(|name| journal.join(name).exists());
            assert_eq!(asked, [false; 2], "the next job would do what this one was asked for");
        }
        if was_told("limited") {
            let limits = control::read(&journal).unwrap();
            assert_eq!(limits.workers, Some(3), "a limit that was set is gone since another was");
        }
        if was_told("asked") && !matches!(phase, Some(Phase::Done { .. })) {
            assert!(SwitchRequest::read(&journal).unwrap().is_some(), "what was asked is forgotten");
        }
        if let Some(recorder) = recorder {
            recorder.note(Op::Told("again".to_owned()));
        }
        if matches!(phase, Some(Phase::Aborted)) {
            let Err(refused) = self.open(dir, twins, true) else { panic!("what is being wiped is gone on with") };
            assert_eq!(refused.kind(), Kind::Blocked, "{refused}");
            migrator::abort(&target(dir)).unwrap();
            assert!(listing(dir, dir).is_empty(), "left over: {:?}", listing(dir, dir));
        }
        assert!(matches!(self.run(dir, twins, true), Outcome::Done { .. }));
        assert!(held(dir, twins) == self.target, "the target is another one");
        // Once more, and nothing changes.
        assert!(matches!(self.run(dir, twins, true), Outcome::Done { .. }));
        assert!(held(dir, twins) == self.target, "the target is another one after a second run");
        let left = listing(dir, dir);
        let allowed = ["journal.redb", "lock", "control.json", "storeshift.job", "twin"];
        // Until it is removed with the job.
        let stale = ["switch.json"];
        let known = |name: &&String| allowed.iter().chain(&stale).any(|known| name.ends_with(known));
        assert!(left.iter().all(|name| known(&name)), "left over: {left:?}");
        for empty in ["staging", "runs", "spool"] {
            assert!(!target(dir).join(empty).exists(), "left over: {empty}");
        }
    }
}

/// A database of its own for each world, beside it: it is locked for the switch.
fn source(dir: &Path) -> PathBuf {
    let source = dir.with_file_name("application.db");
    if !source.exists() {
        fs::create_dir(&source).unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nofast/application.db");
        for entry in fs::read_dir(fixture).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), source.join(entry.file_name())).unwrap();
        }
    }
    source
}

fn target(dir: &Path) -> PathBuf {
    dir.join("v2")
}

fn state(journal: &Path) -> Option<State> {
    Journal::exists(journal).then(|| Journal::open(journal).unwrap().state().unwrap())
}

/// What the engines in a target's directory hold.
fn held(dir: &Path, twins: &Twins) -> (CommitmentData, StorageData) {
    let number =
        |engine: &str| fs::read_to_string(target(dir).join(engine).join("twin")).unwrap().parse::<usize>().unwrap();
    let held = twins.held();
    match (&held[number("sc")], &held[number("ss")]) {
        (Some(Held::Sc(sc)), Some(Held::Ss(ss))) => (CommitmentData::clone(sc), StorageData::clone(ss)),
        _ => panic!("no engines"),
    }
}
