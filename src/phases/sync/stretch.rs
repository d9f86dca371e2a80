//! A stretch of retained versions, applied at once: store by store, several at a time, what the trees grew by goes to SC as
//! records and to SS as pairs; when all stores are there, the commit infos and the watermarks follow.
//!
//! The short way to catch up with versions that lie in a database already. It takes what [`Growth`] proves and nothing else;
//! where that gives up, whatever the reason, one version is applied in the other way, which also tells who is at fault. What
//! it has written by then lies above the watermarks and is written again with the same bytes.

use super::super::{PhaseError, Work, conclude::root_key, in_parallel};
use crate::{
    iavl::{
        Access, NodeKey, NodeReader, ProveError, RecordStream,
        growth::{Growth, Readers, Trunk},
    },
    model::{CommitInfo, Hash, StoreInfo, StoreKey, Version},
    progress::raise,
    source::{Source, SourceError, StoreRoot},
    target::{Commitment, Storage, Target},
};
use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes of one store are worth a table of their own. Fewer would stay where they are as files of their own, too
/// many to be kept open; batches the engine merges.
const TABLE_BYTES: usize = 4 << 20;

/// So many changes are applied before they are made durable and recorded: a few seconds of work, which is what a crash costs.
const CHANGES: u64 = 200_000;
/// Most versions of a stretch.
const VERSIONS: u64 = 1024;
/// Versions of the first stretch, as long as nobody knows how many changes they have.
const FIRST_VERSIONS: u64 = 64;

/// How far a stretch came.
pub(super) enum Reached {
    /// It is durable everywhere.
    Version(Version),
    /// Not to its end: versions up to this one have to be applied one by one.
    OneByOne(Version),
}

/// Applies stretches, and learns how long they should be.
pub(super) struct Stretches<'a> {
    work: Work<'a>,
    source: &'a dyn Source,
    target: &'a Target,
    versions: u64,
}

/// One stretch: the commit infos of its versions, all with the same stores.
struct Stretch<'a> {
    from: Version,
    infos: Vec<CommitInfo>,
    /// Only the engines that do not have it yet.
    sc: Option<&'a dyn Commitment>,
    ss: Option<&'a dyn Storage>,
    changes: AtomicU64,
    /// The first version that is known not to go this way; 0 if none is.
    stuck: AtomicU64,
}

impl<'a> Stretches<'a> {
    pub fn new(work: Work<'a>, source: &'a dyn Source, target: &'a Target) -> Stretches<'a> {
        Stretches { work, source, target, versions: FIRST_VERSIONS }
    }

    /// Applies some versions after `from`, up to `to` at most.
    pub fn apply(&mut self, from: Version, to: Version) -> Result<Reached, PhaseError> {
        let next = Reached::OneByOne(from.next());
        let Some(stretch) = self.begin(from, to)? else { return Ok(next) };
        let Some(first) = stretch.infos.first() else { return Ok(next) };
        let stores: Vec<StoreKey> = first.stores.iter().map(|store| store.name.clone()).collect();
        let done = in_parallel(
            self.work.tuning.workers,
            stores,
            |growth: &mut Growth, store, report| {
                let grown = self.grow(&stretch, growth, &store);
                if let Ok(false) = grown {
                    // Nobody need go on with what is not going to be whole.
                    return Err(PhaseError::Stopped);
                }
                grown?;
                report(());
                Ok(())
            },
            |()| Ok(()),
        );
        let stuck = stretch.stuck.load(Ordering::SeqCst);
        if stuck > 0 {
            return Ok(Reached::OneByOne(Version(stuck)));
        }
        done?;
        if !stretch.conclude()? {
            return Ok(next);
        }
        let (changes, versions) = (stretch.changes.into_inner(), stretch.infos.len() as u64);
        raise(&self.work.progress.changes, changes);
        raise(&self.work.progress.versions, versions);
        let of_a_version = (changes / versions).max(1);
        self.versions = (CHANGES / of_a_version).clamp(1, (versions * 8).min(VERSIONS));
        Ok(Reached::Version(Version(from.0 + versions)))
    }

    /// The versions after `from` that can be applied together: the same engines lack them, and no store begins or ends.
    fn begin(&self, from: Version, to: Version) -> Result<Option<Stretch<'a>>, PhaseError> {
        let mut end = to.0.min(from.0 + self.versions);
        let (mut sc, mut ss) = (self.target.sc.as_deref(), self.target.ss.as_deref());
        // A crash may leave one engine ahead of the other: up to there, only the other one is written.
        if let Some(latest) = sc.map(Commitment::latest).transpose()?.flatten()
            && latest > from
        {
            (sc, end) = (None, end.min(latest.0));
        }
        if let Some(latest) = ss.map(Storage::latest).transpose()?.flatten()
            && latest > from
        {
            (ss, end) = (None, end.min(latest.0));
        }
        let Some(before) = self.info(from)? else { return Ok(None) };
        let mut infos = Vec::new();
        for version in from.0 + 1..=end {
            let Some(info) = self.info(Version(version))? else { break };
            let names = |info: &CommitInfo| info.stores.iter().map(|store| store.name.clone()).collect::<Vec<_>>();
            if names(&info) != names(&before) {
                break;
            }
            infos.push(info);
        }
        let (changes, stuck) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok((!infos.is_empty()).then_some(Stretch { from, infos, sc, ss, changes, stuck }))
    }

    fn info(&self, version: Version) -> Result<Option<CommitInfo>, PhaseError> {
        match self.source.commit_info(version) {
            Ok(info) => Ok(info),
            // Whoever applies that version says what is wrong with it.
            Err(SourceError::Record { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Applies what one store grew by; false if it cannot be had in this way.
    fn grow(&self, stretch: &Stretch<'_>, growth: &mut Growth, store: &StoreKey) -> Result<bool, PhaseError> {
        let roots: Vec<Hash> = stretch.infos.iter().map(|info| root_of(info, store)).collect();
        let mut from = stretch.from;
        let Some(mut trunk) = self.trunk(stretch, store)? else { return Ok(stretch.stuck_at(from.next())) };
        let mut rest = roots.as_slice();
        while !rest.is_empty() {
            self.work.heed_stop()?;
            if stretch.stuck.load(Ordering::SeqCst) > 0 {
                return Ok(false);
            }
            let read = self.read(stretch, growth, store, trunk, rest);
            let (count, next) = match read.map(|count| (count, growth.trunk())) {
                Ok((count, Some(next))) if count > 0 => (count, next),
                Ok(_) => {
                    tracing::debug!(%store, version = %from.next(), "too large to be applied in a stretch");
                    return Ok(stretch.stuck_at(from.next()));
                }
                Err(Failed::Prove(why)) => {
                    tracing::debug!(%store, after = %from, %why, "not to be applied in a stretch");
                    return Ok(stretch.stuck_at(why.at().map_or(from, |at| at.version).max(from).next()));
                }
                Err(Failed::Phase(error)) => return Err(error),
            };
            tracing::debug!(%store, after = %from, versions = count, records = growth.record_count(), "grown");
            stretch.write(store, growth, from, count)?;
            (trunk, from) = (next, next.version);
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(true)
    }

    /// The store's tree at the version before the stretch.
    fn trunk(&self, stretch: &Stretch<'_>, store: &StoreKey) -> Result<Option<Trunk>, PhaseError> {
        let version = stretch.from;
        let hash = match self.info(version)? {
            Some(info) => root_of(&info, store),
            None => return Ok(None),
        };
        let source = match self.source.root(store, version) {
            Ok(Some(root)) => root,
            Ok(None) | Err(SourceError::Record { .. } | SourceError::Legacy { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let source = match source {
            StoreRoot::Empty => None,
            StoreRoot::At(key) => Some(key),
        };
        let target = match stretch.sc {
            Some(sc) => match root_key(sc, store, version)? {
                Some(root) => root,
                None => return Ok(None),
            },
            None => source,
        };
        let root = match (source, target) {
            (Some(source), Some(target)) => Some((source, target)),
            (None, None) => None,
            _ => return Ok(None),
        };
        Ok(Some(Trunk { version, hash, root }))
    }

    fn read(
        &self,
        stretch: &Stretch<'_>,
        growth: &mut Growth,
        store: &StoreKey,
        trunk: Trunk,
        roots: &[Hash],
    ) -> Result<usize, Failed> {
        let mut grown = self.source.nodes(store, Access::Runs);
        let mut source = self.source.nodes(store, Access::Points);
        // Without an SC that is written the tree of store/v1 itself is what the versions grow on.
        let mut target: Box<dyn NodeReader + Send + '_> = match stretch.sc {
            Some(sc) => sc.nodes(store, Access::Points).map_err(|error| Failed::Phase(error.into()))?,
            None => self.source.nodes(store, Access::Points),
        };
        let mut readers = Readers { grown: &mut grown, source: &mut source, target: &mut target };
        // Half of the memory: what SC and SS make of it takes some too.
        let room = self.work.gulp_bytes() / 2;
        growth.read(&mut readers, trunk, roots, room).map_err(Failed::Prove)
    }
}

enum Failed {
    Prove(ProveError),
    Phase(PhaseError),
}

impl Stretch<'_> {
    /// Notes that a version does not go this way.
    fn stuck_at(&self, version: Version) -> bool {
        let last = Version(self.from.0 + self.infos.len() as u64);
        self.stuck.fetch_max(version.min(last).0, Ordering::SeqCst);
        false
    }

    /// Hands on what a store grew by.
    fn write(&self, store: &StoreKey, growth: &Growth, from: Version, versions: usize) -> Result<(), PhaseError> {
        if let Some(sc) = self.sc {
            let mut records = Counted { records: growth.records(), count: 0 };
            if growth.bytes() >= TABLE_BYTES {
                sc.load(store, &mut records, true)?()?;
            } else {
                sc.write_records(store, &mut records)?;
            }
            if records.count != growth.record_count() {
                return Err(PhaseError::Bug("a stretch has fewer records than nodes"));
            }
        }
        let mut changes = 0;
        for number in 0..versions {
            let version = Version(from.0 + number as u64 + 1);
            let mut of_version = growth.changes(number).inspect(|_| changes += 1).peekable();
            match self.ss {
                Some(ss) if of_version.peek().is_some() => ss.write_changes(store, version, &mut of_version)?,
                _ => of_version.for_each(drop),
            }
        }
        self.changes.fetch_add(changes, Ordering::SeqCst);
        Ok(())
    }

    /// Makes the versions exist; false if they have not the app hashes they should.
    fn conclude(&self) -> Result<bool, PhaseError> {
        if let Some(sc) = self.sc {
            for info in &self.infos {
                // Every root was proven; that they are all the app hash is made of is told here.
                let entry = |store: &StoreInfo| {
                    let root = Some(store.root.unwrap_or(Hash::EMPTY));
                    StoreInfo { name: store.name.clone(), version: info.version, root }
                };
                let stores = info.stores.iter().map(entry).collect();
                let written = CommitInfo { version: info.version, stores, timestamp: info.timestamp };
                if written.app_hash() != info.app_hash() {
                    return Ok(false);
                }
                sc.write_info(&written)?;
            }
            // One sync makes every version of the stretch durable: the engine's log is a prefix of what was written, and
            // tables are durable already.
            sc.sync()?;
        }
        if let (Some(ss), Some(last)) = (self.ss, self.infos.last()) {
            // The watermark goes last; what is above it is written again after a crash.
            ss.write_watermark(last.version)?;
            ss.sync()?;
        }
        Ok(true)
    }
}

fn root_of(info: &CommitInfo, store: &StoreKey) -> Hash {
    info.store(store).and_then(|store| store.root).unwrap_or(Hash::EMPTY)
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
