//! The state of a migration: small, complete, and all that a restart needs besides the chunk manifest.

use super::Cause;
use crate::model::{ChunkSet, Verdict, Version};
use std::fmt;

/// Where a migration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Which snapshot this is; a new snapshot over a wiped target starts the next epoch. From 1.
    pub epoch: u32,
    /// Why this epoch began; none for the first one, or if the journal does not say.
    pub cause: Option<Cause>,
    /// How many epochs began because the target was [`Cause::Lost`].
    pub losses: u32,
    /// How often work was taken back within the epoch: an undone switch, a repaired halt. From 0.
    pub attempt: u32,
    /// The phase and its position.
    pub phase: Phase,
}

/// The phases. `height` is the snapshot version H everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// H is pinned; spines are being proven and cut into chunks.
    Snapshotting {
        /// H.
        height: Version,
    },
    /// Chunks are being restored, then read back.
    Restoring {
        /// H.
        height: Version,
        /// Chunks in the manifest.
        chunks: u64,
        /// Chunks that are durable in the target, with their digests in the journal.
        restored: ChunkSet,
        /// Whether spines, roots and empty stores are durable in the target too.
        joined: bool,
        /// Chunks that were read back from the target and proven.
        proven: ChunkSet,
    },
    /// Versions after H are being applied.
    Syncing {
        /// H.
        height: Version,
        /// The newest version that is durable in every engine of the target.
        applied: Version,
    },
    /// The store of record is about to change.
    Switching {
        /// H.
        height: Version,
        /// The newest version that is durable in every engine of the target.
        applied: Version,
        /// How far the switch has come.
        fence: Fence,
    },
    /// store/v2 is the store of record.
    Done {
        /// H.
        height: Version,
        /// The version at which the switch happened.
        version: Version,
        /// Whether an operator has said that the chain will not be given back to store/v1.
        finished: bool,
    },
    /// The data disagrees with store/v1. Never retried by itself.
    Halted {
        /// What disagrees.
        verdict: Verdict,
        /// The phase it came from.
        from: Box<Phase>,
    },
    /// Given up: the target is, or is being, wiped; the source is as it was.
    Aborted,
}

/// How far a switch has come. The fence itself lives in the running chain: a restart finds it gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Commits to store/v1 are about to be stopped.
    Raising,
    /// store/v1 stands still at this version.
    Raised(Version),
    /// The target equals store/v1 at this version.
    Checked(Version),
}

/// How far a migration is; every accepted event raises it. Compared field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    epoch: u32,
    attempt: u32,
    phase: u8,
    position: (u64, u64),
    halted: bool,
}

impl State {
    /// The state a job is born with: the snapshot at `height` is to be taken.
    #[must_use]
    pub fn new(height: Version) -> State {
        State { epoch: 1, cause: None, losses: 0, attempt: 0, phase: Phase::Snapshotting { height } }
    }

    /// How often a job may begin anew because its target was lost: a disk that loses it again and again is no place for it.
    pub const MOST_LOSSES: u32 = 3;

    /// Whether a target that is [`Cause::Lost`] is given up and begun anew: while nothing rests on it but work of the snapshot. Later
    /// the target is what was told to be applied, or what a chain runs on, and an operator must look first.
    #[must_use]
    pub fn outlives_loss(&self) -> bool {
        let is_early = matches!(self.phase, Phase::Snapshotting { .. } | Phase::Restoring { .. });
        is_early && self.losses < State::MOST_LOSSES
    }

    /// How far this state is.
    #[must_use]
    pub fn rank(&self) -> Rank {
        let (phase, position, halted) = match &self.phase {
            Phase::Halted { from, .. } => (from.number(), from.position(), true),
            phase => (phase.number(), phase.position(), false),
        };
        Rank { epoch: self.epoch, attempt: self.attempt, phase, position, halted }
    }
}

impl Phase {
    /// The snapshot version, while there is one.
    #[must_use]
    pub fn height(&self) -> Option<Version> {
        match self {
            Phase::Snapshotting { height }
            | Phase::Restoring { height, .. }
            | Phase::Syncing { height, .. }
            | Phase::Switching { height, .. }
            | Phase::Done { height, .. } => Some(*height),
            Phase::Halted { from, .. } => from.height(),
            Phase::Aborted => None,
        }
    }

    /// The newest version that is durable in every engine of the target and proven there.
    #[must_use]
    pub fn applied(&self) -> Option<Version> {
        match self {
            Phase::Syncing { applied, .. } | Phase::Switching { applied, .. } => Some(*applied),
            Phase::Done { version, .. } => Some(*version),
            Phase::Halted { from, .. } => from.applied(),
            Phase::Snapshotting { .. } | Phase::Restoring { .. } | Phase::Aborted => None,
        }
    }

    /// The phase's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Phase::Snapshotting { .. } => "Snapshotting",
            Phase::Restoring { .. } => "Restoring",
            Phase::Syncing { .. } => "Syncing",
            Phase::Switching { .. } => "Switching",
            Phase::Done { .. } => "Done",
            Phase::Halted { .. } => "Halted",
            Phase::Aborted => "Aborted",
        }
    }

    fn number(&self) -> u8 {
        match self {
            Phase::Snapshotting { .. } => 0,
            Phase::Restoring { .. } => 1,
            Phase::Syncing { .. } => 2,
            Phase::Switching { .. } => 3,
            Phase::Done { .. } => 4,
            Phase::Aborted => 5,
            Phase::Halted { from, .. } => from.number(),
        }
    }

    fn position(&self) -> (u64, u64) {
        match self {
            Phase::Snapshotting { .. } | Phase::Aborted => (0, 0),
            Phase::Restoring { restored, joined, proven, .. } => {
                (restored.count() + u64::from(*joined), proven.count())
            }
            Phase::Syncing { applied, .. } => (applied.0, 0),
            Phase::Switching { applied, fence, .. } => (
                match fence {
                    Fence::Raising => 0,
                    Fence::Raised(_) => 1,
                    Fence::Checked(_) => 2,
                },
                applied.0,
            ),
            Phase::Done { version, finished, .. } => (version.0, u64::from(*finished)),
            Phase::Halted { from, .. } => from.position(),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Phase::Snapshotting { height } => write!(f, "Snapshotting version {height}"),
            Phase::Restoring { height, chunks, restored, proven, .. } => write!(
                f,
                "Restoring version {height}: {} of {chunks} chunks durable, {} read back and proven",
                restored.count(),
                proven.count()
            ),
            Phase::Syncing { height, applied } => {
                write!(f, "Syncing: snapshot {height} proven, versions up to {applied} applied")
            }
            Phase::Switching { applied, .. } => write!(f, "Switching at version {applied}"),
            Phase::Done { version, .. } => write!(f, "Done: store/v2 is of record from version {version} on"),
            Phase::Halted { verdict, from } => write!(f, "Halted in {}: {verdict}", from.name()),
            Phase::Aborted => f.write_str("Aborted"),
        }
    }
}
