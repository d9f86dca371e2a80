//! Jobs in memory that have not come far enough, were told to stop, halted or given up: what is said of them, and that they go on
//! from there.

#[cfg(feature = "rocksdb")]
mod back;
#[cfg(feature = "rocksdb")]
mod retained;
#[cfg(feature = "rocksdb")]
mod switched;

use super::Migrator;
use crate::{
    error::Error,
    journal::{Job, Journal, SourceIdentity},
    machine::{Phase, State},
    model::{JobId, Verdict, Version},
    phases,
    plan::{Plan, Tuning},
    source::{MemoryEngine, Rootmulti, Source, leveldb, lsm},
    target::{MemoryCommitment, MemoryStorage, Outage, Target},
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

fn source() -> Arc<dyn Source> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/small/application.db");
    let database = leveldb::open(&path, lsm::Options::default()).unwrap();
    let (mut pairs, mut iter) = (BTreeMap::new(), database.iter(&[], None));
    while let Some((key, value)) = iter.next().unwrap() {
        pairs.insert(key.to_vec(), value.to_vec());
    }
    Arc::new(Rootmulti::new(MemoryEngine { pairs }))
}

/// A job of its own database whose journal says this.
fn job(phase: impl FnOnce(Version) -> Phase) -> Migrator {
    let (source, plan) = (source(), Plan::new());
    let info = phases::snapshot::preflight(source.as_ref(), &plan).unwrap();
    let identity = SourceIdentity {
        engine: source.engine().to_owned(),
        height: info.version,
        app_hash: info.app_hash(),
        tip: info.version,
        tip_app_hash: info.app_hash(),
    };
    let born = Job { id: JobId([7; 16]), plan, source: identity };
    let state = State { epoch: 1, cause: None, losses: 0, attempt: 0, phase: phase(info.version) };
    let journal = Journal::on_backend(redb::backends::InMemoryBackend::new(), Some((&born, &state))).unwrap();
    let target = Target {
        sc: Some(Box::new(MemoryCommitment::new(None, Outage::never()))),
        ss: Some(Box::new(MemoryStorage::new(None, Outage::never()))),
    };
    let tuning = Tuning { workers: 1, memory: 4096, reserve: 0, switch: true, ..Tuning::default() };
    Migrator::assemble(source, target, journal, tuning).unwrap()
}

fn snapshotting(height: Version) -> Phase {
    Phase::Snapshotting { height }
}

fn verdict() -> Verdict {
    Verdict::Store { store: "bank".into(), what: "differs".to_owned() }
}

fn halted(height: Version) -> Phase {
    Phase::Halted { verdict: verdict(), from: Box::new(snapshotting(height)) }
}

#[test]
fn a_target_that_is_not_whole_yet_is_not_said_to_be_sound() {
    for phase in [snapshotting, halted, |_| Phase::Aborted] {
        for with_source in [false, true] {
            let error = job(phase).verify(with_source, false).unwrap_err();
            assert!(matches!(&error, Error::Blocked { what, .. } if what.contains("nothing to verify yet")), "{error}");
        }
    }
}

#[test]
fn a_verification_that_is_told_to_stop_says_why_and_a_whole_one_counts_every_pair() {
    let mut job = job(snapshotting);
    job.run().unwrap();
    let whole = job.verify(true, false).unwrap();
    assert!(whole.is_sound() && whole.chunks > 1 && whole.pairs > 100);
    // What an earlier one has proven is not proven again, and counts.
    let proven = crate::model::ChunkSet::from_ranges(vec![(0, 1)]).unwrap();
    job.recorder().journal().set_verified(Some(&proven)).unwrap();
    let rest = job.verify(false, false).unwrap();
    assert_eq!((rest.chunks, rest.pairs), (whole.chunks, whole.pairs));
    assert_eq!(job.recorder().journal().verified().unwrap().count(), 0, "it is over");
    job.recorder().journal().set_verified(Some(&proven)).unwrap();
    job.stop().ask("the operator went home");
    let error = job.verify(false, false).unwrap_err();
    assert!(matches!(&error, Error::Stopped(why) if why == "the operator went home"), "{error}");
    assert!(job.recorder().journal().verified().unwrap().contains(0), "what was proven stays known");
}

#[test]
fn a_run_that_is_told_to_stop_says_why_and_the_next_one_comes_to_the_end() {
    let stopped = job(snapshotting);
    stopped.stop().ask("a restart of the machine");
    let mut stopped = stopped;
    let error = stopped.run().unwrap_err();
    assert!(matches!(&error, Error::Stopped(why) if why == "a restart of the machine"), "{error}");
    assert_eq!(stopped.recorder().journal().event_count(), 0);
}

#[test]
fn a_job_that_halted_or_was_given_up_does_not_go_on_by_itself() {
    let mut job_halted = job(halted);
    for _ in 0..2 {
        let error = job_halted.run().unwrap_err();
        assert!(matches!(&error, Error::Halted(found) if *found == verdict()), "{error}");
    }
    let mut aborted = job(|_| Phase::Aborted);
    let error = aborted.run().unwrap_err();
    assert!(matches!(&error, Error::Blocked { what, .. } if what.contains("this job was aborted")), "{error}");
    for job in [job_halted, aborted] {
        assert_eq!(job.recorder().journal().event_count(), 0, "nothing was recorded");
        assert_eq!(job.target().sc.as_ref().unwrap().latest().unwrap(), None, "nothing was written");
    }
}
