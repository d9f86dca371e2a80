//! Why a checkpoint could not be made.

use std::{io, path::Path, path::PathBuf};

/// A checkpoint was not made. The database is as it was; what was made so far is removed, now or by the next try.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The operating system refused something.
    #[error("cannot {doing} {path}: {source}", path = .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was to be done with it, e.g. `read`.
        doing: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The database contradicts itself, however often it is read.
    #[error("{path}: {what}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The database is of a kind that a copy of one directory would not hold whole.
    #[error("{path} {what}; such a database cannot be migrated while its node runs", path = .path.display())]
    Unsupported {
        /// The file or directory.
        path: PathBuf,
        /// What it says.
        what: &'static str,
    },
    /// The tables cannot be linked, and were not to be copied.
    #[error("the tables of {path} cannot be linked to {into} ({why})", path = .path.display(), into = .into.display())]
    NoLinks {
        /// The database.
        path: PathBuf,
        /// Where the checkpoint was to be.
        into: PathBuf,
        /// The operating system's answer.
        why: io::Error,
    },
    /// The tables cannot be linked, and there is no room to copy them.
    #[error(
        "the tables of {path} cannot be linked to {into} ({why}), and copying them takes {needed} MiB where {free} MiB are \
         free and {reserve} MiB are to be left",
        path = .path.display(), into = .into.display()
    )]
    NoRoom {
        /// The database.
        path: PathBuf,
        /// Where the checkpoint was to be.
        into: PathBuf,
        /// Why linking failed.
        why: String,
        /// MiB still to be copied.
        needed: u64,
        /// MiB that are free.
        free: u64,
        /// MiB to be left free.
        reserve: u64,
    },
    /// The database changed faster than it could be followed.
    #[error("{path} changed faster than a checkpoint of it could be made, {passes} times ({what})", path = .path.display())]
    Restless {
        /// The database.
        path: PathBuf,
        /// How often it was tried.
        passes: u64,
        /// What changed the last time.
        what: String,
    },
    /// Nobody needs it any more.
    #[error("the checkpoint of {path} was given up", path = .path.display())]
    GivenUp {
        /// The database.
        path: PathBuf,
    },
    /// What lies where the checkpoint is to be made is no checkpoint.
    #[error("{path} is there and is no checkpoint made by storeshift", path = .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
}

impl CheckpointError {
    /// Whether bytes on disk are damaged.
    pub(crate) fn is_corruption(&self) -> bool {
        matches!(self, CheckpointError::Damaged { .. })
    }

    /// Whether another try may well succeed.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, CheckpointError::Io { .. } | CheckpointError::Restless { .. } | CheckpointError::GivenUp { .. })
    }
}

pub(super) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_owned();
    move |source| CheckpointError::Io { path, doing, source }
}
