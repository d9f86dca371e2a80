//! What may follow the switch: the chain is given back to store/v1, or that is ruled out for good.
//!
//! Owns what has to be true before either is recorded. Nothing is removed by it: who gives the chain back may still want to look at
//! the target, and who finishes removes the old database himself.

use super::{
    Recorder,
    entrance::enter_still,
    guard,
    open::{built_in, no_job, open_engines},
    paths::{resolve, resolved},
};
use crate::{
    error::Error,
    journal::{Job, Journal, Lock, Writes, status},
    machine::{Event, Phase, State},
    model::Version,
    plan::{Paths, Tuning},
    source::checkpoint::Standstill,
    target::Place,
};
use std::path::{Path, PathBuf};

/// The chain is back on store/v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The version at which the switch was.
    pub switched: Version,
    /// The newest version that store/v1 has.
    pub tip: Version,
    /// How many versions only store/v2 had.
    pub lost: u64,
}

/// Gives the chain back to store/v1, if its database is still there and nothing is lost, or no more than was consented to.
///
/// # Errors
/// [`Error::Blocked`], saying what is in the way and what would be lost; nothing was changed.
pub fn back(paths: &Paths, consented: u64, tuning: Tuning) -> Result<Returned, Error> {
    let paths = &resolved(paths)?;
    let (place, journal, _lock) = open(&paths.target)?;
    let job = journal.job()?;
    let mut recorder = Recorder::new(journal)?;
    // An earlier call may have been killed after it had recorded.
    show(&place, recorder.state());
    if matches!(recorder.state().phase, Phase::Aborted) && guard::is_placed(&paths.source) {
        // As a call that was killed after it had recorded left it: store/v1 is of record.
        lift(&paths.source)?;
    }
    let switched = switched(recorder.state())?;
    let blocked =
        |what: String, advice: &str| Error::Blocked { what, advice: format!("Nothing was changed. {advice}") };
    // Held until it is recorded, so that no node begins on a store that is not of record yet.
    let standstill = Standstill::take(&paths.source).map_err(crate::source::SourceError::from)?.ok_or_else(|| {
        blocked(
            format!("a process has {} open, which is not of record", paths.source.display()),
            "Stop it first: what it commits is not what the chain committed on store/v2.",
        )
    })?;
    let source = enter_still(&standstill, &job.plan, tuning)?;
    let tip = source.latest()?;
    let expected = source.commit_info(switched)?.map(|info| info.app_hash());
    let unknown = |part: &Path| {
        blocked(
            format!(
                "{} does not have version {switched}: what store/v2 has, and would be lost, cannot be told",
                part.display()
            ),
            "Put the target back as it was. If it is lost for good, the store/v1 database is whole: start the node on it.",
        )
    };
    // Opening would make it.
    if let Some(part) = missing_part(&place, &job)? {
        return Err(unknown(&part));
    }
    let target = open_engines(built_in()?.as_ref(), &place, job.id, job.plan.parts, tuning)?;
    let of_target = match &target.sc {
        Some(sc) => sc.commit_info(switched)?.map(|info| info.app_hash()),
        None => None,
    };
    let height = job.source.height;
    let of_snapshot = source.commit_info(height)?.map(|info| info.app_hash());
    let is_another = of_snapshot.is_some_and(|found| found != job.source.app_hash)
        || of_target.is_some_and(|found| Some(found) != expected);
    if tip < switched || expected.is_none() || is_another {
        return Err(blocked(
            format!(
                "{} is not the database that was switched at version {switched}, or has been changed since: it stands at \
                 version {tip}",
                paths.source.display()
            ),
            "Give the database the chain was on before.",
        ));
    }
    let sc = target.sc.as_ref().map(|sc| sc.latest()).transpose()?.flatten();
    let ss = target.ss.as_ref().map(|ss| ss.latest()).transpose()?.flatten();
    for (part, newest, is_planned) in [(place.sc(), sc, job.plan.parts.sc()), (place.ss(), ss, job.plan.parts.ss())] {
        if is_planned && newest.is_none_or(|newest| newest < switched) {
            return Err(unknown(&part));
        }
    }
    let newest = sc.max(ss).unwrap_or(switched);
    // Both may have gone on: a node was started on store/v1 by mistake.
    let common = newest.min(tip);
    let of_both = match &target.sc {
        Some(sc) => sc
            .commit_info(common)?
            .map(|info| info.app_hash())
            .zip(source.commit_info(common)?.map(|info| info.app_hash())),
        None => None,
    };
    if let Some((of_v2, of_v1)) = of_both.filter(|(of_v2, of_v1)| of_v2 != of_v1) {
        return Err(blocked(
            format!(
                "at version {common} store/v1 has the app hash {of_v1} and store/v2 {of_v2}: they went different ways since the switch"
            ),
            "Stay on store/v2, or give a store/v1 database that was not written to since the switch.",
        ));
    }
    let lost = newest.0.saturating_sub(tip.0);
    if lost > consented {
        return Err(blocked(
            format!(
                "store/v2 has {lost} versions that store/v1 has not, {} to {newest}: they would be lost, unless the node's block \
                 store has their blocks and executes them again",
                tip.next()
            ),
            &format!("To consent to that, add --lose {lost}."),
        ));
    }
    recorder.record(&Event::Returned, &Writes::Nothing)?;
    drop((target, source));
    show(&place, recorder.state());
    // Only now: before, a node must not start on it.
    lift(&paths.source)?;
    drop(standstill);
    Ok(Returned { switched, tip, lost })
}

fn lift(source: &Path) -> Result<(), Error> {
    guard::lift(source).map_err(|error| Error::Blocked {
        what: format!(
            "store/v1 in {} is the store of record again, but what keeps nodes from being started on it could not be removed: {error}",
            source.display()
        ),
        advice: "Nothing is lost. Remove the directory LOCK in it, rename LOCK.node to LOCK, and start the node.".to_owned(),
    })
}

/// Rules out that the chain is given back. Repeatable. Returns the version at which the switch was.
///
/// # Errors
/// The switch has not been made.
pub fn finish(target: &Path) -> Result<Version, Error> {
    let (place, journal, _lock) = open(&resolve(target))?;
    let mut recorder = Recorder::new(journal)?;
    show(&place, recorder.state());
    if let Phase::Done { version, finished: true, .. } = recorder.state().phase {
        return Ok(version);
    }
    let version = switched(recorder.state())?;
    recorder.record(&Event::Finished, &Writes::Nothing)?;
    show(&place, recorder.state());
    Ok(version)
}

/// Brings what `storeshift status` shows up to date. If that fails, it shows what was before.
fn show(place: &Place, state: &State) {
    if let Some(mut status) = status::read::<super::Status>(&place.journal()) {
        status.set_state(state);
        let _ = status::write(&place.journal(), &status);
    }
}

/// Gives a job up whose switch is recorded, though the chain never went on with it: as an abort, but after Done.
///
/// # Errors
/// The switch has not been made, or something could not be removed; it can be tried again.
pub fn forget(target: &Path) -> Result<(), Error> {
    let (_, journal, lock) = open(&resolve(target))?;
    let mut recorder = Recorder::new(journal)?;
    switched(recorder.state())?;
    recorder.record(&Event::Returned, &Writes::Nothing)?;
    drop((recorder, lock));
    super::abort(target)
}

/// The directory of an engine that a job has made and its target has not any more. Nothing is made.
///
/// # Errors
/// There is one, and it is another job's; or a directory could not be read.
pub fn missing_part(place: &Place, job: &Job) -> Result<Option<PathBuf>, Error> {
    let parts = job.plan.parts;
    for (is_planned, part) in [(parts.sc(), place.sc()), (parts.ss(), place.ss())] {
        if is_planned && !place.is_of(&part, job.id)? {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

fn open(target: &Path) -> Result<(Place, Journal, Lock), Error> {
    let place = Place::new(target);
    place.check()?;
    if !Journal::exists(&place.journal()) {
        return Err(no_job(target));
    }
    let lock = Lock::take(&place.journal())?;
    let journal = Journal::open(&place.journal())?;
    Ok((place, journal, lock))
}

fn switched(state: &State) -> Result<Version, Error> {
    match &state.phase {
        Phase::Done { version, finished: false, .. } => Ok(*version),
        Phase::Done { .. } => Err(Error::Blocked {
            what: "the migration was finished with `storeshift finish`: the chain is on store/v2 for good".to_owned(),
            advice: "Nothing was changed.".to_owned(),
        }),
        Phase::Aborted => Err(Error::Blocked {
            what: "the chain is on store/v1 already: it was given back, or the migration was aborted".to_owned(),
            advice: "Nothing was changed. `storeshift abort` wipes the target.".to_owned(),
        }),
        phase => Err(Error::Blocked {
            what: format!("the switch has not been made ({phase}): the chain is on store/v1"),
            advice: "Nothing was changed. Before the switch `storeshift abort` gives a migration up.".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        journal::SourceIdentity,
        model::{Hash, JobId},
        plan::Plan,
    };

    /// A target that has nothing but a journal in this phase.
    fn in_phase(phase: Phase) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let (height, tip) = (Version(5), Version(9));
        let (app_hash, tip_app_hash) = (Hash([1; 32]), Hash([2; 32]));
        let source = SourceIdentity { engine: "goleveldb".to_owned(), height, app_hash, tip, tip_app_hash };
        let job = Job { id: JobId([3; 16]), plan: Plan::new(), source };
        let journal = Place::new(dir.path()).journal();
        std::fs::create_dir_all(&journal).unwrap();
        Journal::create(&journal, &job, &State { epoch: 1, cause: None, losses: 0, attempt: 0, phase }).unwrap();
        dir
    }

    fn phase(dir: &tempfile::TempDir) -> Phase {
        Journal::open(&Place::new(dir.path()).journal()).unwrap().state().unwrap().phase
    }

    fn done(finished: bool) -> Phase {
        Phase::Done { height: Version(5), version: Version(9), finished }
    }

    fn back_to(dir: &tempfile::TempDir) -> Result<Returned, Error> {
        let (source, target) = (dir.path().join("../none"), dir.path().to_owned());
        back(&Paths { source, target, changesets: None, checkpoint: None }, 0, Tuning::default())
    }

    fn assert_blocked<T: std::fmt::Debug>(outcome: Result<T, Error>, words: &str) {
        let error = outcome.unwrap_err();
        assert!(matches!(&error, Error::Blocked { what, .. } if what.contains(words)), "{error}");
    }

    #[test]
    fn what_is_finished_stays_so_and_the_chain_is_not_given_back_any_more() {
        let dir = in_phase(done(false));
        assert_eq!(finish(dir.path()).unwrap(), Version(9));
        assert_eq!(phase(&dir), done(true));
        assert_eq!(finish(dir.path()).unwrap(), Version(9), "said again");
        let events = Journal::open(&Place::new(dir.path()).journal()).unwrap().events().unwrap();
        assert_eq!(events.len(), 1, "recorded once");
        assert_blocked(back_to(&dir), "for good");
        assert_blocked(forget(dir.path()), "for good");
        assert_eq!(phase(&dir), done(true));
    }

    #[test]
    fn before_the_switch_there_is_nothing_to_finish_and_nothing_to_give_back() {
        let syncing = Phase::Syncing { height: Version(5), applied: Version(8) };
        for (before, words) in
            [(syncing, "the switch has not been made"), (Phase::Aborted, "the chain is on store/v1 already")]
        {
            let dir = in_phase(before.clone());
            assert_blocked(finish(dir.path()), words);
            assert_blocked(back_to(&dir), words);
            assert_blocked(forget(dir.path()), words);
            assert_eq!(phase(&dir), before);
        }
        let nothing = tempfile::tempdir().unwrap();
        assert!(finish(nothing.path()).is_err() && back_to(&nothing).is_err());
        assert_eq!(std::fs::read_dir(nothing.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_switch_that_no_chain_followed_is_forgotten_with_all_there_is_of_the_job() {
        let dir = in_phase(done(false));
        forget(dir.path()).unwrap();
        assert!(!Journal::exists(&Place::new(dir.path()).journal()));
    }

    #[test]
    fn an_aborted_jobs_wipe_is_taken_up_by_who_aborts_again_and_a_switched_one_is_refused() {
        let dir = in_phase(Phase::Aborted);
        crate::migrator::abort(dir.path()).unwrap();
        assert!(!Journal::exists(&Place::new(dir.path()).journal()));
        let dir = in_phase(done(false));
        assert_blocked(crate::migrator::abort(dir.path()), "store/v2 is the store of record");
        assert_eq!(phase(&dir), done(false));
    }
}
