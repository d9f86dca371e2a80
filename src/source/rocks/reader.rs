//! Look-ups in succession: where the next key is near the last one, an iterator steps to it; otherwise it seeks, or the record
//! is asked for alone.

use super::{Rocks, RocksError, options};
use crate::{
    iavl::Access,
    source::{PointReader, SourceError},
};
use rocksdb::DBRawIterator;
use std::cmp::Ordering;

/// How far the next record may be from the last one before seeking is cheaper than stepping.
const STEPS: u32 = 12;

pub(super) struct Reader<'a> {
    of: &'a Rocks,
    records: DBRawIterator<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(of: &'a Rocks, access: Access) -> Reader<'a> {
        let read = match access {
            Access::Runs => options::runs(),
            Access::Points => options::points(),
        };
        Reader { of, records: of.db.raw_iterator_opt(read) }
    }
}

/// Each record on its own, as it is when it is asked for.
pub(super) struct Single<'a> {
    pub(super) of: &'a Rocks,
}

impl PointReader for Single<'_> {
    fn read(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, SourceError> {
        let value = self.of.db.get_pinned_opt(key, &self.of.points);
        let value = value.map_err(|error| RocksError::of(&self.of.path, &error))?;
        out.extend_from_slice(value.as_deref().unwrap_or_default());
        Ok(value.is_some())
    }
}

/// At most how many records lie between two keys, the second of them included: keys that differ in their last four bytes
/// only are numbered by them. None if they tell nothing, or the second is not above the first.
fn distance(from: &[u8], to: &[u8]) -> Option<u32> {
    let (from, from_number) = from.split_last_chunk::<4>()?;
    let (to, to_number) = to.split_last_chunk::<4>()?;
    let distance = u32::from_be_bytes(*to_number).checked_sub(u32::from_be_bytes(*from_number))?;
    (from == to).then_some(distance)
}

impl PointReader for Reader<'_> {
    fn read(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, SourceError> {
        let near = self.records.key().and_then(|last| distance(last, key)).filter(|distance| *distance <= STEPS);
        for _ in 0..near.unwrap_or(0) {
            self.records.next();
            if self.records.key().is_none_or(|at| at >= key) {
                break;
            }
        }
        let there = match self.records.key().map(|at| at.cmp(key)) {
            Some(Ordering::Equal) => true,
            // It was stepped over, so it is not there.
            Some(Ordering::Greater) if near.is_some() => false,
            _ => {
                self.records.seek(key);
                self.records.key() == Some(key)
            }
        };
        self.records.status().map_err(|error| RocksError::of(&self.of.path, &error))?;
        if there {
            out.extend_from_slice(self.records.value().unwrap_or_default());
        }
        Ok(there)
    }
}
