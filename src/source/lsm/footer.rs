//! Owns block handles and what a table's footer tells of the rest of it, whichever form the footer has. Hands checked
//! handles to the table.

use super::bytes::Fields;
use super::error::Malformed;
use super::key::Kinds;

/// Type byte and checksum after every block.
pub const BLOCK_TRAILER: usize = 5;
/// Bytes of LevelDB's footer.
pub const LEVELDB_FOOTER: usize = 48;

const LEVELDB_MAGIC: [u8; 8] = [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb];

/// Where a block is: `size` does not count its 5-byte trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
}

impl Handle {
    /// Decodes a handle and requires it, with trailer, to end at or before
    /// `limit`, the bytes of the file which can hold blocks.
    pub fn decode(data: &[u8], limit: u64) -> Result<Handle, Malformed> {
        Handle::take(&mut Fields::new(data), limit)
    }

    /// Takes a handle off the front of `fields`.
    pub fn take(fields: &mut Fields<'_>, limit: u64) -> Result<Handle, Malformed> {
        let at = fields.at();
        let handle = Handle { offset: fields.uvarint()?, size: fields.uvarint()? };
        let end = handle.offset.checked_add(handle.size).and_then(|end| end.checked_add(BLOCK_TRAILER as u64));
        match end {
            Some(end) if end <= limit => Ok(handle),
            _ => Err(Malformed::new(at, "a block handle points outside the file")),
        }
    }
}

/// How blocks are summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Masked CRC32C.
    Crc32c,
    /// The low half of XXH64.
    XxHash64,
}

/// How blocks are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// What follows each block.
    pub checksum: Checksum,
    /// Whether a block may be compressed with Zstandard.
    pub zstd: bool,
}

/// What all blocks of a table have in common.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How they are packed.
    pub packing: Packing,
    /// What the kinds of its entries mean.
    pub kinds: &'static Kinds,
    /// The bits of a restart point that are its offset.
    pub restart_mask: u32,
    /// The kind whose values have a byte of their own in front, which says where the value is.
    pub prefixed: Option<u8>,
}

/// Decoded footer.
#[derive(Clone, Copy, Debug)]
pub struct Footer {
    /// The block that names the other blocks that are neither data nor index.
    pub metaindex: Handle,
    /// The block that names the data blocks.
    pub index: Handle,
    /// End of what can be blocks.
    pub limit: u64,
    /// What its blocks are like.
    pub shape: Shape,
}

/// Whether a table ends as LevelDB's do.
pub fn is_leveldb(tail: &[u8]) -> bool {
    tail.ends_with(&LEVELDB_MAGIC)
}

/// Decodes the footer of a LevelDB table of `size` bytes whose last ones are `tail`: 2 handles padded to 40, magic number.
///
/// # Errors
/// Too few bytes, another magic number, handles that do not lie before the footer.
pub fn decode_leveldb(tail: &[u8], size: u64, kinds: &'static Kinds) -> Result<Footer, Malformed> {
    let start = tail.len().checked_sub(LEVELDB_FOOTER);
    let start = start.ok_or(Malformed::new(0, "a table is too small for its footer"))?;
    let limit = size.saturating_sub(LEVELDB_FOOTER as u64);
    if !is_leveldb(tail) {
        return Err(Malformed::new(tail.len() - LEVELDB_MAGIC.len(), "the magic number of a LevelDB table is missing"));
    }
    let mut fields = Fields::new(tail.get(start..tail.len() - LEVELDB_MAGIC.len()).unwrap_or(&[]));
    let metaindex = Handle::take(&mut fields, limit)?;
    let index = Handle::take(&mut fields, limit)?;
    let packing = Packing { checksum: Checksum::Crc32c, zstd: false };
    let shape = Shape { packing, kinds, restart_mask: u32::MAX, prefixed: None };
    Ok(Footer { metaindex, index, limit, shape })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::leveldb::KINDS;

    #[test]
    fn handles_outside_the_file_are_refused() {
        let mut data = vec![10, 20, 35, 4];
        data.resize(40, 0);
        data.extend(LEVELDB_MAGIC);
        let decode = |data: &[u8], size| decode_leveldb(data, size, &KINDS);
        let footer = decode(&data, 92).unwrap();
        assert_eq!((footer.index.offset, footer.index.size, footer.limit), (35, 4, 44));
        assert!(decode(&data, 91).is_err());
        assert!(decode(&data[1..], 1000).is_err());
        data[47] ^= 1;
        assert!(decode(&data, 1000).is_err());
        assert!(Handle::decode(&[0xff; 9], u64::MAX).is_err());
        let mut huge = vec![0xff; 9];
        huge.extend([1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
        assert!(Handle::decode(&huge, u64::MAX).is_err());
    }
}
