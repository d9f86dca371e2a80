//! RocksDB sources: one that a node's RocksDB 7.8 wrote (`pruned-rocksdb`, by cosmos-db through its Go binding), and every fixture
//! rewritten by RocksDB in other shapes. The target must be that of the goleveldb fixture, record by record.

use crate::helper::{FIXTURES, Job, baseline, copy, files, fixture, flip, fresh, offsets, text};
use rocksdb::{BlockBasedOptions, DB, DBCompressionType, Options, WriteBatch};
use std::{fs, path::Path};
use storeshift::source::{leveldb, pebble};

/// How RocksDB is to write a copy.
struct Shape {
    format: i32,
    compression: DBCompressionType,
    /// Bytes of a write buffer: small ones make many files.
    buffer: usize,
    /// No compaction.
    level0: bool,
}

/// Copies a goleveldb database into RocksDB. Every third pair is written twice, and some are deleted again.
fn rewrite(from: &Path, to: &Path, shape: &Shape) {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(shape.compression);
    options.set_write_buffer_size(shape.buffer);
    options.set_target_file_size_base(64 << 10);
    options.set_max_bytes_for_level_base(128 << 10);
    options.set_level_compaction_dynamic_level_bytes(false);
    options.set_disable_auto_compactions(shape.level0);
    options.set_level_zero_slowdown_writes_trigger(1000);
    options.set_level_zero_stop_writes_trigger(2000);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_format_version(shape.format);
    blocks.set_bloom_filter(10.0, false);
    options.set_block_based_table_factory(&blocks);
    let db = DB::open(&options, to).unwrap();
    let open = if from.ends_with("pebble/application.db") { pebble::open } else { leveldb::open };
    let source = open(from, Default::default()).unwrap();
    for round in 0..2 {
        let mut pairs = source.iter(b"", None);
        let mut nth = 0;
        while let Some((key, value)) = pairs.next().unwrap() {
            nth += 1;
            let mut batch = WriteBatch::default();
            let beside = [key, b"\0"].concat();
            match round {
                0 if nth % 3 == 0 => batch.put(key, b"an older value"),
                0 => batch.put(&beside, value),
                _ => {
                    batch.put(key, value);
                    batch.delete(&beside);
                }
            }
            db.write(batch).unwrap();
        }
    }
    drop(db);
    for name in ["LOG", "LOCK"] {
        fs::remove_file(to.join(name)).unwrap();
    }
}

#[test]
fn a_database_that_a_nodes_rocksdb_wrote_migrates_to_the_same_target() {
    for more in [&[][..], &["--at", "oldest"]] {
        let job = Job::of("pruned-rocksdb", more);
        job.run(&[]).expect(0, &[]);
        job.dump().assert_same(&baseline("pruned", more), "pruned-rocksdb");
        job.command("verify", &["--source", &text(&fixture("pruned"))]).expect(0, &[]);
        job.command("verify", &["--source", &text(&fixture("pruned-rocksdb"))]).expect(0, &[]);
    }
}

#[test]
fn every_fixture_migrates_from_rocksdb_to_the_same_target_whatever_its_shape() {
    let shapes = [
        Shape { format: 5, compression: DBCompressionType::Snappy, buffer: 64 << 10, level0: false },
        Shape { format: 7, compression: DBCompressionType::Zstd, buffer: 64 << 10, level0: true },
        Shape { format: 2, compression: DBCompressionType::Lz4, buffer: 256 << 10, level0: false },
        // All of it is in the log.
        Shape { format: 5, compression: DBCompressionType::None, buffer: 64 << 20, level0: false },
    ];
    for (nth, name) in FIXTURES.into_iter().enumerate() {
        for (at, shape) in shapes.iter().enumerate() {
            // `small` in all shapes, each other one in two.
            if nth > 0 && (nth + at) % 2 == 0 {
                continue;
            }
            let home = fresh();
            let source = home.path().join("application.db");
            rewrite(&fixture(name), &source, shape);
            let more = &["--at", "oldest"];
            let job = Job::new(source, more);
            job.run(&[]).expect(0, &[]);
            job.dump().assert_same(&baseline(name, more), &format!("{name}, shape {at}"));
        }
    }
}

/// A run on a damaged copy: refused with exit code 5 and one of these words, or the target of the undamaged.
#[track_caller]
fn found(source: &Path, named: &[&str], what: &str) -> bool {
    let more = &["--at", "oldest"];
    let job = Job::new(source.to_owned(), more);
    let ran = job.run(&[]);
    if ran.code == Some(0) {
        job.dump().assert_same(&baseline("pruned", more), what);
        return false;
    }
    println!("{what}: {}", ran.err.lines().find(|line| line.starts_with("error")).unwrap_or_default());
    assert_eq!(ran.code, Some(5), "{what}: {ran:#?}");
    assert!(named.iter().any(|named| ran.err.contains(named)), "{what}: {ran:#?}");
    true
}

#[test]
fn damage_in_a_rocksdb_source_is_found_and_its_file_named_or_it_does_not_matter() {
    let home = fresh();
    let source = home.path().join("application.db");
    copy(&fixture("pruned-rocksdb"), &source);
    let (mut flips, mut harmless) = (0, 0);
    // The log comes first, and of the tables every second is enough.
    let kinds = ["log", "sst"].map(|kind| files(&source, kind)).concat();
    for (nth, file) in
        kinds.iter().step_by(2).chain(&[source.join("MANIFEST-000005"), source.join("CURRENT")]).enumerate()
    {
        let name = file.file_name().unwrap().to_str().unwrap();
        let good = fs::read(file).unwrap();
        for offset in offsets(file, 5) {
            flip(file, offset, 0x04);
            // Of the properties RocksDB says what is wrong with them and not whose they are.
            match found(&source, &[name, "ropert"], &format!("byte {offset} of {name}")) {
                true => flips += 1,
                false => harmless += 1,
            }
            fs::write(file, &good).unwrap();
        }
        if nth % 3 != 0 && !name.ends_with("5") {
            continue;
        }
        fs::write(file, &good[..good.len() - 7]).unwrap();
        let torn = name.ends_with("log");
        if torn {
            // As a kill leaves it: an older state, or a version that is not whole any more.
            let job = Job::new(source.clone(), &[]);
            assert!(matches!(job.run(&[]).code, Some(0 | 4 | 5)));
        } else {
            assert!(found(&source, &[name], &format!("{name} cut")));
        }
        fs::remove_file(file).unwrap();
        if !torn {
            assert!(found(&source, &[name], &format!("{name} missing")));
        }
        fs::write(file, &good).unwrap();
    }
    println!("a flipped byte: found {flips}, harmless {harmless}");
    // What is harmless lies in filters, and in the fast index, which is not read.
    assert!(flips > 2 * harmless, "{flips} {harmless}");
    assert!(!found(&source, &[], "the good copy"));
}
