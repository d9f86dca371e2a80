//! Owns the manifest fields that LevelDB does not have: tables with sequence numbers and further fields (RocksDB's 100, 102,
//! 103), tables with range keys (104), and files that virtual tables are parts of (105, 106).

use crate::source::lsm::{
    Malformed,
    added::{WITH_MORE, WITH_PATH, WITH_RANGE_KEYS, table},
    bytes::Fields,
    edit::Edit,
};

/// Takes the rest of a field that is not LevelDB's.
pub(super) fn own_tags(tag: u64, fields: &mut Fields<'_>, edit: &mut Edit) -> Result<(), Malformed> {
    match tag {
        100 | WITH_PATH | WITH_MORE | WITH_RANGE_KEYS => edit.added.push(table(tag, fields)?),
        105 => edit.files.push((fields.uvarint()?, fields.uvarint()?)),
        106 => drop(fields.uvarint()?),
        200..=203 => return Err(Malformed::new(0, "a manifest field for column families, which Pebble does not have")),
        _ => return Err(Malformed::new(0, "unknown manifest field")),
    }
    Ok(())
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
            assert_eq!(table.file, if unreadable == Some("virtual") { 3 } else { 10 });
            assert_eq!((&table.smallest[..], &table.largest[..]), (&b"aaaaaaaa"[..], &b"bbbbbbbbb"[..]));
            assert_eq!(table.sequences, Some((5, 7)));
            assert_eq!(table.unreadable.is_some(), unreadable.is_some());
            assert!(table.unreadable.unwrap_or_default().contains(unreadable.unwrap_or_default()));
            for cut in 1..bytes.len() {
                assert!(decode(&bytes[..cut], DIALECT.own_tags).is_err(), "{cut} of {bytes:?}");
            }
        }
        let edit = decode(b"\x69\x05\x06\x6a\x05\x02\x09", DIALECT.own_tags).unwrap();
        assert_eq!((edit.journal, &edit.files[..]), (Some(9), &[(5, 6)][..]));
        for bad in [
            field(b"\x66\x02\x0a\x01\x0b", b"\x05\x07"),
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
