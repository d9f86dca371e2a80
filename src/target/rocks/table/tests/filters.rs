//! The filter is one RocksDB uses: it spares reads of absent keys, and never hides one that is there.

use super::scratch::{Database, Random, table, usual};
use rocksdb::ReadOptions;
use std::collections::BTreeSet;

#[test]
fn rocksdb_asks_the_filter() {
    for timestamps in [false, true] {
        let mut random = Random(1);
        let mut keys = BTreeSet::new();
        while keys.len() < 20_000 {
            // Every length at the end of the hash, and bytes of both signs.
            let length = 9 + random.below(8);
            keys.insert(random.bytes(length));
        }
        let scratch = tempfile::tempdir().unwrap();
        let database = Database::open(&scratch.path().join("db"));
        let stamp = if timestamps { &7u64.to_le_bytes()[..] } else { &[] };
        let there: Vec<_> = keys.iter().step_by(2).map(|key| [key, stamp].concat()).collect();
        let records = there.iter().map(|key| (&key[..], &key[..]));
        let table = table(scratch.path(), "a.sst", &usual(timestamps), records);
        database.ingest(timestamps, vec![table]).unwrap();

        let mut read = ReadOptions::default();
        if timestamps {
            read.set_timestamp(9u64.to_le_bytes());
        }
        for (nth, key) in keys.iter().enumerate() {
            let found = database.db.get_cf_opt(database.family(timestamps), key, &read).unwrap();
            assert_eq!(found.is_some(), nth % 2 == 0, "{key:?}");
        }
        let useful = database.count("rocksdb.bloom.filter.useful");
        let passed = database.count("rocksdb.bloom.filter.full.positive");
        println!("of 10000 absent keys, {useful} were not looked for; of 10000 others, all ({passed} asked)");
        assert!((9_750..=10_000).contains(&useful), "{useful}");
        assert_eq!(database.count("rocksdb.bloom.filter.full.true.positive"), 10_000);
    }
}
