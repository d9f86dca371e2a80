//! A log or a manifest: the records in it, and what is in those.

use storeshift::source::{
    leveldb::DIALECT,
    lsm::{
        batch, edit,
        log::{Record, Records},
    },
};

pub fn run(data: &[u8]) {
    let mut records = Records::new(data);
    let mut payload = Vec::new();
    let mut whole = 0;
    loop {
        payload.clear();
        match records.next_into(&mut payload) {
            Ok(Record::Whole { .. }) => contents(&payload),
            Ok(_) | Err(_) => break,
        }
        whole += 1;
        assert!(whole <= data.len(), "a log cannot have more records than bytes");
    }
    // Few inputs have right checksums: the contents are tried without them too.
    contents(data);
}

fn contents(payload: &[u8]) {
    let mut operations = 0;
    let _ = batch::decode(payload, DIALECT.forms, |_| operations += 1);
    assert!(operations <= payload.len());
    if let Ok(edit) = edit::decode(payload, DIALECT.own_tags) {
        assert!(edit.added.len() + edit.deleted.len() <= payload.len());
    }
}
