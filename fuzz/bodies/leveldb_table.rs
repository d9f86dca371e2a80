//! What a table's file ends with, and a block as it lies on disk.

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
    let sum = masked(crc32c(data));
    summed.extend_from_slice(&sum.to_le_bytes());
    plain.clear();
    let _ = unpack(&summed, &mut plain, PACKING);
}

fn masked(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C, bit by bit: slow and obvious.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 })
    })
}
