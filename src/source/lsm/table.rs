//! Owns one opened table file: footer, index block and filter in memory, data blocks read
//! by position. Hands blocks to the cursor (through the cache) and to the iterator.

use std::path::{Path, PathBuf};

use super::block::{Block, Spot};
use super::dialect::{Dialect, Meta};
use super::error::{Fault, LsmError, Malformed};
use super::file::TableFile;
use super::filter::{self, Filter};
use super::footer::{BLOCK_TRAILER, Handle, Shape};
use super::key::{DELETE, Kind, PUT};
use super::unpack::unpack;
use super::version::Table as Entry;

/// An open table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) path: PathBuf,
    pub(crate) number: u64,
    file: TableFile,
    /// End of what can be blocks: the file without its footer.
    limit: u64,
    shape: Shape,
    /// The sequence number of all its entries, if they have one and not what is written beside them.
    sequence: Option<u64>,
    index: Block,
    index_at: u64,
    two_level: bool,
    filter: Option<Filter>,
}

impl Table {
    /// Opens a table read-only and reads footer, metaindex, properties, filter, index.
    pub(crate) fn open(entry: &Entry, dialect: &Dialect) -> Result<Table, LsmError> {
        let path = entry.path.as_path();
        let file = TableFile::open(path).map_err(|e| LsmError::io(path, e))?;
        let at = entry.size.saturating_sub(dialect.footer_bytes as u64);
        let mut tail = vec![0; (entry.size - at) as usize];
        file.read(&mut tail, at).map_err(|e| LsmError::io(path, e))?;
        let footer = (dialect.footer)(&tail, entry.size).map_err(|e| e.within(path, at))?;
        let mut table = Table {
            path: path.to_path_buf(),
            number: entry.number,
            file,
            limit: footer.limit,
            shape: footer.shape,
            sequence: entry.sequence,
            index: Block::default(),
            index_at: footer.index.offset,
            two_level: false,
            filter: None,
        };
        table.read_meta(footer.metaindex, dialect)?;
        table.index = table.block(footer.index, &mut Vec::new())?;
        Ok(table)
    }

    fn read_meta(&mut self, metaindex: Handle, dialect: &Dialect) -> Result<(), LsmError> {
        let broken = |e: Malformed| e.in_block(&self.path, metaindex.offset);
        let mut scratch = Vec::new();
        let block = self.block(metaindex, &mut scratch)?;
        let mut spot = Spot::default();
        let (mut found, mut properties) = (None, None);
        while block.step_plain(&mut spot).map_err(broken)? {
            let meta = (dialect.meta)(spot.key());
            if let Meta::Unsupported(what) = meta {
                return Err(LsmError::unsupported(&self.path, format!("it has {what}")));
            }
            if meta != Meta::Properties && spot.key() != filter::NAME {
                continue;
            }
            let handle = Handle::decode(block.value(&spot), self.limit).map_err(broken)?;
            if meta == Meta::Properties {
                let read = (dialect.properties)(&self.block(handle, &mut scratch)?);
                properties = Some(read.map_err(|fault| match fault {
                    Fault::Malformed(e) => e.in_block(&self.path, handle.offset),
                    fault @ Fault::Unsupported(_) => fault.within(&self.path, 0),
                })?);
            } else {
                let filter = Filter::new(self.plain(handle, &mut scratch)?);
                found = Some(filter.map_err(|e| e.in_block(&self.path, handle.offset))?);
            }
        }
        self.filter = found;
        self.two_level = properties.unwrap_or_default().two_level;
        Ok(())
    }

    /// Reads, verifies and unpacks one block of key-value entries.
    /// `scratch` takes the bytes of the file.
    pub(crate) fn block(&self, handle: Handle, scratch: &mut Vec<u8>) -> Result<Block, LsmError> {
        let plain = self.plain(handle, scratch)?;
        let mut block = Block::default();
        let filled: Result<(), Malformed> = block.refill(self.shape.restart_mask, |buffer| {
            *buffer = plain;
            Ok(())
        });
        filled.map_err(|e| e.in_block(&self.path, handle.offset))?;
        Ok(block)
    }

    fn plain(&self, handle: Handle, scratch: &mut Vec<u8>) -> Result<Vec<u8>, LsmError> {
        // The handle was checked to lie within the file.
        let size = handle.size as usize + BLOCK_TRAILER;
        if scratch.len() < size {
            scratch.resize(size, 0);
        }
        let raw = scratch.get_mut(..size).unwrap_or(&mut []);
        self.read(raw, handle.offset)?;
        let mut plain = Vec::new();
        unpack(raw, &mut plain, self.shape.packing).map_err(|e| e.within(&self.path, handle.offset))?;
        Ok(plain)
    }

    /// Unpacks the raw bytes of the block at `at` into a block that is there already.
    pub(crate) fn unpack_into(&self, block: &mut Block, raw: &[u8]) -> Result<(), Malformed> {
        block.refill(self.shape.restart_mask, |plain| unpack(raw, plain, self.shape.packing))
    }

    /// Fills `raw` from the file at `offset`.
    pub(crate) fn read(&self, raw: &mut [u8], offset: u64) -> Result<(), LsmError> {
        self.file.read(raw, offset).map_err(|e| LsmError::io(&self.path, e))
    }

    /// As [`Table::read`], of more than the block that is wanted now.
    pub(crate) fn read_ahead(&self, raw: &mut [u8], offset: u64) -> Result<(), LsmError> {
        self.file.read_ahead(raw, offset).map_err(|e| LsmError::io(&self.path, e))
    }

    /// End of what can be blocks.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Path, for errors.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the index names blocks of the index.
    pub(crate) fn two_level(&self) -> bool {
        self.two_level
    }

    /// Moves a spot of the index block one entry on; `None` after the last.
    pub(crate) fn index_step(&self, spot: &mut Spot) -> Result<Option<Handle>, LsmError> {
        self.index.step(spot).map_err(|e| e.in_block(&self.path, self.index_at))?;
        self.handle(&self.index, spot, self.index_at)
    }

    /// Moves a spot of the index block to the entry which alone can lead to the newest entry of `user`.
    /// `before` receives the separator before it; the flag says whether there is one.
    pub(crate) fn index_seek(
        &self,
        spot: &mut Spot,
        user: &[u8],
        before: &mut Vec<u8>,
    ) -> Result<(Option<Handle>, bool), LsmError> {
        let passed = self.index.seek(spot, user, Some(before)).map_err(|e| e.in_block(&self.path, self.index_at))?;
        Ok((self.handle(&self.index, spot, self.index_at)?, passed))
    }

    /// The handle that an entry of an index block, which lies at `at`, has.
    pub(crate) fn handle(&self, index: &Block, spot: &Spot, at: u64) -> Result<Option<Handle>, LsmError> {
        if !spot.is_valid() {
            return Ok(None);
        }
        let handle = Handle::decode(index.value(spot), self.limit);
        let handle = handle.map_err(|e| e.in_block(&self.path, at))?;
        Ok(Some(handle))
    }

    /// Whether the data block at `offset` may hold the key with this hash.
    pub(crate) fn may_contain(&self, offset: u64, hash: u32) -> bool {
        match &self.filter {
            Some(filter) => filter.may_contain(offset, hash),
            None => true,
        }
    }

    /// `sequence << 8 | kind` of a data block's entry.
    #[inline]
    pub(crate) fn tag(&self, spot: &Spot) -> u64 {
        match self.sequence {
            None => spot.tag(),
            Some(sequence) => sequence << 8 | (spot.tag() & 0xff),
        }
    }

    /// As [`Table::tag`], with the kind that memory has for the same; the entry can be read then, or is a removal.
    ///
    /// # Errors
    /// The entry is of a kind that says nothing by itself, or its value is elsewhere.
    #[inline]
    pub(crate) fn judge(&self, block: &Block, spot: &Spot) -> Result<u64, Fault> {
        let tag = self.tag(spot);
        match self.shape.kinds.of(tag) {
            Kind::Put => {
                if self.is_prefixed(spot) {
                    check_prefix(block.value(spot))?;
                }
                Ok((tag & !0xff) | u64::from(PUT))
            }
            Kind::Delete => Ok((tag & !0xff) | u64::from(DELETE)),
            kind => Err(unreadable(kind)),
        }
    }

    /// The value of an entry that was judged.
    #[inline]
    pub(crate) fn value<'a>(&self, block: &'a Block, spot: &Spot) -> &'a [u8] {
        let value = block.value(spot);
        if self.is_prefixed(spot) { value.get(1..).unwrap_or(&[]) } else { value }
    }

    #[inline]
    fn is_prefixed(&self, spot: &Spot) -> bool {
        // The highest bits of a kind may say things about the entry that are of no use here.
        self.shape.prefixed.is_some_and(|kind| spot.tag() as u8 & 0x3f == kind)
    }
}

/// The two highest bits of the byte before a value say where the value is: 00 is behind it.
fn check_prefix(value: &[u8]) -> Result<(), Fault> {
    match value.first() {
        None => Err(Malformed::new(0, "a value lacks the byte before it").into()),
        Some(prefix) if prefix & 0xc0 == 0 => Ok(()),
        Some(_) => Err(Fault::Unsupported("the newest value of a key is in a value block".to_owned())),
    }
}

#[cold]
fn unreadable(kind: Kind) -> Fault {
    match kind {
        Kind::Merge => {
            Fault::Unsupported("it has merge operands, whose values only the program that wrote them knows".to_owned())
        }
        Kind::RangeDelete => Fault::Unsupported("it has a range deletion among its keys".to_owned()),
        Kind::RangeKey => Fault::Unsupported("it has a range key among its keys".to_owned()),
        Kind::Put | Kind::Delete | Kind::Unknown => Malformed::new(0, "unknown type of entry").into(),
    }
}
