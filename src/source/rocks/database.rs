//! Owns an open database and answers point look-ups and walks; what bounds its memory.

use super::{RocksError, options, reader, scan};
use crate::{
    iavl::Access,
    source::{Engine, PointReader, Scan, SourceError},
};
use rocksdb::{DB, Range, ReadOptions};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bounds on what an open database keeps in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of the block cache, which holds the indexes and filters of tables too.
    pub cache_bytes: usize,
    /// Tables kept open.
    pub open_files: usize,
    /// Most bytes of write-ahead logs that are replayed. They are in memory as long as the database is open.
    pub log_bytes: u64,
}

/// A RocksDB database, read without changing or locking anything. What is seen is the state when it was opened, or, of one that
/// this process writes, the newest.
pub struct Rocks {
    pub(super) path: PathBuf,
    pub(super) db: Arc<DB>,
    /// Whether this process has it open for writing too.
    pub(super) is_live: bool,
    /// For reading here and there: what is read stays in the cache.
    pub(super) points: ReadOptions,
}

impl Rocks {
    /// Reads a database that this process has open for writing, and sees what is written from then on.
    #[must_use]
    pub fn over(path: &Path, db: Arc<DB>) -> Rocks {
        Rocks { path: path.to_path_buf(), db, is_live: true, points: options::points() }
    }
}

impl Engine for Rocks {
    fn name(&self) -> &'static str {
        "RocksDB"
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        let value = self.db.get_opt(key, &self.points);
        Ok(value.map_err(|error| RocksError::of(&self.path, &error))?)
    }

    fn reader(&self, access: Access) -> Box<dyn PointReader + Send + '_> {
        match access {
            // An iterator would go on seeing what was there when it was made.
            Access::Points if self.is_live => Box::new(reader::Single { of: self }),
            access => Box::new(reader::Reader::new(self, access)),
        }
    }

    fn scan(&self, from: &[u8], until: &[u8]) -> Box<dyn Scan + Send + '_> {
        Box::new(scan::Walk::new(self, from, until))
    }

    fn approximate_bytes(&self, start: &[u8], end: &[u8]) -> u64 {
        self.db.get_approximate_sizes(&[Range::new(start, end)]).first().copied().unwrap_or(0)
    }
}

impl std::fmt::Debug for Rocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rocks").field("path", &self.path).finish_non_exhaustive()
    }
}
