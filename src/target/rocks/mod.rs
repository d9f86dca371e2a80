//! The RocksDB form of both engines, and a plain database for what a node keeps in store/v1. Directories are readable by RocksDB 7.8 and later (`format_version` 5).

mod bulk;
mod commitment;
mod compaction;
mod database;
mod nodes;
mod options;
mod runs;
mod storage;
// Not used yet by the two engines.
mod table;
#[cfg(test)]
mod tests;

use super::{Commitment, Engines, Place, Storage, TargetError};
use std::path::Path;

pub use super::EngineTuning;
pub use commitment::RocksCommitment;
pub use database::RocksDatabase;
pub use storage::RocksStorage;

/// RocksDB's engines, in the directories of the target.
#[derive(Clone, Copy, Debug, Default)]
pub struct RocksEngines;

impl Engines for RocksEngines {
    fn commitment(&self, place: &Place, tuning: EngineTuning) -> Result<Box<dyn Commitment>, TargetError> {
        Ok(Box::new(RocksCommitment::open(&place.sc(), &place.staging(), &place.runs(), tuning)?))
    }

    fn storage(&self, place: &Place, tuning: EngineTuning) -> Result<Box<dyn Storage>, TargetError> {
        Ok(Box::new(RocksStorage::open(&place.ss(), &place.staging(), tuning)?))
    }
}

/// What RocksDB takes it for when it cannot open the file that names its manifest, be it for want of descriptors: direct I/O, which
/// we never ask for, or damage, which it has not seen.
const BLAMED: [&str; 2] = ["Direct I/O is not supported by the specified DB", "Unexpected error in reading file"];

/// An error of RocksDB with the directory and what was being done.
fn engine_error(path: &Path, doing: &'static str) -> impl FnOnce(rocksdb::Error) -> TargetError {
    let path = path.to_owned();
    move |error| match error.kind() {
        _ if BLAMED.iter().any(|words| error.as_ref().contains(words)) => {
            let message = format!("a file of it could not be opened; RocksDB does not say why, only {error}");
            TargetError::Engine { path, doing, message }
        }
        rocksdb::ErrorKind::Corruption => TargetError::Corrupt { path, what: format!("{doing}: {error}") },
        _ => TargetError::Engine { path, doing, message: error.to_string() },
    }
}

/// As [`engine_error`], of opening a directory. In one with a database a file that is missing is damage: another try finds it no
/// more than this one.
fn open_error(path: &Path) -> impl FnOnce(rocksdb::Error) -> TargetError {
    let path = path.to_owned();
    move |error| {
        let is_missing = error.kind() == rocksdb::ErrorKind::IOError && error.as_ref().contains("No such file");
        if is_missing && path.join("CURRENT").exists() {
            return TargetError::Corrupt { path, what: format!("open: {error}") };
        }
        engine_error(&path, "open")(error)
    }
}

/// The first key after all keys with this prefix; `None` if there is no such key.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod prefixes {
    use super::*;

    #[test]
    fn the_key_after_a_prefix_carries_over_ff() {
        assert_eq!(after_prefix(b"bank"), Some(b"banl".to_vec()));
        assert_eq!(after_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff"), None);
    }
}
