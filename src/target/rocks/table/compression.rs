//! Owns whether a block is stored as LZ4: only if that saves an eighth, and without spending time on data that does not
//! compress.

use crate::iavl::varint::put_uv;
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

/// What the byte after a block says of it.
pub(super) const PLAIN: u8 = 0;
pub(super) const LZ4: u8 = 4;

/// While blocks do not compress, one of this many is tried.
const SELDOM: u32 = 16;
/// LZ4 counts with 31 bits.
const LARGEST: usize = 1 << 30;
/// Room to compress into that is kept from one block to the next, at most.
const KEPT: usize = 1 << 20;

/// Compresses the blocks of one table.
pub(super) struct Compressor {
    table: CompressTable,
    room: Vec<u8>,
    /// One of this many blocks is tried.
    every: u32,
    /// Blocks to leave alone before the next try.
    skip: u32,
}

impl Compressor {
    pub(super) fn new() -> Compressor {
        Compressor { table: CompressTable::small(), room: Vec::new(), every: 1, skip: 0 }
    }

    /// Replaces the block from `start` to the end of the buffer with its compressed form if that is worth it. Returns what
    /// it is now.
    pub(super) fn compress(&mut self, out: &mut Vec<u8>, start: usize) -> u8 {
        if self.skip > 0 {
            self.skip -= 1;
            return PLAIN;
        }
        let plain = out.get(start..).unwrap_or_default();
        let length = plain.len();
        if length > LARGEST {
            return PLAIN;
        }
        let room = get_maximum_output_size(length);
        if self.room.len() < room {
            self.room.resize(room, 0);
        }
        let packed = compress_into_with_table(plain, &mut self.room, &mut self.table).ok();
        let packed = packed.filter(|packed| *packed <= length - length / 8).and_then(|packed| self.room.get(..packed));
        let kind = if let Some(packed) = packed {
            self.every = 1;
            out.truncate(start);
            put_uv(out, length as u64);
            out.extend_from_slice(packed);
            LZ4
        } else {
            self.every = (self.every * 2).min(SELDOM);
            self.skip = self.every - 1;
            PLAIN
        };
        if self.room.len() > KEPT {
            self.room = Vec::new();
        }
        kind
    }
}
