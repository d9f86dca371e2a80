//! What is read of a RocksDB directory before RocksDB opens it: `CURRENT`, the manifest's numbers, a table's last bytes. The
//! numbers are those that the decoder of whole edits finds.

use super::log;
use std::path::Path;
use storeshift::source::{
    lsm::edit::{self, Edit},
    rocks::{edit::own_tags, footer, log::BEGIN, manifest},
};

pub fn run(data: &[u8]) {
    if let Some(name) = manifest::named(data) {
        assert!(Path::new(name).components().count() == 1 && data.ends_with(b"\n"), "{name:?}");
    }
    if let Some(what) = footer::objection(data) {
        assert!(data.len() >= footer::BYTES as usize && what.contains("table"));
    }
    let _ = manifest::numbers(Path::new("manifest"), data);
    // Few inputs have right checksums. Each record: a byte for its length, then its bytes.
    let (mut records, mut rest) = (Vec::new(), data);
    while let Some((&length, after)) = rest.split_first() {
        let (record, after) = after.split_at(usize::from(length).min(after.len()));
        records.push(record.to_vec());
        rest = after;
    }
    let _ = manifest::numbers(Path::new("manifest"), &log::written(None, &records)[..]);
    // The begins of edits in RocksDB's order, with what may follow them.
    let ordered: Vec<Vec<u8>> = records.iter().filter_map(|record| in_order(record)).collect();
    let read = manifest::numbers(Path::new("manifest"), &log::written(None, &ordered)[..]).expect("whole records");
    let edits: Vec<Edit> =
        ordered.iter().map(|record| edit::decode(record, own_tags).expect("what was decoded")).collect();
    assert_eq!(read.log, edits.iter().filter_map(|edit| edit.journal).max().unwrap_or(0));
    assert_eq!(read.sequence, edits.iter().filter_map(|edit| edit.last_sequence).max().unwrap_or(0));
}

/// An edit of what a record says, if it is one: its numbers, then its tables.
fn in_order(record: &[u8]) -> Option<Vec<u8>> {
    let edit = edit::decode(record, own_tags).ok()?;
    let mut out = Vec::new();
    let mut put = |mut number: u64| {
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    };
    // What RocksDB writes before them: the database's identity, and the order of keys.
    let names = [(8193, Some(vec![b'i'; 36])), (1, edit.comparator.filter(|name| name.len() < BEGIN / 2))];
    for (tag, name) in names {
        for name in name.into_iter() {
            [tag, name.len() as u64].into_iter().for_each(&mut put);
            name.into_iter().for_each(|byte| put(u64::from(byte & 0x7f)));
        }
    }
    for (tag, number) in [(2, edit.journal), (9, edit.previous_journal), (3, edit.next_file), (4, edit.last_sequence)] {
        number.into_iter().for_each(|number| [tag, number].into_iter().for_each(&mut put));
    }
    for (level, number) in edit.deleted {
        [6, level.into(), number].into_iter().for_each(&mut put);
    }
    Some(out)
}
