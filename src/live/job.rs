//! The job beside a store, on a thread of its own: started, carried on after what passes, ended.
//!
//! Owns that thread. Nothing that happens to it reaches the store but through [`super::chain`].

use super::{
    Begin, Places,
    chain::{Embedded, Shared, Watcher},
};
use crate::{
    error::{Error, Kind},
    governor::Gauge,
    machine::{Phase, State},
    migrator::{self, Outcome, Status},
    model::Version,
    plan::{At, Plan},
    progress::Stop,
    root_store::{Databases, Observer, RootStore},
    target::Engines,
};
use std::{
    sync::{Arc, Condvar, Mutex, PoisonError, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Between two tries after something that passes, to begin with and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Between two looks at how long commits take.
const LOOK: Duration = Duration::from_millis(500);

/// The trees of store/v1 are dropped after the first commit without them, which is waited for so long; so many nodes at a time; and so
/// long apart.
const LET_GO: (Duration, usize, Duration) = (Duration::from_secs(60), 1024, Duration::from_millis(25));

/// How much nicer the migration's threads are than the node's: they get a tenth of its share where both want the same core. With less, a
/// lock of the engine that such a thread holds could be long in coming.
const NICE: i32 = 10;

/// How a job stands that runs beside its store.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub status: Option<Status>,
    /// What went wrong last; it is tried again.
    pub trouble: Option<String>,
    /// How it ended.
    pub end: Option<Result<Outcome, Error>>,
}

/// A job beside its store.
pub(super) struct Job {
    pub shared: Arc<Shared>,
    stop: Stop,
    standing: Arc<(Mutex<Standing>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Job {
    /// Starts it. Versions it needs are held before this returns.
    pub fn start(
        store: &Arc<RootStore>,
        databases: Arc<dyn Databases>,
        places: &Places,
        begin: Begin,
        cache: usize,
    ) -> Result<Job, Error> {
        let shared = Arc::new(Shared::new(begin.switch, begin.max_pause, begin.held_versions));
        let stop = Stop::default();
        let standing: Arc<(Mutex<Standing>, Condvar)> = Arc::default();
        hold(store, &shared, &begin.plan, migrator::found(&places.v2)?.as_ref().map(|(_, state)| state));
        let worker = Worker {
            store: store.clone(),
            engines: databases,
            places: places.clone(),
            begin,
            cache,
            shared: shared.clone(),
            stop: stop.clone(),
            standing: standing.clone(),
        };
        let thread = std::thread::spawn(move || worker.work());
        Ok(Job { shared, stop, standing, thread: Some(thread) })
    }

    /// Reads how it stands.
    pub fn standing<T>(&self, read: impl FnOnce(&Standing) -> T) -> T {
        read(&self.standing.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for its end, and reads it.
    pub fn wait<T>(&self, read: impl FnOnce(&Standing) -> T) -> T {
        let standing = self.standing.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.standing.1.wait_while(standing, |standing| standing.end.is_none());
        read(&ended.unwrap_or_else(PoisonError::into_inner))
    }

    /// As [`Job::end`], with what it needs held as long as this lives.
    pub fn suspend(&mut self) {
        self.shared.keep.store(true, Ordering::SeqCst);
        self.end();
    }

    /// Has it end after the work in flight, and waits for that.
    pub fn end(&mut self) {
        self.stop.ask("the node ends");
        self.standing.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.end();
    }
}

/// Holds what a job in this state needs, or what one that is to begin will.
fn hold(store: &RootStore, shared: &Shared, plan: &Plan, state: Option<&State>) {
    let asked = || match plan.at {
        At::Version(version) => Some(version),
        At::Oldest => store.span().map(|span| span.oldest),
        At::Latest => None,
    };
    let needed = state.map_or_else(asked, |state| state.phase.applied().or(state.phase.height()));
    let latest = store.latest().map_or(Version(0), |info| info.version);
    // What is gone already cannot be held: the job finds that out and begins anew.
    let hold = needed.and_then(|version| store.hold(version).ok()).or_else(|| store.hold(latest).ok());
    shared.hold(hold);
}

struct Worker {
    store: Arc<RootStore>,
    engines: Arc<dyn Engines>,
    places: Places,
    begin: Begin,
    /// Bytes that each engine may keep blocks in, once the store is on it.
    cache: usize,
    shared: Arc<Shared>,
    stop: Stop,
    standing: Arc<(Mutex<Standing>, Condvar)>,
}

/// Says that the job has ended, also if it ends by a panic.
struct End<'a>(&'a Worker, Option<Result<Outcome, Error>>, Arc<dyn Observer>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let end = self.1.take().unwrap_or(Err(Error::Invariant("the migration thread panicked")));
        self.0.store.ignore(&self.2);
        self.0.shared.release();
        self.0.store.open_gate();
        self.0.note(|standing| standing.end = Some(end));
    }
}

/// Has this thread, and those it starts, run where nobody else would: a commit that becomes ready takes the core from them at once.
/// They run as fast as ever on cores that are idle, which is also where a commit waits for the switch.
fn stand_back() {
    // The priority is the thread's own here, not the process's; where it cannot be set, the work is done all the same.
    let lowered = rustix::process::getpriority_process(None)
        .and_then(|own| rustix::process::setpriority_process(None, own.saturating_add(NICE)));
    if let Err(error) = lowered {
        tracing::debug!(%error, "the migration runs with the node's priority");
    }
}

impl Worker {
    fn work(self) {
        stand_back();
        let watcher: Arc<dyn Observer> = Arc::new(Watcher { shared: self.shared.clone() });
        self.store.observe(watcher.clone());
        let mut end = End(&self, None, watcher);
        end.1 = Some(self.attempts());
        drop(end);
        self.let_go();
    }

    /// Tries until it ends one way or another.
    fn attempts(&self) -> Result<Outcome, Error> {
        let mut pause = PAUSES.0;
        loop {
            let ended = self.attempt();
            match &ended {
                Err(error) if error.kind() == Kind::Retry && !self.is_over() => {
                    tracing::warn!(%error, "the migration is tried again; the chain goes on");
                    self.note(|standing| standing.trouble = Some(error.to_string()));
                }
                _ => return ended,
            }
            self.rest(pause, || self.is_over());
            pause = (pause * 2).min(PAUSES.1);
            if self.is_over() {
                return ended;
            }
        }
    }

    /// Waits so long, unless it is asked to end, or `ended` says so.
    fn rest(&self, pause: Duration, ended: impl Fn() -> bool) {
        let standing = self.standing.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.standing.1.wait_timeout_while(standing, pause, |_| !ended()));
    }

    /// Drops the trees of store/v1: once a commit was made without them, and so slowly that those after it do not feel it.
    fn let_go(&self) {
        let former = self.shared.former.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(former) = former else { return };
        let height = || self.store.latest().map(|info| info.version);
        let (switched, began) = (height(), Instant::now());
        while height() == switched && began.elapsed() < LET_GO.0 && !self.stop.is_asked() {
            self.rest(LET_GO.2, || self.stop.is_asked());
        }
        former.dissolve(LET_GO.1, &mut || {
            self.rest(LET_GO.2, || self.stop.is_asked());
            !self.stop.is_asked()
        });
    }

    fn is_over(&self) -> bool {
        self.stop.is_asked() || self.shared.overrun.load(Ordering::SeqCst)
    }

    fn note(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.standing.1.notify_all();
    }

    /// Runs the job until it ends one way or another.
    fn attempt(&self) -> Result<Outcome, Error> {
        let state = migrator::found(&self.places.v2)?.map(|(_, state)| state);
        if let Some(State { phase: Phase::Done { version, .. }, .. }) = &state {
            // It is recorded although it was not known to be, and the chain went on with store/v1: whoever opens both anew decides.
            return Err(Error::Blocked {
                what: format!("the switch at version {version} is recorded, and the chain went on with store/v1"),
                advice: "Nothing is lost. When the store is opened next, store/v1 stays of record, and the migration begins anew."
                    .to_owned(),
            });
        }
        hold(&self.store, &self.shared, &self.begin.plan, state.as_ref());
        let source = self.store.source().ok_or(Error::Invariant("the store is not on store/v1"))?;
        let woken = self.shared.waits();
        let chain = Embedded::new(self.store.clone(), self.shared.clone(), woken, self.begin.plan.parts.sc());
        let (plan, tuning) = (&self.begin.plan, self.begin.tuning);
        let job =
            migrator::embed_with(&self.engines, &self.places.v2, plan, tuning, source, Box::new(chain), self.cache);
        job.and_then(|job| self.run(job))
    }

    fn run(&self, job: migrator::Migrator) -> Result<Outcome, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Stopped(format!("no runtime could be started: {error}")))?;
        runtime.block_on(async {
            let governor = job.governor();
            let mut running = job.start(&self.places.v1);
            loop {
                tokio::select! {
                    changed = running.status.changed() => {
                        if changed.is_err() {
                            break;
                        }
                        let status = running.status.borrow_and_update().clone();
                        self.note(|standing| (standing.status, standing.trouble) = (Some(status), None));
                    }
                    () = tokio::time::sleep(LOOK) => {}
                }
                let slowest = self.shared.slowest.swap(0, Ordering::Relaxed);
                if slowest > 0 {
                    governor.report(Gauge::CommitLatency, Some(Duration::from_nanos(slowest).as_secs_f64()));
                }
                if self.is_over() {
                    running.stop.ask(
                        self.stop
                            .reason()
                            .unwrap_or_else(|| "the chain kept more versions for it than it may".to_owned()),
                    );
                }
            }
            running.end().await
        })
    }
}
