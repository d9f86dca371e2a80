//! The in-memory twin of an engine: a map of pairs, for tests and fuzzing.

use super::{Engine, Pair, PointReader, Scan, SourceError};
use crate::iavl::Access;
use std::{
    collections::{BTreeMap, btree_map::Range},
    ops::Bound,
};

/// Pairs in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryEngine {
    /// The pairs.
    pub pairs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Engine for MemoryEngine {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.pairs.get(key).cloned())
    }

    fn reader(&self, _: Access) -> Box<dyn PointReader + Send + '_> {
        Box::new(self)
    }

    fn scan(&self, from: &[u8], until: &[u8]) -> Box<dyn Scan + Send + '_> {
        let mut scan = MemoryScan { pairs: &self.pairs, range: self.pairs.range::<[u8], _>(..), until: until.to_vec() };
        scan.seek(from);
        Box::new(scan)
    }

    fn approximate_bytes(&self, start: &[u8], end: &[u8]) -> u64 {
        let range = (std::ops::Bound::Included(start), std::ops::Bound::Excluded(end));
        self.pairs.range::<[u8], _>(range).map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}

struct MemoryScan<'a> {
    pairs: &'a BTreeMap<Vec<u8>, Vec<u8>>,
    range: Range<'a, Vec<u8>, Vec<u8>>,
    until: Vec<u8>,
}

impl Scan for MemoryScan<'_> {
    fn seek(&mut self, key: &[u8]) {
        let until = Bound::Excluded(self.until.as_slice());
        // A range that begins behind its end is refused by the map.
        let from = key.min(self.until.as_slice());
        self.range = self.pairs.range::<[u8], _>((Bound::Included(from), until));
    }

    fn next(&mut self) -> Result<Option<Pair<'_>>, SourceError> {
        Ok(self.range.next().map(|(key, value)| (key.as_slice(), value.as_slice())))
    }
}

impl PointReader for &MemoryEngine {
    fn read(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, SourceError> {
        let value = self.pairs.get(key);
        out.extend_from_slice(value.map_or(&[], Vec::as_slice));
        Ok(value.is_some())
    }
}
