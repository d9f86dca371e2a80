//! The driver: the only code that orders durability.
//!
//! Asks the machine for the next step, has the phases carry it out, and records what has become true: target first,
//! journal after. A first start, a start after Ctrl-C and a start after a power cut are this same loop.

mod entrance;
mod estimate;
mod open;
mod paths;
mod reading;
mod recorder;
mod running;
mod status;
mod steering;
pub mod verify;

use crate::{
    error::Error,
    governor::Governor,
    journal::{Job, Journal, Lock, Writes},
    machine::{Event, Phase, Step},
    model::{Chunk, ChunkId, Hash, Manifest, Verdict, Version},
    phases::{self, PhaseError, Work, join::Joint, prove::Written, restore::Large, snapshot::Bound},
    plan::Tuning,
    progress::{Counts, Progress, Stop, raise},
    source::{Feed, RetainedVersions, Source, SourceError, checkpoint::Checkpoint},
    target::Target,
};
use std::{sync::Arc, time::Instant};

pub use entrance::{Entered, Held, Peek, checkpoint_in, peek};
pub use estimate::{Estimate, StoreEstimate, estimate};
pub use open::{abort, inspect, open};
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
    target: Target,
    recorder: Recorder,
    job: Job,
    tuning: Tuning,
    manifest: Manifest,
    progress: Arc<Progress>,
    stop: Stop,
    governor: Governor,
    place: Option<crate::target::Place>,
    checkpoint: Option<(Checkpoint, IsNew)>,
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
            target,
            recorder,
            job,
            tuning,
            manifest: empty,
            progress: Arc::default(),
            stop,
            governor,
            place: None,
            checkpoint: None,
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
        if matches!(self.recorder.state().phase, Phase::Switching { .. }) {
            // The fence stood in a process that is gone: store/v1 may have committed since.
            self.recorder.record(&Event::SwitchUndone, &Writes::Nothing)?;
        }
        // Later phases read no nodes of the snapshot's version.
        if matches!(self.recorder.state().phase, Phase::Snapshotting { .. } | Phase::Restoring { .. }) {
            self.prepare_source()?;
        }
        loop {
            let (step, began) = (self.recorder.state().next().name(), Instant::now());
            let outcome = self.step();
            self.progress.spend(step, began.elapsed());
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
                if applied < tip {
                    self.sync(applied, tip)?;
                } else if self.tuning.switch {
                    self.recorder.record_in_phase(&Event::SwitchStarted, &Writes::Nothing)?;
                } else {
                    self.settle(applied)?;
                    return Ok(Some(Outcome::CaughtUp { version: applied }));
                }
            }
            Step::Fence => {
                let version = self.feed.fence()?;
                self.recorder.record_in_phase(&Event::Fenced { version }, &Writes::Nothing)?;
            }
            Step::Drain { applied, to } => self.sync(applied, to)?,
            Step::Check { version } => {
                let verified = phases::switch::check(&self.target, version, self.app_hash(version)?)?;
                self.recorder.record_in_phase(&Event::Checked(verified), &Writes::Nothing)?;
            }
            Step::Flip { version } => {
                // Everything goes from the engines' logs into tables first: an older RocksDB that opens the target later
                // may not know this one's log records.
                self.settle(version)?;
                self.recorder.record_in_phase(&Event::Flipped, &Writes::Nothing)?;
            }
            Step::Wait(verdict) => return Err(PhaseError::Record(Box::new(Error::Halted(verdict)))),
            Step::Finished => {
                let version = self.recorder.state().phase.applied().unwrap_or_default();
                let app_hash = self.done_app_hash(version)?;
                self.clean_up()?;
                return Ok(Some(Outcome::Done { version, app_hash }));
            }
            Step::Wipe => {
                return Err(PhaseError::Record(Box::new(Error::Blocked {
                    what: "this job was aborted, and wiping it was interrupted".to_owned(),
                    advice: "Run `storeshift abort` again to finish; then a new run can begin.".to_owned(),
                })));
            }
        }
        Ok(None)
    }

    fn work(&self) -> Work<'_> {
        Work { manifest: &self.manifest, progress: &self.progress, governor: &self.governor, tuning: self.tuning }
    }

    fn app_hash(&self, version: Version) -> Result<Hash, PhaseError> {
        self.feed
            .app_hash(version)?
            .ok_or_else(|| PhaseError::Refused(format!("the source has no commit info of version {version}")))
    }

    /// The app hash at the end, from the target where it has one: the source may be gone by then.
    fn done_app_hash(&self, version: Version) -> Result<Hash, PhaseError> {
        match &self.target.sc {
            Some(sc) => match sc.commit_info(version)? {
                Some(info) => Ok(info.app_hash()),
                None => Ok(self.job.source.app_hash),
            },
            None => self.app_hash(version).or(Ok(self.job.source.tip_app_hash)),
        }
    }

    fn snapshot(&mut self, height: Version) -> Result<(), PhaseError> {
        let missing = || PhaseError::Refused(format!("the source has no commit info of version {height}"));
        let info = self.source.commit_info(height)?.ok_or_else(missing)?;
        let most = Bound::Leaves(self.job.plan.chunk_leaves);
        let snapshot = phases::snapshot::take(self.source.as_ref(), &info, most, &self.governor)?;
        let chunks = snapshot.chunks.len() as u64;
        let writes =
            Writes::Manifest { manifest: &snapshot.manifest, chunks: &snapshot.chunks, spines: &snapshot.spines };
        self.recorder.record_in_phase(&Event::Snapshotted { chunks }, &writes)?;
        self.manifest = snapshot.manifest;
        raise(&self.progress.pairs_total, self.manifest.leaves());
        Ok(())
    }

    fn restore(&mut self, height: Version) -> Result<(), PhaseError> {
        let Phase::Restoring { restored, .. } = &self.recorder.state().phase else { return Ok(()) };
        let restored = restored.clone();
        let chunks = self.all_chunks().map_err(recorded)?;
        let open: Vec<(ChunkId, Chunk)> =
            (0..).zip(chunks.iter().cloned()).filter(|(id, _)| !restored.contains(*id)).collect();
        let Migrator { recorder, source, target, job, manifest, progress, governor, tuning, .. } = self;
        let work = Work { manifest, progress, governor, tuning: *tuning };
        let large = Large::find(&chunks, job.plan.chunk_leaves);
        phases::restore::run(work, source.as_ref(), target, height, &large, open, &mut |results| {
            let ids: Vec<ChunkId> = results.iter().map(|(id, _)| *id).collect();
            recorder.record_in_phase(&Event::Restored { chunks: ids }, &Writes::Restored(&results))?;
            for (id, restored) in &results {
                raise(&progress.pairs_restored, chunks.get(*id as usize).map_or(0, |chunk| chunk.leaves));
                raise(&progress.bytes, restored.bytes);
            }
            Ok(())
        })
    }

    fn join(&mut self, height: Version) -> Result<(), PhaseError> {
        let journal = self.recorder.journal();
        let mut stores = (0u32..).zip(&self.manifest.stores).map(|(index, store)| {
            let chunks = journal.chunks(store.first_chunk, store.chunks).map_err(recorded)?;
            let mut joints = Vec::with_capacity(chunks.len());
            for (id, chunk) in (store.first_chunk..).zip(&chunks) {
                let restored = journal.restored(id).map_err(recorded)?;
                let restored = restored.ok_or(PhaseError::Bug("a chunk without its record is called restored"))?;
                joints.push(Joint::new(chunk.first_ordinal, restored));
            }
            Ok((store.clone(), journal.spine(index).map_err(recorded)?, joints))
        });
        phases::join::run(self.work(), &self.target, height, &mut stores)?;
        self.recorder.record_in_phase(&Event::Joined, &Writes::Nothing)
    }

    fn prove(&mut self, height: Version) -> Result<(), PhaseError> {
        let Phase::Restoring { proven, .. } = &self.recorder.state().phase else { return Ok(()) };
        let proven = proven.clone();
        let spans = self.written(|id| !proven.contains(id)).map_err(recorded)?;
        let Migrator { recorder, target, manifest, progress, governor, tuning, .. } = self;
        let work = Work { manifest, progress, governor, tuning: *tuning };
        phases::prove::run(work, target, height, spans, &mut |chunks| {
            recorder.record_in_phase(&Event::Proven { chunks }, &Writes::Nothing)
        })
    }

    /// The chunks as they were written, those only that `wanted` picks, in spans of neighbours that one worker can prove
    /// at a time.
    fn written(&self, wanted: impl Fn(ChunkId) -> bool) -> Result<Vec<Vec<Written>>, Error> {
        /// Bytes of pairs in a span, unless one chunk has more: several workers share a store of large values.
        const MOST_BYTES: u64 = 128 << 20;
        let most = self.work().sweep_leaves();
        let journal = self.recorder.journal();
        let mut spans = Vec::new();
        for store in &self.manifest.stores {
            let mut span: Vec<Written> = Vec::new();
            let (mut leaves, mut bytes) = (0, 0);
            for (offset, chunk) in (0..).zip(journal.chunks(store.first_chunk, store.chunks)?) {
                let id = store.first_chunk + offset;
                let restored = journal.restored(id)?.ok_or(Error::Invariant("a restored chunk has no record"))?;
                let before = span.last_mut().filter(|before| before.id + 1 == id);
                let follows = before.is_some();
                if let Some(before) = before {
                    before.until = Some(restored.first_key.clone());
                }
                if !wanted(id) {
                    continue;
                }
                let full = leaves + chunk.leaves > most || bytes + restored.bytes > MOST_BYTES;
                if !span.is_empty() && (!follows || full) {
                    spans.push(std::mem::take(&mut span));
                    (leaves, bytes) = (0, 0);
                }
                leaves += chunk.leaves;
                bytes += restored.bytes;
                span.push(Written { id, chunk, restored, opens_store: offset == 0, until: None });
            }
            if !span.is_empty() {
                spans.push(span);
            }
        }
        Ok(spans)
    }

    fn conclude(&mut self, height: Version) -> Result<(), PhaseError> {
        let verified = self.check_tops(height, true)?;
        self.recorder.record_in_phase(&Event::Concluded(verified), &Writes::Nothing)
    }

    fn check_tops(&self, height: Version, finish: bool) -> Result<crate::machine::Verified, PhaseError> {
        let journal = self.recorder.journal();
        let mut stores = (0u32..).zip(&self.manifest.stores).map(|(index, store)| {
            let chunks = journal.chunks(store.first_chunk, store.chunks).map_err(recorded)?;
            Ok((store.clone(), journal.spine(index).map_err(recorded)?, chunks))
        });
        let app_hash = self.job.source.app_hash;
        let verified = phases::conclude::check(self.work(), &self.target, height, app_hash, &mut stores)?;
        if finish {
            phases::conclude::finish(self.work(), &self.target, height)?;
        }
        Ok(verified)
    }

    fn sync(&mut self, applied: Version, to: Version) -> Result<(), PhaseError> {
        let Migrator { recorder, feed, target, manifest, progress, governor, tuning, .. } = self;
        let work = Work { manifest, progress, governor, tuning: *tuning };
        phases::sync::run(work, feed.as_ref(), target, applied, to, &mut |to| {
            recorder.record_in_phase(&Event::Applied { to }, &Writes::Nothing)
        })
    }

    /// Brings the engines, which stand at a version, into the form in which they are handed over.
    fn settle(&self, version: Version) -> Result<(), PhaseError> {
        if let Some(sc) = &self.target.sc {
            sc.flush()?;
        }
        if let Some(ss) = &self.target.ss {
            ss.flush()?;
        }
        // What was restored has its final shape since it was joined.
        if version > self.job.source.height { phases::sync::settle(self.work(), &self.target) } else { Ok(()) }
    }

    fn clean_up(&self) -> Result<(), PhaseError> {
        let Some(place) = &self.place else { return Ok(()) };
        place.remove_temporary()?;
        reading::discard(place, self.recorder.journal()).map_err(recorded)
    }

    fn all_chunks(&self) -> Result<Vec<Chunk>, Error> {
        Ok(self.recorder.journal().chunks(0, self.manifest.chunks())?)
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
