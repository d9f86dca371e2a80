//! Verifying a target again: every chunk, every tree top, the newest version, with and without the source; and redoing
//! what is damaged.

use super::Migrator;
use crate::{
    error::Error,
    iavl::{Access, Claim, Sweep, prove},
    journal::Writes,
    machine::{Event, Phase},
    model::{Change, StoreKey, Verdict, Version},
    phases::{
        self, PhaseError,
        prove::{Damage, Written},
        snapshot::Bound,
    },
    progress::raise,
    target::{Commitment, Storage, TargetError},
};
use std::collections::BTreeSet;

/// What verifying found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Chunks read back and proven in this run and, if it continued one, before.
    pub chunks: u64,
    /// Pairs in them.
    pub pairs: u64,
    /// Damaged chunks.
    pub damaged: Vec<Damage>,
    /// What is wrong outside chunks.
    pub wrong: Vec<Verdict>,
    /// Chunks that were redone and prove now.
    pub repaired: Vec<u64>,
    /// The newest version compared pair by pair, where it is not the snapshot.
    pub tip: Option<Version>,
    /// Versions whose app hashes were compared with the source's.
    pub compared: u64,
}

impl Findings {
    /// Whether everything proves.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.wrong.is_empty()
    }
}

impl Migrator {
    /// Proves the target again. With `source` the snapshot is also taken anew from the source and compared, and the app
    /// hashes of all versions since; with `repair` damaged chunks are redone from the source.
    ///
    /// # Errors
    /// The job has not come so far, the target could not be read, or somebody asked to stop; what is wrong with the
    /// target is in the findings.
    pub fn verify(&self, source: bool, repair: bool) -> Result<Findings, Error> {
        let (height, applied) = self.verifiable()?;
        let mut findings = Findings::default();
        if source {
            self.prepare_source()?;
            self.compare_with_source(height, applied, &mut findings)?;
        }
        self.check_chunks(height, &mut findings)?;
        if repair && !findings.damaged.is_empty() {
            self.place.as_ref().map_or(Ok(()), |place| place.clear_staging())?;
            self.repair(height, &mut findings)?;
            self.clean_up()?;
        }
        match self.check_tops(height, false) {
            Ok(_) => {}
            Err(PhaseError::Verdict(verdict)) => findings.wrong.push(verdict),
            Err(error) => return Err(self.ended(error)),
        }
        if self.recorder.state().phase.applied().is_some() {
            self.check_marks(height, applied, &mut findings)?;
        }
        if findings.is_sound() {
            self.check_strays(height, applied, &mut findings)?;
        }
        if applied > height && findings.is_sound() {
            self.check_tip(applied, &mut findings)?;
        }
        if source && matches!(self.recorder.state().phase, Phase::Done { .. }) {
            self.clean_up()?;
        }
        Ok(findings)
    }

    /// Lets a halted job go on after its target was repaired and verified: the next run continues in the phase it was
    /// halted in. Does nothing to a job that is not halted.
    ///
    /// # Errors
    /// The journal could not be written.
    pub fn lift_halt(&mut self, findings: &Findings) -> Result<(), Error> {
        if findings.is_sound() && matches!(self.recorder.state().phase, Phase::Halted { .. }) {
            self.recorder.record(&Event::Repaired { reopened: None }, &Writes::Nothing)?;
        }
        Ok(())
    }

    /// The snapshot version and the newest one, if the target claims to hold them.
    fn verifiable(&self) -> Result<(Version, Version), Error> {
        let phase = &self.recorder.state().phase;
        let restored = match phase {
            Phase::Halted { from, .. } => from,
            phase => phase,
        };
        let whole = match restored {
            Phase::Restoring { chunks, restored, joined, .. } => *joined && restored.count() == *chunks,
            Phase::Syncing { .. } | Phase::Switching { .. } | Phase::Done { .. } => true,
            _ => false,
        };
        match phase.height() {
            Some(height) if whole => Ok((height, phase.applied().unwrap_or(height))),
            _ => Err(Error::Blocked {
                what: format!("there is nothing to verify yet: {phase}"),
                advice: "Nothing was changed. Run `storeshift run` to the end first; it verifies everything it writes."
                    .to_owned(),
            }),
        }
    }

    /// Proves the chunks, those first that an interrupted verification has not; what is proven is remembered as it goes.
    fn check_chunks(&self, height: Version, findings: &mut Findings) -> Result<(), Error> {
        /// Chunks between two notes in the journal.
        const NOTE: u64 = 256;
        let journal = self.recorder.journal();
        let mut verified = journal.verified()?;
        let mut noted = verified.count();
        for (id, chunk) in (0..).zip(self.all_chunks()?).filter(|(id, _)| verified.contains(*id)) {
            tracing::debug!(id, "proven by the verification that this one continues");
            findings.chunks += 1;
            findings.pairs += chunk.leaves;
        }
        let spans = self.written(|id| !verified.contains(id))?;
        let (work, target) = (self.work(), &self.target);
        let outcome = phases::in_parallel(
            work,
            spans,
            |buffers: &mut Sweep, span, report| {
                phases::prove::check(work, target, height, &span, buffers, &mut |written, damage| {
                    report((written.id, written.chunk.leaves, damage));
                    Ok(())
                })
            },
            |(id, leaves, damage): (u64, u64, Option<Damage>)| {
                if let Some(damage) = damage {
                    findings.damaged.push(damage);
                    return Ok(());
                }
                findings.chunks += 1;
                findings.pairs += leaves;
                raise(&self.progress.pairs_verified, leaves);
                verified.insert(id);
                if verified.count() >= noted + NOTE {
                    noted = verified.count();
                    journal.set_verified(Some(&verified)).map_err(super::recorded)?;
                }
                Ok(())
            },
        );
        findings.damaged.sort_by_key(|damage| damage.id);
        if outcome.is_err() {
            journal.set_verified(Some(&verified))?;
        } else {
            journal.set_verified(None)?;
        }
        outcome.map_err(|error| self.ended(error))
    }

    /// Takes the snapshot anew and compares app hashes: the journal could be wrong as well.
    fn compare_with_source(&self, height: Version, applied: Version, findings: &mut Findings) -> Result<(), Error> {
        crate::reconcile::source(&self.job.source, self.recorder.state(), self.feed.as_ref())?;
        let missing = || PhaseError::Refused(format!("the source has no commit info of version {height} any more"));
        let info = self.source.commit_info(height)?.ok_or_else(missing)?;
        let chunks = self.all_chunks()?;
        let taken = phases::snapshot::take(self.source.as_ref(), &info, Bound::As(&chunks), &self.governor)?;
        for (index, (taken, store)) in (0u32..).zip(taken.spines.iter().zip(&self.manifest.stores)) {
            if *taken != self.recorder.journal().spine(index)? {
                let what = "the journal's spine is not the source's".to_owned();
                findings.wrong.push(Verdict::Store { store: store.name.clone(), what });
            }
        }
        for ((id, taken), kept) in (0..).zip(&taken.chunks).zip(&chunks) {
            if taken != kept {
                let store = self.manifest.stores.get(kept.store as usize).map(|store| store.name.clone());
                let what = "the journal's chunk is not the source's".to_owned();
                findings.wrong.push(Verdict::Chunk { chunk: id, store: store.unwrap_or("?".into()), what });
            }
        }
        let Some(sc) = &self.target.sc else { return Ok(()) };
        for version in height.0..=applied.0 {
            let version = Version(version);
            let Some(expected) = self.feed.app_hash(version)? else { continue };
            match sc.commit_info(version)?.map(|info| info.app_hash()) {
                Some(found) if found == expected => findings.compared += 1,
                Some(found) => findings.wrong.push(Verdict::AppHash { version, expected, found }),
                None => {
                    let what = format!("SC has no commit info of version {version}");
                    findings.wrong.push(Verdict::Store { store: "(all)".into(), what });
                }
            }
        }
        Ok(())
    }

    /// Redoes each damaged chunk from the source: pairs that should not be there are removed by name, the right ones are
    /// written again, and the chunk is proven once more. Where a damaged file stays in the engine's way, the store's files
    /// are dropped and all its chunks are looked at again.
    fn repair(&self, height: Version, findings: &mut Findings) -> Result<(), Error> {
        let damages = std::mem::take(&mut findings.damaged);
        let damaged: BTreeSet<u64> = damages.iter().map(|damage| damage.id).collect();
        let mut stubborn: BTreeSet<u32> = BTreeSet::new();
        for written in self.written(|id| damaged.contains(&id))?.into_iter().flatten() {
            match self.redo(height, &written) {
                Ok(None) => findings.repaired.push(written.id),
                Ok(Some(_)) | Err(Error::Target(TargetError::Corrupt { .. })) => {
                    stubborn.insert(written.chunk.store);
                }
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
                    Err(Error::Target(TargetError::Corrupt { what, .. })) => {
                        findings.damaged.push(Damage { id: written.id, store: store.name.clone(), what });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        findings.repaired.sort_unstable();
        findings.chunks = self.manifest.chunks() - findings.damaged.len() as u64;
        Ok(())
    }

    /// Whether the target holds versions after the snapshot, by us or by whoever runs on it since.
    fn has_grown(&self, height: Version) -> Result<bool, Error> {
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
        let again = phases::restore::redo(self.work(), source, &self.target, height, written.id, &written.chunk)?;
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
        phases::prove::check(work, &self.target, height, one, &mut Sweep::default(), &mut |_, damage| {
            found = damage;
            Ok(())
        })?;
        Ok(found)
    }

    fn remove_strangers(&self, ss: &dyn Storage, height: Version, written: &Written) -> Result<(), Error> {
        let Some(store) = self.manifest.stores.get(written.chunk.store as usize) else { return Ok(()) };
        let claim = Claim::of(&written.chunk);
        let mut keys = BTreeSet::new();
        let mut nodes = self.source.nodes(&store.name, Access::Runs);
        prove(&mut nodes, claim, self.tuning.gulps() / 4, &mut |node| {
            if node.children.is_none() {
                keys.insert(node.key.to_vec());
            }
            true
        })
        .map_err(|why| PhaseError::Unproven {
            store: store.name.clone(),
            version: height,
            why: Box::new(why),
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

    /// What the engines say of themselves: the version each stands at, and SC's commit info of the snapshot.
    fn check_marks(&self, height: Version, applied: Version, findings: &mut Findings) -> Result<(), Error> {
        let mut wrong = |what: String| findings.wrong.push(Verdict::Store { store: "(all)".into(), what });
        let sc = self.target.sc.as_ref().map(|sc| sc.latest());
        let ss = self.target.ss.as_ref().map(|ss| ss.latest());
        for (name, latest) in [("SC", sc), ("SS", ss)] {
            match latest {
                None => {}
                // Whoever runs on the target since may have gone on.
                Some(Ok(Some(latest))) if latest >= applied => {}
                Some(Ok(latest)) => {
                    let latest = latest.map_or("no version".to_owned(), |latest| format!("version {latest}"));
                    wrong(format!("{name} stands at {latest}, it stood at version {applied}"));
                }
                Some(Err(TargetError::Corrupt { what, .. })) => wrong(format!("{name}: {what}")),
                Some(Err(error)) => return Err(error.into()),
            }
        }
        let Some(sc) = &self.target.sc else { return Ok(()) };
        match sc.commit_info(height) {
            Ok(Some(info)) if info.app_hash() == self.job.source.app_hash => {}
            Ok(Some(info)) => findings.wrong.push(Verdict::AppHash {
                version: height,
                expected: self.job.source.app_hash,
                found: info.app_hash(),
            }),
            Ok(None) => wrong(format!("SC has no commit info of version {height}")),
            Err(TargetError::Corrupt { what, .. }) => wrong(format!("SC: {what}")),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Records that no tree leads to: only while nothing was applied after the snapshot is it known how many there are.
    fn check_strays(&self, height: Version, applied: Version, findings: &mut Findings) -> Result<(), Error> {
        let Some(sc) = &self.target.sc else { return Ok(()) };
        if applied > height || sc.latest()? != Some(height) {
            return Ok(());
        }
        for store in &self.manifest.stores {
            // All nodes and one root record.
            let expected = store.leaves.saturating_mul(2).saturating_sub(1).max(u64::from(store.leaves > 0)) + 1;
            let expected = if store.leaves == 0 { 1 } else { expected };
            let found = sc.count(&store.name)?;
            if found != expected {
                let what = format!("SC has {found} records where the tree has {expected}");
                findings.wrong.push(Verdict::Store { store: store.name.clone(), what });
            }
        }
        Ok(())
    }

    /// Walks every tree of the newest version and compares SS with it pair by pair.
    fn check_tip(&self, tip: Version, findings: &mut Findings) -> Result<(), Error> {
        let Some(sc) = &self.target.sc else { return Ok(()) };
        let Some(info) = sc.commit_info(tip)? else { return Ok(()) };
        let expected = if self.job.source.tip == tip { self.job.source.tip_app_hash } else { info.app_hash() };
        if info.app_hash() != expected {
            findings.wrong.push(Verdict::AppHash { version: tip, expected, found: info.app_hash() });
        }
        for store in &info.stores {
            if self.stop.is_asked() {
                return Err(self.ended(PhaseError::Stopped));
            }
            let root = store.root.unwrap_or(crate::model::Hash::EMPTY);
            let what = self.check_store_at(sc.as_ref(), &store.name, tip, root).map_err(|error| self.ended(error))?;
            findings.wrong.extend(what.map(|what| Verdict::Store { store: store.name.clone(), what }));
        }
        findings.tip = Some(tip);
        Ok(())
    }

    fn check_store_at(
        &self,
        sc: &dyn Commitment,
        store: &StoreKey,
        version: Version,
        root: crate::model::Hash,
    ) -> Result<Option<String>, PhaseError> {
        let mut pairs = self.target.ss.as_ref().map(|ss| ss.pairs(store, version, &[])).transpose()?;
        let mut different = None;
        let mut compare = |key: &[u8], value: &[u8]| {
            let Some(pairs) = &mut pairs else { return true };
            match pairs.next() {
                Ok(Some(pair)) if pair.key == key && pair.value == value => return true,
                Ok(_) => different = Some(format!("SS differs from the tree at key {}", crate::model::to_hex(key))),
                Err(error) => different = Some(format!("SS: {error}")),
            }
            false
        };
        let Some(key) = phases::conclude::root_key(sc, store, version)? else {
            return Ok(Some(format!("there is no root record of version {version}")));
        };
        if let Some(key) = key {
            let mut nodes = sc.nodes(store, Access::Runs)?;
            let proof = prove(&mut nodes, Claim { at: key.into(), hash: root }, self.tuning.gulps() / 4, &mut |node| {
                node.children.is_some() || compare(node.key, node.value)
            });
            if let Err(why) = proof {
                return Ok(Some(different.unwrap_or_else(|| format!("version {version}: {why}"))));
            }
        } else if root != crate::model::Hash::EMPTY {
            return Ok(Some(format!("the tree of version {version} is empty")));
        }
        match pairs.as_mut().map(|pairs| pairs.next()) {
            Some(Ok(Some(pair))) => {
                Ok(Some(format!("SS has a pair that the tree has not: {}", crate::model::to_hex(pair.key))))
            }
            Some(Err(error)) => Ok(Some(format!("SS: {error}"))),
            _ => Ok(None),
        }
    }

    fn ended(&self, error: PhaseError) -> Error {
        match error {
            PhaseError::Stopped => Error::Stopped(self.stop.reason().unwrap_or_else(|| "on request".to_owned())),
            error => error.into(),
        }
    }
}
