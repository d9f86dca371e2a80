//! Choice of the manifest, manifest rules, and that nothing is ever changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use super::writer::{self, batch, head, put};
use crate::source::leveldb;
use crate::source::lsm::listing::Listing;
use crate::source::lsm::{Database, LsmError, Options};

const BYTEWISE: &[u8] = b"leveldb.BytewiseComparator";

fn open(dir: &Path) -> Result<Database, LsmError> {
    leveldb::open(dir, Options::default())
}

fn snapshot(dir: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let modified = entry.metadata().unwrap().modified().unwrap();
        (name, (fs::read(entry.path()).unwrap(), modified))
    });
    entries.collect()
}

#[test]
fn opening_and_reading_changes_no_name_content_or_time() {
    let dir = tempfile::tempdir().unwrap();
    let entries = (0..200u8).map(|n| put(&[n], 1, &[n; 40])).collect();
    let logs = [(100, vec![batch(60, &[(b"x", Some(b"y"))])])];
    writer::database(dir.path(), &[(1, 3, entries)], &logs);
    fs::write(dir.path().join("CURRENT.7"), "MANIFEST-000001\n").unwrap();
    fs::write(dir.path().join("LOCK"), "").unwrap();
    let before = snapshot(dir.path());
    let times = fs::metadata(dir.path()).unwrap().modified().unwrap();
    let db = open(dir.path()).unwrap();
    let mut iter = db.iter(b"", None);
    while iter.next().unwrap().is_some() {}
    assert!(db.get(b"x").unwrap().is_some());
    drop((db, iter));
    assert!(snapshot(dir.path()) == before);
    assert_eq!(fs::metadata(dir.path()).unwrap().modified().unwrap(), times);
}

#[test]
fn the_manifest_is_chosen_as_goleveldb_chooses_it() {
    let dir = tempfile::tempdir().unwrap();
    for number in [3u64, 4, 5] {
        let records = [head(BYTEWISE, number * 100, 1)];
        let path = dir.path().join(format!("MANIFEST-00000{number}"));
        fs::write(path, writer::log(&records)).unwrap();
        let value = number.to_string();
        let record = batch(9, &[(b"k", Some(value.as_bytes()))]);
        let path = dir.path().join(format!("000{}.log", number * 100));
        fs::write(path, writer::log(&[record])).unwrap();
    }
    let say = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
    // The value is that of the newest log which counts, so tell the three apart by count.
    let chosen = || {
        let inner = open(dir.path()).map(|db| db.get(b"k").unwrap().unwrap());
        let all = Listing::read(dir.path(), super::super::DIALECT.suffixes).unwrap();
        let path = super::super::listing::manifest(&all, dir.path());
        assert_eq!(inner.is_ok(), path.is_ok());
        path.map(|path| path.to_string_lossy().chars().last().unwrap())
    };
    assert!(matches!(chosen(), Err(LsmError::NotADatabase { .. })));
    say("CURRENT.bak", "MANIFEST-000003\n");
    assert_eq!(chosen().unwrap(), '3');
    say("CURRENT", "MANIFEST-000004");
    assert_eq!(chosen().unwrap(), '3', "no line end: incomplete");
    say("CURRENT", "MANIFEST-000004\n");
    assert_eq!(chosen().unwrap(), '4');
    say("CURRENT.3", "MANIFEST-000003\n");
    assert_eq!(chosen().unwrap(), '4', "an obsolete pending rename");
    say("CURRENT.5", "MANIFEST-000005\n");
    assert_eq!(chosen().unwrap(), '5');
    say("CURRENT.9", "MANIFEST-000009\n");
    assert_eq!(chosen().unwrap(), '5', "a missing manifest is passed over");
    for name in ["CURRENT", "CURRENT.bak", "CURRENT.3", "CURRENT.5", "CURRENT.9"] {
        say(name, "nonsense\n");
    }
    assert!(matches!(chosen(), Err(LsmError::Corrupt { .. })));
    say("CURRENT", "MANIFEST-000008\n");
    assert!(chosen().is_err());
}

#[test]
fn a_manifest_may_end_torn_but_not_be_damaged_before() {
    let dir = tempfile::tempdir().unwrap();
    let records = [head(BYTEWISE, 100, 1), vec![2, 200, 1]];
    let whole = writer::log(&records);
    writer::manifest(dir.path(), &records);
    fs::write(dir.path().join("MANIFEST-000002"), &whole[..whole.len() - 1]).unwrap();
    assert!(open(dir.path()).is_ok());
    let mut bad = whole.clone();
    bad[12] ^= 1;
    fs::write(dir.path().join("MANIFEST-000002"), bad).unwrap();
    assert!(matches!(open(dir.path()), Err(LsmError::Corrupt { .. })));
}

#[test]
fn manifests_which_cannot_be_honoured_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |records: &[Vec<u8>]| {
        writer::manifest(dir.path(), records);
        open(dir.path()).unwrap_err()
    };
    let other = refused(&[head(b"rocksdb.Reverse", 1, 1)]);
    assert!(matches!(&other, LsmError::Comparator { found, .. } if found == "rocksdb.Reverse"));
    let incomplete = refused(&[vec![2, 1, 3, 1, 4, 1]]);
    assert!(incomplete.to_string().contains("comparator"));
    assert!(matches!(refused(&[]), LsmError::Corrupt { .. }));
    let pebble = refused(&[head(BYTEWISE, 1, 1), vec![103, 1]]);
    assert!(pebble.to_string().contains("Pebble"), "{pebble}");
    let keys = [put(b"a", 1, b"").0, put(b"c", 1, b"").0, put(b"d", 1, b"").0];
    for n in [3, 4] {
        fs::write(dir.path().join(format!("00000{n}.ldb")), [0; 60]).unwrap();
    }
    let table = |number, a: usize, b: usize| writer::added(1, number, 60, [&keys[a], &keys[b]]);
    let overlap = refused(&[head(BYTEWISE, 1, 1), table(3, 0, 1), table(4, 1, 2)]);
    assert!(overlap.to_string().contains("overlap"), "{overlap}");
    let reversed = refused(&[head(BYTEWISE, 1, 1), table(3, 1, 0)]);
    assert!(reversed.to_string().contains("reversed"), "{reversed}");
    let missing = refused(&[head(BYTEWISE, 1, 1), table(7, 0, 1)]);
    assert!(missing.to_string().contains("000007.ldb"), "{missing}");
    // A move is a deletion and an addition in one record.
    let moved = [table(3, 0, 1), vec![6, 1, 3], writer::added(2, 3, 60, [&keys[0], &keys[1]])];
    writer::manifest(dir.path(), &[head(BYTEWISE, 1, 1), moved[0].clone(), moved[1..].concat()]);
    assert_eq!(open(dir.path()).unwrap().files()[0].level, 2);
    assert!(matches!(open(&dir.path().join("none")), Err(LsmError::NotADatabase { .. })));
}

#[test]
fn a_manifest_that_never_says_what_a_reader_needs_is_refused_by_what_is_missing() {
    let mut comparator = vec![1];
    writer::prefixed(BYTEWISE, &mut comparator);
    let fields = [("comparator", comparator), ("journal number", vec![2, 1]), ("next file number", vec![3, 9])];
    let fields = [&fields[..], &[("last sequence", vec![4, 7])]].concat();
    for (missing, _) in &fields {
        let dir = tempfile::tempdir().unwrap();
        let rest: Vec<_> = fields.iter().filter(|(name, _)| name != missing).map(|(_, field)| field.clone()).collect();
        writer::manifest(dir.path(), &[rest.concat()]);
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("never states its {missing}")), "{error}");
        // Each record may say one of them.
        writer::manifest(dir.path(), &fields.iter().map(|(_, field)| field.clone()).collect::<Vec<_>>());
        assert!(open(dir.path()).is_ok());
    }
}

#[test]
fn newest_tables_that_do_not_overlap_are_one_run_and_all_of_them_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let at = |first: u8, sequence: u64| (first..first + 5).map(|n| put(&[n], sequence, &[n, sequence as u8])).collect();
    // Three that lie beside each other and two that lie over them, in no order.
    let levels = [(0, 3, at(20, 1)), (0, 4, at(0, 1)), (0, 5, at(22, 2)), (0, 6, at(10, 1)), (0, 7, at(2, 2))];
    writer::database(dir.path(), &levels, &[]);
    let db = open(dir.path()).unwrap();
    assert_eq!(db.inner.runs.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
    let expected = |n: u8| match n {
        2..7 | 22..27 => Some(vec![n, 2]),
        0..5 | 10..15 | 20..25 => Some(vec![n, 1]),
        _ => None,
    };
    let (mut cursor, mut iter) = (db.cursor(), db.iter(b"", None));
    for n in 0..30u8 {
        let mut out = Vec::new();
        assert_eq!(cursor.read_into(&[n], &mut out).unwrap().then_some(out), expected(n), "{n}");
        if let Some(value) = expected(n) {
            assert_eq!(iter.next().unwrap(), Some((&[n][..], &value[..])));
        }
    }
    assert_eq!(iter.next().unwrap(), None);
}

#[test]
fn of_two_tables_with_one_number_the_one_with_leveldbs_own_suffix_counts() {
    let dir = tempfile::tempdir().unwrap();
    let levels: Vec<_> = (0..20u8).map(|n| (1, u64::from(n) + 3, vec![put(&[n], 1, &[n])])).collect();
    writer::database(dir.path(), &levels, &[]);
    for number in 3..23 {
        fs::write(dir.path().join(format!("{number:06}.sst")), "an older release's").unwrap();
    }
    let db = open(dir.path()).unwrap();
    assert!((0..20u8).all(|n| db.get(&[n]).unwrap() == Some(vec![n])));
    fs::rename(dir.path().join("000003.ldb"), dir.path().join("000003.sst")).unwrap();
    assert_eq!(open(dir.path()).unwrap().get(&[0]).unwrap(), Some(vec![0]), "one that only an older release named");
}

#[test]
fn a_current_that_cannot_be_read_is_an_error_and_not_a_database_without_one() {
    let dir = tempfile::tempdir().unwrap();
    writer::database(dir.path(), &[], &[]);
    fs::rename(dir.path().join("CURRENT"), dir.path().join("CURRENT.bak")).unwrap();
    fs::create_dir(dir.path().join("CURRENT")).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(&error, LsmError::Io { path, .. } if path.ends_with("CURRENT")), "{error}");
}

#[test]
fn open_tables_stay_within_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let levels: Vec<_> = (0..20u8).map(|n| (1, u64::from(n) + 3, vec![put(&[n], 1, &[n])])).collect();
    writer::database(dir.path(), &levels, &[]);
    let options = Options { open_files: 4, ..Options::default() };
    let db = leveldb::open(dir.path(), options).unwrap();
    let mut cursor = db.cursor();
    for n in (0..20u8).chain((0..20).rev()) {
        assert!(cursor.read_into(&[n], &mut Vec::new()).unwrap());
        assert!(db.inner.tables.len() <= 4);
    }
}

#[test]
fn a_database_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    fn sent<T: Send>() {}
    shared::<Database>();
    sent::<crate::source::lsm::Cursor>();
    sent::<crate::source::lsm::Iter>();
}
