//! Beginning anew from another snapshot: the next epoch of the same job.
//!
//! Owns the order in which that happens. The journal goes first here, because what it says is that nothing of the target counts
//! any more: a crash before the target is wiped finds that out and wipes it.

use super::{Migrator, entrance::Entered, open::open_engines};
use crate::{
    error::Error,
    journal::{Job, Writes},
    machine::Event,
    model::Manifest,
    plan::{At, Plan},
    source::checkpoint::Checkpoint,
    target::Target,
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
        self.recorder.record(&Event::Renewed { height: job.source.height }, &Writes::Renewed(&job))?;
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
