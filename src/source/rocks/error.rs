//! What can go wrong with a RocksDB directory, and what RocksDB's own words mean: whether bytes are damaged or another try may
//! succeed.

use std::{io, path::PathBuf};

/// Every failure of the reader.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RocksError {
    /// The operating system refused a read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// RocksDB could not read, and damage is not what it says.
    #[error("{}: RocksDB cannot read: {message}", .path.display())]
    Engine {
        /// The directory.
        path: PathBuf,
        /// RocksDB's words.
        message: String,
    },
    /// Bytes on disk contradict their checksums or each other, or a file is missing.
    #[error("{} is damaged: {what}", .path.display())]
    Corrupt {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong, in RocksDB's words where it found it, naming the file.
        what: String,
    },
    /// The directory is sound, for all that is known, and was not written as a node writes it.
    #[error("{}: {what}", .path.display())]
    Foreign {
        /// The directory or file.
        path: PathBuf,
        /// What it has.
        what: String,
    },
}

impl RocksError {
    /// RocksDB's error for the database in a directory.
    #[cfg(feature = "rocksdb")]
    pub(super) fn of(path: &std::path::Path, error: &rocksdb::Error) -> RocksError {
        use rocksdb::ErrorKind;
        let path = path.to_path_buf();
        let message = error.to_string();
        // On opening, RocksDB blames its manifest for what it finds in tables. The manifest has been read by then, and is whole.
        let message = match message.split_once("  The file ") {
            Some((what, blamed)) if blamed.contains("MANIFEST") => {
                format!("{what} (found on opening; the manifest is whole)")
            }
            _ => message,
        };
        // A file that is gone is an input/output error to RocksDB once the database is open.
        let gone = message.contains("No such file or directory");
        match error.kind() {
            ErrorKind::Corruption => RocksError::Corrupt { path, what: message },
            ErrorKind::IOError if gone => RocksError::Corrupt { path, what: message },
            ErrorKind::InvalidArgument | ErrorKind::NotSupported => RocksError::Foreign { path, what: message },
            _ => RocksError::Engine { path, message },
        }
    }

    /// Whether bytes on disk are damaged.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        matches!(self, RocksError::Corrupt { .. })
    }

    /// Whether another try may not meet this again.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, RocksError::Io { .. } | RocksError::Engine { .. })
    }
}
