//! Opening a job: beginning one, taking one up again, looking at one, wiping one.
//!
//! Owns the order in which a job comes into being (journal first, then the engines' directories) and goes (engines'
//! directories first, journal last), and every refusal to work on what is not ours.

use super::{Migrator, estimate};
use crate::{
    error::Error,
    journal::{Job, Journal, JournalError, Lock, SourceIdentity},
    machine::{Event, Phase, State},
    model::{Hash, JobId},
    phases,
    plan::{At, Parts, Paths, Plan, Tuning},
    source::{self, ChangesetFeed, ChangesetFiles, Feed, IavlStores, RetainedVersions, Snapshot, Source},
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
    let paths = &resolve_all(paths);
    keep_apart(paths)?;
    if paths.changesets.is_some() && plan.parts == Parts::Ss {
        return Err(Error::Blocked {
            what: "changesets cannot be applied to SS alone: without SC's trees no app hash can be compared".to_owned(),
            advice: "Nothing was changed. Migrate sc+ss, or leave the changesets out.".to_owned(),
        });
    }
    let place = Place::new(&paths.target);
    let mut first = None;
    if !Journal::exists(&place.journal()) {
        if let Some(occupied) = place.occupied()? {
            return Err(Error::Blocked {
                what: format!("{} is not empty, but there is no journal beside it", occupied.display()),
                advice: "Without its journal a target cannot be continued. Choose an empty target directory, or remove this \
                         one if you know what it is."
                    .to_owned(),
            });
        }
        let (source, feed) = enter(paths, plan, plan.app_hash, tuning)?;
        let job = plan_job(source.as_ref(), feed.as_ref(), plan)?;
        // Finding the oldest version takes a look at every version, which is done by now.
        let found = Plan { at: At::Version(job.source.height), ..plan.clone() };
        estimate(source.as_ref(), feed.as_ref(), paths, &found, tuning)?.check()?;
        for note in source.notes() {
            tracing::warn!("{note}");
        }
        begin(&place, &job)?;
        first = Some((source, feed));
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
    let is_done = matches!(state.phase, Phase::Done { .. });
    let source = match first {
        Some(entered) => Some(entered),
        // Nothing is left to be read from it, and reading it takes a while.
        None if is_done && source::snapshot::recognises(&paths.source) => None,
        None => match enter(paths, &job.plan, Some(job.source.app_hash), tuning) {
            Ok(entered) => Some(entered),
            // An operator may well have removed it by now.
            Err(_) if is_done => None,
            Err(error) => return Err(error),
        },
    };
    assemble(place, source, journal, job, tuning, lock)
}

/// A source, and the feed of the versions after the snapshot.
pub type Entered = (Arc<dyn Source>, Box<dyn Feed>);

/// Opens what a job reads, as its plan sees it: a database or a snapshot, and the changeset files if there are any. A snapshot is read to its end,
/// unless the target's spool has it already; nothing is written.
///
/// # Errors
/// It is nothing this release reads, it is damaged, or it is a snapshot and there is no trusted app hash for it.
pub fn enter(paths: &Paths, plan: &Plan, trusted: Option<Hash>, tuning: Tuning) -> Result<Entered, Error> {
    let paths = &resolve_all(paths);
    let source: Arc<dyn Source> = if source::snapshot::recognises(&paths.source) {
        if trusted.is_none() {
            return Err(Error::Blocked {
                what: format!("{} is a state sync snapshot, which carries no app hash", paths.source.display()),
                advice: "Nothing was changed. Give the app hash you trust with --app-hash (app_hash in a plan file), from the \
                         header of the block after the snapshot's height."
                    .to_owned(),
            });
        }
        Arc::new(Snapshot::open(&paths.source, &Place::new(&paths.target).spool())?)
    } else {
        let source = source::open(&paths.source, tuning.source_cache())?;
        if plan.leave_out_memory_stores { Arc::new(IavlStores::of(source)) } else { Arc::from(source) }
    };
    let feed: Box<dyn Feed> = match &paths.changesets {
        Some(directory) => {
            Box::new(ChangesetFeed::new(source.clone(), ChangesetFiles::open(directory, source.latest()?)?))
        }
        None => Box::new(RetainedVersions::new(source.clone())),
    };
    Ok((source, feed))
}

/// Opens a job that exists, for commands that need no plan; without a source only what the target alone can answer works.
///
/// # Errors
/// There is no job, or as [`open`].
pub fn inspect(target: &Path, source: Option<&Paths>, tuning: Tuning) -> Result<Migrator, Error> {
    let place = Place::new(&resolve(target));
    if !Journal::exists(&place.journal()) {
        return Err(no_job(target));
    }
    let lock = Lock::take(&place.journal())?;
    let journal = Journal::open(&place.journal())?;
    let job = journal.job()?;
    refuse_aborted(&journal.state()?)?;
    let enter = |paths: &Paths| enter(&resolve_all(paths), &job.plan, Some(job.source.app_hash), tuning);
    let source = source.map(enter).transpose()?;
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
fn plan_job(source: &dyn Source, feed: &dyn Feed, plan: &Plan) -> Result<Job, Error> {
    let info = phases::snapshot::preflight(source, plan)?;
    let tip = feed.tip()?;
    let tip_app_hash = feed.app_hash(tip)?.unwrap_or_else(|| info.app_hash());
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
    source: Option<Entered>,
    journal: Journal,
    job: Job,
    tuning: Tuning,
    lock: Lock,
) -> Result<Migrator, Error> {
    let state = journal.state()?;
    if !matches!(state.phase, Phase::Done { .. }) {
        // Before the engines: opening them writes to the target, and a refusal must leave it as it was.
        if let Some((_, feed)) = &source {
            crate::reconcile::source(&job.source, &state, feed.as_ref())?;
        }
        place.clear_staging()?;
    }
    let target = engines(&place, job.id, job.plan.parts, tuning)?;
    let mut migrator = match source {
        Some((source, feed)) => Migrator::assemble_with(source, feed, target, journal, tuning)?,
        None => {
            let nothing = Arc::new(source::Rootmulti::new(source::MemoryEngine::default()));
            let feed = Box::new(RetainedVersions::new(nothing.clone()));
            Migrator::without_source_check(nothing, feed, target, journal, tuning)?
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
    let read = [("source", Some(&paths.source)), ("changesets", paths.changesets.as_ref())];
    for (name, path) in read.into_iter().filter_map(|(name, path)| Some((name, path?))) {
        if !paths.target.starts_with(path) && !path.starts_with(&paths.target) {
            continue;
        }
        return Err(Error::Blocked {
            what: format!(
                "the target {} and the {name} {} lie inside each other",
                paths.target.display(),
                path.display()
            ),
            advice: "Nothing was changed. The source is never written: choose a target directory elsewhere.".to_owned(),
        });
    }
    Ok(())
}

fn resolve_all(paths: &Paths) -> Paths {
    Paths {
        source: resolve(&paths.source),
        target: resolve(&paths.target),
        changesets: paths.changesets.as_deref().map(resolve),
    }
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
