//! A state sync snapshot as a source: the trees of one version, without hashes and node keys, as one packed stream.
//!
//! Owns how such a stream becomes a [`Source`]. A first pass only looks: it unpacks the stream, rebuilds every tree's hashes
//! and leaves the commit info, so that a snapshot of another chain, or a damaged one, is refused before anything is written.
//! A second pass, [`Source::prepare`], writes the records into the spool, from which they are read like those of a
//! database, and proven again. Both are streams: what is in memory is one item, and one subtree for each level of a tree.
//!
//! Format: Cosmos SDK `store/snapshots`, formats 2 (SDK 0.46) and 3 (store 1.x and 2).

mod directory;
mod item;
mod rebuild;
mod spool;
mod stream;
#[cfg(test)]
mod tests;

use super::{Pair, Scan, Source, SourceError, StoreRoot};
use crate::{
    iavl::{Access, NodeKey, NodeReader, ReadError},
    model::{CommitInfo, StoreKey, Version},
};
use directory::{Directory, damaged};
use rebuild::{Nowhere, Rebuild, RebuildError, Sink, Tally};
use spool::Spool;
use std::{
    io::{self, BufRead},
    path::{Path, PathBuf},
    sync::OnceLock,
};
use stream::{Items, StreamError};

pub use directory::{recognises, suggestion};
pub use item::Metadata;

/// Items between two looks at whether to stop.
const HEED: u64 = 4096;

/// A state sync snapshot.
#[derive(Debug)]
pub struct Snapshot {
    directory: Directory,
    spool_at: PathBuf,
    tally: Tally,
    /// There once it is known to be whole and sound.
    spool: OnceLock<Spool>,
}

impl Snapshot {
    /// Opens a snapshot whose spool is, or will be, in the directory `spool_at`. Reads the whole stream, unless that has been
    /// done: then the spool knows. Writes nothing.
    ///
    /// # Errors
    /// It is no snapshot, of a format that is not known, or damaged.
    pub fn open(path: &Path, spool_at: &Path) -> Result<Snapshot, SourceError> {
        let directory = Directory::open(path)?;
        let tally = match Spool::find(spool_at, &identity(&directory)) {
            Some(spool) => spool.tally,
            None => {
                let (tally, Nowhere) = read(&directory, Nowhere, &|| false, |never| match never {})?;
                tally
            }
        };
        Ok(Snapshot { directory, spool_at: spool_at.to_owned(), tally, spool: OnceLock::new() })
    }

    fn make_spool(&self, stop: &dyn Fn() -> bool) -> Result<Spool, SourceError> {
        let identity = identity(&self.directory);
        if let Some(spool) = Spool::find(&self.spool_at, &identity)
            && spool.tally == self.tally
        {
            if spool.is_sound(stop) {
                return Ok(spool);
            }
            if stop() {
                return Err(SourceError::Stopped);
            }
            tracing::warn!("the spool of the snapshot is damaged and made again");
        }
        let io = |(path, doing, source)| SourceError::Io { path, doing, source };
        let writer = spool::Writer::create(&self.spool_at).map_err(io)?;
        let (tally, writer) = read(&self.directory, writer, stop, io)?;
        if tally != self.tally {
            return Err(damaged(&self.directory.path, "changed while it was being read"));
        }
        writer.finish(&identity, &tally).map_err(io)?;
        let made = || SourceError::Unrecognised {
            path: self.spool_at.display().to_string(),
            what: "the spool that was just written cannot be read back".to_owned(),
        };
        Spool::find(&self.spool_at, &identity).ok_or_else(made)
    }
}

/// What a spool is of. Whether it is of the job's chain is told by the app hash.
fn identity(directory: &Directory) -> String {
    format!("{} {} {} {}", directory.height, directory.format, directory.chunks.len(), directory.bytes())
}

/// Reads the whole stream.
fn read<S: Sink>(
    directory: &Directory,
    sink: S,
    stop: &dyn Fn() -> bool,
    failed: impl Fn(S::Error) -> SourceError,
) -> Result<(Tally, S), SourceError> {
    let read = rebuild(directory.height, directory.read(), sink, stop);
    read.map_err(|why| match why {
        Unread::Stopped => SourceError::Stopped,
        Unread::Sink(error) => failed(error),
        Unread::Damaged(what) => damaged(&directory.path, what),
        Unread::Io(error) if error.kind() == io::ErrorKind::InvalidData => damaged(&directory.path, error.to_string()),
        Unread::Io(source) => SourceError::Io { path: directory.path.clone(), doing: "read", source },
    })
}

enum Unread<E> {
    Stopped,
    Io(io::Error),
    Damaged(String),
    Sink(E),
}

fn rebuild<S: Sink>(
    height: Version,
    packed: impl BufRead,
    sink: S,
    stop: &dyn Fn() -> bool,
) -> Result<(Tally, S), Unread<S::Error>> {
    let of_rebuild = |error| match error {
        RebuildError::Broken(what) => Unread::Damaged(what),
        RebuildError::Sink(error) => Unread::Sink(error),
    };
    let (mut items, mut rebuild, mut count) = (Items::new(packed), Rebuild::new(height, sink), 0u64);
    loop {
        match items.next() {
            Ok(Some(item)) => rebuild.take(item).map_err(of_rebuild)?,
            Ok(None) => return rebuild.finish().map_err(of_rebuild),
            Err(StreamError::Io(error)) => return Err(Unread::Io(error)),
            Err(StreamError::Damaged(what)) => return Err(Unread::Damaged(what.to_owned())),
        }
        count += 1;
        if count.is_multiple_of(HEED) && stop() {
            return Err(Unread::Stopped);
        }
    }
}

/// The commit info of the trees in a packed stream, for fuzzing; what is wrong with it, in words, if it is none.
///
/// # Errors
/// The first thing that is wrong.
pub fn commit_info_of(height: Version, packed: &[u8]) -> Result<CommitInfo, String> {
    match rebuild(height, packed, Nowhere, &|| false) {
        Ok((tally, Nowhere)) => Ok(tally.commit_info(height)),
        Err(Unread::Damaged(what)) => Err(what),
        Err(Unread::Io(error)) => Err(error.to_string()),
        Err(Unread::Stopped) => Err("stopped".to_owned()),
        Err(Unread::Sink(never)) => match never {},
    }
}

impl Source for Snapshot {
    fn latest(&self) -> Result<Version, SourceError> {
        Ok(self.directory.height)
    }

    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, SourceError> {
        Ok((version == self.directory.height).then(|| self.tally.commit_info(version)))
    }

    fn root(&self, store: &StoreKey, version: Version) -> Result<Option<StoreRoot>, SourceError> {
        let tally = self.tally.stores.iter().find(|tally| tally.name == *store);
        let tally = tally.filter(|_| version == self.directory.height);
        let root = |tally: &rebuild::StoreTally| match tally.root {
            Some(at) => StoreRoot::Node { at: at.into(), hash: tally.hash },
            None => StoreRoot::Empty,
        };
        Ok(tally.map(root))
    }

    fn records(&self, _: &StoreKey) -> Box<dyn Scan + Send + '_> {
        // A snapshot has items, not records.
        Box::new(NoRecords)
    }

    fn stores_on_disk(&self) -> Result<Vec<StoreKey>, SourceError> {
        Ok(self.tally.stores.iter().map(|tally| tally.name.clone()).collect())
    }

    fn recorded_versions(&self, each: &mut dyn FnMut(Version)) -> Result<(), SourceError> {
        each(self.directory.height);
        Ok(())
    }

    fn nodes(&self, store: &StoreKey, _: Access) -> Box<dyn NodeReader + Send + '_> {
        match self.spool.get() {
            Some(spool) => Box::new(spool.nodes(store)),
            None => Box::new(Unprepared),
        }
    }

    fn engine(&self) -> &'static str {
        if self.directory.format == 2 { "state sync snapshot, format 2" } else { "state sync snapshot, format 3" }
    }

    fn approximate_bytes(&self, store: &StoreKey) -> u64 {
        let tally = self.tally.stores.iter().find(|tally| tally.name == *store);
        tally.map_or(0, |tally| tally.record_bytes)
    }

    fn prepare(&self, stop: &dyn Fn() -> bool) -> Result<(), SourceError> {
        if self.spool.get().is_none() {
            let spool = self.make_spool(stop)?;
            // Whoever was faster made the same.
            let _ = self.spool.set(spool);
        }
        Ok(())
    }

    fn counted(&self, store: &StoreKey) -> Option<(u64, u64)> {
        let tally = self.tally.stores.iter().find(|tally| tally.name == *store)?;
        Some((tally.leaves, tally.pair_bytes))
    }

    fn spool_bytes(&self) -> u64 {
        spool::bytes(&self.tally)
    }

    fn notes(&self) -> Vec<String> {
        self.tally.notes.clone()
    }
}

struct Unprepared;

/// A walk over nothing.
struct NoRecords;

impl Scan for NoRecords {
    fn seek(&mut self, _: &[u8]) {}

    fn next(&mut self) -> Result<Option<Pair<'_>>, SourceError> {
        Ok(None)
    }
}

impl NodeReader for Unprepared {
    fn read(&mut self, _: NodeKey, _: &mut Vec<u8>) -> Result<bool, ReadError> {
        Err(ReadError { corrupt: false, message: "the snapshot has not been unpacked yet".to_owned() })
    }
}
