//! Events: facts that have become true in the target and are about to be recorded; and why one is refused.

use crate::model::{ChunkId, Hash, Verdict, Version};
use std::fmt;

/// Proof that two app hashes were compared and are equal. Only the comparison makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    app_hash: Option<Hash>,
}

impl Verified {
    /// Compares the app hash store/v1 recorded with the one recomputed from the target.
    #[must_use]
    pub fn compare(expected: Hash, found: Hash) -> Option<Verified> {
        (expected == found).then_some(Verified { app_hash: Some(expected) })
    }

    /// For a target of SS only: there are no trees to recompute a root from; pairs were compared by digest.
    #[must_use]
    pub fn pairs_only() -> Verified {
        Verified { app_hash: None }
    }

    /// The app hash, where there are trees.
    #[must_use]
    pub fn app_hash(self) -> Option<Hash> {
        self.app_hash
    }
}

/// Why an epoch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Versions that are needed are gone from the source.
    Pruned,
    /// The target's files are so damaged that its engine cannot open them.
    Lost,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Pruned => "versions that were needed had been pruned",
            Cause::Lost => "the target's files were damaged and could not be opened any more",
        })
    }
}

/// A fact. Whatever it says is already durable in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The manifest is complete: every spine, down to each chunk's root node, is proven.
    Snapshotted {
        /// Chunks in the manifest.
        chunks: u64,
    },
    /// Chunks are durable in the target.
    Restored {
        /// Their numbers.
        chunks: Vec<ChunkId>,
    },
    /// Spines, roots and empty stores are durable in the target.
    Joined,
    /// Chunks were read back from the target and proven.
    Proven {
        /// Their numbers.
        chunks: Vec<ChunkId>,
    },
    /// Every root and the app hash at H were recomputed from the target and equal those of store/v1.
    Concluded(Verified),
    /// All versions up to this one are durable in every engine of the target, each with store/v1's app hash.
    Applied {
        /// The newest of them.
        to: Version,
    },
    /// The target has caught up and the plan allows the switch.
    SwitchStarted,
    /// store/v1 stands still.
    Fenced {
        /// At this version.
        version: Version,
    },
    /// The target equals store/v1 at the fenced version.
    Checked(Verified),
    /// store/v2 is the store of record. Recording this *is* the flip.
    Flipped,
    /// The switch was given up and the chain goes on with store/v1.
    SwitchUndone {
        /// Why, for whoever asked for it.
        why: String,
    },
    /// The data disagrees with store/v1.
    Halted(Verdict),
    /// An operator repaired what a verdict named.
    Repaired {
        /// The chunk that is to be restored and proven again, if the repair left that open.
        reopened: Option<ChunkId>,
    },
    /// The snapshot cannot be gone on with, and another one is taken. What the target holds does not count any more.
    Renewed {
        /// The new H.
        height: Version,
        /// What kind of reason there is.
        cause: Cause,
        /// The reason in words.
        why: String,
    },
    /// An operator gave up.
    Aborted,
    /// After the switch: the chain is given back to store/v1, and the target does not count any more.
    Returned,
    /// After the switch: the chain will not be given back any more.
    Finished,
}

/// Why an event does not follow from a state. The state is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such event in this phase.
    #[error("{event} cannot happen while {phase}")]
    OutOfPlace {
        /// The event's name.
        event: &'static str,
        /// The phase's name.
        phase: &'static str,
    },
    /// A chunk that does not exist, or twice the same.
    #[error("chunk {chunk} is not open (there are {chunks})")]
    NotOpen {
        /// The chunk.
        chunk: ChunkId,
        /// Chunks in the manifest.
        chunks: u64,
    },
    /// An event that says nothing new.
    #[error("{event} reports nothing new")]
    Nothing {
        /// The event's name.
        event: &'static str,
    },
    /// A version at or below what is applied, or beyond the fence.
    #[error("version {version} does not follow: {applied} is applied{}", .fence.map_or(String::new(), |v| format!(" and the fence is at {v}")))]
    Version {
        /// The version.
        version: Version,
        /// The newest version applied.
        applied: Version,
        /// The fence, if raised.
        fence: Option<Version>,
    },
    /// Nothing follows Aborted, and of Done only that the chain is given back or never will be.
    #[error("that does not follow {phase}")]
    Final {
        /// The phase's name.
        phase: &'static str,
    },
}

impl Event {
    /// The event's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Event::Snapshotted { .. } => "Snapshotted",
            Event::Restored { .. } => "Restored",
            Event::Joined => "Joined",
            Event::Proven { .. } => "Proven",
            Event::Concluded(_) => "Concluded",
            Event::Applied { .. } => "Applied",
            Event::SwitchStarted => "SwitchStarted",
            Event::Fenced { .. } => "Fenced",
            Event::Checked(_) => "Checked",
            Event::Flipped => "Flipped",
            Event::SwitchUndone { .. } => "SwitchUndone",
            Event::Halted(_) => "Halted",
            Event::Repaired { .. } => "Repaired",
            Event::Renewed { .. } => "Renewed",
            Event::Aborted => "Aborted",
            Event::Returned => "Returned",
            Event::Finished => "Finished",
        }
    }
}
