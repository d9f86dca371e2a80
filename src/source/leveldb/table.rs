//! Owns one opened table file: footer, index block and filter in memory, data blocks read
//! by position. Hands blocks to the cursor (through the cache) and to the iterator.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::block::{Block, Spot};
use super::error::{LeveldbError, Malformed};
use super::filter::{self, Filter};
use super::footer::{self, BLOCK_TRAILER, FOOTER, Handle};
use super::unpack::unpack;
use super::version::Table as Entry;

/// An open table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) path: PathBuf,
    pub(super) number: u64,
    file: File,
    /// End of what can be blocks: the file without its footer.
    limit: u64,
    index: Block,
    index_at: u64,
    filter: Option<Filter>,
}

impl Table {
    /// Opens a table read-only and reads footer, metaindex, filter, index.
    pub(super) fn open(entry: &Entry) -> Result<Table, LeveldbError> {
        let path = entry.path.as_path();
        let file = File::open(path).map_err(|e| LeveldbError::io(path, e))?;
        let limit = entry.size.saturating_sub(FOOTER as u64);
        let mut tail = vec![0; entry.size.min(FOOTER as u64) as usize];
        file.read_exact_at(&mut tail, limit).map_err(|e| LeveldbError::io(path, e))?;
        let footer = footer::decode(&tail, limit).map_err(|e| e.within(path, limit))?;
        let mut table = Table {
            path: path.to_path_buf(),
            number: entry.number,
            file,
            limit,
            index: Block::default(),
            index_at: footer.index.offset,
            filter: None,
        };
        table.filter = table.read_filter(footer.metaindex)?;
        table.index = table.block(footer.index, &mut Vec::new())?;
        Ok(table)
    }

    fn read_filter(&self, metaindex: Handle) -> Result<Option<Filter>, LeveldbError> {
        let broken = |e: Malformed| e.in_block(&self.path, metaindex.offset);
        let mut scratch = Vec::new();
        let block = self.block(metaindex, &mut scratch)?;
        let mut spot = Spot::default();
        while block.step_plain(&mut spot).map_err(broken)? {
            if spot.key() == filter::NAME {
                let handle = Handle::decode(block.value(&spot), self.limit).map_err(broken)?;
                let filter = Filter::new(self.plain(handle, &mut scratch)?);
                let filter = filter.map_err(|e| e.in_block(&self.path, handle.offset))?;
                return Ok(Some(filter));
            }
        }
        Ok(None)
    }

    /// Reads, verifies and unpacks one block of key-value entries.
    /// `scratch` takes the bytes of the file.
    pub(super) fn block(&self, handle: Handle, scratch: &mut Vec<u8>) -> Result<Block, LeveldbError> {
        let block = Block::new(self.plain(handle, scratch)?);
        block.map_err(|e| e.in_block(&self.path, handle.offset))
    }

    fn plain(&self, handle: Handle, scratch: &mut Vec<u8>) -> Result<Vec<u8>, LeveldbError> {
        // The handle was checked to lie within the file.
        let size = handle.size as usize + BLOCK_TRAILER;
        if scratch.len() < size {
            scratch.resize(size, 0);
        }
        let raw = scratch.get_mut(..size).unwrap_or(&mut []);
        self.read(raw, handle.offset)?;
        let mut plain = Vec::new();
        unpack(raw, &mut plain).map_err(|e| e.within(&self.path, handle.offset))?;
        Ok(plain)
    }

    /// Fills `raw` from the file at `offset`.
    pub(super) fn read(&self, raw: &mut [u8], offset: u64) -> Result<(), LeveldbError> {
        self.file.read_exact_at(raw, offset).map_err(|e| LeveldbError::io(&self.path, e))
    }

    /// End of what can be blocks.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Path, for errors.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves an index spot one block on; `None` after the last.
    pub(super) fn index_step(&self, spot: &mut Spot) -> Result<Option<Handle>, LeveldbError> {
        self.index.step(spot).map_err(|e| e.in_block(&self.path, self.index_at))?;
        self.index_handle(spot)
    }

    /// Moves an index spot to the block which alone can hold the newest entry of `user`.
    /// `before` receives the separator before it; the flag says whether there is one.
    pub(super) fn index_seek(
        &self,
        spot: &mut Spot,
        user: &[u8],
        before: &mut Vec<u8>,
    ) -> Result<(Option<Handle>, bool), LeveldbError> {
        let passed = self.index.seek(spot, user, Some(before)).map_err(|e| e.in_block(&self.path, self.index_at))?;
        Ok((self.index_handle(spot)?, passed))
    }

    fn index_handle(&self, spot: &Spot) -> Result<Option<Handle>, LeveldbError> {
        if !spot.is_valid() {
            return Ok(None);
        }
        let handle = Handle::decode(self.index.value(spot), self.limit);
        let handle = handle.map_err(|e| e.in_block(&self.path, self.index_at))?;
        Ok(Some(handle))
    }

    /// Whether the data block at `offset` may hold the key with this hash.
    pub(super) fn may_contain(&self, offset: u64, hash: u32) -> bool {
        match &self.filter {
            Some(filter) => filter.may_contain(offset, hash),
            None => true,
        }
    }
}
