//! One store's part in a stretch: what its tree grew by goes to SC as records and to SS as pairs.
//!
//! Takes what [`Growth`] proves and nothing else; hands a version for which that does not go to [`super::replay`].

use super::{
    super::PhaseError,
    replay::Replay,
    stretch::{STEEPEST, Stretch},
    written::{target_root, write_records},
};
use crate::{
    iavl::{
        Access, NodeId, NodeKey, NodeReader, ProveError, RecordStream,
        growth::{Growth, Readers, Trunk},
    },
    model::{Hash, StoreKey, Version},
    source::StoreRoot,
};
use std::sync::{PoisonError, atomic::Ordering};

/// What one worker keeps from store to store.
#[derive(Default)]
pub(super) struct StoreWork {
    growth: Growth,
    /// Its buffers are larger than this worker's share.
    is_large: bool,
}

impl StoreWork {
    /// Applies all versions of the stretch to a store that was there before it.
    pub fn apply(&mut self, stretch: &Stretch<'_>, store: &StoreKey) -> Result<(), PhaseError> {
        let roots: Vec<Hash> = stretch.infos.iter().map(|info| stretch.root(store, info.version)).collect();
        let mut rest = roots.as_slice();
        let mut at = stretch.from();
        let mut same_after = stretch.same_after(store);
        let mut most = usize::MAX;
        let mut trunk = None;
        let mut replay = None;
        while !rest.is_empty() {
            stretch.work.turn()?;
            let grown_on = match trunk.take() {
                Some(trunk) => trunk,
                None => find_trunk(stretch, store, at)?,
            };
            let tried = rest.get(..most).unwrap_or(rest);
            let mut read = self.read(stretch, store, grown_on, tried, same_after)?;
            if read.is_err() && same_after < grown_on.version {
                // A run that is no more may have replayed versions, and SC have nodes of theirs under keys of its own.
                read = self.read(stretch, store, grown_on, tried, grown_on.version)?;
                if read.is_ok() {
                    same_after = grown_on.version;
                    stretch.set_same_after(store, same_after);
                }
            }
            let count = match read {
                Ok(count) => count,
                Err(why) => {
                    tracing::debug!(%store, after = %at, %why, "does not prove as a stretch");
                    0
                }
            };
            if count == 0 {
                let replay = replay.get_or_insert_with(|| Replay::new(stretch, store));
                at = at.next();
                replay.apply(at)?;
                rest = rest.get(1..).unwrap_or_default();
                if matches!(stretch.source_root(store, at)?, Some(NodeId::Legacy(_))) {
                    same_after = at;
                    stretch.set_same_after(store, same_after);
                }
                // If the next one does not prove either, little was read in vain.
                most = 1;
                continue;
            }
            tracing::debug!(%store, after = %at, versions = count, records = self.growth.record_count(), "grown");
            self.write(stretch, store, at, count)?;
            trunk = self.growth.trunk();
            if std::mem::take(&mut self.is_large) {
                self.growth = Growth::default();
            }
            replay = None;
            most = most.saturating_mul(STEEPEST);
            at = Version(at.0 + count as u64);
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads as many versions as fit the memory of one worker; if none does, tries once more with the memory of all.
    fn read(
        &mut self,
        stretch: &Stretch<'_>,
        store: &StoreKey,
        trunk: Trunk,
        roots: &[Hash],
        same_after: Version,
    ) -> Result<Result<usize, ProveError>, PhaseError> {
        let mut grown = stretch.source.nodes(store, Access::Runs);
        let mut source = stretch.source.nodes(store, Access::Points);
        // Without an SC that is written the tree of store/v1 itself is what the versions grow on.
        let mut target: Box<dyn NodeReader + Send + '_> = match stretch.sc {
            Some(sc) => sc.nodes(store, Access::Runs)?,
            None => stretch.source.nodes(store, Access::Points),
        };
        let same_after = if stretch.sc.is_some() { same_after } else { Version(0) };
        let mut readers = Readers { grown: &mut grown, source: &mut source, target: &mut target, same_after };
        let all = stretch.work.tuning.stretches();
        let read = {
            let _shared = stretch.memory.read().unwrap_or_else(PoisonError::into_inner);
            self.growth.read(&mut readers, trunk, roots, all / stretch.work.tuning.workers.max(1))
        };
        if !matches!(read, Ok(0)) {
            return Ok(read);
        }
        self.is_large = true;
        let _alone = stretch.memory.write().unwrap_or_else(PoisonError::into_inner);
        Ok(self.growth.read(&mut readers, trunk, roots, all))
    }

    /// Hands on what a store grew by.
    fn write(&self, stretch: &Stretch<'_>, store: &StoreKey, from: Version, versions: usize) -> Result<(), PhaseError> {
        if let Some(sc) = stretch.sc {
            let mut records = Counted { records: self.growth.records(), count: 0 };
            write_records(sc, store, &mut records, self.growth.bytes())?;
            if records.count != self.growth.record_count() {
                return Err(PhaseError::Bug("a stretch has fewer records than nodes"));
            }
        }
        let mut changes = 0;
        for number in 0..versions {
            let version = Version(from.0 + number as u64 + 1);
            let mut of_version = self.growth.changes(number).inspect(|_| changes += 1).peekable();
            match stretch.ss {
                Some(ss) if of_version.peek().is_some() => ss.write_changes(store, version, &mut of_version)?,
                _ => of_version.for_each(drop),
            }
        }
        stretch.changes.fetch_add(changes, Ordering::SeqCst);
        stretch.work.spend_changes(stretch.sc.is_some(), stretch.ss.is_some(), self.growth.bytes() as u64);
        Ok(())
    }
}

/// The store's tree at a version.
fn find_trunk(stretch: &Stretch<'_>, store: &StoreKey, version: Version) -> Result<Trunk, PhaseError> {
    let hash = stretch.root(store, version);
    let source = stretch.source_root(store, version)?;
    let target = match stretch.sc {
        Some(sc) => target_root(sc, store, version)?.map(NodeId::Current),
        None => source,
    };
    Ok(Trunk { version, hash, root: source.zip(target) })
}

impl Stretch<'_> {
    /// Where the root of a store is in store/v1; none for the empty tree.
    pub fn source_root(&self, store: &StoreKey, version: Version) -> Result<Option<NodeId>, PhaseError> {
        let gone = || PhaseError::Gone { version, what: format!("the root of store {store}") };
        match self.source.root(store, version)?.ok_or_else(gone)? {
            StoreRoot::Empty => Ok(None),
            StoreRoot::Node { at, .. } => Ok(Some(at)),
        }
    }
}

/// A stream that counts what it hands out.
struct Counted<R> {
    records: R,
    count: usize,
}

impl<R: RecordStream> RecordStream for Counted<R> {
    fn next(&mut self) -> Option<(NodeKey, &[u8])> {
        let record = self.records.next()?;
        self.count += 1;
        Some(record)
    }
}
