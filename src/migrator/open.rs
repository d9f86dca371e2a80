//! Opening a job: beginning one, taking one up again, looking at one, wiping one.
//!
//! Owns the order in which a job comes into being (journal first, then the engines' directories) and goes (engines'
//! directories first, journal last), and every refusal to work on what is not ours.

use super::{
    Migrator,
    entrance::{self, Entered, enter},
    estimate,
    follow::Followed,
    paths::{resolve, resolved},
    reading::{self, Reading, Taken},
    renew,
    still::Still,
};
use crate::{
    disk,
    error::Error,
    journal::{Job, Journal, JournalError, Lock, SourceIdentity},
    machine::{Event, Phase, State},
    model::JobId,
    phases,
    plan::{At, Parts, Paths, Plan, Tuning},
    reconcile,
    source::{self, Feed, RetainedVersions, Source, checkpoint::Trail},
    target::{EngineTuning, Engines, Place, Target, TargetError},
};
use std::{fs, io, path::Path, sync::Arc};

/// Opens the job in a target's directory, or begins one.
///
/// Reads the source's commit infos and roots before anything is created; whatever is refused then leaves no trace.
///
/// # Errors
/// The plan cannot be carried out, differs from the one the job was begun with, or what is there is not this job's.
pub fn open(paths: &Paths, plan: &Plan, tuning: Tuning) -> Result<Migrator, Error> {
    open_with(&built_in()?, paths, plan, tuning)
}

/// As [`open`], with a target of these engines.
///
/// # Errors
/// As [`open`].
pub fn open_with(engines: &Arc<dyn Engines>, paths: &Paths, plan: &Plan, tuning: Tuning) -> Result<Migrator, Error> {
    plan.check()?;
    tuning.check()?;
    let paths = &resolved(paths)?;
    if paths.changesets.is_some() && plan.parts == Parts::Ss {
        return Err(Error::Blocked {
            what: "changesets cannot be applied to SS alone: without SC's trees no app hash can be compared".to_owned(),
            advice: "Nothing was changed. Migrate sc+ss, or leave the changesets out.".to_owned(),
        });
    }
    let place = Place::new(&paths.target);
    place.check()?;
    let mut new = None;
    if !Journal::exists(&place.journal()) {
        refuse_occupied(&place)?;
        new = Some(prepare(paths, &place, plan, tuning)?);
    }
    let lock = take(&place)?;
    let journal = Journal::open(&place.journal())?;
    let job = journal.job()?;
    refuse_other_plan(&job, plan)?;
    let state = journal.state()?;
    refuse_aborted(&state)?;
    let known = Some(job.source.app_hash);
    if matches!(state.phase, Phase::Done { .. }) {
        // Nothing is left to be read from it, an operator may well have removed it by now, and reading a snapshot takes a while.
        let is_snapshot = source::snapshot::recognises(&paths.source);
        let entered = if is_snapshot { None } else { enter(&paths.source, paths, &job.plan, known, tuning).ok() };
        if let Some((source, _)) = &entered {
            reconcile::done(&job.source, source.as_ref())?;
        }
        let reads = Reads { now: entered, anew: None };
        return assemble(engines, place, reads, journal, job, tuning, lock);
    }
    let (reading, entered) = match new {
        Some(prepared) => prepared,
        None => {
            let serves = |path: &Path| -> Result<Option<Entered>, Error> {
                let entered = enter(path, paths, &job.plan, known, tuning)?;
                let is_behind =
                    state.phase.applied().is_some_and(|applied| entered.1.tip().is_ok_and(|tip| tip < applied));
                let serves = !is_behind && reading::missing(&state, entered.0.as_ref())?.is_none();
                Ok(serves.then_some(entered))
            };
            let (reading, entered) = reading::resume(paths, &place, tuning, &journal, &serves)?;
            let entered = entered.map_or_else(|| enter(&reading.path, paths, &job.plan, known, tuning), Ok)?;
            (reading, entered)
        }
    };
    let is_checkpoint = reading.checkpoint.is_some();
    let gap = if is_checkpoint { reading::missing(&state, entered.0.as_ref())? } else { None };
    if let Some((version, what)) = gap.filter(|_| !tuning.follow) {
        return Err(reading::pruned(version, what));
    }
    let again = |plan: &Plan| enter(&reading.path, paths, plan, known, tuning);
    let anew = || again(plan);
    let reads = Reads { now: Some(entered), anew: Some(&anew) };
    let mut migrator = assemble(engines, place.clone(), reads, journal, job, tuning, lock)?;
    let Some(Taken { trail, number, checkpoint }) = reading.checkpoint else {
        if !source::snapshot::recognises(&paths.source) {
            let database = paths.source.clone();
            migrator.chain = Box::new(Still::new(database, place.journal(), reading.fingerprint, tuning.switch));
        }
        return Ok(migrator);
    };
    if let Some((version, what)) = gap.filter(|_| migrator.recorder.state().epoch == state.epoch) {
        let why = format!("the node has pruned version {version}, {what}, and the checkpoint that had it is gone");
        let entered = again(&migrator.job.plan)?;
        migrator.renew(entered, Some(checkpoint.clone()), &why)?;
    }
    migrator.checkpoint = Some((checkpoint, reading.is_new));
    if tuning.follow {
        let (paths, journal, job) = (paths.clone(), place.journal(), migrator.job.clone());
        let steering = (migrator.stop(), migrator.governor());
        migrator.chain =
            Box::new(Followed::new(paths, journal, job, tuning, trail, (number, reading.is_new), steering));
    }
    Ok(migrator)
}

/// Reads what a new job is to be of, and has it begin. Gives back what was read.
fn prepare(paths: &Paths, place: &Place, plan: &Plan, tuning: Tuning) -> Result<(Reading, Entered), Error> {
    reading::clear_moments(&reading::place_of(paths, place));
    let was_there = place.root().exists();
    // A checkpoint is made in the target's directory, so nobody else may begin a job there meanwhile.
    let lock = reading::is_live(paths).then(|| Lock::take(&place.journal())).transpose()?;
    let prepared = (|| {
        let reading = reading::begin(paths, place, tuning)?;
        let (source, feed) = enter(&reading.path, paths, plan, plan.app_hash, tuning)?;
        let job = plan_job(source.as_ref(), feed.as_ref(), plan)?;
        // Finding the oldest version takes a look at every version, which is done by now.
        let found = Plan { at: At::Version(job.source.height), ..plan.clone() };
        estimate(source.as_ref(), feed.as_ref(), paths, &found, tuning)?.check()?;
        for note in source.notes() {
            tracing::warn!("{note}");
        }
        Ok((reading, (source, feed), job))
    })();
    match prepared {
        Ok((reading, entered, job)) => {
            let lock = lock.map_or_else(|| Lock::take(&place.journal()), Ok)?;
            begin(place, &job, reading.checkpoint.as_ref().map(|taken| taken.trail.directory()))?;
            drop(lock);
            Ok((reading, entered))
        }
        Err(error) => {
            if let Some(lock) = lock {
                // Whatever is refused leaves no trace; what cannot be removed now, the next run removes.
                let _ = Trail::under(&reading::place_of(paths, place)).remove();
                leave(place, !was_there, lock);
            }
            Err(error)
        }
    }
}

/// Opens a job that exists, for commands that need no plan; without a source only what the target alone can answer works.
///
/// # Errors
/// There is no job, or as [`open`].
pub fn inspect(target: &Path, source: Option<&Paths>, tuning: Tuning) -> Result<Migrator, Error> {
    let place = Place::new(&resolve(target));
    place.check()?;
    if !Journal::exists(&place.journal()) {
        return Err(no_job(target));
    }
    let lock = take(&place)?;
    let journal = Journal::open(&place.journal())?;
    let job = journal.job()?;
    refuse_aborted(&journal.state()?)?;
    let (mut entered, mut held) = (None, None);
    if let Some(paths) = source {
        let peek = entrance::look(paths, &job.plan, Some(job.source.app_hash), tuning)?;
        (entered, held) = (Some((peek.source, peek.feed)), Some(peek.held));
    }
    let reads = Reads { now: entered, anew: None };
    let mut migrator = assemble(&built_in()?, place, reads, journal, job, tuning, lock)?;
    migrator._held = held;
    Ok(migrator)
}

/// Wipes the target of a job and then its journal. The source is as it was. Repeatable until there is nothing left.
///
/// # Errors
/// Another process works on it, store/v2 is of record already, or something could not be removed.
pub fn abort(target: &Path) -> Result<(), Error> {
    let place = Place::new(&resolve(target));
    place.check_to_wipe()?;
    // A link to a target that is wiped would lead nowhere, and the next run be refused.
    let root_too = !target.is_symlink();
    if !Journal::exists(&place.journal()) {
        // A run may have been interrupted while it made its checkpoint.
        if !place.checkpoint().exists() {
            return Err(no_job(target));
        }
        let lock = Lock::take(&place.journal())?;
        Trail::under(&place.checkpoint()).remove().map_err(source::SourceError::from)?;
        leave(&place, root_too, lock);
        return Ok(());
    }
    let lock = take(&place)?;
    let journal = Journal::open(&place.journal())?;
    let mut recorder = super::Recorder::new(journal)?;
    match &recorder.state().phase {
        Phase::Done { version, .. } => {
            return Err(Error::Blocked {
                what: format!("store/v2 is the store of record since version {version}: this job cannot be aborted"),
                advice: "Nothing was changed. If no node has run on the target since, its directory may be removed by hand; \
                         the source is untouched."
                    .to_owned(),
            });
        }
        Phase::Aborted => {}
        // Recorded first: from here on nobody continues the job, however far the wiping gets before a crash.
        _ => recorder.record(&Event::Aborted, &crate::journal::Writes::Nothing)?,
    }
    place.wipe()?;
    place.unlink_checkpoint()?;
    reading::discard(&place, recorder.journal())?;
    recorder.into_journal().destroy()?;
    leave(&place, root_too, lock);
    Ok(())
}

/// The lock of a job that was there a moment ago.
fn take(place: &Place) -> Result<Lock, Error> {
    let lock = Lock::take(&place.journal())?;
    if Journal::exists(&place.journal()) {
        return Ok(lock);
    }
    leave(place, true, lock);
    Err(Error::Blocked {
        what: format!("{}: another process has just wiped the job", place.root().display()),
        advice: "Nothing was changed. A run begins a new job here.".to_owned(),
    })
}

/// Only empty directories are left; whatever else somebody put there stays.
///
/// The lock's name goes last of what is in the journal's directory, and before the lock itself does: whoever waits for it then sees that
/// it is worth nothing. Removed by one who has it no more, the name would be that of another one's lock, whose job a third could take.
fn leave(place: &Place, root_too: bool, lock: Lock) {
    // A job that was never born may have been paused, too.
    let _ = crate::journal::SwitchRequest::remove(&place.journal());
    for name in [crate::journal::control::NAME, "lock"] {
        let _ = disk::remove(&place.journal().join(name));
    }
    drop(lock);
    let _ = disk::remove_directory(&place.journal());
    if root_too {
        let _ = disk::remove_directory(place.root());
    }
}

/// Checks the plan against the source and draws a job.
pub(super) fn plan_job(source: &dyn Source, feed: &dyn Feed, plan: &Plan) -> Result<Job, Error> {
    let source = identify(source, feed, plan)?;
    Ok(Job { id: random_job_id()?, plan: plan.clone(), source })
}

/// Checks the plan against a source, and says what binds a job to it.
pub(super) fn identify(source: &dyn Source, feed: &dyn Feed, plan: &Plan) -> Result<SourceIdentity, Error> {
    let info = phases::snapshot::preflight(source, plan)?;
    let tip = feed.tip()?;
    let tip_app_hash = feed.app_hash(tip)?.unwrap_or_else(|| info.app_hash());
    let engine = source.engine().to_owned();
    Ok(SourceIdentity { engine, height: info.version, app_hash: info.app_hash(), tip, tip_app_hash })
}

/// A job is born with its journal; nothing else of it exists before but the checkpoint it was planned from. The caller holds
/// the lock.
pub(super) fn begin(place: &Place, job: &Job, checkpoint: Option<&Path>) -> Result<(), Error> {
    if Journal::exists(&place.journal()) {
        // Another process was faster; it has let go of the lock since, so this run takes the job up.
        return Ok(());
    }
    let journal = Journal::create(&place.journal(), job, &State::new(job.source.height))?;
    // A crash in between leaves a checkpoint that the next run finds in its place.
    if checkpoint.is_some() {
        journal.set_checkpoint(checkpoint)?;
    }
    Ok(())
}

/// What a job reads.
pub(super) struct Reads<'a> {
    /// Nothing where the target alone can answer.
    pub now: Option<Entered>,
    /// What it reads if its target turns out to be lost and is begun anew, where that is for the command to do.
    pub anew: Option<&'a dyn Fn() -> Result<Entered, Error>>,
}

pub(super) fn assemble(
    engines: &Arc<dyn Engines>,
    place: Place,
    Reads { now: mut source, anew }: Reads<'_>,
    mut journal: Journal,
    mut job: Job,
    tuning: Tuning,
    lock: Lock,
) -> Result<Migrator, Error> {
    let state = journal.state()?;
    let mut is_wiped = false;
    if !matches!(state.phase, Phase::Done { .. }) {
        // Before the engines: opening them writes to the target, and a refusal must leave it as it was.
        if let Some((_, feed)) = &source {
            reconcile::source(&job.source, &state, feed.as_ref())?;
        }
        if matches!(state.phase, Phase::Snapshotting { .. }) && state.epoch > 1 {
            // What the epoch before wrote: a crash came before it was wiped, or while it was.
            place.wipe()?;
            is_wiped = true;
        }
        place.clear_staging()?;
    }
    let open = |job: &Job| open_engines(engines.as_ref(), &place, job.id, job.plan.parts, tuning);
    let target = match (open(&job), anew) {
        // What is damaged though it was empty a moment ago would be so again.
        (Err(Error::Target(lost @ TargetError::Lost { .. })), Some(anew)) if state.outlives_loss() && !is_wiped => {
            let entered = anew()?;
            (journal, job) = renew::lost(journal, job, &entered, &lost)?;
            source = Some(entered);
            place.wipe()?;
            place.clear_staging()?;
            open(&job)?
        }
        (opened, _) => opened?,
    };
    let mut migrator = match source {
        Some((source, feed)) => Migrator::assemble_with(source, feed, target, journal, tuning)?,
        None => {
            let nothing = Arc::new(source::Rootmulti::new(source::MemoryEngine::default()));
            let feed = Box::new(RetainedVersions::new(nothing.clone()));
            Migrator::without_source_check(nothing, feed, target, journal, tuning)?
        }
    };
    migrator.place = Some(place);
    migrator.engines = Some(engines.clone());
    migrator._lock = Some(lock);
    Ok(migrator)
}

/// Opens what the plan has of a target, in directories that are this job's.
pub(super) fn open_engines(
    engines: &dyn Engines,
    place: &Place,
    job: JobId,
    parts: Parts,
    tuning: Tuning,
) -> Result<Target, Error> {
    let engine =
        EngineTuning { cache: tuning.engine_cache(), write_buffer: tuning.engine_cache(), jobs: tuning.workers };
    let mut target = Target { sc: None, ss: None };
    if parts.sc() {
        place.claim(&place.sc(), job)?;
        target.sc = Some(engines.commitment(place, engine)?);
    }
    if parts.ss() {
        place.claim(&place.ss(), job)?;
        target.ss = Some(engines.storage(place, engine)?);
    }
    Ok(target)
}

/// The engines this build has.
#[cfg(feature = "rocksdb")]
pub(super) fn built_in() -> Result<Arc<dyn Engines>, Error> {
    Ok(Arc::new(crate::target::rocks::RocksEngines))
}

#[cfg(not(feature = "rocksdb"))]
pub(super) fn built_in() -> Result<Arc<dyn Engines>, Error> {
    Err(Error::Blocked {
        what: "this build of storeshift has no target engine".to_owned(),
        advice: "Build it with the default feature `rocksdb`.".to_owned(),
    })
}

/// Refuses to begin a job where engines are whose journal is gone.
pub(super) fn refuse_occupied(place: &Place) -> Result<(), Error> {
    // In this order: the journal of a run that began meanwhile is there before its engines are.
    if let Some(occupied) = place.occupied()?
        && !Journal::exists(&place.journal())
    {
        return Err(Error::Blocked {
            what: format!("{} is not empty, but there is no journal beside it", occupied.display()),
            advice:
                "Without its journal a target cannot be continued. Choose an empty target directory, or remove this \
                     one if you know what it is."
                    .to_owned(),
        });
    }
    Ok(())
}

/// Refuses to continue a job with another plan than it was begun with.
pub(super) fn refuse_other_plan(job: &Job, plan: &Plan) -> Result<(), Error> {
    let differences = job.plan.differences(plan);
    if !differences.is_empty() {
        return Err(Error::Blocked {
            what: format!("the plan differs from the one this job was begun with:\n  {}", differences.join("\n  ")),
            advice:
                "Nothing was changed. Run with the options the job was begun with, or choose another target directory."
                    .to_owned(),
        });
    }
    Ok(())
}

pub(super) fn refuse_aborted(state: &State) -> Result<(), Error> {
    if matches!(state.phase, Phase::Aborted) {
        return Err(given_up());
    }
    Ok(())
}

/// An abort was interrupted, or `back` gave the chain back to store/v1 and left the target to whoever wants to look at it.
pub(super) fn given_up() -> Error {
    Error::Blocked {
        what: "this job was aborted, or the chain was given back to store/v1, and its target is not wiped yet"
            .to_owned(),
        advice: "store/v1 is the store of record. Run `storeshift abort` to wipe the target; then a new run can begin."
            .to_owned(),
    }
}

pub(super) fn no_job(target: &Path) -> Error {
    Error::Blocked {
        what: format!("{}: there is no job here (no journal/journal.redb)", target.display()),
        advice: "Nothing was changed. Give the directory that was the --target of `storeshift run`.".to_owned(),
    }
}

fn random_job_id() -> Result<JobId, Error> {
    use io::Read as _;
    let path = Path::new("/dev/urandom");
    let mut id = [0; 16];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut id)).map_err(|source| JournalError::Io {
        path: path.to_owned(),
        doing: "draw a job id from",
        source,
    })?;
    Ok(JobId(id))
}
