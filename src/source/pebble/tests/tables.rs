//! Tables in every format and shape, against a map of what was written; and what is refused of a table, by name.

use std::collections::BTreeMap;
use std::fs;

use super::super::{kind, kinds};
use super::writer::{Entry, Spec, database, entry, plain, properties, seal, sum};
use super::{open, read};
use crate::source::leveldb::tests::writer::{log, prefixed, varint};
use crate::source::lsm::footer::{Checksum, Packing};
use crate::source::lsm::key::Kind;
use crate::source::lsm::unpack::unpack;
use crate::source::lsm::{LsmError, Options};

/// Two hundred keys, some of them with older entries, some removed in each of the ways there are.
fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for n in 0..200u8 {
        let user = [b'k', n];
        match n % 8 {
            0 => entries.push(entry(&user, 50, kind::DELETE, b"")),
            1 => entries.push(entry(&user, 50, kind::SINGLE_DELETE, b"")),
            2 => entries.push(entry(&user, 50, kind::DELETE_SIZED, b"\x07")),
            3 => entries.push(entry(&user, 50, kind::SET_WITH_DELETE, &[n; 90])),
            _ => entries.push(entry(&user, 50, kind::SET, &[n, 0xff, n])),
        }
        if n % 3 == 0 {
            entries.push(entry(&user, 20, kind::SET, b"older"));
        }
    }
    entries
}

fn live(entries: &[Entry]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut newest = BTreeMap::new();
    for (user, _, kind, value) in entries {
        newest.entry(user.clone()).or_insert((*kind, value.clone()));
    }
    let there = |kind| kind == kind::SET || kind == kind::SET_WITH_DELETE;
    newest.into_iter().filter(|(_, (kind, _))| there(*kind)).map(|(user, (_, value))| (user, value)).collect()
}

fn specs() -> Vec<Spec> {
    let mut specs = Vec::new();
    for format in 0..=4 {
        for (checksum, zstd) in [(1, false), (1, true), (3, false), (3, true)] {
            for parts in [None, Some(1), Some(4), Some(1000)] {
                specs.push(Spec { checksum, format, zstd, parts, ..plain() });
            }
        }
    }
    specs
}

#[test]
fn tables_of_every_format_checksum_packing_and_index_give_what_was_written() {
    let entries = entries();
    let expected = live(&entries);
    for spec in specs() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path(), &[(1, 3, &entries, None, &spec)]);
        let pairs: BTreeMap<_, _> = read(dir.path()).unwrap().into_iter().collect();
        assert!(pairs == expected, "{spec:?}: another scan");
        let db = open(dir.path(), Options::default()).unwrap();
        let (mut forwards, mut about) = (db.cursor(), db.cursor_once());
        for n in 0..=210u8 {
            for (cursor, n) in [(&mut forwards, n), (&mut about, n.wrapping_mul(77))] {
                let (user, mut out) = ([b'k', n], Vec::new());
                let found = cursor.read_into(&user, &mut out).unwrap();
                assert_eq!(found.then_some(&out), expected.get(&user[..]), "{spec:?} {n}");
            }
        }
        let from = [b'k', 101];
        let mut iter = db.iter(&from, Some(&[b'k', 150]));
        let mut wanted = expected.range(from.to_vec()..vec![b'k', 150]);
        while let Some((key, value)) = iter.next().unwrap() {
            assert_eq!(wanted.next(), Some((&key.to_vec(), &value.to_vec())), "{spec:?}");
        }
        assert_eq!(wanted.next(), None, "{spec:?}: a range ends early");
    }
}

#[test]
fn an_ingested_table_has_its_sequence_number_from_the_manifest() {
    let (old, new) = ([entry(b"a", 30, kind::SET, b"old")], [entry(b"a", 0, kind::SET, b"new")]);
    for (number, expected) in [(29, "old"), (31, "new")] {
        let dir = tempfile::tempdir().unwrap();
        let spec = plain();
        database(dir.path(), &[(0, 3, &old, Some((30, 30)), &spec), (0, 4, &new, Some((number, number)), &spec)]);
        assert_eq!(read(dir.path()).unwrap(), [(b"a".to_vec(), expected.as_bytes().to_vec())]);
    }
}

#[test]
fn a_flipped_bit_of_a_table_is_found_whatever_its_checksums_packing_and_index() {
    let entries = entries();
    let expected = live(&entries);
    for (checksum, zstd) in [(1, true), (3, true), (3, false)] {
        let spec = Spec { checksum, format: 4, zstd, parts: Some(4), ..plain() };
        let dir = tempfile::tempdir().unwrap();
        database(dir.path(), &[(1, 3, &entries, None, &spec)]);
        let path = dir.path().join("000003.sst");
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(11) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            if let Ok(pairs) = read(dir.path()) {
                // Bytes of the footer that fill it up to its length.
                assert!(at + 53 > good.len() && pairs.into_iter().collect::<BTreeMap<_, _>>() == expected, "{at}");
            }
        }
    }
}

fn refused(entries: &[Entry], spec: &Spec) -> String {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), &[(1, 3, entries, None, spec)]);
    let by_scan = read(dir.path()).unwrap_err();
    if let Ok(db) = open(dir.path(), Options::default()) {
        // Not only by who reads everything.
        assert_eq!(db.get(&entries[0].0).unwrap_err().to_string(), by_scan.to_string());
    }
    assert!(by_scan.to_string().contains("000003.sst"), "{by_scan}");
    by_scan.to_string()
}

#[test]
fn entries_that_say_nothing_by_themselves_are_refused_by_name() {
    for (kind, words) in [
        (kind::MERGE, "merge operands"),
        (kind::RANGE_DELETE, "a range deletion"),
        (kind::RANGE_KEY_SET, "a range key"),
        (kind::RANGE_KEY_UNSET, "a range key"),
        (kind::RANGE_KEY_DELETE, "a range key"),
        (99, "unknown type of entry"),
    ] {
        let told = refused(&[entry(b"a", 5, kind, b"v")], &plain());
        assert!(told.contains(words), "{kind}: {told}");
    }
}

#[test]
fn a_value_that_is_elsewhere_is_refused_and_so_is_one_without_its_first_byte() {
    for (before, value, words) in [
        (Some(0x80), &b"v"[..], "in a value block"),
        (Some(0x40), b"v", "in a value block"),
        (None, b"", "lacks the byte before it"),
    ] {
        let told = refused(&[entry(b"a", 5, kind::SET, value)], &Spec { format: 3, before, ..plain() });
        assert!(told.contains(words), "{told}");
    }
    // The six lower bits say other things.
    let dir = tempfile::tempdir().unwrap();
    let spec = Spec { format: 3, before: Some(0x3f), ..plain() };
    database(dir.path(), &[(1, 3, &[entry(b"a", 5, kind::SET, b"v")], None, &spec)]);
    assert_eq!(read(dir.path()).unwrap(), [(b"a".to_vec(), b"v".to_vec())]);
}

#[test]
fn what_the_metaindex_and_the_properties_say_is_refused_by_name() {
    let comparator: &[u8] = b"leveldb.BytewiseComparator";
    for (meta, words) in [
        ((b"rocksdb.range_del".to_vec(), vec![]), "range deletions"),
        ((b"rocksdb.range_del2".to_vec(), vec![]), "range deletions"),
        ((b"pebble.range_key".to_vec(), vec![]), "range keys"),
        (properties(&[0, 0, 0, 0], b"backwards"), "in the order of backwards"),
        (properties(&[1, 0, 0, 0], comparator), "its index is of type"),
        (properties(&[2, 0], comparator), "not four bytes"),
    ] {
        let told = refused(&[entry(b"a", 5, kind::SET, b"v")], &Spec { meta: vec![meta], ..plain() });
        assert!(told.contains(words), "{told}");
    }
    let dir = tempfile::tempdir().unwrap();
    let meta = vec![properties(&[0, 0, 0, 0], comparator), (b"pebble.value_index".to_vec(), vec![1])];
    database(dir.path(), &[(1, 3, &[entry(b"a", 5, kind::SET, b"v")], None, &Spec { meta, ..plain() })]);
    assert_eq!(read(dir.path()).unwrap().len(), 1, "what is of no use to a reader is passed over");
}

#[test]
fn a_part_of_the_index_that_ends_before_its_separator_is_damage_to_who_looks_there() {
    let entries: Vec<_> = (0..12u8).map(|n| entry(&[b'k', n], 5, kind::SET, &[n])).collect();
    let dir = tempfile::tempdir().unwrap();
    let spec = Spec { parts: Some(2), short_parts: true, ..plain() };
    database(dir.path(), &[(1, 3, &entries, None, &spec)]);
    let db = open(dir.path(), Options::default()).unwrap();
    for n in 0..12u8 {
        // Two blocks of three keys under each part, of which it names the first.
        match db.get(&[b'k', n]) {
            Ok(value) => assert!(n % 6 < 3 && value == Some(vec![n]), "{n}"),
            Err(error) => {
                assert!(n % 6 >= 3 && error.to_string().contains("ends before its separator"), "{n}: {error}")
            }
        }
    }
}

#[test]
fn blocks_that_claim_what_they_do_not_hold_are_refused_whatever_packs_them() {
    let packing = |checksum| Packing { checksum, zstd: true };
    let (mut plain_bytes, wanted) = (Vec::new(), vec![7; 5000]);
    for (mark, checksum) in [(1, Checksum::Crc32c), (3, Checksum::XxHash64)] {
        let spec = Spec { checksum: mark, zstd: true, ..plain() };
        let good = seal(&wanted, &spec);
        unpack(&good, &mut plain_bytes, packing(checksum)).unwrap();
        assert_eq!(plain_bytes, wanted);
        // The size before the frame: 5000 is two bytes, of which the first is the lower.
        let body = &good[..good.len() - 4];
        for claimed in [4999u64, 5001, 0, 1 << 40] {
            let mut bad = Vec::new();
            varint(claimed, &mut bad);
            bad.extend(&body[2..]);
            assert!(unpack(&sum(bad, mark), &mut plain_bytes, packing(checksum)).is_err(), "{claimed}");
        }
        for cut in 0..body.len() - 1 {
            let bad = sum([&body[..cut], &[7]].concat(), mark);
            assert!(unpack(&bad, &mut plain_bytes, packing(checksum)).is_err(), "{cut}");
        }
        let other = if mark == 1 { Checksum::XxHash64 } else { Checksum::Crc32c };
        assert!(unpack(&good, &mut plain_bytes, packing(other)).is_err());
        let no_zstd = Packing { checksum, zstd: false };
        assert!(unpack(&good, &mut plain_bytes, no_zstd).is_err(), "LevelDB has no Zstandard");
        for size in 0..4 {
            assert!(unpack(&good[..size], &mut plain_bytes, packing(checksum)).is_err());
        }
    }
}

#[test]
fn every_kind_means_the_same_with_and_without_the_mark_of_newer_entries() {
    let (older, newest) = (kinds(0), kinds(kind::OBSOLETE));
    let known = [0u8, 1, 2, 7, 15, 18, 19, 20, 21, 23];
    for byte in 0..=255u8 {
        let is_known = known.contains(&byte);
        assert_eq!(older[usize::from(byte)] != Kind::Unknown, is_known, "{byte}");
        let with_mark = known.contains(&(byte & !kind::OBSOLETE));
        assert_eq!(newest[usize::from(byte)] != Kind::Unknown, with_mark, "{byte}");
        if is_known {
            assert_eq!(newest[usize::from(byte | kind::OBSOLETE)], older[usize::from(byte)], "{byte}");
        }
    }
}

#[test]
fn batches_remove_in_three_ways_pass_over_comments_and_refuse_what_no_reader_can_apply() {
    let write = |dir: &std::path::Path, count: u32, operations: &[u8]| {
        database(dir, &[(1, 3, &[entry(b"a", 5, kind::SET, b"v"), entry(b"b", 5, kind::SET, b"v")], None, &plain())]);
        let batch = [&1001u64.to_le_bytes()[..], &count.to_le_bytes(), operations].concat();
        fs::write(dir.join("000100.log"), log(&[batch])).unwrap();
    };
    let operation = |kind: u8, fields: &[&[u8]]| {
        let mut out = vec![kind];
        fields.iter().for_each(|field| prefixed(field, &mut out));
        out
    };
    for remove in [
        operation(kind::DELETE, &[b"a"]),
        operation(kind::SINGLE_DELETE, &[b"a"]),
        operation(kind::DELETE_SIZED, &[b"a", b"\x01"]),
        [operation(kind::LOG_DATA, &[b"a comment"]), operation(kind::DELETE, &[b"a"])].concat(),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 1, &remove);
        assert_eq!(read(dir.path()).unwrap(), [(b"b".to_vec(), b"v".to_vec())], "{remove:?}");
    }
    for (kind, words) in [
        (kind::MERGE, "a merge operand"),
        (kind::RANGE_DELETE, "a range deletion"),
        (kind::RANGE_KEY_SET, "a range key"),
        (kind::RANGE_KEY_UNSET, "a range key"),
        (kind::RANGE_KEY_DELETE, "a range key"),
        (kind::INGEST, "ingested"),
        (99, "unknown type of batch operation"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 1, &operation(kind, &[b"a", b"v"]));
        let error = read(dir.path()).unwrap_err();
        assert!(error.to_string().contains(words), "{kind}: {error}");
        assert_eq!(matches!(error, LsmError::Unsupported { .. }), kind != 99, "{error}");
    }
}
