//! Whether the machine, or the chain whose state is moved, suffers: readings of a few gauges, and what follows from them. Pure:
//! time is given from outside.
//!
//! A gauge is pressed from a high mark on, until it falls below a low one. While any is pressed all work yields, but for a
//! slice of time now and then, so that a migration cannot starve for ever.

use crate::plan::Yielding;
use std::time::Duration;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// Per cent of time in which some task waited for the disk, as `/proc/pressure/io` has it for the last ten seconds.
    IoPressure,
    /// Seconds between two versions of the chain, as they are seen in its database.
    BlockInterval,
    /// Seconds a commit took, in a node that has the migration in its own process.
    CommitLatency,
}

/// Longest time without any work, and the slice of time that is granted after it.
pub(super) const YIELD: Duration = Duration::from_secs(9);
pub(super) const SLICE: Duration = Duration::from_secs(1);

/// Readings after which it is known what is usual.
const FIRST: u32 = 5;
/// A reading is of no use any more after so long, or after so many usual block intervals.
const STALE: Duration = Duration::from_secs(60);
const STALE_INTERVALS: f64 = 20.0;
/// How much a reading counts in the smoothed value; and in what is usual, in quiet times and others. What is usual follows
/// even under pressure, slowly: a chain that changed its pace for good is not under pressure for ever.
const RECENT: f64 = 0.5;
const USUAL: f64 = 1.0 / 32.0;
const USUAL_PRESSED: f64 = 1.0 / 256.0;
/// Commits that take so little longer are nobody's concern, whatever the ratio is.
const LEAST_DELAY: f64 = 0.001;

impl Gauge {
    const ALL: [Gauge; 3] = [Gauge::IoPressure, Gauge::BlockInterval, Gauge::CommitLatency];

    /// Load from which on it is pressed, and below which it is not any more: per cent, or a ratio to what is usual.
    fn marks(self) -> (f64, f64) {
        match self {
            Gauge::IoPressure => (40.0, 20.0),
            Gauge::BlockInterval | Gauge::CommitLatency => (1.5, 1.2),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Gauge::IoPressure => "the machine's I/O pressure",
            Gauge::BlockInterval => "the pace of blocks",
            Gauge::CommitLatency => "the time of commits",
        }
    }
}

#[derive(Debug, Default)]
struct Meter {
    expected: bool,
    last: Option<(f64, Duration)>,
    /// Seconds between two reports, usually: a node that is looked at seldom says little of each block.
    gap: f64,
    recent: f64,
    usual: f64,
    readings: u32,
    pressed: bool,
}

impl Meter {
    fn report(&mut self, gauge: Gauge, reading: Option<f64>, now: Duration) {
        self.expected = true;
        let Some(reading) = reading.filter(|reading| reading.is_finite() && *reading >= 0.0) else {
            // It is not known any more how things are.
            self.last = None;
            self.pressed = false;
            return;
        };
        if let Some((_, before)) = self.last.replace((reading, now)) {
            let gap = now.saturating_sub(before).as_secs_f64();
            self.gap = if self.gap > 0.0 { self.gap + (gap - self.gap) * RECENT } else { gap };
        }
        if gauge == Gauge::IoPressure {
            self.press(gauge, reading);
            return;
        }
        self.readings = self.readings.saturating_add(1);
        if self.readings <= FIRST {
            self.usual += (reading - self.usual) / f64::from(self.readings);
            self.recent = self.usual;
            return;
        }
        self.recent += (reading - self.recent) * RECENT;
        let load = self.load();
        self.press(
            gauge,
            if gauge == Gauge::CommitLatency && self.recent - self.usual < LEAST_DELAY { 1.0 } else { load },
        );
        let weight = if self.pressed { USUAL_PRESSED } else { USUAL };
        self.usual += (reading - self.usual) * weight;
    }

    fn press(&mut self, gauge: Gauge, load: f64) {
        let (high, low) = gauge.marks();
        self.pressed = if self.pressed { load >= low } else { load >= high };
    }

    fn load(&self) -> f64 {
        if self.usual > 0.0 { self.recent / self.usual } else { 1.0 }
    }

    fn is_stale(&self, gauge: Gauge, now: Duration) -> bool {
        let Some((_, at)) = self.last else { return true };
        let interval = self.usual.max(self.gap);
        let intervals = if gauge == Gauge::BlockInterval { interval * STALE_INTERVALS } else { 0.0 };
        now.saturating_sub(at).as_secs_f64() > STALE.as_secs_f64().max(intervals)
    }

    /// In words, why to yield.
    fn complaint(&self, gauge: Gauge, strict: bool, now: Duration) -> Option<String> {
        if !self.expected {
            return None;
        }
        if self.is_stale(gauge, now) {
            return strict.then(|| format!("{} cannot be measured, which counts as pressure", gauge.name()));
        }
        let (reading, at) = self.last?;
        match gauge {
            Gauge::IoPressure => {
                self.pressed.then(|| format!("tasks waited for the disk {reading:.0} % of the last ten seconds"))
            }
            Gauge::BlockInterval => {
                // A block that does not come at all gives no reading, and is late all the same.
                let (waiting, (high, _)) = (now.saturating_sub(at).as_secs_f64(), gauge.marks());
                let patience = self.usual.max(self.gap) * 2.0 * high;
                let overdue = self.readings >= FIRST && waiting > patience;
                let load = if overdue { waiting / self.usual } else { self.load() };
                (self.pressed || overdue).then(|| format!("blocks come {load:.1} times as far apart as usual"))
            }
            Gauge::CommitLatency => {
                self.pressed.then(|| format!("commits take {:.1} times as long as usual", self.load()))
            }
        }
    }
}

/// All gauges, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    meters: [Meter; 3],
    /// Since when there is pressure.
    since: Option<Duration>,
    /// Since when no work is done for it.
    yielding: Option<Duration>,
    granted_until: Duration,
}

/// Why no work is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pressed {
    pub why: String,
    pub since: Duration,
    /// When to look again at the latest; none while a slice of time is granted.
    pub until: Option<Duration>,
}

impl Pressure {
    pub fn report(&mut self, gauge: Gauge, reading: Option<f64>, now: Duration) {
        if let Some(meter) = self.meters.get_mut(gauge as usize) {
            meter.report(gauge, reading, now);
        }
    }

    pub fn forget(&mut self, gauge: Gauge) {
        if let Some(meter) = self.meters.get_mut(gauge as usize) {
            *meter = Meter::default();
        }
    }

    /// Whether to yield now.
    pub fn look(&mut self, yielding: Yielding, now: Duration) -> Option<Pressed> {
        let Some(why) = self.complaint(yielding, now) else {
            (self.since, self.yielding) = (None, None);
            return None;
        };
        let since = *self.since.get_or_insert(now);
        if now < self.granted_until {
            return Some(Pressed { why, since, until: None });
        }
        let began = *self.yielding.get_or_insert(now);
        if now.saturating_sub(began) >= YIELD {
            self.yielding = None;
            self.granted_until = now + SLICE;
            return Some(Pressed { why, since, until: None });
        }
        Some(Pressed { why, since, until: Some(began + YIELD) })
    }

    fn complaint(&self, yielding: Yielding, now: Duration) -> Option<String> {
        if yielding == Yielding::Off {
            return None;
        }
        let complaints = Gauge::ALL.iter().zip(&self.meters);
        let complaints: Vec<String> = complaints
            .filter_map(|(gauge, meter)| meter.complaint(*gauge, yielding == Yielding::Strict, now))
            .collect();
        (!complaints.is_empty()).then(|| complaints.join(", and "))
    }

    /// Gauges that should be there and say nothing.
    pub fn unmeasured(&self, now: Duration) -> Vec<&'static str> {
        let meters = Gauge::ALL.iter().zip(&self.meters);
        meters
            .filter(|(gauge, meter)| meter.expected && meter.is_stale(**gauge, now))
            .map(|(gauge, _)| gauge.name())
            .collect()
    }
}
