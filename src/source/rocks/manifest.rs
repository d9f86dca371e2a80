//! What the manifest says of the logs: from which number on they count, and which sequence number is in tables at least.
//!
//! Source: RocksDB's `db/version_edit.h`. An edit begins with its numbers, each behind a tag; files follow, which RocksDB reads.

use super::{
    RocksError,
    log::{End, walk},
};
use crate::iavl::varint::Fields;
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// The manifest's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Logs below this number are not replayed.
    pub log: u64,
    /// The last sequence number when the manifest was written last.
    pub sequence: u64,
}

/// Reads the manifest that `CURRENT` names.
///
/// # Errors
/// A file is missing or could not be read; and those of [`numbers`].
pub fn read(directory: &Path) -> Result<Numbers, RocksError> {
    let path = current(directory)?;
    let file = File::open(&path).map_err(|source| RocksError::Io { path: path.clone(), source })?;
    numbers(&path, file)
}

/// Reads a manifest.
///
/// # Errors
/// Damage, also if it looks like an end: a part of the manifest is an older set of tables.
pub fn numbers(path: &Path, manifest: impl Read) -> Result<Numbers, RocksError> {
    let mut numbers = Numbers::default();
    let end = walk(path, 0, manifest, |_, edit| {
        scalars(edit, &mut numbers);
        Ok(())
    })?;
    match end {
        End::Torn(offset) => Err(RocksError::Corrupt {
            path: path.to_path_buf(),
            what: format!(
                "it ends inside the record at byte {offset}: its writer was cut off there, or it is damaged. A good copy, or a \
                 node that is started once and stopped, has a whole one"
            ),
        }),
        End::Whole | End::Opaque => Ok(numbers),
    }
}

fn current(directory: &Path) -> Result<PathBuf, RocksError> {
    let path = directory.join("CURRENT");
    let content = std::fs::read(&path).map_err(|source| RocksError::Io { path: path.clone(), source })?;
    match named(&content) {
        Some(name) if directory.join(name).exists() => Ok(directory.join(name)),
        Some(name) => Err(RocksError::Corrupt {
            path: directory.join(name),
            what: "it is missing, and CURRENT names it".to_owned(),
        }),
        None => Err(RocksError::Corrupt { path, what: "it names no manifest".to_owned() }),
    }
}

/// The name of a manifest that is the content of `CURRENT`.
#[must_use]
pub fn named(current: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(current).ok()?.strip_suffix('\n')?;
    (name.starts_with("MANIFEST-") && !name.contains('/')).then_some(name)
}

/// The numbers at the begin of an edit; `None` where it goes on with something else.
fn scalars(edit: &[u8], numbers: &mut Numbers) -> Option<()> {
    let mut fields = Fields::new(edit);
    loop {
        match fields.uv()? {
            // The comparator's name, the database's identity and what else older releases may skip.
            1 | 8192.. => drop(fields.bytes()?),
            2 => numbers.log = numbers.log.max(fields.uv()?),
            4 => numbers.sequence = numbers.sequence.max(fields.uv()?),
            3 | 9 | 10 | 203 => drop(fields.uv()?),
            _ => return None,
        }
    }
}
