//! The in-memory twin of an engine: a map of pairs, for tests and fuzzing.

use super::{Engine, PointReader, SourceError};
use crate::iavl::Access;
use std::collections::BTreeMap;

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

    fn approximate_bytes(&self, start: &[u8], end: &[u8]) -> u64 {
        let range = (std::ops::Bound::Included(start), std::ops::Bound::Excluded(end));
        self.pairs.range::<[u8], _>(range).map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}

impl PointReader for &MemoryEngine {
    fn read(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, SourceError> {
        let value = self.pairs.get(key);
        out.extend_from_slice(value.map_or(&[], Vec::as_slice));
        Ok(value.is_some())
    }
}
