//! What the tests share: tables in scratch directories, and databases that take them over.

use super::super::{TableOptions, TableWriter};
use crate::target::rocks::{EngineTuning, options};
use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, IngestExternalFileOptions, Options};
use std::path::{Path, PathBuf};

/// Splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Does not compress.
    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// What the engines will ask for.
pub(super) fn usual(timestamps: bool) -> TableOptions {
    TableOptions { timestamps, column_family: None, block_size: 16 << 10, bloom_bits: 10 }
}

/// A table of records whose keys end in their timestamps, if there are any.
pub(super) fn table<'a>(
    directory: &Path,
    name: &str,
    options: &TableOptions,
    records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> PathBuf {
    let path = directory.join(name);
    let mut writer = TableWriter::create(&path, options).unwrap();
    for (key, value) in records {
        let (begin, end) = value.split_at(value.len() / 3);
        writer.add(key, &[begin, end]).unwrap();
    }
    writer.finish().unwrap();
    path
}

/// A database with one column family of each kind.
pub(super) struct Database {
    pub(super) db: DB,
    pub(super) options: Options,
    pub(super) versioned: Options,
}

pub(super) const VERSIONED: &str = "versioned";

impl Database {
    pub(super) fn open(path: &Path) -> Database {
        let tuning = EngineTuning::default();
        let cache = options::cache(tuning.cache);
        let mut options = options::database(tuning, &cache);
        options.enable_statistics();
        let comparator = "comparator=leveldb.BytewiseComparator.u64ts";
        let mut versioned = Options::default().get_options_from_string(comparator).unwrap();
        options::column_family(&mut versioned, tuning, &cache);
        let families = [
            ColumnFamilyDescriptor::new("default", options.clone()),
            ColumnFamilyDescriptor::new(VERSIONED, versioned.clone()),
        ];
        let db = DB::open_cf_descriptors(&options, path, families).unwrap();
        Database { db, options, versioned }
    }

    pub(super) fn family(&self, timestamps: bool) -> &ColumnFamily {
        self.db.cf_handle(if timestamps { VERSIONED } else { "default" }).unwrap()
    }

    pub(super) fn ingest(&self, timestamps: bool, tables: Vec<PathBuf>) -> Result<(), rocksdb::Error> {
        let mut ingest = IngestExternalFileOptions::default();
        ingest.set_move_files(true);
        self.db.ingest_external_file_cf_opts(self.family(timestamps), &ingest, tables)
    }

    /// A counter of RocksDB.
    pub(super) fn count(&self, name: &str) -> u64 {
        let all = self.options.get_statistics().unwrap();
        let line = all.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}
