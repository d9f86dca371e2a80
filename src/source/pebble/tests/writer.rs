//! Owns a tiny writer of Pebble's tables, in every format that is read, for tests only: what a node's database seldom has.

use std::fs;
use std::path::Path;

use crate::source::leveldb::tests::writer::{block, head, log, prefixed, varint};
use crate::source::lsm::log::mask;

/// What a table is to be like.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    /// 1 is CRC32C, 3 is XXH64.
    pub(super) checksum: u8,
    /// Pebble's table format; 0 is RocksDB's of version 2.
    pub(super) format: u32,
    pub(super) zstd: bool,
    /// Data blocks under one part of the index; without parts the index has one level.
    pub(super) parts: Option<usize>,
    /// Whether parts of the index lack their last entry.
    pub(super) short_parts: bool,
    /// The byte before values, in formats that have one there: it says where the value is.
    pub(super) before: Option<u8>,
    /// Blocks that the metaindex names: name, contents.
    pub(super) meta: Vec<(Vec<u8>, Vec<u8>)>,
}

/// User key, sequence number, kind, value.
pub(super) type Entry = (Vec<u8>, u64, u8, Vec<u8>);

pub(super) fn entry(user: &[u8], sequence: u64, kind: u8, value: &[u8]) -> Entry {
    (user.to_vec(), sequence, kind, value.to_vec())
}

pub(super) fn plain() -> Spec {
    Spec { checksum: 1, format: 0, zstd: false, parts: None, short_parts: false, before: Some(0), meta: Vec::new() }
}

/// A block with its type and checksum.
pub(super) fn seal(contents: &[u8], spec: &Spec) -> Vec<u8> {
    let mut out = Vec::new();
    if spec.zstd {
        varint(contents.len() as u64, &mut out);
        let fastest = ruzstd::encoding::CompressionLevel::Fastest;
        out.extend(ruzstd::encoding::compress_to_vec(contents, fastest));
    } else {
        out.extend(contents);
    }
    out.push(if spec.zstd { 7 } else { 0 });
    sum(out, spec.checksum)
}

pub(super) fn sum(mut out: Vec<u8>, checksum: u8) -> Vec<u8> {
    let sum = match checksum {
        1 => mask(crc32c::crc32c(&out)),
        _ => twox_hash::XxHash64::oneshot(0, &out) as u32,
    };
    out.extend(sum.to_le_bytes());
    out
}

fn internal((user, sequence, kind, _): &Entry) -> Vec<u8> {
    [user, &(sequence << 8 | u64::from(*kind)).to_le_bytes()[..]].concat()
}

/// Properties as Pebble writes them, as far as a reader looks at them.
pub(super) fn properties(index_type: &[u8], comparator: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let entries = [
        (b"rocksdb.block.based.table.index.type".to_vec(), index_type.to_vec()),
        (b"rocksdb.comparator".to_vec(), comparator.to_vec()),
        (b"rocksdb.num.entries".to_vec(), vec![7]),
    ];
    (b"rocksdb.properties".to_vec(), block(&entries, 1))
}

/// A table with `per_block` entries in each data block.
pub(super) fn table(entries: &[Entry], per_block: usize, spec: &Spec) -> Vec<u8> {
    let mut out = Vec::new();
    let mut add = |contents: &[u8]| {
        let start = out.len();
        out.extend(seal(contents, spec));
        let mut handle = Vec::new();
        varint(start as u64, &mut handle);
        varint((out.len() - start - 5) as u64, &mut handle);
        handle
    };
    let mut index = Vec::new();
    for chunk in entries.chunks(per_block) {
        let stored = |entry: &Entry| match (spec.format, entry.2) {
            (3.., 1) => spec.before.into_iter().chain(entry.3.iter().copied()).collect(),
            _ => entry.3.clone(),
        };
        let pairs: Vec<_> = chunk.iter().map(|entry| (internal(entry), stored(entry))).collect();
        index.push((internal(chunk.last().unwrap()), add(&block(&pairs, 4))));
    }
    let mut meta = spec.meta.clone();
    if let Some(parts) = spec.parts {
        let less = usize::from(spec.short_parts);
        let mut part =
            |part: &[(Vec<u8>, Vec<u8>)]| (part[part.len() - 1].0.clone(), add(&block(&part[..part.len() - less], 1)));
        index = index.chunks(parts).map(&mut part).collect();
        meta.push(properties(&[2, 0, 0, 0], b"leveldb.BytewiseComparator"));
    }
    let mut named: Vec<_> = meta.iter().map(|(name, contents)| (name.clone(), add(contents))).collect();
    named.sort();
    let (metaindex, index) = (add(&block(&named, 1)), add(&block(&index, 1)));
    out.push(spec.checksum);
    let mut handles = [metaindex, index].concat();
    handles.resize(40, 0);
    out.extend(handles);
    let (version, magic) = match spec.format {
        0 => (2u32, b"\xf7\xcf\xf4\x85\xb7\x41\xe2\x88"),
        format => (format, b"\xf0\x9f\xaa\xb3\xf0\x9f\xaa\xb3"),
    };
    out.extend(version.to_le_bytes());
    out.extend(magic);
    out
}

/// One table of a database: level, number, entries, sequence numbers if the manifest is to give them, what it is like.
pub(super) type Placed<'a> = (u64, u64, &'a [Entry], Option<(u64, u64)>, &'a Spec);

/// Writes a database of tables with 3 entries a block.
pub(super) fn database(dir: &Path, tables: &[Placed<'_>]) {
    let mut records = vec![head(b"leveldb.BytewiseComparator", 100, 1000)];
    for (level, number, entries, sequences, spec) in tables {
        let bytes = table(entries, 3, spec);
        let mut record = vec![if sequences.is_some() { 103 } else { 7 }];
        [*level, *number, bytes.len() as u64].into_iter().for_each(|n| varint(n, &mut record));
        prefixed(&internal(&entries[0]), &mut record);
        prefixed(&internal(entries.last().unwrap()), &mut record);
        if let Some((first, last)) = sequences {
            [*first, *last, 1].into_iter().for_each(|n| varint(n, &mut record));
        }
        records.push(record);
        fs::write(dir.join(format!("{number:06}.sst")), bytes).unwrap();
    }
    // Pebble always has a log.
    fs::write(dir.join("000100.log"), "").unwrap();
    fs::write(dir.join("MANIFEST-000002"), log(&records)).unwrap();
    fs::write(dir.join("CURRENT"), "MANIFEST-000002\n").unwrap();
}
