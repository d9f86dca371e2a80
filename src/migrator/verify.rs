//! Verifying a target again: every chunk, every tree top, the newest version, with and without the source; and redoing
//! what is damaged.

use super::Migrator;
use crate::{
    error::Error,
    iavl::{Access, Claim, ProveError, Sweep, prove},
    journal::Writes,
    machine::{Event, Phase},
    model::{CommitInfo, StoreKey, Timestamp, Verdict, Version},
    phases::{self, PhaseError, prove::Damage, snapshot::Bound},
    progress::raise,
    target::{Commitment, TargetError},
};

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
    /// Whether tops of trees, commit info or watermarks were wrong, were written again and are right now.
    pub tops: bool,
    /// The newest version compared pair by pair, where it is not the snapshot.
    pub tip: Option<Version>,
    /// Versions whose app hashes were compared with the source's.
    pub compared: u64,
    /// The oldest and the newest version that are left, where a node has pruned the snapshot: then the newest one was compared, and
    /// chunks were not.
    pub retained: Option<(Version, Version)>,
}

impl Findings {
    /// Whether everything proves.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.wrong.is_empty()
    }
}

/// What commit infos of store/v2 keep of a time.
fn nanos(time: Option<Timestamp>) -> i64 {
    time.unwrap_or(Timestamp::ZERO).unix_nanos()
}

impl Migrator {
    /// Proves the target again. With `source` the snapshot is also taken anew from the source and compared, and the app
    /// hashes of all versions since; with `repair` damaged chunks are redone from the source. Where a node has run on the target since and
    /// has pruned the snapshot, the newest version is proven instead, and nothing can be redone.
    ///
    /// # Errors
    /// The job has not come so far, the target could not be read, or somebody asked to stop; what is wrong with the
    /// target is in the findings.
    pub fn verify(&self, source: bool, repair: bool) -> Result<Findings, Error> {
        let (height, applied) = self.verifiable()?;
        if let Some(retained) = self.retained_since(height)? {
            return self.verify_retained(retained, source);
        }
        let mut findings = Findings::default();
        if source {
            self.prepare_source()?;
            self.refuse_pruned_source(height)?;
            self.compare_with_source(height, applied, &mut findings)?;
        }
        self.check_chunks(height, &mut findings)?;
        if repair && !findings.damaged.is_empty() {
            self.place.as_ref().map_or(Ok(()), |place| place.clear_staging())?;
            self.repair(height, &mut findings)?;
            self.clean_up()?;
        }
        let before = findings.wrong.len();
        self.check_tops_and_marks(height, applied, &mut findings)?;
        if repair && findings.wrong.len() > before {
            findings.wrong.truncate(before);
            self.redo_tops(height)?;
            self.check_tops_and_marks(height, applied, &mut findings)?;
            findings.tops = findings.wrong.len() == before;
        }
        if findings.is_sound() {
            self.check_strays(height, applied, repair, &mut findings)?;
        }
        if applied > height && findings.is_sound() {
            self.check_history(height, applied, &mut findings)?;
        }
        if applied > height && findings.is_sound() {
            self.check_tip(applied, &mut findings)?;
        }
        if source && matches!(self.recorder.state().phase, Phase::Done { .. }) {
            self.clean_up()?;
        }
        Ok(findings)
    }

    fn check_tops_and_marks(&self, height: Version, applied: Version, findings: &mut Findings) -> Result<(), Error> {
        match self.check_tops(height, false) {
            Ok(_) => {}
            Err(PhaseError::Verdict(verdict)) => findings.wrong.push(verdict),
            Err(error) => return Err(self.ended(error)),
        }
        if self.recorder.state().phase.applied().is_some() {
            self.check_marks(height, applied, findings)?;
        }
        Ok(())
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
        let (work, target, at) = (self.work(), &self.target, (height, self.newest_of_pairs(height)?));
        let outcome = phases::in_parallel(
            work,
            spans,
            |buffers: &mut Sweep, span, report| {
                phases::prove::check(work, target, at, &span, buffers, &mut |written, damage| {
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

    /// A source that does not have the snapshot any more has nothing to compare with, or to redo chunks from.
    fn refuse_pruned_source(&self, height: Version) -> Result<(), Error> {
        if phases::snapshot::is_whole(self.source.as_ref(), height)? {
            return Ok(());
        }
        Err(Error::Blocked {
            what: format!(
                "the source does not have all of version {height} any more, of which the target is: a node has pruned it since, or it is \
                 damaged"
            ),
            advice: "Nothing was changed. Run `storeshift verify` without --source: it proves the target by itself, against the app hash it \
                     was begun with. Or give --source a copy of the database that still has that version."
                .to_owned(),
        })
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
        self.compare_app_hashes(sc.as_ref(), (height, applied), findings)
    }

    /// Compares app hashes and times of the versions that the source has among these, the last one included.
    pub(super) fn compare_app_hashes(
        &self,
        sc: &dyn Commitment,
        (first, last): (Version, Version),
        findings: &mut Findings,
    ) -> Result<(), Error> {
        for version in first.0..=last.0 {
            let version = Version(version);
            let Some(expected) = self.feed.app_hash(version)? else { continue };
            let Some(info) = self.commit_info(sc, version, findings)? else { continue };
            let recorded = self.feed.retained().commit_info(version)?;
            if let Some(recorded) = recorded.filter(|recorded| nanos(recorded.timestamp) != nanos(info.timestamp)) {
                let (there, time) = (nanos(info.timestamp), nanos(recorded.timestamp));
                let what = format!("SC's commit info of version {version} has time {there}, the source's has {time}");
                findings.wrong.push(Verdict::Store { store: "(all)".into(), what });
            }
            match info.app_hash() {
                found if found == expected => findings.compared += 1,
                found => findings.wrong.push(Verdict::AppHash { version, expected, found }),
            }
        }
        Ok(())
    }

    /// What the engines say of themselves: the version each stands at, and SC's commit info of the snapshot. Whoever runs on the
    /// target since may have gone on; a crash leaves work in flight. Both ways SC comes first, and has a commit info.
    fn check_marks(&self, height: Version, applied: Version, findings: &mut Findings) -> Result<(), Error> {
        let all = |what: String| Verdict::Store { store: "(all)".into(), what };
        let mut latest = [None, None];
        let engines = [
            ("SC", self.target.sc.as_ref().map(|sc| sc.latest())),
            ("SS", self.target.ss.as_ref().map(|ss| ss.latest())),
        ];
        for ((name, found), latest) in engines.into_iter().zip(&mut latest) {
            match found {
                None => {}
                Some(Ok(Some(found))) if found >= applied => *latest = Some(found),
                Some(Ok(found)) => {
                    let found = found.map_or("no version".to_owned(), |found| format!("version {found}"));
                    findings.wrong.push(all(format!("{name} stands at {found}, it stood at version {applied}")));
                }
                Some(Err(TargetError::Corrupt { what, .. })) => findings.wrong.push(all(format!("{name}: {what}"))),
                Some(Err(error)) => return Err(error.into()),
            }
        }
        let is_done = matches!(self.recorder.state().phase, Phase::Done { .. });
        match latest {
            [Some(sc), Some(ss)] if ss > sc => {
                findings
                    .wrong
                    .push(all(format!("SS stands at version {ss}, SC at version {sc}, which is written first")));
            }
            [None, Some(ss)] if ss > applied && is_done && self.target.sc.is_none() => {
                findings.wrong.push(all(format!("SS stands at version {ss}, it stood at version {applied}")));
            }
            _ => {}
        }
        let Some(sc) = &self.target.sc else { return Ok(()) };
        if let Some(latest) = latest[0].filter(|latest| *latest > applied) {
            self.commit_info(sc.as_ref(), latest, findings)?;
        }
        if let Some(info) = self.commit_info(sc.as_ref(), height, findings)? {
            let (expected, found) = (self.job.source.app_hash, info.app_hash());
            if found != expected {
                findings.wrong.push(Verdict::AppHash { version: height, expected, found });
            }
            let (there, time) = (nanos(info.timestamp), nanos(self.manifest.timestamp));
            if there != time {
                let what = format!("SC's commit info of version {height} has time {there}, the snapshot has {time}");
                findings.wrong.push(all(what));
            }
        }
        Ok(())
    }

    /// A commit info that SC must have; where it has none, or a damaged one, that is a finding.
    pub(super) fn commit_info(
        &self,
        sc: &dyn Commitment,
        version: Version,
        findings: &mut Findings,
    ) -> Result<Option<CommitInfo>, Error> {
        let what = match sc.commit_info(version) {
            Ok(Some(info)) => return Ok(Some(info)),
            Ok(None) => format!("SC has no commit info of version {version}"),
            Err(TargetError::Corrupt { what, .. }) => format!("SC: {what}"),
            Err(error) => return Err(error.into()),
        };
        findings.wrong.push(Verdict::Store { store: "(all)".into(), what });
        Ok(None)
    }

    /// The version at which the snapshot's pairs are looked at: where nothing newer may be, the last one there can be, so that what
    /// is newer is seen.
    pub(super) fn newest_of_pairs(&self, height: Version) -> Result<Version, Error> {
        let nothing_newer = match (&self.recorder.state().phase, &self.target.ss) {
            (Phase::Restoring { .. }, _) => true,
            (Phase::Halted { from, .. }, _) => matches!(**from, Phase::Restoring { .. }),
            (Phase::Done { .. }, Some(ss)) => match ss.latest() {
                Ok(latest) => latest == Some(height),
                Err(TargetError::Corrupt { .. }) => false,
                Err(error) => return Err(error.into()),
            },
            _ => false,
        };
        Ok(if nothing_newer { Version(u64::MAX) } else { height })
    }

    /// Proves what each version after the snapshot changed. Versions are pruned from the oldest on, and the snapshot is whole: none is
    /// missing, whoever runs on the target since.
    fn check_history(&self, height: Version, applied: Version, findings: &mut Findings) -> Result<(), Error> {
        let Some(sc) = &self.target.sc else { return Ok(()) };
        let is_done = matches!(self.recorder.state().phase, Phase::Done { .. });
        let has_gone_on = sc.latest()? != Some(applied);
        let wrong = phases::history::check(self.work(), &self.target, height, applied, has_gone_on || !is_done);
        findings.wrong.extend(wrong.map_err(|error| self.ended(error))?);
        Ok(())
    }

    /// Records that no tree leads to: only while nothing was applied after the snapshot is it known how many there are.
    fn check_strays(
        &self,
        height: Version,
        applied: Version,
        repair: bool,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let Some(sc) = &self.target.sc else { return Ok(()) };
        if applied > height || sc.latest()? != Some(height) {
            return Ok(());
        }
        for (index, store) in (0u32..).zip(&self.manifest.stores) {
            // All nodes and one root record.
            let expected = store.leaves.saturating_mul(2).saturating_sub(u64::from(store.leaves > 0)) + 1;
            let mut found = sc.count(&store.name)?;
            if found != expected && repair && self.remove_strays(height, index)? {
                findings.tops = true;
                found = sc.count(&store.name)?;
            }
            if found != expected {
                let what = format!("SC has {found} records where the tree has {expected}");
                findings.wrong.push(Verdict::Store { store: store.name.clone(), what });
            }
        }
        Ok(())
    }

    /// Walks every tree of the newest version and compares SS with it pair by pair.
    pub(super) fn check_tip(&self, tip: Version, findings: &mut Findings) -> Result<(), Error> {
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
            match self.check_store_at(sc.as_ref(), &store.name, tip, root) {
                Ok(what) => findings.wrong.extend(what.map(|what| Verdict::Store { store: store.name.clone(), what })),
                Err(PhaseError::Verdict(verdict)) => findings.wrong.push(verdict),
                Err(error) => return Err(self.ended(error)),
            }
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
        // What bytes that are damaged mean is told; a disk that could not be read says nothing of the target.
        let damage = |error: TargetError| match error {
            TargetError::Corrupt { what, .. } => Ok(format!("SS: {what}")),
            error => Err(PhaseError::from(error)),
        };
        let mut different = None;
        let mut compare = |key: &[u8], value: &[u8]| {
            let Some(pairs) = &mut pairs else { return true };
            match pairs.next() {
                Ok(Some(pair)) if pair.key == key && pair.value == value => return true,
                Ok(_) => different = Some(Ok(format!("SS differs from the tree at key {}", crate::model::to_hex(key)))),
                Err(error) => different = Some(damage(error)),
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
            match proof {
                Ok(_) => {}
                Err(ProveError::Read(error)) if !error.corrupt => return Err(TargetError::Read(error).into()),
                Err(why) => return different.unwrap_or_else(|| Ok(format!("version {version}: {why}"))).map(Some),
            }
        } else if root != crate::model::Hash::EMPTY {
            return Ok(Some(format!("the tree of version {version} is empty")));
        }
        match pairs.as_mut().map(|pairs| pairs.next()) {
            Some(Ok(Some(pair))) => {
                Ok(Some(format!("SS has a pair that the tree has not: {}", crate::model::to_hex(pair.key))))
            }
            Some(Err(error)) => damage(error).map(Some),
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
