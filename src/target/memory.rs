//! The in-memory twin of both engines, for tests and fuzzing: same traits, same records, and an outage on demand.
//!
//! Everything it accepts counts as durable; an [`Outage`] decides at which write the process "dies".

use super::{Commitment, Entry, EntryReader, Landing, PairLoader, PairReader, Storage, StoredPair, TargetError};
use crate::{
    iavl::{Access, NodeKey, NodeReader, ReadError, RecordStream, RecordWalk},
    model::{ChangeRef, CommitInfo, StoreKey, Version},
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Counts writes and makes all fail from a chosen one on, or whichever it is told to. Shared by everything that "dies" together.
#[derive(Clone)]
pub struct Outage {
    left: Arc<AtomicU64>,
    seen: Arc<AtomicU64>,
    asked: Option<Asked>,
}

/// Is asked at each write whether it happens. May take its time, or panic.
type Asked = Arc<dyn Fn() -> bool + Send + Sync>;

impl fmt::Debug for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outage").field("left", &self.left).field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Outage {
    /// Lets `writes` writes through.
    #[must_use]
    pub fn after(writes: u64) -> Outage {
        Outage { left: Arc::new(AtomicU64::new(writes)), seen: Arc::default(), asked: None }
    }

    /// Never.
    #[must_use]
    pub fn never() -> Outage {
        Outage::after(u64::MAX)
    }

    /// Asks at each write whether it happens, before anything is locked for it.
    #[must_use]
    pub fn asking(asked: impl Fn() -> bool + Send + Sync + 'static) -> Outage {
        Outage { asked: Some(Arc::new(asked)), ..Outage::never() }
    }

    /// Writes asked for so far.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// One write: whether it still happens.
    #[must_use]
    pub fn lets_through(&self) -> bool {
        self.seen.fetch_add(1, Ordering::SeqCst);
        if self.asked.as_ref().is_some_and(|asked| !asked()) {
            return false;
        }
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    fn write(&self) -> Result<(), TargetError> {
        if self.lets_through() { Ok(()) } else { Err(TargetError::Outage) }
    }
}

type Records = BTreeMap<(StoreKey, NodeKey), Vec<u8>>;
type Pairs = BTreeMap<(StoreKey, Vec<u8>, Version), Option<Vec<u8>>>;

/// SC in memory. Clones share their data, as two handles on one directory would.
#[derive(Clone)]
pub struct MemoryCommitment {
    data: Arc<Mutex<CommitmentData>>,
    outage: Outage,
}

/// What an SC in memory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitmentData {
    /// Node records.
    pub records: Records,
    /// Encoded commit infos by version.
    pub infos: BTreeMap<Version, Vec<u8>>,
    /// The watermark.
    pub latest: Option<Version>,
}

impl MemoryCommitment {
    /// An empty one, or another handle on the data of `of`.
    #[must_use]
    pub fn new(of: Option<&MemoryCommitment>, outage: Outage) -> MemoryCommitment {
        MemoryCommitment { data: of.map_or_else(Arc::default, |other| other.data.clone()), outage }
    }

    /// The data, to be compared or damaged.
    pub fn data(&self) -> MutexGuard<'_, CommitmentData> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Nodes<'a> {
    of: &'a MemoryCommitment,
    store: StoreKey,
}

impl NodeReader for Nodes<'_> {
    fn parents_last(&self) -> bool {
        true
    }

    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let data = self.of.data();
        let at = |key| data.records.get(&(self.store.clone(), key));
        let record = at(key).or_else(|| if key.nonce == 1 { at(NodeKey::new(key.version, 0)) } else { None });
        record.map_or(Ok(false), |record| {
            out.extend_from_slice(record);
            Ok(true)
        })
    }
}

struct Walk<'a> {
    of: &'a MemoryCommitment,
    store: StoreKey,
    next: NodeKey,
    record: Vec<u8>,
}

impl RecordWalk for Walk<'_> {
    fn seek(&mut self, key: NodeKey) {
        self.next = key;
    }

    fn next(&mut self) -> Result<Option<(NodeKey, &[u8])>, ReadError> {
        let data = self.of.data();
        let mut rest = data.records.range((self.store.clone(), self.next)..);
        let Some(((_, key), record)) = rest.next().filter(|((store, _), _)| *store == self.store) else {
            return Ok(None);
        };
        self.record.clone_from(record);
        self.next = NodeKey::new(Version(key.version.0 + u64::from(key.nonce == u32::MAX)), key.nonce.wrapping_add(1));
        Ok(Some((*key, &self.record)))
    }
}

impl Commitment for MemoryCommitment {
    fn nodes(&self, store: &StoreKey, _: Access) -> Result<Box<dyn NodeReader + Send + '_>, TargetError> {
        Ok(Box::new(Nodes { of: self, store: store.clone() }))
    }

    fn records(&self, store: &StoreKey) -> Result<Box<dyn RecordWalk + Send + '_>, TargetError> {
        Ok(Box::new(Walk { of: self, store: store.clone(), next: NodeKey::new(Version(0), 0), record: Vec::new() }))
    }

    fn load(&self, store: &StoreKey, records: &mut dyn RecordStream, _: bool) -> Result<Landing<'_>, TargetError> {
        let mut written: Vec<((StoreKey, NodeKey), Vec<u8>)> = Vec::new();
        while let Some((key, record)) = records.next() {
            if written.last().is_some_and(|((_, last), _)| key <= *last) {
                return Err(TargetError::Order);
            }
            written.push(((store.clone(), key), record.to_vec()));
        }
        Ok(Box::new(move || {
            if !written.is_empty() {
                self.outage.write()?;
                self.data().records.extend(written);
            }
            Ok(())
        }))
    }

    fn write_records(&self, store: &StoreKey, records: &mut dyn RecordStream) -> Result<(), TargetError> {
        self.outage.write()?;
        let mut data = self.data();
        while let Some((key, record)) = records.next() {
            data.records.insert((store.clone(), key), record.to_vec());
        }
        Ok(())
    }

    fn write_info(&self, info: &CommitInfo) -> Result<(), TargetError> {
        self.outage.write()?;
        let mut data = self.data();
        data.infos.insert(info.version, super::commit_info::encode(info));
        data.latest = Some(info.version);
        Ok(())
    }

    fn latest(&self) -> Result<Option<Version>, TargetError> {
        Ok(self.data().latest)
    }

    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, TargetError> {
        let data = self.data();
        let Some(bytes) = data.infos.get(&version) else { return Ok(None) };
        let info = super::commit_info::decode(bytes).filter(|info| info.version == version);
        let what = || format!("c/{version} is not a commit info of that version");
        info.map(Some).ok_or_else(|| TargetError::Corrupt { path: "(memory)".into(), what: what() })
    }

    fn prune(&self, records: &[(StoreKey, NodeKey, Option<Vec<u8>>)], version: Version) -> Result<(), TargetError> {
        self.outage.write()?;
        let mut data = self.data();
        for (store, key, record) in records {
            match record {
                Some(record) => data.records.insert((store.clone(), *key), record.clone()),
                None => data.records.remove(&(store.clone(), *key)),
            };
        }
        data.infos.remove(&version);
        Ok(())
    }

    fn count(&self, store: &StoreKey) -> Result<u64, TargetError> {
        Ok(self.data().records.keys().filter(|(name, _)| name == store).count() as u64)
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.outage.write()
    }

    fn flush(&self) -> Result<(), TargetError> {
        Ok(())
    }

    fn hold(&self) -> Result<(), TargetError> {
        Ok(())
    }

    fn compact(&self, _: usize, _: &(dyn Fn() -> bool + Sync)) -> Result<(), TargetError> {
        Ok(())
    }

    fn discard(&self, store: &StoreKey) -> Result<(), TargetError> {
        self.data().records.retain(|(name, _), _| name != store);
        Ok(())
    }

    fn settle(&self, _: &[StoreKey], _: &(dyn Fn() -> bool + Sync)) -> Result<Vec<StoreKey>, TargetError> {
        Ok(Vec::new())
    }
}

/// SS in memory. Clones share their data, as two handles on one directory would.
#[derive(Clone)]
pub struct MemoryStorage {
    data: Arc<Mutex<StorageData>>,
    outage: Outage,
}

/// What an SS in memory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageData {
    /// Values by store, key and version; none is a removal.
    pub pairs: Pairs,
    /// The watermark.
    pub latest: Option<Version>,
}

impl MemoryStorage {
    /// An empty one, or another handle on the data of `of`.
    #[must_use]
    pub fn new(of: Option<&MemoryStorage>, outage: Outage) -> MemoryStorage {
        MemoryStorage { data: of.map_or_else(Arc::default, |other| other.data.clone()), outage }
    }

    /// The data, to be compared or damaged.
    pub fn data(&self) -> MutexGuard<'_, StorageData> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStorage {
    /// The live pairs of a store at a version, from a key on.
    fn live(&self, store: &StoreKey, version: Version, from: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, Version)> {
        let mut newest: BTreeMap<Vec<u8>, (Version, Option<Vec<u8>>)> = BTreeMap::new();
        for ((name, key, at), value) in &self.data().pairs {
            if name == store && *at <= version && key.as_slice() >= from {
                newest.insert(key.clone(), (*at, value.clone()));
            }
        }
        newest.into_iter().filter_map(|(key, (at, value))| value.map(|value| (key, value, at))).collect()
    }
}

struct Loader<'a> {
    of: &'a MemoryStorage,
    store: StoreKey,
    version: Version,
    written: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<'a> PairLoader<'a> for Loader<'a> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), TargetError> {
        if self.written.last().is_some_and(|(last, _)| key <= last.as_slice()) {
            return Err(TargetError::Order);
        }
        self.written.push((key.to_vec(), value.to_vec()));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Landing<'a>, TargetError> {
        Ok(Box::new(move || {
            let mut written = self.written.into_iter().peekable();
            // In pieces, so that an outage leaves some of them.
            while written.peek().is_some() {
                self.of.outage.write()?;
                let piece = written
                    .by_ref()
                    .take(32)
                    .map(|(key, value)| ((self.store.clone(), key, self.version), Some(value)));
                self.of.data().pairs.extend(piece);
            }
            Ok(())
        }))
    }
}

struct Reader {
    pairs: std::vec::IntoIter<(Vec<u8>, Vec<u8>, Version)>,
    current: (Vec<u8>, Vec<u8>, Version),
}

impl PairReader for Reader {
    fn next(&mut self) -> Result<Option<StoredPair<'_>>, TargetError> {
        let Some(pair) = self.pairs.next() else { return Ok(None) };
        self.current = pair;
        let (key, value, version) = &self.current;
        Ok(Some(StoredPair { key, value, version: *version }))
    }
}

struct Entries {
    entries: std::vec::IntoIter<(Vec<u8>, Version, Option<Vec<u8>>)>,
    current: Option<(Vec<u8>, Version, Option<Vec<u8>>)>,
}

impl EntryReader for Entries {
    fn next(&mut self) -> Result<Option<Entry<'_>>, TargetError> {
        self.current = self.entries.next();
        Ok(self.current.as_ref().map(|(key, version, value)| Entry { key, value: value.as_deref(), version: *version }))
    }
}

impl Storage for MemoryStorage {
    fn loader<'a>(&'a self, store: &StoreKey, version: Version) -> Result<Box<dyn PairLoader<'a> + 'a>, TargetError> {
        Ok(Box::new(Loader { of: self, store: store.clone(), version, written: Vec::new() }))
    }

    fn pairs(&self, store: &StoreKey, version: Version, from: &[u8]) -> Result<Box<dyn PairReader + '_>, TargetError> {
        let pairs = self.live(store, version, from);
        Ok(Box::new(Reader { pairs: pairs.into_iter(), current: (Vec::new(), Vec::new(), Version(0)) }))
    }

    fn pairs_back(
        &self,
        store: &StoreKey,
        version: Version,
        until: Option<&[u8]>,
    ) -> Result<Box<dyn PairReader + '_>, TargetError> {
        let mut pairs = self.live(store, version, b"");
        pairs.retain(|(key, ..)| until.is_none_or(|until| key.as_slice() < until));
        pairs.reverse();
        Ok(Box::new(Reader { pairs: pairs.into_iter(), current: (Vec::new(), Vec::new(), Version(0)) }))
    }

    fn entries(&self, store: &StoreKey, from: Version, to: Version) -> Result<Box<dyn EntryReader + '_>, TargetError> {
        let data = self.data();
        let wanted = data.pairs.iter().filter(|((name, _, at), _)| name == store && (from..=to).contains(at));
        let entries: Vec<_> = wanted.map(|((_, key, at), value)| (key.clone(), *at, value.clone())).collect();
        Ok(Box::new(Entries { entries: entries.into_iter(), current: None }))
    }

    fn get(&self, store: &StoreKey, version: Version, key: &[u8]) -> Result<Option<Vec<u8>>, TargetError> {
        let data = self.data();
        let (from, to) = ((store.clone(), key.to_vec(), Version(0)), (store.clone(), key.to_vec(), version));
        Ok(data.pairs.range(from..=to).next_back().and_then(|(_, value)| value.clone()))
    }

    fn forget(&self, oldest: Version) -> Result<(), TargetError> {
        self.outage.write()?;
        let mut data = self.data();
        let mut newest: BTreeMap<(StoreKey, Vec<u8>), Version> = BTreeMap::new();
        for (store, key, at) in data.pairs.keys().filter(|(_, _, at)| *at <= oldest) {
            newest.insert((store.clone(), key.clone()), *at);
        }
        data.pairs.retain(|(store, key, at), value| {
            let kept = newest.get(&(store.clone(), key.clone()));
            *at > oldest || (kept == Some(at) && value.is_some())
        });
        Ok(())
    }

    fn write_changes(
        &self,
        store: &StoreKey,
        version: Version,
        changes: &mut dyn Iterator<Item = ChangeRef<'_>>,
    ) -> Result<(), TargetError> {
        self.outage.write()?;
        let mut data = self.data();
        for change in changes {
            let value = change.value.map(<[u8]>::to_vec);
            data.pairs.insert((store.clone(), change.key.to_vec(), version), value);
        }
        Ok(())
    }

    fn write_watermark(&self, version: Version) -> Result<(), TargetError> {
        self.outage.write()?;
        self.data().latest = Some(version);
        Ok(())
    }

    fn latest(&self) -> Result<Option<Version>, TargetError> {
        Ok(self.data().latest)
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.outage.write()
    }

    fn flush(&self) -> Result<(), TargetError> {
        Ok(())
    }

    fn hold(&self) -> Result<(), TargetError> {
        Ok(())
    }

    fn compact(&self, _: usize, _: &(dyn Fn() -> bool + Sync)) -> Result<(), TargetError> {
        Ok(())
    }

    fn discard(&self, store: &StoreKey) -> Result<(), TargetError> {
        self.data().pairs.retain(|(name, ..), _| name != store);
        Ok(())
    }
}
