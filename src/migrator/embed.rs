//! A job whose chain runs in this very process: it reads the database the chain writes, and no checkpoint of it.

use super::{
    Migrator,
    chain::Chain,
    entrance::Entered,
    estimate,
    open::{assemble, begin, plan_job, refuse_aborted},
    paths::resolve,
    reading::missing,
};
use crate::{
    error::Error,
    journal::{Journal, Lock},
    machine::State,
    plan::{At, Paths, Plan, Tuning},
    source::{RetainedVersions, Source},
    target::Place,
};
use std::{path::Path, sync::Arc};

/// The state of the job in a target's directory, if there is one.
///
/// # Errors
/// Another process works on it, or the journal is damaged.
pub fn state(target: &Path) -> Result<Option<State>, Error> {
    let place = Place::new(&resolve(target));
    if !Journal::exists(&place.journal()) {
        return Ok(None);
    }
    let _lock = Lock::take(&place.journal())?;
    Ok(Some(Journal::open(&place.journal())?.state()?))
}

/// Opens the job in a target's directory, or begins one, on a source that grows while it is read. Who calls holds the versions that
/// the job needs, see [`state`]; if one is gone all the same, the job begins anew with another snapshot.
///
/// # Errors
/// As [`super::open`].
pub fn embed(
    target: &Path,
    plan: &Plan,
    tuning: Tuning,
    source: Arc<dyn Source>,
    chain: Box<dyn Chain>,
) -> Result<Migrator, Error> {
    plan.check()?;
    tuning.check()?;
    let place = Place::new(&resolve(target));
    let entered = || -> Entered { (source.clone(), Box::new(RetainedVersions::new(source.clone()))) };
    let lock = Lock::take(&place.journal())?;
    if !Journal::exists(&place.journal()) {
        if let Some(occupied) = place.occupied()? {
            return Err(Error::Blocked {
                what: format!("{} is not empty, but there is no journal beside it", occupied.display()),
                advice: "Without its journal a target cannot be continued. Choose an empty target directory."
                    .to_owned(),
            });
        }
        let (source, feed) = entered();
        let job = plan_job(source.as_ref(), feed.as_ref(), plan)?;
        let found = Plan { at: At::Version(job.source.height), ..plan.clone() };
        let paths = Paths { target: place.root().to_owned(), ..Paths::default() };
        estimate(source.as_ref(), feed.as_ref(), &paths, &found, tuning)?.check()?;
        begin(&place, &job, None)?;
    }
    let journal = Journal::open(&place.journal())?;
    let job = journal.job()?;
    let differences = job.plan.differences(plan);
    if !differences.is_empty() {
        return Err(Error::Blocked {
            what: format!("the plan differs from the one this job was begun with:\n  {}", differences.join("\n  ")),
            advice: "Nothing was changed. Give the plan the job was begun with, or abort it.".to_owned(),
        });
    }
    let state = journal.state()?;
    refuse_aborted(&state)?;
    let gap = missing(&state, source.as_ref())?;
    // Of a snapshot that cannot be gone on with nothing need be recognised: what comes of it is wiped.
    let known = gap.is_none().then(&entered);
    let mut migrator = assemble(place, known, journal, job, tuning, lock)?;
    if let Some((version, what)) = gap {
        migrator.renew(entered(), None, &format!("version {version}, {what}, was pruned while the job was away"))?;
    }
    migrator.chain = chain;
    Ok(migrator)
}

impl Migrator {
    /// As a job from parts ([`Migrator::assemble`]), of this chain.
    #[must_use]
    pub fn of_chain(mut self, chain: Box<dyn Chain>) -> Migrator {
        self.chain = chain;
        self
    }
}
