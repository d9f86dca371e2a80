//! Wrong pairs planted in a finished target with RocksDB alone, for `verify` to find and to repair.

use crate::dump::timestamped;
use rocksdb::{ColumnFamilyDescriptor, DB, Options};
use std::path::Path;

/// A change of SC records: none removes.
pub fn sc(target: &Path, key: &[u8], value: Option<&[u8]>) {
    let db = DB::open(&Options::default(), target.join("sc")).unwrap();
    match value {
        Some(value) => db.put(key, value).unwrap(),
        None => db.delete(key).unwrap(),
    }
    db.flush().unwrap();
}

/// A change of SS at a version: none removes.
pub fn ss(target: &Path, key: &[u8], version: u64, value: Option<&[u8]>) {
    let families = [
        ColumnFamilyDescriptor::new("default", Options::default()),
        ColumnFamilyDescriptor::new("state_storage", timestamped()),
    ];
    let db = DB::open_cf_descriptors(&Options::default(), target.join("ss"), families).unwrap();
    let family = db.cf_handle("state_storage").unwrap();
    match value {
        Some(value) => db.put_cf_with_ts(family, key, version.to_le_bytes(), value).unwrap(),
        None => db.delete_cf_with_ts(family, key, version.to_le_bytes()).unwrap(),
    }
    db.flush_cf(family).unwrap();
}
