//! The status of a job: what an operator or a monitor sees, as one flat record.

use crate::{
    error::Error,
    machine::{Fence, Phase, State},
    migrator::Following,
    progress::{Counts, StepTime},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a job is doing. Written to `journal/status.json` while it runs; field names are stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Layout of this record, 1.
    pub format: u32,
    /// Release that wrote it.
    pub release: String,
    /// Job id, hex.
    pub job: String,
    /// Where the job reads.
    pub source: String,
    /// The checkpoint that is read in its stead, if a node has it open.
    #[serde(default)]
    pub checkpoint: Option<String>,
    /// Where it writes.
    pub target: String,
    /// `sc+ss`, `sc` or `ss`.
    pub parts: String,
    /// Phase name.
    pub phase: String,
    /// Phase and position in words.
    pub summary: String,
    /// Snapshot version.
    pub height: Option<u64>,
    /// App hash of the snapshot version, hex.
    pub app_hash: String,
    /// The running node that is followed, if one is.
    #[serde(default)]
    pub following: Option<Following>,
    /// How often a switch was tried and undone, or damage repaired, in this epoch.
    #[serde(default)]
    pub attempts: u32,
    /// Which snapshot this is: 1, and one more each time the job had to begin anew.
    #[serde(default)]
    pub epoch: u32,
    /// Why it began anew the last time, in words.
    #[serde(default)]
    pub epoch_reason: Option<String>,
    /// Whether memory stores are left out of `app_hash`.
    #[serde(default)]
    pub memory_stores_left_out: bool,
    /// Newest version in the source when the run began, or seen of the node since.
    pub tip: u64,
    /// Newest version that is durable and proven in the target.
    pub applied: Option<u64>,
    /// Chunks: in the manifest, durable, read back and proven.
    pub chunks: (u64, u64, u64),
    /// Counters.
    pub counts: Counts,
    /// Pairs per second of this run, restoring and reading back counted as half each.
    pub pairs_per_second: f64,
    /// Bytes of keys and values per second of this run.
    pub bytes_per_second: f64,
    /// Seconds this run has lasted.
    pub elapsed_seconds: f64,
    /// How long each step of this run has taken, the one in work not included.
    #[serde(default)]
    pub steps: Vec<StepTime>,
    /// What holds the work up, if anything does.
    #[serde(default)]
    pub wait: Option<Wait>,
    /// What limits the work.
    #[serde(default)]
    pub limits: Option<Limited>,
    /// Seconds left, if that can be told.
    pub eta_seconds: Option<f64>,
    /// Bytes free on the target's file system.
    pub disk_free: Option<u64>,
    /// Process that wrote it.
    pub pid: u32,
    /// Unix seconds when it was written.
    pub updated: u64,
    /// Why the last run ended before the job was done, in words; none while one is running, or if it was killed.
    #[serde(default)]
    pub error: Option<String>,
    /// What to do next, in words.
    pub next: String,
}

/// What holds a job up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// `pausing` (units in work are being finished), `paused` (nothing is done any more), `yielding` or `limited`.
    pub kind: String,
    /// Why, in words.
    pub why: String,
    /// Unix seconds since when.
    pub since: u64,
}

/// What limits a job now, be it by its options or by what an operator asked since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// Bytes of records per second, read and written together.
    pub bytes_per_second: Option<u64>,
    /// Units of work at the same time.
    pub workers: usize,
    /// `off`, `auto` or `strict`.
    #[serde(rename = "yield")]
    pub yielding: String,
    /// What an operator should know: what cannot be measured, or asked for by whom it may not.
    pub notes: Vec<String>,
}

impl Wait {
    /// Whether the job stands still on request.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        matches!(self.kind.as_str(), "pausing" | "paused")
    }
}

impl Status {
    /// The layout this release writes, and knows.
    pub const FORMAT: u32 = 1;

    /// Fills in what follows from the state.
    pub fn set_state(&mut self, state: &State) {
        let phase = &state.phase;
        (self.epoch, self.attempts) = (state.epoch, state.attempt);
        self.epoch_reason = state.cause.map(|cause| cause.to_string());
        self.phase = phase.name().to_owned();
        self.summary = phase.to_string();
        self.height = phase.height().map(|height| height.0).or(self.height);
        self.applied = phase.applied().map(|applied| applied.0);
        if let Phase::Restoring { chunks, restored, proven, .. } = phase {
            self.chunks = (*chunks, restored.count(), proven.count());
        } else if phase.applied().is_some() {
            self.chunks = (self.chunks.0, self.chunks.0, self.chunks.0);
        }
        self.next = match phase {
            Phase::Done { finished: true, .. } => "nothing: the store/v1 database may be removed",
            Phase::Done { .. } => {
                "start the node on store/v2; `storeshift verify` proves the target again, `storeshift back` gives the chain back, \
                 `storeshift finish` rules that out"
            }
            Phase::Halted { .. } => "look at the verdict, then `storeshift verify --repair` or `storeshift abort`",
            Phase::Aborted => "store/v1 is of record; `storeshift abort` wipes the target",
            Phase::Switching { fence: Fence::Raising, .. } => "wait, or run again",
            _ => "if it is not running, run the same `storeshift run` again to continue",
        }
        .to_owned();
    }

    /// Fills in why a run has ended.
    pub fn set_error(&mut self, error: &Error) {
        self.error = Some(error.to_string());
        self.next = error.advice();
    }

    /// Fills in the counters, and rates and time left that follow from them and those at the start of the run. While the run was
    /// `held` it was not slow.
    pub fn set_counts(&mut self, counts: Counts, at_start: Counts, elapsed: Duration, held: Duration) {
        self.counts = counts;
        self.elapsed_seconds = elapsed.as_secs_f64();
        let elapsed = elapsed.saturating_sub(held).as_secs_f64();
        let done = |counts: Counts| (counts.pairs_restored + counts.pairs_proven) as f64 / 2.0;
        let per_second = |amount: f64| if elapsed > 0.0 { amount / elapsed } else { 0.0 };
        self.pairs_per_second = per_second(done(counts) - done(at_start));
        self.bytes_per_second = per_second(counts.bytes as f64);
        let left = counts.pairs_total as f64 - done(counts);
        let versions_left = self.tip.saturating_sub(self.applied.unwrap_or(self.tip)) as f64;
        let versions_per_second = per_second(counts.versions as f64);
        self.eta_seconds = match self.phase.as_str() {
            "Restoring" if self.pairs_per_second > 0.0 => Some(left / self.pairs_per_second),
            "Syncing" if versions_per_second > 0.0 => Some(versions_left / versions_per_second),
            _ => None,
        };
    }

    /// Fills in what holds the work up. Nobody can tell how long a pause lasts, nor how long others need the disk.
    pub fn set_wait(&mut self, wait: Option<Wait>, limits: Limited) {
        let is_over = matches!(self.phase.as_str(), "Done" | "Halted" | "Aborted");
        self.wait = wait.filter(|_| !is_over);
        if self.wait.as_ref().is_some_and(|wait| wait.kind != "limited") {
            self.eta_seconds = None;
        }
        self.limits = Some(limits);
    }
}
