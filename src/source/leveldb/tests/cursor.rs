//! Precedence, tombstones, block and table borders, the cursor's shortcuts.

use std::collections::BTreeMap;
use std::fs;

use super::writer::{self, Entry, batch, delete, put};
use crate::source::leveldb::open;
use crate::source::lsm::{Database, Options};

fn pairs(db: &Database, start: &[u8], end: Option<&[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut iter = db.iter(start, end);
    let mut out = Vec::new();
    while let Some((key, value)) = iter.next().unwrap() {
        out.push((key.to_vec(), value.to_vec()));
    }
    out
}

#[test]
fn logs_hide_level_0_hides_deeper_levels_and_tombstones_hide_all() {
    let dir = tempfile::tempdir().unwrap();
    let levels = [
        (0, 9, vec![put(b"b", 30, b"b30"), put(b"e", 31, b"e31")]),
        // The higher number is the older data here: only the sequence tells.
        (0, 12, vec![put(b"b", 20, b"b20"), delete(b"d", 21)]),
        (1, 5, vec![delete(b"c", 15), put(b"d", 14, b"d14")]),
        (2, 3, vec![put(b"a", 1, b"a1"), put(b"b", 2, b"b2"), put(b"c", 3, b"c3"), put(b"d", 4, b"d4")]),
        (4, 2, vec![put(b"f", 1, b"f1")]),
    ];
    let logs = [
        (99, vec![batch(40, &[(b"a", Some(b"a log below the journal number"))])]),
        (100, vec![batch(60, &[(b"e", None), (b"g", Some(b"g61"))])]),
        (101, vec![batch(62, &[(b"g", Some(b"g62")), (b"h", Some(b""))])]),
    ];
    writer::database(dir.path(), &levels, &logs);
    let db = open(dir.path(), Options::default()).unwrap();
    let expect: [(&[u8], Option<&[u8]>); 9] = [
        (b"a", Some(b"a1")),
        (b"b", Some(b"b30")),
        (b"c", None),
        (b"d", None),
        (b"e", None),
        (b"f", Some(b"f1")),
        (b"g", Some(b"g62")),
        (b"h", Some(b"")),
        (b"i", None),
    ];
    let mut cursor = db.cursor();
    let mut out = b"kept".to_vec();
    for (key, value) in expect.iter().chain(expect.iter().rev()) {
        assert_eq!(db.get(key).unwrap().as_deref(), *value, "{key:?}");
        out.truncate(4);
        assert_eq!(cursor.read_into(key, &mut out).unwrap(), value.is_some());
        assert_eq!(out, [&b"kept"[..], value.unwrap_or(b"")].concat());
    }
    let live = expect.iter().filter_map(|(k, v)| Some((k.to_vec(), (*v)?.to_vec())));
    assert_eq!(pairs(&db, b"", None), live.collect::<Vec<_>>());
    assert_eq!(pairs(&db, b"b", Some(b"f")).len(), 1);
    assert_eq!(db.log_entries(), 3);
    assert_eq!(db.files().len(), 5);
    assert_eq!(db.approximate_bytes(b"x", None).unwrap(), 0);
    let whole: u64 = db.files().iter().map(|f| f.size).sum();
    assert_eq!(db.approximate_bytes(b"", None).unwrap(), whole);
}

#[test]
fn a_log_entry_older_than_a_table_entry_does_not_hide_it() {
    let dir = tempfile::tempdir().unwrap();
    let levels = [(2, 3, vec![put(b"a", 45, b"newer"), put(b"b", 7, b"older")])];
    let logs = [(100, vec![batch(40, &[(b"a", Some(b"stale")), (b"b", Some(b"b41"))])])];
    writer::database(dir.path(), &levels, &logs);
    let db = open(dir.path(), Options::default()).unwrap();
    assert_eq!(db.get(b"a").unwrap().unwrap(), b"newer");
    assert_eq!(db.get(b"b").unwrap().unwrap(), b"b41");
    assert_eq!(pairs(&db, b"", None)[0].1, b"newer");
    assert_eq!(pairs(&db, b"", None)[1].1, b"b41");
}

#[test]
fn versions_of_one_key_across_blocks_and_tables_give_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let versions: Vec<Entry> = (1..=40).rev().map(|n| put(b"hot", n, format!("v{n}").as_bytes())).collect();
    let first = [&[put(b"cold", 1, b"c")], &versions[..20]].concat();
    let second = [&versions[20..], &[put(b"warm", 1, b"w")]].concat();
    writer::database(dir.path(), &[(1, 3, first), (1, 4, second)], &[]);
    let db = open(dir.path(), Options::default()).unwrap();
    let mut cursor = db.cursor();
    for key in ["cold", "hot", "warm", "hot", "hot", "cold", "hos", "hot"] {
        let expect: &[u8] = match key {
            "cold" => b"c",
            "hot" => b"v40",
            "warm" => b"w",
            _ => b"",
        };
        let mut out = Vec::new();
        cursor.read_into(key.as_bytes(), &mut out).unwrap();
        assert_eq!(out, expect, "{key}");
    }
    assert_eq!(pairs(&db, b"", None).len(), 3);
    assert_eq!(pairs(&db, b"hot", None)[0].1, b"v40");
}

#[test]
fn a_separator_equal_to_the_next_blocks_key_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = ([put(b"a", 1, b"1")], [put(b"m", 5, b"5"), put(b"z", 6, b"6")]);
    let separators = [put(b"m", 9, b"").0, put(b"zz", 9, b"").0];
    let (bytes, _) = writer::table_with(&[&a, &b], &separators, false);
    let ends = [&a[0].0[..], &b[1].0];
    fs::write(dir.path().join("000003.sst"), &bytes).unwrap();
    let head = writer::head(b"leveldb.BytewiseComparator", 100, 50);
    writer::manifest(dir.path(), &[head, writer::added(3, 3, bytes.len(), ends)]);
    let db = open(dir.path(), Options::default()).unwrap();
    assert_eq!(db.get(b"m").unwrap().as_deref(), Some(&b"5"[..]));
    assert_eq!(pairs(&db, b"m", None).len(), 2);
    let mut cursor = db.cursor();
    let mut out = Vec::new();
    assert!(cursor.read_into(b"a", &mut out).unwrap());
    assert!(cursor.read_into(b"m", &mut out).unwrap());
    assert!(cursor.read_into(b"z", &mut out).unwrap());
    assert!(cursor.read_into(b"m", &mut out).unwrap());
    assert_eq!(out, b"1565");
}

#[test]
fn a_last_separator_beyond_the_next_tables_keys_does_not_hide_them() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = ([put(b"a", 1, b"1"), put(b"b", 1, b"2")], [put(b"c", 1, b"3")]);
    let head = writer::head(b"leveldb.BytewiseComparator", 100, 50);
    let mut records = vec![head];
    for (number, entries) in [(3, &a[..]), (4, &b[..])] {
        let (bytes, _) = writer::table_with(&[entries], &[put(b"x", 0, b"").0], true);
        fs::write(dir.path().join(format!("00000{number}.ldb")), &bytes).unwrap();
        let ends = [&entries[0].0[..], &entries[entries.len() - 1].0];
        records.push(writer::added(1, number, bytes.len(), ends));
    }
    writer::manifest(dir.path(), &records);
    let db = open(dir.path(), Options::default()).unwrap();
    let (mut cursor, mut out) = (db.cursor(), Vec::new());
    for key in [b"a", b"b", b"c"] {
        assert!(cursor.read_into(key, &mut out).unwrap());
    }
    assert_eq!(out, b"123");
}

#[test]
fn seek_goes_both_ways_and_keeps_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let entries = (0..100u8).map(|n| put(&[n], 1, &[n])).collect();
    writer::database(dir.path(), &[(1, 3, entries)], &[]);
    let db = open(dir.path(), Options::default()).unwrap();
    let mut iter = db.iter(&[90], Some(&[95]));
    assert_eq!(iter.next().unwrap().unwrap().0, [90]);
    iter.seek(&[3]);
    for n in 3..95 {
        assert_eq!(iter.next().unwrap(), Some((&[n][..], &[n][..])));
    }
    assert_eq!(iter.next().unwrap(), None);
    assert_eq!(iter.next().unwrap(), None);
    iter.seek(&[94]);
    assert!(iter.next().unwrap().is_some());
    assert!(iter.next().unwrap().is_none());
    iter.seek(&[99]);
    assert!(iter.next().unwrap().is_none());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(60))]

    #[test]
    fn any_order_of_reads_agrees_with_a_map(
        writes in proptest::collection::vec((0u16..400, 0u8..5, 0usize..40), 1..900),
        reads in proptest::collection::vec((0u16..420, 1u16..9), 1..120),
        cut in proptest::collection::vec(0usize..900, 3),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut model = BTreeMap::new();
        let mut cut = cut;
        cut.sort();
        // Oldest writes go to level 2 (three tables), then two level-0 tables, then a log.
        let mut parts: Vec<BTreeMap<Vec<u8>, Entry>> = vec![BTreeMap::new(); 4];
        let mut log = Vec::new();
        for (n, (key, kind, len)) in writes.iter().enumerate() {
            let key = [b"prefix/", &key.to_be_bytes()[..]].concat();
            let value = (*kind != 0).then(|| vec![n as u8; *len]);
            let part = cut.iter().filter(|&&c| c <= n).count();
            let sequence = n as u64 + 100;
            let entry = match &value {
                Some(value) => put(&key, sequence, value),
                None => delete(&key, sequence),
            };
            if part == 3 {
                log.push(batch(sequence, &[(&key, value.as_deref())]));
            } else {
                parts[part].insert(key.clone(), entry);
            }
            model.insert(key, value);
        }
        let mut levels = Vec::new();
        let deep: Vec<Entry> = parts[0].values().cloned().collect();
        for (n, entries) in deep.chunks(deep.len().div_ceil(3).max(1)).enumerate() {
            levels.push((2, 10 + n as u64, entries.to_vec()));
        }
        for (n, part) in parts[1..3].iter().enumerate() {
            if !part.is_empty() {
                levels.push((0, 20 + n as u64, part.values().cloned().collect()));
            }
        }
        writer::database(dir.path(), &levels, &[(100, log)]);
        let options = Options { block_cache_bytes: 20_000, open_files: 2 };
        let db = open(dir.path(), options).unwrap();
        // Through the cache, and reading ahead.
        let mut cursors = [db.cursor(), db.cursor_once()];
        let mut out = Vec::new();
        for (start, length) in reads {
            for n in start..start + length {
                let key = [b"prefix/", &n.to_be_bytes()[..]].concat();
                let expect = model.get(&key).and_then(|v| v.as_deref());
                for cursor in &mut cursors {
                    out.clear();
                    let found = cursor.read_into(&key, &mut out).unwrap();
                    proptest::prop_assert_eq!(found.then_some(&out[..]), expect);
                }
            }
            let key = [b"prefix/", &start.to_be_bytes()[..]].concat();
            let live = model.range(key.clone()..).filter(|(_, v)| v.is_some()).count();
            proptest::prop_assert_eq!(pairs(&db, &key, None).len(), live);
        }
    }
}

#[test]
fn after_a_read_that_failed_half_way_the_newest_entry_is_found_still() {
    let dir = tempfile::tempdir().unwrap();
    let levels = [
        (1, 5, vec![put(b"c", 20, b"new")]),
        (2, 4, vec![put(b"a", 1, b"a"), put(b"bb", 2, b"bb"), put(b"c", 3, b"old"), put(b"e", 4, b"e")]),
        (3, 3, vec![put(b"b", 1, b"b")]),
    ];
    writer::database(dir.path(), &levels, &[]);
    let path = dir.path().join("000003.ldb");
    let mut bytes = fs::read(&path).unwrap();
    bytes[1] ^= 4;
    fs::write(&path, bytes).unwrap();
    let db = open(dir.path(), Options::default()).unwrap();
    for mut cursor in [db.cursor(), db.cursor_once()] {
        let mut out = Vec::new();
        assert!(cursor.read_into(b"e", &mut out).unwrap());
        // Level 2 is looked at before level 3 is found damaged: its place is before "c" now.
        cursor.read_into(b"b", &mut out).unwrap_err();
        out.clear();
        assert!(cursor.read_into(b"c", &mut out).unwrap());
        assert_eq!(out, b"new");
    }
}
