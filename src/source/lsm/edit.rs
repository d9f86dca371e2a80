//! Owns one record of a MANIFEST (a version edit: tagged fields). Hands the decoded
//! edit to the version, which adds up all of them.

use super::bytes::Fields;
use super::error::Malformed;
use super::key::TRAILER;

/// Fields of one record; absent ones are `None` or empty.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Tag 1.
    pub comparator: Option<Vec<u8>>,
    /// Tag 2: logs with lower numbers are in tables already.
    pub journal: Option<u64>,
    /// Tag 3.
    pub next_file: Option<u64>,
    /// Tag 4.
    pub last_sequence: Option<u64>,
    /// Tag 9: one older log which still counts.
    pub previous_journal: Option<u64>,
    /// Tag 6: level and table number.
    pub deleted: Vec<(u32, u64)>,
    /// Tag 7, and those of other engines.
    pub added: Vec<AddedTable>,
    /// Files that tables are parts of, where the engine has such, and their bytes.
    pub files: Vec<(u64, u64)>,
}

/// A table which an edit brings into a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedTable {
    /// Level, 0 the newest.
    pub level: u32,
    /// Its number.
    pub number: u64,
    /// The number in the file's name: another one where the table is a part of a file.
    pub file: u64,
    /// File size in bytes.
    pub size: u64,
    /// First internal key.
    pub smallest: Vec<u8>,
    /// Last internal key.
    pub largest: Vec<u8>,
    /// Smallest and largest sequence number of its entries, where the engine notes them.
    pub sequences: Option<(u64, u64)>,
    /// What the table has that no reader here understands.
    pub unreadable: Option<&'static str>,
}

/// Takes the rest of a field whose tag not every engine has.
///
/// # Errors
/// The engine has no such tag, or not with these contents.
pub type OwnTags = fn(u64, &mut Fields<'_>, &mut Edit) -> Result<(), Malformed>;

/// Decodes one MANIFEST record: LevelDB's tags here, all others by `own`.
///
/// # Errors
/// Cut fields, internal keys without trailer, and tags the engine does not have.
pub fn decode(payload: &[u8], own: OwnTags) -> Result<Edit, Malformed> {
    let mut fields = Fields::new(payload);
    let mut edit = Edit::default();
    while !fields.is_empty() {
        let at = fields.at();
        match fields.uvarint()? {
            1 => edit.comparator = Some(fields.prefixed()?.to_vec()),
            2 => edit.journal = Some(fields.uvarint()?),
            3 => edit.next_file = Some(fields.uvarint()?),
            4 => edit.last_sequence = Some(fields.uvarint()?),
            5 => {
                // Where the writer goes on compacting: of no use to a reader.
                level(&mut fields)?;
                fields.prefixed()?;
            }
            6 => {
                let level = level(&mut fields)?;
                edit.deleted.push((level, fields.uvarint()?));
            }
            7 => {
                let (level, number) = (level(&mut fields)?, fields.uvarint()?);
                edit.added.push(AddedTable {
                    level,
                    number,
                    file: number,
                    size: fields.uvarint()?,
                    smallest: internal_key(&mut fields)?,
                    largest: internal_key(&mut fields)?,
                    sequences: None,
                    unreadable: None,
                });
            }
            9 => edit.previous_journal = Some(fields.uvarint()?),
            tag => own(tag, &mut fields, &mut edit).map_err(|e| Malformed::new(e.at.max(at), e.what))?,
        }
    }
    Ok(edit)
}

/// A level.
///
/// # Errors
/// A number which no level has.
pub fn level(fields: &mut Fields<'_>) -> Result<u32, Malformed> {
    let at = fields.at();
    u32::try_from(fields.uvarint()?).map_err(|_| Malformed::new(at, "a level is out of range"))
}

/// The bound of a table.
///
/// # Errors
/// Too few bytes for an internal key.
pub fn internal_key(fields: &mut Fields<'_>) -> Result<Vec<u8>, Malformed> {
    let at = fields.at();
    let key = fields.prefixed()?;
    if key.len() < TRAILER {
        return Err(Malformed::new(at, "a table bound is too short for a key"));
    }
    Ok(key.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::leveldb::DIALECT;

    #[test]
    fn all_fields_of_leveldb_are_understood_and_others_refused() {
        let edit = decode(b"\x01\x01c\x02\x05\x03\x06\x04\x07\x05\x01\x02kk\x06\x01\x09\x07\x02\x0a\x0b\x08aaaaaaaa\x09bbbbbbbbb\x09\x04", DIALECT.own_tags).unwrap();
        assert_eq!(edit.comparator.as_deref(), Some(&b"c"[..]));
        assert_eq!((edit.journal, edit.next_file, edit.last_sequence), (Some(5), Some(6), Some(7)));
        assert_eq!(edit.previous_journal, Some(4));
        assert_eq!(edit.deleted, [(1, 9)]);
        let table = &edit.added[0];
        assert_eq!((table.level, table.number, table.size), (2, 10, 11));
        assert_eq!(table.smallest, b"aaaaaaaa");
        assert_eq!(table.largest, b"bbbbbbbbb");
        for bad in [
            &b"\x08"[..],
            b"\x67\x01",
            b"\x07\x00\x01\x01\x02ab\x02ab",
            b"\x06\xff\xff\xff\xff\xff\x01\x01",
            b"\x01\xff\xff\xff\x7fabc",
        ] {
            assert!(decode(bad, DIALECT.own_tags).is_err(), "{bad:?}");
        }
    }
}
