//! The manifests of all three engines, as a checkpoint follows them: read in one go or while they grow, the files that are live
//! are those that adding up the edits leaves.

use super::log;
use std::collections::{BTreeMap, BTreeSet};
use storeshift::source::{
    EngineKind,
    checkpoint::Edits,
    leveldb,
    lsm::edit::{self, OwnTags},
    pebble, rocks,
};

pub fn run(data: &[u8]) {
    // The first byte says which engine.
    let Some((engine, data)) = data.split_first() else { return };
    let (engine, own_tags): (_, OwnTags) = match engine % 3 {
        0 => (EngineKind::Goleveldb, leveldb::DIALECT.own_tags),
        1 => (EngineKind::Pebble, pebble::DIALECT.own_tags),
        _ => (EngineKind::RocksDb, rocks::edit::own_tags),
    };
    let _ = Edits::new(engine).read(data);
    // Few inputs have right checksums. Each record: a byte for its length, then its bytes.
    let (mut records, mut rest) = (Vec::new(), data);
    while let Some((&length, after)) = rest.split_first() {
        let (record, after) = after.split_at(usize::from(length).min(after.len()));
        if edit::decode(record, own_tags).is_ok() {
            records.push(record.to_vec());
        }
        rest = after;
    }
    let manifest = log::written(None, &records);
    let mut whole = Edits::new(engine);
    whole.read(&manifest).expect("records that are edits");
    assert_eq!(whole.end(), manifest.len());
    let mut growing = Edits::new(engine);
    let (mut live, mut sizes, mut first_log) = (BTreeMap::new(), BTreeMap::new(), 0);
    let (mut before, mut removed) = (BTreeSet::new(), BTreeSet::new());
    for (at, record) in records.iter().enumerate() {
        // Also with a part of the next record.
        let upto = log::written(None, &records[..=at]).len();
        let part = record.len() % 8;
        growing
            .read(&manifest[..manifest.len().min(upto + part)])
            .expect("a record that is not whole yet is no damage");
        assert!(growing.end() <= upto + part);
        let edit = edit::decode(record, own_tags).expect("it was decoded");
        for place in edit.deleted {
            live.remove(&place);
        }
        for table in edit.added {
            live.insert((table.level, table.number), table.file);
            if table.file == table.number {
                sizes.insert(table.file, table.size);
            }
        }
        sizes.extend(edit.files);
        first_log = edit.journal.unwrap_or(first_log);
        let now: BTreeSet<u64> = live.values().copied().collect();
        removed.extend(before.difference(&now).copied());
        before = now;
    }
    for edits in [&mut whole, &mut growing] {
        assert_eq!(edits.log(), first_log);
        let files = edits.files();
        assert!(files.keys().eq(before.iter()), "{files:?} {before:?}");
        for (file, size) in &files {
            assert!(size.is_none() || *size == sizes.get(file).copied(), "{file}: {size:?}");
        }
        // None that is gone is forgotten, though one edit may take a file away and bring in another of its name.
        let taken = edits.take_removed();
        assert!(removed.is_subset(&taken), "{removed:?} {taken:?}");
        assert!(edits.take_removed().is_empty());
    }
}
