//! The log format, torn tails, replay of several logs.

use std::fs;
use std::path::PathBuf;

use super::writer::{self, batch, log};
use crate::source::leveldb::{DIALECT, open};
use crate::source::lsm::log::{BLOCK, HEADER, Record, Records};
use crate::source::lsm::replay::{Logs, Replayed, replay};
use crate::source::lsm::{LsmError, Options};

fn read_all(data: &[u8]) -> (Vec<Vec<u8>>, Result<Record, crate::source::lsm::Malformed>) {
    let mut records = Records::new(data);
    let (mut all, mut payload) = (Vec::new(), Vec::new());
    loop {
        match records.next_into(&mut payload) {
            Ok(Record::Whole { .. }) => all.push(payload.clone()),
            other => return (all, other),
        }
    }
}

#[test]
fn records_of_every_size_around_block_borders_round_trip() {
    for first in (BLOCK - 40)..(BLOCK + 20) {
        let records = vec![vec![1; first], vec![], vec![2; 9], vec![3; 3 * BLOCK], vec![4]];
        let (read, end) = read_all(&log(&records));
        assert!(read == records, "{first}");
        assert_eq!(end, Ok(Record::End));
    }
}

#[test]
fn every_prefix_is_whole_or_torn_and_never_damaged() {
    let records: Vec<Vec<u8>> = (0..6).map(|n| vec![n; 9000]).collect();
    let data = log(&records);
    for cut in (0..data.len()).filter(|cut| cut % 97 == 0 || cut % BLOCK > BLOCK - 20) {
        let (read, end) = read_all(&data[..cut]);
        assert_eq!(read[..], records[..read.len()]);
        assert!(matches!(end, Ok(Record::End | Record::Torn { .. })), "{cut} {end:?}");
        let mut zeros = data[..cut].to_vec();
        if matches!(end, Ok(Record::End)) {
            zeros.resize(cut + 5000, 0);
            assert!(matches!(read_all(&zeros).1, Ok(Record::Torn { .. })), "{cut}");
        }
    }
}

#[test]
fn a_flipped_byte_anywhere_never_passes() {
    let records: Vec<Vec<u8>> = (0..4).map(|n| vec![n; 11_000]).collect();
    let good = log(&records);
    for at in (0..good.len()).filter(|at| at % 61 == 0 || *at < 20 || at % BLOCK < 20) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        let (read, end) = read_all(&bad);
        assert!(read.len() < 4 && end != Ok(Record::End), "{at}");
    }
}

#[test]
fn zeros_amid_a_log_are_damage_and_not_its_end() {
    let records: Vec<Vec<u8>> = (1..4).map(|n| vec![n; 100]).collect();
    let mut bad = log(&records);
    let second = HEADER + 100;
    bad[second..2 * second].fill(0);
    let (read, end) = read_all(&bad);
    assert_eq!(read[..], records[..1]);
    assert!(end.is_err(), "{end:?}");
}

fn replay_all(paths: &[PathBuf], limit: u64) -> Result<Replayed, LsmError> {
    let files = paths.iter().map(|path| (&0, path)).collect();
    replay(&Logs { files, dialect: &DIALECT, last_sequence: 0 }, limit)
}

fn logs(contents: &[Vec<u8>]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let paths = contents.iter().enumerate().map(|(n, bytes)| {
        let path = dir.path().join(format!("{n:06}.log"));
        fs::write(&path, bytes).unwrap();
        path
    });
    let paths = paths.collect();
    (dir, paths)
}

#[test]
fn a_torn_tail_counts_as_a_crash_only_where_nothing_was_written_after() {
    let whole = log(&[batch(1, &[(b"a", Some(b"1"))]), batch(2, &[(b"b", Some(b"2"))])]);
    let torn = whole[..whole.len() - 3].to_vec();
    let later = log(&[batch(9, &[(b"c", Some(b"3"))])]);
    for (contents, entries) in [
        (vec![whole.clone(), torn.clone()], Some(2)),
        (vec![torn.clone()], Some(1)),
        (vec![torn.clone(), vec![]], Some(1)),
        (vec![torn.clone(), later.clone()], None),
        (vec![torn.clone(), torn.clone()], None),
        (vec![whole.clone(), later.clone()], Some(3)),
    ] {
        let (_dir, paths) = logs(&contents);
        let replayed = replay_all(&paths, 1 << 20);
        match (replayed, entries) {
            (Ok(replayed), Some(entries)) => assert_eq!(replayed.memory.len(), entries),
            (Err(LsmError::Corrupt { path, offset, .. }), None) => {
                assert_eq!((&path, offset), (&paths[0], 24));
            }
            (replayed, _) => panic!("{replayed:?} {entries:?}"),
        }
    }
}

#[test]
fn more_log_than_the_bound_is_refused() {
    let ops = vec![(&b"k"[..], None); 5000];
    let (_dir, paths) = logs(&[log(&[batch(1, &ops)])]);
    for limit in [1000, 60_000] {
        let refused = replay_all(&paths, limit).unwrap_err();
        assert!(matches!(refused, LsmError::TooLarge { .. }), "{refused}");
    }
    assert_eq!(replay_all(&paths, 1 << 20).unwrap().memory.len(), 1);
}

#[test]
fn a_torn_log_is_reported_and_its_whole_records_count() {
    let dir = tempfile::tempdir().unwrap();
    let batches = vec![batch(60, &[(b"a", Some(b"1"))]), batch(61, &[(b"b", Some(b"2"))])];
    writer::database(dir.path(), &[], &[(100, batches)]);
    let path = dir.path().join("000100.log");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let db = open(dir.path(), Options::default()).unwrap();
    assert_eq!(db.torn_log(), Some((path.as_path(), 24)));
    assert!(db.get(b"a").unwrap().is_some() && db.get(b"b").unwrap().is_none());
}

/// One chunk as it lies in a log, with a checksum that holds.
fn chunk(kind: u8, payload: &[u8]) -> Vec<u8> {
    let covered = [&[kind], payload].concat();
    let sum = crate::source::lsm::log::mask(crc32c::crc32c(&covered));
    [&sum.to_le_bytes()[..], &(payload.len() as u16).to_le_bytes(), &covered].concat()
}

#[test]
fn chunks_out_of_order_and_of_unknown_types_are_damage_behind_the_records_before_them() {
    let (full, first, middle, last) = (chunk(1, b"whole"), chunk(2, b"fir"), chunk(3, b"mid"), chunk(4, b"last"));
    let (read, end) = read_all(&[&full[..], &first, &middle, &last].concat());
    assert_eq!((&read[..], end), (&[b"whole".to_vec(), b"firmidlast".to_vec()][..], Ok(Record::End)));
    for (rest, words) in [
        ([&first[..], &full].concat(), "begins inside another"),
        ([&first[..], &first].concat(), "begins inside another"),
        (middle.clone(), "has no beginning"),
        (last.clone(), "has no beginning"),
        (chunk(5, b"of an engine that writes over its logs"), "unknown type"),
        (chunk(0, b"none"), "unknown type"),
    ] {
        let (read, end) = read_all(&[&full[..], &rest].concat());
        assert_eq!(read, [b"whole".to_vec()], "{words}");
        assert_eq!(end.map_err(|error| error.what.contains(words)), Err(true), "{words}");
    }
    let (read, end) = read_all(&[&full[..], &first, &middle].concat());
    assert_eq!((read.len(), end), (1, Ok(Record::Torn { offset: full.len() })));
}

#[test]
fn bytes_that_fill_a_block_up_have_to_be_zero() {
    let mut data = chunk(1, &vec![1; BLOCK - HEADER - 3]);
    assert_eq!(data.len(), BLOCK - 3);
    data.extend([0, 0, 0]);
    data.extend(chunk(1, b"next"));
    assert_eq!(read_all(&data), (vec![vec![1; BLOCK - HEADER - 3], b"next".to_vec()], Ok(Record::End)));
    for at in BLOCK - 3..BLOCK {
        let mut bad = data.clone();
        bad[at] = 1;
        let (read, end) = read_all(&bad);
        assert!(read.len() == 1 && end.is_err_and(|error| error.what.contains("padding")), "{at}");
    }
}
