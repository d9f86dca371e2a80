//! What may be done now: limits and readings in, a decision out. Pure: time is given from outside, and waiting is up to the
//! caller.

use super::{
    bucket::Bucket,
    pressure::{Gauge, Pressed, Pressure},
};
use crate::plan::Yielding;
use std::time::Duration;

/// What holds for everybody at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In words, what paused the work; none if it is not paused.
    pub paused: Option<String>,
    /// Bytes of records per second, read and written together, before compression.
    pub bytes_per_second: Option<u64>,
    /// Units of work at the same time.
    pub workers: Option<usize>,
    /// When to yield.
    pub yielding: Yielding,
}

impl Default for Limits {
    /// None, and never yielding.
    fn default() -> Limits {
        Limits { paused: None, bytes_per_second: None, workers: None, yielding: Yielding::Off }
    }
}

/// Why something may not begin.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Hold {
    Paused,
    Yielding(Pressed),
    Rate,
    Workers,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub limits: Limits,
    bucket: Bucket,
    pressure: Pressure,
    /// How many ask that nothing be held up.
    pub urgent: usize,
    pub paused_since: Option<Duration>,
    /// How long everything has been held up, up to `seen`.
    held: Duration,
    seen: Duration,
    was_held: bool,
}

impl Model {
    pub fn set(&mut self, limits: Limits, now: Duration) {
        self.bucket.set(limits.bytes_per_second, now);
        self.paused_since = limits.paused.as_ref().map(|_| self.paused_since.unwrap_or(now));
        self.limits = limits;
        self.account(now);
    }

    pub fn spend(&mut self, bytes: u64, now: Duration) {
        self.bucket.spend(bytes, now);
    }

    pub fn report(&mut self, gauge: Gauge, reading: Option<f64>, now: Duration) {
        self.pressure.report(gauge, reading, now);
    }

    pub fn forget(&mut self, gauge: Gauge) {
        self.pressure.forget(gauge);
    }

    /// What stands against beginning something now, and when to ask again at the latest. `working` are the units in work; none
    /// for what is no unit of its own.
    pub fn hold(&mut self, working: Option<usize>, now: Duration) -> Option<(Hold, Option<Duration>)> {
        if self.urgent > 0 {
            return None;
        }
        if let Some(held) = self.account(now) {
            return Some(held);
        }
        if let Some(wait) = self.bucket.wait(now) {
            return Some((Hold::Rate, Some(now.saturating_add(wait))));
        }
        let full = working.zip(self.limits.workers).is_some_and(|(working, most)| working >= most.max(1));
        full.then_some((Hold::Workers, None))
    }

    /// What holds everything up; and adds up for how long that has been so.
    fn account(&mut self, now: Duration) -> Option<(Hold, Option<Duration>)> {
        if self.was_held {
            self.held += now.saturating_sub(self.seen);
        }
        self.seen = self.seen.max(now);
        let pressed = self.pressure.look(self.limits.yielding, now);
        let hold = match pressed {
            _ if self.urgent > 0 => None,
            _ if self.limits.paused.is_some() => Some((Hold::Paused, None)),
            Some(pressed) if pressed.until.is_some() => {
                let until = pressed.until;
                Some((Hold::Yielding(pressed), until))
            }
            _ => None,
        };
        self.was_held = hold.is_some();
        hold
    }

    /// How long everything has been held up.
    pub fn held(&mut self, now: Duration) -> Duration {
        self.account(now);
        self.held
    }

    /// The pressure there is, also while a slice of time is granted.
    pub fn pressed(&mut self, now: Duration) -> Option<Pressed> {
        self.pressure.look(self.limits.yielding, now)
    }

    pub fn unmeasured(&self, now: Duration) -> Vec<&'static str> {
        self.pressure.unmeasured(now)
    }
}
