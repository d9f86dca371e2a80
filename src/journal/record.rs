//! The records of journal format 1, frozen. Types of their own, so that the machine and the model may change; every
//! change of meaning gets a new format and an upgrade step, never an edit here.

use super::JournalError;
use crate::{
    iavl::SpineNode,
    machine::{Fence, Phase, State},
    model::{Chunk, ChunkSet, Digest, Hash, JobId, Manifest, Restored, StoreEntry, Timestamp, Verdict, Version},
    plan::{At, Parts, Plan},
};
use serde::{Deserialize, Serialize};

/// What the journal was born with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its random identity.
    pub id: JobId,
    /// The plan.
    pub plan: Plan,
    /// What was planned from.
    pub source: SourceIdentity,
}

/// What binds a job to its source: the engine may be copied or moved, the chain may not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceIdentity {
    /// The engine.
    pub engine: String,
    /// The snapshot version.
    pub height: Version,
    /// The app hash of that version.
    pub app_hash: Hash,
    /// The newest version when the job was born.
    pub tip: Version,
    /// The app hash of that version.
    pub tip_app_hash: Hash,
}

/// A [`Job`].
#[derive(Serialize, Deserialize)]
pub struct Job1 {
    id: [u8; 16],
    release: String,
    at: (u8, u64),
    /// 0 to 2, and [`WITHOUT_MEMORY_STORES`].
    parts: u8,
    chunk_leaves: u64,
    app_hash: Option<[u8; 32]>,
    engine: String,
    height: u64,
    height_app_hash: [u8; 32],
    tip: u64,
    tip_app_hash: [u8; 32],
}

/// Set in `parts` where the plan leaves memory stores out. A release that cannot do that takes it for unknown parts.
const WITHOUT_MEMORY_STORES: u8 = 0x10;

/// A [`State`].
#[derive(Serialize, Deserialize)]
pub struct State1 {
    epoch: u32,
    attempt: u32,
    phase: Phase1,
}

#[derive(Serialize, Deserialize)]
enum Phase1 {
    Snapshotting {
        height: u64,
    },
    Restoring {
        height: u64,
        chunks: u64,
        restored: Vec<(u64, u64)>,
        joined: bool,
        proven: Vec<(u64, u64)>,
    },
    Syncing {
        height: u64,
        applied: u64,
    },
    Switching {
        height: u64,
        applied: u64,
        fence: (u8, u64),
    },
    Done {
        height: u64,
        version: u64,
    },
    Halted {
        verdict: Verdict1,
        from: Box<Phase1>,
    },
    Aborted,
    /// Done, and never to be given back.
    Finished {
        height: u64,
        version: u64,
    },
}

#[derive(Serialize, Deserialize)]
enum Verdict1 {
    Root { store: String, version: u64, expected: [u8; 32], found: [u8; 32] },
    AppHash { version: u64, expected: [u8; 32], found: [u8; 32] },
    Chunk { chunk: u64, store: String, what: String },
    Store { store: String, what: String },
}

/// A [`Manifest`].
#[derive(Serialize, Deserialize)]
pub struct Manifest1 {
    stores: Vec<Store1>,
    timestamp: Option<(i64, i32)>,
}

#[derive(Serialize, Deserialize)]
struct Store1 {
    name: String,
    root: Option<[u8; 32]>,
    top: Option<(u64, u64)>,
    leaves: u64,
    first_chunk: u64,
    chunks: u64,
}

/// A [`Chunk`].
#[derive(Serialize, Deserialize)]
pub struct Chunk1 {
    store: u32,
    version: u64,
    nonce: u32,
    hash: [u8; 32],
    height: u8,
    leaves: u64,
    first_ordinal: u64,
}

/// A [`SpineNode`].
#[derive(Serialize, Deserialize)]
pub struct Spine1 {
    ordinal: u64,
    version: u64,
    height: u8,
    size: u64,
    key: Vec<u8>,
    hash: [u8; 32],
    left_version: u64,
    right_version: u64,
    right_size: u64,
}

/// What was [`Restored`].
#[derive(Serialize, Deserialize)]
pub struct Restored1 {
    /// Was a digest over SC records; the chunk's Merkle hash, which the manifest keeps, determines them all.
    sc: Option<[u8; 32]>,
    ss: Option<[u8; 32]>,
    bytes: u64,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
}

fn invalid(place: &str, what: &str) -> JournalError {
    JournalError::Record { place: place.to_owned(), what: what.to_owned() }
}

impl From<&Job> for Job1 {
    fn from(job: &Job) -> Job1 {
        Job1 {
            id: job.id.0,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            at: match job.plan.at {
                At::Latest => (0, 0),
                At::Oldest => (1, 0),
                At::Version(version) => (2, version.0),
            },
            parts: match job.plan.parts {
                Parts::Both => 0,
                Parts::Sc => 1,
                Parts::Ss => 2,
            } | if job.plan.leave_out_memory_stores { WITHOUT_MEMORY_STORES } else { 0 },
            chunk_leaves: job.plan.chunk_leaves,
            app_hash: job.plan.app_hash.map(|hash| hash.0),
            engine: job.source.engine.clone(),
            height: job.source.height.0,
            height_app_hash: job.source.app_hash.0,
            tip: job.source.tip.0,
            tip_app_hash: job.source.tip_app_hash.0,
        }
    }
}

impl TryFrom<Job1> for Job {
    type Error = JournalError;

    fn try_from(job: Job1) -> Result<Job, JournalError> {
        Ok(Job {
            id: JobId(job.id),
            plan: Plan {
                at: match job.at {
                    (0, _) => At::Latest,
                    (1, _) => At::Oldest,
                    (2, version) => At::Version(Version(version)),
                    _ => return Err(invalid("job", "names an unknown version choice")),
                },
                parts: match job.parts & !WITHOUT_MEMORY_STORES {
                    0 => Parts::Both,
                    1 => Parts::Sc,
                    2 => Parts::Ss,
                    _ => return Err(invalid("job", "names unknown parts")),
                },
                chunk_leaves: job.chunk_leaves,
                app_hash: job.app_hash.map(Hash),
                leave_out_memory_stores: job.parts & WITHOUT_MEMORY_STORES != 0,
            },
            source: SourceIdentity {
                engine: job.engine,
                height: Version(job.height),
                app_hash: Hash(job.height_app_hash),
                tip: Version(job.tip),
                tip_app_hash: Hash(job.tip_app_hash),
            },
        })
    }
}

impl From<&State> for State1 {
    fn from(state: &State) -> State1 {
        State1 { epoch: state.epoch, attempt: state.attempt, phase: (&state.phase).into() }
    }
}

impl TryFrom<State1> for State {
    type Error = JournalError;

    /// What began the epoch has a record of its own.
    fn try_from(state: State1) -> Result<State, JournalError> {
        let (epoch, attempt, phase) = (state.epoch, state.attempt, state.phase.try_into()?);
        Ok(State { epoch, cause: None, losses: 0, attempt, phase })
    }
}

impl From<&Phase> for Phase1 {
    fn from(phase: &Phase) -> Phase1 {
        match phase {
            Phase::Snapshotting { height } => Phase1::Snapshotting { height: height.0 },
            Phase::Restoring { height, chunks, restored, joined, proven } => Phase1::Restoring {
                height: height.0,
                chunks: *chunks,
                restored: restored.ranges().to_vec(),
                joined: *joined,
                proven: proven.ranges().to_vec(),
            },
            Phase::Syncing { height, applied } => Phase1::Syncing { height: height.0, applied: applied.0 },
            Phase::Switching { height, applied, fence } => Phase1::Switching {
                height: height.0,
                applied: applied.0,
                fence: match fence {
                    Fence::Raising => (0, 0),
                    Fence::Raised(version) => (1, version.0),
                    Fence::Checked(version) => (2, version.0),
                },
            },
            Phase::Done { height, version, finished: false } => Phase1::Done { height: height.0, version: version.0 },
            Phase::Done { height, version, finished: true } => {
                Phase1::Finished { height: height.0, version: version.0 }
            }
            Phase::Halted { verdict, from } => {
                Phase1::Halted { verdict: verdict.into(), from: Box::new((&**from).into()) }
            }
            Phase::Aborted => Phase1::Aborted,
        }
    }
}

impl TryFrom<Phase1> for Phase {
    type Error = JournalError;

    fn try_from(phase: Phase1) -> Result<Phase, JournalError> {
        let set = |ranges| ChunkSet::from_ranges(ranges).ok_or_else(|| invalid("state", "has a malformed chunk set"));
        Ok(match phase {
            Phase1::Snapshotting { height } => Phase::Snapshotting { height: Version(height) },
            Phase1::Restoring { height, chunks, restored, joined, proven } => Phase::Restoring {
                height: Version(height),
                chunks,
                restored: set(restored)?,
                joined,
                proven: set(proven)?,
            },
            Phase1::Syncing { height, applied } => {
                Phase::Syncing { height: Version(height), applied: Version(applied) }
            }
            Phase1::Switching { height, applied, fence } => Phase::Switching {
                height: Version(height),
                applied: Version(applied),
                fence: match fence {
                    (0, _) => Fence::Raising,
                    (1, version) => Fence::Raised(Version(version)),
                    (2, version) => Fence::Checked(Version(version)),
                    _ => return Err(invalid("state", "names an unknown fence")),
                },
            },
            Phase1::Done { height, version } => {
                Phase::Done { height: Version(height), version: Version(version), finished: false }
            }
            Phase1::Finished { height, version } => {
                Phase::Done { height: Version(height), version: Version(version), finished: true }
            }
            Phase1::Halted { verdict, from } => {
                Phase::Halted { verdict: verdict.into(), from: Box::new((*from).try_into()?) }
            }
            Phase1::Aborted => Phase::Aborted,
        })
    }
}

impl From<&Verdict> for Verdict1 {
    fn from(verdict: &Verdict) -> Verdict1 {
        match verdict.clone() {
            Verdict::Root { store, version, expected, found } => {
                Verdict1::Root { store: store.into(), version: version.0, expected: expected.0, found: found.0 }
            }
            Verdict::AppHash { version, expected, found } => {
                Verdict1::AppHash { version: version.0, expected: expected.0, found: found.0 }
            }
            Verdict::Chunk { chunk, store, what } => Verdict1::Chunk { chunk, store: store.into(), what },
            Verdict::Store { store, what } => Verdict1::Store { store: store.into(), what },
        }
    }
}

impl From<Verdict1> for Verdict {
    fn from(verdict: Verdict1) -> Verdict {
        match verdict {
            Verdict1::Root { store, version, expected, found } => Verdict::Root {
                store: store.into(),
                version: Version(version),
                expected: Hash(expected),
                found: Hash(found),
            },
            Verdict1::AppHash { version, expected, found } => {
                Verdict::AppHash { version: Version(version), expected: Hash(expected), found: Hash(found) }
            }
            Verdict1::Chunk { chunk, store, what } => Verdict::Chunk { chunk, store: store.into(), what },
            Verdict1::Store { store, what } => Verdict::Store { store: store.into(), what },
        }
    }
}

impl From<&Manifest> for Manifest1 {
    fn from(manifest: &Manifest) -> Manifest1 {
        Manifest1 {
            stores: manifest
                .stores
                .iter()
                .map(|store| Store1 {
                    name: store.name.as_str().to_owned(),
                    root: store.root.map(|root| root.0),
                    top: store.top.map(|(version, ordinal)| (version.0, ordinal)),
                    leaves: store.leaves,
                    first_chunk: store.first_chunk,
                    chunks: store.chunks,
                })
                .collect(),
            timestamp: manifest.timestamp.map(|time| (time.seconds, time.nanos)),
        }
    }
}

impl From<Manifest1> for Manifest {
    fn from(manifest: Manifest1) -> Manifest {
        Manifest {
            stores: manifest
                .stores
                .into_iter()
                .map(|store| StoreEntry {
                    name: store.name.into(),
                    root: store.root.map(Hash),
                    top: store.top.map(|(version, ordinal)| (Version(version), ordinal)),
                    leaves: store.leaves,
                    first_chunk: store.first_chunk,
                    chunks: store.chunks,
                })
                .collect(),
            timestamp: manifest.timestamp.map(|(seconds, nanos)| Timestamp { seconds, nanos }),
        }
    }
}

/// Stands for the nonce of a legacy node, which has none. No version has so many nodes that one had it.
const LEGACY: u32 = u32::MAX;

impl From<&Chunk> for Chunk1 {
    fn from(chunk: &Chunk) -> Chunk1 {
        Chunk1 {
            store: chunk.store,
            version: chunk.version.0,
            nonce: chunk.nonce.unwrap_or(LEGACY),
            hash: chunk.hash.0,
            height: chunk.height,
            leaves: chunk.leaves,
            first_ordinal: chunk.first_ordinal,
        }
    }
}

impl From<Chunk1> for Chunk {
    fn from(chunk: Chunk1) -> Chunk {
        Chunk {
            store: chunk.store,
            version: Version(chunk.version),
            nonce: Some(chunk.nonce).filter(|nonce| *nonce != LEGACY),
            hash: Hash(chunk.hash),
            height: chunk.height,
            leaves: chunk.leaves,
            first_ordinal: chunk.first_ordinal,
        }
    }
}

impl From<&SpineNode> for Spine1 {
    fn from(node: &SpineNode) -> Spine1 {
        Spine1 {
            ordinal: node.ordinal,
            version: node.version.0,
            height: node.height,
            size: node.size,
            key: node.key.clone(),
            hash: node.hash.0,
            left_version: node.left_version.0,
            right_version: node.right_version.0,
            right_size: node.right_size,
        }
    }
}

impl From<Spine1> for SpineNode {
    fn from(node: Spine1) -> SpineNode {
        SpineNode {
            ordinal: node.ordinal,
            version: Version(node.version),
            height: node.height,
            size: node.size,
            key: node.key,
            hash: Hash(node.hash),
            left_version: Version(node.left_version),
            right_version: Version(node.right_version),
            right_size: node.right_size,
        }
    }
}

impl From<&Restored> for Restored1 {
    fn from(restored: &Restored) -> Restored1 {
        Restored1 {
            sc: None,
            ss: restored.ss.map(|digest| digest.0),
            bytes: restored.bytes,
            first_key: restored.first_key.clone(),
            last_key: restored.last_key.clone(),
        }
    }
}

impl From<Restored1> for Restored {
    fn from(restored: Restored1) -> Restored {
        Restored {
            ss: restored.ss.map(Digest),
            bytes: restored.bytes,
            first_key: restored.first_key,
            last_key: restored.last_key,
        }
    }
}
