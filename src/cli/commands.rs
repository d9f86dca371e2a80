//! The commands, one function each.

use super::{
    args::{Args, Command, JournalArgs, PlanArgs, RunArgs, StatusArgs, TargetArgs, VerifyArgs},
    control::{self, Asked},
    progress_bar::ProgressBar,
    report,
};
use crate::{
    error::Error,
    journal::{Journal, JournalError, Lock, SwitchRequest, status},
    machine::Phase,
    migrator::{self, Status, guard},
    plan::Paths,
    progress::Stop,
    source,
    target::Place,
};
use std::time::Duration;

pub fn run(args: Args) -> Result<(), Error> {
    match args.command {
        Command::Plan(args) => plan(args),
        Command::Doctor(args) => super::doctor::run(&args),
        Command::Run(args) => migrate(args),
        Command::Status(args) => show_status(&args),
        Command::Switch(args) => super::switch::run(&args),
        Command::Back(args) => super::after::back(&args),
        Command::Finish(args) => super::after::finish(&args),
        Command::Pause(args) => control::pause(&args),
        Command::Resume(args) => control::resume(&args),
        Command::Limit(args) => control::limit(&args),
        Command::Verify(args) => verify(&args),
        Command::Abort(args) => abort(&args),
        Command::Journal(args) => journal(&args),
    }
}

fn plan(args: PlanArgs) -> Result<(), Error> {
    let (paths, plan, tuning) = args.what.resolve()?;
    announce(&paths);
    let peek = migrator::peek(&paths, &plan, tuning)?;
    let estimate = migrator::estimate(peek.source.as_ref(), peek.feed.as_ref(), &paths, &plan, tuning)?;
    if args.json {
        report::json(&estimate);
    } else {
        report::estimate(&estimate, &paths, &plan, peek.checkpoint());
    }
    estimate.check()
}

/// A snapshot is read to its end before anything else can be said, and that takes a while. And a job may well begin with a store/v1
/// that the chain has left, but nobody should take what comes of it for the chain's state.
fn announce(paths: &Paths) {
    let begins = !Journal::exists(&Place::new(&paths.target).journal());
    if begins && guard::is_placed(&paths.source) {
        report::line(&format!(
            "note: {} is not of record any more: the chain has switched to another store/v2, which the directory LOCK in it names",
            paths.source.display()
        ));
    }
    if begins && source::snapshot::recognises(&paths.source) {
        report::line("reading the snapshot: its app hash is compared before anything is written");
    }
}

fn migrate(args: RunArgs) -> Result<(), Error> {
    let (paths, plan, tuning) = args.what.resolve()?;
    let (outcome, last) = runtime()?.block_on(async {
        announce(&paths);
        let job = migrator::open(&paths, &plan, tuning)?;
        report::begins(&job, &paths);
        let is_done = matches!(job.recorder().state().phase, Phase::Done { .. });
        if let Some(height) = tuning.switch_at.filter(|_| !is_done) {
            super::switch::ask_from_the_start(&Place::new(&paths.target).journal(), height.0)?;
        }
        Asked::read(&paths.target).lines().iter().for_each(|line| report::line(line));
        let mut running = job.start(&paths.source);
        let stop = running.stop.clone();
        let interrupted = tokio::spawn(async move {
            // The first Ctrl-C (or SIGTERM) finishes the work in flight, the second does not wait for it.
            interruption().await;
            report::line("stopping: the chunks in work are being finished; everything recorded so far is kept");
            stop.ask("interrupted");
            interruption().await;
            // Twice means now. Nothing is lost by it: this is what a power cut would do, too.
            std::process::exit(3);
        });
        let mut bar = ProgressBar::new();
        while running.status.changed().await.is_ok() {
            bar.show(&running.status.borrow_and_update());
        }
        let last = running.status.borrow().clone();
        bar.finish(&last);
        interrupted.abort();
        Ok::<_, Error>((running.end().await?, last))
    })?;
    report::outcome(&outcome, &last, &paths);
    Ok(())
}

/// Does blocking work beside a bar that shows how far it is, and asks it to stop when somebody asks the process to end.
pub(super) fn watched<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    stop: &Stop,
    mut show: impl FnMut(&mut ProgressBar),
) -> Result<T, Error> {
    runtime()?.block_on(async {
        let mut working = tokio::task::spawn_blocking(work);
        let stop = stop.clone();
        tokio::spawn(async move {
            interruption().await;
            stop.ask("interrupted");
        });
        let mut bar = ProgressBar::new();
        loop {
            tokio::select! {
                ended = &mut working => {
                    bar.clear();
                    break ended.map_err(|_| Error::Invariant("the work panicked"));
                }
                () = tokio::time::sleep(Duration::from_millis(500)) => show(&mut bar),
            }
        }
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let io = |source| JournalError::Io { path: "tokio".into(), doing: "start a runtime for", source };
    // Where a process may open few files tokio panics, so a few more than it needs are opened before.
    let spare: std::io::Result<Vec<_>> = (0..12).map(|_| std::fs::File::open("/dev/null")).collect();
    drop(spare.map_err(io)?);
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?)
}

/// Completes when somebody asks the process to end.
async fn interruption() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

fn show_status(args: &StatusArgs) -> Result<(), Error> {
    let (target, _, _) = args.target.resolve()?;
    let place = Place::new(&target);
    let running = Lock::is_taken(&place.journal());
    if let Some(format) = status::format(&place.journal()).filter(|format| *format != u64::from(Status::FORMAT)) {
        return Err(Error::Blocked {
            what: format!(
                "{}/status.json has format {format}, this release knows {}",
                place.journal().display(),
                Status::FORMAT
            ),
            advice: "Nothing was changed. Look with the release of storeshift that works on this job.".to_owned(),
        });
    }
    let written: Option<Status> = status::read(&place.journal());
    let Some(status) = written else {
        let what = if Journal::exists(&place.journal()) {
            format!("{}: the job has not written a status yet", target.display())
        } else {
            format!("{}: there is no job here (no journal/journal.redb)", target.display())
        };
        let advice = "Nothing was changed. Give the directory that was the --target of `storeshift run`.".to_owned();
        return Err(Error::Blocked { what, advice });
    };
    if args.json {
        report::status_json(&status, running, &Asked::read(&target));
    } else {
        let request = SwitchRequest::read(&place.journal()).ok().flatten().filter(SwitchRequest::is_open);
        report::status(&status, running, &Asked::read(&target), request.as_ref());
    }
    Ok(())
}

fn verify(args: &VerifyArgs) -> Result<(), Error> {
    let (target, source, tuning) = args.resolve()?;
    let job = migrator::inspect(&target, source.as_ref(), tuning)?;
    let (stop, progress) = (job.stop(), job.progress());
    let (with_source, repair) = (source.is_some(), args.repair);
    let verifying = move || (job.verify(with_source, repair), job);
    let (findings, mut job) = watched(verifying, &stop, |bar| bar.show_verifying(&progress))?;
    let findings = findings?;
    if repair {
        job.lift_halt(&findings)?;
    }
    report::findings(&findings, &job, with_source);
    if findings.is_sound() {
        return Ok(());
    }
    let first = findings.damaged.into_iter().map(Into::into).chain(findings.wrong).next();
    first.map_or(Ok(()), |verdict| Err(Error::Unsound(verdict)))
}

fn abort(args: &TargetArgs) -> Result<(), Error> {
    let (target, _, _) = args.resolve()?;
    migrator::abort(&target)?;
    report::aborted(&target);
    Ok(())
}

fn journal(args: &JournalArgs) -> Result<(), Error> {
    let (target, _, _) = args.target.resolve()?;
    let place = Place::new(&target);
    if !Journal::exists(&place.journal()) {
        return Err(no_job(&target));
    }
    let _lock = Lock::take(&place.journal())?;
    let journal = Journal::open(&place.journal())?;
    let (job, state, events) = (journal.job()?, journal.state()?, journal.events()?);
    let manifest = match state.phase {
        Phase::Snapshotting { .. } | Phase::Aborted => None,
        _ => journal.manifest().ok(),
    };
    if args.json {
        events.iter().for_each(report::json_line);
    } else {
        report::journal(&job, &state, manifest.as_ref(), &events);
    }
    Ok(())
}

pub(super) fn no_job(target: &std::path::Path) -> Error {
    Error::Blocked {
        what: format!("{}: there is no job here (no journal/journal.redb)", target.display()),
        advice: "Nothing was changed. Give the directory that was the --target of `storeshift run`.".to_owned(),
    }
}
