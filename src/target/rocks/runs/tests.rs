//! Runs on a real file system: written, merged, cut off, damaged.

use super::*;
use crate::{iavl::NodeKey, model::Version};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn write(runs: &Runs, store: &StoreKey, records: &BTreeMap<NodeKey, Vec<u8>>) {
    let mut run = runs.begin(store).unwrap();
    for (key, record) in records {
        runs.add(&mut run, *key, record).unwrap();
    }
    runs.keep(&runs.end(run).unwrap()).unwrap();
}

fn read(paths: &[PathBuf], parts: &[Part]) -> Vec<(NodeKey, Vec<u8>)> {
    let mut all = Vec::new();
    for part in parts {
        let mut merge = Merge::open(paths, *part).unwrap();
        while let Some((key, record)) = merge.next().unwrap() {
            all.push((key, record.to_vec()));
        }
    }
    all
}

type Run = Vec<(u8, u8, u16)>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn runs_merge_to_the_union_of_their_records_however_they_are_cut(
        contents in prop::collection::vec(prop::collection::vec((0u8..6, any::<u8>(), 0u16..6000), 0..300), 1..6),
        least in 1usize..9,
    ) {
        let contents: Vec<Run> = contents;
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::open(dir.path()).unwrap();
        let store = StoreKey::from("bank");
        let mut union = BTreeMap::new();
        for run in &contents {
            let record = |version: u8, nonce: u8, length: u16| {
                let key = NodeKey::new(Version(u64::from(version)), u32::from(nonce) << 3);
                // The same key always has the same record.
                (key, vec![version ^ nonce; usize::from(length) * usize::from(nonce) / 255])
            };
            let mut records = BTreeMap::new();
            for &(version, nonce, length) in run {
                let (key, record) = record(version, nonce, length);
                let record = union.entry(key).or_insert(record).clone();
                records.insert(key, record);
            }
            write(&runs, &store, &records);
        }
        let paths = runs.list(&store).unwrap();
        let parts = parts(&paths, least).unwrap();
        prop_assert_eq!(read(&paths, &parts), union.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn parts_of_large_runs_are_about_even_and_join_without_gap() {
    let dir = tempfile::tempdir().unwrap();
    let runs = Runs::open(dir.path()).unwrap();
    let store = StoreKey::from("bank");
    for run in 0..3u32 {
        let keys = (0..20_000u32).map(|nonce| NodeKey::new(Version(u64::from(nonce % 7)), nonce * 3 + run));
        write(&runs, &store, &keys.map(|key| (key, vec![run as u8; 400])).collect());
    }
    let paths = runs.list(&store).unwrap();
    let parts = parts(&paths, 4).unwrap();
    assert_eq!(parts.len(), 4);
    for (before, after) in parts.iter().zip(&parts[1..]) {
        assert_eq!(before.until, after.from);
    }
    let sizes: Vec<usize> = parts.iter().map(|part| read(&paths, &[*part]).len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 60_000);
    assert!(sizes.iter().all(|size| (8_000..25_000).contains(size)), "{sizes:?}");
}

#[test]
fn what_a_crash_leaves_unfinished_or_merged_is_removed_and_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = StoreKey::from("bank");
    let records: BTreeMap<_, _> = [(NodeKey::new(Version(1), 2), b"record".to_vec())].into();
    let runs = Runs::open(dir.path()).unwrap();
    write(&runs, &store, &records);
    let mut run = runs.begin(&store).unwrap();
    runs.add(&mut run, NodeKey::new(Version(1), 3), &[1]).unwrap();
    runs.end(run).unwrap();
    fs::create_dir(dir.path().join("6d").with_extension(MERGED)).unwrap();
    let runs = Runs::open(dir.path()).unwrap();
    assert_eq!(runs.list(&store).unwrap().len(), 1);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    write(&runs, &store, &records);
    assert_eq!(runs.list(&store).unwrap().len(), 2);
    runs.remove(&store).unwrap();
    assert!(runs.list(&store).unwrap().is_empty());
}

#[test]
fn a_flipped_byte_anywhere_in_a_run_is_an_error_or_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let runs = Runs::open(dir.path()).unwrap();
    let store = StoreKey::from("bank");
    let records: BTreeMap<_, _> =
        (0..60u32).map(|nonce| (NodeKey::new(Version(1), nonce), vec![nonce as u8; 500])).collect();
    write(&runs, &store, &records);
    let paths = runs.list(&store).unwrap();
    let whole = Part { from: None, until: None };
    let sound = fs::read(&paths[0]).unwrap();
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        fs::write(&paths[0], &bytes).unwrap();
        let read = Merge::open(&paths, whole).and_then(|mut merge| {
            let mut all = Vec::new();
            while let Some((key, record)) = merge.next()? {
                all.push((key, record.to_vec()));
            }
            Ok(all)
        });
        assert!(matches!(read, Err(TargetError::Corrupt { .. })), "byte {at}");
    }
    for length in 0..sound.len() {
        fs::write(&paths[0], &sound[..length]).unwrap();
        assert!(Merge::open(&paths, whole).is_err(), "cut to {length}");
    }
}
