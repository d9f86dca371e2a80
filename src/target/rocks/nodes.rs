//! Readers of node records in SC: one by one, in runs of neighbours, and as a walk over all of a store.

use super::commitment::{RocksCommitment, record_key};
use crate::{
    iavl::{NodeKey, NodeReader, ReadError, RecordWalk},
    model::{StoreKey, to_hex},
    target::TargetError,
};
use rocksdb::DBRawIterator;
use std::cmp::Ordering;

/// How far the next record may be from the last one before seeking is cheaper than stepping.
const STEPS: u32 = 12;

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

/// Where pruning moves a node that was the root of a version that is gone.
fn renamed(key: NodeKey) -> Option<NodeKey> {
    (key.nonce == 1).then(|| NodeKey::new(key.version, 0))
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
        let mut value = self.of.db.get_pinned(&self.key).map_err(self.of.error("read a node"))?;
        if value.is_none()
            && let Some(renamed) = renamed(key)
        {
            record_key(&self.store, renamed, &mut self.key);
            value = self.of.db.get_pinned(&self.key).map_err(self.of.error("read a node"))?;
        }
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
        // Within a version a nonce tells how far away a record is at most.
        let length = self.store.as_str().len();
        let last = self.records.key().and_then(|last| NodeKey::from_bytes(last.get(length..)?));
        let steps = last.filter(|last| last.version == key.version).map_or(u32::MAX, |at| at.nonce.abs_diff(key.nonce));
        if steps <= STEPS {
            for _ in 0..steps {
                match self.records.key().map(|last| last.cmp(&self.key)) {
                    Some(Ordering::Less) => self.records.next(),
                    Some(Ordering::Greater) => self.records.prev(),
                    Some(Ordering::Equal) | None => break,
                }
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
        match renamed(key) {
            Some(renamed) if !found => self.read(renamed, out),
            _ => Ok(found),
        }
    }
}
