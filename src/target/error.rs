//! What can go wrong with the target.

use crate::iavl::ReadError;
use std::path::PathBuf;

/// The target could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A file operation failed.
    #[error("{path}: {doing}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The engine failed.
    #[error("{path}: {doing}: {message}", path = path.display())]
    Engine {
        /// The engine's directory.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The engine's words.
        message: String,
    },
    /// A node record could not be read.
    #[error(transparent)]
    Read(ReadError),
    /// The engine's own checks, or ours, found damaged bytes.
    #[error("{path}: damaged: {what}", path = path.display())]
    Corrupt {
        /// The engine's directory.
        path: PathBuf,
        /// What is damaged.
        what: String,
    },
    /// The engine's files are so damaged that it cannot open them, now or another time.
    #[error("{path}: damaged, and cannot be opened: {what}", path = path.display())]
    Lost {
        /// The engine's directory.
        path: PathBuf,
        /// The engine's words.
        what: String,
    },
    /// The directory holds something that is not this job's.
    #[error("{path}: {what}", path = path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What was found there.
        what: String,
    },
    /// The work was to be stopped.
    #[error("stopped on request")]
    Stopped,
    /// Keys were not handed over in ascending order.
    #[error("keys handed to a loader do not ascend")]
    Order,
    /// A failure planted by a test.
    #[error("an outage planted by a test")]
    Outage,
}

impl From<TargetError> for ReadError {
    fn from(error: TargetError) -> ReadError {
        let corrupt = matches!(error, TargetError::Corrupt { .. } | TargetError::Lost { .. });
        ReadError { corrupt, message: error.to_string() }
    }
}
