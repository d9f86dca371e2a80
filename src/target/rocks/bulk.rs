//! Bulk loading of SC: ascending records become tables that RocksDB takes over; runs of stores that memory did not hold are
//! merged first.

use super::{
    after_prefix,
    commitment::{RocksCommitment, record_key},
    options,
    runs::{Merge, Part},
    table::TableWriter,
};
use crate::{
    iavl::NodeKey,
    model::StoreKey,
    target::{TargetError, place::io_error},
};
use rocksdb::IngestExternalFileOptions;
use std::{path::PathBuf, sync::atomic::Ordering};

/// A table is finished when it has grown to this, so that a store of any size passes through.
const TABLE_BYTES: u64 = 64 << 20;

/// A store with more files than this above its bottom level is merged, however small they are.
const MOST_FILES_ABOVE: usize = 8;

impl RocksCommitment {
    /// The first keys of all tables of these stores, ascending.
    pub(super) fn first_keys(&self, stores: &[StoreKey]) -> Result<Vec<Vec<u8>>, TargetError> {
        let files = self.db.live_files().map_err(self.error("list files"))?;
        let prefixes: Vec<_> = stores.iter().map(RocksCommitment::node_prefix).collect();
        let mut keys: Vec<_> = files.into_iter().filter_map(|file| file.start_key).collect();
        keys.retain(|key| prefixes.iter().any(|prefix| key.starts_with(prefix)));
        keys.sort_unstable();
        Ok(keys)
    }

    /// Merges a part of a store's runs into tables, unless that was done before a crash. Tables end where one of `bounds`
    /// begins, so that they do not overlap those that are there.
    pub(super) fn merge(
        &self,
        store: &StoreKey,
        runs: &[PathBuf],
        part: Part,
        bounds: &[Vec<u8>],
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), TargetError> {
        /// Records between two looks at `stop`.
        const PATIENCE: usize = 512;
        if self.runs.is_merged(store, part) {
            return Ok(());
        }
        let mut records = Merge::open(runs, part)?;
        let mut tables = Tables::new(self, store);
        tables.bounds = bounds;
        let mut since = 0;
        while let Some((at, record)) = records.next()? {
            tables.add(at, record)?;
            since += 1;
            if since == PATIENCE {
                since = 0;
                if stop() {
                    return Err(TargetError::Stopped);
                }
            }
        }
        self.take_over(tables.finish()?)?;
        // After it is there. A crash in between has it merged and taken over again, which `compact_overlaps` puts right.
        self.runs.set_merged(store, part)
    }

    /// Has RocksDB take over finished tables, all or none.
    pub(super) fn take_over(&self, tables: Vec<PathBuf>) -> Result<(), TargetError> {
        if tables.is_empty() {
            return Ok(());
        }
        let mut ingest = IngestExternalFileOptions::default();
        ingest.set_move_files(true);
        // RocksDB syncs the files, the directory and its manifest before this returns, so a chunk recorded after it
        // cannot be lost in a power cut.
        self.db.ingest_external_file_opts(&ingest, tables).map_err(self.error("take over sorted tables"))
    }

    /// Merges what was taken over twice: work that was done again after a crash, and repaired chunks. Returns the stores where
    /// there was any.
    pub(super) fn compact_overlaps(&self, stores: &[StoreKey]) -> Result<Vec<StoreKey>, TargetError> {
        let mut compacted = Vec::new();
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
                compacted.push(store.clone());
            }
        }
        Ok(compacted)
    }
}

/// Ascending records of one store on their way into tables.
pub(super) struct Tables<'a> {
    of: &'a RocksCommitment,
    store: &'a StoreKey,
    key: Vec<u8>,
    open: Option<(PathBuf, TableWriter)>,
    finished: Vec<PathBuf>,
    /// No table reaches over one of these keys.
    bounds: &'a [Vec<u8>],
}

impl<'a> Tables<'a> {
    pub(super) fn new(of: &'a RocksCommitment, store: &'a StoreKey) -> Tables<'a> {
        Tables { of, store, key: Vec::new(), open: None, finished: Vec::new(), bounds: &[] }
    }

    pub(super) fn add(&mut self, at: NodeKey, record: &[u8]) -> Result<(), TargetError> {
        record_key(self.store, at, &mut self.key);
        if self.bounds.first().is_some_and(|bound| self.key >= *bound) {
            let passed = self.bounds.partition_point(|bound| self.key >= *bound);
            self.bounds = self.bounds.get(passed..).unwrap_or_default();
            self.finish_table()?;
        }
        let (path, writer) = match &mut self.open {
            Some(open) => open,
            none => {
                let number = self.of.files.fetch_add(1, Ordering::Relaxed);
                let path = self.of.staging.join(format!("sc-{number}.sst"));
                let writer = TableWriter::create(&path, &options::table(false)).map_err(io_error(&path, "create"))?;
                none.insert((path, writer))
            }
        };
        writer.add(&self.key, &[record]).map_err(io_error(path, "write"))?;
        if writer.bytes() >= TABLE_BYTES { self.finish_table() } else { Ok(()) }
    }

    pub(super) fn finish_table(&mut self) -> Result<(), TargetError> {
        if let Some((path, writer)) = self.open.take() {
            writer.finish().map_err(io_error(&path, "write"))?;
            self.finished.push(path);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>, TargetError> {
        self.finish_table()?;
        Ok(self.finished)
    }
}
