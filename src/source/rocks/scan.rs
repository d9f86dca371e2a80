//! A walk over pairs in the order of their keys.

use super::{Rocks, RocksError, options};
use crate::source::{Pair, Scan, SourceError};
use rocksdb::DBRawIterator;

pub(super) struct Walk<'a> {
    of: &'a Rocks,
    records: DBRawIterator<'a>,
    /// Whether the iterator stands before what comes next, not on what was handed out last.
    is_fresh: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(of: &'a Rocks, from: &[u8], until: &[u8]) -> Walk<'a> {
        let mut read = options::runs();
        read.set_iterate_upper_bound(until);
        let mut records = of.db.raw_iterator_opt(read);
        records.seek(from);
        Walk { of, records, is_fresh: true }
    }
}

impl Scan for Walk<'_> {
    fn seek(&mut self, key: &[u8]) {
        self.records.seek(key);
        self.is_fresh = true;
    }

    fn next(&mut self) -> Result<Option<Pair<'_>>, SourceError> {
        if !std::mem::take(&mut self.is_fresh) && self.records.valid() {
            self.records.next();
        }
        self.records.status().map_err(|error| RocksError::of(&self.of.path, &error))?;
        Ok(self.records.item())
    }
}
