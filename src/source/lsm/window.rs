//! Owns readahead for one table: larger positioned reads, from which the iterator's
//! blocks are cut. Hands raw blocks (contents, type, checksum) to the run.

use super::error::LsmError;
use super::footer::{BLOCK_TRAILER, Handle};
use super::table::Table;

const FIRST_READ: u64 = 16 << 10;
const LARGEST_READ: u64 = 256 << 10;

/// A stretch of a table file in memory.
#[derive(Debug, Default)]
pub(crate) struct Window {
    data: Vec<u8>,
    offset: u64,
    /// Bytes of `data` which are from the file.
    filled: usize,
    next_read: u64,
}

impl Window {
    /// Forgets all bytes, for another table or another place.
    /// Small reads come first again if `small`.
    pub(crate) fn reset(&mut self, small: bool) {
        self.filled = 0;
        if small {
            self.next_read = FIRST_READ;
        }
    }

    /// As [`Window::raw`], reading ahead only where this block follows close behind what was read before.
    pub(crate) fn raw_near(&mut self, table: &Table, handle: Handle) -> Result<&[u8], LsmError> {
        let end = self.offset + self.filled as u64;
        if handle.offset < self.offset || handle.offset > end + FIRST_READ {
            self.next_read = 0;
        }
        self.raw(table, handle)
    }

    /// The raw bytes of one block with its trailer.
    pub(crate) fn raw(&mut self, table: &Table, handle: Handle) -> Result<&[u8], LsmError> {
        let size = handle.size + BLOCK_TRAILER as u64;
        let end = handle.offset + size;
        if handle.offset < self.offset || end > self.offset + self.filled as u64 {
            let room = table.limit().saturating_sub(handle.offset);
            let read = size.max(self.next_read.min(room)) as usize;
            self.next_read = (self.next_read * 2).clamp(FIRST_READ, LARGEST_READ);
            self.filled = 0;
            if self.data.len() < read {
                self.data.resize(read, 0);
            }
            let data = self.data.get_mut(..read).unwrap_or(&mut []);
            if read as u64 > size {
                table.read_ahead(data, handle.offset)?;
            } else {
                table.read(data, handle.offset)?;
            }
            (self.offset, self.filled) = (handle.offset, read);
        }
        let at = (handle.offset - self.offset) as usize;
        Ok(self.data.get(at..at + size as usize).unwrap_or(&[]))
    }
}
