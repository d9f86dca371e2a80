//! The fields of RocksDB's manifests that LevelDB does not have, as far as a node's database has them. What the directory of one
//! node does not hold is refused. Source: RocksDB's `db/version_edit.h`.

use crate::source::lsm::{
    Malformed,
    added::{WITH_MORE, WITH_PATH, table},
    bytes::Fields,
    edit::Edit,
};

/// A field whose tag has this bit may be passed over.
const IGNORABLE: u64 = 1 << 13;

/// Takes the rest of a field that is not LevelDB's.
///
/// # Errors
/// Cut fields; column families, blob files, tables in other directories; what a later release has and needs.
pub fn own_tags(tag: u64, fields: &mut Fields<'_>, edit: &mut Edit) -> Result<(), Malformed> {
    let at = fields.at();
    match tag {
        100 | WITH_PATH | WITH_MORE => match table(tag, fields)? {
            table if table.file == table.number => edit.added.push(table),
            _ => return Err(Malformed::new(at, "a table has a field of a later release")),
        },
        10 | 203 | 300 => drop(fields.uvarint()?),
        200 if fields.uvarint()? == 0 => {}
        200..=202 => return Err(Malformed::new(at, "has column families, and a node's database has none")),
        400 | 401 => return Err(Malformed::new(at, "has blob files, and a node's database has none")),
        tag if tag & IGNORABLE != 0 => drop(fields.prefixed()?),
        _ => return Err(Malformed::new(at, "a manifest field of another engine, or of a later release")),
    }
    Ok(())
}
