//! The PebbleDB reader against what cosmos-db reads: databases in many shapes and of every format major version, and those
//! that have to be refused.

use super::{
    go,
    leveldb::{compare, go_dump, snapshot},
    set::{scratch, text},
};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use storeshift::source::{
    self, SourceError,
    lsm::{LsmError, Options},
    pebble,
};
use tempfile::TempDir;

fn make(programs: &Path, kind: &str, seed: u64, format: u64) -> (TempDir, PathBuf) {
    let scratch = scratch();
    let dir = scratch.path().join("made.db");
    let (seed, format) = (seed.to_string(), format.to_string());
    go::check(Command::new(programs.join("pebble")).args(["make", text(&dir), kind, &seed, &format]));
    (scratch, dir)
}

/// cosmos-db opens for writing, so it is given a copy.
fn judge(scratch: &Path, dir: &Path) -> super::leveldb::Pairs {
    let copy = scratch.join("judged.db");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    go_dump("pebble", &copy)
}

fn holds(programs: &Path, kind: &str, seed: u64, format: u64) {
    let (scratch, dir) = make(programs, kind, seed, format);
    let before = snapshot(&dir);
    let options = [Options::default(), Options { block_cache_bytes: 0, open_files: 1 }];
    // Without cgo, Pebble itself cannot read all of its Zstandard: the same changes without compression are the judge.
    let plain = (kind == "zstd").then(|| make(programs, "plain", seed, format));
    let expect = judge(scratch.path(), plain.as_ref().map_or(&dir, |(_, plain)| plain));
    assert!(expect.len() > 500, "{kind} has {} pairs", expect.len());
    for options in options {
        let db = pebble::open(&dir, options).unwrap_or_else(|error| panic!("{kind} of format {format}: {error}"));
        compare(&db, &expect);
        if kind == "log" {
            assert!(db.files().is_empty() && db.log_entries() > 500);
        }
        if kind == "l0" {
            assert!(db.files().iter().filter(|file| file.level == 0).count() > 5);
        }
    }
    assert!(snapshot(&dir) == before, "{kind} was changed");
}

#[test]
fn contents_equal_what_cosmos_db_reads_in_any_order() {
    let Some(programs) = go::programs() else { return };
    let kinds = [
        "log",
        "l0",
        "small",
        "plain",
        "default",
        "compacted",
        "zstd",
        "snapshots",
        "ingested",
        "table-xxhash",
        "recycled",
    ];
    for (kind, seed) in kinds.into_iter().zip(1..) {
        holds(programs, kind, seed, 1);
    }
}

#[test]
fn every_format_major_version_is_read() {
    let Some(programs) = go::programs() else { return };
    for format in 2..=pebble::NEWEST_FORMAT {
        for kind in ["small", "snapshots", "ingested"] {
            if kind == "small" || format.is_multiple_of(3) || format == pebble::NEWEST_FORMAT {
                holds(programs, kind, format, format);
            }
        }
    }
}

#[test]
fn what_would_be_read_wrong_is_refused_by_name() {
    let Some(programs) = go::programs() else { return };
    for (kind, word) in [
        ("merge", "merge operand"),
        ("merge-log", "merge operand"),
        ("range-del", "range deletion"),
        ("range-del-log", "range deletion"),
    ] {
        let (_scratch, dir) = make(programs, kind, 9, 1);
        let refused = match pebble::open(&dir, Options::default()) {
            // Of merge operands in tables one knows when they are met.
            Ok(db) if kind == "merge" => db.get(b"m").unwrap_err(),
            opened => opened.unwrap_err(),
        };
        assert!(matches!(refused, LsmError::Unsupported { .. }), "{kind}: {refused}");
        assert!(refused.to_string().contains(word), "{kind}: {refused}");
    }
}

#[test]
fn a_node_that_has_the_database_open_is_noticed() {
    let Some(programs) = go::programs() else { return };
    let (_scratch, dir) = make(programs, "log", 3, 1);
    let open = || source::open(&dir, 1 << 20);
    assert_eq!(open().unwrap().engine(), "PebbleDB");
    let mut node = Command::new(programs.join("pebble"))
        .args(["hold", text(&dir)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut says = String::new();
    BufReader::new(node.stdout.take().unwrap()).read_line(&mut says).unwrap();
    assert_eq!(says, "open\n");
    assert!(matches!(open(), Err(SourceError::InUse(_))));
    drop(node.stdin.take());
    assert!(node.wait().unwrap().success());
    open().unwrap();
}
