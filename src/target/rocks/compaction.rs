//! When RocksDB compacts what later versions leave in it: seldom, and much at a time.
//!
//! Left to itself RocksDB compacts every few small files, and those of catching up lie all over the keys, so each time it
//! rewrites what it has: several times what is written at all. How it compacts is left to its own rules.

use super::{engine_error, options};
use crate::target::TargetError;
use rocksdb::{ColumnFamily, DB, ErrorKind, WaitForCompactOptions};
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// The compaction of one engine.
pub(super) struct Compaction<'a> {
    pub(super) db: &'a DB,
    /// The one that grows; none for the default one.
    pub(super) family: Option<&'a ColumnFamily>,
    pub(super) path: &'a Path,
    /// Whether it is turned on.
    pub(super) on: &'a AtomicBool,
}

/// How long to wait between two looks at `stop`.
const PATIENCE_MICROS: u64 = 50_000;

impl Compaction<'_> {
    /// Turns compaction off.
    pub(super) fn hold(&self) -> Result<(), TargetError> {
        self.set(false)
    }

    /// Has RocksDB compact what it wants to, if more than `spare` files are at level 0, and waits for it. A crash leaves the
    /// files from before or those from after each compaction, as RocksDB's manifest says; the next call goes on from there.
    pub(super) fn compact(&self, spare: usize, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), TargetError> {
        if spare > 0 && self.waiting()? <= spare {
            return Ok(());
        }
        self.set(true)?;
        self.wait(stop)?;
        if spare > 0 { self.hold() } else { Ok(()) }
    }

    /// Files at level 0.
    fn waiting(&self) -> Result<usize, TargetError> {
        const FILES: &str = "rocksdb.num-files-at-level0";
        let files = match self.family {
            Some(family) => self.db.property_value_cf(family, FILES),
            None => self.db.property_value(FILES),
        };
        let files = files.map_err(engine_error(self.path, "count files"))?;
        Ok(files.and_then(|files| files.parse().ok()).unwrap_or(0))
    }

    /// Only where it is not so already: RocksDB writes and syncs its options anew each time, which takes tens of milliseconds.
    fn set(&self, on: bool) -> Result<(), TargetError> {
        if self.on.load(Ordering::SeqCst) == on {
            return Ok(());
        }
        let options = if on { &options::COMPACTING } else { &options::HELD };
        match self.family {
            Some(family) => self.db.set_options_cf(family, options),
            None => self.db.set_options(options),
        }
        .map_err(engine_error(self.path, "turn compaction on or off"))?;
        self.on.store(on, Ordering::SeqCst);
        Ok(())
    }

    fn wait(&self, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), TargetError> {
        let mut patience = WaitForCompactOptions::default();
        patience.set_timeout(PATIENCE_MICROS);
        loop {
            match self.db.wait_for_compact(&patience) {
                Ok(()) => return Ok(()),
                // Closing the database ends what is under way; nothing of it is in the manifest then.
                Err(error) if error.kind() == ErrorKind::TimedOut && stop() => return Err(TargetError::Stopped),
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => return Err(engine_error(self.path, "compact")(error)),
            }
        }
    }
}
