//! Owns the log format shared by write-ahead logs and manifests: 32 KiB blocks of checksummed chunks, in LevelDB's form
//! and in the one of files that are used again (RocksDB, Pebble). Hands whole records to the manifest and the log replay.

use super::bytes::u32_le;
use super::error::Malformed;

/// Chunks never cross a multiple of this.
pub const BLOCK: usize = 32 * 1024;
/// Masked CRC32C (4) ‖ length (2) ‖ type (1).
pub const HEADER: usize = 7;
/// The same ‖ low half of the log's number (4), for chunks of files that are used again.
pub const LONG_HEADER: usize = HEADER + 4;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;
/// Added to a type whose header is long.
const LONG: u8 = 4;

/// LevelDB's disguise for checksums stored beside what they cover.
#[inline]
pub(crate) fn mask(crc: u32) -> u32 {
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
    /// Low half of the log's number, if its chunks carry it.
    number: Option<u32>,
}

/// What lies at a position.
enum Found<'a> {
    Chunk {
        kind: u8,
        payload: &'a [u8],
        end: usize,
    },
    /// Nothing up to here.
    Padding(usize),
    /// No bytes at all.
    Nothing,
    /// What a writer that died leaves.
    Cut,
    /// The mark of a closed log, or what an older log of the same file left.
    Another,
}

impl<'a> Records<'a> {
    /// Starts at the first record of a whole file.
    pub fn new(data: &'a [u8]) -> Records<'a> {
        Records { data, at: 0, number: None }
    }

    /// As [`Records::new`], for the log with this number whose file may have been another log's before. What that one left
    /// is not told from damage by its looks: the log ends where its chunks end, unless more of them, or the mark of its
    /// closing, come later.
    pub fn recycled(data: &'a [u8], number: u64) -> Records<'a> {
        Records { data, at: 0, number: Some(number as u32) }
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
            let cut = Record::Torn { offset: begun.unwrap_or(self.at) };
            let found = match (self.chunk(), self.number) {
                (Err(broken), Some(number)) => {
                    self.nothing_follows(number, broken)?;
                    return Ok(self.finish(cut));
                }
                (Ok(Found::Another), Some(number)) => {
                    let broken = Malformed::new(self.at, "a log chunk has another log's number");
                    if !is_closing(self.data, self.at, number) {
                        self.nothing_follows(number, broken)?;
                    }
                    return Ok(self.finish(if begun.is_some() { cut } else { Record::End }));
                }
                (found, _) => found?,
            };
            let (kind, part, end) = match found {
                Found::Chunk { kind, payload, end } => (kind, payload, end),
                Found::Padding(end) => {
                    self.at = end;
                    continue;
                }
                Found::Nothing if begun.is_none() => return Ok(Record::End),
                Found::Nothing | Found::Cut | Found::Another => return Ok(cut),
            };
            match (kind, begun) {
                (FULL | FIRST, Some(_)) => {
                    return Err(Malformed::new(self.at, "a log record begins inside another"));
                }
                (MIDDLE | LAST, None) => {
                    return Err(Malformed::new(self.at, "a log record has no beginning"));
                }
                (FULL | FIRST, None) => begun = Some(self.at),
                _ => {}
            }
            payload.extend_from_slice(part);
            self.at = end;
            if let (FULL | LAST, Some(offset)) = (kind, begun) {
                return Ok(Record::Whole { offset });
            }
        }
    }

    fn finish(&mut self, last: Record) -> Record {
        self.at = self.data.len();
        last
    }

    /// The chunk at the current position.
    fn chunk(&self) -> Result<Found<'a>, Malformed> {
        let room = BLOCK - self.at % BLOCK;
        let rest = self.data.get(self.at..).unwrap_or(&[]);
        let broken = |what| Err(Malformed::new(self.at, what));
        if room < HEADER {
            if rest.iter().take(room).any(|&byte| byte != 0) {
                return broken("padding of a log block is not zero");
            }
            return Ok(Found::Padding(self.at + room));
        }
        if rest.is_empty() {
            return Ok(Found::Nothing);
        }
        let Some((&[c0, c1, c2, c3, l0, l1, kind], _)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(Found::Cut);
        };
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        if kind == 0 && length == 0 {
            if self.number.is_some() && room < LONG_HEADER && rest.iter().take(room).all(|&byte| byte == 0) {
                return Ok(Found::Padding(self.at + room));
            }
            // A file system may extend a file before it writes the data.
            if rest.iter().all(|&byte| byte == 0) {
                return Ok(Found::Cut);
            }
            return broken("zeros amid a log");
        }
        let long = self.number.is_some() && kind > LONG;
        let header = if long { LONG_HEADER } else { HEADER };
        if let Some(number) = self.number.filter(|_| long) {
            match u32_le(rest, HEADER) {
                None => return Ok(Found::Cut),
                Some(found) if found != number => return Ok(Found::Another),
                Some(_) => {}
            }
        }
        if header + length > room {
            return broken("a log chunk exceeds its block");
        }
        let Some(covered) = rest.get(HEADER - 1..header + length) else {
            return Ok(Found::Cut);
        };
        if mask(crc32c::crc32c(covered)) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return broken("checksum of a log chunk differs");
        }
        let kind = if long { kind - LONG } else { kind };
        if !(FULL..=LAST).contains(&kind) {
            return broken("unknown type of log chunk");
        }
        let payload = covered.get(header - HEADER + 1..).unwrap_or(&[]);
        Ok(Found::Chunk { kind, payload, end: self.at + header + length })
    }

    /// Fails with `broken` if anything of this log lies at the current position or behind it: then that is no end.
    fn nothing_follows(&self, number: u32, broken: Malformed) -> Result<(), Malformed> {
        if self.is_disguised(number) {
            return Err(broken);
        }
        let later = Records { data: self.data, at: 0, number: Some(number) };
        for at in self.at + 1..self.data.len() {
            let kind = self.data.get(at + HEADER - 1).copied().unwrap_or(0);
            if !(LONG + FULL..=LONG + LAST).contains(&kind) {
                continue;
            }
            let is_ours = u32_le(self.data, at + HEADER) == Some(number);
            if is_closing(self.data, at, number) && self.may_end_at(at)
                || is_ours && matches!((Records { at, ..later }).chunk(), Ok(Found::Chunk { .. }))
            {
                return Err(broken);
            }
        }
        Ok(())
    }

    /// Whether the chunk here, which does not look like one of this log, is one with damage in its type or its number: then its
    /// checksum holds with what they must have been.
    fn is_disguised(&self, number: u32) -> bool {
        let rest = self.data.get(self.at..).unwrap_or(&[]);
        let Some((&[c0, c1, c2, c3, l0, l1, _], rest)) = rest.split_first_chunk::<HEADER>() else { return false };
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        let Some((_, rest)) = rest.split_first_chunk::<{ LONG_HEADER - HEADER }>() else { return false };
        let Some(part) = rest.get(..length) else { return false };
        (LONG + FULL..=LONG + LAST).any(|kind| {
            let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), &number.to_le_bytes());
            mask(crc32c::crc32c_append(crc, part)) == u32::from_le_bytes([c0, c1, c2, c3])
        })
    }

    /// Whether the chunk here, which is damaged in one of its fields, can end at `end`. The mark of a closed log has no
    /// checksum, and the keys of trees look like it now and then, so that it counts only where a chunk or the file ends.
    fn may_end_at(&self, end: usize) -> bool {
        let rest = self.data.get(self.at..end).unwrap_or(&[]);
        let Some((&[c0, c1, c2, c3, l0, l1], covered)) = rest.split_first_chunk::<{ HEADER - 1 }>() else {
            return false;
        };
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        end + LONG_HEADER == self.data.len()
            || self.at + LONG_HEADER + length == end
            || covered.len() < BLOCK && mask(crc32c::crc32c(covered)) == u32::from_le_bytes([c0, c1, c2, c3])
    }
}

/// Whether a writer closed log `number` at `at`: an empty chunk without checksum, of the log with the next number.
fn is_closing(data: &[u8], at: usize, number: u32) -> bool {
    let header = data.get(at..at.saturating_add(LONG_HEADER));
    let (left, right) = header.map_or((&[][..], &[][..]), |header| header.split_at(HEADER));
    left == [0, 0, 0, 0, 0, 0, LONG + FULL] && right == number.wrapping_add(1).to_le_bytes()
}

/// Checks the masked CRC32C which ends `data`, and returns what it covers.
pub(crate) fn checked(data: &[u8]) -> Option<&[u8]> {
    let end = data.len().checked_sub(4)?;
    let covered = data.get(..end)?;
    (mask(crc32c::crc32c(covered)) == u32_le(data, end)?).then_some(covered)
}
