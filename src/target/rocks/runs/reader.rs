//! Owns the reading of one run: forwards from any key, block by block, each against its checksum.

use super::{FOOTER, HEADER, MAGIC, RECORD_HEADER};
use crate::{
    iavl::NodeKey,
    model::Version,
    target::{TargetError, place::io_error},
};
use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

pub(super) struct Reader {
    file: File,
    path: PathBuf,
    /// Keys and places of some blocks.
    index: Vec<(NodeKey, u64)>,
    /// End of the blocks.
    end: u64,
    /// What was read of the file, from `window_at` on.
    window: Vec<u8>,
    window_at: u64,
    window_bytes: usize,
    /// Where the next block begins.
    next: u64,
    /// The block, in the window or, if it is larger, alone.
    block: Vec<u8>,
    /// The current record: where it begins and ends in the block.
    record: (usize, usize),
    key: Option<NodeKey>,
}

impl Reader {
    /// Opens a run, before its first record. It reads about `window_bytes` at a time.
    pub(super) fn open(path: &Path, window_bytes: usize) -> Result<Reader, TargetError> {
        let file = File::open(path).map_err(io_error(path, "open"))?;
        let size = file.metadata().map_err(io_error(path, "look at"))?.len();
        let mut reader = Reader {
            file,
            path: path.to_owned(),
            index: Vec::new(),
            end: size.saturating_sub(FOOTER as u64),
            window: Vec::new(),
            window_at: 0,
            window_bytes,
            next: 0,
            block: Vec::new(),
            record: (0, 0),
            key: None,
        };
        let mut footer = [0; FOOTER];
        if size < FOOTER as u64 {
            return Err(reader.damaged("is too short"));
        }
        reader.file.read_exact_at(&mut footer, reader.end).map_err(io_error(path, "read"))?;
        let (place, magic) = footer.split_at(8);
        let place = place.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
        if magic != MAGIC || place > reader.end {
            return Err(reader.damaged("does not end as a run does"));
        }
        reader.next = place;
        reader.load()?;
        if reader.next != reader.end {
            return Err(reader.damaged("does not end with its index"));
        }
        reader.end = place;
        for entry in reader.block.as_chunks::<20>().0 {
            let (key, place) = entry.split_at(12);
            let key = node_key(key).ok_or_else(|| reader.damaged("has no index"))?;
            reader.index.push((key, place.try_into().map_or(u64::MAX, u64::from_le_bytes)));
        }
        reader.next = 0;
        reader.block.clear();
        Ok(reader)
    }

    /// Keys at about equal distances in bytes.
    pub(super) fn samples(&self) -> impl Iterator<Item = NodeKey> {
        self.index.iter().map(|(key, _)| *key)
    }

    /// Bytes of records.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Goes to the first record at or above a key.
    pub(super) fn seek(&mut self, key: NodeKey) -> Result<(), TargetError> {
        let after = self.index.partition_point(|(first, _)| *first <= key);
        self.next = after.checked_sub(1).and_then(|at| self.index.get(at)).map_or(0, |(_, place)| *place);
        self.block.clear();
        self.record = (0, 0);
        self.key = None;
        self.step()?;
        while self.key.is_some_and(|at| at < key) {
            self.step()?;
        }
        Ok(())
    }

    /// The key of the current record; none at the end.
    #[inline]
    pub(super) fn key(&self) -> Option<NodeKey> {
        self.key
    }

    /// The current record.
    #[inline]
    pub(super) fn record(&self) -> &[u8] {
        self.block.get(self.record.0..self.record.1).unwrap_or_default()
    }

    /// Goes to the next record.
    #[inline]
    pub(super) fn step(&mut self) -> Result<(), TargetError> {
        if self.record.1 >= self.block.len() {
            self.record = (0, 0);
            if self.next >= self.end {
                self.key = None;
                return Ok(());
            }
            self.load()?;
        }
        let from = self.record.1 + RECORD_HEADER;
        let header = self.block.get(self.record.1..from);
        let length =
            header.and_then(|header| header.last_chunk::<4>()).map(|length| u32::from_le_bytes(*length) as usize);
        let key = header.and_then(|header| node_key(header.get(..12)?));
        match (key, length) {
            (Some(key), Some(length)) if length <= self.block.len() - from => {
                if self.key.is_some_and(|last| key <= last) {
                    return Err(self.damaged("is out of order"));
                }
                self.key = Some(key);
                self.record = (from, from + length);
                Ok(())
            }
            _ => Err(self.damaged("has a record that exceeds its block")),
        }
    }

    /// Reads the next block.
    fn load(&mut self) -> Result<(), TargetError> {
        let header = self.read(HEADER)?;
        let header = header.try_into().map_or(0, u64::from_le_bytes);
        let (length, crc) = (header as u32 as usize, (header >> 32) as u32);
        self.next += HEADER as u64;
        if length as u64 > self.end.saturating_sub(self.next) {
            return Err(self.damaged("has a block that exceeds it"));
        }
        let mut block = std::mem::take(&mut self.block);
        block.clear();
        block.extend_from_slice(self.read(length)?);
        self.next += length as u64;
        let sound = crc32c::crc32c(&block) == crc;
        self.block = block;
        if sound { Ok(()) } else { Err(self.damaged("has a block whose checksum differs")) }
    }

    /// The next bytes of the file.
    fn read(&mut self, length: usize) -> Result<&[u8], TargetError> {
        let have = self.window_at..self.window_at + self.window.len() as u64;
        if self.next < have.start || self.next + length as u64 > have.end {
            let room = (self.end.saturating_sub(self.next)).min(self.window_bytes as u64) as usize;
            self.window.resize(room.max(length), 0);
            let read = self.file.read_exact_at(&mut self.window, self.next);
            if let Err(error) = read {
                self.window.clear();
                return Err(io_error(&self.path, "read")(error));
            }
            self.window_at = self.next;
        }
        let at = (self.next - self.window_at) as usize;
        Ok(self.window.get(at..at + length).unwrap_or_default())
    }

    pub(super) fn damaged(&self, what: &str) -> TargetError {
        TargetError::Corrupt { path: self.path.clone(), what: format!("the run {what}, near byte {}", self.next) }
    }
}

fn node_key(bytes: &[u8]) -> Option<NodeKey> {
    let (version, nonce) = bytes.split_at_checked(8)?;
    Some(NodeKey::new(
        Version(u64::from_be_bytes(version.try_into().ok()?)),
        u32::from_be_bytes(nonce.try_into().ok()?),
    ))
}
