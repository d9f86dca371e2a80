//! The state at one version, for whoever reads it.

use super::{
    Hold, StoreError,
    layout::{Layout, PairIter, root_of},
    stand::Stand,
};
use crate::{
    iavl::{
        Access, NodeId, NodeReader,
        ics23::{StoreProof, StoreProofError},
        lookup::{KeyRange, Order},
    },
    model::{CommitInfo, Hash, StoreKey, Version},
};
use std::{
    ops::{Bound, RangeBounds},
    sync::Arc,
};

/// The state at one version. What it shows does not change, whatever is committed or pruned meanwhile; while it lives, neither
/// its version nor a later one is pruned.
pub struct View {
    stand: Arc<Stand>,
    info: Arc<CommitInfo>,
    _hold: Hold,
}

/// One store's tree at one version, for proofs.
pub struct TreeAt<'a> {
    /// Where its root node is; none for the empty tree.
    pub root: Option<NodeId>,
    /// Its Merkle hash.
    pub hash: Hash,
    /// Reads its nodes.
    pub nodes: Box<dyn NodeReader + Send + 'a>,
}

impl View {
    pub(super) fn new(stand: Arc<Stand>, info: Arc<CommitInfo>, hold: Hold) -> View {
        View { stand, info, _hold: hold }
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.info.version
    }

    /// Its commit info.
    #[must_use]
    pub fn commit_info(&self) -> &Arc<CommitInfo> {
        &self.info
    }

    fn layout(&self) -> &dyn Layout {
        self.stand.layout.as_ref()
    }

    fn check(&self, store: &StoreKey) -> Result<Hash, StoreError> {
        let found = self.info.store(store).and_then(|store| store.root);
        found.ok_or_else(|| StoreError::NoStore { store: store.clone(), version: self.version() })
    }

    /// The value of a key; none if it has none.
    ///
    /// # Errors
    /// The version has no such store, or it could not be read.
    pub fn get(&self, store: &StoreKey, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.check(store)?;
        self.layout().get(store, self.version(), key)
    }

    /// The pairs of a range of keys, in either order.
    ///
    /// # Errors
    /// The version has no such store, or it could not be read.
    pub fn range<'k>(
        &self,
        store: &StoreKey,
        range: impl RangeBounds<&'k [u8]>,
        order: Order,
    ) -> Result<PairIter<'_>, StoreError> {
        self.check(store)?;
        let owned = |bound: Bound<&&[u8]>| bound.map(|key| key.to_vec());
        let range: KeyRange = (owned(range.start_bound()), owned(range.end_bound()));
        self.layout().pairs(store, self.version(), range, order)
    }

    /// All pairs of a store in ascending order.
    ///
    /// # Errors
    /// As [`View::range`].
    pub fn iter(&self, store: &StoreKey) -> Result<PairIter<'_>, StoreError> {
        self.range(store, .., Order::Ascending)
    }

    /// Proves a key, or that there is none, up to the app hash; as the Cosmos SDK answers a query with `prove`. Two things have no
    /// proof that the `ics23` libraries accept, see [`crate::iavl::ics23`].
    ///
    /// # Errors
    /// The version has no such store; or a node could not be read, or does not lead to the root.
    pub fn prove(&self, store: &StoreKey, key: &[u8]) -> Result<StoreProof, StoreError> {
        let TreeAt { root, mut nodes, .. } = self.tree(store)?;
        let version = self.version();
        StoreProof::prove(nodes.as_mut(), root, &self.info, store, key).map_err(|error| match error {
            StoreProofError::NoStore { store, version } => StoreError::NoStore { store, version },
            StoreProofError::Tree { why, .. } => {
                StoreError::Nodes { store: store.clone(), version, why: Box::new(why) }
            }
            error @ StoreProofError::Root { .. } => StoreError::Damaged(error.to_string()),
        })
    }

    /// The tree of a store, to prove from.
    ///
    /// # Errors
    /// The version has no such store, or it could not be read.
    pub fn tree(&self, store: &StoreKey) -> Result<TreeAt<'_>, StoreError> {
        let hash = self.check(store)?;
        let root = root_of(self.layout(), &self.info, store)?;
        Ok(TreeAt { root, hash, nodes: self.layout().nodes(store, Access::Points)? })
    }
}
