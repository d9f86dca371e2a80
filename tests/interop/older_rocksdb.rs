//! What storeshift writes, read by the tools of an older RocksDB (Debian's `rocksdb-tools`, 7.8): nodes are not all of the
//! same age.

use super::{
    go::{check, is_there, skipped},
    reader,
    set::{self, Migrated, text},
};
use std::{fs, path::Path, process::Command};

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Whether the older release's tools can be run; says so if not.
pub fn tools_are_there() -> bool {
    let there = is_there("ldb", "--version") && is_there("sst_dump", "--help");
    if !there {
        skipped("rocksdb-tools (ldb, sst_dump)");
    }
    there
}

/// All pairs of the default column family, as the older release reads them. On a copy, for `ldb` keeps a log there.
fn scan(directory: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let copy = set::scratch();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let db = format!("--db={}", text(copy.path()));
    let printed = check(Command::new("ldb").args([&db, "--ignore_unknown_options", "--hex", "scan"]));
    let line = |line: &str| {
        let (key, value) = line.split_once(" : ")?;
        Some((unhex(key.strip_prefix("0x")?), unhex(value.strip_prefix("0x")?)))
    };
    printed.lines().map(|text| line(text).unwrap_or_else(|| panic!("{text}"))).collect()
}

/// All records of all tables, as the older release reads them: key with timestamp, and value.
fn dump_tables(directory: &Path) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let file = format!("--file={}", text(directory));
    let printed = check(Command::new("sst_dump").args([&file, "--command=scan", "--output_hex"]));
    assert!(!printed.contains("orrupt") && !printed.contains("not supported"), "{printed}");
    let record = |line: &str| {
        let (key, rest) = line.strip_prefix('\'')?.split_once("' seq:")?;
        let (kind, value) = rest.split_once(" => ").or(rest.split_once(" =>"))?;
        let kind = kind.split_once("type:")?.1;
        let value = match kind.trim() {
            "1" => Some(unhex(value.trim())),
            "20" => None,
            kind => panic!("a record of kind {kind}"),
        };
        Some((unhex(key), value))
    };
    printed.lines().filter_map(record).collect()
}

fn judge(migrated: &Migrated) {
    let mut pairs = Vec::new();
    reader::pairs(&migrated.sc(), |key, value| pairs.push((key.to_vec(), value.to_vec())));
    assert!(scan(&migrated.sc()) == pairs);

    let latest = reader::storage_latest(&migrated.ss()).to_le_bytes().to_vec();
    assert_eq!(scan(&migrated.ss()), [(b"s/latest".to_vec(), latest.clone())]);

    // `ldb` has no way to scan a column family with timestamps; its tables can be read one by one.
    let mut entries = vec![(b"s/latest".to_vec(), Some(latest))];
    reader::entries(&migrated.ss(), |entry| {
        let key = [entry.key, &entry.version.to_le_bytes()].concat();
        entries.push((key, entry.value.map(<[u8]>::to_vec)));
    });
    let mut dumped = dump_tables(&migrated.ss());
    entries.sort();
    dumped.sort();
    assert!(dumped == entries, "{} records, the older release reads {}", entries.len(), dumped.len());
}

#[test]
fn an_older_rocksdb_reads_every_record() {
    if !tools_are_there() {
        return;
    }
    judge(&set::fixture("small").migrate(&["--chunk-leaves", "50"]));
    judge(&set::fixture("small").migrate(&["--at", "oldest"]));
}
