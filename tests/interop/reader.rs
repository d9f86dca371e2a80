//! Reads what storeshift wrote with the rocksdb crate alone: no options, keys or encodings of storeshift's own code.

use rocksdb::{ColumnFamilyDescriptor, DB, Options, ReadOptions};
use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

/// One record of state storage.
pub struct Entry<'a> {
    /// `s/k:<store>/` and the key.
    pub key: &'a [u8],
    /// The version it was written at.
    pub version: u64,
    /// `None` is a removal.
    pub value: Option<&'a [u8]>,
}

/// Every pair of a state commitment, in order.
pub fn pairs(sc: &Path, mut visit: impl FnMut(&[u8], &[u8])) {
    let db = DB::open_for_read_only(&Options::default(), sc, true).unwrap();
    let mut records = db.raw_iterator();
    records.seek_to_first();
    while let Some((key, value)) = records.item() {
        visit(key, value);
        records.next();
    }
    records.status().unwrap();
}

fn storage(ss: &Path) -> DB {
    let family = Options::default().get_options_from_string("comparator=leveldb.BytewiseComparator.u64ts").unwrap();
    let families = [
        ColumnFamilyDescriptor::new("default", Options::default()),
        ColumnFamilyDescriptor::new("state_storage", family),
    ];
    DB::open_cf_descriptors_read_only(&Options::default(), ss, families, true).unwrap()
}

/// Every record of a state storage, of all versions, removals included.
pub fn entries(ss: &Path, mut visit: impl FnMut(Entry)) {
    let db = storage(ss);
    let mut read = ReadOptions::default();
    read.set_iter_start_ts(0u64.to_le_bytes());
    read.set_timestamp(u64::MAX.to_le_bytes());
    let mut records = db.raw_iterator_cf_opt(db.cf_handle("state_storage").unwrap(), read);
    records.seek_to_first();
    while let Some((key, value)) = records.item() {
        // With a range of timestamps keys come as RocksDB keeps them: key, timestamp, kind and sequence.
        let (key, tail) = key.split_at(key.len() - 16);
        let version = u64::from_le_bytes(tail[..8].try_into().unwrap());
        let value = match tail[8] {
            1 => Some(value),
            0x14 => None,
            kind => panic!("a record of kind {kind}"),
        };
        visit(Entry { key, version, value });
        records.next();
    }
    records.status().unwrap();
}

/// The newest version state storage says it has.
pub fn storage_latest(ss: &Path) -> u64 {
    let db = storage(ss);
    u64::from_le_bytes(db.get("s/latest").unwrap().unwrap().try_into().unwrap())
}

/// Writes all pairs of a state commitment as `goload` and `rawdiff` read them.
pub fn dump_pairs(sc: &Path, to: &Path) {
    let mut out = BufWriter::new(File::create(to).unwrap());
    pairs(sc, |key, value| {
        for field in [key, value] {
            out.write_all(&(field.len() as u32).to_le_bytes()).unwrap();
            out.write_all(field).unwrap();
        }
    });
    out.flush().unwrap();
}

/// Writes all records of a state storage as `ssverify` reads them.
pub fn dump_entries(ss: &Path, to: &Path) {
    let mut out = BufWriter::new(File::create(to).unwrap());
    entries(ss, |entry| {
        out.write_all(&[u8::from(entry.value.is_none())]).unwrap();
        out.write_all(&(entry.key.len() as u32).to_le_bytes()).unwrap();
        out.write_all(entry.key).unwrap();
        out.write_all(&entry.version.to_le_bytes()).unwrap();
        if let Some(value) = entry.value {
            out.write_all(&(value.len() as u32).to_le_bytes()).unwrap();
            out.write_all(value).unwrap();
        }
    });
    out.flush().unwrap();
}
