//! A damaged table is noticed, or reads as if it were whole: each of its bytes is changed in turn.

use super::scratch::{Database, Random, VERSIONED, table, usual};
use crate::target::rocks::table::TableOptions;
use rocksdb::{BlockBasedOptions, ReadOptions};
use std::fs;

type Records = Vec<(Vec<u8>, Vec<u8>)>;

fn reading() -> ReadOptions {
    let mut read = ReadOptions::default();
    read.set_verify_checksums(true);
    read.fill_cache(false);
    read.set_timestamp(u64::MAX.to_le_bytes());
    read
}

/// All records through a full read with checksums, and each by its key.
fn read(database: &Database) -> Result<Records, rocksdb::Error> {
    let mut found = Records::new();
    let mut records = database.db.raw_iterator_cf_opt(database.family(true), reading());
    records.seek_to_first();
    while let Some((key, value)) = records.item() {
        let got = database.db.get_cf_opt(database.family(true), key, &reading())?;
        assert_eq!(got.as_deref(), Some(value));
        found.push(([key, records.timestamp().unwrap_or_default()].concat(), value.to_vec()));
        records.next();
    }
    records.status()?;
    Ok(found)
}

#[test]
fn every_byte_counts_or_changes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let mut random = Random(4);
    let records: Records = (0..24u64)
        .map(|n| {
            let value = if n < 12 { vec![7; 60] } else { random.bytes(30) };
            ([&n.to_be_bytes()[..], &(100 + n).to_le_bytes()].concat(), value)
        })
        .collect();
    let pairs = records.iter().map(|(key, value)| (&key[..], &value[..]));
    let options = TableOptions { block_size: 200, ..usual(true) };
    let whole = fs::read(table(scratch.path(), "whole.sst", &options, pairs)).unwrap();
    let damaged = scratch.path().join("damaged.sst");
    let mut database = Database::open(&scratch.path().join("db"));
    // All these tables are the same one to a cache.
    let mut versioned = database.versioned.clone();
    let mut blocks = BlockBasedOptions::default();
    blocks.disable_cache();
    blocks.set_bloom_filter(10.0, false);
    versioned.set_block_based_table_factory(&blocks);
    let (mut noticed, mut unharmed) = (0, Vec::new());
    for at in 0..=whole.len() {
        let mut bytes = whole.clone();
        // One round is for the table as it is.
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << (at % 8);
        }
        fs::write(&damaged, bytes).unwrap();
        database.db.drop_cf(VERSIONED).unwrap();
        database.db.create_cf(VERSIONED, &versioned).unwrap();
        let outcome = database.ingest(true, vec![damaged.clone()]).and_then(|()| read(&database));
        match outcome {
            Ok(found) => {
                assert!(found == records, "byte {at} of {}: other records", whole.len());
                unharmed.push(at);
            }
            Err(error) => {
                assert_eq!(error.kind(), rocksdb::ErrorKind::Corruption, "byte {at}: {error}");
                noticed += 1;
            }
        }
    }
    println!("{noticed} of {} noticed, no harm at {unharmed:?}", whole.len());
    assert_eq!(unharmed.pop(), Some(whole.len()));
    // The footer has no checksum: its padding, say. A damaged filter is as good as none.
    let footer = whole.len() - 53;
    let filter = index_offset(&whole[footer + 1..]) - (64 + 5 + 5);
    assert!(
        unharmed.iter().all(|at| (filter..filter + 64 + 5 + 5).contains(at) || *at >= footer),
        "{filter}: {unharmed:?}"
    );
}

/// The third number of the handles in a footer.
fn index_offset(handles: &[u8]) -> usize {
    let mut ends = handles.iter().enumerate().filter(|(_, byte)| **byte < 0x80).map(|(at, _)| at);
    let begin = 1 + ends.nth(1).unwrap();
    let number =
        handles[begin..].iter().scan(true, |more, byte| std::mem::replace(more, *byte >= 0x80).then_some(byte));
    number.enumerate().map(|(nth, byte)| usize::from(byte & 0x7f) << (7 * nth)).sum()
}
