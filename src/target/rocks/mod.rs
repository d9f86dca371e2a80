//! The RocksDB form of both engines, and a plain database for what a node keeps in store/v1. Directories are readable by RocksDB 7.8 and later (`format_version` 5).

mod bulk;
mod commitment;
mod compaction;
mod database;
mod manifest;
mod nodes;
mod options;
mod runs;
mod storage;
mod table;
#[cfg(test)]
mod tests;

use super::{Commitment, Engines, Place, Storage, TargetError, place::io_error};
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

/// As [`engine_error`], of opening a directory. A target whose opening finds damage may be given up, so that only counts as damage which
/// another try finds as well; what the system refuses (a lock, a permission, room, descriptors, a disk that does not answer) may pass,
/// also where RocksDB says Corruption of it. A file that is missing where there is a database does not come back.
fn open_error(path: &Path) -> impl FnOnce(rocksdb::Error) -> TargetError {
    let path = path.to_owned();
    move |error| {
        // A directory's name may say anything.
        let words = error.as_ref().replace(&*path.to_string_lossy(), "");
        match shut_by(error.kind() == rocksdb::ErrorKind::Corruption, &words) {
            Shut::Damage => TargetError::Lost { path, what: error.to_string() },
            Shut::Missing if path.join("CURRENT").exists() => TargetError::Lost { path, what: error.to_string() },
            Shut::Missing | Shut::System => TargetError::Engine { path, doing: "open", message: error.to_string() },
            Shut::Other => engine_error(&path, "open")(error),
        }
    }
}

/// Refuses what RocksDB would not come back from.
fn look(path: &Path) -> Result<(), TargetError> {
    match manifest::fault(path).map_err(io_error(path, "read the manifest of"))? {
        Some(what) => Err(TargetError::Lost { path: path.to_owned(), what }),
        None => Ok(()),
    }
}

/// What keeps a directory from being opened.
#[derive(Debug, PartialEq)]
enum Shut {
    Damage,
    /// A file is not there.
    Missing,
    /// The system refused something.
    System,
    Other,
}

/// By what RocksDB says. It says Corruption too of what it could not look at.
fn shut_by(is_corruption: bool, words: &str) -> Shut {
    match words {
        _ if BLAMED.iter().any(|blamed| words.contains(blamed)) => Shut::Other,
        _ if words.contains("IO error") && words.contains("No such file") => Shut::Missing,
        _ if words.contains("IO error") => Shut::System,
        _ if is_corruption => Shut::Damage,
        _ => Shut::Other,
    }
}

#[cfg(test)]
mod shut {
    use super::{Shut, shut_by};

    #[test]
    fn only_what_another_try_finds_again_is_damage() {
        for (is_corruption, words, shut) in [
            (true, "Corruption: CURRENT file does not end with newline", Shut::Damage),
            (
                true,
                "Corruption: Can't access /000012.sst: IO error: No such file or directory: while stat",
                Shut::Missing,
            ),
            (
                false,
                "IO error: No such file or directory: While opening a file for sequentially reading",
                Shut::Missing,
            ),
            (true, "Corruption: Can't access /000012.sst: IO error: Permission denied: while stat", Shut::System),
            (true, "Corruption: IO error: Input/output error: While pread  The file may be corrupted.", Shut::System),
            (false, "IO error: While lock file: /LOCK: Resource temporarily unavailable", Shut::System),
            (false, "IO error: Too many open files: While open a file for random read", Shut::System),
            (false, "IO error: No space left on device: While appending to file", Shut::System),
            (true, "Corruption: Direct I/O is not supported by the specified DB", Shut::Other),
            (false, "Invalid argument: Column families not opened: x", Shut::Other),
        ] {
            assert_eq!(shut_by(is_corruption, words), shut, "{words}");
        }
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
