//! Owns the writing of one run: blocks of records, a sparse index, a footer.

use super::{BLOCK, HEADER, INDEXED, MAGIC};
use crate::{
    disk::{self, Appender, Making},
    iavl::NodeKey,
};
use std::{
    io::{self, Write as _},
    path::Path,
};

/// Written at once, when it has grown to this.
const BUFFER: usize = 1 << 20;

pub(super) struct Writer {
    file: Appender,
    /// Not yet written; the block being filled is at its end.
    out: Vec<u8>,
    /// Where the block begins in `out`, its header.
    block: usize,
    written: u64,
    /// Keys and places of blocks.
    index: Vec<u8>,
    index_due: u64,
}

impl Writer {
    pub(super) fn create(path: &Path) -> io::Result<Writer> {
        let (file, out) = (Appender::new(disk::make(path, Making::Anew)?), vec![0; HEADER]);
        Ok(Writer { file, out, block: 0, written: 0, index: Vec::new(), index_due: 0 })
    }

    /// Adds a record; keys ascend.
    pub(super) fn add(&mut self, key: NodeKey, record: &[u8]) -> io::Result<()> {
        let length = u32::try_from(record.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a record is larger than 4 GiB"))?;
        if self.out.len() == self.block + HEADER && self.written + self.block as u64 >= self.index_due {
            let place = self.written + self.block as u64;
            self.index.extend_from_slice(&key.version.0.to_be_bytes());
            self.index.extend_from_slice(&key.nonce.to_be_bytes());
            self.index.extend_from_slice(&place.to_le_bytes());
            self.index_due = place + INDEXED;
        }
        self.out.extend_from_slice(&key.version.0.to_be_bytes());
        self.out.extend_from_slice(&key.nonce.to_be_bytes());
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(record);
        if self.out.len() - self.block >= BLOCK {
            self.cut()?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.out.len() > self.block + HEADER {
            self.cut()?;
        }
        let place = self.written + self.block as u64;
        let index = std::mem::take(&mut self.index);
        self.out.extend_from_slice(&index);
        self.cut()?;
        self.out.truncate(self.block);
        self.out.extend_from_slice(&place.to_le_bytes());
        self.out.extend_from_slice(&MAGIC);
        self.file.write_all(&self.out)
    }

    /// Completes a block and begins the next.
    fn cut(&mut self) -> io::Result<()> {
        let contents = self.out.get(self.block + HEADER..).unwrap_or_default();
        let length = u32::try_from(contents.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a block is larger than 4 GiB"))?;
        let crc = crc32c::crc32c(contents);
        if let Some(header) = self.out.get_mut(self.block..self.block + HEADER) {
            header.copy_from_slice(&(u64::from(length) | u64::from(crc) << 32).to_le_bytes());
        }
        if self.out.len() >= BUFFER {
            self.file.write_all(&self.out)?;
            self.written += self.out.len() as u64;
            self.out.clear();
            // One large record is no reason to hold as much memory from then on.
            self.out.shrink_to(2 * BUFFER);
        }
        self.block = self.out.len();
        self.out.extend_from_slice(&[0; HEADER]);
        Ok(())
    }
}
