//! Owns a tiny writer of tables, logs, manifests, for tests only.

use std::fs;
use std::ops::Range;
use std::path::Path;

use crate::source::lsm::footer::{Checksum, Packing};
use crate::source::lsm::{filter, log as journal};

/// How LevelDB packs blocks.
pub(in crate::source) const PACKING: Packing = Packing { checksum: Checksum::Crc32c, zstd: false };

pub(in crate::source) type Entry = (Vec<u8>, Vec<u8>);

pub(in crate::source) fn put(user: &[u8], sequence: u64, value: &[u8]) -> Entry {
    let tag = (sequence << 8 | 1).to_le_bytes();
    ([user, &tag].concat(), value.to_vec())
}

pub(in crate::source) fn delete(user: &[u8], sequence: u64) -> Entry {
    ([user, &(sequence << 8).to_le_bytes()].concat(), Vec::new())
}

pub(in crate::source) fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(in crate::source) fn prefixed(bytes: &[u8], out: &mut Vec<u8>) {
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

pub(in crate::source) fn block(entries: &[Entry], interval: usize) -> Vec<u8> {
    let (mut out, mut restarts, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (key, value)) in entries.iter().enumerate() {
        let mut shared = 0;
        if i % interval == 0 {
            restarts.push(out.len() as u32);
        } else {
            shared = key.iter().zip(&last).take_while(|(a, b)| a == b).count();
        }
        varint(shared as u64, &mut out);
        varint((key.len() - shared) as u64, &mut out);
        varint(value.len() as u64, &mut out);
        out.extend(&key[shared..]);
        out.extend(value);
        last = key.clone();
    }
    if restarts.is_empty() {
        restarts.push(0);
    }
    for restart in &restarts {
        out.extend(restart.to_le_bytes());
    }
    out.extend((restarts.len() as u32).to_le_bytes());
    out
}

pub(in crate::source) fn seal(contents: &[u8], snappy: bool) -> Vec<u8> {
    let mut out = match snappy {
        true => snap::raw::Encoder::new().compress_vec(contents).unwrap(),
        false => contents.to_vec(),
    };
    out.push(snappy.into());
    sum(out)
}

pub(in crate::source) fn sum(mut out: Vec<u8>) -> Vec<u8> {
    out.extend(journal::mask(crc32c::crc32c(&out)).to_le_bytes());
    out
}

pub(in crate::source) fn bloom(users: &[&[u8]]) -> Vec<u8> {
    let bytes = (users.len() * 10).max(64).div_ceil(8);
    let mut bits = vec![0u8; bytes];
    for user in users {
        let mut hash = filter::hash(user);
        let delta = hash.rotate_right(17);
        for _ in 0..6 {
            let bit = hash as usize % (bytes * 8);
            bits[bit / 8] |= 1 << (bit % 8);
            hash = hash.wrapping_add(delta);
        }
    }
    bits.push(6);
    bits
}

#[derive(Debug, Default, Clone)]
pub(in crate::source) struct Layout {
    pub(in crate::source) data: Vec<Range<usize>>,
    pub(in crate::source) filter: Range<usize>,
    pub(in crate::source) metaindex: Range<usize>,
    pub(in crate::source) index: Range<usize>,
}

/// A table with `per_block` entries in each data block and full keys as separators.
pub(in crate::source) fn table(entries: &[Entry], per_block: usize, snappy: bool) -> (Vec<u8>, Layout) {
    let chunks: Vec<&[Entry]> = entries.chunks(per_block).collect();
    let keys: Vec<Vec<u8>> = chunks.iter().map(|c| c.last().unwrap().0.clone()).collect();
    table_with(&chunks, &keys, snappy)
}

pub(in crate::source) fn table_with(chunks: &[&[Entry]], separators: &[Vec<u8>], snappy: bool) -> (Vec<u8>, Layout) {
    let mut out = Vec::new();
    let mut layout = Layout::default();
    let add = |contents: Vec<u8>, snappy: bool, out: &mut Vec<u8>| {
        let start = out.len();
        out.extend(seal(&contents, snappy));
        start..out.len()
    };
    let handle = |range: &Range<usize>| {
        let mut out = Vec::new();
        varint(range.start as u64, &mut out);
        varint(range.len() as u64 - 5, &mut out);
        out
    };
    let mut index = Vec::new();
    let mut filters: Vec<Vec<&[u8]>> = Vec::new();
    for (chunk, separator) in chunks.iter().zip(separators) {
        let range = add(block(chunk, 16), snappy, &mut out);
        filters.resize(range.start / 2048 + 1, Vec::new());
        let users = chunk.iter().map(|(key, _)| &key[..key.len() - 8]);
        filters.last_mut().unwrap().extend(users);
        index.push((separator.clone(), handle(&range)));
        layout.data.push(range);
    }
    let (mut contents, mut offsets) = (Vec::new(), Vec::new());
    for users in &filters {
        offsets.push(contents.len() as u32);
        if !users.is_empty() {
            contents.extend(bloom(users));
        }
    }
    offsets.push(contents.len() as u32);
    contents.extend(offsets.iter().flat_map(|o| o.to_le_bytes()));
    contents.push(11);
    layout.filter = add(contents, false, &mut out);
    let meta = vec![(filter::NAME.to_vec(), handle(&layout.filter))];
    layout.metaindex = add(block(&meta, 1), snappy, &mut out);
    layout.index = add(block(&index, 1), snappy, &mut out);
    let mut footer = [handle(&layout.metaindex), handle(&layout.index)].concat();
    footer.resize(40, 0);
    footer.extend(0xdb47_7524_8b80_fb57u64.to_le_bytes());
    out.extend(footer);
    (out, layout)
}

pub(in crate::source) fn log(records: &[Vec<u8>]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for record in records {
        let mut rest = &record[..];
        let mut first = true;
        loop {
            let room = journal::BLOCK - out.len() % journal::BLOCK;
            if room < journal::HEADER {
                out.resize(out.len() + room, 0);
                continue;
            }
            let (part, after) = rest.split_at(rest.len().min(room - journal::HEADER));
            let kind = match (first, after.is_empty()) {
                (true, true) => 1u8,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            let covered = [&[kind], part].concat();
            out.extend(journal::mask(crc32c::crc32c(&covered)).to_le_bytes());
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

pub(in crate::source) fn batch(sequence: u64, ops: &[(&[u8], Option<&[u8]>)]) -> Vec<u8> {
    let mut out = sequence.to_le_bytes().to_vec();
    out.extend((ops.len() as u32).to_le_bytes());
    for (key, value) in ops {
        out.push(value.is_some().into());
        prefixed(key, &mut out);
        if let Some(value) = value {
            prefixed(value, &mut out);
        }
    }
    out
}

/// First manifest record: comparator, journal, next file, last sequence.
pub(in crate::source) fn head(comparator: &[u8], journal: u64, last_sequence: u64) -> Vec<u8> {
    let mut out = vec![1];
    prefixed(comparator, &mut out);
    for (tag, number) in [(2, journal), (3, 1000), (4, last_sequence)] {
        out.push(tag);
        varint(number, &mut out);
    }
    out
}

pub(in crate::source) fn added(level: u64, number: u64, size: usize, keys: [&[u8]; 2]) -> Vec<u8> {
    let mut out = vec![7];
    for n in [level, number, size as u64] {
        varint(n, &mut out);
    }
    prefixed(keys[0], &mut out);
    prefixed(keys[1], &mut out);
    out
}

/// Tables (level, number, entries) of a database to write.
pub(in crate::source) type Levels<'a> = &'a [(u64, u64, Vec<Entry>)];

/// Writes a database: tables of 7 entries a block, logs from number 100 on.
pub(in crate::source) fn database(dir: &Path, levels: Levels<'_>, logs: &[(u64, Vec<Vec<u8>>)]) {
    let mut records = vec![head(b"leveldb.BytewiseComparator", 100, 50)];
    for (level, number, entries) in levels {
        let (bytes, _) = table(entries, 7, true);
        let ends = [&entries[0].0[..], &entries.last().unwrap().0];
        records.push(added(*level, *number, bytes.len(), ends));
        fs::write(dir.join(format!("{number:06}.ldb")), bytes).unwrap();
    }
    for (number, batches) in logs {
        fs::write(dir.join(format!("{number:06}.log")), log(batches)).unwrap();
    }
    manifest(dir, &records);
}

pub(in crate::source) fn manifest(dir: &Path, records: &[Vec<u8>]) {
    fs::write(dir.join("MANIFEST-000002"), log(records)).unwrap();
    fs::write(dir.join("CURRENT"), "MANIFEST-000002\n").unwrap();
}
