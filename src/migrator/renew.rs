//! Beginning anew from another snapshot: the next epoch of the same job.
//!
//! Owns the order in which that happens. The journal goes first here, because what it says is that nothing of the target counts
//! any more: a crash before the target is wiped finds that out and wipes it.

use super::{Migrator, Recorder, entrance::Entered, open::open_engines};
use crate::{
    error::Error,
    journal::{Job, Journal, Writes},
    machine::{Cause, Event},
    model::Manifest,
    plan::{At, Plan},
    source::checkpoint::Checkpoint,
    target::{Target, TargetError},
};
use std::sync::atomic::Ordering;

impl Migrator {
    /// Begins the next epoch with what was opened, for a reason.
    pub(super) fn renew(&mut self, entered: Entered, checkpoint: Option<Checkpoint>, why: &str) -> Result<(), Error> {
        let (Some(place), Some(engines)) = (self.place.clone(), self.engines.clone()) else {
            return Err(Error::Invariant("a job that was assembled from parts cannot begin anew by itself"));
        };
        if let At::Version(version) = self.job.plan.at {
            return Err(Error::Blocked {
                what: format!("{why}, and another snapshot cannot be taken because the plan asks for version {version}"),
                advice: "The node and its database are untouched. Run `storeshift abort`, and begin anew at the latest version; \
                         or give --source a copy of the database that still has what is missing."
                    .to_owned(),
            });
        }
        tracing::warn!(%why, "beginning anew from another snapshot");
        self.leave_switch()?;
        let (source, feed) = entered;
        // The trusted app hash was the first snapshot's. That this is the same chain was told by the versions applied since.
        let plan = Plan { app_hash: None, ..self.job.plan.clone() };
        let source_identity = super::open::identify(source.as_ref(), feed.as_ref(), &plan)?;
        let job = Job { source: source_identity, ..self.job.clone() };
        let event = Event::Renewed { height: job.source.height, cause: Cause::Pruned, why: why.to_owned() };
        self.recorder.record(&event, &Writes::Renewed(&job))?;
        // The engines close first.
        self.target = Target { sc: None, ss: None };
        place.wipe()?;
        place.clear_staging()?;
        self.target = open_engines(engines.as_ref(), &place, job.id, job.plan.parts, self.tuning)?;
        (self.source, self.feed, self.job) = (source, feed, job);
        self.chain.renewed(&self.job);
        self.checkpoint = checkpoint.map(|checkpoint| (checkpoint, true));
        self.manifest = Manifest { stores: Vec::new(), timestamp: None };
        let progress = &self.progress;
        for counter in [&progress.pairs_total, &progress.pairs_restored, &progress.pairs_proven] {
            counter.store(0, Ordering::Relaxed);
        }
        self.prepare_source()
    }
}

/// Records that the next epoch begins because the target was lost: what its engines were about to be opened on does not count any more.
/// Nothing of it was of record, and the source has everything. It is for the caller to wipe it, at once or after a crash.
pub(super) fn lost(
    journal: Journal,
    job: Job,
    (source, feed): &Entered,
    lost: &TargetError,
) -> Result<(Journal, Job), Error> {
    let mut recorder = Recorder::new(journal)?;
    let phase = recorder.state().phase.name();
    tracing::warn!(
        "{lost}; this was found while {phase}, when nothing of the target is of record yet and the source has all of it: the target is \
         wiped, and the job begins anew by itself (see whether the disk has reported errors)"
    );
    // As above: it is the chain that the job was begun with, or none of whose versions is left.
    let plan = Plan { app_hash: None, ..job.plan.clone() };
    let identity = super::open::identify(source.as_ref(), feed.as_ref(), &plan)?;
    let job = Job { source: identity, ..job };
    let event = Event::Renewed { height: job.source.height, cause: Cause::Lost, why: lost.to_string() };
    recorder.record(&event, &Writes::Renewed(&job))?;
    Ok((recorder.into_journal(), job))
}
