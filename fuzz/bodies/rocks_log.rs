//! RocksDB's logs before RocksDB replays them: how they are read makes no difference, the other reader of such logs finds the
//! same records, and whatever single byte is damaged or log is lost, nothing is missing without a word.

use super::log::{self, BLOCK, written};
use std::{io::Read, path::Path};
use storeshift::source::{
    lsm::log::{Record, Records},
    rocks::{
        RocksError,
        log::{BEGIN, End, walk},
        logs::Chain,
        manifest::Numbers,
    },
};

pub fn run(data: &[u8]) {
    let Some((&number, data)) = data.split_first() else { return };
    let number = u64::from(number);
    as_they_are(data, number);
    damaged(data, number);
}

/// Begins of records with their offsets, and the end; none if it is damage.
type Walked = (Vec<(u64, Vec<u8>)>, Option<End>);

fn walked(log: impl Read, number: u64) -> Walked {
    let mut records = Vec::new();
    let end = walk(Path::new("log"), number, log, |offset, begin| {
        records.push((offset, begin.to_vec()));
        Ok(())
    });
    if let Err(error) = &end {
        assert!(error.is_corruption(), "{error}");
    }
    (records, end.ok())
}

/// Reads little at a time.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let (now, later) = self.0.split_at(self.0.len().min(out.len()).min(self.1));
        out[..now.len()].copy_from_slice(now);
        self.0 = later;
        Ok(now.len())
    }
}

fn as_they_are(data: &[u8], number: u64) {
    let whole = walked(data, number);
    assert_eq!(walked(Drip(data, 1 + data.len() / 5), number), whole);
    let numbered = data.get(6).is_some_and(|kind| (5..=8).contains(kind));
    let mut records = if numbered { Records::recycled(data, number) } else { Records::new(data) };
    let mut payload = Vec::new();
    // They need not end at the same record, but up to there are the same ones.
    for (offset, begin) in &whole.0 {
        let Ok(Record::Whole { offset: at }) = records.next_into(&mut payload) else { break };
        payload.truncate(BEGIN);
        assert_eq!((at as u64, &payload), (*offset, begin));
    }
}

/// Takes numbers off the input; zeros when it is used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *byte
    }

    fn below(&mut self, bound: usize) -> usize {
        let number = usize::from(self.byte()) | usize::from(self.byte()) << 8 | usize::from(self.byte()) << 16;
        number % bound.max(1)
    }
}

/// Up to three logs of batches that follow each other.
fn batches(input: &mut Input<'_>, sequence: &mut u64) -> Vec<Vec<Vec<u8>>> {
    let logs = 1 + input.byte() % 3;
    let mut log = |_| {
        let batches = input.byte() % 6;
        let batch = |_| {
            let count = u32::from(input.byte() % 4);
            let mut record = sequence.to_le_bytes().to_vec();
            record.extend(count.to_le_bytes());
            // Now and then one that reaches about to the end of the block.
            let length = usize::from(input.byte());
            record.resize(if length > 240 { BLOCK - 270 + length } else { 12 + length / 3 }, number_of(count));
            *sequence += u64::from(count);
            record
        };
        (0..batches).map(batch).collect()
    };
    (0..logs).map(&mut log).collect()
}

fn number_of(count: u32) -> u8 {
    count as u8 ^ 0x55
}

fn begins(records: &[Vec<u8>]) -> Vec<Vec<u8>> {
    records.iter().map(|record| record[..record.len().min(BEGIN)].to_vec()).collect()
}

fn damaged(data: &[u8], number: u64) {
    let mut input = Input(data);
    let recycled = input.byte() & 1 == 1;
    let first = u64::from(input.byte()) + 1;
    let mut sequence = first;
    let logs = batches(&mut input, &mut sequence);
    let numbers = Numbers { log: 0, sequence: first - 1 };
    let number_at = |at: usize| number + 1 + at as u64;
    let mut files: Vec<Vec<u8>> =
        (0..).zip(&logs).map(|(at, records)| written(recycled.then_some(number_at(at) as u32), records)).collect();
    let written: Vec<usize> = files.iter().map(Vec::len).collect();
    if recycled {
        // What an older log left behind: fragments of another number, cut anywhere.
        let records = if files.iter().any(|file| file.len() > BLOCK / 2) { 99 } else { 1 + input.below(20) };
        let older = log::written(Some(number as u32), &vec![vec![9; 1 + input.below(400)]; records]);
        for file in &mut files {
            file.extend(older.get(file.len()..).unwrap_or_default());
        }
    }
    for (at, (file, records)) in files.iter().zip(&logs).enumerate() {
        let (found, end) = walked(&file[..], number_at(at));
        let found: Vec<Vec<u8>> = found.into_iter().map(|(_, begin)| begin).collect();
        assert_eq!((found, end), (begins(records), Some(End::Whole)), "log {at}");
    }
    assert_eq!(chained(&files, numbers, number_at).expect("whole logs"), sequence - 1);

    // One byte is another.
    let at = input.below(files.len());
    let place = input.below(files[at].len());
    let flip = input.byte().max(1);
    if let Some(byte) = files[at].get_mut(place) {
        *byte ^= flip;
        let (found, end) = walked(&files[at][..], number_at(at));
        let all = begins(&logs[at]);
        let found: Vec<Vec<u8>> = found.into_iter().map(|(_, begin)| begin).collect();
        assert!(all.starts_with(&found), "log {at}, byte {place}: records that were not written");
        let is_missing = found.len() < all.len() || place < written[at];
        assert!(!is_missing || end != Some(End::Whole), "log {at}, byte {place} ^ {flip:02x}: not noticed");
        // The first fragment tells what kind of log it is, also if it is all an older one's.
        assert!(
            place < written[at] || end.is_some() || written[at] == 0,
            "log {at}, byte {place}: what an older log left is damage"
        );
        files[at][place] ^= flip;
    }

    // A log is lost, or ends early.
    let at = input.below(files.len());
    let cut = if input.byte() & 1 == 1 { 0 } else { input.below(written[at] + 1) };
    files[at].truncate(cut);
    let whole = walked(&files[at][..], number_at(at)).0.len();
    let changes = |records: &[Vec<u8>]| records.iter().any(|record| record[8] > 0);
    let lost = changes(&logs[at][whole..]);
    let later = logs[at + 1..].iter().any(|records| changes(records));
    if lost && later {
        chained(&files, numbers, number_at).expect_err("changes that are nowhere, and later ones are there");
    }
}

fn chained(files: &[Vec<u8>], numbers: Numbers, number_at: impl Fn(usize) -> u64) -> Result<u64, RocksError> {
    let mut chain = Chain::new(numbers);
    for (at, file) in files.iter().enumerate() {
        chain.follow(Path::new("log"), number_at(at), &file[..])?;
    }
    Ok(chain.have())
}
