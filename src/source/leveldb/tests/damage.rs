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

/// A table of three blocks without compression, whose second one was changed before it was summed up.
fn table_with_a_wrong_block(change: impl Fn(&mut [u8])) -> (tempfile::TempDir, std::ops::Range<usize>) {
    let entries: Vec<Entry> = (0..60u8).map(|n| put(&[b'k', n], 1, &[n; 90])).collect();
    let (mut bytes, layout) = writer::table(&entries, 20, false);
    let block = layout.data[1].clone();
    change(&mut bytes[block.clone()]);
    let sealed = sum(bytes[block.start..block.end - 4].to_vec());
    bytes[block.clone()].copy_from_slice(&sealed);
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &bytes, &entries);
    (dir, block)
}

fn assert_names(error: &LsmError, block: &std::ops::Range<usize>) {
    let LsmError::Corrupt { path, offset, .. } = error else { panic!("{error}") };
    assert!(path.ends_with("000003.ldb") && block.contains(&(*offset as usize)), "{error}");
}

#[test]
fn an_entry_that_cannot_be_is_an_error_however_it_is_come_to_though_the_checksum_holds() {
    // The sixth entry of the block says that it shares 127 bytes with a key of ten.
    const WRONG: u8 = 25;
    let (dir, block) = table_with_a_wrong_block(|block| block[103 + 4 * 102] = 0x7f);
    let db = open(dir.path(), Options::default()).unwrap();
    let mut iter = db.iter(b"", None);
    for n in 0..WRONG {
        assert_eq!(iter.next().unwrap(), Some((&[b'k', n][..], &[n; 90][..])));
    }
    assert_names(&iter.next().unwrap_err(), &block);
    assert_names(&db.iter(&[b'k', WRONG + 1], None).next().unwrap_err(), &block);
    for once in [false, true] {
        // One after the other, every second, and each by itself: by stepping and by searching.
        for stride in [1, 2, 60] {
            for first in 0..60u8 {
                let mut cursor = if once { db.cursor_once() } else { db.cursor() };
                for n in (first..60).step_by(stride) {
                    let mut out = Vec::new();
                    // Behind the next restart point all is well; the key that is there is searched for from before it.
                    match cursor.read_into(&[b'k', n], &mut out) {
                        Ok(found) => assert!(found && out == [n; 90] && !(WRONG..=36).contains(&n), "{first} {n}"),
                        Err(error) => {
                            assert!((WRONG..=36).contains(&n), "{first} {n} {error}");
                            assert_names(&error, &block);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_block_whose_first_entry_cannot_be_is_an_error_to_who_comes_from_the_block_before() {
    let (dir, block) = table_with_a_wrong_block(|block| block[0] = 3);
    let db = open(dir.path(), Options::default()).unwrap();
    let mut iter = db.iter(&[b'k', 19], None);
    assert!(iter.next().unwrap().is_some());
    assert_names(&iter.next().unwrap_err(), &block);
    let mut cursor = db.cursor();
    assert!(cursor.read_into(&[b'k', 19], &mut Vec::new()).unwrap());
    for n in 20..36 {
        assert_names(&cursor.read_into(&[b'k', n], &mut Vec::new()).unwrap_err(), &block);
    }
    assert!(cursor.read_into(&[b'k', 40], &mut Vec::new()).unwrap());
}

#[test]
fn an_entry_of_no_kind_that_leveldb_has_is_an_error_to_scans_and_to_look_ups() {
    // The kind is the lowest byte of what follows the key.
    let (dir, block) = table_with_a_wrong_block(|block| block[3 + 2] = 2);
    let db = open(dir.path(), Options::default()).unwrap();
    assert_names(&scan(&db).unwrap_err(), &block);
    assert_names(&db.get(&[b'k', 20]).unwrap_err(), &block);
    assert!(db.get(&[b'k', 21]).unwrap().is_some());
}

#[test]
fn a_key_that_begins_in_the_block_behind_its_separator_is_found_there_or_the_damage_is() {
    let entries: Vec<Entry> = (0..6u8).map(|n| put(&[b'k', n], 1, &[n; 9])).collect();
    let chunks: Vec<&[Entry]> = entries.chunks(3).collect();
    // Above all of the first block, and before the first entry of the second, which has a lower sequence number.
    let separators = [put(b"k\x03", 9, b"").0, entries[5].0.clone()];
    let (good, layout) = writer::table_with(&chunks, &separators, false);
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &good, &entries);
    let find = || open(dir.path(), Options::default()).unwrap().get(b"k\x03");
    assert_eq!(find().unwrap(), Some(vec![3; 9]));
    let block = layout.data[1].clone();
    let mut bad = good.clone();
    bad[block.start] = 3;
    let sealed = sum(bad[block.start..block.end - 4].to_vec());
    bad[block.clone()].copy_from_slice(&sealed);
    write(dir.path(), &bad, &entries);
    assert_names(&find().unwrap_err(), &block);
}

#[test]
fn a_restart_point_at_the_end_of_a_block_hides_no_entry() {
    let entries: Vec<Entry> = (0..6u8).map(|n| put(&[n], 1, &[n])).collect();
    let mut data = writer::block(&entries, 2);
    let end = data.len() - 4 * 4;
    data.truncate(data.len() - 4);
    for _ in 0..3 {
        data.extend((end as u32).to_le_bytes());
    }
    data.extend(6u32.to_le_bytes());
    let block = Block::new(data).unwrap();
    for n in 0..6u8 {
        let mut spot = Spot::default();
        block.seek(&mut spot, &[n], None).unwrap();
        assert_eq!((spot.user(), block.value(&spot)), (&[n][..], &[n][..]));
    }
    let mut spot = Spot::default();
    block.seek(&mut spot, &[6], None).unwrap();
    assert!(!spot.is_valid());
}
