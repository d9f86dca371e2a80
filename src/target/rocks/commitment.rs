//! SC on RocksDB in the store/v2 layout: `<store>` ‖ IAVL key, `c/<version>`, `c/latest`. Nothing of ours lies in that
//! key space.

use super::{EngineTuning, after_prefix, engine_error, options, table::TableWriter};
use crate::{
    iavl::{
        Access, NodeKey, NodeReader, ReadError, RecordStream, RecordWalk,
        varint::{Fields, put_uv},
    },
    model::{CommitInfo, StoreKey, Version},
    target::{Commitment, Landing, StoreRecords, TargetError, commit_info, place::io_error},
};
use rocksdb::{DB, DBRawIterator, IngestExternalFileOptions, ReadOptions, WriteBatch, WriteOptions};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// State commitment in a RocksDB directory.
pub struct RocksCommitment {
    db: DB,
    path: PathBuf,
    staging: PathBuf,
    files: AtomicU64,
}

const LATEST: &[u8] = b"c/latest";

/// A store with more files than this above its bottom level is merged, however small they are.
const MOST_FILES_ABOVE: usize = 8;

/// How far the next record may be from the last one before seeking is cheaper than stepping.
const STEPS: usize = 8;

impl RocksCommitment {
    /// Opens or creates SC. Sorted runs are built in `staging`, which must be on the same file system.
    ///
    /// # Errors
    /// RocksDB could not open the directory.
    pub fn open(path: &Path, staging: &Path, tuning: EngineTuning) -> Result<RocksCommitment, TargetError> {
        let options = options::database(tuning);
        let db = DB::open(&options, path).map_err(engine_error(path, "open"))?;
        Ok(RocksCommitment { db, path: path.to_owned(), staging: staging.to_owned(), files: AtomicU64::new(0) })
    }

    fn error(&self, doing: &'static str) -> impl FnOnce(rocksdb::Error) -> TargetError {
        engine_error(&self.path, doing)
    }

    fn node_prefix(store: &StoreKey) -> Vec<u8> {
        let mut prefix = store.as_str().as_bytes().to_vec();
        prefix.push(b's');
        prefix
    }
}

fn record_key(store: &StoreKey, key: NodeKey, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(store.as_str().as_bytes());
    out.extend_from_slice(&key.to_bytes());
}

impl Commitment for RocksCommitment {
    fn nodes(&self, store: &StoreKey, access: Access) -> Result<Box<dyn NodeReader + Send + '_>, TargetError> {
        let key = Vec::with_capacity(store.as_str().len() + NodeKey::LEN);
        match access {
            Access::Points => Ok(Box::new(Points { of: self, store: store.clone(), key })),
            Access::Runs => {
                let prefix = RocksCommitment::node_prefix(store);
                let mut read = ReadOptions::default();
                if let Some(end) = after_prefix(&prefix) {
                    read.set_iterate_upper_bound(end);
                }
                read.set_iterate_lower_bound(prefix);
                let records = self.db.raw_iterator_opt(read);
                Ok(Box::new(Runs { of: self, store: store.clone(), key, records }))
            }
        }
    }

    fn records(&self, store: &StoreKey) -> Result<Box<dyn RecordWalk + Send + '_>, TargetError> {
        let prefix = RocksCommitment::node_prefix(store);
        let mut read = ReadOptions::default();
        if let Some(end) = after_prefix(&prefix) {
            read.set_iterate_upper_bound(end);
        }
        read.set_iterate_lower_bound(prefix);
        // Read once, from the first to the last.
        read.fill_cache(false);
        let store_length = store.as_str().len();
        let key = store.as_str().as_bytes().to_vec();
        Ok(Box::new(Walk { of: self, store_length, key, records: self.db.raw_iterator_opt(read), fresh: true }))
    }

    fn load(&self, store: &StoreKey, records: &mut dyn RecordStream) -> Result<Landing<'_>, TargetError> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let file = self.staging.join(format!("sc-{number}.sst"));
        let failed = |doing| io_error(&file, doing);
        let mut writer = TableWriter::create(&file, &options::table(false)).map_err(failed("create"))?;
        let mut key = Vec::new();
        let mut last = None;
        while let Some((at, record)) = records.next() {
            if last.replace(at).is_some_and(|last| at <= last) {
                return Err(TargetError::Order);
            }
            record_key(store, at, &mut key);
            writer.add(&key, &[record]).map_err(failed("write"))?;
        }
        if last.is_none() {
            return Ok(Box::new(|| Ok(())));
        }
        writer.finish().map_err(failed("write"))?;
        Ok(Box::new(move || {
            let mut ingest = IngestExternalFileOptions::default();
            ingest.set_move_files(true);
            // RocksDB syncs the file, the directory and its manifest before this returns, so a chunk recorded after it
            // cannot be lost in a power cut.
            self.db.ingest_external_file_opts(&ingest, vec![file]).map_err(self.error("take over a sorted run"))
        }))
    }

    fn write_records(
        &self,
        records: &[StoreRecords],
        info: Option<&CommitInfo>,
        sync: bool,
    ) -> Result<(), TargetError> {
        let mut batch = WriteBatch::default();
        let mut key = Vec::new();
        for (store, records) in records {
            for (at, record) in records {
                record_key(store, *at, &mut key);
                batch.put(&key, record);
            }
        }
        if let Some(info) = info {
            // In the same batch: the watermark is never ahead of its data, whatever a crash leaves of the log.
            batch.put(format!("c/{}", info.version), commit_info::encode(info));
            let mut latest = Vec::new();
            put_uv(&mut latest, info.version.0);
            batch.put(LATEST, latest);
        }
        let mut write = WriteOptions::default();
        write.set_sync(sync);
        self.db.write_opt(batch, &write).map_err(self.error("write a version"))
    }

    fn latest(&self) -> Result<Option<Version>, TargetError> {
        let Some(value) = self.db.get(LATEST).map_err(self.error("read c/latest"))? else { return Ok(None) };
        let mut fields = Fields::new(&value);
        match fields.uv() {
            Some(version) if fields.rest().is_empty() => Ok(Some(Version(version))),
            _ => Err(TargetError::Corrupt { path: self.path.clone(), what: "c/latest is not a version".to_owned() }),
        }
    }

    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, TargetError> {
        let value = self.db.get(format!("c/{version}")).map_err(self.error("read a commit info"))?;
        value
            .map(|value| {
                commit_info::decode(&value).filter(|info| info.version == version).ok_or_else(|| TargetError::Corrupt {
                    path: self.path.clone(),
                    what: format!("c/{version} is not a commit info of that version"),
                })
            })
            .transpose()
    }

    fn count(&self, store: &StoreKey) -> Result<u64, TargetError> {
        let prefix = RocksCommitment::node_prefix(store);
        let mut read = ReadOptions::default();
        if let Some(end) = after_prefix(&prefix) {
            read.set_iterate_upper_bound(end);
        }
        read.fill_cache(false);
        let mut records = self.db.raw_iterator_opt(read);
        records.seek(&prefix);
        let mut count = 0;
        while records.valid() {
            count += 1;
            records.next();
        }
        records.status().map_err(self.error("count records"))?;
        Ok(count)
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.db.flush_wal(true).map_err(self.error("sync"))
    }

    fn flush(&self) -> Result<(), TargetError> {
        self.db.flush().map_err(self.error("flush"))
    }

    fn end_bulk(&self) -> Result<(), TargetError> {
        self.db.set_options(&options::LIVE).map_err(self.error("end bulk loading"))
    }

    fn discard(&self, store: &StoreKey) -> Result<(), TargetError> {
        let prefix = RocksCommitment::node_prefix(store);
        let end = after_prefix(&prefix).unwrap_or_default();
        self.db.delete_file_in_range(prefix, end).map_err(self.error("drop files"))
    }

    fn settle(&self, stores: &[StoreKey]) -> Result<(), TargetError> {
        let files = self.db.live_files().map_err(self.error("list files"))?;
        for store in stores {
            let prefix = RocksCommitment::node_prefix(store);
            let inside = |key: &Option<Vec<u8>>| key.as_ref().is_some_and(|key| key.starts_with(&prefix));
            let of_store: Vec<_> = files.iter().filter(|f| inside(&f.start_key) && inside(&f.end_key)).collect();
            let bottom = of_store.iter().map(|file| file.level).max().unwrap_or(0);
            let bytes = |of: &dyn Fn(i32) -> bool| -> usize {
                of_store.iter().filter(|file| of(file.level)).map(|file| file.size).sum()
            };
            // RocksDB itself aims at levels each a tenth of the one below; what fits that is no debt.
            let above = bytes(&|level| level < bottom);
            let files_above = of_store.iter().filter(|file| file.level < bottom).count();
            if above > bytes(&|_| true) / 8 || files_above > MOST_FILES_ABOVE {
                self.db.compact_range(Some(prefix.as_slice()), after_prefix(&prefix).as_deref());
            }
        }
        Ok(())
    }
}

struct Walk<'a> {
    of: &'a RocksCommitment,
    store_length: usize,
    key: Vec<u8>,
    records: DBRawIterator<'a>,
    /// Whether the iterator stands at a record that was not handed out.
    fresh: bool,
}

impl RecordWalk for Walk<'_> {
    fn seek(&mut self, key: NodeKey) {
        self.key.truncate(self.store_length);
        self.key.extend_from_slice(&key.to_bytes());
        self.records.seek(&self.key);
        self.fresh = true;
    }

    fn next(&mut self) -> Result<Option<(NodeKey, &[u8])>, ReadError> {
        if !std::mem::replace(&mut self.fresh, false) {
            self.records.next();
        }
        match self.records.item() {
            Some((key, record)) => match NodeKey::from_bytes(key.get(self.store_length..).unwrap_or_default()) {
                Some(at) => Ok(Some((at, record))),
                None => Err(TargetError::Corrupt {
                    path: self.of.path.clone(),
                    what: format!("the key {} is no node key", crate::model::to_hex(key)),
                }
                .into()),
            },
            None => {
                self.records.status().map_err(self.of.error("read nodes"))?;
                Ok(None)
            }
        }
    }
}

struct Points<'a> {
    of: &'a RocksCommitment,
    store: StoreKey,
    key: Vec<u8>,
}

impl NodeReader for Points<'_> {
    fn parents_last(&self) -> bool {
        true
    }

    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        record_key(&self.store, key, &mut self.key);
        let value = self.of.db.get_pinned(&self.key).map_err(self.of.error("read a node"))?;
        value.map_or(Ok(false), |value| {
            out.extend_from_slice(&value);
            Ok(true)
        })
    }
}

struct Runs<'a> {
    of: &'a RocksCommitment,
    store: StoreKey,
    key: Vec<u8>,
    records: DBRawIterator<'a>,
}

impl NodeReader for Runs<'_> {
    fn parents_last(&self) -> bool {
        true
    }

    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        record_key(&self.store, key, &mut self.key);
        // Records are asked for from the newest down, so the next one is usually just before the last one.
        for _ in 0..STEPS {
            match self.records.key() {
                Some(at) if at > self.key.as_slice() => self.records.prev(),
                _ => break,
            }
        }
        if self.records.key() != Some(&self.key) {
            self.records.seek(&self.key);
        }
        let found = match self.records.item() {
            Some((at, value)) if at == self.key => {
                out.extend_from_slice(value);
                true
            }
            _ => false,
        };
        self.records.status().map_err(self.of.error("read a node"))?;
        Ok(found)
    }
}
