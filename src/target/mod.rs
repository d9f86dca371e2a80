//! store/v2: where the state goes. SC holds the trees, SS the flat versioned pairs; they are two databases and never
//! atomic together.
//!
//! Owns the two traits every engine implements, their RocksDB form, their in-memory twin, and the directory they live
//! in. Takes proven records from the phases; hands records back to be proven again. Everything written here is
//! repeatable: writing the same thing twice leaves the same bytes.

pub mod commit_info;
mod engines;
mod error;
mod memory;
mod ours;
mod pairs;
mod place;
mod records;
#[cfg(feature = "rocksdb")]
pub mod rocks;

use crate::{
    iavl::{Access, NodeKey, NodeReader, RecordStream, RecordWalk},
    model::{ChangeRef, CommitInfo, StoreKey, Version},
};

pub use engines::{EngineTuning, Engines};
pub use error::TargetError;
pub use memory::{CommitmentData, MemoryCommitment, MemoryStorage, Outage, StorageData};
pub use pairs::{drop_pairs, write_real_changes};
pub use place::Place;
pub use records::RecordRun;

/// Has an engine take over what was written beside it. When it has returned, that is durable; when it fails, none, some or
/// all of it may be there. Whoever prepares the next load need not wait for it.
pub type Landing<'a> = Box<dyn FnOnce() -> Result<(), TargetError> + Send + 'a>;

/// State commitment: IAVL trees with their commit infos.
pub trait Commitment: Send + Sync {
    /// A reader of one store's node records. A record (version, 1) that is missing is looked up as (version, 0) too: pruning
    /// renames roots so.
    ///
    /// # Errors
    /// The engine could not be read.
    fn nodes(&self, store: &StoreKey, access: Access) -> Result<Box<dyn NodeReader + Send + '_>, TargetError>;

    /// A walk over one store's node records, not yet positioned.
    ///
    /// # Errors
    /// The engine could not be read.
    fn records(&self, store: &StoreKey) -> Result<Box<dyn RecordWalk + Send + '_>, TargetError>;

    /// Writes many records of one store, ascending by key, beside the engine; its [`Landing`] makes them durable. `whole`
    /// says that these are all chunks of the store; otherwise they may be kept aside until [`Commitment::settle`], and only
    /// then be there to be read.
    ///
    /// # Errors
    /// The records could not be written, or do not ascend.
    fn load(&self, store: &StoreKey, records: &mut dyn RecordStream, whole: bool) -> Result<Landing<'_>, TargetError>;

    /// Writes records of one store as they come: few, or between those that are there. Durable with the next
    /// [`Commitment::sync`].
    ///
    /// # Errors
    /// The engine could not write; none, some or all of them may be there.
    fn write_records(&self, store: &StoreKey, records: &mut dyn RecordStream) -> Result<(), TargetError>;

    /// Makes a version exist: its commit info, and with it the watermark. Durable with the next [`Commitment::sync`], and
    /// never before what was written before it.
    ///
    /// # Errors
    /// The engine could not write; the version is there, or not.
    fn write_info(&self, info: &CommitInfo) -> Result<(), TargetError>;

    /// The watermark: the newest version written, if any.
    ///
    /// # Errors
    /// The engine could not be read.
    fn latest(&self) -> Result<Option<Version>, TargetError>;

    /// The commit info of a version.
    ///
    /// # Errors
    /// The engine could not be read, or the record is damaged.
    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, TargetError>;

    /// Rewrites or removes (no value) node records, and forgets the commit info of a version, all at once or not at all: how a
    /// version is pruned. Durable with the next [`Commitment::sync`], and in the order of what is written.
    ///
    /// # Errors
    /// The engine could not write; nothing of it is there, or all.
    fn prune(&self, records: &[(StoreKey, NodeKey, Option<Vec<u8>>)], version: Version) -> Result<(), TargetError>;

    /// How many node records a store has.
    ///
    /// # Errors
    /// The engine could not be read.
    fn count(&self, store: &StoreKey) -> Result<u64, TargetError>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The sync failed: nothing may be assumed durable, and it must not be tried again in place.
    fn sync(&self) -> Result<(), TargetError>;

    /// Brings the stores into their final shape after bulk loading, so that no compaction is left to whoever opens the
    /// database next. Repeatable: what a crash or a stop cut off is gone on with. Returns the stores whose records it wrote anew.
    ///
    /// # Errors
    /// [`TargetError::Stopped`] when `stop` says so between two records; or the engine could not be written. The data is
    /// as it was.
    fn settle(&self, stores: &[StoreKey], stop: &(dyn Fn() -> bool + Sync)) -> Result<Vec<StoreKey>, TargetError>;

    /// Moves everything from the engine's log into its tables: older releases read those, but not always the log.
    ///
    /// # Errors
    /// The engine could not write; the data is as it was.
    fn flush(&self) -> Result<(), TargetError>;

    /// Sets the bytes of memory that the engine keeps blocks in, if it does so at all; they are taken as they are filled.
    fn set_cache(&self, bytes: usize) {
        let _ = bytes;
    }

    /// Has the engine leave alone what is written from here on, until [`Commitment::compact`].
    ///
    /// # Errors
    /// The engine refused.
    fn hold(&self) -> Result<(), TargetError>;

    /// If more than `spare` files wait for it, has the engine compact whatever it would by itself, and waits until nothing
    /// is left. Compaction then stays on if `spare` is 0. Repeatable: what a crash or a stop cut off is gone on with.
    ///
    /// # Errors
    /// [`TargetError::Stopped`] when `stop` says so; or the engine could not be written. The data is as it was.
    fn compact(&self, spare: usize, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), TargetError>;

    /// Drops the files that hold only records of one store, unread: the way out when a file is damaged. What they held
    /// must be written again.
    ///
    /// # Errors
    /// The engine could not drop them.
    fn discard(&self, store: &StoreKey) -> Result<(), TargetError>;
}

/// State storage: flat pairs, each with the version that set it.
pub trait Storage: Send + Sync {
    /// A bulk loader for pairs of one store at one version.
    ///
    /// # Errors
    /// The engine could not prepare it.
    fn loader<'a>(&'a self, store: &StoreKey, version: Version) -> Result<Box<dyn PairLoader<'a> + 'a>, TargetError>;

    /// A reader of one store's live pairs at a version, from the first key at or above `from`.
    ///
    /// # Errors
    /// The engine could not be read.
    fn pairs(&self, store: &StoreKey, version: Version, from: &[u8]) -> Result<Box<dyn PairReader + '_>, TargetError>;

    /// As [`Storage::pairs`], in descending order, from the last key below `until`, or the store's last.
    ///
    /// # Errors
    /// The engine could not be read.
    fn pairs_back(
        &self,
        store: &StoreKey,
        version: Version,
        until: Option<&[u8]>,
    ) -> Result<Box<dyn PairReader + '_>, TargetError>;

    /// A reader of one store's entries of these versions, both included: all of them, removals too, not only the newest of each key.
    ///
    /// # Errors
    /// The engine could not be read.
    fn entries(&self, store: &StoreKey, from: Version, to: Version) -> Result<Box<dyn EntryReader + '_>, TargetError>;

    /// The value that a key of one store has at a version; none if it has none.
    ///
    /// # Errors
    /// The engine could not be read.
    fn get(&self, store: &StoreKey, version: Version, key: &[u8]) -> Result<Option<Vec<u8>>, TargetError>;

    /// Gives up what only versions before `oldest` need; they cannot be read any more. The engine removes it as it compacts.
    ///
    /// # Errors
    /// The engine could not write.
    fn forget(&self, oldest: Version) -> Result<(), TargetError>;

    /// Writes changes that a version made to one store. Durable with the next [`Storage::sync`].
    ///
    /// # Errors
    /// The engine could not write; none, some or all of them may be there.
    fn write_changes(
        &self,
        store: &StoreKey,
        version: Version,
        changes: &mut dyn Iterator<Item = ChangeRef<'_>>,
    ) -> Result<(), TargetError>;

    /// Sets the watermark. Durable with the next [`Storage::sync`], and never before what was written before it.
    ///
    /// # Errors
    /// The engine could not write.
    fn write_watermark(&self, version: Version) -> Result<(), TargetError>;

    /// The watermark: the newest version written, if any.
    ///
    /// # Errors
    /// The engine could not be read.
    fn latest(&self) -> Result<Option<Version>, TargetError>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The sync failed: nothing may be assumed durable, and it must not be tried again in place.
    fn sync(&self) -> Result<(), TargetError>;

    /// Moves everything from the engine's log into its tables: older releases read those, but not always the log.
    ///
    /// # Errors
    /// The engine could not write; the data is as it was.
    fn flush(&self) -> Result<(), TargetError>;

    /// Sets the bytes of memory that the engine keeps blocks in, if it does so at all; they are taken as they are filled.
    fn set_cache(&self, bytes: usize) {
        let _ = bytes;
    }

    /// Has the engine leave alone what is written from here on, until [`Storage::compact`].
    ///
    /// # Errors
    /// The engine refused.
    fn hold(&self) -> Result<(), TargetError>;

    /// If more than `spare` files wait for it, has the engine compact whatever it would by itself, and waits until nothing
    /// is left. Compaction then stays on if `spare` is 0. Repeatable: what a crash or a stop cut off is gone on with.
    ///
    /// # Errors
    /// [`TargetError::Stopped`] when `stop` says so; or the engine could not be written. The data is as it was.
    fn compact(&self, spare: usize, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), TargetError>;

    /// Drops the files that hold only pairs of one store, unread: the way out when a file is damaged. What they held must
    /// be written again.
    ///
    /// # Errors
    /// The engine could not drop them.
    fn discard(&self, store: &StoreKey) -> Result<(), TargetError>;
}

/// Takes pairs in ascending key order and writes them beside the engine in bounded pieces.
pub trait PairLoader<'a> {
    /// Adds a pair. Keys must ascend strictly.
    ///
    /// # Errors
    /// The engine could not write.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), TargetError>;

    /// Ends the load. Pairs count as written only once its [`Landing`] has returned.
    ///
    /// # Errors
    /// The engine could not write.
    fn finish(self: Box<Self>) -> Result<Landing<'a>, TargetError>;
}

/// One live pair as SS holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPair<'a> {
    /// The key, without the store's prefix.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// The version that set it.
    pub version: Version,
}

/// Hands out pairs in ascending key order.
pub trait PairReader {
    /// The next pair, or none at the end of the store.
    ///
    /// # Errors
    /// The engine could not be read, or its own checks failed.
    fn next(&mut self) -> Result<Option<StoredPair<'_>>, TargetError>;
}

/// One entry as SS holds it: what a version made of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key, without the store's prefix.
    pub key: &'a [u8],
    /// The value; none is a removal.
    pub value: Option<&'a [u8]>,
    /// The version.
    pub version: Version,
}

/// Hands out entries in ascending order of keys.
pub trait EntryReader {
    /// The next entry, or none at the end of the store.
    ///
    /// # Errors
    /// The engine could not be read, or its own checks failed.
    fn next(&mut self) -> Result<Option<Entry<'_>>, TargetError>;
}

/// The engines of one target. Either may be left out, not both.
pub struct Target {
    /// State commitment, unless the plan leaves it out.
    pub sc: Option<Box<dyn Commitment>>,
    /// State storage, unless the plan leaves it out.
    pub ss: Option<Box<dyn Storage>>,
}
