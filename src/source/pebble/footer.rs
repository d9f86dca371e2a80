//! Owns the footers of tables that Pebble reads: LevelDB's, and RocksDB's of version 2, which Pebble's own formats have with
//! another magic number: checksum type (1) ‖ 2 handles padded to 40 ‖ LE4 version ‖ magic number (8).

use super::{FOOTER, KINDS, KINDS_AND_OBSOLETE, kind};
use crate::source::lsm::{
    Malformed,
    bytes::{Fields, u32_le},
    error::Fault,
    footer::{self, Checksum, Footer, Handle, Packing, Shape},
};

const ROCKSDB_MAGIC: &[u8] = b"\xf7\xcf\xf4\x85\xb7\x41\xe2\x88";
const PEBBLE_MAGIC: &[u8] = b"\xf0\x9f\xaa\xb3\xf0\x9f\xaa\xb3";

/// Pebble's formats read: 1 has properties of blocks, 2 range keys, 3 value blocks, 4 obsolete entries.
const FORMATS: std::ops::RangeInclusive<u32> = 1..=4;

/// Decodes the footer of a table of `size` bytes whose last ones are `tail`.
pub(super) fn decode(tail: &[u8], size: u64) -> Result<Footer, Fault> {
    if footer::is_leveldb(tail) {
        return Ok(footer::decode_leveldb(tail, size, &KINDS)?);
    }
    let start = tail.len().checked_sub(FOOTER).ok_or(Malformed::new(0, "a table is too small for its footer"))?;
    let (magic_at, version_at) = (tail.len() - 8, tail.len() - 12);
    let version = u32_le(tail, version_at).unwrap_or(0);
    let format = match tail.get(magic_at..).unwrap_or(&[]) {
        ROCKSDB_MAGIC if version == 2 => 0,
        ROCKSDB_MAGIC => return Err(Fault::Unsupported(format!("it is a RocksDB table of format version {version}"))),
        PEBBLE_MAGIC if FORMATS.contains(&version) => version,
        PEBBLE_MAGIC => {
            let what = format!("its table format is Pebblev{version}, which a newer Pebble wrote");
            return Err(Fault::Unsupported(what));
        }
        _ => return Err(Malformed::new(magic_at, "the magic number of a table is missing").into()),
    };
    let checksum = match tail.get(start) {
        Some(1) => Checksum::Crc32c,
        Some(3) => Checksum::XxHash64,
        Some(other) => return Err(Fault::Unsupported(format!("its checksums are of type {other}"))),
        None => return Err(Malformed::new(start, "a table is too small for its footer").into()),
    };
    let limit = size.saturating_sub(FOOTER as u64);
    let mut fields = Fields::new(tail.get(start + 1..version_at).unwrap_or(&[]));
    let metaindex = Handle::take(&mut fields, limit)?;
    let index = Handle::take(&mut fields, limit)?;
    let shape = Shape {
        packing: Packing { checksum, zstd: true },
        kinds: if format >= 4 { &KINDS_AND_OBSOLETE } else { &KINDS },
        // The highest bit says whether the part of the key that Pebble's owner calls its prefix changed.
        restart_mask: if format >= 3 { u32::MAX >> 1 } else { u32::MAX },
        prefixed: (format >= 3).then_some(kind::SET),
    };
    Ok(Footer { metaindex, index, limit, shape })
}
