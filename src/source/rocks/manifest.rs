//! What the manifest says of the logs: from which number on they count, and which sequence number is in tables at least.
//!
//! Source: RocksDB's `db/version_edit.h`. An edit begins with its numbers, each behind a tag; files follow, which RocksDB reads.

use super::{
    RocksError,
    log::{End, walk},
};
use crate::iavl::varint::Fields;
use std::path::{Path, PathBuf};

/// The manifest's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Logs below this number are not replayed.
    pub(super) log: u64,
    /// The last sequence number when the manifest was written last.
    pub(super) sequence: u64,
}

/// Reads the manifest that `CURRENT` names.
pub(super) fn read(directory: &Path) -> Result<Numbers, RocksError> {
    let path = current(directory)?;
    let mut numbers = Numbers::default();
    let end = walk(&path, 0, |_, edit| {
        scalars(edit, &mut numbers);
        Ok(())
    })?;
    match end {
        End::Torn(offset) => Err(RocksError::Corrupt {
            path,
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
    let named = std::fs::read(&path).map_err(|source| RocksError::Io { path: path.clone(), source })?;
    let name = std::str::from_utf8(&named).ok().and_then(|name| name.strip_suffix('\n'));
    match name.filter(|name| name.starts_with("MANIFEST-") && !name.contains('/')) {
        Some(name) if directory.join(name).exists() => Ok(directory.join(name)),
        Some(name) => Err(RocksError::Corrupt {
            path: directory.join(name),
            what: "it is missing, and CURRENT names it".to_owned(),
        }),
        None => Err(RocksError::Corrupt { path, what: "it names no manifest".to_owned() }),
    }
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
