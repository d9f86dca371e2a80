//! The write-ahead logs before they are replayed: that they are whole, and that nothing is missing between the tables and them,
//! and between one and the next. RocksDB checks neither.

use super::{
    RocksError,
    log::{End, walk},
    manifest::Numbers,
};
use std::path::{Path, PathBuf};

/// The logs that count, in order: number, file, bytes.
pub(super) fn list(directory: &Path, from: u64) -> Result<Vec<(u64, PathBuf, u64)>, RocksError> {
    let fail = |path: &Path| {
        let path = path.to_path_buf();
        move |source| RocksError::Io { path, source }
    };
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail(directory))? {
        let path = entry.map_err(fail(directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_suffix(".log").and_then(|number| number.parse().ok());
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
/// Damage; a log that ends inside a record though a later one has more; sequence numbers that nobody has.
pub(super) fn check(logs: &[(u64, PathBuf, u64)], numbers: Numbers) -> Result<(), RocksError> {
    let mut torn: Option<(&Path, u64)> = None;
    // Up to which sequence number there is everything.
    let mut have = numbers.sequence;
    for (number, path, _) in logs {
        let corrupt = |what| RocksError::Corrupt { path: path.clone(), what };
        let end = walk(path, *number, |offset, begin| {
            // A batch: its first sequence number (8), how many it takes (4).
            let (Some((first, rest)), true) = (begin.split_first_chunk::<8>(), torn.is_none()) else {
                return Err(match torn {
                    Some((path, offset)) => {
                        let what = format!("it ends inside the record at byte {offset}, and a later log goes on");
                        RocksError::Corrupt { path: path.to_path_buf(), what }
                    }
                    None => corrupt(format!("byte {offset}: a record is too short for a batch")),
                });
            };
            let Some(count) = rest.first_chunk::<4>() else {
                return Err(corrupt(format!("byte {offset}: a record is too short for a batch")));
            };
            let (first, count) = (u64::from_le_bytes(*first), u64::from(u32::from_le_bytes(*count)));
            if first > have.saturating_add(1) {
                return Err(corrupt(format!(
                    "byte {offset}: changes {} to {} are nowhere: a log is missing, or the manifest is older than the logs",
                    have.saturating_add(1),
                    first - 1
                )));
            }
            have = have.max(first.saturating_add(count).saturating_sub(1));
            Ok(())
        })?;
        match end {
            End::Whole => {}
            End::Torn(offset) => torn = Some((path, offset)),
            // Nothing is known of what is in it, so nothing can be said of what follows.
            End::Opaque => return Ok(()),
        }
    }
    Ok(())
}
