//! A database whose node has been stopped, and stays so: the fence of a chain that runs in another process.

use super::{CheckpointError, engine, error::io};
use crate::source::detect::EngineKind;
use rustix::fs::{FlockOperation, fcntl_lock, flock};
use std::{
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The engine's own lock, held as its node would hold it: a node that is started meanwhile fails as it does where another one
/// runs. Goes with its owner's process.
#[derive(Debug)]
pub struct Standstill {
    database: PathBuf,
    _lock: Option<File>,
}

impl Standstill {
    /// Takes the lock of a database, or says that a process has it. Nothing is written: the file must be there already, and is
    /// opened for reading. Where there is none, nobody has ever opened the database, or only a copy is there.
    ///
    /// # Errors
    /// The lock's file could not be opened, or the file system has no locks.
    pub fn take(database: &Path) -> Result<Option<Standstill>, CheckpointError> {
        let path = database.join("LOCK");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Some(Standstill { database: database.to_owned(), _lock: None }));
            }
            Err(error) => return Err(io(&path, "open")(error)),
        };
        let locked = match engine::kind(database)? {
            EngineKind::Goleveldb => flock(&file, FlockOperation::NonBlockingLockExclusive),
            // Theirs are locks of bytes, and one for writing needs a file that is open for writing. One for reading keeps a
            // writer out as well.
            EngineKind::Pebble | EngineKind::RocksDb => fcntl_lock(&file, FlockOperation::NonBlockingLockShared),
        };
        match locked.map_err(std::io::Error::from) {
            Ok(()) => Ok(Some(Standstill { database: database.to_owned(), _lock: Some(file) })),
            // Some systems say of a lock that is held that access is denied.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::PermissionDenied) => Ok(None),
            Err(error) => Err(io(&path, "lock")(error)),
        }
    }

    /// The database whose lock it is.
    #[must_use]
    pub fn database(&self) -> &Path {
        &self.database
    }
}
