//! What a Pebble table's file ends with, its properties, and a block as it lies on disk.

use super::crc32c;
use storeshift::source::{
    lsm::{
        block::Block,
        footer::{Checksum, Packing},
        unpack::{MAX_BLOCK, unpack},
    },
    pebble::DIALECT,
};

pub fn run(data: &[u8]) {
    for size in [0, 53, data.len() as u64, u64::MAX] {
        if let Ok(footer) = (DIALECT.footer)(data, size) {
            for handle in [footer.index, footer.metaindex] {
                let end = handle.offset.checked_add(handle.size);
                assert!(end.is_some_and(|end| end <= footer.limit && footer.limit <= size), "{handle:?} of {size}");
            }
        }
    }
    (DIALECT.meta)(data);
    if let Ok(block) = Block::new(data.to_vec()) {
        let _ = (DIALECT.properties)(&block);
    }
    let mut plain = Vec::new();
    for checksum in [Checksum::Crc32c, Checksum::XxHash64] {
        let packing = Packing { checksum, zstd: true };
        let _ = unpack(data, &mut plain, packing);
        assert!(plain.len() <= MAX_BLOCK);
    }
    // Few inputs have right checksums: once more with one that is.
    let summed = [data, &crc32c::stored(data).to_le_bytes()].concat();
    let _ = unpack(&summed, &mut plain, Packing { checksum: Checksum::Crc32c, zstd: true });
}
