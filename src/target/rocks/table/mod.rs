//! Owns the writing of sorted files for RocksDB to take over: block-based tables of format version 5, which RocksDB reads
//! since 6.6. Does what `SstFileWriter` does in a fraction of the time: records are copied once, into the buffer they are
//! written from.
//!
//! Layout: data blocks, filter, index, properties, metaindex, footer. After each block come one byte (how it is
//! compressed) and a masked CRC-32C over both.

mod block;
mod compression;
mod filter;
mod index;
mod properties;
#[cfg(test)]
mod tests;

use self::{
    block::BlockBuilder,
    compression::{Compressor, PLAIN},
    filter::Filter,
    index::Index,
    properties::Properties,
};
use crate::iavl::varint::put_uv;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// The form of a table; it must suit the column family it is for.
#[derive(Clone, Debug)]
pub(crate) struct TableOptions {
    /// Whether user keys end in a timestamp: the comparator is RocksDB's bytewise one, with 64-bit timestamps or without.
    pub(crate) timestamps: bool,
    /// Number and name of the column family, which RocksDB holds against the one it is to go into; `None` suits any.
    pub(crate) column_family: Option<(u32, &'static str)>,
    /// Bytes of a data block before compression, about.
    pub(crate) block_size: usize,
    /// Bits of the filter for each key; none without a filter.
    pub(crate) bloom_bits: usize,
}

impl TableOptions {
    fn comparator(&self) -> &'static str {
        if self.timestamps { "leveldb.BytewiseComparator.u64ts" } else { "leveldb.BytewiseComparator" }
    }
}

/// Written at once. Larger pieces are hardly cached better, and cost more where the system must find memory for each as one.
const BUFFER: usize = 256 << 10;
/// Memory that is kept for what is not written yet: large records seldom come alone.
const KEPT: usize = 5 << 20;
/// What each key ends in: LE8 of sequence 0 ‖ type 1, a value.
const SUFFIX: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];
const TIMESTAMP: usize = size_of::<u64>();
/// Entries from one restart point of a data block to the next.
const DATA_INTERVAL: u32 = 16;

const FORMAT_VERSION: u32 = 5;
const MAGIC: u64 = 0x88e2_41b7_85f4_cff7;
const CRC32C: u8 = 1;

/// A place in the file: offset, and length without what follows a block.
#[derive(Clone, Copy)]
struct Handle(u64, u64);

impl Handle {
    fn put(self, out: &mut Vec<u8>) {
        put_uv(out, self.0);
        put_uv(out, self.1);
    }
}

/// Writes one table. Holds what is not written yet (256 KiB, or one larger record), the index, and four bytes for each key.
pub(crate) struct TableWriter {
    file: File,
    options: TableOptions,
    /// Not yet written; the data block being filled is at its end.
    out: Vec<u8>,
    /// Bytes in the file already.
    written: u64,
    data: BlockBuilder,
    index: Index,
    filter: Option<Filter>,
    compressor: Compressor,
    properties: Properties,
}

impl TableWriter {
    /// Creates the file. One of the same name is removed and not overwritten, for a database may hold it by another link.
    ///
    /// # Errors
    /// The file could not be created.
    pub(crate) fn create(path: &Path, options: &TableOptions) -> io::Result<TableWriter> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(TableWriter {
            file: File::create_new(path)?,
            options: options.clone(),
            out: Vec::with_capacity(BUFFER + 2 * options.block_size),
            written: 0,
            data: BlockBuilder::new(DATA_INTERVAL),
            index: Index::default(),
            filter: (options.bloom_bits > 0).then(|| Filter::new(options.bloom_bits)),
            compressor: Compressor::new(),
            properties: Properties::new(path),
        })
    }

    /// Adds a record: a user key with its timestamp, if there are timestamps, and a value in parts. Keys come in the strict
    /// order of the comparator: ascending, versions of a key from the newest on.
    ///
    /// # Errors
    /// The file could not be written, the record does not fit into a block (4 GiB), or a key is too short for a timestamp.
    #[inline]
    pub(crate) fn add(&mut self, key: &[u8], value: &[&[u8]]) -> io::Result<()> {
        debug_assert!(self.properties.entries == 0 || self.ascends(key), "keys do not ascend");
        let length = value.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        let filled = self.data.bytes(&self.out);
        let full = filled >= self.options.block_size
            // What is small shall be read without what is large.
            || length >= self.options.block_size
            // Rather a block a little too small than one a little too large: caches have classes of sizes.
            || filled.saturating_add(key.len()).saturating_add(length) > self.options.block_size
                && filled >= self.options.block_size / 10 * 9;
        if full {
            self.cut(Some(key))?;
        }
        let mut user = key;
        if self.options.timestamps {
            let Some((before, timestamp)) = key.split_last_chunk::<TIMESTAMP>() else {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a key is too short for a timestamp"));
            };
            user = before;
            self.properties.timestamp(u64::from_le_bytes(*timestamp));
        }
        self.data.add(&mut self.out, key, &SUFFIX, value)?;
        if let Some(filter) = &mut self.filter {
            filter.add(user);
        }
        self.properties.entries += 1;
        self.properties.key_bytes += (key.len() + SUFFIX.len()) as u64;
        self.properties.value_bytes += length as u64;
        Ok(())
    }

    /// Whether a key comes after the last one.
    fn ascends(&self, key: &[u8]) -> bool {
        let last = self.data.last();
        if !self.options.timestamps {
            return last < key;
        }
        match (last.split_last_chunk::<TIMESTAMP>(), key.split_last_chunk::<TIMESTAMP>()) {
            (Some((last, older)), Some((key, newer))) => {
                last < key || last == key && u64::from_le_bytes(*older) > u64::from_le_bytes(*newer)
            }
            _ => true,
        }
    }

    /// Bytes of the file so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.out.len() as u64
    }

    /// Completes the file. It is not synced: RocksDB does that when it takes it over (`ExternalSstFileIngestionJob`).
    ///
    /// # Errors
    /// The file could not be written, or no record was added: RocksDB does not take over empty tables.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.properties.entries == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a table without records"));
        }
        self.cut(None)?;
        self.properties.data_bytes = self.bytes();
        let mut meta = Vec::new();
        if let Some(filter) = self.filter.take() {
            self.properties.filter_keys = filter.keys();
            let handle = self.append(|out| filter.build(out));
            self.properties.filter_bytes = handle.1;
            meta.push((filter::NAME, handle));
        }
        let contents = std::mem::take(&mut self.index);
        let index = self.append(|out| contents.build(out));
        self.properties.index_bytes = index.1;

        let properties = self.properties.sorted(&self.options);
        // Read from beginning to end only, hence one restart point.
        let properties = self.append_block(u32::MAX, &properties)?;
        meta.push((properties::NAME, properties));
        let meta: Vec<_> = meta
            .into_iter()
            .map(|(name, handle)| {
                let mut place = Vec::new();
                handle.put(&mut place);
                (name, place)
            })
            .collect();
        let meta = self.append_block(1, &meta)?;

        let mut footer = vec![CRC32C];
        meta.put(&mut footer);
        index.put(&mut footer);
        footer.resize(41, 0);
        footer.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        footer.extend_from_slice(&MAGIC.to_le_bytes());
        self.out.extend_from_slice(&footer);
        self.file.write_all(&self.out)
    }

    /// Completes the data block, if there is one, before the one that begins with `next`, and writes what has gathered.
    fn cut(&mut self, next: Option<&[u8]>) -> io::Result<()> {
        if self.data.is_empty() {
            return Ok(());
        }
        let start = self.data.start();
        self.data.finish(&mut self.out);
        let kind = self.compressor.compress(&mut self.out, start);
        let handle = self.seal(start, kind);
        self.index.add(self.data.last(), next, self.options.timestamps, handle)?;
        self.properties.blocks += 1;
        // Whole buffers only: what is written from an aligned place the system caches in large pieces, and every read of the
        // table is then of one or two of them, not of one for each page.
        let whole = self.out.len() / BUFFER * BUFFER;
        if whole > 0 {
            self.file.write_all(self.out.get(..whole).unwrap_or_default())?;
            self.written += whole as u64;
            self.out.drain(..whole);
            // One very large record is no reason to hold as much memory from then on.
            self.out.shrink_to(KEPT);
        }
        self.data.begin(self.out.len());
        Ok(())
    }

    /// Appends a block that is not compressed.
    fn append(&mut self, build: impl FnOnce(&mut Vec<u8>)) -> Handle {
        let start = self.out.len();
        build(&mut self.out);
        self.seal(start, PLAIN)
    }

    /// Appends a block of named values, which are in order.
    fn append_block(&mut self, interval: u32, entries: &[(&str, Vec<u8>)]) -> io::Result<Handle> {
        let mut block = BlockBuilder::new(interval);
        block.begin(self.out.len());
        for (name, value) in entries {
            block.add(&mut self.out, name.as_bytes(), &[], &[value])?;
        }
        block.finish(&mut self.out);
        Ok(self.seal(block.start(), PLAIN))
    }

    /// Adds to the block from `start` on what follows every block.
    fn seal(&mut self, start: usize, kind: u8) -> Handle {
        let handle = Handle(self.written + start as u64, (self.out.len() - start) as u64);
        self.out.push(kind);
        let crc = crc32c::crc32c(self.out.get(start..).unwrap_or_default());
        // RocksDB stores checksums masked, for data that has checksums in it.
        let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
        self.out.extend_from_slice(&masked.to_le_bytes());
        handle
    }
}
