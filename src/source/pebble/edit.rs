//! Owns the manifest fields that LevelDB does not have: tables with sequence numbers and further fields (RocksDB's 100, 102,
//! 103), tables with range keys (104), and files that virtual tables are parts of (105, 106).

use crate::source::lsm::{
    Malformed,
    bytes::Fields,
    edit::{AddedTable, Edit, internal_key, level},
};

/// Whether a table with range keys has others too, by which its bounds are given as well.
const HAS_POINTS: u8 = 1;

/// Takes the rest of a field that is not LevelDB's.
pub(super) fn own_tags(tag: u64, fields: &mut Fields<'_>, edit: &mut Edit) -> Result<(), Malformed> {
    match tag {
        100 | 102 | 103 | 104 => edit.added.push(table(tag, fields)?),
        // Only virtual tables need the files they are parts of, and a live virtual table is refused.
        105 => {
            fields.uvarint()?;
            fields.uvarint()?;
        }
        106 => {
            fields.uvarint()?;
        }
        200..=203 => return Err(Malformed::new(0, "a manifest field for column families, which Pebble does not have")),
        _ => return Err(Malformed::new(0, "unknown manifest field")),
    }
    Ok(())
}

fn table(tag: u64, fields: &mut Fields<'_>) -> Result<AddedTable, Malformed> {
    let (level, number) = (level(fields)?, fields.uvarint()?);
    if tag == 102 {
        // A path, of no use.
        fields.uvarint()?;
    }
    let size = fields.uvarint()?;
    let mut bounds = None;
    let mut unreadable = None;
    if tag == 104 {
        unreadable = Some("a table with range keys");
        if fields.byte()? & HAS_POINTS != 0 {
            bounds = Some((internal_key(fields)?, internal_key(fields)?));
        }
    }
    let next = (internal_key(fields)?, internal_key(fields)?);
    let (smallest, largest) = bounds.unwrap_or(next);
    let sequences = Some((fields.uvarint()?, fields.uvarint()?));
    if tag >= 103 {
        unreadable = further(fields)?.or(unreadable);
    }
    Ok(AddedTable { level, number, size, smallest, largest, sequences, unreadable })
}

/// Takes a table's further fields, and says if one of them makes it unreadable.
fn further(fields: &mut Fields<'_>) -> Result<Option<&'static str>, Malformed> {
    const END: u64 = 1;
    const VIRTUAL: u64 = 66;
    /// Readers that do not know a field with this bit may not go on.
    const NEEDED: u64 = 1 << 6;
    let mut unreadable = None;
    loop {
        let at = fields.at();
        match fields.uvarint()? {
            END => return Ok(unreadable),
            VIRTUAL => {
                fields.uvarint()?;
                unreadable = Some("a virtual table, which is a part of another file");
            }
            field if field & NEEDED != 0 => {
                return Err(Malformed::new(at, "a table in the manifest has a field that is not known and needed"));
            }
            _ => {
                fields.prefixed()?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::source::{lsm::edit::decode, pebble::DIALECT};

    const BOUNDS: &[u8] = b"\x08aaaaaaaa\x09bbbbbbbbb";

    #[test]
    fn tables_of_every_form_are_understood_and_strange_fields_refused() {
        let field = |before: &[u8], after: &[u8]| [before, BOUNDS, after].concat();
        let good = [
            (field(b"\x64\x02\x0a\x0b", b"\x05\x07"), None),
            (field(b"\x66\x02\x0a\x00\x0b", b"\x05\x07"), None),
            (field(b"\x67\x02\x0a\x0b", b"\x05\x07\x06\x01\x09\x02\x01\x01\x01"), None),
            (field(b"\x67\x02\x0a\x0b", b"\x05\x07\x42\x03\x01"), Some("virtual")),
            (field(b"\x68\x02\x0a\x0b\x00", b"\x05\x07\x01"), Some("range keys")),
            (
                [&b"\x68\x02\x0a\x0b\x01"[..], BOUNDS, &BOUNDS.to_ascii_uppercase(), b"\x05\x07\x01"].concat(),
                Some("range keys"),
            ),
        ];
        for (bytes, unreadable) in good {
            let edit = decode(&bytes, DIALECT.own_tags).unwrap();
            let table = &edit.added[0];
            assert_eq!((table.level, table.number, table.size), (2, 10, 11));
            assert_eq!((&table.smallest[..], &table.largest[..]), (&b"aaaaaaaa"[..], &b"bbbbbbbbb"[..]));
            assert_eq!(table.sequences, Some((5, 7)));
            assert_eq!(table.unreadable.is_some(), unreadable.is_some());
            assert!(table.unreadable.unwrap_or_default().contains(unreadable.unwrap_or_default()));
            for cut in 1..bytes.len() {
                assert!(decode(&bytes[..cut], DIALECT.own_tags).is_err(), "{cut} of {bytes:?}");
            }
        }
        let edit = decode(b"\x69\x05\x06\x6a\x05\x02\x09", DIALECT.own_tags).unwrap();
        assert_eq!(edit.journal, Some(9));
        for bad in [
            field(b"\x67\x02\x0a\x0b", b"\x05\x07\x41\x00\x01"),
            field(b"\x67\x02\x0a\x0b", b"\x05\x07\x47\x00\x01"),
            b"\xc8\x01\x01".to_vec(),
            b"\x0a\x01".to_vec(),
            b"\x81\x40\x01\x01".to_vec(),
            b"\x6b\x01".to_vec(),
        ] {
            assert!(decode(&bad, DIALECT.own_tags).is_err(), "{bad:?}");
        }
    }
}
