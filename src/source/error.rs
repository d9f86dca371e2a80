//! What can go wrong with the source.

use super::{checkpoint::CheckpointError, lsm::LsmError};
use crate::{
    iavl::ReadError,
    model::{StoreKey, Version},
};
use std::path::PathBuf;

/// The source could not be read, or is not what storeshift can migrate. The source is unchanged in every case.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The reader of goleveldb and PebbleDB failed.
    #[error(transparent)]
    Lsm(#[from] LsmError),
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
    /// A root kept in the format of IAVL 0.20 and older.
    #[error(
        "store {store} at version {version} is a legacy tree (IAVL 0.20 or older keeps its root under \"r\"); this release \
         migrates IAVL 1.x trees only. Run the node once on a release with IAVL 1.x and prune past the upgrade, or wait for \
         a storeshift release that reads legacy trees"
    )]
    Legacy {
        /// The store.
        store: StoreKey,
        /// The version.
        version: Version,
    },
    /// A node has the database open.
    #[error("{path}: a node has this database open; stop it first, or give a copy or a checkpoint", path = .0.display())]
    InUse(PathBuf),
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
    /// Whether bytes on disk are damaged, as opposed to a failure that another try may not meet.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        match self {
            SourceError::Lsm(error) => {
                matches!(error, LsmError::Corrupt { .. } | LsmError::MissingFile { .. })
            }
            SourceError::Checkpoint(error) => error.is_corruption(),
            SourceError::Record { .. } => true,
            SourceError::NoVersion
            | SourceError::InUse(_)
            | SourceError::Legacy { .. }
            | SourceError::Unrecognised { .. } => false,
        }
    }
}

impl From<SourceError> for ReadError {
    fn from(error: SourceError) -> ReadError {
        ReadError { corrupt: error.is_corruption(), message: error.to_string() }
    }
}
