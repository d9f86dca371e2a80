//! store/v1, read only: the rootmulti layout over a key-value engine, and changesets read as differences between its
//! retained versions.
//!
//! Owns everything that knows how v1 lies on disk. Hands out commit infos, roots and node records, none of them proven:
//! proving is the tree code's and the phases' matter. Nothing here ever writes.

pub mod checkpoint;
pub mod commit_info;
mod detect;
mod engine;
mod error;
mod feed;
pub mod leveldb;
pub mod lsm;
mod memory;
pub mod pebble;
mod rootmulti;

use crate::{
    iavl::{Access, NodeKey, NodeReader},
    model::{CommitInfo, StoreKey, Version},
};

pub use detect::{EngineKind, detect, open};
pub use engine::{Engine, PointReader};
pub use error::SourceError;
pub use feed::{Feed, RetainedVersions};
pub use memory::MemoryEngine;
pub use rootmulti::Rootmulti;

/// What a store's version has for a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreRoot {
    /// The tree is empty.
    Empty,
    /// The tree's root is this node; references are resolved.
    At(NodeKey),
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

    /// The root of one store at a version; none if the store does not have that version.
    ///
    /// # Errors
    /// The database could not be read, the record is damaged, or it is a legacy root.
    fn root(&self, store: &StoreKey, version: Version) -> Result<Option<StoreRoot>, SourceError>;

    /// A reader of one store's node records.
    fn nodes(&self, store: &StoreKey, access: Access) -> Box<dyn NodeReader + Send + '_>;

    /// The engine's name, e.g. `goleveldb`.
    fn engine(&self) -> &'static str;

    /// About how many bytes on disk one store takes, everything included.
    fn approximate_bytes(&self, store: &StoreKey) -> u64;
}
