//! The stream of a snapshot: items, each behind its `uv` length, in one zlib stream (Cosmos SDK `snapshots/stream.go`).
//!
//! Owns unpacking within fixed bounds: no length is believed before the bytes are there, nothing is kept but one item, and
//! a stream that ends early, or late, is an error.

use flate2::{Decompress, FlushDecompress, Status};
use std::io::{self, BufRead};

/// Largest item, as in the SDK (`snapshotMaxItemSize`).
pub const MAX_ITEM: usize = 64_000_000;
/// Bytes unpacked at a time.
const WINDOW: usize = 1 << 18;

/// Why the stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are not a snapshot's.
    #[error("{0}")]
    Damaged(&'static str),
}

/// Items of a snapshot, one after the other.
pub struct Items<R> {
    packed: R,
    inflate: Decompress,
    window: Vec<u8>,
    at: usize,
    filled: usize,
    ended: bool,
    item: Vec<u8>,
}

impl<R: BufRead> Items<R> {
    /// The items in a zlib stream.
    pub fn new(packed: R) -> Items<R> {
        Items {
            packed,
            inflate: Decompress::new(true),
            window: vec![0; WINDOW],
            at: 0,
            filled: 0,
            ended: false,
            item: Vec::new(),
        }
    }

    /// The bytes of the next item; none where the stream ends as it should.
    ///
    /// # Errors
    /// The stream is damaged or cut short, or something follows it.
    pub fn next(&mut self) -> Result<Option<&[u8]>, StreamError> {
        let Some(length) = self.length()? else {
            if !self.packed.fill_buf()?.is_empty() {
                return Err(StreamError::Damaged("bytes follow the end of the zlib stream"));
            }
            return Ok(None);
        };
        if length > MAX_ITEM as u64 {
            return Err(StreamError::Damaged("an item is larger than 64 MB, the most the SDK writes"));
        }
        let length = length as usize;
        self.item.clear();
        // It grows as bytes come, whatever was announced.
        while self.item.len() < length {
            if !self.fill()? {
                return Err(StreamError::Damaged("the stream ends within an item"));
            }
            let there = self.window.get(self.at..self.filled).unwrap_or_default();
            let taken = there.get(..there.len().min(length - self.item.len())).unwrap_or_default();
            self.item.extend_from_slice(taken);
            self.at += taken.len();
        }
        Ok(Some(&self.item))
    }

    fn length(&mut self) -> Result<Option<u64>, StreamError> {
        let mut value = 0u64;
        for index in 0..10 {
            if !self.fill()? {
                if index == 0 {
                    return Ok(None);
                }
                return Err(StreamError::Damaged("the stream ends within the length of an item"));
            }
            let byte = self.window.get(self.at).copied().unwrap_or_default();
            self.at += 1;
            if index == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(Some(value));
            }
        }
        Err(StreamError::Damaged("the length of an item is no number of 64 bits"))
    }

    /// Has at least one byte in the window; false at the end of the zlib stream.
    fn fill(&mut self) -> Result<bool, StreamError> {
        while self.at == self.filled {
            if self.ended {
                return Ok(false);
            }
            let packed = self.packed.fill_buf()?;
            let at_end = packed.is_empty();
            let (read, wrote) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(packed, &mut self.window, FlushDecompress::None)
                .map_err(|_| StreamError::Damaged("the zlib stream is damaged"))?;
            let (read, wrote) = (self.inflate.total_in() - read, self.inflate.total_out() - wrote);
            self.packed.consume(read as usize);
            (self.at, self.filled) = (0, wrote as usize);
            self.ended = matches!(status, Status::StreamEnd);
            if read == 0 && wrote == 0 && !self.ended {
                let what = if at_end {
                    "the zlib stream is cut short: chunks are missing at the end, or bytes of the last one"
                } else {
                    "the zlib stream is damaged"
                };
                return Err(StreamError::Damaged(what));
            }
        }
        Ok(true)
    }
}
