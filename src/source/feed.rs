//! Feeds: where changesets come from. Here, from the versions the database itself retains.
//!
//! Owns the rule how one version's trees become changes: the difference to the version before, and for a store that
//! begins at a version (an upgrade added or renamed it) the tree itself, because the order in which an upgrade wrote
//! its keys is not to be had from the tree.

use super::{
    Source, SourceError, StoreRoot,
    recent::{Recent, Remembering},
};
use crate::{
    iavl::{
        Access, Claim, NodeReader, ProveError,
        diff::{OldTree, Proof, diff, diff_to_replay},
    },
    model::{Change, CommitInfo, Hash, StoreKey, Version},
};
use std::sync::{Arc, Mutex, PoisonError};

/// What one version changed.
#[derive(Clone, Debug)]
pub struct VersionChanges {
    /// The commit info store/v1 recorded.
    pub info: CommitInfo,
    /// Every store of that commit info, in order of name.
    pub stores: Vec<StoreUpdate>,
    /// Stores of the version before that an upgrade dropped.
    pub dropped: Vec<StoreKey>,
}

/// One store's part in a version.
#[derive(Clone, Debug)]
pub struct StoreUpdate {
    /// The store.
    pub store: StoreKey,
    /// The root store/v1 recorded.
    pub root: Hash,
    /// What happened to it.
    pub change: StoreChange,
}

/// What happened to a store.
#[derive(Clone, Debug)]
pub enum StoreChange {
    /// These pairs, in the order store/v1 wrote them.
    Changes(Vec<Change>),
    /// It begins here, with this tree, or empty.
    Begins(Option<Claim>),
}

/// A feed cannot give a version.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The source could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The version's trees do not prove.
    #[error("store {store} at version {version}: {why}")]
    Prove {
        /// The store.
        store: StoreKey,
        /// The version.
        version: Version,
        /// What does not prove.
        why: Box<ProveError>,
    },
    /// The version, or the one before, is not retained.
    #[error("{what} of version {version} is not in the database any more: it was pruned, or never written")]
    Gone {
        /// The version.
        version: Version,
        /// Which record or root.
        what: String,
    },
}

/// Gives the changes of versions after the snapshot.
pub trait Feed: Send + Sync {
    /// The newest version store/v1 has committed.
    ///
    /// # Errors
    /// The feed is broken.
    fn tip(&self) -> Result<Version, FeedError>;

    /// The changes of one version. Unproven ones are quicker to be had; where they do not lead to the roots they come
    /// with, the proven ones tell whether the database is at fault.
    ///
    /// # Errors
    /// The version cannot be given, or does not prove. The error is the same whoever was to prove it.
    fn changes(&self, version: Version, proof: Proof) -> Result<VersionChanges, FeedError>;

    /// The database that retains the versions, if there is one: much of it can be read at once.
    fn retained(&self) -> Option<&dyn Source>;

    /// A reader of a store's node records in store/v1, for stores that begin.
    fn nodes(&self, store: &StoreKey) -> Box<dyn NodeReader + Send + '_>;

    /// Stops store/v1 and says at which version it stands.
    ///
    /// # Errors
    /// It could not be stopped.
    fn fence(&self) -> Result<Version, FeedError>;
}

/// The feed of a database that stands still: the differences between its retained versions.
pub struct RetainedVersions {
    source: Arc<dyn Source>,
    recent: Mutex<Recent>,
}

impl RetainedVersions {
    /// The versions of this source. About `memory` bytes are spent on remembering recent nodes.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, memory: usize) -> RetainedVersions {
        RetainedVersions { source, recent: Mutex::new(Recent::new(memory)) }
    }

    fn info(&self, version: Version) -> Result<CommitInfo, FeedError> {
        let gone = || FeedError::Gone { version, what: "the commit info".to_owned() };
        self.source.commit_info(version)?.ok_or_else(gone)
    }

    fn root(&self, store: &StoreKey, version: Version) -> Result<StoreRoot, FeedError> {
        let gone = || FeedError::Gone { version, what: format!("the root of store {store}") };
        self.source.root(store, version)?.ok_or_else(gone)
    }

    fn store_changes(
        &self,
        store: &StoreKey,
        version: Version,
        root: Hash,
        proof: Proof,
    ) -> Result<Vec<Change>, FeedError> {
        let before = Version(version.0.saturating_sub(1));
        let (old, new) = (self.root(store, before)?, self.root(store, version)?);
        let mut changes = Vec::new();
        if old == new {
            // Unchanged trees share their root node: nothing was set, not even to the value it had.
            return Ok(changes);
        }
        let old = match old {
            StoreRoot::Empty => None,
            StoreRoot::At(root) => Some(OldTree { root, version: before }),
        };
        let new = claim(new, root);
        if proof == Proof::ByReplay {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.begin(version);
            let mut nodes = Remembering {
                store: recent.number(store),
                version,
                recent: &mut recent,
                new: self.source.nodes(store, Access::Runs),
                old: self.source.nodes(store, Access::Points),
            };
            let found = diff_to_replay(&mut nodes, old, new.map(|new| new.key), &mut |key, value| {
                changes.push(Change { key: key.to_vec(), value: value.map(<[u8]>::to_vec) });
                true
            });
            if found.is_ok() {
                return Ok(changes);
            }
            // What is wrong, if anything, is told by the proof.
            changes.clear();
        }
        let mut nodes = self.source.nodes(store, Access::Points);
        diff(&mut nodes, old, new, &mut |key, value| {
            changes.push(Change { key: key.to_vec(), value: value.map(<[u8]>::to_vec) });
            true
        })
        .map_err(|why| FeedError::Prove { store: store.clone(), version, why: Box::new(why) })?;
        Ok(changes)
    }
}

fn claim(root: StoreRoot, hash: Hash) -> Option<Claim> {
    match root {
        StoreRoot::Empty => None,
        StoreRoot::At(key) => Some(Claim { key, hash }),
    }
}

impl Feed for RetainedVersions {
    fn tip(&self) -> Result<Version, FeedError> {
        Ok(self.source.latest()?)
    }

    fn changes(&self, version: Version, proof: Proof) -> Result<VersionChanges, FeedError> {
        let before = self.info(Version(version.0.saturating_sub(1)))?;
        let info = self.info(version)?;
        let mut stores = Vec::with_capacity(info.stores.len());
        for store in &info.stores {
            let root = store.root.unwrap_or(Hash::EMPTY);
            let change = if before.store(&store.name).is_some() {
                StoreChange::Changes(self.store_changes(&store.name, version, root, proof)?)
            } else {
                StoreChange::Begins(claim(self.root(&store.name, version)?, root))
            };
            stores.push(StoreUpdate { store: store.name.clone(), root, change });
        }
        let dropped =
            before.stores.iter().filter(|store| info.store(&store.name).is_none()).map(|s| s.name.clone()).collect();
        Ok(VersionChanges { info, stores, dropped })
    }

    fn retained(&self) -> Option<&dyn Source> {
        Some(self.source.as_ref())
    }

    fn nodes(&self, store: &StoreKey) -> Box<dyn NodeReader + Send + '_> {
        self.source.nodes(store, Access::Points)
    }

    fn fence(&self) -> Result<Version, FeedError> {
        // Nothing writes to a database that stands still, so it is fenced where it is.
        self.tip()
    }
}
