//! Bulk loading of SC on a real RocksDB: in pieces, cut off, gone on with by another number of hands. What later versions
//! leave to compact; and what a store that commits and prunes does to both engines.

use super::{EngineTuning, RocksCommitment, RocksStorage};
use crate::{
    iavl::{Access, NodeKey, NodeReader as _, RecordStream},
    model::{ChangeRef, CommitInfo, StoreKey, Version},
    target::{Commitment as _, MemoryStorage, Outage, PairReader, Storage, TargetError},
};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

type Records = BTreeMap<NodeKey, Vec<u8>>;

/// The share of one piece of a store: in each version, ordinals that are its own.
struct Share {
    records: Vec<(NodeKey, Vec<u8>)>,
    next: usize,
    /// Versions whose records are to go straight into tables.
    large: fn(Version) -> bool,
}

impl RecordStream for Share {
    fn next(&mut self) -> Option<(NodeKey, &[u8])> {
        self.next += 1;
        self.records.get(self.next - 1).map(|(key, record)| (*key, record.as_slice()))
    }

    fn alone(&self) -> usize {
        if self.records.get(self.next).is_some_and(|(key, _)| (self.large)(key.version)) { usize::MAX } else { 0 }
    }
}

fn share(piece: u32, large: fn(Version) -> bool) -> Share {
    let mut records = Vec::new();
    for version in 1..=9u64 {
        for nonce in 0..120u32 {
            let key = NodeKey::new(Version(version), piece * 1_000 + nonce + 2);
            records.push((key, vec![(version as u32 * 7 + nonce + piece) as u8; 400 + nonce as usize % 50]));
        }
    }
    Share { records, next: 0, large }
}

fn open(dir: &Path, jobs: usize) -> RocksCommitment {
    let staging = dir.join("staging");
    let _ = std::fs::remove_dir_all(&staging);
    std::fs::create_dir_all(&staging).unwrap();
    let tuning = EngineTuning { jobs, ..EngineTuning::default() };
    RocksCommitment::open(&dir.join("sc"), &staging, &dir.join("runs"), tuning).unwrap()
}

fn all(sc: &RocksCommitment, store: &StoreKey) -> Records {
    let mut records = sc.records(store).unwrap();
    records.seek(NodeKey::new(Version(0), 0));
    let mut found = Records::new();
    while let Some((key, record)) = records.next().unwrap() {
        found.insert(key, record.to_vec());
    }
    found
}

/// Loads both stores in pieces and returns what they must hold.
fn load(sc: &RocksCommitment, stores: &[StoreKey], large: fn(Version) -> bool) -> Records {
    let mut expected = Records::new();
    for piece in [3, 0, 4, 1, 2] {
        for store in stores {
            let mut records = share(piece, large);
            expected.extend(records.records.iter().cloned());
            sc.load(store, &mut records, false).unwrap()().unwrap();
        }
    }
    expected
}

fn levels_overlap(sc: &RocksCommitment) -> bool {
    let mut files: Vec<_> =
        sc.db.live_files().unwrap().into_iter().map(|file| (file.start_key, file.end_key, file.level)).collect();
    files.sort();
    files.iter().zip(files.iter().skip(1)).any(|(before, after)| before.1 >= after.0 || before.2 != after.2)
}

#[test]
fn pieces_of_stores_settle_to_their_union_in_tables_that_do_not_overlap() {
    let none: fn(Version) -> bool = |_| false;
    let some: fn(Version) -> bool = |version| version.0 % 3 == 1;
    let every: fn(Version) -> bool = |_| true;
    for large in [none, some, every] {
        let dir = tempfile::tempdir().unwrap();
        let sc = open(dir.path(), 2);
        let stores = ["bank".into(), "wasm".into()];
        let expected = load(&sc, &stores, large);
        sc.settle(&stores, &|| false).unwrap();
        for store in &stores {
            assert_eq!(all(&sc, store), expected);
            assert!(sc.runs.list(store).unwrap().is_empty());
        }
        assert!(!levels_overlap(&sc));
    }
}

#[test]
fn settling_cut_off_anywhere_is_gone_on_with_by_any_number_of_hands() {
    for patience in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let stores = ["bank".into(), "wasm".into()];
        let expected = load(&open(dir.path(), 1), &stores, |version| version.0 == 5);
        for jobs in [1, 3] {
            let sc = open(dir.path(), jobs);
            let asked = AtomicUsize::new(0);
            let outcome = sc.settle(&stores, &|| asked.fetch_add(1, Ordering::SeqCst) >= patience);
            assert!(matches!(outcome, Ok(_) | Err(TargetError::Stopped)), "{outcome:?}");
        }
        let sc = open(dir.path(), 2);
        sc.settle(&stores, &|| false).unwrap();
        for store in &stores {
            assert_eq!(all(&sc, store), expected, "patience {patience}");
        }
        // Once more changes nothing.
        sc.settle(&stores, &|| false).unwrap();
        assert_eq!(all(&sc, &stores[0]), expected);
    }
}

#[test]
fn records_that_do_not_ascend_are_refused_and_nothing_of_them_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let sc = open(dir.path(), 1);
    for whole in [false, true] {
        let mut records = share(0, |_| false);
        records.records.swap(10, 11);
        assert!(matches!(sc.load(&"bank".into(), &mut records, whole), Err(TargetError::Order)));
    }
    drop(sc);
    let sc = open(dir.path(), 1);
    sc.settle(&["bank".into()], &|| false).unwrap();
    assert!(all(&sc, &"bank".into()).is_empty());
}

fn files_at_level_0(db: &rocksdb::DB) -> usize {
    db.live_files().unwrap().into_iter().filter(|file| file.level == 0).count()
}

#[test]
fn what_versions_left_in_sc_is_compacted_at_the_end_and_not_before_there_is_much_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let sc = open(dir.path(), 1);
    sc.hold().unwrap();
    let mut expected = Records::new();
    for piece in 0..9 {
        let mut records = share(piece, |_| false);
        expected.extend(records.records.iter().cloned());
        sc.write_records(&"bank".into(), &mut records).unwrap();
        sc.flush().unwrap();
    }
    sc.compact(9, &|| false).unwrap();
    assert_eq!(files_at_level_0(&sc.db), 9);
    sc.compact(8, &|| false).unwrap();
    assert_eq!(files_at_level_0(&sc.db), 0);
    assert_eq!(all(&sc, &"bank".into()), expected);
    for piece in 9..14 {
        let mut records = share(piece, |_| false);
        expected.extend(records.records.iter().cloned());
        sc.write_records(&"bank".into(), &mut records).unwrap();
        sc.flush().unwrap();
    }
    // Held again after it.
    assert_eq!(files_at_level_0(&sc.db), 5);
    drop(sc);
    let sc = open(dir.path(), 1);
    sc.compact(0, &|| false).unwrap();
    assert_eq!(files_at_level_0(&sc.db), 0);
    assert_eq!(all(&sc, &"bank".into()), expected);
}

#[test]
fn what_versions_left_in_ss_is_compacted_at_the_end_and_every_version_stays() {
    let dir = tempfile::tempdir().unwrap();
    let staging = dir.path().join("staging");
    std::fs::create_dir_all(&staging).unwrap();
    let open = || RocksStorage::open(&dir.path().join("ss"), &staging, EngineTuning::default()).unwrap();
    let ss = open();
    ss.hold().unwrap();
    let bank = StoreKey::from("bank");
    let value = |version: u64, key: u64| format!("{version} {key}").into_bytes();
    // Each version sets some keys, and removes what the one before set.
    for version in 1..=7u64 {
        let keys: Vec<_> = (0..500u64).map(|key| (key.to_be_bytes(), value(version, key))).collect();
        let mut changes = keys.iter().zip(0u64..).filter_map(|((key, value), number)| {
            let value = match (number + version) % 3 {
                0 => Some(value.as_slice()),
                1 => None,
                _ => return None,
            };
            Some(ChangeRef { key, value })
        });
        ss.write_changes(&bank, Version(version), &mut changes).unwrap();
        ss.flush().unwrap();
    }
    ss.compact(7, &|| false).unwrap();
    assert_eq!(ss.files_at_level_0(), 7);
    let pairs = |ss: &RocksStorage, version: u64| {
        let mut found = Vec::new();
        let mut pairs = ss.pairs(&bank, Version(version), &[]).unwrap();
        while let Some(pair) = pairs.next().unwrap() {
            found.push((pair.key.to_vec(), pair.value.to_vec(), pair.version));
        }
        found
    };
    let before: Vec<_> = (1..=7).map(|version| pairs(&ss, version)).collect();
    assert!(before.iter().all(|pairs| !pairs.is_empty()));
    drop(ss);
    let ss = open();
    ss.compact(0, &|| false).unwrap();
    assert_eq!(ss.files_at_level_0(), 0);
    let after: Vec<_> = (1..=7).map(|version| pairs(&ss, version)).collect();
    assert!(before == after, "compaction changed what a version holds");
}

#[test]
fn compaction_that_is_stopped_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let sc = open(dir.path(), 1);
    let mut expected = Records::new();
    for piece in 0..120 {
        let mut records = share(piece, |_| false);
        expected.extend(records.records.iter().cloned());
        sc.write_records(&"bank".into(), &mut records).unwrap();
        if piece % 15 == 14 {
            sc.flush().unwrap();
        }
    }
    // It may be too fast to be stopped.
    assert!(matches!(sc.compact(0, &|| true), Ok(()) | Err(TargetError::Stopped)));
    drop(sc);
    let sc = open(dir.path(), 1);
    sc.compact(0, &|| false).unwrap();
    assert_eq!(files_at_level_0(&sc.db), 0);
    assert_eq!(all(&sc, &"bank".into()), expected);
}

/// What can be done to SS by a store that commits, prunes and is opened again.
#[derive(Clone, Debug)]
enum Deed {
    Write(Vec<(u8, Option<u8>)>),
    Forget(u64),
    Flush,
    Compact,
    Reopen,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let change = (0u8..12, prop::option::of(any::<u8>()));
    let deed = prop_oneof![
        6 => prop::collection::vec(change, 0..8).prop_map(Deed::Write),
        1 => (0u64..4).prop_map(Deed::Forget),
        2 => Just(Deed::Flush),
        1 => Just(Deed::Compact),
        1 => Just(Deed::Reopen),
    ];
    prop::collection::vec(deed, 1..40)
}

/// Keys and values of a store at a version, in both orders and one by one.
fn contents(ss: &dyn Storage, store: &StoreKey, version: Version) -> Vec<(Vec<u8>, Vec<u8>)> {
    let gather = |mut reader: Box<dyn PairReader + '_>| {
        let mut pairs = Vec::new();
        while let Some(pair) = reader.next().unwrap() {
            pairs.push((pair.key.to_vec(), pair.value.to_vec()));
        }
        pairs
    };
    let pairs = gather(ss.pairs(store, version, b"").unwrap());
    let mut back = gather(ss.pairs_back(store, version, None).unwrap());
    back.reverse();
    assert_eq!(pairs, back);
    for key in 0..12u8 {
        let value = ss.get(store, version, &[key]).unwrap();
        assert_eq!(value.as_ref(), pairs.iter().find(|(found, _)| *found == [key]).map(|(_, value)| value));
        let below = gather(ss.pairs_back(store, version, Some(&[key])).unwrap());
        assert_eq!(below.len(), pairs.iter().filter(|(found, _)| *found < vec![key]).count());
    }
    pairs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn ss_reads_as_its_twin_in_memory_whatever_was_forgotten_or_compacted(deeds in deeds()) {
        let dir = tempfile::tempdir().unwrap();
        let open = || RocksStorage::open(&dir.path().join("ss"), dir.path(), EngineTuning::default()).unwrap();
        let (mut ss, twin) = (open(), MemoryStorage::new(None, Outage::never()));
        // Neighbours of the store, which nothing done to it may touch.
        let stores = ["bank", "ban", "bank2"].map(StoreKey::from);
        let (mut latest, mut oldest) = (0u64, 1u64);
        for deed in deeds {
            match deed {
                Deed::Write(changes) => {
                    latest += 1;
                    let version = Version(latest);
                    for ss in [&ss as &dyn Storage, &twin] {
                        for (number, store) in (0u8..).zip(&stores) {
                            let changes = changes.iter().map(|(key, value)| (vec![*key], value.map(|value| vec![value ^ number])));
                            let changes: BTreeMap<Vec<u8>, Option<Vec<u8>>> = changes.collect();
                            let mut changes = changes.iter().map(|(key, value)| ChangeRef { key, value: value.as_deref() });
                            ss.write_changes(store, version, &mut changes).unwrap();
                        }
                        ss.write_watermark(version).unwrap();
                    }
                }
                Deed::Forget(kept) => {
                    oldest = oldest.max(latest.saturating_sub(kept));
                    ss.forget(Version(oldest)).unwrap();
                    // Again, or less, is nothing.
                    ss.forget(Version(oldest)).unwrap();
                    ss.forget(Version(oldest - 1)).unwrap();
                    twin.forget(Version(oldest)).unwrap();
                }
                Deed::Flush => ss.flush().unwrap(),
                Deed::Compact => {
                    ss.flush().unwrap();
                    ss.compact(0, &|| false).unwrap();
                }
                Deed::Reopen => {
                    drop(ss);
                    ss = open();
                }
            }
            for version in (oldest..=latest + 1).map(Version) {
                for store in &stores {
                    prop_assert_eq!(contents(&ss, store, version), contents(&twin, store, version));
                }
            }
            prop_assert_eq!(ss.latest().unwrap(), twin.latest().unwrap());
        }
    }
}

#[test]
fn a_root_that_pruning_moved_is_found_under_the_name_that_trees_have_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let sc = open(dir.path(), 1);
    let store = StoreKey::from("bank");
    let (root, moved) = (NodeKey::root_of(Version(3)), NodeKey::new(Version(3), 0));
    let mut records = Share { records: vec![(root, b"root".to_vec())], next: 0, large: |_| false };
    sc.write_records(&store, &mut records).unwrap();
    let info = CommitInfo { version: Version(3), stores: Vec::new(), timestamp: None };
    sc.write_info(&info).unwrap();
    let gone = [(store.clone(), root, None), (store.clone(), moved, Some(b"root".to_vec()))];
    sc.prune(&gone, Version(3)).unwrap();
    assert_eq!(sc.commit_info(Version(3)).unwrap(), None);
    assert_eq!(all(&sc, &store).into_keys().collect::<Vec<_>>(), [moved]);
    for access in [Access::Points, Access::Runs] {
        let mut nodes = sc.nodes(&store, access).unwrap();
        for (at, there) in
            [(root, true), (moved, true), (NodeKey::new(Version(3), 2), false), (NodeKey::root_of(Version(4)), false)]
        {
            let mut record = Vec::new();
            assert_eq!(nodes.read(at, &mut record).unwrap(), there, "{at}, {access:?}");
            assert_eq!(record.is_empty(), !there);
        }
    }
}

#[test]
fn records_that_say_nothing_are_damage_of_the_engine_that_has_them() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), 1));
    let db = rocksdb::DB::open_default(dir.path().join("sc")).unwrap();
    db.put(b"c/latest", [0xff; 11]).unwrap();
    db.put(b"c/5", b"no commit info").unwrap();
    drop(db);
    let sc = open(dir.path(), 1);
    let damaged = |error: TargetError, words: &str| {
        assert!(matches!(&error, TargetError::Corrupt { what, .. } if what.contains(words)), "{error}");
    };
    damaged(sc.latest().unwrap_err(), "c/latest is not a version");
    damaged(sc.commit_info(Version(5)).unwrap_err(), "c/5 is not a commit info of that version");
    assert_eq!(sc.commit_info(Version(6)).unwrap(), None);
}

#[test]
fn a_store_whose_files_are_dropped_is_empty_and_its_neighbours_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let sc = open(dir.path(), 1);
    let stores: [StoreKey; 3] = ["bank".into(), "gov".into(), "staking".into()];
    let wanted: Records = share(1, |_| false).records.into_iter().collect();
    for store in &stores {
        sc.load(store, &mut share(1, |_| false), true).unwrap()().unwrap();
    }
    sc.settle(&stores, &|| false).unwrap();
    sc.sync().unwrap();
    sc.discard(&stores[1]).unwrap();
    assert_eq!(stores.each_ref().map(|store| all(&sc, store) == wanted), [true, false, true]);
    // A cache of another size changes nothing of what is read.
    sc.set_cache(1 << 20);
    assert!(all(&sc, &stores[0]) == wanted && all(&sc, &stores[2]) == wanted);
}
