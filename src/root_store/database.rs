//! The key-value database under the rootmulti layout, and its twin in memory for tests.

use crate::{
    iavl::Access,
    source::{Engine, Pair, PointReader, Scan, SourceError},
    target::{EngineTuning, Engines, Outage, TargetError},
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Opens the databases a node's state lies in, before a migration and after it.
pub trait Databases: Engines {
    /// Whether there is a database of store/v1 at this path.
    fn is_there(&self, path: &Path) -> bool;

    /// The database of store/v1 at this path, made if it is not there.
    ///
    /// # Errors
    /// The engine could not open it; somebody else may have it open.
    fn database(&self, path: &Path, tuning: EngineTuning) -> Result<Arc<dyn Database>, TargetError>;
}

/// Keys that are set, or removed where there is no value.
pub type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A key-value database that is read and written; what is read is the newest state.
pub trait Database: Engine {
    /// Writes a batch, all or nothing. A durable one is on disk when this returns, with everything written before it; another one
    /// some time later, in the order of what is written.
    ///
    /// # Errors
    /// The engine could not write: whether it is there is not known.
    fn write(&self, batch: Batch, durable: bool) -> Result<(), TargetError>;

    /// Moves what is in logs into tables.
    ///
    /// # Errors
    /// The engine could not write; the data is as it was.
    fn flush(&self) -> Result<(), TargetError>;
}

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A database in memory. Clones share their pairs, as two handles on one directory would; everything counts as durable until the
/// [`Outage`].
#[derive(Clone)]
pub struct MemoryDatabase {
    pairs: Arc<Mutex<Pairs>>,
    outage: Outage,
}

impl MemoryDatabase {
    /// An empty one, or another handle on the pairs of `of`.
    #[must_use]
    pub fn new(of: Option<&MemoryDatabase>, outage: Outage) -> MemoryDatabase {
        MemoryDatabase { pairs: of.map_or_else(Arc::default, |other| other.pairs.clone()), outage }
    }

    /// The pairs, to be compared or damaged.
    pub fn pairs(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for MemoryDatabase {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.pairs().get(key).cloned())
    }

    fn reader(&self, _: Access) -> Box<dyn PointReader + Send + '_> {
        Box::new(self)
    }

    fn scan(&self, from: &[u8], until: &[u8]) -> Box<dyn Scan + Send + '_> {
        Box::new(MemoryScan { of: self, next: from.to_vec(), until: until.to_vec(), pair: Default::default() })
    }

    fn approximate_bytes(&self, start: &[u8], end: &[u8]) -> u64 {
        let (start, end) = (start.to_vec(), end.to_vec());
        let bytes = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.len() + value.len()) as u64;
        if start < end { self.pairs().range(start..end).map(bytes).sum() } else { 0 }
    }
}

impl Database for MemoryDatabase {
    fn write(&self, batch: Batch, _: bool) -> Result<(), TargetError> {
        if !self.outage.lets_through() {
            return Err(TargetError::Outage);
        }
        let mut pairs = self.pairs();
        for (key, value) in batch {
            match value {
                Some(value) => pairs.insert(key, value),
                None => pairs.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), TargetError> {
        Ok(())
    }
}

impl PointReader for &MemoryDatabase {
    fn read(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, SourceError> {
        let pairs = self.pairs();
        let value = pairs.get(key);
        out.extend_from_slice(value.map_or(&[], Vec::as_slice));
        Ok(value.is_some())
    }
}

struct MemoryScan<'a> {
    of: &'a MemoryDatabase,
    next: Vec<u8>,
    until: Vec<u8>,
    pair: (Vec<u8>, Vec<u8>),
}

impl Scan for MemoryScan<'_> {
    fn seek(&mut self, key: &[u8]) {
        self.next = key.to_vec();
    }

    fn next(&mut self) -> Result<Option<Pair<'_>>, SourceError> {
        let pairs = self.of.pairs();
        let found = pairs.range(self.next.clone()..).next().filter(|(key, _)| **key < self.until);
        let Some((key, value)) = found else { return Ok(None) };
        self.pair = (key.clone(), value.clone());
        drop(pairs);
        self.next.clone_from(&self.pair.0);
        self.next.push(0);
        Ok(Some((&self.pair.0, &self.pair.1)))
    }
}

#[cfg(feature = "rocksdb")]
pub use on_disk::LiveRocks;

#[cfg(feature = "rocksdb")]
mod on_disk {
    use super::{Access, Batch, Database, Databases, Engine, PointReader, Scan, SourceError, TargetError};
    use crate::{
        source::rocks::Rocks,
        target::rocks::{EngineTuning, RocksDatabase, RocksEngines},
    };
    use std::{path::Path, sync::Arc};

    impl Databases for RocksEngines {
        fn is_there(&self, path: &Path) -> bool {
            path.join("CURRENT").exists()
        }

        fn database(&self, path: &Path, tuning: EngineTuning) -> Result<Arc<dyn Database>, TargetError> {
            Ok(Arc::new(LiveRocks::open(path, tuning)?))
        }
    }

    /// A RocksDB directory that this process reads and writes.
    pub struct LiveRocks {
        reader: Rocks,
        writer: RocksDatabase,
    }

    impl LiveRocks {
        /// Opens or creates it.
        ///
        /// # Errors
        /// RocksDB could not open the directory.
        pub fn open(path: &Path, tuning: EngineTuning) -> Result<LiveRocks, TargetError> {
            let writer = RocksDatabase::open(path, tuning)?;
            Ok(LiveRocks { reader: Rocks::over(path, writer.handle()), writer })
        }
    }

    impl Engine for LiveRocks {
        fn name(&self) -> &'static str {
            self.reader.name()
        }

        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
            self.reader.get(key)
        }

        fn reader(&self, access: Access) -> Box<dyn PointReader + Send + '_> {
            self.reader.reader(access)
        }

        fn scan(&self, from: &[u8], until: &[u8]) -> Box<dyn Scan + Send + '_> {
            self.reader.scan(from, until)
        }

        fn approximate_bytes(&self, start: &[u8], end: &[u8]) -> u64 {
            self.reader.approximate_bytes(start, end)
        }
    }

    impl Database for LiveRocks {
        fn write(&self, batch: Batch, durable: bool) -> Result<(), TargetError> {
            let mut changes = batch.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
            self.writer.write(&mut changes, durable)
        }

        fn flush(&self) -> Result<(), TargetError> {
            self.writer.flush()
        }
    }
}
