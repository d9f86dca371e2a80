//! Targets whose engines cannot be opened any more because their files are damaged: begun anew by themselves while nothing rests on them,
//! and left alone ever after, or when it is not damage that keeps them shut.

use crate::{
    scenarios::chain,
    support::{job::tiny, node::InMemory},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use storeshift::{
    Error, Kind, Outcome,
    journal::{Journal, Writes},
    machine::{Cause, Event, Phase, State},
    migrator::{self, chain::Standing},
    model::{Verdict, Version},
    plan::{At, Plan, Tuning},
    source::{MemoryEngine, Rootmulti},
    target::{Commitment, CommitmentData, EngineTuning, Engines, Outage, Place, Storage, StorageData, TargetError},
};

const STORES: [&str; 2] = ["bank", "gov"];
const TIP: u64 = 6;
/// In an engine's directory, what its engine says to being opened.
const SHUT: &str = "shut";

/// Engines that cannot be opened while there is a file that says so. Wiping the directory takes that too.
struct Shut(InMemory);

fn open(directory: PathBuf) -> Result<(), TargetError> {
    let Ok(why) = fs::read_to_string(directory.join(SHUT)) else { return Ok(()) };
    let message = why.clone();
    Err(match why.as_str() {
        "damaged" => TargetError::Lost { path: directory, what: why },
        "locked" => TargetError::Engine { path: directory, doing: "open", message },
        "forbidden" => {
            TargetError::Io { path: directory, doing: "open", source: std::io::ErrorKind::PermissionDenied.into() }
        }
        "full" => TargetError::Io { path: directory, doing: "open", source: std::io::ErrorKind::StorageFull.into() },
        _ => TargetError::Corrupt { path: directory, what: why },
    })
}

impl Engines for Shut {
    fn commitment(&self, place: &Place, tuning: EngineTuning) -> Result<Box<dyn Commitment>, TargetError> {
        open(place.sc())?;
        self.0.commitment(place, tuning)
    }

    fn storage(&self, place: &Place, tuning: EngineTuning) -> Result<Box<dyn Storage>, TargetError> {
        open(place.ss())?;
        self.0.storage(place, tuning)
    }
}

struct Job {
    dir: tempfile::TempDir,
    databases: InMemory,
    source: MemoryEngine,
}

impl Job {
    fn new() -> Job {
        let dir = tempfile::tempdir().unwrap();
        Job { dir, databases: InMemory::new(), source: chain(&STORES, TIP, 10).engine }
    }

    fn place(&self) -> Place {
        Place::new(&self.dir.path().join("v2"))
    }

    /// Runs it, and has every write to the target from one on fail.
    fn run(&self, outage: &Outage, switch: bool) -> Result<Outcome, Error> {
        let plan = Plan { at: At::Version(Version(3)), chunk_leaves: 4, ..Plan::new() };
        let tuning = Tuning { memory: 32 << 20, switch, ..tiny(1) };
        let engines: Arc<dyn Engines> = Arc::new(Shut(self.databases.with(outage)));
        let source = Arc::new(Rootmulti::new(self.source.clone()));
        let chain = Box::new(Standing { switch });
        migrator::embed_with(&engines, self.place().root(), &plan, tuning, source, chain, 8 << 20)?.run()
    }

    fn state(&self) -> State {
        migrator::found(self.place().root()).unwrap().unwrap().1
    }

    fn shut(&self, directory: &Path, why: &str) {
        fs::write(directory.join(SHUT), why).unwrap();
    }

    fn data(&self) -> (CommitmentData, StorageData) {
        let kept = self.databases.kept();
        (kept.sc.data().clone(), kept.ss.data().clone())
    }

    fn engines(&self) -> [PathBuf; 2] {
        [self.place().sc(), self.place().ss()]
    }

    /// It is refused, nothing is removed, and once the engine opens again the job goes on where it was.
    #[track_caller]
    fn is_left_alone(&self, directory: &Path, why: &str, kind: Kind, what: &str) {
        let (before, data) = (self.state(), self.data());
        self.shut(directory, why);
        let error = self.run(&Outage::never(), true).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert_eq!(self.state(), before, "{what}");
        assert!(directory.join(SHUT).exists() && self.data() == data, "{what}: something was removed");
        fs::remove_file(directory.join(SHUT)).unwrap();
    }
}

fn whole() -> (CommitmentData, StorageData) {
    let job = Job::new();
    assert!(matches!(job.run(&Outage::never(), true), Ok(Outcome::Done { .. })));
    job.data()
}

/// Jobs that died at each write to their target, and how they stand.
fn died() -> impl Iterator<Item = (Job, State)> {
    (0..).map_while(|writes| {
        let job = Job::new();
        let end = job.run(&Outage::after(writes), true);
        end.is_err().then(|| {
            let state = job.state();
            (job, state)
        })
    })
}

#[test]
fn whenever_a_target_is_lost_before_versions_were_applied_it_is_begun_anew_and_after_that_left_alone() {
    let whole = whole();
    let (mut anew, mut left) = (0, 0);
    for which in [0, 1] {
        for (job, state) in died() {
            let directory = &job.engines()[which];
            let what = format!("{}, {state:?}", directory.display());
            if matches!(state.phase, Phase::Snapshotting { .. } | Phase::Restoring { .. }) {
                job.shut(directory, "damaged");
                assert!(matches!(job.run(&Outage::never(), true), Ok(Outcome::Done { .. })), "{what}");
                let now = job.state();
                assert_eq!((now.epoch, now.losses, now.cause), (2, 1, Some(Cause::Lost)), "{what}");
                let events = Journal::open(&job.place().journal()).unwrap().events().unwrap();
                let told = events.iter().find(|event| event.name == "Renewed").unwrap();
                assert!(told.detail.contains("damaged, and cannot be opened"), "{told:?}");
                anew += 1;
            } else {
                job.is_left_alone(directory, "damaged", Kind::Disagrees, &what);
                left += 1;
            }
            job.run(&Outage::never(), true).unwrap();
            assert!(job.data() == whole, "{what}: another target");
        }
    }
    println!("{anew} begun anew, {left} left alone");
    assert!(anew > 20 && left > 10);
}

#[test]
fn what_is_not_damage_or_may_pass_never_costs_a_target() {
    let whole = whole();
    let restoring =
        |(_, state): &(Job, State)| matches!(&state.phase, Phase::Restoring { restored, .. } if restored.count() > 0);
    for (job, _) in died().filter(restoring).step_by(3) {
        for directory in job.engines() {
            for (why, kind) in [
                ("locked", Kind::Retry),
                ("forbidden", Kind::Retry),
                ("full", Kind::Retry),
                ("a wrong block", Kind::Disagrees),
            ] {
                job.is_left_alone(&directory, why, kind, why);
            }
        }
        job.run(&Outage::never(), true).unwrap();
        assert_eq!(job.state().epoch, 1);
        assert!(job.data() == whole);
    }
}

#[test]
fn a_store_of_record_a_switch_and_a_halt_are_never_given_up_as_lost() {
    let done = Job::new();
    done.run(&Outage::never(), true).unwrap();
    let caught_up = Job::new();
    caught_up.run(&Outage::never(), false).unwrap();
    let halted = died().find(|(_, state)| matches!(state.phase, Phase::Restoring { .. })).unwrap().0;
    let record = |job: &Job, event: Event| {
        let mut journal = Journal::open(&job.place().journal()).unwrap();
        let after = journal.state().unwrap().apply(&event).unwrap();
        journal.record(&event, &after, &Writes::Nothing).unwrap();
    };
    record(&halted, Event::Halted(Verdict::Store { store: "bank".into(), what: "a test says so".to_owned() }));
    let switching = Job::new();
    switching.run(&Outage::never(), false).unwrap();
    record(&switching, Event::SwitchStarted);
    for job in [&done, &caught_up, &halted, &switching] {
        for directory in job.engines() {
            job.is_left_alone(&directory, "damaged", Kind::Disagrees, job.state().phase.name());
        }
    }
}

#[test]
fn a_disk_that_loses_a_target_again_and_again_is_told_of_after_three_times() {
    let job = Job::new();
    for losses in 0..=3 {
        // It dies at the same place each time.
        job.run(&Outage::after(6), true).unwrap_err();
        assert_eq!((job.state().losses, job.state().epoch), (losses, losses + 1));
        assert!(matches!(job.state().phase, Phase::Restoring { .. }));
        if losses < 3 {
            job.shut(&job.place().sc(), "damaged");
        }
    }
    job.is_left_alone(&job.place().sc(), "damaged", Kind::Disagrees, "the fourth time");
    job.run(&Outage::never(), true).unwrap();
    assert!(job.data() == whole());
}

#[test]
fn a_target_that_is_damaged_where_it_was_just_wiped_is_not_wiped_again() {
    let (job, _) = died().find(|(_, state)| matches!(state.phase, Phase::Restoring { .. })).unwrap();
    // Recorded, and the process died before it had wiped.
    let mut journal = Journal::open(&job.place().journal()).unwrap();
    let event = Event::Renewed { height: Version(3), cause: Cause::Lost, why: "a test says so".to_owned() };
    let after = journal.state().unwrap().apply(&event).unwrap();
    let born = journal.job().unwrap();
    journal.record(&event, &after, &Writes::Renewed(&born)).unwrap();
    drop(journal);
    job.shut(&job.place().ss(), "damaged");
    job.run(&Outage::never(), true).unwrap();
    assert_eq!((job.state().epoch, job.state().losses), (2, 1), "the wiping is gone on with, and no epoch more begun");
    assert!(job.data() == whole());
}
