//! A source seen without its memory stores.
//!
//! SDK 0.46 and older counted memory stores, which have no tree and no root, into the app hash. No store/v2 has them, so none
//! can reproduce such an app hash. Where the operator agrees to leave them out, what binds source and target instead is the
//! same hash over the IAVL stores alone, to which every pair contributes as before.

use super::{Scan, Source, SourceError, StoreRoot};
use crate::{
    iavl::{Access, NodeReader},
    model::{CommitInfo, StoreInfo, StoreKey, Version},
};

/// A source whose commit infos have IAVL stores only.
pub struct IavlStores {
    source: Box<dyn Source>,
}

impl IavlStores {
    /// The source without its memory stores.
    #[must_use]
    pub fn of(source: Box<dyn Source>) -> IavlStores {
        IavlStores { source }
    }
}

/// Whether a store is recorded as memory stores are: at no version and without a root.
#[must_use]
pub fn is_memory_store(store: &StoreInfo) -> bool {
    store.root.is_none() && store.version == Version(0)
}

impl Source for IavlStores {
    fn latest(&self) -> Result<Version, SourceError> {
        self.source.latest()
    }

    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, SourceError> {
        let mut info = self.source.commit_info(version)?;
        if let Some(info) = &mut info {
            info.stores.retain(|store| !is_memory_store(store));
        }
        Ok(info)
    }

    fn recorded(&self, version: Version) -> Result<Option<CommitInfo>, SourceError> {
        self.source.recorded(version)
    }

    fn root(&self, store: &StoreKey, version: Version) -> Result<Option<StoreRoot>, SourceError> {
        self.source.root(store, version)
    }

    fn nodes(&self, store: &StoreKey, access: Access) -> Box<dyn NodeReader + Send + '_> {
        self.source.nodes(store, access)
    }

    fn counted(&self, store: &StoreKey) -> Option<(u64, u64)> {
        self.source.counted(store)
    }

    fn notes(&self) -> Vec<String> {
        self.source.notes()
    }

    fn records(&self, store: &StoreKey) -> Box<dyn Scan + Send + '_> {
        self.source.records(store)
    }

    fn stores_on_disk(&self) -> Result<Vec<StoreKey>, SourceError> {
        self.source.stores_on_disk()
    }

    fn recorded_versions(&self, each: &mut dyn FnMut(Version)) -> Result<(), SourceError> {
        self.source.recorded_versions(each)
    }

    fn engine(&self) -> &'static str {
        self.source.engine()
    }

    fn approximate_bytes(&self, store: &StoreKey) -> u64 {
        self.source.approximate_bytes(store)
    }
}
