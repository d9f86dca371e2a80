//! Opening a job: beginning one, taking one up again, looking at one, wiping one.
//!
//! Owns the order in which a job comes into being (journal first, then the engines' directories) and goes (engines'
//! directories first, journal last), and every refusal to work on what is not ours.

use super::{Migrator, estimate};
use crate::{
    error::Error,
    journal::{Job, Journal, JournalError, Lock, SourceIdentity},
    machine::{Event, Phase, State},
    model::JobId,
    phases,
    plan::{At, Parts, Paths, Plan, Tuning},
    source::{self, IavlStores, Source},
    target::{Place, Target},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Opens the job in a target's directory, or begins one.
///
/// Reads the source's commit infos and roots before anything is created; whatever is refused then leaves no trace.
///
/// # Errors
/// The plan cannot be carried out, differs from the one the job was begun with, or what is there is not this job's.
pub fn open(paths: &Paths, plan: &Plan, tuning: Tuning) -> Result<Migrator, Error> {
    plan.check()?;
    tuning.check()?;
    let paths = &Paths { source: resolve(&paths.source), target: resolve(&paths.target) };
    keep_apart(paths)?;
    let place = Place::new(&paths.target);
    if !Journal::exists(&place.journal()) {
        if let Some(occupied) = place.occupied()? {
            return Err(Error::Blocked {
                what: format!("{} is not empty, but there is no journal beside it", occupied.display()),
                advice: "Without its journal a target cannot be continued. Choose an empty target directory, or remove this \
                         one if you know what it is."
                    .to_owned(),
            });
        }
        let source = open_source(&paths.source, plan, tuning)?;
        let job = plan_job(source.as_ref(), plan)?;
        // Finding the oldest version takes a look at every version, which is done by now.
        let found = Plan { at: At::Version(job.source.height), ..plan.clone() };
        estimate(source.as_ref(), paths, &found, tuning)?.check()?;
        begin(&place, &job)?;
    }
    let lock = Lock::take(&place.journal())?;
    let journal = Journal::open(&place.journal())?;
    let job = journal.job()?;
    let differences = job.plan.differences(plan);
    if !differences.is_empty() {
        return Err(Error::Blocked {
            what: format!("the plan differs from the one this job was begun with:\n  {}", differences.join("\n  ")),
            advice:
                "Nothing was changed. Run with the options the job was begun with, or choose another target directory."
                    .to_owned(),
        });
    }
    let state = journal.state()?;
    refuse_aborted(&state)?;
    let source: Option<Arc<dyn Source>> = match open_source(&paths.source, &job.plan, tuning) {
        Ok(source) => Some(Arc::from(source)),
        // Nothing is left to be read from it, and an operator may well have removed it by now.
        Err(_) if matches!(state.phase, Phase::Done { .. }) => None,
        Err(error) => return Err(error),
    };
    assemble(place, source, journal, job, tuning, lock)
}

/// Opens a source as a plan sees it.
///
/// # Errors
/// It is no database this release reads, or it is in use.
pub fn open_source(path: &Path, plan: &Plan, tuning: Tuning) -> Result<Box<dyn Source>, Error> {
    let source = source::open(path, tuning.source_cache())?;
    Ok(if plan.leave_out_memory_stores { Box::new(IavlStores::of(source)) } else { source })
}

/// Opens a job that exists, for commands that need no plan; without a source only what the target alone can answer works.
///
/// # Errors
/// There is no job, or as [`open`].
pub fn inspect(target: &Path, source: Option<&Path>, tuning: Tuning) -> Result<Migrator, Error> {
    let place = Place::new(&resolve(target));
    if !Journal::exists(&place.journal()) {
        return Err(no_job(target));
    }
    let lock = Lock::take(&place.journal())?;
    let journal = Journal::open(&place.journal())?;
    let job = journal.job()?;
    refuse_aborted(&journal.state()?)?;
    let source: Option<Arc<dyn Source>> = match source {
        Some(path) => Some(Arc::from(open_source(&resolve(path), &job.plan, tuning)?)),
        None => None,
    };
    assemble(place, source, journal, job, tuning, lock)
}

/// Wipes the target of a job and then its journal. The source is as it was. Repeatable until there is nothing left.
///
/// # Errors
/// Another process works on it, store/v2 is of record already, or something could not be removed.
pub fn abort(target: &Path) -> Result<(), Error> {
    let place = Place::new(&resolve(target));
    if !Journal::exists(&place.journal()) {
        return Err(no_job(target));
    }
    let lock = Lock::take(&place.journal())?;
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
    recorder.into_journal().destroy()?;
    drop(lock);
    // Only empty directories are left; whatever else somebody put there stays.
    let _ = fs::remove_file(place.journal().join("lock"));
    let _ = fs::remove_dir(place.journal());
    let _ = fs::remove_dir(place.root());
    Ok(())
}

/// Checks the plan against the source and draws a job.
fn plan_job(source: &dyn Source, plan: &Plan) -> Result<Job, Error> {
    let info = phases::snapshot::preflight(source, plan)?;
    let tip = source.latest()?;
    let tip_info = source.commit_info(tip)?;
    let tip_app_hash = tip_info.map_or(info.app_hash(), |tip| tip.app_hash());
    let identity = SourceIdentity {
        engine: source.engine().to_owned(),
        height: info.version,
        app_hash: info.app_hash(),
        tip,
        tip_app_hash,
    };
    Ok(Job { id: random_job_id()?, plan: plan.clone(), source: identity })
}

/// A job is born with its journal; nothing else of it exists before.
fn begin(place: &Place, job: &Job) -> Result<(), Error> {
    let lock = Lock::take(&place.journal())?;
    if Journal::exists(&place.journal()) {
        // Another process was faster; it has let go of the lock since, so this run takes the job up.
        return Ok(());
    }
    Journal::create(&place.journal(), job, &State::new(job.source.height))?;
    drop(lock);
    Ok(())
}

fn assemble(
    place: Place,
    source: Option<Arc<dyn Source>>,
    journal: Journal,
    job: Job,
    tuning: Tuning,
    lock: Lock,
) -> Result<Migrator, Error> {
    let state = journal.state()?;
    if !matches!(state.phase, Phase::Done { .. }) {
        // Before the engines: opening them writes to the target, and a refusal must leave it as it was.
        if let Some(source) = &source {
            crate::reconcile::source(&job.source, &state, source.as_ref())?;
        }
        place.clear_staging()?;
    }
    let target = engines(&place, job.id, job.plan.parts, tuning)?;
    let mut migrator = match source {
        Some(source) => Migrator::assemble(source, target, journal, tuning)?,
        None => {
            let nothing = Arc::new(source::Rootmulti::new(source::MemoryEngine::default()));
            Migrator::without_source_check(nothing, target, journal, tuning)?
        }
    };
    migrator.place = Some(place);
    migrator._lock = Some(lock);
    Ok(migrator)
}

#[cfg(feature = "rocksdb")]
fn engines(place: &Place, job: JobId, parts: Parts, tuning: Tuning) -> Result<Target, Error> {
    use crate::target::rocks::{EngineTuning, RocksCommitment, RocksStorage};
    let engine =
        EngineTuning { cache: tuning.engine_cache(), write_buffer: tuning.engine_cache(), jobs: tuning.workers };
    let mut target = Target { sc: None, ss: None };
    if parts.sc() {
        place.claim(&place.sc(), job)?;
        target.sc = Some(Box::new(RocksCommitment::open(&place.sc(), &place.staging(), &place.runs(), engine)?));
    }
    if parts.ss() {
        place.claim(&place.ss(), job)?;
        target.ss = Some(Box::new(RocksStorage::open(&place.ss(), &place.staging(), engine)?));
    }
    Ok(target)
}

#[cfg(not(feature = "rocksdb"))]
fn engines(_: &Place, _: JobId, _: Parts, _: Tuning) -> Result<Target, Error> {
    Err(Error::Blocked {
        what: "this build of storeshift has no target engine".to_owned(),
        advice: "Build it with the default feature `rocksdb`.".to_owned(),
    })
}

fn refuse_aborted(state: &State) -> Result<(), Error> {
    if matches!(state.phase, Phase::Aborted) {
        return Err(Error::Blocked {
            what: "this job was aborted, and wiping it was interrupted".to_owned(),
            advice: "Run `storeshift abort` again to finish; then a new run can begin.".to_owned(),
        });
    }
    Ok(())
}

fn no_job(target: &Path) -> Error {
    Error::Blocked {
        what: format!("{}: there is no job here (no journal/journal.redb)", target.display()),
        advice: "Nothing was changed. Give the directory that was the --target of `storeshift run`.".to_owned(),
    }
}

/// Refuses a target inside the source or the other way round: the source is never written.
fn keep_apart(paths: &Paths) -> Result<(), Error> {
    if paths.target.starts_with(&paths.source) || paths.source.starts_with(&paths.target) {
        return Err(Error::Blocked {
            what: format!(
                "the target {} and the source {} lie inside each other",
                paths.target.display(),
                paths.source.display()
            ),
            advice: "Nothing was changed. The source is never written: choose a target directory elsewhere.".to_owned(),
        });
    }
    Ok(())
}

/// The path with symbolic links followed as far as it exists.
fn resolve(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut rest = Vec::new();
    for ancestor in path.ancestors() {
        if let Ok(found) = ancestor.canonicalize() {
            return rest.iter().rev().fold(found, |path: PathBuf, name| path.join(name));
        }
        rest.extend(ancestor.file_name().map(std::ffi::OsStr::to_owned));
    }
    path
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
