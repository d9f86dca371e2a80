//! A job whose chain runs in this very process: it reads the database the chain writes, and no checkpoint of it.

use super::{
    Migrator,
    chain::Chain,
    entrance::Entered,
    estimate,
    open::{Reads, assemble, begin, built_in, plan_job, refuse_aborted, refuse_occupied, refuse_other_plan},
    paths::resolve,
    reading::missing,
};
use crate::{
    error::Error,
    journal::{Job, Journal, Lock},
    machine::State,
    plan::{At, Paths, Plan, Tuning},
    source::{RetainedVersions, Source},
    target::{Engines, Place},
};
use std::{path::Path, sync::Arc};

/// The job in a target's directory and its state, if there is one.
///
/// # Errors
/// Another process works on it, or the journal is damaged.
pub fn found(target: &Path) -> Result<Option<(Job, State)>, Error> {
    let place = Place::new(&resolve(target));
    if !Journal::exists(&place.journal()) {
        return Ok(None);
    }
    let _lock = Lock::take(&place.journal())?;
    let journal = Journal::open(&place.journal())?;
    Ok(Some((journal.job()?, journal.state()?)))
}

/// Opens the job in a target's directory, or begins one, on a source that grows while it is read. Who calls holds the versions that
/// the job needs, see [`found`]; if one is gone all the same, the job begins anew with another snapshot. Each engine of the target may
/// keep `cache` bytes of blocks in memory, as when the chain has switched to it.
///
/// # Errors
/// As [`super::open`].
pub fn embed(
    target: &Path,
    plan: &Plan,
    tuning: Tuning,
    source: Arc<dyn Source>,
    chain: Box<dyn Chain>,
    cache: usize,
) -> Result<Migrator, Error> {
    embed_with(&built_in()?, target, plan, tuning, source, chain, cache)
}

/// As [`embed`], with a target of these engines.
///
/// # Errors
/// As [`super::open`].
pub fn embed_with(
    engines: &Arc<dyn Engines>,
    target: &Path,
    plan: &Plan,
    tuning: Tuning,
    source: Arc<dyn Source>,
    chain: Box<dyn Chain>,
    cache: usize,
) -> Result<Migrator, Error> {
    plan.check()?;
    tuning.check()?;
    let place = Place::new(&resolve(target));
    place.check()?;
    let entered = || -> Entered { (source.clone(), Box::new(RetainedVersions::new(source.clone()))) };
    let lock = Lock::take(&place.journal())?;
    if !Journal::exists(&place.journal()) {
        refuse_occupied(&place)?;
        let (source, feed) = entered();
        let job = plan_job(source.as_ref(), feed.as_ref(), plan)?;
        let found = Plan { at: At::Version(job.source.height), ..plan.clone() };
        let paths = Paths { target: place.root().to_owned(), ..Paths::default() };
        estimate(source.as_ref(), feed.as_ref(), &paths, &found, tuning)?.check()?;
        begin(&place, &job, None)?;
    }
    let journal = Journal::open(&place.journal())?;
    let job = journal.job()?;
    refuse_other_plan(&job, plan)?;
    let state = journal.state()?;
    refuse_aborted(&state)?;
    let gap = missing(&state, source.as_ref())?;
    // Of a snapshot that cannot be gone on with nothing need be recognised: what comes of it is wiped.
    let known = gap.is_none().then(&entered);
    let anew = || Ok(entered());
    let reads = Reads { now: known, anew: Some(&anew) };
    let mut migrator = assemble(engines, place, reads, journal, job, tuning, lock)?;
    if let Some((version, what)) = gap.filter(|_| migrator.recorder.state().epoch == state.epoch) {
        migrator.renew(entered(), None, &format!("version {version}, {what}, was pruned while the job was away"))?;
    }
    migrator.chain = chain;
    // Of what is read of them while versions are applied most is read again, and by the chain after the switch.
    if let Some(sc) = &migrator.target.sc {
        sc.set_cache(cache.max(tuning.engine_cache()));
    }
    if let Some(ss) = &migrator.target.ss {
        ss.set_cache(cache.max(tuning.engine_cache()));
    }
    Ok(migrator)
}
