//! The field's words as types: versions, store keys, hashes, commit info, changesets, chunks, verdicts.
//!
//! Owns what these things *are* and the rules that need no I/O (the Merkle root over a commit info, which store
//! names can stand side by side). Every other layer speaks in these types.

mod changeset;
mod chunk;
mod commit_info;
mod digest;
mod hash;
mod job_id;
mod manifest;
mod store_key;
mod verdict;
mod version;

pub use changeset::{Change, ChangeRef, Changeset, StoreChanges};
pub use chunk::{Chunk, ChunkId, ChunkSet, Restored};
pub use commit_info::{CommitInfo, Sibling, StoreInfo, Timestamp};
pub use digest::{Digest, RecordDigest};
pub use hash::{Hash, HashParseError, to_hex};
pub use job_id::JobId;
pub use manifest::{Manifest, StoreEntry};
pub use store_key::{StoreKey, StoreKeyError, check_store_keys};
pub use verdict::Verdict;
pub use version::Version;
