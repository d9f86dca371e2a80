//! Stores on both layouts in memory whose records were damaged behind their back: named, with the layout, and never read as less.

use super::*;
use crate::{
    model::{Change, StoreChanges, StoreKey},
    target::{MemoryCommitment, MemoryStorage, Outage},
};

fn block(version: u8) -> ChangeSet {
    let change = |key: u8| Change { key: vec![key], value: Some(vec![version, key]) };
    let changes = (version..version + 20).map(change).collect();
    let mut block = ChangeSet { stores: vec![StoreChanges { store: "bank".into(), changes }], ..ChangeSet::default() };
    if version == 1 {
        block.upgrades.added = vec!["bank".into()];
    }
    block
}

fn committed(layout: Arc<dyn Layout>) -> RootStore {
    let store = RootStore::new(layout, Options::default()).unwrap();
    (1..=5).for_each(|version| drop(store.commit(block(version)).unwrap()));
    store.flush().unwrap();
    store
}

fn v2() -> (MemoryCommitment, MemoryStorage, RootStore) {
    let (sc, ss) = (MemoryCommitment::new(None, Outage::never()), MemoryStorage::new(None, Outage::never()));
    let engines = (MemoryCommitment::new(Some(&sc), Outage::never()), MemoryStorage::new(Some(&ss), Outage::never()));
    let layout = V2Layout::open(Box::new(engines.0), Some(Box::new(engines.1))).unwrap();
    (sc, ss, committed(Arc::new(layout)))
}

fn v1() -> (MemoryDatabase, RootStore) {
    let database = MemoryDatabase::new(None, Outage::never());
    let layout = RootmultiLayout::new(Arc::new(MemoryDatabase::new(Some(&database), Outage::never())));
    (database, committed(Arc::new(layout)))
}

fn read(store: &RootStore, version: u64) -> Result<Option<Vec<u8>>, StoreError> {
    store.at(Version(version))?.get(&StoreKey::from("bank"), &[5])
}

#[test]
fn a_version_whose_commit_info_is_gone_is_damage_in_the_layout_that_lost_it() {
    let (database, store) = v1();
    assert_eq!(read(&store, 3).unwrap(), Some(vec![3, 5]));
    database.pairs().remove(&b"s/3"[..]).unwrap();
    let error = read(&store, 3).unwrap_err().to_string();
    assert!(error.contains("version 3 has no commit info in the rootmulti layout"), "{error}");
    assert_eq!(read(&store, 4).unwrap(), Some(vec![4, 5]), "its neighbours are whole");
    let (sc, _, store) = v2();
    assert_eq!(read(&store, 3).unwrap(), Some(vec![3, 5]));
    sc.data().infos.remove(&Version(3)).unwrap();
    let error = store.at(Version(3)).map(|view| view.commit_info().version).unwrap_err().to_string();
    assert!(error.contains("version 3 has no commit info in the store/v2 layout"), "{error}");
    assert_eq!(read(&store, 4).unwrap(), Some(vec![4, 5]));
}

#[test]
fn a_root_record_that_is_gone_or_says_nothing_is_never_an_empty_store() {
    let root = [&b"s/k:bank/"[..], &crate::iavl::NodeKey::root_of(Version(3)).to_bytes()].concat();
    let (database, store) = v1();
    let good = database.pairs().remove(&root).unwrap();
    let error = read(&store, 3).unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    for bad in [&b"s"[..], b"sxxxx", b"\xff\xff\xff\xff"] {
        database.pairs().insert(root.clone(), bad.to_vec());
        assert!(read(&store, 3).is_err(), "{bad:?}");
    }
    database.pairs().insert(root, good);
    assert_eq!(read(&store, 3).unwrap(), Some(vec![3, 5]));
}
