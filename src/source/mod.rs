//! store/v1, read only: the rootmulti layout over a key-value engine, or a state sync snapshot; and the versions after it:
//! changesets read as differences between retained versions, or from files.
//!
//! Owns everything that knows how v1 lies on disk. Hands out commit infos, roots and node records, none of them proven:
//! proving is the tree code's and the phases' matter. Nothing here ever writes.

pub mod changes;
pub mod checkpoint;
pub mod commit_info;
mod detect;
mod engine;
mod error;
mod feed;
mod iavl_stores;
pub mod leveldb;
pub mod lsm;
mod memory;
pub mod pebble;
pub mod rocks;
mod rootmulti;
pub mod snapshot;

use crate::{
    iavl::{Access, NodeId, NodeReader},
    model::{CommitInfo, Hash, StoreKey, Version},
};

pub use changes::{Changes, ChangesetFiles, Upgrades};
pub use detect::{EngineKind, detect, open, open_still};
pub use engine::{Engine, Pair, PointReader, Scan};
pub use error::SourceError;
pub use feed::{ChangesetFeed, Feed, RetainedVersions};
pub use iavl_stores::{IavlStores, is_memory_store};
pub use memory::MemoryEngine;
pub use rootmulti::Rootmulti;
pub use snapshot::Snapshot;

/// What a store's version has for a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreRoot {
    /// The tree is empty.
    Empty,
    /// The tree has a root node.
    Node {
        /// Where it is; references are resolved.
        at: NodeId,
        /// The hash its record claims: of a leaf it is computed, of an inner node recorded, not proven.
        hash: Hash,
    },
}

/// A store/v1 database.
pub trait Source: Send + Sync {
    /// The newest version all stores have: `s/latest`, the only authority after a crash.
    ///
    /// # Errors
    /// The database could not be read, or has no such record.
    fn latest(&self) -> Result<Version, SourceError>;

    /// The commit info of a version. Its presence says nothing about whether the trees can still be read.
    ///
    /// # Errors
    /// The database could not be read, or the record is damaged.
    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, SourceError>;

    /// The commit info of a version with everything the chain counted into its app hash, memory stores of old releases
    /// included, also where [`Source::commit_info`] leaves those out.
    ///
    /// # Errors
    /// As [`Source::commit_info`].
    fn recorded(&self, version: Version) -> Result<Option<CommitInfo>, SourceError> {
        self.commit_info(version)
    }

    /// The root of one store at a version; none if the store does not have that version.
    ///
    /// # Errors
    /// The database could not be read, or the record is damaged.
    fn root(&self, store: &StoreKey, version: Version) -> Result<Option<StoreRoot>, SourceError>;

    /// A reader of one store's node records.
    fn nodes(&self, store: &StoreKey, access: Access) -> Box<dyn NodeReader + Send + '_>;

    /// The engine's name, e.g. `goleveldb`.
    fn engine(&self) -> &'static str;

    /// A walk over all records of one store, whatever they are, in the order of their keys; keys come without the store's
    /// prefix, and a seek takes them so.
    fn records(&self, store: &StoreKey) -> Box<dyn Scan + Send + '_>;

    /// The stores that have records, ascending, whether or not a commit info names them. Skips from one to the next. A name
    /// ends at its first slash.
    ///
    /// # Errors
    /// The database could not be read.
    fn stores_on_disk(&self) -> Result<Vec<StoreKey>, SourceError>;

    /// Hands out the versions that have a commit info record, in no order; the records are not looked at.
    ///
    /// # Errors
    /// The database could not be read.
    fn recorded_versions(&self, each: &mut dyn FnMut(Version)) -> Result<(), SourceError>;

    /// About how many bytes on disk one store takes, everything included.
    fn approximate_bytes(&self, store: &StoreKey) -> u64;

    /// Makes ready to read nodes, where that is work: a snapshot is unpacked into the job's spool. Repeatable.
    ///
    /// # Errors
    /// [`SourceError::Stopped`] when `stop` says so; or the source could not be read, or the spool not be written.
    fn prepare(&self, stop: &dyn Fn() -> bool) -> Result<(), SourceError> {
        let _ = stop;
        Ok(())
    }

    /// Pairs of one store in the newest version and bytes of their keys and values, if they have been counted.
    fn counted(&self, store: &StoreKey) -> Option<(u64, u64)> {
        let _ = store;
        None
    }

    /// Bytes that [`Source::prepare`] writes beside the target.
    fn spool_bytes(&self) -> u64 {
        0
    }

    /// What an operator should know of the source, in words.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}
