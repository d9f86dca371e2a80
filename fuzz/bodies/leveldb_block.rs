//! A block of a table, read in every way there is: whatever the bytes, there is an answer and an end.

use storeshift::source::lsm::{
    block::{Block, Spot},
    filter::{Filter, hash},
};

pub fn run(data: &[u8]) {
    // The first byte says how long the key is that is looked for.
    let Some((length, data)) = data.split_first() else { return };
    let (key, data) = data.split_at(usize::from(*length % 16).min(data.len()));
    if let Ok(filter) = Filter::new(data.to_vec()) {
        for block in [0, 1, 2048, 4096, u64::MAX] {
            filter.may_contain(block, hash(key));
        }
    }
    let Ok(block) = Block::new(data.to_vec()) else { return };
    let mut spot = Spot::default();
    let mut entries = 0;
    let mut ordered = true;
    let mut last: Option<Vec<u8>> = None;
    while let Ok(true) = block.step(&mut spot) {
        assert!(block.value(&spot).len() <= data.len() && spot.user().len() <= spot.key().len());
        ordered &= last.as_deref().is_none_or(|last| last < spot.user());
        last = Some(spot.user().to_vec());
        entries += 1;
        assert!(entries <= data.len(), "a block cannot have more entries than bytes");
    }
    let found = block.seek(&mut spot, key, Some(&mut Vec::new()));
    if found.is_ok() && spot.is_valid() && ordered {
        assert!(spot.user() >= key, "a seek in ascending keys ends below what was sought");
    }
    spot.reset();
    while let Ok(true) = block.step_plain(&mut spot) {}
}
