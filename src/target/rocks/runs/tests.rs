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
fn a_damaged_run_ends_where_the_damage_is_and_the_others_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let runs = Runs::open(dir.path()).unwrap();
    let store = StoreKey::from("bank");
    // Several blocks of one run, interleaved with another that is sound.
    let records = |odd: u32| -> BTreeMap<_, _> {
        (0..60u32).map(|nonce| (NodeKey::new(Version(1), 2 * nonce + odd), vec![nonce as u8; 500])).collect()
    };
    let (damaged, sound) = (records(0), records(1));
    write(&runs, &store, &damaged);
    write(&runs, &store, &sound);
    let paths = runs.list(&store).unwrap();
    let bytes = fs::read(&paths[0]).unwrap();
    let check = |damage: &[u8], what: &str| {
        fs::write(&paths[0], damage).unwrap();
        let all = read(&paths, &parts(&paths, 1).unwrap());
        assert!(all.is_sorted_by(|(one, _), (other, _)| one < other), "{what}");
        let (even, odd): (Vec<_>, Vec<_>) = all.into_iter().partition(|(key, _)| key.nonce % 2 == 0);
        assert!(odd.into_iter().eq(sound.clone()), "{what}: a sound run has all its records");
        assert!(even.len() < damaged.len(), "{what}: nothing is missing");
        let first = damaged.clone().into_iter().take(even.len());
        assert!(even.into_iter().eq(first), "{what}: not the first records of the damaged run");
    };
    // Every byte of the index and the footer, and some of each block.
    let blocks = bytes.len() - 200;
    for at in (0..blocks).step_by(61).chain(blocks..bytes.len()) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        check(&flipped, &format!("byte {at}"));
    }
    for length in (0..blocks).step_by(611).chain(blocks..bytes.len()) {
        check(&bytes[..length], &format!("cut to {length}"));
    }
}
