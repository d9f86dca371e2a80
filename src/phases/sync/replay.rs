//! One version of one store, replayed: the proven difference to the version before is applied to SC's own tree.
//!
//! The long way, for what [`super::grow`] cannot take: a version larger than the memory for it, a tree that was not numbered as
//! it grew, and data that does not prove. Source and target are read apart here, so an error says whose fault it is.

use super::{
    super::PhaseError,
    stretch::Stretch,
    written::{push_committed, target_root, write_records},
};
use crate::{
    iavl::{
        Access, Claim, ProveError,
        diff::{OldTree, diff},
        tree::{Tree, TreeError},
    },
    model::{Change, ChangeRef, StoreKey, Verdict, Version},
    target::{Commitment, RecordRun, Storage},
};
use std::sync::atomic::Ordering;

/// Nodes of the tree kept in memory from one version to the next.
const RESIDENT: usize = 20_000;
/// Bytes of a batch of pairs.
const BATCH_BYTES: usize = 1 << 20;

pub(super) struct Replay<'a> {
    stretch: &'a Stretch<'a>,
    store: &'a StoreKey,
    /// SC's tree at the version replayed last.
    tree: Option<Tree>,
    /// The changes of the version, so that they need not be looked for twice; none if they are too many.
    kept: Option<Vec<Change>>,
}

impl<'a> Replay<'a> {
    pub fn new(stretch: &'a Stretch<'a>, store: &'a StoreKey) -> Replay<'a> {
        Replay { stretch, store, tree: None, kept: None }
    }

    /// Applies one version; the one before is there.
    pub fn apply(&mut self, version: Version) -> Result<(), PhaseError> {
        self.kept = None;
        if let Some(sc) = self.stretch.sc {
            self.apply_tree(sc, version)?;
        }
        // After the root is right, so that nothing wrong is written even above the watermark.
        let mut count = 0;
        match self.stretch.ss {
            Some(ss) => self.apply_pairs(ss, version, &mut count)?,
            None if self.kept.is_some() => count += self.kept.as_ref().map_or(0, Vec::len) as u64,
            None => self.changes(version, &mut |_| {
                count += 1;
                true
            })?,
        }
        self.stretch.changes.fetch_add(count, Ordering::SeqCst);
        Ok(())
    }

    /// Hands on what the version changed. Sets are proven; removals are right if a replay of them is.
    fn changes(&self, version: Version, sink: &mut dyn FnMut(ChangeRef<'_>) -> bool) -> Result<(), PhaseError> {
        let before = Version(version.0.saturating_sub(1));
        let old = self.stretch.source_root(self.store, before)?.map(|root| OldTree { root, version: before });
        let hash = self.stretch.root(self.store, version);
        let new = self.stretch.source_root(self.store, version)?.map(|at| Claim { at, hash });
        let mut nodes = self.stretch.source.nodes(self.store, Access::Points);
        match diff(&mut nodes, old, new, &mut |key, value| sink(ChangeRef { key, value })) {
            // Whoever stopped has its own reason.
            Ok(()) | Err(ProveError::Sink) => Ok(()),
            Err(why) => Err(PhaseError::unproven(self.store, version, why)),
        }
    }

    fn apply_tree(&mut self, sc: &dyn Commitment, version: Version) -> Result<(), PhaseError> {
        let before = Version(version.0.saturating_sub(1));
        let mut tree = match self.tree.take() {
            Some(tree) if tree.version() == before => tree,
            _ => Tree::load(target_root(sc, self.store, before)?, before),
        };
        let mut nodes = sc.nodes(self.store, Access::Points)?;
        let broken = |why: TreeError| PhaseError::Tree { store: self.store.clone(), version, why: Box::new(why) };
        let mut failed = None;
        let tuning = self.stretch.work.tuning;
        let mut kept = Some((Vec::new(), tuning.stretches() / tuning.workers.max(1) / 4));
        self.changes(version, &mut |change| {
            keep(&mut kept, change);
            match tree.change(&mut nodes, change) {
                Ok(()) => true,
                Err(why) => {
                    failed = Some(why);
                    false
                }
            }
        })?;
        self.kept = kept.map(|(changes, _)| changes);
        if let Some(why) = failed {
            return Err(broken(why));
        }
        let committed = tree.commit(&mut nodes, version).map_err(broken)?;
        let expected = self.stretch.root(self.store, version);
        if committed.hash != expected {
            let (store, found) = (self.store.clone(), committed.hash);
            return Err(PhaseError::Verdict(Verdict::Root { store, version, expected, found }));
        }
        let mut run = RecordRun::default();
        push_committed(&mut run, committed.records)?;
        let bytes = run.size();
        self.stretch.work.spend_changes(true, self.stretch.ss.is_some(), bytes as u64);
        drop(nodes);
        write_records(sc, self.store, &mut run.sorted(), bytes)?;
        tree.forget(RESIDENT);
        self.tree = Some(tree);
        Ok(())
    }

    fn apply_pairs(&self, ss: &dyn Storage, version: Version, count: &mut u64) -> Result<(), PhaseError> {
        if let Some(kept) = &self.kept {
            *count += kept.len() as u64;
            let mut bytes = 0;
            let batches = kept.chunk_by(|change, _| {
                bytes += bytes_of(change.borrow());
                let fits = bytes < BATCH_BYTES;
                bytes *= usize::from(fits);
                fits
            });
            for batch in batches {
                ss.write_changes(self.store, version, &mut batch.iter().map(Change::borrow))?;
            }
            return Ok(());
        }
        let mut batch: Vec<Change> = Vec::new();
        let (mut bytes, mut failed) = (0, Ok(()));
        let write = |batch: &mut Vec<Change>| {
            let written = ss.write_changes(self.store, version, &mut batch.iter().map(Change::borrow));
            batch.clear();
            written
        };
        self.changes(version, &mut |change| {
            *count += 1;
            let change = Change { key: change.key.to_vec(), value: change.value.map(<[u8]>::to_vec) };
            bytes += bytes_of(change.borrow());
            batch.push(change);
            if bytes >= BATCH_BYTES {
                bytes = 0;
                failed = write(&mut batch);
            }
            failed.is_ok()
        })?;
        failed?;
        Ok(write(&mut batch)?)
    }
}

/// Keeps a change as long as there is room for it.
fn keep(kept: &mut Option<(Vec<Change>, usize)>, change: ChangeRef<'_>) {
    if let Some((changes, room)) = kept {
        match room.checked_sub(size_of::<Change>() + bytes_of(change)) {
            Some(left) => {
                *room = left;
                changes.push(Change { key: change.key.to_vec(), value: change.value.map(<[u8]>::to_vec) });
            }
            None => *kept = None,
        }
    }
}

fn bytes_of(change: ChangeRef<'_>) -> usize {
    change.key.len() + change.value.map_or(0, <[u8]>::len)
}
