//! The engines beside a recording: twins in memory that forget what was not synced, as real ones do.

use super::{
    gate::Gate,
    log::{Held, Op},
    recorder::Recorder,
};
use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};
use storeshift::{
    disk::{self, Making},
    iavl::{Access, NodeKey, NodeReader, RecordStream, RecordWalk},
    model::{ChangeRef, CommitInfo, StoreKey, Version},
    root_store::{Batch, Database, Databases, MemoryDatabase},
    source::{Engine, PointReader, Scan, SourceError},
    target::{
        Commitment, CommitmentData, EngineTuning, Engines, EntryReader, Landing, MemoryCommitment, MemoryStorage,
        Outage, PairLoader, PairReader, Place, Storage, StorageData, TargetError,
    },
};

/// By this an engine's directory says which one it is; without it there is a new one.
const MARK: &str = "twin";
/// An engine with this in its directory cannot be opened any more.
pub const DAMAGED: &str = "damaged";
/// The number of the database of store/v1.
pub const V1: usize = 0;

/// All engines of a world. Clones share them.
#[derive(Clone)]
pub struct Twins {
    held: Arc<Mutex<Vec<Option<Held>>>>,
    recorder: Option<Recorder>,
    /// Where a migration waits for its turn.
    gate: Option<Arc<Gate>>,
}

impl Twins {
    pub fn holding(held: Vec<Option<Held>>, recorder: Option<Recorder>) -> Twins {
        let mut held = held;
        if held.is_empty() {
            held.push(None);
        }
        Twins { held: Arc::new(Mutex::new(held)), recorder, gate: None }
    }

    /// What they are given passes this gate.
    pub fn behind(self, gate: Arc<Gate>) -> Twins {
        Twins { gate: Some(gate), ..self }
    }

    pub fn held(&self) -> MutexGuard<'_, Vec<Option<Held>>> {
        self.held.lock().unwrap()
    }

    fn hold(&self, engine: usize, held: Held, durable: bool) {
        if self.gate.as_ref().is_some_and(|gate| gate.pass().is_err()) {
            // Nothing of this happens any more.
            return;
        }
        self.held()[engine] = Some(held.clone());
        if let Some(recorder) = &self.recorder {
            recorder.note(Op::Engine { engine, held, durable });
        }
    }

    /// The engine in a directory, and whether it was made just now.
    fn number(&self, directory: &Path) -> Result<usize, TargetError> {
        if directory.join(DAMAGED).exists() {
            return Err(TargetError::Lost { path: directory.to_owned(), what: "a test says so".to_owned() });
        }
        let mark = directory.join(MARK);
        let io = |source| TargetError::Io { path: mark.clone(), doing: "use", source };
        let mut held = self.held();
        if let Ok(text) = std::fs::read_to_string(&mark) {
            let number: usize = text.parse().unwrap();
            // The power went before it was given anything.
            let count = held.len().max(number + 1);
            held.resize_with(count, || None);
            return Ok(number);
        }
        held.push(None);
        let number = held.len() - 1;
        drop(held);
        let unfinished = directory.join("twin.new");
        disk::write(&unfinished, Making::Anew, number.to_string().as_bytes()).map_err(io)?;
        disk::rename(&unfinished, &mark).and_then(|()| disk::sync(directory)).map_err(io)?;
        Ok(number)
    }
}

impl Engines for Twins {
    fn commitment(&self, place: &Place, _: EngineTuning) -> Result<Box<dyn Commitment>, TargetError> {
        let number = self.number(&place.sc())?;
        let inner = MemoryCommitment::new(None, Outage::never());
        if let Some(Held::Sc(held)) = &self.held()[number] {
            inner.data().clone_from(held);
        }
        let durable = Mutex::new(inner.data().clone());
        Ok(Box::new(Sc { inner, durable, number, twins: self.clone() }))
    }

    fn storage(&self, place: &Place, _: EngineTuning) -> Result<Box<dyn Storage>, TargetError> {
        let number = self.number(&place.ss())?;
        let inner = MemoryStorage::new(None, Outage::never());
        if let Some(Held::Ss(held)) = &self.held()[number] {
            inner.data().clone_from(held);
        }
        let durable = Mutex::new(inner.data().clone());
        Ok(Box::new(Ss { inner, durable, number, twins: self.clone() }))
    }
}

impl Databases for Twins {
    fn is_there(&self, _: &Path) -> bool {
        self.held()[V1].is_some()
    }

    fn database(&self, _: &Path, _: EngineTuning) -> Result<Arc<dyn Database>, TargetError> {
        let inner = MemoryDatabase::new(None, Outage::never());
        if let Some(Held::V1(held)) = &self.held()[V1] {
            inner.pairs().clone_from(held);
        }
        Ok(Arc::new(V1Database { inner, twins: self.clone() }))
    }
}

struct V1Database {
    inner: MemoryDatabase,
    twins: Twins,
}

impl Engine for V1Database {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        if let Some(gate) = self.twins.gate.as_ref().filter(|_| key == b"s/latest") {
            let gone = |source| SourceError::Io { path: "twin".into(), doing: "ask", source };
            gate.asked_for_the_newest_version().map_err(gone)?;
        }
        self.inner.get(key)
    }

    fn reader(&self, access: Access) -> Box<dyn PointReader + Send + '_> {
        self.inner.reader(access)
    }

    fn scan(&self, from: &[u8], until: &[u8]) -> Box<dyn Scan + Send + '_> {
        self.inner.scan(from, until)
    }

    fn approximate_bytes(&self, start: &[u8], end: &[u8]) -> u64 {
        self.inner.approximate_bytes(start, end)
    }
}

impl Database for V1Database {
    fn write(&self, batch: Batch, durable: bool) -> Result<(), TargetError> {
        self.inner.write(batch, durable)?;
        let pairs = self.inner.pairs().clone();
        self.twins.hold(V1, Held::V1(Arc::new(pairs)), durable);
        Ok(())
    }

    fn flush(&self) -> Result<(), TargetError> {
        self.inner.flush()
    }
}

struct Sc {
    inner: MemoryCommitment,
    /// What is there for certain.
    durable: Mutex<CommitmentData>,
    number: usize,
    twins: Twins,
}

impl Sc {
    fn wrote(&self) {
        self.twins.hold(self.number, Held::Sc(Arc::new(self.inner.data().clone())), false);
    }

    fn synced(&self) {
        let data = self.inner.data().clone();
        *self.durable.lock().unwrap() = data.clone();
        self.twins.hold(self.number, Held::Sc(Arc::new(data)), true);
    }
}

impl Commitment for Sc {
    fn nodes(&self, store: &StoreKey, access: Access) -> Result<Box<dyn NodeReader + Send + '_>, TargetError> {
        self.inner.nodes(store, access)
    }

    fn records(&self, store: &StoreKey) -> Result<Box<dyn RecordWalk + Send + '_>, TargetError> {
        self.inner.records(store)
    }

    /// A table that is taken over is durable by itself, and not what was written before it.
    fn load(&self, store: &StoreKey, records: &mut dyn RecordStream, whole: bool) -> Result<Landing<'_>, TargetError> {
        let landing = self.inner.load(store, records, whole)?;
        Ok(Box::new(move || {
            let before = self.inner.data().records.clone();
            landing()?;
            let mut durable = self.durable.lock().unwrap();
            for (key, record) in &self.inner.data().records {
                if before.get(key) != Some(record) {
                    durable.records.insert(key.clone(), record.clone());
                }
            }
            self.twins.hold(self.number, Held::Sc(Arc::new(durable.clone())), true);
            drop(durable);
            self.wrote();
            Ok(())
        }))
    }

    fn write_records(&self, store: &StoreKey, records: &mut dyn RecordStream) -> Result<(), TargetError> {
        self.inner.write_records(store, records)?;
        self.wrote();
        Ok(())
    }

    fn write_info(&self, info: &CommitInfo) -> Result<(), TargetError> {
        self.inner.write_info(info)?;
        self.wrote();
        Ok(())
    }

    fn latest(&self) -> Result<Option<Version>, TargetError> {
        self.inner.latest()
    }

    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, TargetError> {
        self.inner.commit_info(version)
    }

    fn prune(&self, records: &[(StoreKey, NodeKey, Option<Vec<u8>>)], version: Version) -> Result<(), TargetError> {
        self.inner.prune(records, version)?;
        self.wrote();
        Ok(())
    }

    fn count(&self, store: &StoreKey) -> Result<u64, TargetError> {
        self.inner.count(store)
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.synced();
        Ok(())
    }

    fn settle(&self, stores: &[StoreKey], stop: &(dyn Fn() -> bool + Sync)) -> Result<Vec<StoreKey>, TargetError> {
        self.inner.settle(stores, stop)
    }

    fn flush(&self) -> Result<(), TargetError> {
        self.synced();
        Ok(())
    }

    fn hold(&self) -> Result<(), TargetError> {
        self.inner.hold()
    }

    fn compact(&self, spare: usize, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), TargetError> {
        self.inner.compact(spare, stop)
    }

    fn discard(&self, store: &StoreKey) -> Result<(), TargetError> {
        self.inner.discard(store)
    }
}

struct Ss {
    inner: MemoryStorage,
    durable: Mutex<StorageData>,
    number: usize,
    twins: Twins,
}

impl Ss {
    fn wrote(&self) {
        self.twins.hold(self.number, Held::Ss(Arc::new(self.inner.data().clone())), false);
    }

    fn synced(&self) {
        let data = self.inner.data().clone();
        *self.durable.lock().unwrap() = data.clone();
        self.twins.hold(self.number, Held::Ss(Arc::new(data)), true);
    }
}

struct Loader<'a> {
    of: &'a Ss,
    inner: Box<dyn PairLoader<'a> + 'a>,
}

impl<'a> PairLoader<'a> for Loader<'a> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), TargetError> {
        self.inner.put(key, value)
    }

    fn finish(self: Box<Self>) -> Result<Landing<'a>, TargetError> {
        let (of, landing) = (self.of, self.inner.finish()?);
        Ok(Box::new(move || {
            let before = of.inner.data().pairs.clone();
            landing()?;
            let mut durable = of.durable.lock().unwrap();
            for (key, value) in &of.inner.data().pairs {
                if before.get(key) != Some(value) {
                    durable.pairs.insert(key.clone(), value.clone());
                }
            }
            of.twins.hold(of.number, Held::Ss(Arc::new(durable.clone())), true);
            drop(durable);
            of.wrote();
            Ok(())
        }))
    }
}

impl Storage for Ss {
    fn loader<'a>(&'a self, store: &StoreKey, version: Version) -> Result<Box<dyn PairLoader<'a> + 'a>, TargetError> {
        Ok(Box::new(Loader { of: self, inner: self.inner.loader(store, version)? }))
    }

    fn pairs(&self, store: &StoreKey, version: Version, from: &[u8]) -> Result<Box<dyn PairReader + '_>, TargetError> {
        self.inner.pairs(store, version, from)
    }

    fn pairs_back(
        &self,
        store: &StoreKey,
        version: Version,
        until: Option<&[u8]>,
    ) -> Result<Box<dyn PairReader + '_>, TargetError> {
        self.inner.pairs_back(store, version, until)
    }

    fn entries(
        &self,
        store: &StoreKey,
        from: Version,
        until: Version,
    ) -> Result<Box<dyn EntryReader + '_>, TargetError> {
        self.inner.entries(store, from, until)
    }

    fn get(&self, store: &StoreKey, version: Version, key: &[u8]) -> Result<Option<Vec<u8>>, TargetError> {
        self.inner.get(store, version, key)
    }

    fn forget(&self, oldest: Version) -> Result<(), TargetError> {
        self.inner.forget(oldest)?;
        self.wrote();
        Ok(())
    }

    fn write_changes(
        &self,
        store: &StoreKey,
        version: Version,
        changes: &mut dyn Iterator<Item = ChangeRef<'_>>,
    ) -> Result<(), TargetError> {
        self.inner.write_changes(store, version, changes)?;
        self.wrote();
        Ok(())
    }

    fn write_watermark(&self, version: Version) -> Result<(), TargetError> {
        self.inner.write_watermark(version)?;
        self.wrote();
        Ok(())
    }

    fn latest(&self) -> Result<Option<Version>, TargetError> {
        self.inner.latest()
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.synced();
        Ok(())
    }

    fn flush(&self) -> Result<(), TargetError> {
        self.synced();
        Ok(())
    }

    fn hold(&self) -> Result<(), TargetError> {
        self.inner.hold()
    }

    fn compact(&self, spare: usize, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), TargetError> {
        self.inner.compact(spare, stop)
    }

    fn discard(&self, store: &StoreKey) -> Result<(), TargetError> {
        self.inner.discard(store)
    }
}
