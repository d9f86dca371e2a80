//! The driver: the only code that orders durability.
//!
//! Asks the machine for the next step, has the phases carry it out, and records what has become true: target first,
//! journal after. A first start, a start after Ctrl-C and a start after a power cut are this same loop.

mod after;
pub mod chain;
mod embed;
mod entrance;
mod estimate;
mod follow;
pub mod guard;
mod open;
mod paths;
mod reading;
mod recorder;
mod renew;
mod repair;
mod retained;
mod running;
mod status;
mod steering;
mod steps;
mod still;
mod switching;
pub mod verify;

use crate::{
    error::Error,
    governor::Governor,
    journal::{Job, Journal, Lock, Writes},
    machine::{Event, Phase, Step},
    model::{ChunkId, Hash, Manifest, Verdict, Version},
    phases::{self, PhaseError},
    plan::Tuning,
    progress::{Counts, Progress, Stop, raise},
    source::{Feed, RetainedVersions, Source, SourceError, checkpoint::Checkpoint},
    target::{Engines, Target},
};
use chain::{Chain, Standing};
use std::{sync::Arc, time::Instant};

pub use after::{Returned, back, finish, forget, missing_part};
pub use embed::{embed, embed_with, found};
pub use entrance::{Entered, Held, Peek, checkpoint_in, peek};
pub use estimate::{Estimate, StoreEstimate, estimate};
pub(crate) use follow::Convergence;
pub use follow::{Following, Switch};
pub use open::{abort, inspect, open, open_with};
pub use recorder::Recorder;
pub use running::Running;
pub use status::{Limited, Status, Wait};

/// How a run ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// store/v2 is the store of record.
    Done {
        /// From this version on.
        version: Version,
        /// Its app hash as store/v1 recorded it, equal in the target; with SS only, compared at the source.
        app_hash: Hash,
    },
    /// Everything is applied, and the tuning does not allow the switch.
    CaughtUp {
        /// The newest version.
        version: Version,
    },
}

/// Whether a checkpoint was made by this process, or serves on from an earlier run.
pub type IsNew = bool;

/// One job on one source and one target.
pub struct Migrator {
    source: Arc<dyn Source>,
    feed: Box<dyn Feed>,
    chain: Box<dyn Chain>,
    target: Target,
    recorder: Recorder,
    job: Job,
    tuning: Tuning,
    manifest: Manifest,
    /// Chunks that this run has read back and proven before all were restored; recorded once nothing rewrites them any more.
    read_back: Vec<ChunkId>,
    progress: Arc<Progress>,
    stop: Stop,
    governor: Governor,
    place: Option<crate::target::Place>,
    engines: Option<Arc<dyn Engines>>,
    checkpoint: Option<(Checkpoint, IsNew)>,
    /// The switch is being recorded.
    is_sealed: bool,
    _held: Option<reading::Held>,
    // Held as long as the job is open; dropped last, after the engines are closed.
    _lock: Option<Lock>,
}

impl Migrator {
    /// A job from parts that are already open: for embedding, and for running a whole migration in memory.
    ///
    /// # Errors
    /// Source or target do not fit the journal, or the journal is damaged.
    pub fn assemble(
        source: Arc<dyn Source>,
        target: Target,
        journal: Journal,
        tuning: Tuning,
    ) -> Result<Migrator, Error> {
        let feed = Box::new(RetainedVersions::new(source.clone()));
        Migrator::assemble_with(source, feed, target, journal, tuning)
    }

    /// As [`Migrator::assemble`], with the versions after the snapshot from a feed of its own.
    ///
    /// # Errors
    /// As [`Migrator::assemble`].
    pub fn assemble_with(
        source: Arc<dyn Source>,
        feed: Box<dyn Feed>,
        target: Target,
        journal: Journal,
        tuning: Tuning,
    ) -> Result<Migrator, Error> {
        let state = journal.state()?;
        // After Done the source may be gone, or its node may have been reset: it is not of record any more.
        if !matches!(state.phase, Phase::Done { .. }) {
            crate::reconcile::source(&journal.job()?.source, &state, feed.as_ref())?;
            crate::reconcile::both(&state, feed.as_ref(), &target)?;
        }
        Migrator::without_source_check(source, feed, target, journal, tuning)
    }

    /// As [`Migrator::assemble`], for work that does not touch the source.
    fn without_source_check(
        source: Arc<dyn Source>,
        feed: Box<dyn Feed>,
        target: Target,
        journal: Journal,
        tuning: Tuning,
    ) -> Result<Migrator, Error> {
        let job = journal.job()?;
        let recorder = Recorder::new(journal)?;
        crate::reconcile::target(recorder.state(), &target)?;
        let stop = Stop::default();
        let governor = Governor::new(stop.clone());
        governor.set(steering::limits_of(tuning));
        let empty = Manifest { stores: Vec::new(), timestamp: None };
        let mut migrator = Migrator {
            source,
            feed,
            chain: Box::new(Standing { switch: tuning.switch }),
            target,
            recorder,
            job,
            tuning,
            manifest: empty,
            read_back: Vec::new(),
            progress: Arc::default(),
            stop,
            governor,
            place: None,
            engines: None,
            checkpoint: None,
            is_sealed: false,
            _held: None,
            _lock: None,
        };
        migrator.take_stock()?;
        Ok(migrator)
    }

    /// Reads the manifest, if there is one, and counts what earlier runs have done.
    fn take_stock(&mut self) -> Result<(), Error> {
        let (restored, proven) = match &self.recorder.state().phase {
            Phase::Snapshotting { .. } | Phase::Aborted => return Ok(()),
            Phase::Restoring { restored, proven, .. } => (Some(restored.clone()), Some(proven.clone())),
            Phase::Halted { from, .. } if matches!(**from, Phase::Snapshotting { .. }) => return Ok(()),
            _ => (None, None),
        };
        self.manifest = self.recorder.journal().manifest()?;
        let total = self.manifest.leaves();
        raise(&self.progress.pairs_total, total);
        let (Some(restored), Some(proven)) = (restored, proven) else {
            raise(&self.progress.pairs_restored, total);
            raise(&self.progress.pairs_proven, total);
            return Ok(());
        };
        for (id, chunk) in (0..).zip(self.all_chunks()?) {
            raise(&self.progress.pairs_restored, if restored.contains(id) { chunk.leaves } else { 0 });
            raise(&self.progress.pairs_proven, if proven.contains(id) { chunk.leaves } else { 0 });
        }
        Ok(())
    }

    /// Ask this to stop the run after the work in flight.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Counters of the run.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// What the job was born with.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The checkpoint that is read, if it is one of a running node, and whether it was made just now.
    #[must_use]
    pub fn checkpoint(&self) -> Option<(&Checkpoint, IsNew)> {
        self.checkpoint.as_ref().map(|(checkpoint, is_new)| (checkpoint, *is_new))
    }

    /// Journal and state.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The target's engines.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Runs the job on the calling thread until it is done, caught up, halted or stopped. Calling it again continues.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it was asked to, [`Error::Halted`] if the data disagrees; otherwise what failed. Whatever it
    /// is, what was recorded stays true and another run continues from there.
    pub fn run(&mut self) -> Result<Outcome, Error> {
        self.leave_switch()?;
        if self.has_lost_an_engine() {
            return Err(Error::Invariant("an engine of the target is not open; the job has to be opened anew"));
        }
        // Later phases read no nodes of the snapshot's version.
        if matches!(self.recorder.state().phase, Phase::Snapshotting { .. } | Phase::Restoring { .. }) {
            self.prepare_source()?;
        }
        loop {
            let (step, began) = (self.recorder.state().next().name(), Instant::now());
            let outcome = self.step();
            self.progress.spend(step, began.elapsed());
            if let (Err(error), Phase::Switching { .. }) = (&outcome, &self.recorder.state().phase) {
                self.give_way(error);
            }
            match outcome {
                Ok(None) => {}
                Ok(Some(outcome)) => return Ok(outcome),
                Err(PhaseError::Stopped) => {
                    let reason = self.stop.reason().unwrap_or_else(|| "on request".to_owned());
                    return Err(Error::Stopped(reason));
                }
                Err(PhaseError::Verdict(verdict)) => return Err(self.halt(verdict)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A switch in the journal is of a process that is gone, and its fence with it: store/v1 may have committed since.
    fn leave_switch(&mut self) -> Result<(), Error> {
        if matches!(self.recorder.state().phase, Phase::Switching { .. }) {
            let why = "the process that carried it out ended".to_owned();
            self.recorder.record(&Event::SwitchUndone { why }, &Writes::Nothing)?;
        }
        Ok(())
    }

    /// Whether a part is missing that the plan has: so it is after an epoch failed to begin, and nothing may be proven of it then.
    fn has_lost_an_engine(&self) -> bool {
        let (parts, target) = (self.job.plan.parts, &self.target);
        parts.sc() != target.sc.is_some() || parts.ss() != target.ss.is_some()
    }

    /// Makes ready to read the source's nodes.
    fn prepare_source(&self) -> Result<(), Error> {
        let began = Instant::now();
        let prepared = self.source.prepare(&|| self.governor.turn().is_err());
        self.progress.spend("prepare", began.elapsed());
        match prepared {
            Err(SourceError::Stopped) => {
                Err(Error::Stopped(self.stop.reason().unwrap_or_else(|| "on request".to_owned())))
            }
            prepared => Ok(prepared?),
        }
    }

    fn halt(&mut self, verdict: Verdict) -> Error {
        tracing::error!(%verdict, "halted");
        self.chain.halted(&verdict.to_string());
        match self.recorder.record(&Event::Halted(verdict.clone()), &Writes::Nothing) {
            Ok(()) => Error::Halted(verdict),
            Err(error) => error,
        }
    }

    /// Carries out one step and records what has become true.
    fn step(&mut self) -> Result<Option<Outcome>, PhaseError> {
        let step = self.recorder.state().next();
        if self.stop.is_asked() && !matches!(step, Step::Finished) {
            return Err(PhaseError::Stopped);
        }
        let governor = self.governor.clone();
        let _urgent = steering::before(&step, &governor)?;
        match step {
            Step::Snapshot { height } => self.snapshot(height)?,
            Step::Restore { height } => self.restore(height)?,
            Step::Join { height } => self.join(height)?,
            Step::Prove { height } => self.prove(height)?,
            Step::Conclude { height } => self.conclude(height)?,
            Step::Sync { applied } => {
                let tip = self.feed.tip()?;
                let to = self.chain.bound().map_or(tip, |bound| bound.min(tip));
                if applied < to && self.chain.would_switch(applied, to) {
                    self.recorder.record_in_phase(&Event::SwitchStarted, &Writes::Nothing)?;
                } else if applied < to {
                    self.sync(applied, to)?;
                } else {
                    return self.turn(applied);
                }
            }
            Step::Fence => self.fence()?,
            Step::Drain { applied, to } => self.sync(applied, to)?,
            Step::Check { version } => {
                let verified = phases::switch::check(&self.target, version, self.app_hash(version)?)?;
                self.recorder.record_in_phase(&Event::Checked(verified), &Writes::Nothing)?;
            }
            Step::Flip { version } => self.flip(version, &[Event::Flipped])?,
            Step::Wait(verdict) => return Err(PhaseError::Record(Box::new(Error::Halted(verdict)))),
            Step::Finished => {
                let version = self.recorder.state().phase.applied().unwrap_or_default();
                let app_hash = self.done_app_hash(version)?;
                self.clean_up()?;
                return Ok(Some(Outcome::Done { version, app_hash }));
            }
            Step::Wipe => {
                return Err(PhaseError::Record(Box::new(open::given_up())));
            }
        }
        Ok(None)
    }

    fn clean_up(&self) -> Result<(), PhaseError> {
        let Some(place) = &self.place else { return Ok(()) };
        place.remove_temporary()?;
        reading::discard(place, self.recorder.journal()).map_err(recorded)
    }

    /// The counters now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.progress.counts()
    }
}

fn recorded(error: impl Into<Error>) -> PhaseError {
    PhaseError::Record(Box::new(error.into()))
}

#[cfg(test)]
mod tests;
