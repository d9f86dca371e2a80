//! Filters as goleveldb makes them. That contents are the same pairs as goleveldb itself reads is shown where Go is at
//! hand, in `tests/interop`.

use std::path::Path;

use crate::source::leveldb::open;
use crate::source::lsm::Options;
use crate::source::lsm::block::Spot;
use crate::source::lsm::filter::{self, Filter};

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
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pruned/application.db");
    let db = open(&dir, Options::default()).unwrap();
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

#[test]
fn a_filter_that_is_not_clear_about_a_block_lets_its_keys_pass_and_an_empty_one_stops_them() {
    let block = |filters: &[u8], offsets: &[u32], base_lg: u8| {
        let offsets = offsets.iter().copied().chain([filters.len() as u32]).flat_map(u32::to_le_bytes);
        Filter::new(filters.iter().copied().chain(offsets).chain([base_lg]).collect())
    };
    let passes = |filters: &[u8], offsets: &[u32]| block(filters, offsets, 11).unwrap().may_contain(0, 77);
    assert!(!passes(b"", &[0]), "no key is in the block");
    assert!(passes(&[0xff, 1], &[0]), "all bits are set");
    assert!(!passes(&[0, 1], &[0]), "no bit is set");
    assert!(!passes(&[1], &[0]), "a filter of no bits");
    assert!(passes(&[0, 31], &[0]), "an encoding that is LevelDB's to come");
    assert!(passes(&[0, 1], &[0, 900, 2]), "a filter that ends outside");
    assert!(passes(&[0, 1], &[2, 1]), "a filter that ends before it begins");
    assert!(block(&[0, 1], &[0], 63).is_ok());
    for base_lg in [64, 255] {
        assert!(block(&[0, 1], &[0], base_lg).is_err(), "{base_lg}");
    }
    assert!(Filter::new(vec![9, 0, 0, 0, 11]).is_err(), "offsets behind the end");
    assert!(Filter::new(vec![0; 4]).is_err());
}
