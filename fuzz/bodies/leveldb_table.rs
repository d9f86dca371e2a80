//! What a table's file ends with, and a block as it lies on disk.

use super::crc32c;
use storeshift::source::{
    leveldb::DIALECT,
    lsm::{
        footer::{Checksum, Handle, Packing},
        unpack::unpack,
    },
};

const PACKING: Packing = Packing { checksum: Checksum::Crc32c, zstd: false };

pub fn run(data: &[u8]) {
    for limit in [0, 48, data.len() as u64, u64::MAX] {
        if let Ok(footer) = (DIALECT.footer)(data, limit) {
            for handle in [footer.index, footer.metaindex] {
                assert!(
                    handle.offset.checked_add(handle.size).is_some_and(|end| end <= limit),
                    "{handle:?} of {limit}"
                );
            }
        }
        let _ = Handle::decode(data, limit);
    }
    let mut plain = Vec::new();
    let _ = unpack(data, &mut plain, PACKING);
    // Few inputs have right checksums: once more with one that is.
    let mut summed = data.to_vec();
    summed.extend_from_slice(&crc32c::stored(data).to_le_bytes());
    plain.clear();
    let _ = unpack(&summed, &mut plain, PACKING);
}
