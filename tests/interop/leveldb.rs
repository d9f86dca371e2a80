//! The goleveldb reader against goleveldb's own dump of databases in many shapes.

use super::{
    go,
    set::{scratch, text},
};
use std::{collections::BTreeMap, fs, path::Path, process::Command, time::SystemTime};
use storeshift::source::{
    leveldb,
    lsm::{Database, Options},
};

pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// What a Go program reads in a database.
pub fn go_dump(program: &str, dir: &Path) -> Pairs {
    let program = go::programs().unwrap().join(program);
    let output = Command::new(program).args(["dump", text(dir)]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut rest, mut pairs) = (&output.stdout[..], Vec::new());
    while !rest.is_empty() {
        let length = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let (key, value) = (length(0), length(4));
        pairs.push((rest[8..8 + key].to_vec(), rest[8 + key..8 + key + value].to_vec()));
        rest = &rest[8 + key + value..];
    }
    pairs
}

/// Names, contents and times of change of the files in a directory.
pub fn snapshot(dir: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let modified = entry.metadata().unwrap().modified().unwrap();
        (entry.file_name().into_string().unwrap(), (fs::read(entry.path()).unwrap(), modified))
    });
    entries.collect()
}

/// Reads the whole of a database and every key of it in any order, and compares.
pub fn compare(db: &Database, expect: &Pairs) {
    let mut iter = db.iter(b"", None);
    for (key, value) in expect {
        assert_eq!(iter.next().unwrap(), Some((&key[..], &value[..])));
    }
    assert_eq!(iter.next().unwrap(), None);
    let (mut cursor, mut out) = (db.cursor(), Vec::new());
    let mut read = |key: &[u8], value: Option<&[u8]>| {
        out.clear();
        let found = cursor.read_into(key, &mut out).unwrap();
        assert_eq!(found.then_some(&out[..]), value, "{}", key.escape_ascii());
    };
    for (key, value) in expect {
        read(key, Some(value));
    }
    for (key, value) in expect.iter().rev() {
        read(key, Some(value));
    }
    let mut random = 88_172_645_463_325_252u64;
    for _ in 0..expect.len() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (key, value) = &expect[random as usize % expect.len()];
        read(key, Some(value));
        let absent = [key, &b"\0"[..]].concat();
        read(&absent, None);
        if random.is_multiple_of(64) {
            iter.seek(&absent);
            let at = expect.partition_point(|(key, _)| key < &absent);
            let there = expect.get(at).map(|(key, value)| (&key[..], &value[..]));
            assert_eq!(iter.next().unwrap(), there);
        }
    }
    let keys = expect.iter().filter(|(key, _)| !key.is_empty());
    for (key, _) in keys.step_by(7) {
        let shorter = &key[..key.len() - 1];
        let at = expect.binary_search_by(|(key, _)| key[..].cmp(shorter)).ok();
        read(shorter, at.map(|at| &expect[at].1[..]));
    }
}

#[test]
fn contents_equal_goleveldbs_own_dump_in_any_order() {
    let Some(programs) = go::programs() else { return };
    for (kind, seed) in ["small", "l0", "plain", "snap", "closed", "default"].into_iter().zip(1..) {
        let scratch = scratch();
        let dir = scratch.path().join(kind);
        go::check(Command::new(programs.join("leveldb")).args(["make", text(&dir), kind, &format!("{seed}")]));
        let expect = go_dump("leveldb", &dir);
        assert!(expect.len() > 1000, "{kind} has {} pairs", expect.len());
        let before = snapshot(&dir);
        for options in [Options::default(), Options { block_cache_bytes: 0, open_files: 1 }] {
            compare(&leveldb::open(&dir, options).unwrap(), &expect);
        }
        assert!(snapshot(&dir) == before, "{kind} was changed");
    }
}
