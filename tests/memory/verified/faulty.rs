//! Engines in memory, and a source, whose reads fail: the n-th one, each one from there on, or all of a store's until its files are
//! dropped, as where a file is damaged.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};
use storeshift::{
    iavl::{Access, NodeKey, NodeReader, ReadError, RecordStream, RecordWalk},
    model::{ChangeRef, CommitInfo, StoreKey, Version},
    source::{Engine, MemoryEngine, Pair, PointReader, Scan, SourceError},
    target::{
        Commitment, Entry, EntryReader, Landing, MemoryCommitment, MemoryStorage, PairLoader, PairReader, Storage,
        StoredPair, TargetError,
    },
};

/// What a read that fails says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Says {
    /// The disk could not be read; it may be another time.
    Fails,
    /// The bytes are damaged.
    Damaged,
}

/// How settling ends that has written a store anew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Settling {
    /// It says so.
    Ends,
    /// It is stopped before it can.
    Stops,
}

/// What becomes of a store whose files are dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dropping {
    /// They go, with what they hold.
    Drops,
    /// The damage goes, and what is whole stays: it lies in other files.
    Keeps,
    /// They stay, and are damaged: other stores share them.
    Refuses,
}

#[derive(Default)]
struct Armed {
    /// How many reads still happen, and what those after them say.
    left: Option<(u64, Says)>,
    /// Whether all reads after that one fail too.
    lasts: bool,
    failed: u64,
    damaged: BTreeSet<StoreKey>,
    /// The stores whose records were walked through, and whether SC had been settled before.
    walks: Vec<(StoreKey, bool)>,
    settled: bool,
    /// What settling damages, and whether it comes so far that it says so.
    settling: Option<(StoreKey, Settling)>,
}

/// Asked at each read, of whatever, whether it happens.
#[derive(Clone, Default)]
pub struct Reads(Arc<Mutex<Armed>>);

impl Reads {
    fn armed(&self) -> std::sync::MutexGuard<'_, Armed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the read after so many fails; and, if it `lasts`, all after it.
    pub fn fail_after(&self, reads: u64, says: Says, lasts: bool) {
        *self.armed() = Armed { left: Some((reads, says)), lasts, ..Armed::default() };
    }

    /// Damages whatever lies in the files of a store.
    pub fn damage(&self, store: &str) {
        self.armed().damaged.insert(store.into());
    }

    /// Has a store written anew when SC is settled, and so badly that it cannot be read from then on.
    pub fn damage_when_settled(&self, store: &str, settling: Settling) {
        self.armed().settling = Some((store.into(), settling));
    }

    /// The stores whose records in SC were walked through, and whether it was settled before.
    pub fn walks(&self) -> Vec<(StoreKey, bool)> {
        self.armed().walks.clone()
    }

    /// Reads that failed since.
    pub fn failed(&self) -> u64 {
        self.armed().failed
    }

    fn ask(&self, store: Option<&StoreKey>) -> Result<(), Says> {
        let mut armed = self.armed();
        if store.is_some_and(|store| armed.damaged.contains(store)) {
            armed.failed += 1;
            return Err(Says::Damaged);
        }
        let (left, says) = match armed.left {
            None => return Ok(()),
            Some(left) => left,
        };
        if left > 0 {
            armed.left = Some((left - 1, says));
            return Ok(());
        }
        armed.failed += 1;
        if !armed.lasts {
            armed.left = None;
        }
        Err(says)
    }

    fn of_target(&self, store: Option<&StoreKey>) -> Result<(), TargetError> {
        let path = "(memory)".into();
        self.ask(store).map_err(|says| match says {
            Says::Fails => TargetError::Io { path, doing: "read", source: std::io::Error::other("a test says so") },
            Says::Damaged => TargetError::Corrupt { path, what: "a test says so".to_owned() },
        })
    }

    fn of_nodes(&self, store: &StoreKey) -> Result<(), ReadError> {
        Ok(self.of_target(Some(store))?)
    }

    fn of_source(&self) -> Result<(), SourceError> {
        let path = "(memory)".into();
        self.ask(None).map_err(|says| match says {
            Says::Fails => SourceError::Io { path, doing: "read", source: std::io::Error::other("a test says so") },
            Says::Damaged => SourceError::Damaged { path, what: "a test says so".to_owned() },
        })
    }
}

/// SC whose reads may fail.
pub struct Sc(pub MemoryCommitment, pub Reads, pub Dropping);

struct Nodes<'a>(Box<dyn NodeReader + Send + 'a>, &'a Reads, StoreKey);

impl NodeReader for Nodes<'_> {
    fn parents_last(&self) -> bool {
        self.0.parents_last()
    }

    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.1.of_nodes(&self.2)?;
        self.0.read(key, out)
    }
}

struct Walk<'a>(Box<dyn RecordWalk + Send + 'a>, &'a Reads, StoreKey);

impl RecordWalk for Walk<'_> {
    fn seek(&mut self, key: NodeKey) {
        self.0.seek(key);
    }

    fn next(&mut self) -> Result<Option<(NodeKey, &[u8])>, ReadError> {
        self.1.of_nodes(&self.2)?;
        self.0.next()
    }
}

impl Commitment for Sc {
    fn nodes(&self, store: &StoreKey, access: Access) -> Result<Box<dyn NodeReader + Send + '_>, TargetError> {
        Ok(Box::new(Nodes(self.0.nodes(store, access)?, &self.1, store.clone())))
    }

    fn records(&self, store: &StoreKey) -> Result<Box<dyn RecordWalk + Send + '_>, TargetError> {
        let mut armed = self.1.armed();
        let settled = armed.settled;
        armed.walks.push((store.clone(), settled));
        Ok(Box::new(Walk(self.0.records(store)?, &self.1, store.clone())))
    }

    fn load(&self, store: &StoreKey, records: &mut dyn RecordStream, whole: bool) -> Result<Landing<'_>, TargetError> {
        self.0.load(store, records, whole)
    }

    fn write_records(&self, store: &StoreKey, records: &mut dyn RecordStream) -> Result<(), TargetError> {
        self.0.write_records(store, records)
    }

    fn write_info(&self, info: &CommitInfo) -> Result<(), TargetError> {
        self.0.write_info(info)
    }

    fn latest(&self) -> Result<Option<Version>, TargetError> {
        self.1.of_target(None)?;
        self.0.latest()
    }

    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, TargetError> {
        self.1.of_target(None)?;
        self.0.commit_info(version)
    }

    fn prune(&self, records: &[(StoreKey, NodeKey, Option<Vec<u8>>)], version: Version) -> Result<(), TargetError> {
        self.0.prune(records, version)
    }

    fn count(&self, store: &StoreKey) -> Result<u64, TargetError> {
        self.1.of_target(Some(store))?;
        self.0.count(store)
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.0.sync()
    }

    fn settle(&self, stores: &[StoreKey], stop: &(dyn Fn() -> bool + Sync)) -> Result<Vec<StoreKey>, TargetError> {
        let mut anew = self.0.settle(stores, stop)?;
        let mut armed = self.1.armed();
        armed.settled = true;
        if let Some((store, settling)) = armed.settling.take() {
            armed.damaged.insert(store.clone());
            if settling == Settling::Stops {
                return Err(TargetError::Stopped);
            }
            anew.push(store);
        }
        Ok(anew)
    }

    fn flush(&self) -> Result<(), TargetError> {
        self.0.flush()
    }

    fn hold(&self) -> Result<(), TargetError> {
        self.0.hold()
    }

    fn compact(&self, spare: usize, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), TargetError> {
        self.0.compact(spare, stop)
    }

    fn discard(&self, store: &StoreKey) -> Result<(), TargetError> {
        dropped(&self.1, self.2, store, || self.0.discard(store))
    }
}

fn dropped(
    reads: &Reads,
    dropping: Dropping,
    store: &StoreKey,
    drop: impl FnOnce() -> Result<(), TargetError>,
) -> Result<(), TargetError> {
    if dropping != Dropping::Refuses {
        reads.armed().damaged.remove(store);
    }
    if dropping == Dropping::Drops { drop() } else { Ok(()) }
}

/// SS whose reads may fail.
pub struct Ss(pub MemoryStorage, pub Reads, pub Dropping);

struct Pairs<'a>(Box<dyn PairReader + 'a>, &'a Reads, StoreKey);

impl PairReader for Pairs<'_> {
    fn next(&mut self) -> Result<Option<StoredPair<'_>>, TargetError> {
        self.1.of_target(Some(&self.2))?;
        self.0.next()
    }
}

struct Entries<'a>(Box<dyn EntryReader + 'a>, &'a Reads, StoreKey);

impl EntryReader for Entries<'_> {
    fn next(&mut self) -> Result<Option<Entry<'_>>, TargetError> {
        self.1.of_target(Some(&self.2))?;
        self.0.next()
    }
}

impl Storage for Ss {
    fn loader<'a>(&'a self, store: &StoreKey, version: Version) -> Result<Box<dyn PairLoader<'a> + 'a>, TargetError> {
        self.0.loader(store, version)
    }

    fn pairs(&self, store: &StoreKey, version: Version, from: &[u8]) -> Result<Box<dyn PairReader + '_>, TargetError> {
        Ok(Box::new(Pairs(self.0.pairs(store, version, from)?, &self.1, store.clone())))
    }

    fn pairs_back(
        &self,
        store: &StoreKey,
        version: Version,
        until: Option<&[u8]>,
    ) -> Result<Box<dyn PairReader + '_>, TargetError> {
        Ok(Box::new(Pairs(self.0.pairs_back(store, version, until)?, &self.1, store.clone())))
    }

    fn entries(
        &self,
        store: &StoreKey,
        from: Version,
        until: Version,
    ) -> Result<Box<dyn EntryReader + '_>, TargetError> {
        Ok(Box::new(Entries(self.0.entries(store, from, until)?, &self.1, store.clone())))
    }

    fn get(&self, store: &StoreKey, version: Version, key: &[u8]) -> Result<Option<Vec<u8>>, TargetError> {
        self.1.of_target(Some(store))?;
        self.0.get(store, version, key)
    }

    fn forget(&self, oldest: Version) -> Result<(), TargetError> {
        self.0.forget(oldest)
    }

    fn write_changes(
        &self,
        store: &StoreKey,
        version: Version,
        changes: &mut dyn Iterator<Item = ChangeRef<'_>>,
    ) -> Result<(), TargetError> {
        self.0.write_changes(store, version, changes)
    }

    fn write_watermark(&self, version: Version) -> Result<(), TargetError> {
        self.0.write_watermark(version)
    }

    fn latest(&self) -> Result<Option<Version>, TargetError> {
        self.1.of_target(None)?;
        self.0.latest()
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.0.sync()
    }

    fn flush(&self) -> Result<(), TargetError> {
        self.0.flush()
    }

    fn hold(&self) -> Result<(), TargetError> {
        self.0.hold()
    }

    fn compact(&self, spare: usize, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), TargetError> {
        self.0.compact(spare, stop)
    }

    fn discard(&self, store: &StoreKey) -> Result<(), TargetError> {
        dropped(&self.1, self.2, store, || self.0.discard(store))
    }
}

/// A source's database whose reads may fail.
pub struct V1(pub MemoryEngine, pub Reads);

struct Points<'a>(Box<dyn PointReader + Send + 'a>, &'a Reads);

impl PointReader for Points<'_> {
    fn read(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, SourceError> {
        self.1.of_source()?;
        self.0.read(key, out)
    }
}

struct Scanned<'a>(Box<dyn Scan + Send + 'a>, &'a Reads);

impl Scan for Scanned<'_> {
    fn seek(&mut self, key: &[u8]) {
        self.0.seek(key);
    }

    fn next(&mut self) -> Result<Option<Pair<'_>>, SourceError> {
        self.1.of_source()?;
        self.0.next()
    }
}

impl Engine for V1 {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        self.1.of_source()?;
        self.0.get(key)
    }

    fn reader(&self, access: Access) -> Box<dyn PointReader + Send + '_> {
        Box::new(Points(self.0.reader(access), &self.1))
    }

    fn scan(&self, from: &[u8], until: &[u8]) -> Box<dyn Scan + Send + '_> {
        Box::new(Scanned(self.0.scan(from, until), &self.1))
    }

    fn approximate_bytes(&self, start: &[u8], end: &[u8]) -> u64 {
        self.0.approximate_bytes(start, end)
    }
}
