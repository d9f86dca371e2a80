//! The rootmulti layout of store/v1, written as the SDK's rootmulti and IAVL 1.x write it, in one synced batch for a version.
//!
//! Records: `s/k:<store>/` ‖ node key for nodes and root records, `s/<version>` for commit infos, `s/latest`. The IAVL fast
//! index (`f` and `m` records) is not kept: the first commit after opening removes each store's `m` record, which says up to
//! which version the index is right, and Go builds the index anew when it opens the store, or does without it.
//!
//! Unlike Go, which leaves `s/<version>` for ever, pruning removes it, so that what is there tells which versions are.

use super::{
    Batch, Database, RightOfWay, StoreError,
    layout::{Layout, NewVersion, PairIter, Pruned, info_of, root_of},
    right_of_way::Beside,
};
use crate::{
    iavl::{
        Access, NodeId, NodeKey, NodeReader,
        lookup::{self, KeyRange, Order, OwnedPair, Pairs},
    },
    model::{CommitInfo, StoreKey, Version, check_store_keys},
    source::{Rootmulti, Source, SourceError, StoreRoot, commit_info},
};
use std::sync::Arc;

/// The rootmulti layout in some database.
pub struct RootmultiLayout {
    database: Arc<dyn Database>,
    source: Rootmulti<Arc<dyn Database>>,
}

/// What a store's fast index says of itself.
const FAST_INDEX_VERSION: &[u8] = b"mstorage_version";

impl RootmultiLayout {
    /// The layout in this database; nothing is written.
    #[must_use]
    pub fn new(database: Arc<dyn Database>) -> RootmultiLayout {
        RootmultiLayout { source: Rootmulti::new(database.clone()), database }
    }

    /// Records of versions after `latest`, which a crash left of a version that never was (Go writes a version store by store),
    /// and whatever claims a fast index.
    fn sweep(&self, store: &StoreKey, latest: Version, batch: &mut Batch) -> Result<(), StoreError> {
        let index = full_key(store, FAST_INDEX_VERSION);
        if self.database.get(&index)?.is_some() {
            batch.push((index, None));
        }
        let mut records = self.source.records(store);
        records.seek(&NodeKey::new(latest.next(), 0).to_bytes());
        while let Some((key, _)) = records.next()? {
            if NodeKey::from_bytes(key).is_none() {
                break;
            }
            batch.push((full_key(store, key), None));
        }
        Ok(())
    }

    fn tree(&self, store: &StoreKey, version: Version) -> Result<Option<NodeId>, StoreError> {
        root_of(self, &info_of(self, version)?, store)
    }
}

fn full_key(store: &StoreKey, key: &[u8]) -> Vec<u8> {
    [b"s/k:", store.as_str().as_bytes(), b"/", key].concat()
}

fn info_key(version: Version) -> Vec<u8> {
    format!("s/{version}").into_bytes()
}

impl Layout for RootmultiLayout {
    fn name(&self) -> &'static str {
        "rootmulti"
    }

    fn latest(&self) -> Result<Option<Version>, StoreError> {
        match self.source.latest() {
            Ok(version) => Ok(Some(version)),
            Err(SourceError::NoVersion) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, StoreError> {
        Ok(self.source.commit_info(version)?)
    }

    fn root(&self, store: &StoreKey, version: Version) -> Result<Option<StoreRoot>, StoreError> {
        Ok(self.source.root(store, version)?)
    }

    fn nodes(&self, store: &StoreKey, access: Access) -> Result<Box<dyn NodeReader + Send + '_>, StoreError> {
        Ok(self.source.nodes(store, access))
    }

    fn has_records(&self, store: &StoreKey, version: Version) -> Result<bool, StoreError> {
        let mut records = self.source.records(store);
        for begins in [b"n", b"o", b"r"] {
            records.seek(begins);
            if records.next()?.is_some_and(|(key, _)| key.starts_with(begins)) {
                return Ok(true);
            }
        }
        records.seek(b"s");
        let first = records.next()?.and_then(|(key, _)| NodeKey::from_bytes(key));
        Ok(first.is_some_and(|first| first.version <= version))
    }

    fn objection(&self, stores: &[StoreKey]) -> Option<String> {
        stores
            .iter()
            .find_map(|store| check_store_keys(std::slice::from_ref(store)).err())
            .map(|error| error.to_string())
    }

    fn get(&self, store: &StoreKey, version: Version, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(root) = self.tree(store, version)? else { return Ok(None) };
        value_in_tree(self.source.nodes(store, Access::Points), root, store, version, key)
    }

    fn pairs(
        &self,
        store: &StoreKey,
        version: Version,
        range: KeyRange,
        order: Order,
    ) -> Result<PairIter<'_>, StoreError> {
        let pairs = Pairs::new(self.tree(store, version)?, range, order);
        Ok(Box::new(TreePairs {
            store: store.clone(),
            version,
            pairs,
            nodes: self.source.nodes(store, Access::Points),
        }))
    }

    fn write(&self, new: &NewVersion<'_>) -> Result<(), StoreError> {
        let version = new.info.version;
        let mut batch = Batch::new();
        if new.is_first {
            for store in new.info.stores.iter().map(|store| &store.name).chain(new.dropped) {
                self.sweep(store, Version(version.0.saturating_sub(1)), &mut batch)?;
            }
        }
        for store in new.stores {
            for (at, record) in &store.records {
                batch.push((full_key(&store.store, &at.to_bytes()), Some(record.clone())));
            }
        }
        for store in new.dropped {
            batch.push((full_key(store, &NodeKey::root_of(version).to_bytes()), Some(Vec::new())));
        }
        batch.push((info_key(version), Some(commit_info::encode(new.info))));
        batch.push((b"s/latest".to_vec(), Some(commit_info::encode_latest(version))));
        Ok(self.database.write(batch, true)?)
    }

    fn prune(&self, pruned: &Pruned) -> Result<(), StoreError> {
        let of = |(store, at, record): &(StoreKey, NodeKey, Option<Vec<u8>>)| {
            (full_key(store, &at.to_bytes()), record.clone())
        };
        let mut batch: Batch = pruned.records.iter().map(of).collect();
        batch.push((info_key(pruned.version), None));
        Ok(self.database.write(batch, false)?)
    }

    fn forget(&self, _: Version) -> Result<(), StoreError> {
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(self.database.flush()?)
    }

    fn source(&self, way: &RightOfWay) -> Option<Arc<dyn Source>> {
        Some(Arc::new(Rootmulti::new(Beside { engine: self.database.clone(), way: way.clone() })))
    }
}

/// The value of a key in the tree of a store at a version.
pub(super) fn value_in_tree(
    mut nodes: Box<dyn NodeReader + Send + '_>,
    root: NodeId,
    store: &StoreKey,
    version: Version,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let failed = |why| StoreError::Nodes { store: store.clone(), version, why: Box::new(why) };
    lookup::get(&mut *nodes, root, key).map_err(failed)
}

/// The pairs of a tree.
pub(super) struct TreePairs<'a> {
    pub store: StoreKey,
    pub version: Version,
    pub pairs: Pairs,
    pub nodes: Box<dyn NodeReader + Send + 'a>,
}

impl Iterator for TreePairs<'_> {
    type Item = Result<OwnedPair, StoreError>;

    fn next(&mut self) -> Option<Result<OwnedPair, StoreError>> {
        let failed = |why| StoreError::Nodes { store: self.store.clone(), version: self.version, why: Box::new(why) };
        self.pairs.next(&mut self.nodes).map_err(failed).transpose()
    }
}
