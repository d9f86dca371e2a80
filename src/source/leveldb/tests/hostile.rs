//! No bytes make a parser panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::block::{Block, Spot};
use super::super::filter::Filter;
use super::super::{batch, edit, footer, journal, unpack};
use super::writer;

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
    let _ = batch::decode(data, |_| ());
    let _ = edit::decode(data);
    let _ = footer::decode(data, 1 << 20);
    let _ = unpack::unpack(data, &mut Vec::new());
    let _ = unpack::unpack(&writer::sum([data, &[1]].concat()), &mut Vec::new());
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
    let mut records = journal::Records::new(data);
    let mut payload = Vec::new();
    while let Ok(journal::Record::Whole { .. }) = records.next_into(&mut payload) {}
}
