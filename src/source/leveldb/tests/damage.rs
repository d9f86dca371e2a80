//! Flipped bytes in every kind of block, hostile lengths, broken tables.

use std::fs;
use std::path::Path;

use super::writer::{self, Entry, put, seal, sum};
use crate::source::leveldb::open;
use crate::source::lsm::block::{Block, Spot};
use crate::source::lsm::unpack::unpack;
use crate::source::lsm::{Database, LsmError, Options};

fn write(dir: &Path, bytes: &[u8], entries: &[Entry]) {
    fs::write(dir.join("000003.ldb"), bytes).unwrap();
    let head = writer::head(b"leveldb.BytewiseComparator", 100, 50);
    let ends = [&entries[0].0[..], &entries[entries.len() - 1].0];
    writer::manifest(dir, &[head, writer::added(1, 3, bytes.len(), ends)]);
}

fn scan(db: &Database) -> Result<usize, LsmError> {
    let (mut iter, mut n) = (db.iter(b"", None), 0);
    while iter.next()?.is_some() {
        n += 1;
    }
    Ok(n)
}

#[test]
fn a_flipped_byte_in_any_kind_of_block_is_an_error_naming_file_and_offset() {
    let entries: Vec<Entry> = (0..60u8).map(|n| put(&[b'k', n], 1, &[n; 90])).collect();
    for snappy in [false, true] {
        let (good, layout) = writer::table(&entries, 20, snappy);
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &good, &entries);
        let db = open(dir.path(), Options::default()).unwrap();
        assert_eq!(scan(&db).unwrap(), 60);
        let blocks = [&layout.data[1], &layout.filter, &layout.metaindex, &layout.index];
        for block in blocks {
            for at in block.clone() {
                let mut bad = good.clone();
                bad[at] ^= 4;
                write(dir.path(), &bad, &entries);
                let db = open(dir.path(), Options::default()).unwrap();
                for error in [scan(&db).unwrap_err(), db.get(b"k\x1e").unwrap_err()] {
                    let LsmError::Corrupt { path, offset, .. } = &error else {
                        panic!("{error}");
                    };
                    assert!(path.ends_with("000003.ldb"));
                    assert!(block.contains(&(*offset as usize)), "{at} {error}");
                }
            }
        }
        for at in good.len() - 8..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 4;
            write(dir.path(), &bad, &entries);
            let db = open(dir.path(), Options::default()).unwrap();
            assert!(scan(&db).is_err());
        }
    }
}

#[test]
fn a_cursor_recovers_after_a_damaged_block() {
    let entries: Vec<Entry> = (0..60u8).map(|n| put(&[n], 1, &[n; 90])).collect();
    let (mut bad, layout) = writer::table(&entries, 20, true);
    bad[layout.data[1].start + 3] ^= 1;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &bad, &entries);
    let db = open(dir.path(), Options::default()).unwrap();
    let mut cursor = db.cursor();
    for n in [5u8, 25, 45, 26, 6, 39, 40, 20, 19] {
        let mut out = Vec::new();
        let read = cursor.read_into(&[n], &mut out);
        match (20..40).contains(&n) {
            true => assert!(read.is_err(), "{n}"),
            false => assert!(read.unwrap() && out == [n; 90], "{n}"),
        }
    }
}

#[test]
fn a_claimed_size_beyond_what_snappy_can_reach_is_refused_before_allocation() {
    let mut plain = Vec::new();
    for claim in [1u64 << 20, 0xffff_ffff] {
        let mut contents = Vec::new();
        writer::varint(claim, &mut contents);
        contents.extend([0, b'x', 1]);
        assert!(unpack(&sum(contents), &mut plain, writer::PACKING).is_err());
        assert!(plain.capacity() < 1000);
    }
    let zeros = vec![0; 3 << 20];
    unpack(&seal(&zeros, true), &mut plain, writer::PACKING).unwrap();
    assert_eq!(plain, zeros);
    assert!(unpack(&sum(vec![1, 2, 3, 2]), &mut plain, writer::PACKING).is_err());
    assert!(unpack(&sum(vec![]), &mut plain, writer::PACKING).is_err());
    assert!(unpack(&[], &mut plain, writer::PACKING).is_err());
}

#[test]
fn blocks_with_impossible_entries_are_refused() {
    let entry = |bytes: &[u8]| [bytes, &0u32.to_le_bytes(), &1u32.to_le_bytes()].concat();
    let mut key = b"\x00\x09\x01k12345678v".to_vec();
    let mut spot = Spot::default();
    let good = Block::new(entry(&key)).unwrap();
    assert!(good.step(&mut spot).unwrap() && good.value(&spot) == b"v");
    for (at, byte) in [(0, 1), (1, 3), (1, 0x7f), (2, 9), (2, 0xff), (1, 0x80)] {
        let was = std::mem::replace(&mut key[at], byte);
        let block = Block::new(entry(&key)).unwrap();
        spot.reset();
        assert!(block.step(&mut spot).is_err(), "{at} {byte}");
        assert!(block.seek(&mut spot, b"k", None).is_err(), "{at} {byte}");
        key[at] = was;
    }
    assert!(Block::new(vec![]).is_err());
    assert!(Block::new(vec![0xff; 8]).is_err());
    assert!(Block::new(vec![1, 2, 3, 4, 0, 0, 0, 0]).is_err());
    let mut restart = entry(&key);
    let at = restart.len() - 8;
    restart[at] = 200;
    assert!(Block::new(restart).unwrap().seek(&mut spot, b"k", None).is_err());
}

#[test]
fn a_table_shorter_than_the_manifest_says_is_refused_when_opening() {
    let entries = [put(b"a", 1, b"1")];
    let (bytes, _) = writer::table(&entries, 7, true);
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &bytes, &entries);
    fs::write(dir.path().join("000003.ldb"), &bytes[..bytes.len() - 1]).unwrap();
    let error = open(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(error, LsmError::Corrupt { .. }), "{error}");
    fs::remove_file(dir.path().join("000003.ldb")).unwrap();
    let error = open(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(error, LsmError::MissingFile { .. }), "{error}");
    assert!(error.to_string().contains("000003.ldb"));
}
