//! A plain RocksDB database that this process owns, such as the `application.db` of a node: opened, written in batches, handed
//! on to be read.

use super::{EngineTuning, engine_error, look, options};
use crate::target::TargetError;
use rocksdb::{DB, WriteBatch, WriteOptions};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A RocksDB database of one column family, in the order of bytes.
pub struct RocksDatabase {
    db: Arc<DB>,
    path: PathBuf,
}

impl RocksDatabase {
    /// Opens or creates it. Nobody else may have it open.
    ///
    /// # Errors
    /// RocksDB could not open the directory.
    pub fn open(path: &Path, tuning: EngineTuning) -> Result<RocksDatabase, TargetError> {
        look(path)?;
        let cache = options::cache(tuning.cache);
        let mut options = options::database(tuning, &cache);
        options::compact_as_usual(&mut options);
        let db = DB::open(&options, path).map_err(engine_error(path, "open"))?;
        Ok(RocksDatabase { db: Arc::new(db), path: path.to_owned() })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// RocksDB's handle, for a reader.
    #[must_use]
    pub fn handle(&self) -> Arc<DB> {
        self.db.clone()
    }

    /// Sets keys, and removes those without a value: all of it or nothing. If it is to be `durable` it is when this returns;
    /// otherwise with the next write that is, and never without what was written before.
    ///
    /// # Errors
    /// The engine could not write or sync: whether it is there is not known.
    pub fn write(
        &self,
        changes: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        durable: bool,
    ) -> Result<(), TargetError> {
        let mut batch = WriteBatch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        let mut write = WriteOptions::default();
        write.set_sync(durable);
        self.db.write_opt(batch, &write).map_err(engine_error(&self.path, "write a batch"))
    }

    /// Moves everything from the log into tables: older releases read those, but not always the log.
    ///
    /// # Errors
    /// The engine could not write; the data is as it was.
    pub fn flush(&self) -> Result<(), TargetError> {
        self.db.flush().map_err(engine_error(&self.path, "flush"))
    }
}
