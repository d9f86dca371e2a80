//! The governor: when work may go on. Everybody at work asks it between two units and waits there while the job is paused,
//! yields to a chain that suffers, has used up its bytes, or has more units in work than it may.
//!
//! Owns the waiting, and the reason for it. Decisions are made by a pure model (`model`, `bucket`, `pressure`) that is given the
//! time. Nobody may ask while holding what others need to get on: a unit of work is what lies between two askings.

mod bucket;
mod model;
mod pressure;
#[cfg(test)]
mod tests;

use crate::progress::Stop;
use model::{Hold, Model};
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::ThreadId,
    time::{Duration, Instant},
};

pub use model::Limits;
pub use pressure::Gauge;

/// A rate that made somebody wait so recently is what holds the work up.
const JUST_NOW: Duration = Duration::from_secs(1);

/// Somebody asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// A handle on the governor of a job; clones share it.
#[derive(Clone, Debug)]
pub struct Governor {
    shared: Arc<Shared>,
    stop: Stop,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    began: Instant,
}

#[derive(Debug, Default)]
struct State {
    model: Model,
    /// Who has a unit in work.
    seated: Vec<ThreadId>,
    waiting: usize,
    /// Results that are on their way to be recorded.
    unrecorded: usize,
    /// When somebody waited for bytes last, and since when that goes on.
    rate: Option<(Duration, Duration)>,
    /// Another worker failed: nobody is to wait any more.
    dismissed: bool,
}

/// What holds a job up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Paused; units in work are being finished.
    Pausing,
    /// Paused, and nothing is done any more.
    Paused,
    /// The chain or the machine suffers.
    Yielding,
    /// The limit on bytes per second.
    Limited,
}

/// What holds a job up, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Kind of reason.
    pub held: Held,
    /// In words.
    pub why: String,
    /// For how long.
    pub lasts: Duration,
}

/// How things stand at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What holds the job up, if anything does.
    pub wait: Option<Wait>,
    /// The limits in force.
    pub limits: Limits,
    /// How long the job has been paused or yielding in this run, all its times together.
    pub held: Duration,
    /// What should be measured and cannot be.
    pub unmeasured: Vec<&'static str>,
}

impl Governor {
    /// A governor without limits.
    #[must_use]
    pub fn new(stop: Stop) -> Governor {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), began: Instant::now() });
        let waiting = Arc::downgrade(&shared);
        stop.when_asked(move || {
            if let Some(shared) = waiting.upgrade() {
                // Whoever is between looking at the request and waiting has the lock.
                drop(shared.lock());
                shared.changed.notify_all();
            }
        });
        Governor { shared, stop }
    }

    /// Sets all limits; whoever waits looks at the new ones at once.
    pub fn set(&self, limits: Limits) {
        let mut state = self.shared.lock();
        if state.model.limits != limits {
            state.model.set(limits, self.shared.now());
            self.shared.changed.notify_all();
        }
    }

    /// Asked between two units of work: waits as long as nothing may begin, and gives way to others if fewer may work than do.
    ///
    /// # Errors
    /// Somebody asked to stop, before or meanwhile.
    pub fn turn(&self) -> Result<(), Stopped> {
        let mut state = self.shared.lock();
        let was_seated = state.stand_up();
        self.wait(state, was_seated)
    }

    /// A seat for the calling thread, which works on one unit after the other until it drops it. Waits for one as long as there
    /// are too few.
    ///
    /// # Errors
    /// As [`Governor::turn`].
    pub fn seat(&self) -> Result<Seat<'_>, Stopped> {
        self.wait(self.shared.lock(), true)?;
        Ok(Seat(self))
    }

    /// Says that so many bytes were moved; they are waited for at the next turn.
    pub fn spend(&self, bytes: u64) {
        let now = self.shared.now();
        self.shared.lock().model.spend(bytes, now);
    }

    /// Takes a reading of a gauge; none if it could not be read. A gauge counts from its first report on.
    pub fn report(&self, gauge: Gauge, reading: Option<f64>) {
        let mut state = self.shared.lock();
        state.model.report(gauge, reading, self.shared.now());
        if state.waiting > 0 {
            self.shared.changed.notify_all();
        }
    }

    /// Says that there is nothing to read of a gauge any more, and nothing missing: it counts again from its next report on.
    pub fn forget(&self, gauge: Gauge) {
        let mut state = self.shared.lock();
        state.model.forget(gauge);
        if state.waiting > 0 {
            self.shared.changed.notify_all();
        }
    }

    /// As long as it is kept nothing is held up: the chain stands still and waits for what is being done. Requests to stop are
    /// heeded.
    #[must_use]
    pub fn urgent(&self) -> Urgent<'_> {
        self.shared.lock().model.urgent += 1;
        self.shared.changed.notify_all();
        Urgent(self)
    }

    /// How things stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let mut state = self.shared.lock();
        let now = self.shared.now();
        let held = state.model.held(now);
        let (limits, unmeasured) = (state.model.limits.clone(), state.model.unmeasured(now));
        Standing { wait: state.standing(now), limits, held, unmeasured }
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.is_asked()
    }

    /// Workers whose waiting can be ended because one of them failed.
    pub(crate) fn crew(&self) -> Crew<'_> {
        let mut state = self.shared.lock();
        (state.dismissed, state.unrecorded) = (false, 0);
        Crew(self)
    }

    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>, seated: bool) -> Result<(), Stopped> {
        let mut is_told = false;
        loop {
            if self.stop.is_asked() || state.dismissed {
                return Err(Stopped);
            }
            let now = self.shared.now();
            let working = seated.then_some(state.seated.len());
            let Some((hold, until)) = state.model.hold(working, now) else {
                if seated {
                    state.seated.push(std::thread::current().id());
                }
                return Ok(());
            };
            if hold == Hold::Rate {
                let since =
                    state.rate.filter(|(last, _)| now.saturating_sub(*last) < JUST_NOW).map_or(now, |(_, since)| since);
                state.rate = Some((until.unwrap_or(now), since));
            }
            if !std::mem::replace(&mut is_told, true) && state.waiting > 0 {
                // The seat that was given up may be what another one waits for.
                self.shared.changed.notify_all();
            }
            state.waiting += 1;
            state = match until {
                None => self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let patience = until.saturating_sub(now);
                    self.shared.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.waiting -= 1;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl State {
    /// Gives up the calling thread's seat, if it has one.
    fn stand_up(&mut self) -> bool {
        let me = std::thread::current().id();
        let at = self.seated.iter().position(|thread| *thread == me);
        at.map(|at| self.seated.swap_remove(at)).is_some()
    }

    fn standing(&mut self, now: Duration) -> Option<Wait> {
        if self.model.urgent > 0 {
            return None;
        }
        if let (Some(by), Some(since)) = (&self.model.limits.paused, self.model.paused_since) {
            let in_work = self.seated.len() + self.unrecorded;
            let at_rest = in_work == 0 && self.waiting > 0;
            let held = if at_rest { Held::Paused } else { Held::Pausing };
            let why = if at_rest { by.clone() } else { format!("{by}; what is in work is being finished") };
            return Some(Wait { held, why, lasts: now.saturating_sub(since) });
        }
        if let Some(pressed) = self.model.pressed(now) {
            return Some(Wait { held: Held::Yielding, why: pressed.why, lasts: now.saturating_sub(pressed.since) });
        }
        let (last, since) = self.rate?;
        let rate = self.model.limits.bytes_per_second?;
        // `last` lies ahead as long as somebody waits.
        (now.saturating_sub(last) < JUST_NOW).then(|| Wait {
            held: Held::Limited,
            why: format!("the limit is {:.1} MiB/s", rate as f64 / f64::from(1 << 20)),
            lasts: now.saturating_sub(since),
        })
    }
}

/// A seat among those who work.
#[derive(Debug)]
pub struct Seat<'a>(&'a Governor);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut state = self.0.shared.lock();
        state.stand_up();
        if state.waiting > 0 {
            self.0.shared.changed.notify_all();
        }
    }
}

/// See [`Governor::urgent`].
#[derive(Debug)]
pub struct Urgent<'a>(&'a Governor);

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        let mut state = self.0.shared.lock();
        state.model.urgent = state.model.urgent.saturating_sub(1);
    }
}

/// See [`Governor::crew`].
#[derive(Debug)]
pub(crate) struct Crew<'a>(&'a Governor);

impl Crew<'_> {
    /// A result is handed over.
    pub(crate) fn hand_over(&self) {
        self.0.shared.lock().unrecorded += 1;
    }

    /// It was recorded.
    pub(crate) fn recorded(&self) {
        let mut state = self.0.shared.lock();
        state.unrecorded = state.unrecorded.saturating_sub(1);
    }

    /// Ends all waiting: one of them failed, and said so before.
    pub(crate) fn dismiss(&self) {
        self.0.shared.lock().dismissed = true;
        self.0.shared.changed.notify_all();
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        let mut state = self.0.shared.lock();
        (state.dismissed, state.unrecorded) = (false, 0);
    }
}
