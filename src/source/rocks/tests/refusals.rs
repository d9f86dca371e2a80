//! What no node writes is refused by name, and is not called damage.

use super::writer::{Shape, USUAL, open, options, write};
use crate::source::{
    Engine as _, SourceError,
    rocks::{Options, Rocks, RocksError},
};
use rocksdb::{ColumnFamilyDescriptor, DB};
use std::{fs, path::Path};

#[track_caller]
fn refused(path: &Path, words: &[&str]) {
    let error = open(path).unwrap_err();
    let said = error.to_string();
    println!("{said}");
    assert!(!error.is_corruption() && !error.is_passing(), "{error:?}");
    assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
}

#[test]
fn column_families_beside_the_default_one_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(USUAL);
    options.create_missing_column_families(true);
    drop(DB::open_cf(&options, dir.path(), ["default", "state_storage", "more"]).unwrap());
    refused(dir.path(), &["column families", "state_storage, more"]);
}

#[test]
fn other_key_orders_are_refused_by_name_timestamps_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = options(USUAL);
    other.set_comparator("reversed", Box::new(|a: &[u8], b: &[u8]| b.cmp(a)));
    drop(DB::open(&other, dir.path()).unwrap());
    refused(dir.path(), &["orders its keys otherwise", "reversed"]);

    let dir = tempfile::tempdir().unwrap();
    let mut stamped = options(USUAL).get_options_from_string("comparator=leveldb.BytewiseComparator.u64ts").unwrap();
    stamped.create_if_missing(true);
    let db = DB::open_cf_descriptors(&stamped, dir.path(), [ColumnFamilyDescriptor::new("default", stamped.clone())]);
    let db = db.unwrap();
    db.put_with_ts(b"key", 7u64.to_le_bytes(), b"value").unwrap();
    db.flush().unwrap();
    drop(db);
    refused(dir.path(), &["has timestamps in them"]);
}

#[test]
fn a_value_that_waits_for_a_merge_operator_is_refused_when_read() {
    for flushed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut merging = options(USUAL);
        merging.set_merge_operator_associative("joined", |_, old, more| {
            Some([old.unwrap_or_default(), &more.iter().flatten().copied().collect::<Vec<u8>>()].concat())
        });
        let db = DB::open(&merging, dir.path()).unwrap();
        db.put(b"a", b"1").unwrap();
        db.merge(b"b", b"2").unwrap();
        if flushed {
            db.flush().unwrap();
        }
        drop(db);
        let said = match open(dir.path()) {
            Err(error) => error.to_string(),
            Ok(rocks) => {
                let error = rocks.get(b"b").unwrap_err();
                let mut reader = rocks.reader(crate::iavl::Access::Runs);
                let again = reader.read(b"b", &mut Vec::new()).unwrap_err();
                println!("{again}");
                error.to_string()
            }
        };
        println!("{said}");
        assert!(said.to_lowercase().contains("merge"), "{said}");
    }
}

#[test]
fn values_in_blob_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut blobs = options(USUAL);
    blobs.set_enable_blob_files(true);
    blobs.set_min_blob_size(10);
    let db = DB::open(&blobs, dir.path()).unwrap();
    db.put(b"key", [7; 100]).unwrap();
    db.flush().unwrap();
    drop(db);
    refused(dir.path(), &["blob"]);
}

#[test]
fn a_table_of_a_format_to_come_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), Shape { flushed: true, ..USUAL }, 1);
    let tables = open(dir.path()).unwrap().db.live_files().unwrap();
    let path = dir.path().join(tables.last().unwrap().name.trim_start_matches('/'));
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 12;
    bytes[at] = 8;
    fs::write(&path, bytes).unwrap();
    refused(dir.path(), &[path.file_name().unwrap().to_str().unwrap(), "format 8, of a newer RocksDB"]);
}

#[test]
fn logs_larger_than_memory_may_hold_are_refused_before_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), Shape { buffer: 64 << 20, ..USUAL }, 1);
    let bounds = Options { cache_bytes: 1 << 20, open_files: 64, log_bytes: 10_000 };
    let error = Rocks::open(dir.path(), bounds).unwrap_err();
    assert!(matches!(error, RocksError::Foreign { .. }) && error.to_string().contains("at most 10000"), "{error}");
}

#[test]
fn a_directory_that_is_not_there_is_not_created() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gone");
    let error = open(&path).unwrap_err();
    assert!(matches!(error, RocksError::Io { .. }), "{error:?}");
    assert!(!path.exists());
    assert!(!SourceError::from(error).is_corruption());
}
