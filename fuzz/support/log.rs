//! Logs and manifests as their writers lay them down, so that what is fuzzed gets past the checksums.

use super::crc32c;

pub const BLOCK: usize = 32 * 1024;

/// A log of these records: with its number in each fragment, or without.
pub fn written(number: Option<u32>, records: &[Vec<u8>]) -> Vec<u8> {
    let header = if number.is_some() { 11 } else { 7 };
    let mut out: Vec<u8> = Vec::new();
    for record in records {
        let (mut rest, mut first) = (&record[..], true);
        loop {
            let room = BLOCK - out.len() % BLOCK;
            if room < header {
                out.resize(out.len() + room, 0);
                continue;
            }
            let (part, after) = rest.split_at(rest.len().min(room - header));
            let kind = match (first, after.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            let covered = match number {
                Some(number) => [&[kind + 4], &number.to_le_bytes()[..], part].concat(),
                None => [&[kind], part].concat(),
            };
            out.extend(crc32c::stored(&covered).to_le_bytes());
            out.extend((part.len() as u16).to_le_bytes());
            out.extend(covered);
            (rest, first) = (after, false);
            if rest.is_empty() {
                break;
            }
        }
    }
    out
}
