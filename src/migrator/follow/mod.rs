//! A chain whose node goes on in another process: its database is read from checkpoint after checkpoint until the target is as
//! close as it gets, and then until a switch is asked for and the node is stopped.
//!
//! Owns which checkpoint is read, whether it is the same chain's, when one has been left behind by pruning, and the fence: the
//! database's own lock, taken once the node has let go of it. Hands sources and feeds to the driver.

mod cadence;
mod convergence;
mod keeper;
mod report;

use super::{
    chain::{Chain, Fencing, Moment, Turn},
    entrance::{Entered, enter, enter_still},
    guard,
    reading::missing,
};
use crate::{
    error::{Error, Kind},
    governor::Governor,
    journal::{Job, SwitchRequest},
    model::{Hash, Version},
    plan::{Paths, Tuning},
    progress::Stop,
    source::{
        SourceError,
        checkpoint::{Standstill, Trail},
    },
};
pub(crate) use convergence::Convergence;
use convergence::Trend;
use keeper::{Keeper, Kept};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub use report::{Following, Switch};

/// How long to wait at a time before the requests to stop and to switch are looked at.
const MOMENT: Duration = Duration::from_millis(100);
/// Versions whose app hashes are compared when another checkpoint is entered.
const RECHECKED: u64 = 16;

/// A running node's chain.
pub(super) struct Followed {
    paths: Paths,
    journal: PathBuf,
    job: Job,
    tuning: Tuning,
    keeper: Keeper,
    /// Number of the checkpoint that is read, and whether it was taken for this run.
    reading: (u64, bool),
    /// App hashes of the newest versions that were applied.
    known: BTreeMap<Version, Hash>,
    convergence: Convergence,
    began: Instant,
    /// When the checkpoint that is read was entered, and how long applying one has taken.
    entered: Option<Instant>,
    applying: Option<Duration>,
    /// The request for which the engines were made ready, and how long that took.
    ready: Option<(u64, Duration)>,
    standstill: Option<Standstill>,
    report: Arc<Mutex<Following>>,
}

impl Followed {
    /// Follows the database of a job that reads this checkpoint of it.
    pub fn new(
        paths: Paths,
        journal: PathBuf,
        job: Job,
        tuning: Tuning,
        trail: Trail,
        reading: (u64, bool),
        steering: (Stop, Governor),
    ) -> Followed {
        let memory_stores = !job.plan.leave_out_memory_stores;
        let keeper = Keeper::start(&paths.source, trail, reading.0, tuning, memory_stores, steering);
        Followed {
            paths,
            journal,
            job,
            tuning,
            keeper,
            reading,
            known: BTreeMap::new(),
            convergence: Convergence::default(),
            began: Instant::now(),
            entered: None,
            applying: None,
            ready: None,
            standstill: None,
            report: Arc::default(),
        }
    }

    fn note(&self, change: impl FnOnce(&mut Following)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The request to switch that is open.
    fn request(&self) -> Option<SwitchRequest> {
        match SwitchRequest::read(&self.journal) {
            Ok(request) => request.filter(SwitchRequest::is_open),
            Err(error) => {
                // Nothing is done that was not understood.
                self.note(|report| report.last_failure = Some(error.to_string()));
                None
            }
        }
    }

    /// Gives a request back as failed: whoever made it looks again.
    fn fail(&self, request: SwitchRequest, why: String) -> Result<(), Error> {
        tracing::warn!(%why, "the switch that was asked for is given up");
        self.note(|report| (report.switch, report.last_failure) = (None, Some(why.clone())));
        Ok(request.failed(why).write(&self.journal)?)
    }

    /// Waits a moment for another checkpoint.
    fn wait(&self, stop: &Stop, why: String) -> Result<(), Error> {
        if self.keeper.has_failed() {
            return Err(Error::Invariant("the thread that takes checkpoints panicked"));
        }
        if stop.is_asked() {
            return Err(Error::Stopped(stop.reason().unwrap_or_else(|| "on request".to_owned())));
        }
        let (checkpoints, held, _) = self.keeper.standing();
        self.note(|report| {
            report.waiting = why;
            (report.checkpoints, report.checkpoint_bytes) = (checkpoints, held);
        });
        self.keeper.wait(MOMENT);
        match self.keeper.failure().map(Error::from) {
            // Another try may well succeed.
            Some(error) if error.kind() == Kind::Retry => {
                self.note(|report| report.trouble = Some(error.to_string()));
                Ok(())
            }
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Remembers the app hashes of what was applied, to know the chain again by.
    fn remember(&mut self, moment: &Moment<'_>) -> Result<(), SourceError> {
        for version in moment.applied.0.saturating_sub(RECHECKED - 1).max(1)..=moment.applied.0 {
            if let Some(hash) = moment.feed.app_hash(Version(version))? {
                self.known.insert(Version(version), hash);
            }
        }
        self.known = self.known.split_off(&Version(moment.applied.0.saturating_sub(RECHECKED)));
        Ok(())
    }

    fn see(&mut self, tip: Version, applied: Version) {
        self.convergence.see(self.began.elapsed().as_secs_f64(), tip.0, applied.0);
        let outlook = self.convergence.outlook();
        self.note(|report| {
            report.set(tip.0, &outlook);
            report.waiting.clear();
            report.trouble = None;
        });
    }

    /// Goes on to the next checkpoint.
    fn enter(&mut self, next: Kept, newest: Kept, moment: &Moment<'_>) -> Result<Turn, Error> {
        let known = Some(self.job.source.app_hash);
        let open = |kept: &Kept| -> Result<Entered, Error> {
            enter(&kept.checkpoint.path, &self.paths, &self.job.plan, known, self.tuning)
        };
        let entered = open(&next)?;
        self.recognise(&entered, moment)?;
        let gone = missing(moment.state, entered.0.as_ref())?;
        let (kept, turn) = match gone {
            None => (next.number, Turn::Enter(entered, next.checkpoint)),
            Some((version, what)) => {
                let why = format!("the node has pruned version {version}, {what}, before it was read");
                let entered = if newest.number == next.number { entered } else { open(&newest)? };
                self.recognise(&entered, moment)?;
                self.convergence = Convergence::default();
                (newest.number, Turn::Renew(entered, Some(newest.checkpoint), why))
            }
        };
        if let Turn::Enter(_, checkpoint) | Turn::Renew(_, Some(checkpoint), _) = &turn {
            let path = checkpoint.path.display().to_string();
            self.note(|report| report.reading = Some(path));
        }
        self.reading = (kept, true);
        self.keeper.read(kept);
        self.entered = Some(Instant::now());
        Ok(turn)
    }

    /// Whether a checkpoint is of the chain that was followed so far, and has not gone back.
    fn recognise(&self, (_, feed): &Entered, moment: &Moment<'_>) -> Result<(), Error> {
        let blocked = |what: String| {
            Error::Blocked {
            what: format!("{what}: the node was rolled back, or its database was replaced"),
            advice: "Nothing of it was applied. If the node was rolled back on purpose, run `storeshift abort` and begin anew; \
                     otherwise look at the node first."
                .to_owned(),
        }
        };
        let tip = feed.tip()?;
        if tip < moment.applied {
            return Err(blocked(format!(
                "the node stands at version {tip}, and version {} was applied",
                moment.applied
            )));
        }
        for (version, expected) in &self.known {
            if let Some(found) = feed.app_hash(*version)?.filter(|found| found != expected) {
                return Err(blocked(format!(
                    "the node's app hash of version {version} is {found} now, and was {expected} when it was applied"
                )));
            }
        }
        Ok(())
    }

    /// Seconds from the node's end to the switch, as far as can be foreseen: one more checkpoint, its versions, and what
    /// bringing the engines into their final form took.
    fn predicted_pause(&self) -> f64 {
        let (_, _, checkpoint) = self.keeper.standing();
        let settling = self.ready.map_or(Duration::ZERO, |(_, took)| took);
        checkpoint + (self.applying.unwrap_or_default() + settling).as_secs_f64()
    }

    /// Everything that was read is applied, and there is no later checkpoint yet.
    fn consider(&mut self, moment: &Moment<'_>) -> Result<Option<Turn>, Error> {
        let tip = moment.feed.tip()?;
        if !self.tuning.switch {
            let why = || "for a checkpoint of what the node has now".to_owned();
            return if self.reading.1 {
                Ok(Some(Turn::CaughtUp))
            } else {
                self.wait(moment.stop, why()).map(|()| None)
            };
        }
        let Some(request) = self.request() else {
            self.ready = None;
            self.note(|report| report.switch = None);
            self.wait(
                moment.stop,
                "for the node to commit more; `storeshift switch` when it is to be stopped".to_owned(),
            )?;
            return Ok(None);
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let beyond = |at: Version| request.height.is_some_and(|height| at.0 > height);
        if beyond(moment.applied) || beyond(tip) {
            let (at, height) = (moment.applied.max(tip), request.height.unwrap_or_default());
            self.fail(request, format!("the node went past version {height}: it has committed {at}"))?;
            return Ok(Some(Turn::More));
        }
        if request.deadline.is_some_and(|deadline| now > deadline) {
            self.fail(request, "the node was not stopped in time".to_owned())?;
            return Ok(Some(Turn::More));
        }
        // The engines are brought into their final form while the node still runs: what is left of that then is little.
        if self.ready.is_none_or(|(asked, _)| asked != request.asked) {
            if self.convergence.outlook().trend == Trend::Growing {
                self.wait(moment.stop, "to come closer to the node before it is stopped".to_owned())?;
                return Ok(None);
            }
            self.ready = Some((request.asked, Duration::ZERO));
            self.entered = Some(Instant::now());
            return Ok(Some(Turn::Settle));
        }
        let pause = self.predicted_pause();
        let fits = request.max_pause.is_none_or(|most| pause <= most);
        self.note(|report| {
            report.switch = Some(Switch {
                height: request.height,
                asked: request.asked,
                deadline: request.deadline,
                ready: fits,
                predicted_pause: Some(pause),
                max_pause: request.max_pause,
            });
        });
        if !fits {
            let most = request.max_pause.unwrap_or_default();
            self.wait(moment.stop, format!("for the pause, which would be {pause:.1} s, to come down to {most:.1} s"))?;
            return Ok(None);
        }
        let complete = self.keeper.is_complete(self.reading.0);
        match request.height {
            Some(height) if complete && tip.0 < height => {
                let why = format!(
                    "for version {height}: the node stands at {tip}; start it again with halt-height = {height}"
                );
                self.wait(moment.stop, why)?;
            }
            // The lock is tried before anything is recorded: a node that cannot be seen from here, in another container, has it.
            _ if complete => match Standstill::take(&self.paths.source).map_err(SourceError::from)? {
                Some(standstill) => {
                    self.standstill = Some(standstill);
                    return Ok(Some(Turn::Switch));
                }
                None => {
                    let why = "for a process that cannot be seen from here to let go of the database: stop the node";
                    self.wait(moment.stop, why.to_owned())?;
                }
            },
            Some(height) => {
                self.wait(moment.stop, format!("for the node to stop at version {height} (halt-height = {height})"))?;
            }
            None => self.wait(moment.stop, "for the node to be stopped: stop it now".to_owned())?,
        }
        Ok(None)
    }
}

impl Chain for Followed {
    fn bound(&self) -> Option<Version> {
        self.request().and_then(|request| request.height).map(Version)
    }

    fn next(&mut self, moment: &Moment<'_>) -> Result<Turn, Error> {
        self.remember(moment)?;
        if let Some(entered) = self.entered.take() {
            match &mut self.ready {
                Some((_, took)) if took.is_zero() => *took = entered.elapsed(),
                _ => self.applying = Some(entered.elapsed()),
            }
        }
        loop {
            let tip = moment.feed.tip()?;
            let is_bound = self.bound().is_some_and(|bound| bound < tip);
            if let Some((next, newest)) = self.keeper.after(self.reading.0).filter(|_| !is_bound) {
                self.see(newest.tip, moment.applied);
                return self.enter(next, newest, moment);
            }
            if let Some(turn) = self.consider(moment)? {
                return Ok(turn);
            }
        }
    }

    fn fence(&mut self, moment: &Moment<'_>) -> Result<Fencing, Error> {
        let standstill = match self.standstill.take() {
            Some(standstill) => Some(standstill),
            None => Standstill::take(&self.paths.source).map_err(SourceError::from)?,
        };
        let Some(standstill) = standstill else {
            return Ok(Fencing::Refused("the node was started again".to_owned()));
        };
        let Some(request) = self.request() else {
            return Ok(Fencing::Refused("the request to switch was taken back".to_owned()));
        };
        if !self.keeper.is_unchanged(self.reading.0) {
            return Ok(Fencing::Refused("the database was written to since its last checkpoint".to_owned()));
        }
        // The checkpoint has been a good witness so far. Now that nobody can write, the database itself is asked: a version that
        // it has and the checkpoint has not would be lost.
        let itself = enter_still(&standstill, &self.job.plan, self.tuning)?;
        let (seen, there) = (moment.feed.tip()?, itself.latest()?);
        let hash = itself.commit_info(there)?.map(|info| info.app_hash());
        if let Some(height) = request.height.filter(|height| *height != there.0) {
            return Ok(Fencing::Refused(format!("version {height} is asked for, and the node stands at {there}")));
        }
        if seen != there || moment.feed.app_hash(seen)? != hash {
            // The checkpoint looked complete and is not: without this the same one would be tried again and again.
            self.keeper.distrust();
            return Ok(Fencing::Refused(format!(
                "the database stands at version {there}, and its last checkpoint at {seen}"
            )));
        }
        self.standstill = Some(standstill);
        Ok(Fencing::Raised(there))
    }

    fn lift(&mut self, why: &str) {
        self.standstill = None;
        self.note(|report| report.last_failure = Some(why.to_owned()));
    }

    fn renewed(&mut self, job: &Job) {
        self.job = job.clone();
        self.note(|report| report.app_hash = Some(job.source.app_hash.to_string()));
    }

    fn halted(&mut self, why: &str) {
        // Who asked was told that the chain stays on store/v1; a repair must not bring the switch back unasked.
        if let Some(request) = self.request()
            && let Err(error) = self.fail(request, format!("the job is halted: {why}"))
        {
            tracing::warn!(%error, "the request to switch could not be given back");
        }
    }

    fn switched(&mut self, version: Version) {
        // Its checkpoints are about to be removed.
        self.keeper.end();
        self.note(|report| {
            *report = Following { tip: version.0, trend: "close".to_owned(), ..Following::default() };
        });
        if let Err(error) = SwitchRequest::remove(&self.journal) {
            tracing::warn!(%error, "the request to switch could not be removed; it is done");
        }
        // The database is still locked. Whoever restarts nodes that have stopped is about to restart this one.
        let why = format!(
            "store/v1 is not of record since version {version}: the chain goes on with store/v2 in {}.",
            self.paths.target.display()
        );
        if let Err(error) = guard::place(&self.paths.source, &why) {
            tracing::warn!(%error, "the store/v1 database is not guarded: take care that no node is started on it");
        }
    }

    fn report(&self) -> Option<Arc<Mutex<Following>>> {
        Some(self.report.clone())
    }
}
