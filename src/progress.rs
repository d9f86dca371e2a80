//! Progress: counters that the workers raise and anybody may read at any time.

use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Counters of one run. Raised by workers without a lock; a reader sees each a moment old.
#[derive(Debug, Default)]
pub struct Progress {
    /// Pairs to restore, and so to prove, at the snapshot version.
    pub pairs_total: AtomicU64,
    /// Pairs restored and durable, earlier runs included.
    pub pairs_restored: AtomicU64,
    /// Pairs read back from the target and proven, earlier runs included.
    pub pairs_proven: AtomicU64,
    /// Bytes of keys and values restored by this run.
    pub bytes: AtomicU64,
    /// Pairs read from the source by this run, durable or not yet.
    pub pairs_read: AtomicU64,
    /// Versions applied by this run after the snapshot.
    pub versions: AtomicU64,
    /// Changes applied by this run after the snapshot.
    pub changes: AtomicU64,
    /// Pairs proven by `verify` in this run.
    pub pairs_verified: AtomicU64,
    steps: Mutex<Vec<StepTime>>,
}

/// How long one step of the machine has taken in this run, all its times together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    /// The step, e.g. `restore`.
    pub step: String,
    /// Seconds.
    pub seconds: f64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// See [`Progress::pairs_total`].
    pub pairs_total: u64,
    /// See [`Progress::pairs_restored`].
    pub pairs_restored: u64,
    /// See [`Progress::pairs_proven`].
    pub pairs_proven: u64,
    /// See [`Progress::bytes`].
    pub bytes: u64,
    /// See [`Progress::pairs_read`].
    pub pairs_read: u64,
    /// See [`Progress::versions`].
    pub versions: u64,
    /// See [`Progress::changes`].
    pub changes: u64,
}

/// Raises a counter.
pub fn raise(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Takes back what was counted and does not count any more.
pub fn lower(counter: &AtomicU64, by: u64) {
    counter.fetch_sub(by, Ordering::Relaxed);
}

impl Progress {
    /// Adds to the time of a step.
    pub fn spend(&self, step: &str, time: Duration) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        match steps.iter_mut().find(|known| known.step == step) {
            Some(known) => known.seconds += time.as_secs_f64(),
            None => steps.push(StepTime { step: step.to_owned(), seconds: time.as_secs_f64() }),
        }
    }

    /// The steps of this run that have ended, in the order they first did.
    #[must_use]
    pub fn steps(&self) -> Vec<StepTime> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counters now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            pairs_total: get(&self.pairs_total),
            pairs_restored: get(&self.pairs_restored),
            pairs_proven: get(&self.pairs_proven),
            bytes: get(&self.bytes),
            pairs_read: get(&self.pairs_read),
            versions: get(&self.versions),
            changes: get(&self.changes),
        }
    }
}

/// A request to stop, shared by everybody who may make it and everybody who must heed it. The first reason stays.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    reason: Arc<Mutex<Option<String>>>,
    listeners: Arc<Mutex<Listeners>>,
}

/// Whoever waits for something else and must not miss the request.
#[derive(Default)]
struct Listeners(Vec<Box<dyn Fn() + Send + Sync>>);

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} listeners", self.0.len())
    }
}

impl Stop {
    /// Asks everybody to finish the work in flight and stop.
    pub fn ask(&self, reason: impl Into<String>) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason.into());
        self.asked.store(true, Ordering::SeqCst);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).0.iter().for_each(|listener| listener());
    }

    /// Calls `listener` with every request, after it can be seen.
    pub fn when_asked(&self, listener: impl Fn() + Send + Sync + 'static) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).0.push(Box::new(listener));
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Why, if somebody asked.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
