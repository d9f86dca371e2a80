//! Owns an opened database: its runs of tables, the logs' entries, open tables and block
//! cache. Hands out cursors, iterators and facts about its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::Block;
use super::cache::Cache;
use super::cursor::Cursor;
use super::dialect::Dialect;
use super::error::LsmError;
use super::footer::Handle;
use super::iter::Iter;
use super::listing::Listing;
use super::memory::Memory;
use super::place::Place;
use super::replay::{self, Logs, MAX_LOGS, MAX_MANIFEST};
use super::table::Table;
use super::tables::Tables;
use super::version::{Table as Entry, Version};

/// Bounds on what an open database keeps in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes of unpacked data blocks kept for all cursors together.
    pub block_cache_bytes: usize,
    /// Tables kept open, each with its index and filter block (about 60 kB for 2 MiB).
    pub open_files: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { block_cache_bytes: 32 << 20, open_files: 512 }
    }
}

/// One live table, as the manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Number in the file name.
    pub number: u64,
    /// Level, 0 the newest.
    pub level: u32,
    /// Bytes of the file.
    pub size: u64,
    /// First user key.
    pub smallest: Vec<u8>,
    /// Last user key.
    pub largest: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    dialect: &'static Dialect,
    pub(crate) runs: Vec<Vec<Entry>>,
    pub(crate) memory: Memory,
    pub(crate) last_sequence: u64,
    pub(crate) tables: Tables,
    cache: Cache,
    torn: Option<(PathBuf, u64)>,
}

impl Inner {
    /// A data block, from the cache or the file; `scratch` saves an allocation per read.
    pub(crate) fn block(&self, table: &Table, handle: Handle, scratch: &mut Vec<u8>) -> Result<Arc<Block>, LsmError> {
        let id = (table.number, handle.offset);
        if let Some(block) = self.cache.get(id) {
            return Ok(block);
        }
        let block = Arc::new(table.block(handle, scratch)?);
        self.cache.insert(id, &block);
        Ok(block)
    }
}

/// A database, read without changing or locking anything.
///
/// Clones share everything. What is seen is the state when it was opened.
#[derive(Debug, Clone)]
pub struct Database {
    pub(crate) inner: Arc<Inner>,
}

impl Database {
    /// Opens the database that the manifest describes: checks that its tables are there, and replays the live logs into
    /// memory.
    ///
    /// # Errors
    /// Another key order; a file that is missing, damaged, too large, or has what this release does not read. An unfinished
    /// last record of the manifest or of the newest log is no error: that is how a killed writer leaves them.
    pub(crate) fn open(
        dir: &Path,
        dialect: &'static Dialect,
        listing: &Listing,
        manifest: &Path,
        options: Options,
    ) -> Result<Database, LsmError> {
        let data = replay::read_whole(manifest, "manifest", MAX_MANIFEST)?;
        let version = Version::replay(manifest, &data, dialect)?;
        let first = version.first_log().filter(|_| dialect.recycles_logs);
        if let Some(number) = first.filter(|number| !listing.logs.contains_key(number)) {
            return Err(LsmError::MissingFile {
                path: dir.join(format!("{number:06}.log")),
                named_by: manifest.to_path_buf(),
            });
        }
        let logs = Logs {
            files: listing.logs.iter().filter(|(number, _)| version.counts(**number)).collect(),
            dialect,
            last_sequence: version.last_sequence(),
        };
        let replayed = replay::replay(&logs, MAX_LOGS)?;
        let inner = Inner {
            dialect,
            last_sequence: version.last_sequence(),
            runs: version.runs(manifest, dir, listing, dialect)?,
            memory: replayed.memory,
            tables: Tables::new(dialect, options.open_files),
            cache: Cache::new(options.block_cache_bytes),
            torn: replayed.torn,
        };
        Ok(Database { inner: Arc::new(inner) })
    }

    /// Opens every table once, so that what no reader here understands is found before anything is done with the rest.
    ///
    /// # Errors
    /// A table that is damaged in its footer or in what describes it, or that has what this release does not read.
    pub(crate) fn check_tables(&self) -> Result<(), LsmError> {
        self.inner.runs.iter().flatten().try_for_each(|table| self.inner.tables.get(table).map(drop))
    }

    /// The engine's name.
    pub fn engine(&self) -> &'static str {
        self.inner.dialect.name
    }

    /// The newest live value of `key`. For many keys a [`Cursor`] is faster.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LsmError> {
        let mut value = Vec::new();
        let found = self.cursor().read_into(key, &mut value)?;
        Ok(found.then_some(value))
    }

    /// A cursor for look-ups in succession.
    pub fn cursor(&self) -> Cursor {
        Cursor::new(Arc::clone(&self.inner), false)
    }

    /// A cursor for look-ups in long ascending runs, each part of the database once: it reads ahead and leaves the block
    /// cache alone.
    pub fn cursor_once(&self) -> Cursor {
        Cursor::new(Arc::clone(&self.inner), true)
    }

    /// Live pairs from `start` up to and without `end`, ascending; `None` is no end.
    pub fn iter(&self, start: &[u8], end: Option<&[u8]>) -> Iter {
        Iter::new(Arc::clone(&self.inner), start, end)
    }

    /// All live tables, level by level.
    pub fn files(&self) -> Vec<FileInfo> {
        let tables = self.inner.runs.iter().flatten();
        let info = tables.map(|table| FileInfo {
            number: table.number,
            level: table.level,
            size: table.size,
            smallest: table.smallest_user().to_vec(),
            largest: table.largest_user().to_vec(),
        });
        info.collect()
    }

    /// Keys which the live logs hold, tombstones included.
    pub fn log_entries(&self) -> usize {
        self.inner.memory.len()
    }

    /// The log whose last record was never finished, and the offset where that begins.
    pub fn torn_log(&self) -> Option<(&Path, u64)> {
        let torn = self.inner.torn.as_ref();
        torn.map(|(path, offset)| (path.as_path(), *offset))
    }

    /// Roughly the bytes which tables give to user keys from `start` up to `end` (`None`
    /// is no end): whole tables by size, those at the ends by their index.
    pub fn approximate_bytes(&self, start: &[u8], end: Option<&[u8]>) -> Result<u64, LsmError> {
        let mut total = 0u64;
        for table in self.inner.runs.iter().flatten() {
            let after = end.is_some_and(|end| table.smallest_user() >= end);
            if after || table.largest_user() < start {
                continue;
            }
            let from = match table.smallest_user() < start {
                true => self.offset_of(table, start)?,
                false => 0,
            };
            let to = match end {
                Some(end) if table.largest_user() >= end => self.offset_of(table, end)?,
                _ => table.size,
            };
            total = total.saturating_add(to.saturating_sub(from));
        }
        Ok(total)
    }

    /// Offset of the block where `key` is or would be.
    fn offset_of(&self, entry: &Entry, key: &[u8]) -> Result<u64, LsmError> {
        let table = self.inner.tables.get(entry)?;
        let (handle, _) = Place::default().seek(&self.inner, &table, key, &mut Vec::new())?;
        Ok(handle.map_or(entry.size, |handle| handle.offset))
    }
}
