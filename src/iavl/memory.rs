//! Node records in a map: the in-memory twin of a store, for tests, fuzzing and small trees.

use super::{NodeKey, NodeReader, ReadError};
use crate::model::Hash;
use std::collections::BTreeMap;

/// Records of one store by node key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMap {
    /// The records.
    pub records: BTreeMap<NodeKey, Vec<u8>>,
    /// The records of legacy nodes by their hash.
    pub legacy: BTreeMap<Hash, Vec<u8>>,
}

impl NodeReader for NodeMap {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let record = self
            .records
            .get(&key)
            .or_else(|| (key.nonce == 1).then(|| self.records.get(&NodeKey::new(key.version, 0))).flatten());
        record.map(|record| out.extend_from_slice(record)).map_or(Ok(false), |()| Ok(true))
    }

    fn read_legacy(&mut self, hash: &Hash, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let record = self.legacy.get(hash);
        record.map(|record| out.extend_from_slice(record)).map_or(Ok(false), |()| Ok(true))
    }
}
