//! Records that Go wrote, and records broken here.

use super::{record::*, *};
use crate::model::{Change, StoreChanges};
use std::io::Cursor;

fn fixture() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nofast/changesets.bin")).unwrap()
}

fn measured(bytes: &[u8]) -> Result<Vec<(Version, usize, usize)>, MeasureError> {
    let mut measure = Measure::new(Cursor::new(bytes), bytes.len() as u64);
    let mut found = Vec::new();
    loop {
        let at = measure.at() as usize;
        match measure.next_version()? {
            Some(version) => found.push((version, at, measure.at() as usize)),
            None => return Ok(found),
        }
    }
}

fn set() -> Changeset {
    let change = |key: &str, value: Option<&str>| Change { key: key.into(), value: value.map(Into::into) };
    let stores = vec![
        StoreChanges {
            store: "a".into(),
            changes: vec![change("", Some("x")), change("k", None), change("l", Some(""))],
        },
        StoreChanges { store: "b".into(), changes: Vec::new() },
    ];
    Changeset { version: Version(7), stores }
}

#[test]
fn records_that_go_wrote_are_measured_decoded_and_encoded_to_the_same_bytes() {
    let bytes = fixture();
    let records = measured(&bytes).unwrap();
    let versions: Vec<u64> = records.iter().map(|(version, ..)| version.0).collect();
    assert_eq!(versions, (8..=15).collect::<Vec<_>>());
    for (version, from, to) in records {
        let set = decode(&bytes[from..to]).unwrap();
        assert_eq!(set.version, version);
        assert!(set.stores.iter().any(|store| store.changes.iter().any(|change| change.value.is_none())));
        let mut again = Vec::new();
        encode(&set, &mut again);
        assert_eq!(again, bytes[from..to]);
    }
}

#[test]
fn a_record_cut_anywhere_or_with_bytes_too_many_is_refused() {
    let mut bytes = Vec::new();
    encode(&set(), &mut bytes);
    assert_eq!(decode(&bytes).unwrap(), set());
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_err(), "cut at {length}");
        assert_eq!(measured(&bytes[..length]).is_err(), length > 0, "cut at {length}");
    }
    bytes.push(0);
    assert!(decode(&bytes).is_err());
    assert!(measured(&bytes).is_err());
}

#[test]
fn disorder_and_unknown_operations_are_refused() {
    let encoded = |change: &dyn Fn(&mut Changeset)| {
        let (mut set, mut bytes) = (set(), Vec::new());
        change(&mut set);
        encode(&set, &mut bytes);
        bytes
    };
    let error = |bytes: &[u8]| decode(bytes).unwrap_err();
    assert!(error(&encoded(&|set| set.stores.swap(0, 1))).contains("order of name"));
    assert!(error(&encoded(&|set| set.stores[1].store = "a".into())).contains("order of name"));
    assert!(error(&encoded(&|set| set.stores[0].changes.swap(1, 2))).contains("do not ascend"));
    assert!(error(&encoded(&|set| set.stores[0].changes[2].key = "k".into())).contains("do not ascend"));
    assert!(error(&encoded(&|set| set.version = Version(u64::MAX))).contains("negative"));
    let mut bytes = encoded(&|_| ());
    // Version, count of stores, name and count of operations lie before the first kind.
    bytes[8 + 4 + 3 + 4] = 2;
    assert!(error(&bytes).contains("neither a set nor a removal"));
    assert!(measured(&bytes).is_err());
}

#[test]
fn a_file_that_changes_under_a_run_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("x.bin");
    std::fs::write(&file, fixture()).unwrap();
    let lines: String = (8..=15).map(|version| format!("{version} {}\n", "0".repeat(64))).collect();
    std::fs::write(home.path().join("app_hashes"), lines).unwrap();
    let files = ChangesetFiles::open(home.path(), Version(9)).unwrap();
    assert_eq!((files.tip(), files.app_hash(Version(9)), files.bytes(Version(16))), (Version(15), None, 0));
    assert_eq!(files.read(Version(10)).unwrap().version, Version(10));
    assert!(files.read(Version(9)).is_err() && files.read(Version(16)).is_err());
    let bytes = fixture();
    std::fs::write(&file, &bytes[3..]).unwrap();
    assert!(files.read(Version(10)).unwrap_err().is_corruption());
    std::fs::write(&file, &bytes[..2000]).unwrap();
    assert!(files.read(Version(15)).unwrap_err().to_string().contains("shorter than it was"));
}
