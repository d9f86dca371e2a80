//! How far an examination is, for whoever draws progress.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What is being done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// All records of all stores are walked over; counted in bytes.
    #[default]
    Scanning,
    /// The newest version is proven; counted in pairs.
    Proving,
    /// What older versions have of their own is proven; counted in versions.
    Walking,
}

struct Current {
    step: Step,
    total: u64,
    since: Instant,
}

/// Counters of one examination.
pub struct Watch {
    current: Mutex<Current>,
    done: [AtomicU64; 3],
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What is being done.
    pub step: Step,
    /// How much of it is done.
    pub done: u64,
    /// How much there is, as far as known.
    pub total: u64,
    /// How long that took.
    pub spent: Duration,
}

impl Default for Watch {
    fn default() -> Watch {
        let current = Current { step: Step::Scanning, total: 0, since: Instant::now() };
        Watch { current: Mutex::new(current), done: Default::default() }
    }
}

impl Watch {
    pub(super) fn begin(&self, step: Step, total: u64) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Current { step, total, since: Instant::now() };
    }

    pub(super) fn advance(&self, step: Step, by: u64) {
        if let Some(done) = self.done.get(step as usize) {
            done.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Where the examination stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.done.get(current.step as usize).map_or(0, |done| done.load(Ordering::Relaxed));
        Standing { step: current.step, done, total: current.total, spent: current.since.elapsed() }
    }
}

impl Standing {
    /// How long the rest of this step takes, if it goes on as it did.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let rest = self.total.checked_sub(self.done)?;
        (self.done > 0).then(|| self.spent.mul_f64(rest as f64 / self.done as f64))
    }
}
