//! The frames of a log file, the manifest's and the write-ahead logs': whole, damaged, or cut off at the end. RocksDB replays
//! what is in them; this only makes sure that it does not take damage for their end, and tells how each record begins.
//!
//! Source: RocksDB's `db/log_format.h`: blocks of 32 KiB, in them fragments of checksum (4), length (2), kind (1) and, in logs
//! that were recycled, the log's number (4).

use super::RocksError;
use crate::source::lsm::log::{BLOCK, mask};
use std::{fs::File, io::Read as _, path::Path};

/// Bytes of a record's begin that are handed out.
pub(super) const BEGIN: usize = 64;

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// After a whole record.
    Whole,
    /// Inside a record that begins at this offset: as a writer leaves it that was cut off, or damage.
    Torn(u64),
    /// The records are compressed as a whole, and were not looked at.
    Opaque,
}

/// Walks over a log of this number, and hands the first bytes of each record to `record`, with its offset.
///
/// # Errors
/// Damage, the file and the place named; or `record` has one.
pub(super) fn walk(
    path: &Path,
    number: u64,
    mut record: impl FnMut(u64, &[u8]) -> Result<(), RocksError>,
) -> Result<End, RocksError> {
    let fail = |source| RocksError::Io { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(fail)?;
    let mut block = Vec::with_capacity(BLOCK);
    let mut base = 0u64;
    // The record under way: where it begins, and its first bytes.
    let mut open: Option<(u64, Vec<u8>)> = None;
    loop {
        block.clear();
        (&mut file).take(BLOCK as u64).read_to_end(&mut block).map_err(fail)?;
        let mut rest = block.as_slice();
        loop {
            let offset = base + (block.len() - rest.len()) as u64;
            let wrong =
                |what: &str| RocksError::Corrupt { path: path.to_path_buf(), what: format!("byte {offset}: {what}") };
            let fragment = match fragment(rest, number) {
                Found::Fragment(fragment, after) => {
                    rest = after;
                    fragment
                }
                Found::Nothing if block.len() == BLOCK => break,
                Found::Nothing | Found::Older => return Ok(open.map_or(End::Whole, |(begin, _)| End::Torn(begin))),
                // A fragment never crosses blocks, so in a full one no writer was cut off.
                Found::Cut if block.len() == BLOCK => return Err(wrong("a record is longer than its block")),
                Found::Cut => return Ok(End::Torn(open.map_or(offset, |(begin, _)| begin))),
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
    /// What an older log left in a recycled file.
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
    let of_this_log = match kind {
        5..=8 | 11 | 131 => {
            let Some((found, _)) = rest.split_first_chunk::<4>() else { return Found::Cut };
            u64::from(u32::from_le_bytes(*found)) == number & 0xffff_ffff
        }
        _ => true,
    };
    let stored = u32::from_le_bytes([c0, c1, c2, c3]);
    if !of_this_log {
        return if is_of_this_log(stored, kind, length, rest, number) { Found::Damaged } else { Found::Older };
    }
    let extra = if matches!(kind, 5..=8 | 11 | 131) { 4 } else { 0 };
    let Some((payload, after)) = rest.split_at_checked(length + extra) else { return Found::Cut };
    if checksum(kind, &[], payload) != stored {
        return Found::Damaged;
    }
    Found::Fragment(Fragment { kind, payload: payload.get(extra..).unwrap_or_default() }, after)
}

fn checksum(kind: u8, number: &[u8], payload: &[u8]) -> u32 {
    mask(crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&[kind]), number), payload))
}

/// Whether a fragment that says it is another log's is this one's all the same, with damage in its kind or its number: then its
/// checksum holds with what they must have been. RocksDB takes it for the end of the log.
fn is_of_this_log(stored: u32, kind: u8, length: usize, rest: &[u8], number: u64) -> bool {
    let plain = rest.get(..length).is_some_and(|payload| (1..=4).any(|kind| checksum(kind, &[], payload) == stored));
    let recycled = rest.get(4..4 + length);
    plain || recycled.is_some_and(|payload| checksum(kind, &(number as u32).to_le_bytes(), payload) == stored)
}
