//! SS on RocksDB in the layout of the Go RocksDB state storage: column family `state_storage` with RocksDB's built-in
//! comparator for 64-bit user timestamps, keys `s/k:<store>/` ‖ key, timestamp LE8 version, removals as RocksDB deletes;
//! column family `default` holds `s/latest` = LE8 version.

use super::{
    EngineTuning, after_prefix, compaction::Compaction, engine_error, look, open_error, options, table::TableWriter,
};
use crate::{
    model::{ChangeRef, StoreKey, Version},
    target::{Entry, EntryReader, Landing, PairLoader, PairReader, Storage, StoredPair, TargetError, place::io_error},
};
use rocksdb::{
    Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, IngestExternalFileOptions, Options, ReadOptions,
    WriteBatch, WriteOptions,
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// State storage in a RocksDB directory.
pub struct RocksStorage {
    // Only this file reaches the handle: `delete_range` on a column family with timestamps aborts the process.
    db: DB,
    path: PathBuf,
    staging: PathBuf,
    files: AtomicU64,
    compacts: AtomicBool,
    cache: Cache,
}

const PAIRS: &str = "state_storage";
const COMPARATOR: &str = "comparator=leveldb.BytewiseComparator.u64ts";
const LATEST: &[u8] = b"s/latest";

/// A sorted file is handed over when it has grown to this, so that a store of any size passes through.
const FILE_BYTES: u64 = 64 << 20;
/// A batch of single writes is written when it has grown to this.
const BATCH_BYTES: usize = 4 << 20;

impl RocksStorage {
    /// Opens or creates SS. Sorted files are built in `staging`, which must be on the same file system.
    ///
    /// # Errors
    /// RocksDB could not open the directory.
    pub fn open(path: &Path, staging: &Path, tuning: EngineTuning) -> Result<RocksStorage, TargetError> {
        look(path)?;
        let error = || open_error(path);
        let cache = options::cache(tuning.cache);
        let database = options::database(tuning, &cache);
        let mut pairs = Options::default().get_options_from_string(COMPARATOR).map_err(error())?;
        options::column_family(&mut pairs, tuning, &cache);
        let families =
            [ColumnFamilyDescriptor::new("default", database.clone()), ColumnFamilyDescriptor::new(PAIRS, pairs)];
        let db = DB::open_cf_descriptors(&database, path, families).map_err(error())?;
        Ok(RocksStorage {
            db,
            path: path.to_owned(),
            staging: staging.to_owned(),
            files: AtomicU64::new(0),
            compacts: AtomicBool::new(false),
            cache,
        })
    }

    fn error(&self, doing: &'static str) -> impl FnOnce(rocksdb::Error) -> TargetError {
        engine_error(&self.path, doing)
    }

    fn family(&self, name: &'static str) -> Result<&ColumnFamily, TargetError> {
        self.db.cf_handle(name).ok_or_else(|| TargetError::Corrupt {
            path: self.path.clone(),
            what: format!("column family {name} is missing"),
        })
    }

    fn compaction(&self) -> Result<Compaction<'_>, TargetError> {
        Ok(Compaction { db: &self.db, family: Some(self.family(PAIRS)?), path: &self.path, on: &self.compacts })
    }

    fn write(&self, batch: WriteBatch, sync: bool) -> Result<(), TargetError> {
        let mut write = WriteOptions::default();
        write.set_sync(sync);
        self.db.write_opt(batch, &write).map_err(self.error("write pairs"))
    }

    /// An iterator over one store at a version, not yet positioned.
    fn iterator(&self, prefix: &[u8], version: Version) -> Result<DBRawIterator<'_>, TargetError> {
        Ok(self.db.raw_iterator_cf_opt(self.family(PAIRS)?, RocksStorage::reading(prefix, version)))
    }

    fn reading(prefix: &[u8], version: Version) -> ReadOptions {
        let mut read = ReadOptions::default();
        // Stores are walked through from beginning to end.
        read.fill_cache(false);
        read.set_timestamp(version.0.to_le_bytes());
        if let Some(end) = after_prefix(prefix) {
            read.set_iterate_upper_bound(end);
        }
        read
    }

    /// The first key of a store at or above `from` that has any entry at all, removals included: what a file must not
    /// reach.
    fn barrier(&self, prefix: &[u8], from: &[u8]) -> Result<Barrier, TargetError> {
        // With a range of timestamps RocksDB shows removals too, and hands out internal keys.
        const SUFFIX: usize = size_of::<u64>() + size_of::<u64>();
        let mut read = RocksStorage::reading(prefix, Version(u64::MAX));
        read.set_iter_start_ts(0u64.to_le_bytes());
        let mut there = self.db.raw_iterator_cf_opt(self.family(PAIRS)?, read);
        there.seek(from);
        there.status().map_err(self.error("look for pairs of an interrupted load"))?;
        let key = there.key().map(|key| key.get(..key.len().saturating_sub(SUFFIX)).unwrap_or_default().to_vec());
        Ok(key.map_or(Barrier::Nowhere, Barrier::At))
    }
}

#[cfg(test)]
impl RocksStorage {
    pub(super) fn files_at_level_0(&self) -> usize {
        let files = self.db.live_files().unwrap();
        files.into_iter().filter(|file| file.level == 0 && file.column_family_name == PAIRS).count()
    }
}

fn store_prefix(store: &StoreKey) -> Vec<u8> {
    format!("s/k:{store}/").into_bytes()
}

impl Storage for RocksStorage {
    fn loader<'a>(&'a self, store: &StoreKey, version: Version) -> Result<Box<dyn PairLoader<'a> + 'a>, TargetError> {
        let prefix = store_prefix(store);
        Ok(Box::new(Loader {
            of: self,
            key: prefix.clone(),
            prefix,
            version,
            last: None,
            barrier: None,
            file: None,
            files: Vec::new(),
            batch: WriteBatch::default(),
            unsynced: false,
        }))
    }

    fn pairs(&self, store: &StoreKey, version: Version, from: &[u8]) -> Result<Box<dyn PairReader + '_>, TargetError> {
        let prefix = store_prefix(store);
        let mut records = self.iterator(&prefix, version)?;
        let length = prefix.len();
        let mut start = prefix;
        start.extend_from_slice(from);
        records.seek(&start);
        Ok(Box::new(Reader { of: self, prefix: length, records, started: false, back: false }))
    }

    fn pairs_back(
        &self,
        store: &StoreKey,
        version: Version,
        until: Option<&[u8]>,
    ) -> Result<Box<dyn PairReader + '_>, TargetError> {
        let prefix = store_prefix(store);
        let mut read = RocksStorage::reading(&prefix, version);
        read.set_iterate_lower_bound(prefix.clone());
        if let Some(until) = until {
            read.set_iterate_upper_bound([&prefix, until].concat());
        }
        let mut records = self.db.raw_iterator_cf_opt(self.family(PAIRS)?, read);
        records.seek_to_last();
        Ok(Box::new(Reader { of: self, prefix: prefix.len(), records, started: false, back: true }))
    }

    fn entries(&self, store: &StoreKey, from: Version, to: Version) -> Result<Box<dyn EntryReader + '_>, TargetError> {
        let prefix = store_prefix(store);
        let mut read = RocksStorage::reading(&prefix, to);
        read.set_iter_start_ts(from.0.to_le_bytes());
        let mut records = self.db.raw_iterator_cf_opt(self.family(PAIRS)?, read);
        records.seek(&prefix);
        Ok(Box::new(Entries { of: self, prefix: prefix.len(), records, started: false }))
    }

    fn get(&self, store: &StoreKey, version: Version, key: &[u8]) -> Result<Option<Vec<u8>>, TargetError> {
        let mut full = store_prefix(store);
        full.extend_from_slice(key);
        let mut read = ReadOptions::default();
        read.set_timestamp(version.0.to_le_bytes());
        self.db.get_cf_opt(self.family(PAIRS)?, &full, &read).map_err(self.error("read a pair"))
    }

    fn forget(&self, oldest: Version) -> Result<(), TargetError> {
        let low = oldest.0.to_le_bytes();
        let before = self.db.get_full_history_ts_low(self.family(PAIRS)?).ok().and_then(|low| low.try_into().ok());
        if before.map_or(0, u64::from_le_bytes) >= oldest.0 {
            return Ok(());
        }
        self.db.increase_full_history_ts_low(self.family(PAIRS)?, low).map_err(self.error("forget old versions"))
    }

    fn write_changes(
        &self,
        store: &StoreKey,
        version: Version,
        changes: &mut dyn Iterator<Item = ChangeRef<'_>>,
    ) -> Result<(), TargetError> {
        let family = self.family(PAIRS)?;
        let timestamp = version.0.to_le_bytes();
        let mut batch = WriteBatch::default();
        let mut key = store_prefix(store);
        let length = key.len();
        for change in changes {
            key.truncate(length);
            key.extend_from_slice(change.key);
            match change.value {
                Some(value) => batch.put_cf_with_ts(family, &key, timestamp, value),
                None => batch.delete_cf_with_ts(family, &key, timestamp),
            }
            if batch.size_in_bytes() >= BATCH_BYTES {
                self.write(std::mem::take(&mut batch), false)?;
            }
        }
        self.write(batch, false)
    }

    fn write_watermark(&self, version: Version) -> Result<(), TargetError> {
        // The log is a prefix of what was written: the watermark is never ahead of its data, whatever a crash leaves of it.
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family("default")?, LATEST, version.0.to_le_bytes());
        self.write(batch, false)
    }

    fn latest(&self) -> Result<Option<Version>, TargetError> {
        let value = self.db.get_cf(self.family("default")?, LATEST).map_err(self.error("read s/latest"))?;
        value
            .map(|value| {
                let bytes = value.try_into().map_err(|_| TargetError::Corrupt {
                    path: self.path.clone(),
                    what: "s/latest is not a version".to_owned(),
                })?;
                Ok(Version(u64::from_le_bytes(bytes)))
            })
            .transpose()
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.db.flush_wal(true).map_err(self.error("sync"))
    }

    fn flush(&self) -> Result<(), TargetError> {
        self.db.flush_cf(self.family(PAIRS)?).map_err(self.error("flush"))?;
        self.db.flush_cf(self.family("default")?).map_err(self.error("flush"))
    }

    fn set_cache(&self, bytes: usize) {
        options::resize(&self.cache, bytes);
    }

    fn hold(&self) -> Result<(), TargetError> {
        self.compaction()?.hold()
    }

    fn compact(&self, spare: usize, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), TargetError> {
        self.compaction()?.compact(spare, stop)
    }

    fn discard(&self, store: &StoreKey) -> Result<(), TargetError> {
        let prefix = store_prefix(store);
        let end = after_prefix(&prefix).unwrap_or_default();
        self.db.delete_file_in_range_cf(self.family(PAIRS)?, prefix, end).map_err(self.error("drop files"))
    }
}

/// Writes sorted files for RocksDB to take over. RocksDB refuses a file that overlaps anything in a column family with
/// timestamps, so from the first key on that is there already (what a crash left of the same chunk) it writes batches.
struct Loader<'a> {
    of: &'a RocksStorage,
    prefix: Vec<u8>,
    key: Vec<u8>,
    version: Version,
    last: Option<Vec<u8>>,
    barrier: Option<Barrier>,
    file: Option<(PathBuf, TableWriter)>,
    /// Finished files, ascending.
    files: Vec<PathBuf>,
    batch: WriteBatch,
    /// Whether batches were written that no sync has covered yet.
    unsynced: bool,
}

/// The first key that was there when loading began.
enum Barrier {
    At(Vec<u8>),
    Nowhere,
}

impl Loader<'_> {
    fn finish_file(&mut self) -> Result<(), TargetError> {
        if let Some((path, writer)) = self.file.take() {
            writer.finish().map_err(io_error(&path, "write"))?;
            self.files.push(path);
        }
        Ok(())
    }
}

impl<'a> PairLoader<'a> for Loader<'a> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), TargetError> {
        match &mut self.last {
            Some(last) if key <= last.as_slice() => return Err(TargetError::Order),
            Some(last) => {
                last.clear();
                last.extend_from_slice(key);
            }
            None => self.last = Some(key.to_vec()),
        }
        self.key.truncate(self.prefix.len());
        self.key.extend_from_slice(key);
        let timestamp = self.version.0.to_le_bytes();
        if self.barrier.is_none() {
            self.barrier = Some(self.of.barrier(&self.prefix, &self.key)?);
        }
        if matches!(&self.barrier, Some(Barrier::At(barrier)) if self.key >= *barrier) {
            self.finish_file()?;
            self.batch.put_cf_with_ts(self.of.family(PAIRS)?, &self.key, timestamp, value);
            if self.batch.size_in_bytes() >= BATCH_BYTES {
                self.of.write(std::mem::take(&mut self.batch), false)?;
                self.unsynced = true;
            }
            return Ok(());
        }
        if self.file.is_none() {
            let number = self.of.files.fetch_add(1, Ordering::Relaxed);
            let path = self.of.staging.join(format!("ss-{number}.sst"));
            let writer = TableWriter::create(&path, &options::table(true)).map_err(io_error(&path, "create"))?;
            self.file = Some((path, writer));
        }
        if let Some((path, writer)) = &mut self.file {
            self.key.extend_from_slice(&timestamp);
            writer.add(&self.key, &[value]).map_err(io_error(path, "write"))?;
            if writer.bytes() >= FILE_BYTES {
                self.finish_file()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Landing<'a>, TargetError> {
        self.finish_file()?;
        let Loader { of, files, batch, unsynced, .. } = *self;
        Ok(Box::new(move || {
            if !files.is_empty() {
                let mut ingest = IngestExternalFileOptions::default();
                ingest.set_move_files(true);
                // RocksDB syncs the files, the directory and its manifest before this returns.
                of.db
                    .ingest_external_file_cf_opts(of.family(PAIRS)?, &ingest, files)
                    .map_err(of.error("take over sorted files"))?;
            }
            if !batch.is_empty() {
                of.write(batch, true)
            } else if unsynced {
                of.sync()
            } else {
                Ok(())
            }
        }))
    }
}

struct Reader<'a> {
    of: &'a RocksStorage,
    prefix: usize,
    records: DBRawIterator<'a>,
    started: bool,
    /// Whether it goes from the last key to the first.
    back: bool,
}

impl PairReader for Reader<'_> {
    fn next(&mut self) -> Result<Option<StoredPair<'_>>, TargetError> {
        match (std::mem::replace(&mut self.started, true), self.back) {
            (false, _) => {}
            (true, false) => self.records.next(),
            (true, true) => self.records.prev(),
        }
        let Some((key, value)) = self.records.item() else {
            self.records.status().map_err(self.of.error("read pairs"))?;
            return Ok(None);
        };
        match self.records.timestamp().and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes) {
            Some(version) => Ok(Some(StoredPair {
                key: key.get(self.prefix..).unwrap_or_default(),
                value,
                version: Version(version),
            })),
            None => {
                Err(TargetError::Corrupt { path: self.of.path.clone(), what: "a pair without a version".to_owned() })
            }
        }
    }
}

/// With a range of timestamps RocksDB shows removals too, and hands out internal keys: key, timestamp, and sequence number with
/// kind, the last two of eight bytes each.
struct Entries<'a> {
    of: &'a RocksStorage,
    prefix: usize,
    records: DBRawIterator<'a>,
    started: bool,
}

impl EntryReader for Entries<'_> {
    fn next(&mut self) -> Result<Option<Entry<'_>>, TargetError> {
        const VALUE: u8 = 0x01;
        const REMOVALS: [u8; 3] = [0x00, 0x07, 0x14];
        if std::mem::replace(&mut self.started, true) {
            self.records.next();
        }
        let Some((key, value)) = self.records.item() else {
            self.records.status().map_err(self.of.error("read entries"))?;
            return Ok(None);
        };
        let parts = key.split_last_chunk::<8>().and_then(|(key, kind)| Some((key.split_last_chunk::<8>()?, kind[0])));
        let strange =
            || TargetError::Corrupt { path: self.of.path.clone(), what: "an entry of no known kind".to_owned() };
        let ((key, version), kind) = parts.ok_or_else(strange)?;
        let value = match kind {
            VALUE => Some(value),
            kind if REMOVALS.contains(&kind) => None,
            _ => return Err(strange()),
        };
        let key = key.get(self.prefix..).unwrap_or_default();
        Ok(Some(Entry { key, value, version: Version(u64::from_le_bytes(*version)) }))
    }
}
