//! Footers of every kind of table, read and refused.

use std::fs;

use super::super::{FOOTER, footer::decode};
use super::{fixture, read};

fn footer(checksum: u8, version: u32, magic: &[u8]) -> Vec<u8> {
    let mut out = vec![checksum, 10, 20, 35, 4];
    out.resize(41, 0);
    out.extend(version.to_le_bytes());
    out.extend(magic);
    assert_eq!(out.len(), FOOTER);
    out
}

const ROCKSDB: &[u8] = b"\xf7\xcf\xf4\x85\xb7\x41\xe2\x88";
const PEBBLE: &[u8] = b"\xf0\x9f\xaa\xb3\xf0\x9f\xaa\xb3";

#[test]
fn every_table_format_of_pebble_1_is_known_and_others_are_refused_by_name() {
    for (version, magic) in [(2, ROCKSDB), (1, PEBBLE), (2, PEBBLE), (3, PEBBLE), (4, PEBBLE)] {
        for checksum in [1, 3] {
            let known = decode(&footer(checksum, version, magic), 97).unwrap();
            assert_eq!(
                (known.index.offset, known.limit, known.shape.prefixed.is_some()),
                (35, 44, magic == PEBBLE && version > 2)
            );
        }
    }
    for (checksum, version, magic, word) in [
        (1, 5, PEBBLE, "Pebblev5"),
        (1, 0, PEBBLE, "Pebblev0"),
        (1, 5, ROCKSDB, "format version 5"),
        (4, 2, ROCKSDB, "checksums are of type 4"),
        (0, 2, ROCKSDB, "checksums are of type 0"),
        (1, 2, b"nonsense", "magic number"),
    ] {
        let refused = decode(&footer(checksum, version, magic), 97).unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
    assert!(decode(&footer(1, 2, ROCKSDB), 96).is_err(), "a block that reaches into the footer");
    assert!(decode(&footer(1, 2, ROCKSDB)[1..], 96).is_err());
    assert!(decode(&[], 0).is_err());
}

#[test]
fn a_table_of_a_newer_format_is_refused_when_the_database_is_opened() {
    let dir = fixture();
    let path = dir.path().join("000010.sst");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 12;
    bytes.splice(at.., [&7u32.to_le_bytes()[..], PEBBLE].concat());
    fs::write(&path, bytes).unwrap();
    let error = read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("000010.sst") && error.contains("Pebblev7"), "{error}");
}
