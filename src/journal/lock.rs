//! One owner at a time: an operating-system lock that dies with its process.

use super::JournalError;
use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

/// Held by whoever works on a target; released when dropped, or when the process dies in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

const NAME: &str = "lock";

impl Lock {
    /// Takes the lock of a journal directory, creating both if need be.
    ///
    /// # Errors
    /// [`JournalError::Locked`] if somebody has it.
    pub fn take(directory: &Path) -> Result<Lock, JournalError> {
        let path = directory.join(NAME);
        let error = |doing| move |source| JournalError::Io { path: directory.join(NAME), doing, source };
        std::fs::create_dir_all(directory).map_err(error("create the directory of"))?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(error("open"))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(JournalError::Locked(directory.to_owned())),
            Err(TryLockError::Error(source)) => Err(error("lock")(source)),
        }
    }

    /// Whether somebody has the lock of a journal directory now.
    #[must_use]
    pub fn is_taken(directory: &Path) -> bool {
        let Ok(file) = File::open(directory.join(NAME)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}
