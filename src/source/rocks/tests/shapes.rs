//! What is read is what was written, whatever the shape, the order and the kind of reader.

use super::writer::{Model, Random, Shape, USUAL, key, open, write};
use crate::{
    iavl::Access,
    source::{Engine as _, rocks::Rocks},
};
use rocksdb::DBCompressionType;
use std::{collections::BTreeMap, path::Path, time::SystemTime};

#[track_caller]
fn judge(rocks: &Rocks, model: &Model, seed: u64) {
    let mut random = Random(seed);
    let ascending: Vec<Vec<u8>> = model.keys().cloned().collect();
    let sparse = ascending.iter().step_by(7).cloned().collect();
    let descending = ascending.iter().rev().cloned().collect();
    // Half of these are not there.
    let anywhere = (0..3000).map(|_| key(&mut random)).collect();
    let mut sorted: Vec<Vec<u8>> = (0..3000).map(|_| key(&mut random)).collect();
    sorted.sort();
    let orders: [Vec<Vec<u8>>; 5] = [ascending, sparse, descending, anywhere, sorted];
    for access in [Access::Runs, Access::Points] {
        for (nth, keys) in orders.iter().enumerate() {
            let mut reader = rocks.reader(access);
            for key in keys {
                let mut out = b"before".to_vec();
                let found = reader.read(key, &mut out).unwrap();
                let wanted = model.get(key);
                assert_eq!(found, wanted.is_some(), "{access:?}, order {nth}, {key:02x?}");
                assert_eq!(
                    out,
                    [&b"before"[..], wanted.map_or(&[][..], Vec::as_slice)].concat(),
                    "{access:?}, order {nth}"
                );
            }
        }
    }
    for key in (0..1000).map(|_| key(&mut random)) {
        assert_eq!(rocks.get(&key).unwrap().as_ref(), model.get(&key));
    }
}

fn files(path: &Path) -> BTreeMap<std::ffi::OsString, (Vec<u8>, SystemTime)> {
    let entries = std::fs::read_dir(path).unwrap().map(Result::unwrap);
    let mut found: BTreeMap<_, _> = entries
        .map(|entry| {
            let modified = entry.metadata().unwrap().modified().unwrap();
            (entry.file_name(), (std::fs::read(entry.path()).unwrap(), modified))
        })
        .collect();
    found.insert(".".into(), (Vec::new(), path.metadata().unwrap().modified().unwrap()));
    found
}

#[track_caller]
fn holds(shape: Shape, levels: impl Fn(&[usize]) -> bool) {
    let dir = tempfile::tempdir().unwrap();
    let model = write(dir.path(), shape, 42);
    let before = files(dir.path());
    let rocks = open(dir.path()).unwrap();
    let mut at = [0; 7];
    rocks.db.live_files().unwrap().iter().for_each(|file| at[file.level as usize] += 1);
    assert!(levels(&at), "{shape:?}: files by level {at:?}");
    judge(&rocks, &model, 7);
    drop(rocks);
    assert!(files(dir.path()) == before, "{shape:?}: the directory was changed");
}

#[test]
fn every_table_format_and_compression_is_read() {
    for format in 2..=7 {
        for compression in [
            DBCompressionType::None,
            DBCompressionType::Snappy,
            DBCompressionType::Lz4,
            DBCompressionType::Lz4hc,
            DBCompressionType::Zstd,
        ] {
            holds(Shape { format, compression, ..USUAL }, |levels| levels.iter().sum::<usize>() > 3);
        }
    }
}

#[test]
fn several_levels_with_deletes_in_them_are_read() {
    let shape = Shape { batches: 400, ..USUAL };
    holds(shape, |levels| levels.iter().skip(1).filter(|files| **files > 0).count() >= 2);
}

#[test]
fn many_files_at_level_0_are_read_newest_first() {
    holds(Shape { level0: true, buffer: 64 << 20, batches: 200, ..USUAL }, |levels| levels[0] >= 8);
}

#[test]
fn what_is_only_in_the_log_is_read() {
    holds(Shape { buffer: 64 << 20, ..USUAL }, |levels| levels.iter().all(|files| *files == 0));
}

#[test]
fn a_database_without_a_log_is_read() {
    holds(Shape { flushed: true, ..USUAL }, |levels| levels.iter().any(|files| *files > 0));
}

#[test]
fn a_range_takes_about_the_bytes_of_its_tables() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), Shape { flushed: true, ..USUAL }, 1);
    let rocks = open(dir.path()).unwrap();
    let all = rocks.approximate_bytes(b"s/k:", b"s/k;");
    let bank = rocks.approximate_bytes(b"s/k:bank/", b"s/k:bank0");
    let tables: u64 = rocks.db.live_files().unwrap().iter().map(|file| file.size as u64).sum();
    assert!(all > tables / 2 && all <= tables && bank > all / 6 && bank < all / 2, "{bank} of {all} of {tables}");
    assert_eq!(rocks.approximate_bytes(b"t", b"u"), 0);
}
