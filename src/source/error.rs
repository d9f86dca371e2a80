//! What can go wrong with the source.

use super::rocks::RocksError;
use super::{checkpoint::CheckpointError, lsm::LsmError};
use crate::iavl::ReadError;
use std::path::{Path, PathBuf};

/// The source could not be read, or is not what storeshift can migrate. The source is unchanged in every case.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The reader of goleveldb and PebbleDB failed.
    #[error(transparent)]
    Lsm(#[from] LsmError),
    /// The RocksDB reader failed.
    #[error(transparent)]
    Rocks(#[from] RocksError),
    /// A checkpoint of a database that is in use could not be made.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A record of the rootmulti layout is damaged.
    #[error("record {record}: {what}")]
    Record {
        /// The record's key.
        record: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is no `s/latest`, or it is 0.
    #[error(
        "this database has no committed version: there is no record s/latest; is it an application.db of a Cosmos SDK node?"
    )]
    NoVersion,
    /// A node has the database open.
    #[error("{path}: a node has this database open; stop it first, or give a copy or a checkpoint", path = .0.display())]
    InUse(PathBuf),
    /// A snapshot or a changeset file is damaged.
    #[error("{path}: {what}", path = .path.display())]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file could not be read, or the spool not be written.
    #[error("{path}: cannot {doing}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Stopped,
    /// No engine recognises the directory.
    #[error("{path}: {what}")]
    Unrecognised {
        /// The directory.
        path: String,
        /// What was found.
        what: String,
    },
}

impl SourceError {
    /// What becomes of an error of the operating system.
    pub(super) fn io(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> SourceError {
        let path = path.to_owned();
        move |source| SourceError::Io { path, doing, source }
    }

    /// Whether bytes on disk are damaged, as opposed to a failure that another try may not meet.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        match self {
            SourceError::Lsm(error) => {
                matches!(error, LsmError::Corrupt { .. } | LsmError::MissingFile { .. })
            }
            SourceError::Rocks(error) => error.is_corruption(),
            SourceError::Record { .. } | SourceError::Damaged { .. } => true,
            SourceError::Checkpoint(error) => error.is_corruption(),
            SourceError::NoVersion
            | SourceError::Io { .. }
            | SourceError::Stopped
            | SourceError::InUse(_)
            | SourceError::Unrecognised { .. } => false,
        }
    }
}

impl From<SourceError> for ReadError {
    fn from(error: SourceError) -> ReadError {
        ReadError { corrupt: error.is_corruption(), message: error.to_string() }
    }
}
