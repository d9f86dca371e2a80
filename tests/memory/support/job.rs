//! A whole migration in memory: a source, a target of two engines and a journal that all die in the same outage, and
//! whose content outlives it.

pub use super::tuning::tiny;

use super::disk::Disk;
use std::sync::Arc;
use storeshift::{
    Error, Migrator,
    journal::{Job, Journal, SourceIdentity},
    machine::State,
    model::{CommitInfo, JobId},
    phases,
    plan::{Parts, Plan, Tuning},
    source::Source,
    target::{MemoryCommitment, MemoryStorage, Outage, Target},
};

/// What survives a crash.
#[derive(Clone)]
pub struct World {
    pub source: Arc<dyn Source>,
    pub plan: Plan,
    pub tuning: Tuning,
    pub sc: MemoryCommitment,
    pub ss: MemoryStorage,
    pub journal: Disk,
}

impl World {
    /// A job that was just born.
    pub fn new(source: Arc<dyn Source>, plan: Plan, tuning: Tuning) -> World {
        let info = phases::snapshot::preflight(source.as_ref(), &plan).unwrap();
        let tip = source.latest().unwrap();
        let app_hash = |info: &CommitInfo| info.app_hash();
        let identity = SourceIdentity {
            engine: source.engine().to_owned(),
            height: info.version,
            app_hash: app_hash(&info),
            tip,
            tip_app_hash: app_hash(&source.commit_info(tip).unwrap().unwrap()),
        };
        let job = Job { id: JobId([7; 16]), plan: plan.clone(), source: identity };
        let journal = Disk::new();
        Journal::on_backend(journal.clone(), Some((&job, &State::new(info.version)))).unwrap();
        World {
            source,
            plan,
            tuning,
            sc: MemoryCommitment::new(None, Outage::never()),
            ss: MemoryStorage::new(None, Outage::never()),
            journal,
        }
    }

    /// Opens the job as a process does, every write of which counts against the outage.
    pub fn open(&self, outage: &Outage) -> Result<Migrator, Error> {
        let parts = self.plan.parts;
        let sc = MemoryCommitment::new(Some(&self.sc), outage.clone());
        let ss = MemoryStorage::new(Some(&self.ss), outage.clone());
        let target = Target {
            sc: (parts != Parts::Ss).then(|| Box::new(sc) as Box<_>),
            ss: (parts != Parts::Sc).then(|| Box::new(ss) as Box<_>),
        };
        let journal = Journal::on_backend(self.journal.with(outage), None)?;
        Migrator::assemble(self.source.clone(), target, journal, self.tuning)
    }

    /// The state in the journal.
    pub fn state(&self) -> State {
        self.recorded().state().unwrap()
    }

    /// The journal as it is now.
    pub fn recorded(&self) -> Journal {
        // On a copy: opening a journal writes to it.
        let copy = Disk::holding(self.journal.content().bytes.clone());
        Journal::on_backend(copy, None).unwrap()
    }

    /// A copy whose later fate is its own.
    pub fn fork(&self) -> World {
        let copy = World {
            sc: MemoryCommitment::new(None, Outage::never()),
            ss: MemoryStorage::new(None, Outage::never()),
            journal: Disk::holding(self.journal.content().bytes.clone()),
            ..self.clone()
        };
        copy.sc.data().clone_from(&self.sc.data());
        copy.ss.data().clone_from(&self.ss.data());
        copy
    }
}
