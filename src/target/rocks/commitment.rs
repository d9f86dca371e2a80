//! SC on RocksDB in the store/v2 layout: `<store>` ‖ IAVL key, `c/<version>`, `c/latest`. Nothing of ours lies in that
//! key space.

use super::{
    EngineTuning, after_prefix,
    bulk::Tables,
    compaction::Compaction,
    engine_error, look,
    nodes::{Nearby, Points, Walk},
    open_error, options,
    runs::{self, Runs},
};
use crate::{
    iavl::{
        Access, NodeKey, NodeReader, RecordStream, RecordWalk,
        varint::{Fields, put_uv},
    },
    model::{CommitInfo, StoreKey, Version},
    target::{Commitment, Landing, TargetError, commit_info},
};
use rocksdb::{Cache, DB, ReadOptions, WriteBatch};
use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
};

/// State commitment in a RocksDB directory.
pub struct RocksCommitment {
    pub(super) db: DB,
    pub(super) path: PathBuf,
    pub(super) staging: PathBuf,
    pub(super) runs: Runs,
    /// Threads for merging.
    jobs: usize,
    pub(super) files: AtomicU64,
    compacts: AtomicBool,
    cache: Cache,
}

/// Records that lie together are not merged with others if they have this many bytes.
const WORTH_A_TABLE: usize = 4 << 20;

const LATEST: &[u8] = b"c/latest";

/// A batch of single writes is written when it has grown to this.
const BATCH_BYTES: usize = 1 << 20;

impl RocksCommitment {
    /// Opens or creates SC. Tables are built in `staging`, and kept in `runs` until all of a store is there; both must be on
    /// the same file system.
    ///
    /// # Errors
    /// RocksDB could not open the directory.
    pub fn open(
        path: &Path,
        staging: &Path,
        runs: &Path,
        tuning: EngineTuning,
    ) -> Result<RocksCommitment, TargetError> {
        look(path)?;
        let cache = options::cache(tuning.cache);
        let mut options = options::database(tuning, &cache);
        // Trees ask for nodes that are there: the filters of the last level, which is nearly everything, would tell nothing.
        options.set_optimize_filters_for_hits(true);
        let db = DB::open(&options, path).map_err(open_error(path))?;
        Ok(RocksCommitment {
            db,
            path: path.to_owned(),
            staging: staging.to_owned(),
            runs: Runs::open(runs)?,
            jobs: tuning.jobs.max(1),
            files: AtomicU64::new(0),
            compacts: AtomicBool::new(false),
            cache,
        })
    }

    pub(super) fn error(&self, doing: &'static str) -> impl FnOnce(rocksdb::Error) -> TargetError {
        engine_error(&self.path, doing)
    }

    fn compaction(&self) -> Compaction<'_> {
        Compaction { db: &self.db, family: None, path: &self.path, on: &self.compacts }
    }

    pub(super) fn node_prefix(store: &StoreKey) -> Vec<u8> {
        let mut prefix = store.as_str().as_bytes().to_vec();
        prefix.push(b's');
        prefix
    }
}

pub(super) fn record_key(store: &StoreKey, key: NodeKey, out: &mut Vec<u8>) {
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
                Ok(Box::new(Nearby { of: self, store: store.clone(), key, records }))
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

    fn load(&self, store: &StoreKey, records: &mut dyn RecordStream, whole: bool) -> Result<Landing<'_>, TargetError> {
        let mut tables = Tables::new(self, store);
        let mut run = None;
        let mut last: Option<NodeKey> = None;
        let mut into_table = whole;
        loop {
            let alone = records.alone();
            let Some((at, record)) = records.next() else { break };
            if last.is_some_and(|last| at <= last) {
                return Err(TargetError::Order);
            }
            if last.replace(at).is_none_or(|last| last.version != at.version) && !whole {
                // What nothing can come between is in its final place at once; only the rest has to be merged.
                if std::mem::replace(&mut into_table, alone >= WORTH_A_TABLE) {
                    tables.finish_table()?;
                }
            }
            if into_table {
                tables.add(at, record)?;
            } else {
                self.runs.add(
                    match &mut run {
                        Some(run) => run,
                        none => none.insert(self.runs.begin(store)?),
                    },
                    at,
                    record,
                )?;
            }
        }
        let tables = tables.finish()?;
        let run = run.map(|run| self.runs.end(run)).transpose()?;
        Ok(Box::new(move || {
            self.take_over(tables)?;
            run.map_or(Ok(()), |run| self.runs.keep(&run))
        }))
    }

    fn write_records(&self, store: &StoreKey, records: &mut dyn RecordStream) -> Result<(), TargetError> {
        let mut batch = WriteBatch::default();
        let mut key = Vec::new();
        while let Some((at, record)) = records.next() {
            record_key(store, at, &mut key);
            batch.put(&key, record);
            if batch.size_in_bytes() >= BATCH_BYTES {
                self.db.write(std::mem::take(&mut batch)).map_err(self.error("write nodes"))?;
            }
        }
        self.db.write(batch).map_err(self.error("write nodes"))
    }

    fn write_info(&self, info: &CommitInfo) -> Result<(), TargetError> {
        let mut batch = WriteBatch::default();
        // In one batch, and the log is a prefix of what was written: the watermark is never ahead of its data, whatever a
        // crash leaves of the log.
        batch.put(format!("c/{}", info.version), commit_info::encode(info));
        let mut latest = Vec::new();
        put_uv(&mut latest, info.version.0);
        batch.put(LATEST, latest);
        self.db.write(batch).map_err(self.error("write a version"))
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

    fn prune(&self, records: &[(StoreKey, NodeKey, Option<Vec<u8>>)], version: Version) -> Result<(), TargetError> {
        let mut batch = WriteBatch::default();
        let mut key = Vec::new();
        for (store, at, record) in records {
            record_key(store, *at, &mut key);
            match record {
                Some(record) => batch.put(&key, record),
                None => batch.delete(&key),
            }
        }
        batch.delete(format!("c/{version}"));
        self.db.write(batch).map_err(self.error("prune a version"))
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

    fn set_cache(&self, bytes: usize) {
        options::resize(&self.cache, bytes);
    }

    fn hold(&self) -> Result<(), TargetError> {
        self.compaction().hold()
    }

    fn compact(&self, spare: usize, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), TargetError> {
        self.compaction().compact(spare, stop)
    }

    fn discard(&self, store: &StoreKey) -> Result<(), TargetError> {
        let prefix = RocksCommitment::node_prefix(store);
        let end = after_prefix(&prefix).unwrap_or_default();
        self.db.delete_file_in_range(prefix, end).map_err(self.error("drop files"))
    }

    fn settle(&self, stores: &[StoreKey], stop: &(dyn Fn() -> bool + Sync)) -> Result<Vec<StoreKey>, TargetError> {
        let mut anew = Vec::new();
        let bounds = self.first_keys(stores)?;
        // One store after the other, all hands on each: so the disk never holds more than one of them twice.
        for store in stores {
            let runs = self.runs.list(store)?;
            if runs.is_empty() {
                continue;
            }
            let queue = Mutex::new(runs::parts(&runs, self.jobs)?.into_iter());
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let merge = || {
                while let Some(part) = next() {
                    self.merge(store, &runs, part, &bounds, stop)?;
                }
                Ok(())
            };
            std::thread::scope(|scope| {
                let hands: Vec<_> = (0..self.jobs).map(|_| scope.spawn(merge)).collect();
                hands.into_iter().try_for_each(|hand| hand.join().unwrap_or(Err(TargetError::Stopped)))
            })?;
            self.runs.remove(store)?;
            anew.push(store.clone());
        }
        anew.extend(self.compact_overlaps(stores)?);
        Ok(anew)
    }
}
