//! The write-ahead logs before they are replayed: that they are whole, and that nothing is missing between the tables and them,
//! and between one and the next. RocksDB checks neither.

use super::{
    RocksError,
    log::{End, walk},
    manifest::Numbers,
};
use crate::source::lsm::listing::number;
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// The logs that count, in order: number, file, bytes.
///
/// # Errors
/// The directory could not be read.
pub fn list(directory: &Path, from: u64) -> Result<Vec<(u64, PathBuf, u64)>, RocksError> {
    let fail = |path: &Path| {
        let path = path.to_path_buf();
        move |source| RocksError::Io { path, source }
    };
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail(directory))? {
        let path = entry.map_err(fail(directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_suffix(".log").and_then(number);
        if let Some(number) = number.filter(|number| *number >= from) {
            let bytes = path.metadata().map_err(fail(&path))?.len();
            logs.push((number, path, bytes));
        }
    }
    logs.sort();
    Ok(logs)
}

/// Walks over them.
///
/// # Errors
/// Those of [`Chain::follow`].
pub fn check(logs: &[(u64, PathBuf, u64)], numbers: Numbers) -> Result<(), RocksError> {
    let mut chain = Chain::new(numbers);
    for (number, path, _) in logs {
        let file = File::open(path).map_err(|source| RocksError::Io { path: path.clone(), source })?;
        chain.follow(path, *number, file)?;
    }
    Ok(())
}

/// Logs that follow each other, and what the tables have before them.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The log that ends inside a record, and where that begins.
    torn: Option<(PathBuf, u64)>,
    /// Up to which sequence number there is everything.
    have: u64,
    /// Nothing is known of what is in one of them, so nothing can be said of what follows.
    opaque: bool,
}

impl Chain {
    /// Before the first log.
    #[must_use]
    pub fn new(numbers: Numbers) -> Chain {
        Chain { torn: None, have: numbers.sequence, opaque: false }
    }

    /// Up to which sequence number there is everything, as far as it can be told.
    #[must_use]
    pub fn have(&self) -> u64 {
        self.have
    }

    /// Walks over the next log.
    ///
    /// # Errors
    /// Damage; a log before it that ends inside a record though this one has more; sequence numbers that nobody has.
    pub fn follow(&mut self, path: &Path, number: u64, log: impl Read) -> Result<(), RocksError> {
        if self.opaque {
            return Ok(());
        }
        let corrupt = |what| RocksError::Corrupt { path: path.to_path_buf(), what };
        let end = walk(path, number, log, |offset, begin| {
            if let Some((path, offset)) = &self.torn {
                let what = format!("it ends inside the record at byte {offset}, and a later log goes on");
                return Err(RocksError::Corrupt { path: path.clone(), what });
            }
            // A batch: its first sequence number (8), how many it takes (4).
            let batch =
                begin.split_first_chunk::<8>().and_then(|(first, rest)| Some((first, rest.first_chunk::<4>()?)));
            let Some((first, count)) = batch else {
                return Err(corrupt(format!("byte {offset}: a record is too short for a batch")));
            };
            let (first, count) = (u64::from_le_bytes(*first), u64::from(u32::from_le_bytes(*count)));
            if first > self.have.saturating_add(1) {
                return Err(corrupt(format!(
                    "byte {offset}: changes {} to {} are nowhere: a log is missing, or the manifest is older than the logs",
                    self.have.saturating_add(1),
                    first - 1
                )));
            }
            self.have = self.have.max(first.saturating_add(count).saturating_sub(1));
            Ok(())
        })?;
        match end {
            End::Whole => {}
            End::Torn(offset) => self.torn = Some((path.to_path_buf(), offset)),
            End::Opaque => self.opaque = true,
        }
        Ok(())
    }
}
