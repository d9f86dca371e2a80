//! Owns the log format shared by `NNNNNN.log` and `MANIFEST-NNNNNN`: 32 KiB blocks of
//! checksummed chunks. Hands whole records to the manifest and the log replay.

use super::bytes::u32_le;
use super::error::Malformed;

/// Chunks never cross a multiple of this.
pub const BLOCK: usize = 32 * 1024;
/// Masked CRC32C (4) ‖ length (2) ‖ type (1).
pub const HEADER: usize = 7;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// LevelDB's disguise for checksums stored beside what they cover.
#[inline]
pub(super) fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// What [`Records::next_into`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// A record which began at this offset; its payload is in the buffer.
    Whole {
        /// Its first byte in the file.
        offset: usize,
    },
    /// The end, after the last whole record.
    End,
    /// The end, inside a record which began at this offset: what a writer
    /// leaves that died while appending.
    Torn {
        /// Its first byte in the file.
        offset: usize,
    },
}

/// Splits the bytes of one log file into records.
#[derive(Debug)]
pub struct Records<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    /// Starts at the first record of a whole file.
    pub fn new(data: &'a [u8]) -> Records<'a> {
        Records { data, at: 0 }
    }

    /// Where the next record is looked for.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Replaces `payload` by the next record's bytes.
    ///
    /// # Errors
    /// Bytes which no interrupted append explains: a wrong checksum, an
    /// unknown chunk type, a length beyond its block, chunks out of order,
    /// or zeros followed by data.
    pub fn next_into(&mut self, payload: &mut Vec<u8>) -> Result<Record, Malformed> {
        payload.clear();
        let mut begun: Option<usize> = None;
        loop {
            let room = BLOCK - self.at % BLOCK;
            if room < HEADER {
                let padding = self.data.get(self.at..).unwrap_or(&[]);
                if padding.iter().take(room).any(|&byte| byte != 0) {
                    return Err(Malformed::new(self.at, "padding of a log block is not zero"));
                }
                self.at += room;
                continue;
            }
            let rest = self.data.get(self.at..).unwrap_or(&[]);
            if rest.is_empty() {
                return Ok(match begun {
                    None => Record::End,
                    Some(offset) => Record::Torn { offset },
                });
            }
            let torn = Record::Torn { offset: begun.unwrap_or(self.at) };
            let Some((&[c0, c1, c2, c3, l0, l1, kind], _)) = rest.split_first_chunk::<HEADER>() else {
                return Ok(torn);
            };
            let length = usize::from(u16::from_le_bytes([l0, l1]));
            if kind == 0 && length == 0 {
                // A file system may extend a file before it writes the data.
                if rest.iter().all(|&byte| byte == 0) {
                    return Ok(torn);
                }
                return Err(Malformed::new(self.at, "zeros amid a log"));
            }
            if HEADER + length > room {
                return Err(Malformed::new(self.at, "a log chunk exceeds its block"));
            }
            let Some(covered) = rest.get(HEADER - 1..HEADER + length) else {
                return Ok(torn);
            };
            if mask(crc32c::crc32c(covered)) != u32::from_le_bytes([c0, c1, c2, c3]) {
                return Err(Malformed::new(self.at, "checksum of a log chunk differs"));
            }
            match (kind, begun) {
                (FULL | FIRST, Some(_)) => {
                    return Err(Malformed::new(self.at, "a log record begins inside another"));
                }
                (MIDDLE | LAST, None) => {
                    return Err(Malformed::new(self.at, "a log record has no beginning"));
                }
                (FULL | FIRST, None) => begun = Some(self.at),
                (MIDDLE | LAST, Some(_)) => {}
                _ => return Err(Malformed::new(self.at, "unknown type of log chunk")),
            }
            payload.extend_from_slice(covered.get(1..).unwrap_or(&[]));
            self.at += HEADER + length;
            if let (FULL | LAST, Some(offset)) = (kind, begun) {
                return Ok(Record::Whole { offset });
            }
        }
    }
}

/// Checks the masked CRC32C which ends `data`, and returns what it covers.
pub(super) fn checked(data: &[u8]) -> Option<&[u8]> {
    let end = data.len().checked_sub(4)?;
    let covered = data.get(..end)?;
    (mask(crc32c::crc32c(covered)) == u32_le(data, end)?).then_some(covered)
}
