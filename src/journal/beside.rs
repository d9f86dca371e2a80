//! What the journal remembers beside the state: forgetting it costs time and nothing else.

use super::{Journal, JournalError, META, put, write};
use crate::model::ChunkSet;
use std::{
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

impl Journal {
    /// The chunks that an interrupted verification has proven so far.
    ///
    /// # Errors
    /// The record is damaged.
    pub fn verified(&self) -> Result<ChunkSet, JournalError> {
        let Some(ranges) = self.optional("verified")? else { return Ok(ChunkSet::default()) };
        ChunkSet::from_ranges(ranges).ok_or_else(|| JournalError::Record {
            place: "verified".to_owned(),
            what: "has a malformed chunk set".to_owned(),
        })
    }

    /// Remembers which chunks a verification has proven; none once it is over. No part of the state: forgetting it costs
    /// only time.
    ///
    /// # Errors
    /// redb could not write or sync.
    pub fn set_verified(&self, chunks: Option<&ChunkSet>) -> Result<(), JournalError> {
        let transaction = write(&self.database)?;
        {
            let mut meta = transaction.open_table(META)?;
            match chunks {
                Some(chunks) => put(&mut meta, "verified", "verified", &chunks.ranges())?,
                None => drop(meta.remove("verified")?),
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Where the checkpoint is that the job reads, if it reads one.
    ///
    /// # Errors
    /// The record is damaged.
    pub fn checkpoint(&self) -> Result<Option<PathBuf>, JournalError> {
        let path: Option<Vec<u8>> = self.optional("checkpoint")?;
        Ok(path.map(|path| PathBuf::from(std::ffi::OsString::from_vec(path))))
    }

    /// Remembers where the checkpoint is; none once there is none. No part of the state: a job that has lost its checkpoint
    /// goes on with another one, or with the source.
    ///
    /// # Errors
    /// redb could not write or sync.
    pub fn set_checkpoint(&self, path: Option<&Path>) -> Result<(), JournalError> {
        let transaction = write(&self.database)?;
        {
            let mut meta = transaction.open_table(META)?;
            match path {
                Some(path) => put(&mut meta, "checkpoint", "checkpoint", &path.as_os_str().as_bytes().to_vec())?,
                None => drop(meta.remove("checkpoint")?),
            }
        }
        transaction.commit()?;
        Ok(())
    }
}
