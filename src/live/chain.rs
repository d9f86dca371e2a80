//! The chain of the node that has the migration in its own process, as the migration sees it.
//!
//! Owns the rules between commits and migration. A commit hands over that there is a new version, without waiting: what it changed is
//! read back from the trees of store/v1, where that costs less than to replay it and needs no memory. (The last few change sets are kept
//! besides, for the trees that are made warm.) Those versions are held from being pruned until they are applied, and no longer than the
//! budget says.

use super::warming::{Recent, Warming};
use crate::{
    error::Error,
    migrator::{
        Convergence, Following, Switch,
        chain::{Chain, Fencing, Moment, Turn},
    },
    model::{CommitInfo, Version},
    root_store::{ChangeSet, FormerTrees, Hold, Layout, Observer, RootStore, StoreError, V2Layout, WarmTrees},
    target::Target,
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How long to wait at a time before the requests to stop and to switch are looked at.
const MOMENT: Duration = Duration::from_millis(50);

/// So long a moment in which everything is applied is waited for, before a chain that never rests is switched with a little left.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the thread that commits, the job, and whoever steers them have in common.
pub(super) struct Shared {
    /// Whether to switch once everything is applied.
    pub switch: AtomicBool,
    /// The longest a commit waits for a switch.
    pub max_pause: Duration,
    /// Most versions that are held from being pruned.
    pub held_versions: Option<u64>,
    /// Nanoseconds that the slowest commit took since somebody looked.
    pub slowest: AtomicU64,
    /// What the last commits changed.
    pub recent: Recent,
    /// Versions that the job still needs are held.
    held: Mutex<Option<Hold>>,
    /// Wakes the attempt that waits for the chain.
    wake: Mutex<Option<SyncSender<()>>>,
    /// What is held stays held until the store is gone too: the job is carried on by whoever opens it next.
    pub keep: AtomicBool,
    /// The versions held have become too many.
    pub overrun: AtomicBool,
    /// The trees of store/v1, after the switch.
    pub former: Mutex<Option<FormerTrees>>,
    report: Arc<Mutex<Following>>,
}

impl Shared {
    pub fn new(switch: bool, max_pause: Duration, held_versions: Option<u64>) -> Shared {
        Shared {
            switch: AtomicBool::new(switch),
            max_pause,
            held_versions,
            slowest: AtomicU64::new(0),
            recent: Recent::default(),
            held: Mutex::new(None),
            wake: Mutex::new(None),
            keep: AtomicBool::new(false),
            overrun: AtomicBool::new(false),
            former: Mutex::new(None),
            report: Arc::default(),
        }
    }

    /// The end at which the next attempt waits.
    pub fn waits(&self) -> Receiver<()> {
        // One is enough to wake it; how far it is to go the store says.
        let (wake, woken) = sync_channel(1);
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = Some(wake);
        woken
    }

    /// Holds nothing any more, unless it is to be carried on.
    pub fn release(&self) {
        if !self.keep.load(Ordering::SeqCst) {
            self.hold(None);
        }
    }

    /// Holds a version in the place of the one before.
    pub fn hold(&self, hold: Option<Hold>) {
        let before = std::mem::replace(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner), hold);
        drop(before);
    }
}

/// Is told of commits, and never waits; between two attempts too, when versions are held all the same.
pub(super) struct Watcher {
    pub shared: Arc<Shared>,
}

impl Observer for Watcher {
    fn committed(&self, version: Version, changes: &Arc<ChangeSet>, _: &Arc<CommitInfo>) {
        self.shared.recent.add(version, changes);
        if let Ok(wake) = self.shared.wake.try_lock()
            && let Some(wake) = wake.as_ref()
        {
            // It is awake already, or nobody waits.
            let _ = wake.try_send(());
        }
        let Some(most) = self.shared.held_versions else { return };
        // If the job moves its hold right now, the next commit looks again.
        let Ok(mut held) = self.shared.held.try_lock() else { return };
        let behind = held.as_ref().map_or(0, |hold| version.0.saturating_sub(hold.version().0));
        if behind > most {
            // The chain's disk comes first: the versions go, and the job begins anew with a later snapshot.
            *held = None;
            self.shared.overrun.store(true, Ordering::SeqCst);
        } else if behind > most / 5 * 4 && behind.is_multiple_of(most / 20 + 1) {
            tracing::warn!(behind, most, "the migration holds four fifths of the versions it may");
        }
    }

    fn took(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.shared.slowest.fetch_max(nanoseconds, Ordering::Relaxed);
    }
}

/// A chain in this process.
pub(super) struct Embedded {
    store: Arc<RootStore>,
    shared: Arc<Shared>,
    woken: Receiver<()>,
    /// SC and SS as the chain will have them.
    layout: Option<Arc<V2Layout>>,
    convergence: Convergence,
    began: Instant,
    /// Its trees, in memory.
    warming: Warming,
    warm: Option<WarmTrees>,
    /// Whether there will be trees for it to go on with.
    has_trees: bool,
    /// The version of the snapshot, which is the oldest one there.
    height: Option<Version>,
    /// Since when the switch is wanted.
    wanted: Option<Instant>,
    /// When the switch was begun.
    begins: Option<Instant>,
    /// When the newest version was applied, and about how many seconds one takes.
    pace: Option<(Instant, Version, f64)>,
}

impl Embedded {
    pub fn new(store: Arc<RootStore>, shared: Arc<Shared>, woken: Receiver<()>, has_trees: bool) -> Embedded {
        Embedded {
            store,
            shared,
            woken,
            layout: None,
            convergence: Convergence::default(),
            began: Instant::now(),
            warming: Warming::default(),
            warm: None,
            has_trees,
            height: None,
            wanted: None,
            begins: None,
            pace: None,
        }
    }

    fn latest(&self) -> Version {
        self.store.latest().map_or(Version(0), |info| info.version)
    }

    fn note(&mut self, tip: Version, applied: Version, waiting: &str) {
        let outlook = self.convergence.with(self.began.elapsed().as_secs_f64(), tip.0, applied.0);
        let mut report = self.shared.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.set(tip.0, &outlook);
        waiting.clone_into(&mut report.waiting);
    }
}

impl Embedded {
    /// Says for how long commits are about to be held back: for what is left to be applied, and for one transaction of the journal,
    /// which takes as long as the one did that the switch began with.
    fn foresee(&mut self, applied: Version) {
        let left = self.latest().0.saturating_sub(applied.0) as f64;
        let each = self.pace.map_or(0.0, |(_, _, each)| each);
        let applying = if left > 0.0 && each.is_finite() { left * each } else { 0.0 };
        let pause = self.begins.take().map_or(0.0, |begins| begins.elapsed().as_secs_f64()) + applying;
        let most = self.shared.max_pause.as_secs_f64();
        tracing::info!(version = %applied, left, predicted_pause = pause, max_pause = most, "the switch begins");
        let asked = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        self.shared.report.lock().unwrap_or_else(PoisonError::into_inner).switch = Some(Switch {
            asked,
            ready: true,
            predicted_pause: Some(pause),
            max_pause: Some(most),
            ..Switch::default()
        });
    }
}

impl Chain for Embedded {
    fn next(&mut self, moment: &Moment<'_>) -> Result<Turn, Error> {
        self.applied(moment.applied);
        loop {
            if self.shared.overrun.load(Ordering::SeqCst) {
                return Err(Error::Stopped("the chain kept more versions for it than it may".to_owned()));
            }
            if moment.stop.is_asked() {
                return Err(Error::Stopped(moment.stop.reason().unwrap_or_else(|| "on request".to_owned())));
            }
            if self.latest() > moment.applied {
                self.note(self.latest(), moment.applied, "");
                return Ok(Turn::More);
            }
            if self.has_trees && self.shared.switch.load(Ordering::SeqCst) {
                let go_on = || !moment.stop.is_asked() && self.shared.switch.load(Ordering::SeqCst);
                let sc = moment.target.sc.as_deref();
                if let Some(sc) = sc
                    && self.warming.keep_up(&self.store, sc, &self.shared.recent, moment.applied, &go_on)
                {
                    // That took its time; a moment to switch in was not waited for yet.
                    self.wanted = None;
                    continue;
                }
                // Right after a commit there is the most time until the next one, which would have to wait.
                if self.shared.recent.is_near(Instant::now()) {
                    let _ = self.woken.recv_timeout(MOMENT);
                    continue;
                }
                self.begins = Some(Instant::now());
                return Ok(Turn::Switch);
            }
            self.note(moment.applied, moment.applied, "for the chain to commit more");
            // Woken or not, it looks again.
            let _ = self.woken.recv_timeout(MOMENT);
        }
    }

    fn applied(&mut self, version: Version) {
        let now = Instant::now();
        self.wanted = self.shared.switch.load(Ordering::SeqCst).then(|| self.wanted.unwrap_or(now));
        let seconds = self.pace.filter(|(_, last, _)| *last < version).map_or(f64::INFINITY, |(then, last, before)| {
            let each = now.duration_since(then).as_secs_f64() / (version.0 - last.0) as f64;
            if before.is_finite() { (before * 3.0 + each) / 4.0 } else { each }
        });
        self.pace = Some((now, version, seconds));
        self.note(self.latest(), version, "");
        match self.store.hold(version) {
            Ok(hold) => self.shared.hold(Some(hold)),
            // It was given up because of the budget: `next` says so.
            Err(error) => tracing::debug!(%error, "a version is not held"),
        }
    }

    /// A chain that commits one version after the other without a pause is never quite caught up with. What is left is applied while
    /// it stands still, if that takes little of the pause it allows.
    fn would_switch(&self, applied: Version, tip: Version) -> bool {
        let Some((_, _, each)) = self.pace else { return false };
        if self.wanted.is_none_or(|since| since.elapsed() < PATIENCE) {
            return false;
        }
        let left = tip.0.saturating_sub(applied.0) as f64;
        self.has_trees
            && self.shared.switch.load(Ordering::SeqCst)
            && left * each < self.shared.max_pause.as_secs_f64() / 4.0
    }

    fn hands_over(&self) -> bool {
        false
    }

    fn fence(&mut self, moment: &Moment<'_>) -> Result<Fencing, Error> {
        self.foresee(moment.applied);
        tracing::debug!(stage = "fence", "switching");
        self.height = moment.state.phase.height();
        let latest = self.store.close(self.shared.max_pause).map_or(Version(0), |info| info.version);
        if latest < moment.applied {
            return Ok(Fencing::Refused(format!("the chain stands at version {latest}, before what is applied")));
        }
        Ok(Fencing::Raised(latest))
    }

    fn seal(&mut self, target: &mut Target) -> Result<bool, Error> {
        let broken = |why: String| Error::Blocked {
            what: format!("the chain cannot go on with what was migrated: {why}"),
            advice: "It stays on store/v1. Please report this with the output of `storeshift journal`.".to_owned(),
        };
        let sc = target.sc.take().ok_or_else(|| broken("there are no trees".to_owned()))?;
        tracing::debug!(stage = "seal", "switching");
        self.warm = self.warming.take(sc.as_ref(), &self.shared.recent, self.latest());
        let layout = V2Layout::at_rest(sc, target.ss.take()).map_err(|error| match error {
            // An engine that cannot be written now is tried again.
            StoreError::Target(error) => Error::Target(error),
            error => broken(error.to_string()),
        })?;
        // Sealed after that, because it syncs the engines: for those a commit waits no longer than it must.
        if !self.store.seal() {
            let (sc, ss) = layout.into_engines();
            (target.sc, target.ss) = (Some(sc), ss);
            return Ok(false);
        }
        self.layout = Some(Arc::new(layout));
        tracing::debug!(stage = "record", "switching");
        Ok(true)
    }

    fn doubt(&mut self) {
        // If the switch is recorded after all, store/v1 goes on beyond it with the next commit: whoever opens the two finds that out,
        // and goes by store/v1. If no commit follows, both are the same.
        tracing::error!("whether the switch is recorded is not known: the chain goes on with store/v1");
        self.layout = None;
        self.store.open_gate();
    }

    fn lift(&mut self, why: &str) {
        self.layout = None;
        self.shared.report.lock().unwrap_or_else(PoisonError::into_inner).last_failure = Some(why.to_owned());
        self.store.open_gate();
    }

    fn switched(&mut self, version: Version) {
        tracing::debug!(stage = "recorded", "switching");
        let layout = self.layout.take();
        let (compacts, warm) = (layout.clone(), self.warm.take());
        let switched = layout.map(|layout| self.store.switch_to(layout as Arc<dyn Layout>, true, self.height, warm));
        match switched {
            Some(Ok(former)) => {
                tracing::debug!(stage = "open", "switching");
                self.note(version, version, "");
                *self.shared.former.lock().unwrap_or_else(PoisonError::into_inner) = Some(former);
            }
            // It is recorded, so store/v1 must not go on; opened anew, the store is on store/v2.
            Some(Err(error)) => {
                self.store.break_off(format!("the switch is recorded and could not be followed: {error}"))
            }
            None => self.store.break_off("the switch is recorded without anything to go on with".to_owned()),
        }
        // The chain goes on by now.
        if let Some(Err(error)) = compacts.map(|layout| layout.compact()) {
            tracing::warn!(%error, "store/v2 is not compacted until it is opened anew");
        }
        self.shared.hold(None);
    }

    fn report(&self) -> Option<Arc<Mutex<Following>>> {
        Some(self.shared.report.clone())
    }
}

impl Drop for Embedded {
    /// However an attempt ends, by a panic too, commits do not wait for it. What is held is held for the next one.
    fn drop(&mut self) {
        self.store.open_gate();
    }
}
