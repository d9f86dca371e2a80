//! Logs in files that were other logs' before: where they end, and what is damage.

use std::fs;

use super::super::DIALECT;
use crate::source::lsm::LsmError;
use crate::source::lsm::log::{BLOCK, LONG_HEADER, Record, Records, mask};
use crate::source::lsm::replay::{Logs, replay};

const NUMBER: u64 = 0x1_0000_0007;

/// Records as Pebble's `LogWriter` lays them down, without the mark at the end.
fn log(number: u64, records: &[Vec<u8>]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for record in records {
        let mut rest = &record[..];
        let mut first = true;
        loop {
            let room = BLOCK - out.len() % BLOCK;
            if room < LONG_HEADER {
                out.resize(out.len() + room, 0);
                continue;
            }
            let (part, after) = rest.split_at(rest.len().min(room - LONG_HEADER));
            let kind = match (first, after.is_empty()) {
                (true, true) => 5u8,
                (true, false) => 6,
                (false, false) => 7,
                (false, true) => 8,
            };
            let covered = [&[kind], &(number as u32).to_le_bytes()[..], part].concat();
            out.extend(mask(crc32c::crc32c(&covered)).to_le_bytes());
            out.extend((part.len() as u16).to_le_bytes());
            out.extend(covered);
            (rest, first) = (after, false);
            if rest.is_empty() {
                break;
            }
        }
    }
    out
}

fn closing(number: u64) -> Vec<u8> {
    [&[0, 0, 0, 0, 0, 0, 5][..], &(number as u32 + 1).to_le_bytes()].concat()
}

fn read(data: &[u8]) -> (Vec<Vec<u8>>, Result<Record, crate::source::lsm::Malformed>) {
    let mut records = Records::recycled(data, NUMBER);
    let (mut all, mut payload) = (Vec::new(), Vec::new());
    loop {
        match records.next_into(&mut payload) {
            Ok(Record::Whole { .. }) => all.push(payload.clone()),
            other => return (all, other),
        }
    }
}

#[test]
fn records_of_every_size_around_block_borders_round_trip_before_what_an_older_log_left() {
    let stale = log(NUMBER - 1, &vec![vec![9; 700]; 200]);
    for first in (BLOCK - 50)..(BLOCK + 20) {
        let records = vec![vec![1; first], vec![], vec![2; 9], vec![3; 3 * BLOCK], vec![4]];
        let open = log(NUMBER, &records);
        let closed = [&open[..], &closing(NUMBER)].concat();
        for mut file in [open, closed] {
            assert_eq!(read(&file), (records.clone(), Ok(Record::End)), "{first}");
            let over = stale.get(file.len()..).unwrap_or(&[]).to_vec();
            let written = file.len();
            file.extend(over);
            let (found, end) = read(&file);
            assert!(found == records, "{first}");
            assert!(matches!(end, Ok(Record::End | Record::Torn { .. })), "{first} of {written}: {end:?}");
        }
    }
}

#[test]
fn a_flipped_bit_is_damage_if_the_log_goes_on_or_was_closed_and_a_torn_end_if_not() {
    let records: Vec<Vec<u8>> = (0..6).map(|n| vec![n; 9000]).collect();
    let open = log(NUMBER, &records);
    let closed = [&open[..], &closing(NUMBER), &vec![7; 5000]].concat();
    let last = open.len() - 9000 - LONG_HEADER;
    for at in (0..open.len()).filter(|at| at % 53 == 0 || at % BLOCK < 20 || (last..last + 20).contains(at)) {
        let mut bad = closed.clone();
        bad[at] ^= 0x40;
        assert!(read(&bad).1.is_err(), "{at} of a closed log");
        let mut bad = open.clone();
        bad[at] ^= 0x40;
        match read(&bad) {
            (_, Err(_)) => {}
            (found, Ok(end)) => {
                assert!(at >= last && found[..] == records[..5], "{at}");
                assert!(matches!(end, Record::Torn { .. } | Record::End), "{at}");
            }
        }
    }
}

#[test]
fn a_last_chunk_that_looks_like_another_logs_is_damage_and_no_end_also_if_the_log_was_never_closed() {
    let records: Vec<Vec<u8>> = (0..3).map(|n| vec![n; 300]).collect();
    let open = log(NUMBER, &records);
    let stale = log(NUMBER - 1, &vec![vec![9; 70]; 20]);
    let last = open.len() - 300 - LONG_HEADER;
    for (at, bit) in (last + 6..last + LONG_HEADER).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut bad = open.clone();
        bad[at] ^= 1 << bit;
        for behind in [&[][..], &stale[open.len()..]] {
            let bad = [&bad, behind].concat();
            assert!(read(&bad).1.is_err(), "bit {bit} of byte {} of a chunk", at - last);
        }
    }
}

#[test]
fn every_prefix_is_whole_or_torn() {
    let records: Vec<Vec<u8>> = (0..6).map(|n| vec![n; 9000]).collect();
    let data = log(NUMBER, &records);
    for cut in (0..data.len()).filter(|cut| cut % 97 == 0 || cut % BLOCK > BLOCK - 20) {
        let (found, end) = read(&data[..cut]);
        assert_eq!(found[..], records[..found.len()]);
        assert!(matches!(end, Ok(Record::End | Record::Torn { .. })), "{cut} {end:?}");
    }
}

/// A batch of `count` values from `sequence` on.
fn batch(sequence: u64, count: u32) -> Vec<u8> {
    let mut out = sequence.to_le_bytes().to_vec();
    out.extend(count.to_le_bytes());
    for n in 0..count {
        out.extend([1, 1, n as u8, 1, b'v', 3, 2, b'c', b'c']);
    }
    out
}

#[test]
fn changes_that_are_in_no_log_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let run = |logs: &[&[Vec<u8>]], last_sequence| {
        let mut files = Vec::new();
        for (at, records) in logs.iter().enumerate() {
            let number = at as u64 + 4;
            let path = dir.path().join(format!("{number:06}.log"));
            fs::write(&path, [log(number, records), closing(number)].concat()).unwrap();
            files.push((number, path));
        }
        let files = files.iter().map(|(number, path)| (number, path)).collect();
        replay(&Logs { files, dialect: &DIALECT, last_sequence }, 1 << 20).map(|replayed| replayed.memory.len())
    };
    assert_eq!(run(&[&[batch(10, 3), batch(13, 2)], &[batch(15, 4)]], 0).unwrap(), 4);
    assert_eq!(run(&[&[batch(10, 3)], &[batch(20, 4)]], 19).unwrap(), 4, "what is between is in tables");
    for (logs, last) in [
        ([&[batch(10, 3)][..], &[batch(15, 4)][..]], 0),
        ([&[batch(10, 3), batch(14, 1)][..], &[][..]], 0),
        ([&[batch(11, 3)][..], &[][..]], 0),
        ([&[batch(20, 3)][..], &[batch(30, 1)][..]], 28),
    ] {
        assert!(matches!(run(&logs, last), Err(LsmError::Corrupt { .. })));
    }
}
