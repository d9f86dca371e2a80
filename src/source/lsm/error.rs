//! Owns what can go wrong: [`Malformed`] from the pure parsers (a position and a reason,
//! no file), and [`LsmError`], which every function touching a directory returns.

use std::io;
use std::path::{Path, PathBuf};

/// Why a byte string is not what its format demands.
///
/// Parsers know nothing of files; their callers add path and file offset
/// with `Malformed::within`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Malformed {
    /// Position in the parsed bytes.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl Malformed {
    pub(crate) fn new(at: usize, what: &'static str) -> Malformed {
        Malformed { at, what }
    }

    /// The same finding, for bytes which began at `base` of the file `path`.
    pub(crate) fn within(self, path: &Path, base: u64) -> LsmError {
        LsmError::Corrupt {
            path: path.to_path_buf(),
            offset: base.saturating_add(self.at as u64),
            what: self.what.to_string(),
        }
    }

    /// As `Malformed::within`, for bytes which were decompressed, so that
    /// only the block's own offset exists in the file.
    pub(crate) fn in_block(self, path: &Path, block: u64) -> LsmError {
        LsmError::Corrupt {
            path: path.to_path_buf(),
            offset: block,
            what: format!("{} (byte {} of the unpacked block)", self.what, self.at),
        }
    }
}

/// Why bytes are of no use: they are wrong, or right and beyond this reader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// They are not what their format demands.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// They say something that this reader does not understand, or may not leave out.
    #[error("{0}")]
    Unsupported(String),
}

impl Fault {
    /// The same finding, for bytes which began at `base` of the file `path`.
    pub(crate) fn within(self, path: &Path, base: u64) -> LsmError {
        match self {
            Fault::Malformed(malformed) => malformed.within(path, base),
            Fault::Unsupported(what) => LsmError::unsupported(path, what),
        }
    }

    /// The same finding, for one record of a log.
    pub(crate) fn in_record(self, path: &Path, offset: u64) -> LsmError {
        match self {
            Fault::Malformed(e) => LsmError::corrupt(path, offset, format!("{} (byte {} of the record)", e.what, e.at)),
            Fault::Unsupported(what) => LsmError::unsupported(path, what),
        }
    }
}

/// Every failure of the reader.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LsmError {
    /// The operating system refused a read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The directory names no manifest that could be used.
    #[error("{} is not a database: {what}", .path.display())]
    NotADatabase {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// Bytes on disk contradict their checksum or their format.
    #[error("{} is damaged at byte {offset}: {what}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file which another file names does not exist.
    #[error("{} is missing, though {} names it", .path.display(), .named_by.display())]
    MissingFile {
        /// The missing file.
        path: PathBuf,
        /// The file that names it.
        named_by: PathBuf,
    },
    /// The database was written with another key order.
    #[error("{} orders keys by {found:?}, and only leveldb.BytewiseComparator can be read", .path.display())]
    Comparator {
        /// The manifest.
        path: PathBuf,
        /// The order it names.
        found: String,
    },
    /// The database is as its engine wrote it, and has something that this release does not read.
    #[error("{} cannot be read by this release: {what}", .path.display())]
    Unsupported {
        /// The file that has it.
        path: PathBuf,
        /// What it has.
        what: String,
    },
    /// A file read whole exceeds what the reader is ready to hold in memory.
    #[error("{}: {bytes} bytes of {what}, and at most {limit} are read", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it holds.
        what: &'static str,
        /// How much of it.
        bytes: u64,
        /// How much is read at most.
        limit: u64,
    },
}

impl LsmError {
    pub(crate) fn io(path: &Path, source: io::Error) -> LsmError {
        LsmError::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn unsupported(path: &Path, what: impl Into<String>) -> LsmError {
        LsmError::Unsupported { path: path.to_path_buf(), what: what.into() }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, what: impl Into<String>) -> LsmError {
        LsmError::Corrupt { path: path.to_path_buf(), offset, what: what.into() }
    }
}
