//! No bytes make a parser panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::writer;
use crate::source::leveldb::DIALECT;
use crate::source::lsm::block::{Block, Spot};
use crate::source::lsm::filter::Filter;
use crate::source::lsm::{batch, edit, log, unpack};

proptest! {
    #[test]
    fn parsers_answer_any_bytes(data in vec(any::<u8>(), 0..300), key in vec(any::<u8>(), 0..12)) {
        parse_all(&data, &key);
    }

    #[test]
    fn parsers_answer_damaged_bytes(flips in vec((any::<usize>(), any::<u8>()), 1..6), small in 0usize..3) {
        let entries: Vec<_> = (0..20u8).map(|n| writer::put(&[b'k', n], 9, &[n; 5])).collect();
        let mut data = match small {
            0 => writer::block(&entries, 4),
            1 => writer::log(&[vec![7; 100], vec![8; 90]]),
            _ => writer::batch(5, &[(b"a", Some(b"b")), (b"c", None)]),
        };
        for (at, byte) in flips {
            let at = at % data.len();
            data[at] = byte;
        }
        parse_all(&data, b"k\x0a");
    }
}

fn parse_all(data: &[u8], key: &[u8]) {
    let _ = batch::decode(data, DIALECT.forms, |_| ());
    let _ = edit::decode(data, DIALECT.own_tags);
    let _ = (DIALECT.footer)(data, 1 << 20);
    let _ = unpack::unpack(data, &mut Vec::new(), writer::PACKING);
    let _ = unpack::unpack(&writer::sum([data, &[1]].concat()), &mut Vec::new(), writer::PACKING);
    if let Ok(filter) = Filter::new(data.to_vec()) {
        for offset in [0, 2048, 1 << 40] {
            filter.may_contain(offset, 77);
        }
    }
    if let Ok(block) = Block::new(data.to_vec()) {
        let mut spot = Spot::default();
        let _ = block.seek(&mut spot, key, Some(&mut Vec::new()));
        block.value(&spot);
        spot.reset();
        while let Ok(true) = block.step(&mut spot) {
            block.value(&spot);
        }
        spot.reset();
        while let Ok(true) = block.step_plain(&mut spot) {}
    }
    let mut records = log::Records::new(data);
    let mut payload = Vec::new();
    while let Ok(log::Record::Whole { .. }) = records.next_into(&mut payload) {}
}
