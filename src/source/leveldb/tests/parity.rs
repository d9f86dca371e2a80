//! The same pairs as goleveldb itself reads. Directories `<name>` with goleveldb's own
//! dump `<name>.dump` (LE4 key length, LE4 value length, key, value, for every live pair)
//! are looked for under `STORESHIFT_GOLEVELDB`; without it there is nothing to compare.

use std::fs;
use std::path::Path;

use super::super::block::Spot;
use super::super::filter::{self, Filter};
use super::super::{Leveldb, Options};

fn dump(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let data = fs::read(path).unwrap();
    let (mut at, mut pairs) = (0, Vec::new());
    while at < data.len() {
        let len = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap()) as usize;
        let (key, value) = (len(at), len(at + 4));
        let key = &data[at + 8..at + 8 + key];
        let value = &data[at + 8 + key.len()..][..value];
        at += 8 + key.len() + value.len();
        pairs.push((key.to_vec(), value.to_vec()));
    }
    pairs
}

fn compare(dir: &Path, expect: &[(Vec<u8>, Vec<u8>)], options: Options) {
    let db = Leveldb::open(dir, options).unwrap();
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
            let there = expect.get(at).map(|(k, v)| (&k[..], &v[..]));
            assert_eq!(iter.next().unwrap(), there);
        }
    }
    let keys = expect.iter().filter(|(key, _)| !key.is_empty());
    for (key, _) in keys.step_by(7) {
        read(&key[..key.len() - 1], value_of(expect, &key[..key.len() - 1]));
    }
}

fn value_of<'a>(pairs: &'a [(Vec<u8>, Vec<u8>)], key: &[u8]) -> Option<&'a [u8]> {
    let at = pairs.binary_search_by(|(k, _)| k[..].cmp(key)).ok()?;
    Some(&pairs[at].1)
}

#[test]
fn contents_equal_goleveldbs_own_dump_in_any_order() {
    let Some(root) = std::env::var_os("STORESHIFT_GOLEVELDB") else {
        eprintln!("STORESHIFT_GOLEVELDB is not set: nothing compared");
        return;
    };
    let mut compared = 0;
    for entry in fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "dump") {
            continue;
        }
        let dir = path.with_extension("");
        let before = super::directory::snapshot(&dir);
        let expect = dump(&path);
        for options in [Options::default(), Options { block_cache_bytes: 0, open_files: 1 }] {
            compare(&dir, &expect, options);
        }
        assert!(super::directory::snapshot(&dir) == before);
        compared += 1;
    }
    assert!(compared > 0, "no dump in {root:?}");
}

#[test]
fn goleveldbs_hash_of_known_keys() {
    // From LevelDB's hash_test, with its seed.
    assert_eq!(filter::hash(b""), 0xbc9f_1d34);
    assert_eq!(filter::hash(&[0x62]), 0xef13_45c4);
    assert_eq!(filter::hash(&[0xc3, 0x97]), 0x5b66_3814);
    assert_eq!(filter::hash(&[0xe2, 0x99, 0xa5]), 0x323c_078f);
    assert_eq!(filter::hash(&[0xe1, 0x80, 0xb9, 0x32]), 0xed21_633a);
}

#[test]
fn goleveldbs_filters_pass_every_present_key_and_stop_most_absent_ones() {
    let Some(root) = std::env::var_os("STORESHIFT_GOLEVELDB") else {
        eprintln!("STORESHIFT_GOLEVELDB is not set: nothing compared");
        return;
    };
    let dir = Path::new(&root).join("small");
    let db = Leveldb::open(&dir, Options::default()).unwrap();
    let (mut stopped, mut asked) = (0, 0);
    for entry in db.inner.runs.iter().flatten() {
        let table = db.inner.tables.get(entry).unwrap();
        let mut spot = Spot::default();
        while let Some(handle) = table.index_step(&mut spot).unwrap() {
            let block = table.block(handle, &mut Vec::new()).unwrap();
            let mut at = Spot::default();
            while block.step(&mut at).unwrap() {
                assert!(table.may_contain(handle.offset, filter::hash(at.user())));
                let absent = [at.user(), b"\0absent"].concat();
                asked += 1;
                stopped += u32::from(!table.may_contain(handle.offset, filter::hash(&absent)));
            }
        }
    }
    assert!(asked > 3000 && stopped * 100 > asked * 97, "{stopped}/{asked}");
}

#[test]
fn a_filter_passes_its_keys_and_about_one_in_a_hundred_others() {
    let keys: Vec<[u8; 4]> = (0..3000u32).map(u32::to_be_bytes).collect();
    let users: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let mut data = super::writer::bloom(&users);
    let end = data.len() as u32;
    data.extend([0u32.to_le_bytes(), end.to_le_bytes()].concat());
    data.push(11);
    let filter = Filter::new(data).unwrap();
    let passes = |n: u32| filter.may_contain(100, filter::hash(&n.to_be_bytes()));
    assert!((0..3000).all(passes));
    assert!((3000..13_000).filter(|n| passes(*n)).count() < 200);
    assert!(filter.may_contain(2048, 0), "no filter covers that block");
}
