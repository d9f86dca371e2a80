//! The frames of a log file, the manifest's and the write-ahead logs': whole, damaged, or cut off at the end. RocksDB replays
//! what is in them; this only makes sure that it does not take damage for their end, and tells how each record begins.
//!
//! Source: RocksDB's `db/log_format.h`: blocks of 32 KiB, in them fragments of checksum (4), length (2), kind (1) and, in logs
//! that were recycled, the log's number (4).

use super::RocksError;
use crate::source::lsm::log::{BLOCK, mask};
use std::{
    io::{self, Read},
    path::Path,
};

/// Bytes of a record's begin that are handed out.
pub const BEGIN: usize = 256;

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After a whole record.
    Whole,
    /// Inside a record that begins at this offset: as a writer leaves it that was cut off, or damage.
    Torn(u64),
    /// The records are compressed as a whole, and were not looked at.
    Opaque,
}

/// Walks over a log of this number, and hands the first bytes of each record to `record`, with its offset. The path is for
/// errors.
///
/// A log whose file was another log's before ends where its records do, and what follows is whatever lay there. That is told
/// from damage by what comes later: more of this log, or nothing.
///
/// # Errors
/// Damage, the file and the place named; or `record` has one.
pub fn walk(
    path: &Path,
    number: u64,
    mut log: impl Read,
    mut record: impl FnMut(u64, &[u8]) -> Result<(), RocksError>,
) -> Result<End, RocksError> {
    let fail = |source| RocksError::Io { path: path.to_path_buf(), source };
    let mut block = Vec::with_capacity(BLOCK);
    next_block(&mut log, &mut block).map_err(fail)?;
    // The first record tells: a log has records with its number, or without.
    let recycled = block.get(6).is_some_and(|kind| has_number(*kind));
    let mut base = 0u64;
    // The record under way: where it begins, and its first bytes.
    let mut open: Option<(u64, Vec<u8>)> = None;
    loop {
        let mut rest = block.as_slice();
        loop {
            let offset = base + (block.len() - rest.len()) as u64;
            let wrong =
                |what: &str| RocksError::Corrupt { path: path.to_path_buf(), what: format!("byte {offset}: {what}") };
            let begin = open.as_ref().map(|(begin, _)| *begin);
            let torn = End::Torn(begin.unwrap_or(offset));
            let fragment = match fragment(rest, number) {
                Found::Fragment(fragment, after) => {
                    rest = after;
                    fragment
                }
                Found::Nothing if block.len() == BLOCK => break,
                Found::Nothing => return Ok(begin.map_or(End::Whole, End::Torn)),
                Found::Older | Found::Cut | Found::Damaged if recycled => {
                    if is_disguised(rest, number) {
                        return Err(wrong("the checksum does not match"));
                    }
                    let behind = rest.get(1..).unwrap_or_default();
                    if goes_on(behind, number) || later(&mut log, number).map_err(fail)? {
                        return Err(wrong("the checksum does not match, and the log goes on behind"));
                    }
                    return Ok(if is_numbered(rest, number) { torn } else { begin.map_or(End::Whole, End::Torn) });
                }
                Found::Older => return Err(wrong("a record is another log's")),
                // A fragment never crosses blocks, so in a full one no writer was cut off.
                Found::Cut if block.len() == BLOCK => return Err(wrong("a record is longer than its block")),
                Found::Cut => return Ok(torn),
                Found::Damaged => return Err(wrong("the checksum does not match")),
            };
            let (begins, ends) = match fragment.kind {
                1 | 5 => (true, true),
                2 | 6 => (true, false),
                3 | 7 => (false, false),
                4 | 8 => (false, true),
                9 => return Ok(End::Opaque),
                // What newer releases say of the log itself.
                _ => continue,
            };
            match (&mut open, begins) {
                (None, true) => open = Some((offset, Vec::new())),
                (Some(_), false) => {}
                _ => return Err(wrong("the parts of a record are out of order")),
            }
            if let Some((_, begin)) = &mut open {
                begin.extend(fragment.payload.iter().take(BEGIN - begin.len()));
            }
            if ends && let Some((offset, begin)) = open.take() {
                record(offset, &begin)?;
            }
        }
        base += block.len() as u64;
        next_block(&mut log, &mut block).map_err(fail)?;
    }
}

fn next_block(log: &mut impl Read, block: &mut Vec<u8>) -> io::Result<()> {
    block.clear();
    log.by_ref().take(BLOCK as u64).read_to_end(block).map(drop)
}

/// Whether fragments of this kind carry their log's number.
fn has_number(kind: u8) -> bool {
    matches!(kind, 5..=8 | 11 | 131)
}

/// The low half of a log's number, where a fragment has it.
fn number_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(7..)?.first_chunk()?))
}

/// Whether a fragment says that it is this log's.
fn is_numbered(bytes: &[u8], number: u64) -> bool {
    bytes.get(6).is_some_and(|kind| has_number(*kind)) && number_of(bytes) == Some(number as u32)
}

/// Whether a fragment of this log begins anywhere in what is left of a block.
fn goes_on(block: &[u8], number: u64) -> bool {
    (0..block.len()).any(|at| {
        let bytes = block.get(at..).unwrap_or_default();
        is_numbered(bytes, number) && matches!(fragment(bytes, number), Found::Fragment(..))
    })
}

/// Whether one begins in the blocks that are left.
fn later(log: &mut impl Read, number: u64) -> io::Result<bool> {
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        next_block(log, &mut block)?;
        if block.is_empty() || goes_on(&block, number) {
            return Ok(!block.is_empty());
        }
    }
}

struct Fragment<'a> {
    kind: u8,
    payload: &'a [u8],
}

enum Found<'a> {
    /// A fragment, and what follows it.
    Fragment(Fragment<'a>, &'a [u8]),
    /// No more in this block.
    Nothing,
    /// It has another log's number.
    Older,
    /// It goes on behind the end.
    Cut,
    Damaged,
}

fn fragment(bytes: &[u8], number: u64) -> Found<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<7>() else {
        return if bytes.iter().all(|byte| *byte == 0) { Found::Nothing } else { Found::Cut };
    };
    let [c0, c1, c2, c3, l0, l1, kind] = *header;
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    if kind == 0 && length == 0 {
        // Space that was set aside and never written.
        return if bytes.iter().all(|byte| *byte == 0) { Found::Nothing } else { Found::Damaged };
    }
    let stored = u32::from_le_bytes([c0, c1, c2, c3]);
    let mut extra = 0;
    if has_number(kind) {
        let Some(found) = number_of(bytes) else { return Found::Cut };
        if found != number as u32 {
            return Found::Older;
        }
        extra = 4;
    }
    let Some((payload, after)) = rest.split_at_checked(length + extra) else { return Found::Cut };
    if checksum(kind, &[], payload) != stored {
        return Found::Damaged;
    }
    Found::Fragment(Fragment { kind, payload: payload.get(extra..).unwrap_or_default() }, after)
}

fn checksum(kind: u8, number: &[u8], payload: &[u8]) -> u32 {
    mask(crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&[kind]), number), payload))
}

/// Whether a fragment that does not look like one of this log is one, with damage in its kind or its number: then its checksum
/// holds with what they must have been. RocksDB takes it for the end of the log.
fn is_disguised(bytes: &[u8], number: u64) -> bool {
    let Some((&[c0, c1, c2, c3, l0, l1, _], rest)) = bytes.split_first_chunk::<7>() else { return false };
    let (stored, length) = (u32::from_le_bytes([c0, c1, c2, c3]), usize::from(u16::from_le_bytes([l0, l1])));
    let is = |kinds: std::ops::RangeInclusive<u8>, number: &[u8]| {
        let payload = rest.get(number.len()..number.len() + length);
        payload.is_some_and(|payload| kinds.clone().any(|kind| checksum(kind, number, payload) == stored))
    };
    is(1..=4, &[]) || is(5..=8, &(number as u32).to_le_bytes())
}
