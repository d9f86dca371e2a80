//! What the tree code needs from whoever holds the records of one store.

use super::NodeKey;
use crate::model::Hash;

/// How node records are going to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// In long runs of neighbouring keys, once, over the state as it is now.
    Runs,
    /// One here, one there, and always the newest state.
    Points,
}

/// Hands out the node records of one store: store/v1 in the source, SC in the target, or a map in memory.
///
/// Readers are asked for long runs of neighbouring keys; [`NodeReader::parents_last`] says in which direction, so that
/// every block on disk is decoded about once.
pub trait NodeReader {
    /// Whether, within one version, parents have higher nonces than their children. Native trees number in pre-order
    /// (false); trees written by an importer or by storeshift in post-order (true). Only speed depends on it.
    fn parents_last(&self) -> bool {
        false
    }

    /// Appends the record of a node to `out`; false if there is none. A missing (version, 1) must be looked up again
    /// as (version, 0) where pruning renames roots so.
    ///
    /// # Errors
    /// The store could not be read, or its own checks (block checksums) failed.
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError>;

    /// Appends the record of a legacy node, which is kept under its hash, to `out`; false if there is none. Asked for in
    /// ascending order of hashes where many are wanted. Only store/v1 has such nodes.
    ///
    /// # Errors
    /// As [`NodeReader::read`].
    fn read_legacy(&mut self, _hash: &Hash, _out: &mut Vec<u8>) -> Result<bool, ReadError> {
        Ok(false)
    }
}

impl<R: NodeReader + ?Sized> NodeReader for Box<R> {
    fn parents_last(&self) -> bool {
        (**self).parents_last()
    }

    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        (**self).read(key, out)
    }

    fn read_legacy(&mut self, hash: &Hash, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        (**self).read_legacy(hash, out)
    }
}

/// Hands out node records in the order of their keys.
pub trait RecordStream {
    /// The next record, or none after the last.
    fn next(&mut self) -> Option<(NodeKey, &[u8])>;

    /// About how many bytes the next record and those of its version that follow it have, if no other stream of the store
    /// has records that lie between them; otherwise 0.
    fn alone(&self) -> usize {
        0
    }
}

/// Walks over the node records of one store in the order of their keys.
pub trait RecordWalk {
    /// Goes on with the first record at or above a key.
    fn seek(&mut self, key: NodeKey);

    /// The next record, or none after the store's last.
    ///
    /// # Errors
    /// The store could not be read, or its own checks failed.
    fn next(&mut self) -> Result<Option<(NodeKey, &[u8])>, ReadError>;
}

/// A record could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ReadError {
    /// Whether bytes on disk are damaged, as opposed to an input/output failure that another try may not meet.
    pub corrupt: bool,
    /// What happened, naming the file.
    pub message: String,
}
