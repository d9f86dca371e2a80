//! Redoing what is damaged: chunks from the source, the tops of trees and what the engines say of themselves from the journal;
//! and removing records that no tree leads to.
//!
//! Takes what verifying found, and hands back what it could not mend.

use super::{Migrator, verify::Findings};
use crate::{
    error::Error,
    iavl::{Access, Claim, NodeKey, ProvenNode, Sweep, numbering, prove},
    model::{Change, Chunk, StoreKey, Version},
    phases::{
        self, PhaseError,
        prove::{Damage, Written},
    },
    target::{Storage, TargetError},
};
use std::collections::BTreeSet;

/// Nodes of a store whose versions are in memory at the same time while strays are looked for.
const WINDOW: usize = 4 << 20;

/// What bytes of the target are damaged, if it is that.
fn damaged_bytes(error: &Error) -> Option<String> {
    match error {
        Error::Target(TargetError::Corrupt { what, .. }) => Some(what.clone()),
        Error::Target(TargetError::Read(error)) if error.corrupt => Some(error.message.clone()),
        _ => None,
    }
}

impl Migrator {
    /// Redoes each damaged chunk from the source: pairs that should not be there are removed by name, the right ones are
    /// written again, and the chunk is proven once more. Where a damaged file stays in the engine's way, the store's files
    /// are dropped and all its chunks are looked at again.
    pub(super) fn repair(&self, height: Version, findings: &mut Findings) -> Result<(), Error> {
        let damages = std::mem::take(&mut findings.damaged);
        let damaged: BTreeSet<u64> = damages.iter().map(|damage| damage.id).collect();
        let mut stubborn: BTreeSet<u32> = BTreeSet::new();
        for written in self.written(|id| damaged.contains(&id))?.into_iter().flatten() {
            let redone = self.redo(height, &written).and_then(|damage| match damage {
                Some(_) if self.remove_strays(height, written.chunk.store)? => self.check_one(height, &written),
                damage => Ok(damage),
            });
            match redone {
                Ok(None) => findings.repaired.push(written.id),
                Ok(Some(_)) => drop(stubborn.insert(written.chunk.store)),
                Err(error) if damaged_bytes(&error).is_some() => drop(stubborn.insert(written.chunk.store)),
                Err(error) => return Err(error),
            }
        }
        let grown = self.has_grown(height)?;
        for index in stubborn {
            let Some(store) = self.manifest.stores.get(index as usize) else { continue };
            if grown {
                let of_store = damages.iter().filter(|damage| damage.store == store.name);
                findings.damaged.extend(of_store.filter(|damage| !findings.repaired.contains(&damage.id)).map(|damage| {
                    let what = format!(
                        "{}; the damaged file also holds versions after the snapshot, so it cannot be dropped and written \
                         again: migrate into a new target",
                        damage.what
                    );
                    Damage { id: damage.id, store: damage.store.clone(), what }
                }));
                continue;
            }
            tracing::warn!(store = %store.name, "dropping the store's files and writing it again");
            if let Some(sc) = &self.target.sc {
                sc.discard(&store.name)?;
                let mut top = phases::join::root_records(store, &self.recorder.journal().spine(index)?, height)?;
                sc.write_records(&store.name, &mut top.sorted())?;
                sc.sync()?;
            }
            if let Some(ss) = &self.target.ss {
                ss.discard(&store.name)?;
            }
            let of_store = store.first_chunk..store.first_chunk + store.chunks;
            findings.repaired.retain(|id| !of_store.contains(id));
            for written in self.written(|id| of_store.contains(&id))?.into_iter().flatten() {
                if self.check_one(height, &written)?.is_none() {
                    continue;
                }
                match self.redo(height, &written) {
                    Ok(None) => findings.repaired.push(written.id),
                    Ok(Some(damage)) => findings.damaged.push(damage),
                    // A file that other stores share, or that holds later versions, cannot be dropped.
                    Err(error) => {
                        let what = damaged_bytes(&error).ok_or(error)?;
                        findings.damaged.push(Damage { id: written.id, store: store.name.clone(), what });
                    }
                }
            }
        }
        findings.repaired.sort_unstable();
        findings.chunks = self.manifest.chunks() - findings.damaged.len() as u64;
        Ok(())
    }

    /// Whether the target holds versions after the snapshot, by us or by whoever runs on it since.
    pub(super) fn has_grown(&self, height: Version) -> Result<bool, Error> {
        let sc = self.target.sc.as_ref().map(|sc| sc.latest()).transpose()?.flatten();
        let ss = self.target.ss.as_ref().map(|ss| ss.latest()).transpose()?.flatten();
        Ok(sc.max(ss).is_some_and(|latest| latest > height))
    }

    /// Redoes one chunk and proves it; says what is still wrong with it.
    fn redo(&self, height: Version, written: &Written) -> Result<Option<Damage>, Error> {
        if let Some(ss) = &self.target.ss {
            self.remove_strangers(ss.as_ref(), height, written)?;
        }
        let source = self.source.as_ref();
        let route = phases::restore::Route { source, target: &self.target, height };
        let again = phases::restore::redo(self.work(), route, written.id, &written.chunk)?;
        if again != written.restored {
            let store = self.manifest.stores.get(written.chunk.store as usize);
            let what =
                "redone from the source it comes out different from what was recorded: the source changed, or the \
                        journal is wrong"
                    .to_owned();
            let store = store.map_or("?".into(), |store| store.name.clone());
            return Ok(Some(Damage { id: written.id, store, what }));
        }
        self.check_one(height, written)
    }

    fn check_one(&self, height: Version, written: &Written) -> Result<Option<Damage>, Error> {
        let mut found = None;
        let (work, one) = (self.work(), std::slice::from_ref(written));
        let at = (height, self.newest_of_pairs(height)?);
        phases::prove::check(work, &self.target, at, one, &mut Sweep::default(), &mut |_, damage| {
            found = damage;
            Ok(())
        })?;
        Ok(found)
    }

    fn remove_strangers(&self, ss: &dyn Storage, height: Version, written: &Written) -> Result<(), Error> {
        let Some(store) = self.manifest.stores.get(written.chunk.store as usize) else { return Ok(()) };
        let mut keys = BTreeSet::new();
        self.prove_source(&store.name, height, &written.chunk, &mut |node| {
            if node.children.is_none() {
                keys.insert(node.key.to_vec());
            }
        })?;
        let from: &[u8] = if written.opens_store { &[] } else { &written.restored.first_key };
        let mut strangers = Vec::new();
        let mut pairs = ss.pairs(&store.name, height, from)?;
        // Where the engine cannot read on, writing the right pairs again is all that can be tried.
        while let Ok(Some(pair)) = pairs.next() {
            if written.until.as_deref().is_some_and(|until| pair.key >= until) {
                break;
            }
            if !keys.contains(pair.key) {
                strangers.push(Change { key: pair.key.to_vec(), value: None });
            }
        }
        drop(pairs);
        if !strangers.is_empty() {
            ss.write_changes(&store.name, height, &mut strangers.iter().map(Change::borrow))?;
            ss.sync()?;
        }
        Ok(())
    }

    /// Writes the tops of all trees, which follow from the journal, once more; and commit info and watermarks where nothing was
    /// written after the snapshot.
    pub(super) fn redo_tops(&self, height: Version) -> Result<(), Error> {
        if let Some(sc) = &self.target.sc {
            for (index, store) in (0u32..).zip(&self.manifest.stores) {
                let mut top = phases::join::root_records(store, &self.recorder.journal().spine(index)?, height)?;
                sc.write_records(&store.name, &mut top.sorted())?;
            }
            sc.sync()?;
        }
        if self.recorder.state().phase.applied() == Some(height) && self.stands_at(height)? {
            phases::conclude::finish(self.work(), &self.target, height)?;
        }
        Ok(())
    }

    /// Whether neither engine has a commit info or an entry of a later version, whatever its watermark says.
    fn stands_at(&self, height: Version) -> Result<bool, Error> {
        let next = |latest: Version| if latest > height { latest } else { height.next() };
        if let Some(sc) = &self.target.sc {
            let latest = match sc.latest() {
                Ok(latest) => latest.unwrap_or(height),
                Err(TargetError::Corrupt { .. }) => height,
                Err(error) => return Err(error.into()),
            };
            for version in [height.next(), next(latest)] {
                if !matches!(sc.commit_info(version), Ok(None)) {
                    return Ok(false);
                }
            }
        }
        let Some(ss) = &self.target.ss else { return Ok(true) };
        for store in &self.manifest.stores {
            match ss.entries(&store.name, height.next(), Version(u64::MAX))?.next() {
                Ok(None) => {}
                // What cannot be read may be one.
                Ok(Some(_)) | Err(TargetError::Corrupt { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Removes the records of a store that are no node of the snapshot's tree, up to the snapshot's version, or all of them where
    /// nothing is newer. The tree is read from the source, by windows of so many nodes, and SC once for each. Whether there were
    /// any.
    pub(super) fn remove_strays(&self, height: Version, index: u32) -> Result<bool, Error> {
        let (Some(sc), Some(store)) = (&self.target.sc, self.manifest.stores.get(index as usize)) else {
            return Ok(false);
        };
        let newest = if self.has_grown(height)? { height } else { self.newest_of_pairs(height)? };
        let chunks = self.recorder.journal().chunks(store.first_chunk, store.chunks)?;
        let spine = self.recorder.journal().spine(index)?;
        let nodes = store.top.map_or(0, |(_, ordinal)| ordinal + 1);
        let mut strays = Vec::new();
        let mut begin = 0;
        let mut rest = chunks.as_slice();
        loop {
            let mut versions: Vec<Option<Version>> = Vec::new();
            let mut put = |ordinal: u64, version: Version| {
                let at = ordinal.saturating_sub(begin) as usize;
                if versions.len() <= at {
                    versions.resize(at + 1, None);
                }
                if let Some(slot) = versions.get_mut(at) {
                    *slot = Some(version);
                }
                versions.len()
            };
            while let Some((chunk, later)) = rest.split_first() {
                rest = later;
                let mut ordinal = chunk.first_ordinal;
                self.prove_source(&store.name, height, chunk, &mut |node| {
                    put(ordinal, node.version);
                    ordinal += 1;
                })?;
                if put(chunk.root_ordinal(), chunk.version) >= WINDOW {
                    break;
                }
            }
            let end = rest.first().map_or(nodes, |chunk| chunk.first_ordinal);
            for node in spine.iter().filter(|node| (begin..end).contains(&node.ordinal)) {
                put(node.ordinal, node.version);
            }
            let mut records = sc.records(&store.name)?;
            records.seek(NodeKey::new(Version(0), 0));
            while let Some((at, _)) = records.next().map_err(TargetError::Read)? {
                if at.version > newest {
                    break;
                }
                let is_stray = match numbering::ordinal(at.nonce) {
                    None => begin == 0 && at != NodeKey::root_of(height),
                    Some(ordinal) if ordinal >= nodes => begin == 0,
                    Some(ordinal) if !(begin..end).contains(&ordinal) => false,
                    Some(ordinal) => versions.get((ordinal - begin) as usize).copied().flatten() != Some(at.version),
                };
                if is_stray {
                    strays.push((store.name.clone(), at, None));
                }
            }
            begin = end;
            if rest.is_empty() {
                break;
            }
        }
        if strays.is_empty() {
            return Ok(false);
        }
        tracing::warn!(store = %store.name, records = strays.len(), "removing records that no tree leads to");
        // There is no version 0 whose commit info would go with them.
        sc.prune(&strays, Version(0))?;
        sc.sync()?;
        Ok(true)
    }

    /// Proves a chunk's nodes at the source, in post-order.
    fn prove_source(
        &self,
        store: &StoreKey,
        height: Version,
        chunk: &Chunk,
        each: &mut dyn FnMut(&ProvenNode<'_>),
    ) -> Result<(), Error> {
        let mut nodes = self.source.nodes(store, Access::Runs);
        let proof = prove(&mut nodes, Claim::of(chunk), self.tuning.gulps() / 4, &mut |node| {
            each(node);
            true
        });
        proof.map(drop).map_err(|why| {
            let why = Box::new(why);
            PhaseError::Unproven { store: store.clone(), version: height, why }.into()
        })
    }
}
