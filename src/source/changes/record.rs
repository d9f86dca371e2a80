//! One record of a changeset file: all changes of one version.
//!
//! All integers are little endian: u64 version ‖ u32 number of stores ‖ per store u16 length and name, u32 number of
//! operations ‖ per operation u8 kind (0 set, 1 removal), u32 length and key, and for a set u32 length and value. Stores are in
//! order of name, and keys in byte order, each once: that is the order in which they are applied, on which the tree's shape
//! depends.
//!
//! Owns measuring a record in a file, by its lengths alone, and decoding it once its bytes are in memory. No length is
//! believed beyond the bytes that are there.

use crate::model::{Change, Changeset, StoreChanges, StoreKey, Version};
use std::io::{self, BufRead, BufReader, Read, Seek};

const SET: u8 = 0;
const REMOVAL: u8 = 1;

/// Why a record cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no record.
    #[error("{0}")]
    Damaged(&'static str),
}

/// Walks over a file, record by record, without reading keys and values.
pub struct Measure<R> {
    reader: BufReader<R>,
    /// Where the next byte is.
    at: u64,
    length: u64,
}

impl<R: Read + Seek> Measure<R> {
    /// Walks over a file of so many bytes, from its beginning.
    pub fn new(reader: R, length: u64) -> Measure<R> {
        Measure { reader: BufReader::with_capacity(1 << 17, reader), at: 0, length }
    }

    /// Where the next record begins.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The version of the next record, which is passed over; none at the end of the file.
    ///
    /// # Errors
    /// The file could not be read, or ends within a record.
    pub fn next_version(&mut self) -> Result<Option<Version>, MeasureError> {
        if self.at == self.length {
            return Ok(None);
        }
        let version = u64::from_le_bytes(self.take()?);
        if version > Version::MAX.0 {
            return Err(MeasureError::Damaged("a version is negative"));
        }
        for _ in 0..u32::from_le_bytes(self.take()?) {
            let name = u16::from_le_bytes(self.take()?);
            self.skip(u64::from(name))?;
            for _ in 0..u32::from_le_bytes(self.take()?) {
                let [kind] = self.take()?;
                let key = u32::from_le_bytes(self.take()?);
                self.skip(u64::from(key))?;
                match kind {
                    SET => {
                        let value = u32::from_le_bytes(self.take()?);
                        self.skip(u64::from(value))?;
                    }
                    REMOVAL => {}
                    _ => return Err(MeasureError::Damaged("an operation is neither a set nor a removal")),
                }
            }
        }
        Ok(Some(Version(version)))
    }

    fn advance(&mut self, by: u64) -> Result<(), MeasureError> {
        let to = self.at.checked_add(by).filter(|to| *to <= self.length);
        self.at = to.ok_or(MeasureError::Damaged("the file ends within a record"))?;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], MeasureError> {
        self.advance(N as u64)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), MeasureError> {
        self.advance(bytes)?;
        match self.reader.buffer().len() as u64 {
            // The usual case, without a system call.
            there if there >= bytes => self.reader.consume(bytes as usize),
            _ => self.reader.seek_relative(bytes as i64)?,
        }
        Ok(())
    }
}

/// Decodes one record; all of it must be consumed.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(mut bytes: &[u8]) -> Result<Changeset, &'static str> {
    let bytes = &mut bytes;
    let version = u64::from_le_bytes(take(bytes)?);
    if version > Version::MAX.0 {
        return Err("a version is negative");
    }
    let mut set = Changeset { version: Version(version), stores: Vec::new() };
    for _ in 0..u32::from_le_bytes(take(bytes)?) {
        let length = u16::from_le_bytes(take(bytes)?);
        let name = std::str::from_utf8(cut(bytes, length.into())?).map_err(|_| "a store name is not UTF-8")?;
        if set.stores.last().is_some_and(|last| last.store.as_str() >= name) {
            return Err("stores are not in order of name, each once");
        }
        let mut store = StoreChanges { store: StoreKey::from(name), changes: Vec::new() };
        for _ in 0..u32::from_le_bytes(take(bytes)?) {
            let [kind] = take(bytes)?;
            let length = u32::from_le_bytes(take(bytes)?);
            let key = cut(bytes, length as usize)?;
            if store.changes.last().is_some_and(|last| last.key.as_slice() >= key) {
                return Err("keys of a store do not ascend");
            }
            let value = match kind {
                SET => {
                    let length = u32::from_le_bytes(take(bytes)?);
                    Some(cut(bytes, length as usize)?.to_vec())
                }
                REMOVAL => None,
                _ => return Err("an operation is neither a set nor a removal"),
            };
            store.changes.push(Change { key: key.to_vec(), value });
        }
        set.stores.push(store);
    }
    if bytes.is_empty() { Ok(set) } else { Err("bytes left over after the record") }
}

/// Appends a record.
pub fn encode(set: &Changeset, out: &mut Vec<u8>) {
    let length = |out: &mut Vec<u8>, length: usize| out.extend_from_slice(&(length as u32).to_le_bytes());
    out.extend_from_slice(&set.version.0.to_le_bytes());
    length(out, set.stores.len());
    for store in &set.stores {
        out.extend_from_slice(&(store.store.as_str().len() as u16).to_le_bytes());
        out.extend_from_slice(store.store.as_str().as_bytes());
        length(out, store.changes.len());
        for change in &store.changes {
            out.push(if change.value.is_some() { SET } else { REMOVAL });
            length(out, change.key.len());
            out.extend_from_slice(&change.key);
            if let Some(value) = &change.value {
                length(out, value.len());
                out.extend_from_slice(value);
            }
        }
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], &'static str> {
    let (front, rest) = bytes.split_first_chunk::<N>().ok_or("it is cut short")?;
    *bytes = rest;
    Ok(*front)
}

fn cut<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    let (front, rest) = bytes.split_at_checked(length).ok_or("it is cut short")?;
    *bytes = rest;
    Ok(front)
}
