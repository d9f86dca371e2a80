//! Owns the table footer (LevelDB table format: data blocks, filter, metaindex, index,
//! 48-byte footer) and block handles. Hands checked handles to the table.

use super::bytes::Fields;
use super::error::Malformed;

/// Bytes of the footer.
pub const FOOTER: usize = 48;
/// Type byte and masked CRC32C after every block.
pub const BLOCK_TRAILER: usize = 5;

const MAGIC: [u8; 8] = [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb];

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

    fn take(fields: &mut Fields<'_>, limit: u64) -> Result<Handle, Malformed> {
        let at = fields.at();
        let handle = Handle { offset: fields.uvarint()?, size: fields.uvarint()? };
        let end = handle.offset.checked_add(handle.size).and_then(|end| end.checked_add(BLOCK_TRAILER as u64));
        match end {
            Some(end) if end <= limit => Ok(handle),
            _ => Err(Malformed::new(at, "a block handle points outside the file")),
        }
    }
}

/// Decoded footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// The block that names the filter.
    pub metaindex: Handle,
    /// The block that names the data blocks.
    pub index: Handle,
}

/// Decodes the last 48 bytes of a table whose blocks end before `limit`.
pub fn decode(data: &[u8], limit: u64) -> Result<Footer, Malformed> {
    if data.len() != FOOTER {
        return Err(Malformed::new(0, "a table is too small for its footer"));
    }
    if data.last_chunk::<8>() != Some(&MAGIC) {
        return Err(Malformed::new(FOOTER - MAGIC.len(), "the magic number of a LevelDB table is missing"));
    }
    let mut fields = Fields::new(data.get(..FOOTER - MAGIC.len()).unwrap_or(&[]));
    Ok(Footer { metaindex: Handle::take(&mut fields, limit)?, index: Handle::take(&mut fields, limit)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_outside_the_file_are_refused() {
        let mut data = vec![10, 20, 35, 4];
        data.resize(40, 0);
        data.extend(MAGIC);
        let footer = decode(&data, 44).unwrap();
        assert_eq!((footer.index.offset, footer.index.size), (35, 4));
        assert!(decode(&data, 43).is_err());
        assert!(decode(&data[1..], 1000).is_err());
        data[47] ^= 1;
        assert!(decode(&data, 1000).is_err());
        assert!(Handle::decode(&[0xff; 9], u64::MAX).is_err());
        let mut huge = vec![0xff; 9];
        huge.extend([1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
        assert!(Handle::decode(&huge, u64::MAX).is_err());
    }
}
