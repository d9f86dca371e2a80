//! A stretch of retained versions, applied at once: when all stores have theirs, the commit infos and the watermarks follow.
//! What was written by then lies above the watermarks, and after a crash it is written again with the same bytes.
//!
//! Owns how long a stretch is, and which engines lack it.

use super::{
    super::{PhaseError, Work, in_parallel},
    grow::StoreWork,
    upgrade,
    written::{Lacking, lacking},
};
use crate::{
    model::{CommitInfo, Hash, StoreInfo, StoreKey, Verdict, Version},
    progress::raise,
    source::Source,
    target::{Commitment, Storage, Target},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicU64},
};

/// So many changes are applied before they are made durable and recorded: a few seconds of work, which is what a crash costs.
const CHANGES: u64 = 200_000;
/// Most versions of a stretch.
const VERSIONS: u64 = 4096;
/// Versions of the first stretch, as long as nobody knows how many changes they have.
const FIRST_VERSIONS: u64 = 4;
/// How many times longer than the last one a stretch may be.
pub(super) const STEEPEST: usize = 8;

/// Applies stretches, and learns how long they should be.
pub(super) struct Stretches<'a> {
    work: Work<'a>,
    source: &'a dyn Source,
    target: &'a Target,
    versions: u64,
    /// The version before the first one.
    begin: Version,
    renumbered: Renumbered,
}

/// The stores of which SC has nodes that are newer than the snapshot under other keys than store/v1, and the version up to which
/// that may be so. What is not in it is found out.
type Renumbered = Arc<Mutex<HashMap<StoreKey, Version>>>;

/// One stretch.
pub(super) struct Stretch<'a> {
    pub work: Work<'a>,
    pub source: &'a dyn Source,
    /// The version before it.
    pub before: CommitInfo,
    /// Its versions, all with the same stores; those are the ones before, unless there is only one version.
    pub infos: Vec<CommitInfo>,
    /// Only the engines that do not have it yet.
    pub sc: Option<&'a dyn Commitment>,
    /// As `sc`.
    pub ss: Option<&'a dyn Storage>,
    /// The version before the first stretch.
    begin: Version,
    renumbered: Renumbered,
    /// Changes applied.
    pub changes: AtomicU64,
    /// Shared by those who read with their share of the memory, taken alone by who needs all of it.
    pub memory: RwLock<()>,
}

impl<'a> Stretches<'a> {
    pub fn new(work: Work<'a>, source: &'a dyn Source, target: &'a Target, begin: Version) -> Stretches<'a> {
        Stretches { work, source, target, versions: FIRST_VERSIONS, begin, renumbered: Renumbered::default() }
    }

    /// Applies some versions after `from`, up to `to` at most, and returns the last one; it is durable everywhere.
    pub fn apply(&mut self, from: Version, to: Version) -> Result<Version, PhaseError> {
        let stretch = self.begin(from, to)?;
        let stores = stretch.infos.first().map(|info| info.stores.clone()).unwrap_or_default();
        in_parallel(
            self.work,
            stores,
            |buffers: &mut StoreWork, store: StoreInfo, report| {
                if stretch.before.store(&store.name).is_some() {
                    buffers.apply(&stretch, &store.name)?;
                } else {
                    upgrade::begin_store(&stretch, &store.name)?;
                }
                report(());
                Ok(())
            },
            |()| Ok(()),
        )?;
        let dropped = |store: &&StoreInfo| stretch.infos.iter().any(|info| info.store(&store.name).is_none());
        for store in stretch.before.stores.iter().filter(dropped) {
            upgrade::drop_store(&stretch, &store.name)?;
        }
        let last = conclude(&stretch.infos, stretch.sc, stretch.ss)?.unwrap_or(from);
        let (changes, versions) = (stretch.changes.into_inner(), stretch.infos.len() as u64);
        raise(&self.work.progress.changes, changes);
        raise(&self.work.progress.versions, versions);
        self.versions =
            (CHANGES / (changes / versions).max(1)).clamp(1, (self.versions * STEEPEST as u64).min(VERSIONS));
        Ok(last)
    }

    /// The versions after `from` that can be applied together: the same engines lack them, and no store begins or ends.
    fn begin(&self, from: Version, to: Version) -> Result<Stretch<'a>, PhaseError> {
        let most = to.min(Version(from.0 + self.versions));
        let Lacking { sc, ss, end } = lacking(self.target, from, most)?;
        let before = self.info(from)?;
        let mut infos = vec![self.info(from.next())?];
        if names(&infos).eq(names(std::slice::from_ref(&before))) {
            for version in from.0 + 2..=end.0 {
                let info = self.info(Version(version))?;
                if !names(&infos).eq(names(std::slice::from_ref(&info))) {
                    break;
                }
                infos.push(info);
            }
        }
        let (changes, memory) = (AtomicU64::new(0), RwLock::new(()));
        let Stretches { work, source, begin, .. } = *self;
        let renumbered = self.renumbered.clone();
        Ok(Stretch { work, source, before, infos, sc, ss, begin, renumbered, changes, memory })
    }

    fn info(&self, version: Version) -> Result<CommitInfo, PhaseError> {
        let gone = || PhaseError::Gone { version, what: "the commit info".to_owned() };
        self.source.commit_info(version)?.ok_or_else(gone)
    }
}

/// Names of the stores of the first version.
fn names(infos: &[CommitInfo]) -> impl Iterator<Item = &StoreKey> {
    infos.first().into_iter().flat_map(|info| info.stores.iter().map(|store| &store.name))
}

impl Stretch<'_> {
    /// What was applied to a store after this version lies in SC under the keys of store/v1, as far as is known.
    pub fn same_after(&self, store: &StoreKey) -> Version {
        let renumbered = self.renumbered.lock().unwrap_or_else(PoisonError::into_inner);
        renumbered.get(store).map_or(self.begin, |version| self.begin.max(*version))
    }

    /// Remembers, for the stretches to come, up to which version that may not be so.
    pub fn set_same_after(&self, store: &StoreKey, version: Version) {
        let mut renumbered = self.renumbered.lock().unwrap_or_else(PoisonError::into_inner);
        renumbered.insert(store.clone(), version);
    }

    /// The version before it.
    pub fn from(&self) -> Version {
        self.before.version
    }

    /// What the chain recorded as the root of a store at a version of the stretch, or the one before.
    pub fn root(&self, store: &StoreKey, version: Version) -> Hash {
        let info = match (version.0.checked_sub(self.from().0 + 1), &self.before) {
            (None, before) => Some(before),
            (Some(number), _) => self.infos.get(number as usize),
        };
        info.and_then(|info| info.store(store)).and_then(|store| store.root).unwrap_or(Hash::EMPTY)
    }
}

/// Makes versions exist, and returns the last one.
pub(super) fn conclude(
    infos: &[CommitInfo],
    sc: Option<&dyn Commitment>,
    ss: Option<&dyn Storage>,
) -> Result<Option<Version>, PhaseError> {
    if let Some(sc) = sc {
        for info in infos {
            // Every root was proven; that they are all the app hash is made of is told here.
            let entry = |store: &StoreInfo| {
                let root = Some(store.root.unwrap_or(Hash::EMPTY));
                StoreInfo { name: store.name.clone(), version: info.version, root }
            };
            let stores = info.stores.iter().map(entry).collect();
            let written = CommitInfo { version: info.version, stores, timestamp: info.timestamp };
            let (expected, found) = (info.app_hash(), written.app_hash());
            if expected != found {
                return Err(PhaseError::Verdict(Verdict::AppHash { version: info.version, expected, found }));
            }
            sc.write_info(&written)?;
        }
        // One sync makes every version of the stretch durable: the engine's log is a prefix of what was written, and
        // tables are durable already.
        sc.sync()?;
    }
    let last = infos.last().map(|last| last.version);
    if let (Some(ss), Some(last)) = (ss, last) {
        // The watermark goes last; what is above it is written again after a crash.
        ss.write_watermark(last)?;
        ss.sync()?;
    }
    Ok(last)
}
