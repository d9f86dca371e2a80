//! Owns the fields that bring in tables with sequence numbers and further fields: RocksDB's, some of which Pebble has too. Hands
//! the tables to the engines' own fields.

use super::bytes::Fields;
use super::edit::{AddedTable, internal_key, level};
use super::error::Malformed;

/// Tag of a table with the number of its directory.
pub const WITH_PATH: u64 = 102;
/// Tag of a table with further fields.
pub const WITH_MORE: u64 = 103;
/// Tag of a table with further fields and range keys (Pebble).
pub const WITH_RANGE_KEYS: u64 = 104;

/// Whether a table with range keys has others too, by which its bounds are given as well.
const HAS_POINTS: u8 = 1;

/// Takes the rest of a field that brings in a table.
///
/// # Errors
/// Cut fields; a table in another directory; something that no reader may pass over.
pub fn table(tag: u64, fields: &mut Fields<'_>) -> Result<AddedTable, Malformed> {
    let (level, number) = (level(fields)?, fields.uvarint()?);
    let at = fields.at();
    if tag == WITH_PATH && fields.uvarint()? != 0 {
        return Err(Malformed::new(at, "tables lie in another directory"));
    }
    let size = fields.uvarint()?;
    let mut bounds = None;
    let (mut unreadable, mut part_of) = (None, None);
    if tag == WITH_RANGE_KEYS {
        unreadable = Some("a table with range keys");
        if fields.byte()? & HAS_POINTS != 0 {
            bounds = Some((internal_key(fields)?, internal_key(fields)?));
        }
    }
    let next = (internal_key(fields)?, internal_key(fields)?);
    let (smallest, largest) = bounds.unwrap_or(next);
    let sequences = Some((fields.uvarint()?, fields.uvarint()?));
    if tag >= WITH_MORE {
        part_of = further(fields)?;
    }
    if part_of.is_some() {
        unreadable = Some("a virtual table, which is a part of another file");
    }
    let file = part_of.unwrap_or(number);
    Ok(AddedTable { level, number, file, size, smallest, largest, sequences, unreadable })
}

/// Takes a table's further fields, and says of which file it is a part.
fn further(fields: &mut Fields<'_>) -> Result<Option<u64>, Malformed> {
    const END: u64 = 1;
    const VIRTUAL: u64 = 66;
    /// Readers that do not know a field with this bit may not go on.
    const NEEDED: u64 = 1 << 6;
    let mut part_of = None;
    loop {
        let at = fields.at();
        match fields.uvarint()? {
            END => return Ok(part_of),
            VIRTUAL => part_of = Some(fields.uvarint()?),
            field if field & NEEDED != 0 => {
                return Err(Malformed::new(at, "a table in the manifest has a field that is not known and needed"));
            }
            _ => {
                fields.prefixed()?;
            }
        }
    }
}
