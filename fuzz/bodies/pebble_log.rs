//! A Pebble write-ahead log: its records, where it ends, and the operations in its batches.

use storeshift::source::{
    lsm::{
        batch,
        log::{Record, Records},
    },
    pebble::DIALECT,
};

pub fn run(data: &[u8]) {
    // The first byte is the log's number.
    let Some((number, data)) = data.split_first() else { return };
    let mut records = Records::recycled(data, u64::from(*number));
    let mut payload = Vec::new();
    let mut whole = 0;
    while let Ok(Record::Whole { offset }) = records.next_into(&mut payload) {
        assert!(offset < data.len() && payload.len() <= data.len());
        contents(&payload);
        whole += 1;
        assert!(whole <= data.len(), "a log cannot have more records than bytes");
    }
    // Few inputs have right checksums: the contents are tried without them too.
    contents(data);
}

fn contents(payload: &[u8]) {
    let mut operations = 0;
    let decoded = batch::decode(payload, DIALECT.forms, |_| operations += 1);
    assert!(operations <= payload.len());
    if let Ok((first, end)) = decoded {
        assert_eq!(end - first, operations as u64);
    }
}
