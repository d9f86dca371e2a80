//! Steering a job that runs: what an operator asked and how the machine is doing, looked at again and again, become the
//! governor's limits and readings; how the governor stands becomes words for the status.

use super::{
    Migrator,
    status::{Limited, Wait},
};
use crate::{
    governor::{Gauge, Governor, Held, Limits, Stopped, Urgent},
    journal::control::{self, Control, ControlError},
    machine::Step,
    plan::{Tuning, Yielding},
    target::Place,
};
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Steers one run.
pub(super) struct Steering {
    place: Option<Place>,
    governor: Governor,
    tuning: Tuning,
    /// Whether a node has the source open.
    is_beside: bool,
    /// What was asked when it could be read last.
    asked: Control,
    paused_by_file: bool,
    /// What was warned of last.
    warned: Vec<String>,
}

/// The limits a run begins with, until somebody asks for others.
pub(super) fn limits_of(tuning: Tuning) -> Limits {
    let Tuning { bytes_per_second, yielding, .. } = tuning;
    Limits { bytes_per_second, yielding, ..Limits::default() }
}

/// Waits until a step may begin, and says whether it is urgent: a chain that is fenced waits for the switch, so nothing holds that
/// up. A pause is heeded before.
pub(super) fn before<'a>(step: &Step, governor: &'a Governor) -> Result<Option<Urgent<'a>>, Stopped> {
    match step {
        Step::Fence | Step::Drain { .. } | Step::Check { .. } | Step::Flip { .. } => Ok(Some(governor.urgent())),
        Step::Finished | Step::Wait(_) | Step::Wipe => Ok(None),
        _ => governor.turn().map(|()| None),
    }
}

impl Migrator {
    /// What the run's work is governed by: to pause and to limit it from within this process. A job on a directory that is
    /// [started](Migrator::start) is steered by its control file instead.
    #[must_use]
    pub fn governor(&self) -> Governor {
        self.governor.clone()
    }
}

/// How things stand, in words.
pub(super) struct Steered {
    pub wait: Option<Wait>,
    pub limits: Limited,
    /// How long this run has been held up.
    pub held: Duration,
}

impl Steering {
    /// What was asked before holds from the start.
    pub fn new(job: &Migrator) -> Steering {
        Steering {
            place: job.place.clone(),
            governor: job.governor.clone(),
            tuning: job.tuning,
            is_beside: job.checkpoint.is_some(),
            asked: Control::new(),
            paused_by_file: false,
            warned: Vec::new(),
        }
    }

    /// Looks at everything once.
    pub fn look(&mut self) -> Steered {
        let mut notes = self.read();
        let limits = self.limits();
        let (yielding, workers) = (limits.yielding, limits.workers.unwrap_or(self.tuning.workers));
        if yielding == Yielding::Strict || yielding == Yielding::Auto && self.is_beside {
            self.governor.report(Gauge::IoPressure, io_pressure(Path::new("/")));
        }
        // Without a place there is nobody but the owner of the governor to ask for anything.
        if self.place.is_some() {
            self.governor.set(limits);
        }
        let standing = self.governor.standing();
        if yielding != Yielding::Off {
            notes.extend(standing.unmeasured.iter().map(|what| format!("{what} cannot be measured")));
        }
        for note in notes.iter().filter(|note| !self.warned.contains(note)) {
            tracing::warn!("{note}");
        }
        self.warned.clone_from(&notes);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wait = standing.wait.map(|wait| {
            let is_pause = matches!(wait.held, Held::Pausing | Held::Paused);
            // A pause may be older than this run.
            let asked = self.asked.paused_since.filter(|_| is_pause && self.asked.paused);
            let since = asked.unwrap_or(now.saturating_sub(wait.lasts).as_secs());
            Wait { kind: kind(wait.held).to_owned(), why: wait.why, since }
        });
        let limits = Limited {
            bytes_per_second: standing.limits.bytes_per_second,
            workers,
            yielding: yielding.to_string(),
            notes,
        };
        Steered { wait, limits, held: standing.held }
    }

    /// Reads what was asked. What cannot be read or trusted changes nothing, and is said.
    fn read(&mut self) -> Vec<String> {
        let Some(place) = &self.place else { return Vec::new() };
        let mut notes = Vec::new();
        let mut note = |error: ControlError| notes.push(format!("ignored: {error}"));
        match control::read(&place.journal()) {
            Ok(asked) => self.asked = asked,
            Err(error) => note(error),
        }
        match control::has_pause_file(place.root()) {
            Ok(is_there) => self.paused_by_file = is_there,
            Err(error) => note(error),
        }
        notes
    }

    fn limits(&self) -> Limits {
        let root = self.place.as_ref().map(|place| place.root().display().to_string()).unwrap_or_default();
        let by_command = format!("`storeshift resume --target {root}` lets it go on");
        let by_file = format!("removing {root}/{} lets it go on", control::PAUSE_FILE);
        let paused = match (self.asked.paused, self.paused_by_file) {
            (false, false) => None,
            (true, false) => Some(by_command),
            (false, true) => Some(by_file),
            (true, true) => Some(format!("{by_command} once {root}/{} is removed", control::PAUSE_FILE)),
        };
        Limits {
            paused,
            bytes_per_second: match self.asked.bytes_per_second {
                Some(limit) => Some(limit).filter(|limit| *limit > 0),
                None => self.tuning.bytes_per_second,
            },
            // Memory was shared out for as many as the run began with.
            workers: self.asked.workers.map(|workers| workers.min(self.tuning.workers)),
            yielding: self.asked.yielding.unwrap_or(self.tuning.yielding),
        }
    }
}

fn kind(held: Held) -> &'static str {
    match held {
        Held::Pausing => "pausing",
        Held::Paused => "paused",
        Held::Yielding => "yielding",
        Held::Limited => "limited",
    }
}

/// Per cent of the last ten seconds in which some task of the machine waited for the disk; none where the kernel does not say.
fn io_pressure(root: &Path) -> Option<f64> {
    let text = fs::read_to_string(root.join("proc/pressure/io")).ok()?;
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split(' ').find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_word_on_pressure_is_read_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let of = |text: Option<&str>| {
            let path = dir.path().join("proc/pressure");
            fs::create_dir_all(&path).unwrap();
            let _ = fs::remove_file(path.join("io"));
            if let Some(text) = text {
                fs::write(path.join("io"), text).unwrap();
            }
            io_pressure(dir.path())
        };
        let full = "full avg10=7.00 avg60=0.13 avg300=1.47 total=151842041\n";
        assert_eq!(of(Some(&format!("some avg10=8.25 avg60=3.95 avg300=4.34 total=676655199\n{full}"))), Some(8.25));
        assert_eq!(of(Some(full)), None);
        assert_eq!(of(Some("some avg60=3.95\n")), None);
        assert_eq!(of(None), None);
    }
}
