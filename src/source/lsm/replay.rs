//! Owns reading of whole log files into memory: the manifest and the live `NNNNNN.log`
//! files. Hands the sorted memory table to the database.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::batch;
use super::dialect::Dialect;
use super::error::LsmError;
use super::log::{Record, Records};
use super::memory::Memory;

/// Most that all live logs together may take in memory, in bytes.
pub(crate) const MAX_LOGS: u64 = 1 << 30;
/// Largest manifest read, in bytes.
pub(crate) const MAX_MANIFEST: u64 = 1 << 30;

/// Reads a file whole, refusing more than `limit` bytes.
pub(crate) fn read_whole(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, LsmError> {
    let fail = |e| LsmError::io(path, e);
    let file = File::open(path).map_err(fail)?;
    let bytes = file.metadata().map_err(fail)?.len();
    if bytes > limit {
        return Err(LsmError::TooLarge { path: path.to_path_buf(), what, bytes, limit });
    }
    let mut data = Vec::with_capacity(bytes as usize);
    // A live log grows while it is read: what was there at first is enough.
    file.take(bytes).read_to_end(&mut data).map_err(fail)?;
    Ok(data)
}

/// What the live logs held.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) memory: Memory,
    /// Log whose last record was never finished, and where that begins.
    pub(crate) torn: Option<(PathBuf, u64)>,
}

/// The logs to replay.
#[derive(Debug)]
pub(crate) struct Logs<'a> {
    /// In ascending order of number.
    pub(crate) files: Vec<(&'a u64, &'a PathBuf)>,
    pub(crate) dialect: &'a Dialect,
    /// Sequence number up to which the manifest knows of all changes.
    pub(crate) last_sequence: u64,
}

/// Sequence numbers below this are no change's, in engines that recycle logs.
const FIRST_SEQUENCE: u64 = 10;

/// Replays logs.
///
/// # Errors
/// Damage anywhere; a torn end too, unless no later log has a record; changes that are in no log though an older and a newer
/// one are. More than `limit` bytes of entries.
pub(crate) fn replay(logs: &Logs<'_>, limit: u64) -> Result<Replayed, LsmError> {
    let mut replayed = Replayed::default();
    let mut payload = Vec::new();
    let known = logs.last_sequence.saturating_add(1).max(FIRST_SEQUENCE);
    let mut expected = known;
    for (number, path) in &logs.files {
        let left = limit.saturating_sub(replayed.memory.bytes());
        let data = read_whole(path, "write-ahead log", left)?;
        let mut records = match logs.dialect.recycles_logs {
            true => Records::recycled(&data, **number),
            false => Records::new(&data),
        };
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
            let decoded = batch::decode(&payload, logs.dialect.forms, |op| {
                // Two bytes of log can become 32 of memory: stop in time.
                if memory.bytes() <= limit {
                    memory.push(op.sequence, op.key, op.value);
                }
            });
            let (first, end) = decoded.map_err(|fault| fault.in_record(path, offset))?;
            // What the manifest does not know of has to be in the logs without a gap.
            if logs.dialect.recycles_logs && first > expected {
                let what =
                    format!("change {first} follows, but change {expected} is in no log: one is missing or cut short");
                return Err(LsmError::corrupt(path, offset, what));
            }
            expected = end.max(known);
            if memory.bytes() > limit {
                return Err(LsmError::TooLarge {
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
    fn not_torn_yet(&self) -> Result<(), LsmError> {
        match &self.torn {
            None => Ok(()),
            Some((path, offset)) => {
                let what = "the log ends inside a record, though a later log goes on";
                Err(LsmError::corrupt(path, *offset, what))
            }
        }
    }
}
