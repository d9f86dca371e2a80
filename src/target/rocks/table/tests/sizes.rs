//! What compresses becomes smaller, what does not stays as it is, and what cannot be written is refused.

use super::{
    super::{BUFFER, TableWriter},
    scratch::{Database, Random, table, usual},
};
use std::{fs, io, path::Path};

fn keys(count: u64) -> Vec<[u8; 8]> {
    (0..count).map(u64::to_be_bytes).collect()
}

fn size(directory: &Path, values: &[Vec<u8>]) -> u64 {
    let keys = keys(values.len() as u64);
    let records = keys.iter().zip(values).map(|(key, value)| (&key[..], &value[..]));
    table(directory, "a.sst", &usual(false), records).metadata().unwrap().len()
}

#[test]
fn only_what_compresses_is_compressed() {
    let scratch = tempfile::tempdir().unwrap();
    let mut random = Random(3);
    let noise: Vec<_> = (0..20_000).map(|_| random.bytes(250)).collect();
    let text: Vec<_> = (0..20_000).map(|n| format!("{n} {}", "abcdefghij".repeat(25)).into_bytes()).collect();
    let raw = 20_000 * 250;
    let plain = size(scratch.path(), &noise);
    assert!((raw..raw + raw / 10).contains(&plain), "{plain}");
    let packed = size(scratch.path(), &text);
    assert!(packed < raw / 5, "{packed}");
    // Compression is taken up again soon after what does not compress.
    let mixed: Vec<_> = [&noise, &text, &noise, &text].into_iter().flat_map(|part| part[..5000].to_vec()).collect();
    let mixed = size(scratch.path(), &mixed);
    assert!(mixed < (plain + packed) / 2 + raw / 10, "{plain} {packed} {mixed}");
}

#[test]
fn until_a_table_ends_it_is_written_in_whole_buffers() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a.sst");
    let mut random = Random(8);
    let mut writer = TableWriter::create(&path, &usual(false)).unwrap();
    let mut lengths = Vec::new();
    for key in keys(3000) {
        let value = random.bytes(if key.ends_with(&[7]) { 2 * BUFFER + 77 } else { 999 });
        writer.add(&key, &[&value]).unwrap();
        lengths.push(path.metadata().unwrap().len());
        assert!(writer.bytes() - lengths.last().unwrap() < (3 * BUFFER) as u64 + 2000);
    }
    writer.finish().unwrap();
    lengths.dedup();
    assert!(lengths.len() > 12 && lengths.iter().all(|length| length % BUFFER as u64 == 0), "{lengths:?}");
}

#[test]
fn what_is_small_is_read_without_what_is_large() {
    let scratch = tempfile::tempdir().unwrap();
    let mut random = Random(5);
    let large = |key: u64| key % 5 == 3;
    let values: Vec<_> = (0..40).map(|key| random.bytes(if large(key) { 70_000 } else { 50 })).collect();
    let keys = keys(40);
    let records = keys.iter().zip(&values).map(|(key, value)| (&key[..], &value[..]));
    let path = table(scratch.path(), "a.sst", &usual(false), records);
    // A block is read whole, or its checksum does not fit: none with a large value does now.
    let mut bytes = fs::read(&path).unwrap();
    for (_, value) in (0..).zip(&values).filter(|(key, _)| large(*key)) {
        let at = bytes.windows(value.len()).position(|window| window == value).unwrap();
        bytes[at + 35_000] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
    let database = Database::open(&scratch.path().join("db"));
    database.ingest(false, vec![path]).unwrap();
    for ((number, key), value) in (0..).zip(&keys).zip(&values) {
        let found = database.db.get(key);
        assert_eq!(found.is_err(), large(number), "{number}");
        assert!(large(number) || found.unwrap().as_ref() == Some(value), "{number}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a.sst");
    let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
    let mut writer = TableWriter::create(&path, &usual(false)).unwrap();
    let part = vec![0; 1 << 20];
    let parts = vec![&part[..]; 4096];
    assert_eq!(kind(writer.add(b"a", &parts)), Err(io::ErrorKind::InvalidInput));
    writer.add(b"a", &[b"1"]).unwrap();
    assert_eq!(kind(writer.add(b"b", &parts)), Err(io::ErrorKind::InvalidInput));
    writer.add(b"b", &[]).unwrap();
    writer.finish().unwrap();

    let mut writer = TableWriter::create(&path, &usual(true)).unwrap();
    assert_eq!(kind(writer.add(b"short", &[b"1"])), Err(io::ErrorKind::InvalidInput));
    assert_eq!(kind(writer.finish()), Err(io::ErrorKind::InvalidInput));
    assert!(TableWriter::create(&scratch.path().join("none/a.sst"), &usual(false)).is_err());
}

#[test]
fn a_file_that_has_another_link_is_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let (path, link) = (scratch.path().join("a.sst"), scratch.path().join("000009.sst"));
    fs::write(&path, "in use").unwrap();
    fs::hard_link(&path, &link).unwrap();
    size(scratch.path(), &[vec![1]]);
    assert_eq!(fs::read(&link).unwrap(), b"in use");
}
