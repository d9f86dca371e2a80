//! The layout of store/v2: trees and commit infos in SC, pairs in SS.
//!
//! The two are never atomic together. SC is written and synced first, and a commit is durable with that. SS follows, and is synced
//! now and then: what a crash takes from it, or kept from it altogether, is read back from SC's trees when the layout is opened.
//! So a commit takes one sync, and no crash leaves SS ahead. Where it is all the same (one of them came from a backup), it is
//! refused: entries of SS cannot be taken back one by one, but a new SS is read back from SC. Pruning syncs SS before it takes a
//! version from SC.

use super::{
    StoreError,
    layout::{Layout, NewVersion, PairIter, Pruned, info_of, recorded_root, root_of},
    rootmulti::{TreePairs, value_in_tree},
};
use crate::{
    iavl::{
        Access, Claim, NodeId, NodeKey, NodeReader, RecordStream,
        diff::{OldTree, diff},
        lookup::{KeyRange, Order, OwnedPair, Pairs},
    },
    model::{Change, CommitInfo, StoreKey, Version, check_store_keys},
    source::StoreRoot,
    target::{Commitment, PairReader, Storage, TargetError, drop_pairs, write_real_changes},
};
use std::{
    ops::{Bound, RangeBounds as _},
    sync::atomic::{AtomicU64, Ordering},
};

/// The layout of store/v2 in two engines.
pub struct V2Layout {
    sc: Box<dyn Commitment>,
    ss: Option<Box<dyn Storage>>,
    /// Up to which version SS is known to be on disk.
    synced: AtomicU64,
}

/// So many versions of SS may be lost in a crash of the machine; they are read back from SC then.
const UNSYNCED: u64 = 64;
/// Bytes of a batch of pairs that are read back.
const BATCH_BYTES: usize = 1 << 20;

impl V2Layout {
    /// The layout in these engines. If SS is behind, or new, it is brought to SC's version.
    ///
    /// # Errors
    /// An engine could not be read or written; SC lacks versions that SS needs; [`StoreError::Ahead`].
    pub fn open(sc: Box<dyn Commitment>, ss: Option<Box<dyn Storage>>) -> Result<V2Layout, StoreError> {
        let layout = V2Layout::at_rest(sc, ss)?;
        layout.compact()?;
        Ok(layout)
    }

    /// As [`V2Layout::open`], in engines that go on compacting or not as they do. [`V2Layout::compact`] is to follow.
    ///
    /// # Errors
    /// As [`V2Layout::open`].
    pub fn at_rest(sc: Box<dyn Commitment>, ss: Option<Box<dyn Storage>>) -> Result<V2Layout, StoreError> {
        let layout = V2Layout { sc, ss, synced: AtomicU64::new(0) };
        layout.level()?;
        Ok(layout)
    }

    /// Has the engines compact by themselves, which they do not when they are opened, without waiting for it.
    ///
    /// # Errors
    /// An engine refused.
    pub fn compact(&self) -> Result<(), StoreError> {
        let compacts = [self.sc.compact(0, &|| true), self.ss.as_ref().map_or(Ok(()), |ss| ss.compact(0, &|| true))];
        for compacts in compacts {
            match compacts {
                Ok(()) | Err(TargetError::Stopped) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The engines, as they are.
    #[must_use]
    pub fn into_engines(self) -> (Box<dyn Commitment>, Option<Box<dyn Storage>>) {
        (self.sc, self.ss)
    }

    /// Brings SS to SC's version.
    fn level(&self) -> Result<(), StoreError> {
        let Some(ss) = &self.ss else { return Ok(()) };
        match (self.sc.latest()?, ss.latest()?) {
            (None, None) => return Ok(()),
            (Some(sc), Some(at)) if sc == at => {}
            (Some(sc), Some(at)) if at > sc => return Err(StoreError::Ahead { ss: at, sc: Some(sc) }),
            (Some(sc), at) => {
                let from = match at {
                    Some(at) => at,
                    // SS has nothing: all that SC has is read back.
                    None => Version(super::layout::oldest(self, sc)?.0.saturating_sub(1)),
                };
                tracing::info!("SS is at version {from} and SC at {sc}: SS is read back from SC's trees");
                for version in (from.0 + 1..=sc.0).map(Version) {
                    self.read_back(ss.as_ref(), version, at.is_none() && version == from.next())?;
                }
            }
            (None, Some(at)) => return Err(StoreError::Ahead { ss: at, sc: None }),
        }
        self.sync_pairs()
    }

    /// Writes to SS what SC's trees say a version changed.
    fn read_back(&self, ss: &dyn Storage, version: Version, is_first: bool) -> Result<(), StoreError> {
        let info = info_of(self, version)?;
        let before = if is_first { None } else { Some(info_of(self, Version(version.0.saturating_sub(1)))?) };
        for store in &info.stores {
            let (name, hash) = (&store.name, store.root.unwrap_or(crate::model::Hash::EMPTY));
            let old = match before.as_ref().filter(|before| before.store(name).is_some()) {
                Some(before) => root_of(self, before, name)?.map(|root| OldTree { root, version: before.version }),
                None => None,
            };
            let new = root_of(self, &info, name)?.map(|at| Claim { at, hash });
            let mut nodes = self.sc.nodes(name, Access::Points)?;
            let (mut batch, mut bytes, mut failed) = (Vec::new(), 0, Ok(()));
            let differ = diff(&mut nodes, old, new, &mut |key, value| {
                bytes += key.len() + value.map_or(0, <[u8]>::len);
                batch.push(Change { key: key.to_vec(), value: value.map(<[u8]>::to_vec) });
                if bytes >= BATCH_BYTES {
                    failed = ss.write_changes(name, version, &mut batch.iter().map(Change::borrow));
                    batch.clear();
                    bytes = 0;
                }
                failed.is_ok()
            });
            failed?;
            differ.map_err(|why| StoreError::Nodes { store: name.clone(), version, why: Box::new(why) })?;
            if !batch.is_empty() {
                ss.write_changes(name, version, &mut batch.iter().map(Change::borrow))?;
            }
        }
        for gone in before.iter().flat_map(|before| &before.stores).filter(|store| info.store(&store.name).is_none()) {
            drop_pairs(ss, &gone.name, version)?;
        }
        Ok(ss.write_watermark(version)?)
    }

    fn sync_pairs(&self) -> Result<(), StoreError> {
        let Some(ss) = &self.ss else { return Ok(()) };
        if let Some(latest) = ss.latest()? {
            ss.sync()?;
            self.synced.fetch_max(latest.0, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Removes records of versions after `latest`, which a crash left of a version that never was.
    fn sweep(&self, store: &StoreKey, latest: Version) -> Result<(), StoreError> {
        let mut left = Vec::new();
        let mut records = self.sc.records(store)?;
        records.seek(NodeKey::new(latest.next(), 0));
        while let Some((at, _)) = records.next().map_err(TargetError::Read)? {
            left.push((store.clone(), at, None));
        }
        drop(records);
        if !left.is_empty() {
            self.sc.prune(&left, latest.next())?;
        }
        Ok(())
    }

    fn tree(&self, store: &StoreKey, version: Version) -> Result<Option<NodeId>, StoreError> {
        root_of(self, &info_of(self, version)?, store)
    }
}

impl Layout for V2Layout {
    fn name(&self) -> &'static str {
        "store/v2"
    }

    fn latest(&self) -> Result<Option<Version>, StoreError> {
        Ok(self.sc.latest()?)
    }

    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, StoreError> {
        Ok(self.sc.commit_info(version)?)
    }

    fn root(&self, store: &StoreKey, version: Version) -> Result<Option<StoreRoot>, StoreError> {
        root_in(self.sc.as_ref(), store, version)
    }

    fn nodes(&self, store: &StoreKey, access: Access) -> Result<Box<dyn NodeReader + Send + '_>, StoreError> {
        Ok(self.sc.nodes(store, access)?)
    }

    fn has_records(&self, store: &StoreKey, version: Version) -> Result<bool, StoreError> {
        let mut records = self.sc.records(store)?;
        records.seek(NodeKey::new(Version(0), 0));
        let first = records.next().map_err(TargetError::Read)?;
        Ok(first.is_some_and(|(first, _)| first.version <= version))
    }

    fn objection(&self, stores: &[StoreKey]) -> Option<String> {
        check_store_keys(stores).err().map(|error| error.to_string())
    }

    fn get(&self, store: &StoreKey, version: Version, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(ss) = &self.ss {
            return Ok(ss.get(store, version, key)?);
        }
        let Some(root) = self.tree(store, version)? else { return Ok(None) };
        value_in_tree(self.sc.nodes(store, Access::Points)?, root, store, version, key)
    }

    fn pairs(
        &self,
        store: &StoreKey,
        version: Version,
        range: KeyRange,
        order: Order,
    ) -> Result<PairIter<'_>, StoreError> {
        let Some(ss) = &self.ss else {
            let (pairs, nodes) =
                (Pairs::new(self.tree(store, version)?, range, order), self.sc.nodes(store, Access::Points)?);
            return Ok(Box::new(TreePairs { store: store.clone(), version, pairs, nodes }));
        };
        let pairs = match order {
            Order::Ascending => {
                let from = match &range.0 {
                    Bound::Included(from) | Bound::Excluded(from) => from.as_slice(),
                    Bound::Unbounded => &[],
                };
                ss.pairs(store, version, from)?
            }
            Order::Descending => match &range.1 {
                // The next key after an included one is that with a zero more.
                Bound::Included(to) => ss.pairs_back(store, version, Some(&[to, &[0][..]].concat()))?,
                Bound::Excluded(to) => ss.pairs_back(store, version, Some(to))?,
                Bound::Unbounded => ss.pairs_back(store, version, None)?,
            },
        };
        Ok(Box::new(StoragePairs { pairs, range, order, ended: false }))
    }

    fn write(&self, new: &NewVersion<'_>) -> Result<(), StoreError> {
        let version = new.info.version;
        if new.is_first {
            for store in &new.info.stores {
                self.sweep(&store.name, Version(version.0.saturating_sub(1)))?;
            }
        }
        for store in new.stores {
            self.sc.write_records(&store.store, &mut Records { records: store.records.iter() })?;
        }
        // The log is a prefix of what was written: the version is not there without its nodes.
        self.sc.write_info(new.info)?;
        self.sc.sync()?;
        let Some(ss) = &self.ss else { return Ok(()) };
        for store in new.stores {
            write_real_changes(ss.as_ref(), &store.store, version, &store.changes)?;
        }
        for store in new.dropped {
            drop_pairs(ss.as_ref(), store, version)?;
        }
        ss.write_watermark(version)?;
        if version.0.saturating_sub(self.synced.load(Ordering::SeqCst)) >= UNSYNCED {
            self.sync_pairs()?;
        }
        Ok(())
    }

    fn prune(&self, pruned: &Pruned) -> Result<(), StoreError> {
        // What SS may lose is read back from differences, which need the version before.
        if self.ss.is_some() && self.synced.load(Ordering::SeqCst) <= pruned.version.0 {
            self.sync_pairs()?;
        }
        Ok(self.sc.prune(&pruned.records, pruned.version)?)
    }

    fn forget(&self, oldest: Version) -> Result<(), StoreError> {
        let Some(ss) = &self.ss else { return Ok(()) };
        // SC first: should a power cut take what was pruned there and leave what SS gave up, versions would seem to be there
        // whose pairs are gone.
        self.sc.sync()?;
        Ok(ss.forget(oldest)?)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.sc.flush()?;
        self.ss.as_ref().map_or(Ok(()), |ss| Ok(ss.flush()?))
    }
}

/// Where the root of a store's tree is in SC.
pub(super) fn root_in(
    sc: &dyn Commitment,
    store: &StoreKey,
    version: Version,
) -> Result<Option<StoreRoot>, StoreError> {
    let mut nodes = sc.nodes(store, Access::Points)?;
    let damaged = |what| StoreError::Damaged(format!("SC: the root of store {store} at version {version} {what}"));
    recorded_root(&mut *nodes, version).map_err(TargetError::Read)?.map_err(damaged)
}

/// Records on their way into SC.
struct Records<'a> {
    records: std::slice::Iter<'a, (NodeKey, Vec<u8>)>,
}

impl RecordStream for Records<'_> {
    fn next(&mut self) -> Option<(NodeKey, &[u8])> {
        self.records.next().map(|(at, record)| (*at, record.as_slice()))
    }
}

/// The pairs of a range in SS.
struct StoragePairs<'a> {
    pairs: Box<dyn PairReader + 'a>,
    range: KeyRange,
    order: Order,
    ended: bool,
}

impl Iterator for StoragePairs<'_> {
    type Item = Result<OwnedPair, StoreError>;

    fn next(&mut self) -> Option<Result<OwnedPair, StoreError>> {
        while !self.ended {
            let pair = match self.pairs.next() {
                Ok(Some(pair)) => (pair.key.to_vec(), pair.value.to_vec()),
                Ok(None) => break,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error.into()));
                }
            };
            if self.range.contains(&pair.0) {
                return Some(Ok(pair));
            }
            // Outside at the near end there may be one key, the excluded one.
            let (begins, ends) = (&self.range.0, &self.range.1);
            let is_beyond = match self.order {
                Order::Ascending => !(Bound::Unbounded, ends.clone()).contains(&pair.0),
                Order::Descending => !(begins.clone(), Bound::Unbounded).contains(&pair.0),
            };
            self.ended = is_beyond;
        }
        self.ended = true;
        None
    }
}
