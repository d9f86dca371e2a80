//! What can go wrong with the journal.

use std::path::PathBuf;

/// The journal cannot be used. The target is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process works on this target.
    #[error("{path}: another storeshift process{process} works on this target", path = path.display(), process = number(*by))]
    Locked {
        /// The journal's directory or file.
        path: PathBuf,
        /// Its number, if the system tells.
        by: Option<u32>,
    },
    /// Something else lies where the journal or one of its files belongs.
    #[error("{path} {what}", path = path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What is there.
        what: String,
    },
    /// The request to switch is not one this release understands, so it is neither carried out nor left out of account.
    #[error("{path}: understand: {what}", path = path.display())]
    Request {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// redb found damage when it checked the file on opening.
    #[error("{path}: the journal is damaged: {what}", path = path.display())]
    Damaged {
        /// The journal file.
        path: PathBuf,
        /// redb's words.
        what: String,
    },
    /// A record is damaged or missing.
    #[error("the journal's record {place} {what}")]
    Record {
        /// Which record.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// Another format than this release knows.
    #[error("the journal has format {found}, this release knows format {known}")]
    Format {
        /// The format found.
        found: u16,
        /// The format known.
        known: u16,
    },
    /// A newer release wrote it.
    #[error("the journal was written by storeshift {release} in format {found}; this release knows format {known}")]
    Newer {
        /// The release.
        release: String,
        /// Its format.
        found: u16,
        /// The format known.
        known: u16,
    },
    /// A file operation failed.
    #[error("{path}: {doing}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// redb could not read or write. After a failed sync nothing may be assumed durable, so it is never tried again.
    #[error("the target's journal/journal.redb could not be read or written: {0}")]
    Database(String),
}

fn number(process: Option<u32>) -> String {
    process.map_or(String::new(), |process| format!(" ({process})"))
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for JournalError {
            fn from(error: $error) -> JournalError {
                JournalError::Database(error.to_string())
            }
        }
    )*};
}

from_redb!(redb::TransactionError, redb::CommitError, redb::SetDurabilityError);

fn damaged(what: String) -> JournalError {
    JournalError::Record { place: "(any)".to_owned(), what: format!("cannot be read: {what}") }
}

impl From<redb::StorageError> for JournalError {
    fn from(error: redb::StorageError) -> JournalError {
        match error {
            redb::StorageError::Corrupted(what) => damaged(what),
            error => JournalError::Database(error.to_string()),
        }
    }
}

impl From<redb::TableError> for JournalError {
    /// All tables are made when a job is born: one that is missing, or of another type, is damage.
    fn from(error: redb::TableError) -> JournalError {
        match error {
            redb::TableError::Storage(error) => error.into(),
            error => damaged(error.to_string()),
        }
    }
}
