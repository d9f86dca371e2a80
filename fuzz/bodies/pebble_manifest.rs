//! A Pebble manifest: its records, and the edits in them.

use storeshift::source::{
    lsm::{
        edit,
        log::{Record, Records},
    },
    pebble::DIALECT,
};

pub fn run(data: &[u8]) {
    let mut records = Records::new(data);
    let mut payload = Vec::new();
    while let Ok(Record::Whole { .. }) = records.next_into(&mut payload) {
        contents(&payload);
    }
    contents(data);
}

fn contents(payload: &[u8]) {
    let Ok(edit) = edit::decode(payload, DIALECT.own_tags) else { return };
    assert!(edit.added.len() + edit.deleted.len() <= payload.len());
    for table in edit.added {
        assert!(table.smallest.len() >= 8 && table.largest.len() >= 8);
    }
}
