//! A chain's state as the node that writes it holds it: commit a block's changes, read at a version, iterate, prune.
//!
//! Owns the order of a commit (trees, then one durable write, then whoever is told), which versions can be read, and what a
//! commit may wait for: nothing but its own write. It stands on the rootmulti layout of store/v1 before a migration and on SC
//! and SS after it, and the change is made under the gate that commits pass one by one; whoever holds a store need not notice.
//!
//! Hands out: views and trees of versions, holds on them, the same database as a source of store/v1, and every commit to
//! observers.

mod changeset;
mod commit;
mod database;
mod error;
mod gate;
mod layout;
mod observer;
mod prune;
mod retained;
mod right_of_way;
mod rootmulti;
mod stand;
mod v2;
mod view;
mod warm;

use crate::{
    model::{CommitInfo, Version},
    source::Source,
};
pub use commit::FormerTrees;
use commit::{Committer, Means, Trees};
use prune::Pruner;
use stand::Stand;
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    time::Instant,
};

pub use crate::iavl::lookup::{Order, OwnedPair};
pub use changeset::{ChangeSet, StoreUpgrades};
#[cfg(feature = "rocksdb")]
pub use database::LiveRocks;
pub use database::{Batch, Database, Databases, MemoryDatabase};
pub use error::{Span, StoreError};
pub use layout::{GrownStore, Layout, NewVersion, PairIter, Pruned};
pub use observer::Observer;
pub use prune::{PruneStatus, Pruning};
pub use retained::Hold;
pub use right_of_way::RightOfWay;
pub use rootmulti::RootmultiLayout;
pub use v2::V2Layout;
pub use view::{TreeAt, View};
pub use warm::{Comparing, WarmTrees};

/// How a root store uses the machine, and what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which versions are kept.
    pub pruning: Pruning,
    /// Bytes for the nodes of trees that stay in memory from one commit to the next.
    pub memory: usize,
    /// Threads for the trees of one commit, where it changes much.
    pub threads: usize,
    /// The first version of a chain that has none yet.
    pub first: Version,
}

/// What a node in memory takes, with a key of ordinary length and what the allocator adds.
const NODE_BYTES: usize = 320;

impl Default for Options {
    fn default() -> Options {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Options { pruning: Pruning::Nothing, memory: 64 << 20, threads, first: Version(1) }
    }
}

/// A chain's state.
pub struct RootStore {
    inner: Arc<Inner>,
    pruning: Option<std::thread::JoinHandle<()>>,
}

struct Inner {
    /// The gate: commits pass it one by one, and so does a change of the layout. Readers do not.
    gate: Mutex<Committer>,
    /// Told when the gate is opened.
    opened: Condvar,
    stand: RwLock<Arc<Stand>>,
    pruner: Pruner,
    options: Options,
    way: RightOfWay,
}

impl Inner {
    fn stand(&self) -> Arc<Stand> {
        self.stand.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn gate(&self) -> MutexGuard<'_, Committer> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RootStore {
    /// A store on this layout, at its newest version. With [`Pruning::Keep`] a thread of its own prunes.
    ///
    /// # Errors
    /// The layout could not be read, or its newest version is damaged.
    pub fn new(layout: Arc<dyn Layout>, options: Options) -> Result<RootStore, StoreError> {
        let stand = RwLock::new(Arc::new(Stand::on(layout, None)?));
        let inner = Arc::new(Inner {
            gate: Mutex::new(Committer::new()),
            opened: Condvar::new(),
            stand,
            pruner: Pruner::default(),
            options,
            way: RightOfWay::default(),
        });
        let pruning = (options.pruning != Pruning::Nothing).then(|| {
            let inner = inner.clone();
            std::thread::spawn(move || inner.prune_when_called())
        });
        Ok(RootStore { inner, pruning })
    }

    /// The rootmulti layout of store/v1 in a RocksDB directory, such as a node's `application.db`. Created if it is not there.
    ///
    /// # Errors
    /// RocksDB could not open the directory (somebody else may have it open), or as [`RootStore::new`].
    #[cfg(feature = "rocksdb")]
    pub fn open_rootmulti(
        path: &std::path::Path,
        tuning: crate::target::rocks::EngineTuning,
        options: Options,
    ) -> Result<RootStore, StoreError> {
        let database = Arc::new(LiveRocks::open(path, tuning)?);
        RootStore::new(Arc::new(RootmultiLayout::new(database)), options)
    }

    /// The layout of store/v2 in a target's directory. Whose target it is, and whether it is finished, is not looked at here.
    ///
    /// # Errors
    /// RocksDB could not open the directories, or as [`V2Layout::open`] and [`RootStore::new`].
    #[cfg(feature = "rocksdb")]
    pub fn open_v2(
        place: &crate::target::Place,
        tuning: crate::target::rocks::EngineTuning,
        options: Options,
    ) -> Result<RootStore, StoreError> {
        use crate::target::rocks::{RocksCommitment, RocksStorage};
        place.clear_staging()?;
        let sc = RocksCommitment::open(&place.sc(), &place.staging(), &place.runs(), tuning)?;
        let ss = RocksStorage::open(&place.ss(), &place.staging(), tuning)?;
        RootStore::new(Arc::new(V2Layout::open(Box::new(sc), Some(Box::new(ss)))?), options)
    }

    fn means(&self) -> Means {
        let Options { memory, threads, first, .. } = self.inner.options;
        Means { threads, nodes: memory / NODE_BYTES, first }
    }

    /// Commits a block's changes as the next version; it is durable when this returns. Commits wait for each other, and for
    /// the moment of a switch ([`RootStore::close`]).
    ///
    /// # Errors
    /// The changes do not fit, or a tree could not be read: nothing was committed, and the store goes on. After a failed write it
    /// is not known whether the version is there; reads go on, and later commits are refused with [`StoreError::Broken`] until the
    /// store is opened anew.
    pub fn commit(&self, changes: impl Into<Arc<ChangeSet>>) -> Result<Arc<CommitInfo>, StoreError> {
        let changes = changes.into();
        let began = Instant::now();
        let mut committer = self.pass(self.inner.gate());
        let way = self.inner.way.take();
        let info = committer.commit(&self.inner.stand(), &changes, self.means())?;
        drop(way);
        let took = began.elapsed();
        for observer in &committer.observers {
            observer.took(took);
        }
        self.inner.pruner.committed(self.inner.options.pruning, info.version);
        Ok(info)
    }

    /// The newest version; none before the first.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<CommitInfo>> {
        self.inner.stand().retained.latest()
    }

    /// The versions that can be read.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.inner.stand().span()
    }

    /// The state at a version.
    ///
    /// # Errors
    /// [`StoreError::NoVersion`] if it was pruned or is not there yet; or it could not be read.
    pub fn at(&self, version: Version) -> Result<View, StoreError> {
        self.inner.stand().view(version)
    }

    /// Keeps a version and all later ones from being pruned until the [`Hold`] is dropped. Of the layout the store stands on.
    ///
    /// # Errors
    /// [`StoreError::NoVersion`] if it was pruned or is not there yet.
    pub fn hold(&self, version: Version) -> Result<Hold, StoreError> {
        self.inner.stand().retained.hold(version)
    }

    /// Tells an observer of every version from the next one on; returns the last one it is not told of.
    pub fn observe(&self, observer: Arc<dyn Observer>) -> Option<Version> {
        let mut committer = self.inner.gate();
        committer.observers.push(observer);
        self.latest().map(|info| info.version)
    }

    /// Tells an observer nothing any more.
    pub fn ignore(&self, observer: &Arc<dyn Observer>) {
        self.inner.gate().observers.retain(|other| !Arc::ptr_eq(other, observer));
    }

    /// Prunes what is to go by the options now, on this thread.
    ///
    /// # Errors
    /// A version could not be removed; it is taken up again.
    pub fn prune(&self) -> Result<(), StoreError> {
        self.inner.prune()
    }

    /// Prunes all versions before `oldest` that may go, whatever the options say, on this thread.
    ///
    /// # Errors
    /// As [`RootStore::prune`].
    pub fn prune_below(&self, oldest: Version) -> Result<(), StoreError> {
        self.inner.pruner.want(oldest);
        self.inner.prune()
    }

    /// Where pruning stands.
    #[must_use]
    pub fn prune_status(&self) -> PruneStatus {
        self.inner.prune_status()
    }

    /// The database as a source of store/v1 that sees new versions as they are committed; none on another layout. Hold the versions
    /// that are to be read from it. Reads stand aside while a commit is made.
    #[must_use]
    pub fn source(&self) -> Option<Arc<dyn Source>> {
        self.inner.stand().layout.source(&self.inner.way)
    }

    /// Moves what is in the engine's log into tables, which older releases of it read; commits need not wait for it.
    ///
    /// # Errors
    /// The engine could not write; nothing is lost.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.inner.stand().layout.flush()
    }

    /// Closes the gate: nothing is committed until what is returned is dropped. Waits for a commit under way.
    #[must_use]
    pub fn fence(&self) -> Fence<'_> {
        Fence { inner: &self.inner, committer: self.inner.gate() }
    }

    /// Has reads of versions before the oldest one answered by another layout, such as the store/v1 a migration left.
    ///
    /// # Errors
    /// The other layout could not be read.
    pub fn keep_older(&self, older: Arc<dyn Layout>) -> Result<(), StoreError> {
        let older = Arc::new(Stand::on(older, None)?);
        let fence = self.fence();
        let stand = self.inner.stand();
        let (layout, retained) = (stand.layout.clone(), stand.retained.clone());
        fence.put(Stand { layout, retained, older: Some(older) });
        Ok(())
    }
}

impl Drop for RootStore {
    fn drop(&mut self) {
        self.inner.pruner.end();
        if let Some(pruning) = self.pruning.take() {
            // A panic there was reported there.
            let _ = pruning.join();
        }
    }
}

/// Nothing is committed while it lives; reads go on.
pub struct Fence<'a> {
    inner: &'a Inner,
    committer: MutexGuard<'a, Committer>,
}

impl Fence<'_> {
    /// The version at which commits stand still.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<CommitInfo>> {
        self.inner.stand().retained.latest()
    }

    /// Goes on with another layout that stands at the same version with the same app hash. Views of the old one stay as they are;
    /// with `keep_older` it answers for versions before the new one's oldest. It is not pruned any more.
    ///
    /// # Errors
    /// [`StoreError::NotTheSame`], or the new layout could not be read; the old one goes on then.
    pub fn replace(&mut self, layout: Arc<dyn Layout>, keep_older: bool) -> Result<(), StoreError> {
        self.replace_at(layout, keep_older, None, None).map(drop)
    }

    fn replace_at(
        &mut self,
        layout: Arc<dyn Layout>,
        keep_older: bool,
        oldest: Option<Version>,
        warm: Option<WarmTrees>,
    ) -> Result<FormerTrees, StoreError> {
        self.committer.check()?;
        commit::same_place(self.latest().as_deref(), layout.as_ref())?;
        let older = keep_older.then(|| self.inner.stand());
        let stand = Stand::at(layout, older, oldest)?;
        self.put(stand);
        // Of another version they are not gone on with: the committer looks at each tree's.
        Ok(self.committer.begin_anew(warm.map_or_else(Trees::new, |warm| warm.trees)))
    }

    fn put(&self, stand: Stand) {
        self.inner.pruner.between(|| {
            *self.inner.stand.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(stand);
        });
    }
}

#[cfg(test)]
mod tests;
