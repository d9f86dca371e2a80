//! Sorted runs of stores that memory did not hold at once: files beside the engine until all of a store is there, then
//! merged into tables that do not overlap.
//!
//! Owns the directory `runs/`, a subdirectory for each store. A run counts once its name is there: it is synced before it
//! is renamed into place. The runs of a store go all at once, by a rename, after everything in them is in the engine.

mod merge;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use crate::{
    disk::{self, Making},
    iavl::NodeKey,
    model::{StoreKey, to_hex},
    target::{TargetError, place::io_error},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

pub(super) use merge::{Merge, Part, parts};

/// Ends the name of a run that is being written.
const UNFINISHED: &str = "new";
/// Ends the name of a note that a part is in the engine.
const NOTE: &str = "part";
/// Ends the name of a directory whose runs are in the engine.
const MERGED: &str = "merged";

/// A run that is being written.
pub(super) struct Unfinished {
    path: PathBuf,
    writer: writer::Writer,
}

/// The runs of one target.
pub(super) struct Runs {
    directory: PathBuf,
    next: AtomicU64,
}

impl Runs {
    /// The runs in this directory, which need not exist. Removes what a crash left of unfinished and of merged ones.
    pub(super) fn open(directory: &Path) -> Result<Runs, TargetError> {
        let mut next = 0;
        for store in entries(directory)? {
            if store.extension().is_some_and(|end| end == MERGED) {
                disk::remove_all(&store).map_err(io_error(&store, "remove"))?;
                continue;
            }
            for run in entries(&store)? {
                if run.extension().is_some_and(|end| end == UNFINISHED) {
                    disk::remove(&run).map_err(io_error(&run, "remove"))?;
                } else if let Some(number) = run.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok()) {
                    next = next.max(number + 1);
                }
            }
        }
        Ok(Runs { directory: directory.to_owned(), next: AtomicU64::new(next) })
    }

    fn of(&self, store: &StoreKey) -> PathBuf {
        self.directory.join(to_hex(store.as_str().as_bytes()))
    }

    /// Begins a run; it counts once [`Runs::keep`] has returned.
    pub(super) fn begin(&self, store: &StoreKey) -> Result<Unfinished, TargetError> {
        let directory = self.of(store);
        disk::make_directories(&directory).map_err(io_error(&directory, "create"))?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(number.to_string()).with_extension(UNFINISHED);
        let writer = writer::Writer::create(&path).map_err(io_error(&path, "create"))?;
        Ok(Unfinished { path, writer })
    }

    /// Adds a record to a run. Keys ascend.
    pub(super) fn add(&self, run: &mut Unfinished, key: NodeKey, record: &[u8]) -> Result<(), TargetError> {
        run.writer.add(key, record).map_err(io_error(&run.path, "write"))
    }

    /// Completes a run.
    pub(super) fn end(&self, run: Unfinished) -> Result<PathBuf, TargetError> {
        run.writer.finish().map_err(io_error(&run.path, "write"))?;
        Ok(run.path)
    }

    /// Makes a written run durable and gives it its name. What a chunk's record in the journal rests on must survive a
    /// power cut: first the bytes, then the name, then the names above it.
    pub(super) fn keep(&self, unfinished: &Path) -> Result<(), TargetError> {
        sync(unfinished)?;
        let path = unfinished.with_extension("");
        disk::rename(unfinished, &path).map_err(io_error(&path, "rename into place"))?;
        for directory in path.ancestors().skip(1).take(3) {
            sync(directory)?;
        }
        Ok(())
    }

    /// The runs of a store, none if it has none.
    pub(super) fn list(&self, store: &StoreKey) -> Result<Vec<PathBuf>, TargetError> {
        let mut runs = entries(&self.of(store))?;
        runs.retain(|run| run.extension().is_none());
        runs.sort();
        Ok(runs)
    }

    /// Whether a part of a store's runs is in the engine.
    pub(super) fn is_merged(&self, store: &StoreKey, part: Part) -> bool {
        self.note(store, part).exists()
    }

    /// Remembers that a part of a store's runs is in the engine.
    pub(super) fn set_merged(&self, store: &StoreKey, part: Part) -> Result<(), TargetError> {
        let path = self.note(store, part);
        // Not synced: if a power cut takes it, the part is merged again.
        disk::make(&path, Making::Anew).map(drop).map_err(io_error(&path, "create"))
    }

    /// Named by its bounds: with another number of workers the runs are cut differently.
    fn note(&self, store: &StoreKey, part: Part) -> PathBuf {
        let bound = |key: Option<NodeKey>| key.map_or(String::new(), |key| to_hex(&key.to_bytes()));
        self.of(store).join(format!("{}-{}.{NOTE}", bound(part.from), bound(part.until)))
    }

    /// Removes the runs of a store; the engine has what is in them.
    pub(super) fn remove(&self, store: &StoreKey) -> Result<(), TargetError> {
        let directory = self.of(store);
        let merged = directory.with_extension(MERGED);
        // In one step: a crash must not leave some of them, from which other parts would be cut.
        disk::rename(&directory, &merged).map_err(io_error(&directory, "rename"))?;
        disk::remove_all(&merged).map_err(io_error(&merged, "remove"))
    }
}

/// What a directory holds; nothing if it does not exist.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, TargetError> {
    let listing = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(io_error(directory, "list"))?,
    };
    listing.map(|entry| Ok(entry.map_err(io_error(directory, "list"))?.path())).collect()
}

fn sync(path: &Path) -> Result<(), TargetError> {
    disk::sync(path).map_err(io_error(path, "sync"))
}

/// Records in a block, about this many bytes of them.
const BLOCK: usize = 16 << 10;
/// Bytes of blocks from one entry of the index to the next.
const INDEXED: u64 = 1 << 20;
/// Before each block: LE4 its length, LE4 CRC-32C of it.
const HEADER: usize = 8;
/// At the end: LE8 where the index begins, and the magic.
const FOOTER: usize = 16;
const MAGIC: [u8; 8] = *b"ssrun 1\n";
/// Before each record: BE8 version, BE4 nonce, LE4 length.
const RECORD_HEADER: usize = 16;
