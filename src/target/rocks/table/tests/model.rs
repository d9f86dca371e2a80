//! RocksDB reads from ingested tables what a sorted map holds, by every way of reading, also after a compaction.

use super::{
    super::TableOptions,
    scratch::{Database, Random, table, usual},
};
use proptest::prelude::*;
use rocksdb::{DBRawIterator, ReadOptions};
use std::{cmp::Reverse, collections::BTreeMap};

/// By key, the newest version first.
type Versions = BTreeMap<(Vec<u8>, Reverse<u64>), Vec<u8>>;
type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

fn reading(version: Option<u64>) -> ReadOptions {
    let mut read = ReadOptions::default();
    read.set_verify_checksums(true);
    if let Some(version) = version {
        read.set_timestamp(version.to_le_bytes());
    }
    read
}

fn same(records: &DBRawIterator<'_>, expected: Option<(&Vec<u8>, &Vec<u8>)>, what: &str) {
    records.status().unwrap();
    let found = records.item();
    assert!(found == expected.map(|(key, value)| (&key[..], &value[..])), "{what}: {:?}", found.map(|(key, _)| key));
}

/// Compares all that can be read, at a version if there are versions.
fn compare(database: &Database, version: Option<u64>, pairs: &Pairs, absent: &[Vec<u8>]) {
    let family = database.family(version.is_some());
    let get = |key: &Vec<u8>| database.db.get_cf_opt(family, key, &reading(version)).unwrap();
    pairs.iter().for_each(|(key, value)| assert!(get(key).as_ref() == Some(value), "{key:?}"));
    absent.iter().filter(|key| !pairs.contains_key(*key)).for_each(|key| assert_eq!(get(key), None, "{key:?}"));

    let mut records = database.db.raw_iterator_cf_opt(family, reading(version));
    records.seek_to_first();
    for pair in pairs {
        same(&records, Some(pair), "forward");
        records.next();
    }
    same(&records, None, "forward");
    records.seek_to_last();
    for pair in pairs.iter().rev() {
        same(&records, Some(pair), "backward");
        records.prev();
    }
    same(&records, None, "backward");
    // Where nothing is visible, each seek passes over everything.
    let absent = absent.iter().take(if pairs.is_empty() { 10 } else { absent.len() });
    for key in absent.chain(pairs.keys().step_by(1 + pairs.len() / 500)) {
        records.seek(key);
        same(&records, pairs.range(key.clone()..).next(), "seek");
        records.seek_for_prev(key);
        same(&records, pairs.range(..=key.clone()).next_back(), "seek back");
    }
}

fn at(versions: &Versions, version: u64) -> Pairs {
    let mut pairs = Pairs::new();
    for ((key, Reverse(at)), value) in versions {
        if *at <= version && !pairs.contains_key(key) {
            pairs.insert(key.clone(), value.clone());
        }
    }
    pairs
}

/// Writes the records as one table with timestamps, and the newest of each as one without; then compares.
fn judge(versions: &Versions, options: TableOptions, absent: &[Vec<u8>]) {
    let scratch = tempfile::tempdir().unwrap();
    let newest = at(versions, u64::MAX);
    let plain = TableOptions { timestamps: false, ..options.clone() };
    let plain = table(scratch.path(), "a.sst", &plain, newest.iter().map(|(k, v)| (&k[..], &v[..])));
    let keys: Vec<_> = versions.keys().map(|(key, version)| [&key[..], &version.0.to_le_bytes()].concat()).collect();
    let stamped = TableOptions { timestamps: true, ..options };
    let records = keys.iter().zip(versions.values()).map(|(key, value)| (&key[..], &value[..]));
    let stamped = table(scratch.path(), "b.sst", &stamped, records);

    let path = scratch.path().join("db");
    let database = Database::open(&path);
    database.ingest(false, vec![plain]).unwrap();
    database.ingest(true, vec![stamped]).unwrap();
    let mut moments: Vec<u64> = versions.keys().map(|(_, version)| version.0).collect();
    moments.sort_unstable();
    let middle = moments[moments.len() / 2];
    let all = |database: &Database| {
        compare(database, None, &newest, absent);
        for version in [moments[0].saturating_sub(1), middle, u64::MAX] {
            compare(database, Some(version), &at(versions, version), absent);
        }
    };
    all(&database);
    for timestamps in [false, true] {
        database.db.compact_range_cf(database.family(timestamps), None::<&[u8]>, None::<&[u8]>);
    }
    all(&database);
    drop(database);
    all(&Database::open(&path));
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0), Just(1), Just(b'a'), Just(b'b'), Just(0x7f), Just(0x80), Just(0xff)]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    let long = (byte(), 100..300usize, prop::collection::vec(byte(), 0..4));
    prop_oneof![
        8 => prop::collection::vec(byte(), 0..12),
        1 => long.prop_map(|(byte, length, end)| [vec![byte; length], end].concat()),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let random = |(seed, length)| Random(seed).bytes(length);
    prop_oneof![
        20 => Just(Vec::new()),
        80 => prop::collection::vec(any::<u8>(), 0..300),
        40 => (any::<u8>(), 0..2000usize).prop_map(|(byte, length)| vec![byte; length]),
        10 => (any::<u64>(), 10_000..100_000usize).prop_map(random),
        1 => (any::<u64>(), 1_000_000..3_000_000usize).prop_map(random),
        1 => (any::<u8>(), 1_000_000..3_000_000usize).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn moment() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 1..20u64, 1 => any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_records(
        versions in prop::collection::btree_map((key(), moment().prop_map(Reverse)), value(), 1..120),
        absent in prop::collection::vec(key(), 0..60),
        block_size in prop_oneof![Just(1usize), Just(200), Just(16 << 10)],
        bloom_bits in prop_oneof![Just(0usize), Just(1), Just(10), Just(30)],
    ) {
        let options = TableOptions { timestamps: false, column_family: None, block_size, bloom_bits };
        judge(&versions, options, &absent);
    }
}

#[test]
fn many_records() {
    let mut random = Random(5);
    let mut versions = Versions::new();
    for n in 0..40_000u64 {
        let mut key = format!("s/k:bank/{:03}", n % 100).into_bytes();
        let length = random.below(30);
        key.extend(random.bytes(length));
        let length = random.below(300);
        let value = if n % 3 == 0 { vec![b'v'; length] } else { random.bytes(length) };
        for version in 0..=n % 4 {
            versions.insert((key.clone(), Reverse(1000 - version)), value.clone());
        }
    }
    let absent: Vec<_> = (0..1000).map(|n| format!("s/k:bank/{:03}x{n}", n % 101).into_bytes()).collect();
    judge(&versions, usual(false), &absent);
}

#[test]
fn later_tables_and_writes_win_whatever_they_overlap() {
    let scratch = tempfile::tempdir().unwrap();
    let database = Database::open(&scratch.path().join("db"));
    let mut random = Random(6);
    let mut pairs = Pairs::new();
    for round in 0..6u64 {
        let mut part = Pairs::new();
        for _ in 0..2000 {
            let key = format!("{:05}", random.below(5000)).into_bytes();
            part.insert(key, [&round.to_le_bytes()[..], &random.bytes(100)].concat());
        }
        if round % 2 == 0 {
            part.iter().for_each(|(key, value)| database.db.put(key, value).unwrap());
        } else {
            let records = part.iter().map(|(k, v)| (&k[..], &v[..]));
            let options = TableOptions { column_family: Some((0, "default")), ..usual(false) };
            let table = table(scratch.path(), &format!("{round}.sst"), &options, records);
            database.ingest(false, vec![table]).unwrap();
        }
        pairs.extend(part);
        compare(&database, None, &pairs, &[b"0".to_vec(), b"01234x".to_vec(), b"9".to_vec()]);
    }
    database.db.compact_range(None::<&[u8]>, None::<&[u8]>);
    compare(&database, None, &pairs, &[b"0".to_vec()]);
}

#[test]
fn a_table_for_one_column_family_does_not_go_into_another() {
    let scratch = tempfile::tempdir().unwrap();
    let database = Database::open(&scratch.path().join("db"));
    let options = TableOptions { column_family: Some((7, "other")), ..usual(false) };
    let other = table(scratch.path(), "a.sst", &options, [(&b"k"[..], &b"v"[..])]);
    assert!(database.ingest(false, vec![other]).is_err());
    let without = table(scratch.path(), "b.sst", &usual(false), [(&b"k"[..], &b"v"[..])]);
    assert!(database.ingest(true, vec![without]).is_err());
}
