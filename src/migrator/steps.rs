//! Carrying out a step: what a phase needs is taken from the job, and what has become true is recorded.
//!
//! Owns which part of the journal each phase works from. In which order, and what follows, is the driver's.

use super::{Migrator, recorded};
use crate::{
    error::Error,
    journal::Writes,
    machine::{Event, Phase},
    model::{Chunk, ChunkId, Hash, StoreKey, Version},
    phases::{
        self, PhaseError, Work,
        join::{Joint, check_joints},
        prove::Written,
        restore::{Large, Route},
        snapshot::Bound,
    },
    progress::{lower, raise},
};

impl Migrator {
    pub(super) fn work(&self) -> Work<'_> {
        Work { manifest: &self.manifest, progress: &self.progress, governor: &self.governor, tuning: self.tuning }
    }

    pub(super) fn app_hash(&self, version: Version) -> Result<Hash, PhaseError> {
        self.feed
            .app_hash(version)?
            .ok_or_else(|| PhaseError::Refused(format!("the source has no commit info of version {version}")))
    }

    /// The app hash at the end, from the target where it has one: the source may be gone by then.
    pub(super) fn done_app_hash(&self, version: Version) -> Result<Hash, PhaseError> {
        match &self.target.sc {
            Some(sc) => match sc.commit_info(version)? {
                Some(info) => Ok(info.app_hash()),
                None => Ok(self.job.source.app_hash),
            },
            None => self.app_hash(version).or(Ok(self.job.source.tip_app_hash)),
        }
    }

    pub(super) fn snapshot(&mut self, height: Version) -> Result<(), PhaseError> {
        self.read_back.clear();
        let missing = || PhaseError::Refused(format!("the source has no commit info of version {height}"));
        let info = self.source.commit_info(height)?.ok_or_else(missing)?;
        let most = Bound::Leaves(self.job.plan.chunk_leaves);
        let snapshot = phases::snapshot::take(self.source.as_ref(), &info, most, &self.governor)?;
        let chunks = snapshot.chunks.len() as u64;
        let writes =
            Writes::Manifest { manifest: &snapshot.manifest, chunks: &snapshot.chunks, spines: &snapshot.spines };
        self.recorder.record_in_phase(&Event::Snapshotted { chunks }, &writes)?;
        self.manifest = snapshot.manifest;
        raise(&self.progress.pairs_total, self.manifest.leaves());
        Ok(())
    }

    pub(super) fn restore(&mut self, height: Version) -> Result<(), PhaseError> {
        let Phase::Restoring { restored, .. } = &self.recorder.state().phase else { return Ok(()) };
        let restored = restored.clone();
        let chunks = self.all_chunks().map_err(recorded)?;
        let open: Vec<(ChunkId, Chunk)> =
            (0..).zip(chunks.iter().cloned()).filter(|(id, _)| !restored.contains(*id)).collect();
        let Migrator { recorder, source, target, job, manifest, progress, governor, tuning, read_back, .. } = self;
        let work = Work { manifest, progress, governor, tuning: *tuning };
        let large = Large::find(&chunks, job.plan.chunk_leaves);
        let route = Route { source: source.as_ref(), target, height };
        phases::restore::run(work, route, &large, open, read_back, &mut |results| {
            let ids: Vec<ChunkId> = results.iter().map(|(id, _)| *id).collect();
            recorder.record_in_phase(&Event::Restored { chunks: ids }, &Writes::Restored(&results))?;
            for (id, restored) in &results {
                raise(&progress.pairs_restored, chunks.get(*id as usize).map_or(0, |chunk| chunk.leaves));
                raise(&progress.bytes, restored.bytes);
            }
            Ok(())
        })
    }

    pub(super) fn join(&mut self, height: Version) -> Result<(), PhaseError> {
        let journal = self.recorder.journal();
        let mut read_again = Vec::new();
        let mut stores = (0u32..).zip(&self.manifest.stores).map(|(index, store)| {
            let chunks = journal.chunks(store.first_chunk, store.chunks).map_err(recorded)?;
            let mut joints = Vec::with_capacity(chunks.len());
            for (id, chunk) in (store.first_chunk..).zip(&chunks) {
                let restored = journal.restored(id).map_err(recorded)?;
                let restored = restored.ok_or(PhaseError::Bug("a chunk without its record is called restored"))?;
                joints.push(Joint::new(chunk, restored));
            }
            let mut spine = journal.spine(index).map_err(recorded)?;
            if check_joints(&spine, &joints).is_err() {
                // An inner key is in no hash. One that was read wrongly as the snapshot was taken would be held against a sound
                // source for ever.
                spine = phases::snapshot::spine(self.source.as_ref(), store, height, &chunks)?;
                read_again.push((index, spine.clone()));
            }
            Ok((store.clone(), spine, joints))
        });
        let joined = phases::join::run(self.work(), &self.target, height, &mut stores);
        drop(stores);
        match &joined {
            Ok(anew) => self.forget_read_back(|store| anew.contains(store))?,
            // It may have written any of them anew before it failed, and will not say so again.
            Err(_) => self.forget_read_back(|_| true)?,
        }
        joined?;
        self.recorder.record_in_phase(&Event::Joined, &Writes::Spines(&read_again))
    }

    /// What is proven is to be what stays: chunks that were written anew after they were read back are read again.
    fn forget_read_back(&mut self, is_anew: impl Fn(&StoreKey) -> bool) -> Result<(), PhaseError> {
        for store in self.manifest.stores.iter().filter(|store| is_anew(&store.name)) {
            let chunks = self.recorder.journal().chunks(store.first_chunk, store.chunks).map_err(recorded)?;
            for (id, chunk) in (store.first_chunk..).zip(chunks) {
                if let Some(at) = self.read_back.iter().position(|known| *known == id) {
                    self.read_back.swap_remove(at);
                    lower(&self.progress.pairs_proven, chunk.leaves);
                }
            }
        }
        Ok(())
    }

    pub(super) fn prove(&mut self, height: Version) -> Result<(), PhaseError> {
        if !self.read_back.is_empty() {
            let chunks = std::mem::take(&mut self.read_back);
            self.recorder.record_in_phase(&Event::Proven { chunks }, &Writes::Nothing)?;
        }
        let Phase::Restoring { proven, .. } = &self.recorder.state().phase else { return Ok(()) };
        let proven = proven.clone();
        let spans = self.written(|id| !proven.contains(id)).map_err(recorded)?;
        let Migrator { recorder, target, manifest, progress, governor, tuning, .. } = self;
        let work = Work { manifest, progress, governor, tuning: *tuning };
        phases::prove::run(work, target, height, spans, &mut |chunks| {
            recorder.record_in_phase(&Event::Proven { chunks }, &Writes::Nothing)
        })
    }

    /// The chunks as they were written, those only that `wanted` picks, in spans of neighbours that one worker can prove
    /// at a time.
    pub(super) fn written(&self, wanted: impl Fn(ChunkId) -> bool) -> Result<Vec<Vec<Written>>, Error> {
        let journal = self.recorder.journal();
        let mut spans = Vec::new();
        for store in &self.manifest.stores {
            let mut chunks = Vec::with_capacity(store.chunks as usize);
            for (id, chunk) in (store.first_chunk..).zip(journal.chunks(store.first_chunk, store.chunks)?) {
                let restored = journal.restored(id)?.ok_or(Error::Invariant("a restored chunk has no record"))?;
                chunks.push((id, chunk, restored));
            }
            spans.extend(phases::prove::spans(self.work(), chunks, &wanted));
        }
        Ok(spans)
    }

    pub(super) fn conclude(&mut self, height: Version) -> Result<(), PhaseError> {
        let verified = self.check_tops(height, true)?;
        self.recorder.record_in_phase(&Event::Concluded(verified), &Writes::Nothing)
    }

    pub(super) fn check_tops(&self, height: Version, finish: bool) -> Result<crate::machine::Verified, PhaseError> {
        let journal = self.recorder.journal();
        let mut stores = (0u32..).zip(&self.manifest.stores).map(|(index, store)| {
            let chunks = journal.chunks(store.first_chunk, store.chunks).map_err(recorded)?;
            Ok((store.clone(), journal.spine(index).map_err(recorded)?, chunks))
        });
        let app_hash = self.job.source.app_hash;
        let verified = phases::conclude::check(self.work(), &self.target, height, app_hash, &mut stores)?;
        if finish {
            phases::conclude::finish(self.work(), &self.target, height)?;
        }
        Ok(verified)
    }

    pub(super) fn sync(&mut self, applied: Version, to: Version) -> Result<(), PhaseError> {
        let Migrator { recorder, feed, chain, target, manifest, progress, governor, tuning, .. } = self;
        let work = Work { manifest, progress, governor, tuning: *tuning };
        phases::sync::run(work, feed.as_ref(), target, applied, to, &mut |to| {
            recorder.record_in_phase(&Event::Applied { to }, &Writes::Nothing)?;
            chain.applied(to);
            Ok(())
        })
    }

    /// Brings the engines, which stand at a version, into the form in which they are handed over.
    pub(super) fn settle(&self, version: Version) -> Result<(), PhaseError> {
        if let Some(sc) = &self.target.sc {
            sc.flush()?;
        }
        if let Some(ss) = &self.target.ss {
            ss.flush()?;
        }
        // What was restored has its final shape since it was joined.
        if version > self.job.source.height { phases::sync::settle(self.work(), &self.target) } else { Ok(()) }
    }

    pub(super) fn all_chunks(&self) -> Result<Vec<Chunk>, Error> {
        Ok(self.recorder.journal().chunks(0, self.manifest.chunks())?)
    }
}
