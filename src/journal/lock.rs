//! One owner at a time: an operating-system lock that dies with its process.

use super::JournalError;
use crate::disk;
use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
    time::Duration,
};

/// Held by whoever works on a target; released when dropped, or when the process dies in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

const NAME: &str = "lock";
/// Tries, a few milliseconds apart, before somebody else is taken for the owner.
const PATIENCE: u32 = 20;

impl Lock {
    /// Takes the lock of a journal directory, creating both if need be.
    ///
    /// # Errors
    /// [`JournalError::Locked`] if somebody has it.
    pub fn take(directory: &Path) -> Result<Lock, JournalError> {
        let path = directory.join(NAME);
        let error = |doing| move |source| JournalError::Io { path: directory.join(NAME), doing, source };
        disk::make_directories(directory).map_err(error("create the directory of"))?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(error("open"))?;
        // `status` looks at the lock by sharing it for a moment, which must not look like an owner.
        for _ in 0..PATIENCE {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
                Err(TryLockError::Error(source)) => return Err(error("lock")(source)),
            }
        }
        Err(JournalError::Locked(directory.to_owned()))
    }

    /// Whether somebody has the lock of a journal directory now.
    #[must_use]
    pub fn is_taken(directory: &Path) -> bool {
        let Ok(file) = File::open(directory.join(NAME)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}
