//! What is read is what was written, whatever the shape, the order and the kind of reader.

use super::writer::{Model, Random, Shape, USUAL, key, open, write};
use crate::{
    iavl::Access,
    source::{
        Engine as _,
        rocks::{Rocks, log, logs},
    },
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

#[test]
fn a_log_that_is_written_over_an_older_one_ends_where_its_records_end() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let mut options = super::writer::options(Shape { buffer: 64 << 20, ..USUAL });
    options.set_recycle_log_file_num(2);
    let database = rocksdb::DB::open(&options, &source).unwrap();
    let (mut random, mut model) = (Random(9), Model::new());
    let mut over_older = 0;
    for nth in 1..=1200u32 {
        let (key, value) = (key(&mut random), vec![nth as u8; random.below(900) as usize]);
        database.put(&key, &value).unwrap();
        model.insert(key, value);
        if nth % 200 == 150 {
            database.flush().unwrap();
        }
        if nth % 30 != 0 {
            continue;
        }
        // As a kill leaves it: nobody has cut the log off behind its last record.
        let copy = copy_of(&source);
        let rocks = open(copy.path()).unwrap_or_else(|error| panic!("after {nth}: {error}"));
        for (key, value) in &model {
            assert!(rocks.get(key).unwrap().as_ref() == Some(value), "after {nth}: {key:02x?}");
        }
        over_older += u32::from(ends_in_an_older_log(copy.path()));
    }
    assert!(over_older > 15, "{over_older}");
}

/// A copy of a database that is open, as it would be after a kill now.
fn copy_of(source: &Path) -> tempfile::TempDir {
    loop {
        let dir = tempfile::tempdir().unwrap();
        let names = std::fs::read_dir(source).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.filter(|name| name != "LOCK" && name != "LOG");
        // What a flush has made superfluous goes when RocksDB has the time.
        let copied = names.map(|name| std::fs::copy(source.join(&name), dir.path().join(&name)));
        if copied.collect::<Result<Vec<_>, _>>().is_ok() {
            return dir;
        }
    }
}

/// Whether more lies behind the last record of the newest log than a record takes.
fn ends_in_an_older_log(path: &Path) -> bool {
    let (number, log, bytes) = logs::list(path, 0).unwrap().pop().unwrap();
    let mut last = 0;
    let end = log::walk(&log, number, std::fs::File::open(&log).unwrap(), |offset, _| {
        last = offset;
        Ok(())
    });
    assert_eq!(end.unwrap(), log::End::Whole);
    bytes > last + 2000
}
