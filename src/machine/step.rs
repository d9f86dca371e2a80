//! Steps: the next unit of work a state implies.

use super::{Fence, Phase, State};
use crate::model::{Verdict, Version};

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Prove the spines at H and write the chunk manifest.
    Snapshot {
        /// H.
        height: Version,
    },
    /// Restore the chunks that are still open, in any order.
    Restore {
        /// H.
        height: Version,
    },
    /// Write spines, roots and empty stores at H.
    Join {
        /// H.
        height: Version,
    },
    /// Read the chunks that are still open back from the target and prove them.
    Prove {
        /// H.
        height: Version,
    },
    /// Recompute every root and the app hash from the target, and record commit info and watermarks at H.
    Conclude {
        /// H.
        height: Version,
    },
    /// Apply the next versions, or find that there are none.
    Sync {
        /// The newest version applied.
        applied: Version,
    },
    /// Stop commits to store/v1.
    Fence,
    /// Apply what store/v1 committed before it stopped.
    Drain {
        /// The newest version applied.
        applied: Version,
        /// The version store/v1 stands at.
        to: Version,
    },
    /// Compare the target with store/v1 at the fenced version.
    Check {
        /// The version.
        version: Version,
    },
    /// Make store/v2 the store of record: record Done.
    Flip {
        /// The version.
        version: Version,
    },
    /// Nothing: an operator must look at the verdict.
    Wait(Verdict),
    /// Nothing: it is over.
    Finished,
    /// Wipe what is left of the target, then the journal.
    Wipe,
}

impl Step {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Step::Snapshot { .. } => "snapshot",
            Step::Restore { .. } => "restore",
            Step::Join { .. } => "join",
            Step::Prove { .. } => "prove",
            Step::Conclude { .. } => "conclude",
            Step::Sync { .. } => "sync",
            Step::Fence => "fence",
            Step::Drain { .. } => "drain",
            Step::Check { .. } => "check",
            Step::Flip { .. } => "flip",
            Step::Wait(_) => "wait",
            Step::Finished => "finish",
            Step::Wipe => "wipe",
        }
    }
}

impl State {
    /// The step this state implies.
    #[must_use]
    pub fn next(&self) -> Step {
        match &self.phase {
            Phase::Snapshotting { height } => Step::Snapshot { height: *height },
            Phase::Restoring { height, chunks, restored, joined, proven } => {
                let height = *height;
                if restored.count() < *chunks {
                    Step::Restore { height }
                } else if !joined {
                    Step::Join { height }
                } else if proven.count() < *chunks {
                    Step::Prove { height }
                } else {
                    Step::Conclude { height }
                }
            }
            Phase::Syncing { applied, .. } => Step::Sync { applied: *applied },
            Phase::Switching { applied, fence, .. } => match fence {
                Fence::Raising => Step::Fence,
                Fence::Raised(to) if applied < to => Step::Drain { applied: *applied, to: *to },
                Fence::Raised(version) => Step::Check { version: *version },
                Fence::Checked(version) => Step::Flip { version: *version },
            },
            Phase::Done { .. } => Step::Finished,
            Phase::Halted { verdict, .. } => Step::Wait(verdict.clone()),
            Phase::Aborted => Step::Wipe,
        }
    }
}
