//! Readers of node records in SC: one by one, in runs of neighbours, and as a walk over all of a store.

use super::commitment::{RocksCommitment, record_key};
use crate::{
    iavl::{NodeKey, NodeReader, ReadError, RecordWalk},
    model::{StoreKey, to_hex},
    target::TargetError,
};
use rocksdb::DBRawIterator;

/// How far the next record may be from the last one before seeking is cheaper than stepping.
const STEPS: usize = 8;

pub(super) struct Walk<'a> {
    pub(super) of: &'a RocksCommitment,
    pub(super) store_length: usize,
    pub(super) key: Vec<u8>,
    pub(super) records: DBRawIterator<'a>,
    /// Whether the iterator stands at a record that was not handed out.
    pub(super) fresh: bool,
}

impl RecordWalk for Walk<'_> {
    fn seek(&mut self, key: NodeKey) {
        self.key.truncate(self.store_length);
        self.key.extend_from_slice(&key.to_bytes());
        self.records.seek(&self.key);
        self.fresh = true;
    }

    fn next(&mut self) -> Result<Option<(NodeKey, &[u8])>, ReadError> {
        if !std::mem::replace(&mut self.fresh, false) {
            self.records.next();
        }
        match self.records.item() {
            Some((key, record)) => match NodeKey::from_bytes(key.get(self.store_length..).unwrap_or_default()) {
                Some(at) => Ok(Some((at, record))),
                None => Err(TargetError::Corrupt {
                    path: self.of.path.clone(),
                    what: format!("the key {} is no node key", to_hex(key)),
                }
                .into()),
            },
            None => {
                self.records.status().map_err(self.of.error("read nodes"))?;
                Ok(None)
            }
        }
    }
}

pub(super) struct Points<'a> {
    pub(super) of: &'a RocksCommitment,
    pub(super) store: StoreKey,
    pub(super) key: Vec<u8>,
}

impl NodeReader for Points<'_> {
    fn parents_last(&self) -> bool {
        true
    }

    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        record_key(&self.store, key, &mut self.key);
        let value = self.of.db.get_pinned(&self.key).map_err(self.of.error("read a node"))?;
        value.map_or(Ok(false), |value| {
            out.extend_from_slice(&value);
            Ok(true)
        })
    }
}

pub(super) struct Nearby<'a> {
    pub(super) of: &'a RocksCommitment,
    pub(super) store: StoreKey,
    pub(super) key: Vec<u8>,
    pub(super) records: DBRawIterator<'a>,
}

impl NodeReader for Nearby<'_> {
    fn parents_last(&self) -> bool {
        true
    }

    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        record_key(&self.store, key, &mut self.key);
        // Records are asked for from the newest down, so the next one is usually just before the last one.
        for _ in 0..STEPS {
            match self.records.key() {
                Some(at) if at > self.key.as_slice() => self.records.prev(),
                _ => break,
            }
        }
        if self.records.key() != Some(&self.key) {
            self.records.seek(&self.key);
        }
        let found = match self.records.item() {
            Some((at, value)) if at == self.key => {
                out.extend_from_slice(value);
                true
            }
            _ => false,
        };
        self.records.status().map_err(self.of.error("read a node"))?;
        Ok(found)
    }
}
