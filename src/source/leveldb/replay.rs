//! Owns reading of whole log files into memory: the manifest and the live `NNNNNN.log`
//! files. Hands the sorted memory table to the database.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::batch;
use super::error::LeveldbError;
use super::journal::{Record, Records};
use super::memory::Memory;

/// Most that all live logs together may take in memory, in bytes.
pub(super) const MAX_LOGS: u64 = 1 << 30;
/// Largest manifest read, in bytes.
pub(super) const MAX_MANIFEST: u64 = 1 << 30;

/// Reads a file whole, refusing more than `limit` bytes.
pub(super) fn read_whole(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, LeveldbError> {
    let fail = |e| LeveldbError::io(path, e);
    let file = File::open(path).map_err(fail)?;
    let bytes = file.metadata().map_err(fail)?.len();
    if bytes > limit {
        return Err(LeveldbError::TooLarge { path: path.to_path_buf(), what, bytes, limit });
    }
    let mut data = Vec::with_capacity(bytes as usize);
    // A live log grows while it is read: what was there at first is enough.
    file.take(bytes).read_to_end(&mut data).map_err(fail)?;
    Ok(data)
}

/// What the live logs held.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) memory: Memory,
    /// Log whose last record was never finished, and where that begins.
    pub(super) torn: Option<(PathBuf, u64)>,
}

/// Replays logs given in ascending order of number.
///
/// # Errors
/// Damage anywhere; a torn end too, unless no later log has a record. More than `limit`
/// bytes of entries.
pub(super) fn replay(logs: &[&PathBuf], limit: u64) -> Result<Replayed, LeveldbError> {
    let mut replayed = Replayed::default();
    let mut payload = Vec::new();
    for path in logs {
        let left = limit.saturating_sub(replayed.memory.bytes());
        let data = read_whole(path, "write-ahead log", left)?;
        let mut records = Records::new(&data);
        loop {
            let record = records.next_into(&mut payload);
            let offset = match record.map_err(|e| e.within(path, 0))? {
                Record::Whole { offset } => offset as u64,
                Record::Torn { offset } => {
                    replayed.not_torn_yet()?;
                    replayed.torn = Some((path.to_path_buf(), offset as u64));
                    break;
                }
                Record::End => break,
            };
            replayed.not_torn_yet()?;
            let memory = &mut replayed.memory;
            let decoded = batch::decode(&payload, |op| {
                // Two bytes of log can become 32 of memory: stop in time.
                if memory.bytes() <= limit {
                    memory.push(op.sequence, op.key, op.value);
                }
            });
            decoded.map_err(|e| {
                let what = format!("{} (byte {} of the record)", e.what, e.at);
                LeveldbError::corrupt(path, offset, what)
            })?;
            if memory.bytes() > limit {
                return Err(LeveldbError::TooLarge {
                    path: path.to_path_buf(),
                    what: "log entries",
                    bytes: memory.bytes(),
                    limit,
                });
            }
        }
    }
    replayed.memory.sort();
    Ok(replayed)
}

impl Replayed {
    /// A record after a torn one means that the torn one was no crash's last write.
    fn not_torn_yet(&self) -> Result<(), LeveldbError> {
        match &self.torn {
            None => Ok(()),
            Some((path, offset)) => {
                let what = "the log ends inside a record, though a later log goes on";
                Err(LeveldbError::corrupt(path, *offset, what))
            }
        }
    }
}
