//! The walk over the old tree: opened only where it differs from the new one.

use super::{
    super::{Node, NodeId, NodeKey, NodeReader, ProveError, leaf_hash, prove::decode},
    OldTree, check_height, check_version, read,
};
use crate::model::{Hash, to_hex};

/// The parts of the old tree that are still to come, the next one last.
pub(super) struct OldSide {
    stack: Vec<Entry>,
    record: Vec<u8>,
}

/// A subtree that was not opened yet.
struct Entry {
    at: NodeId,
    /// Height of the node above; none for the root.
    above: Option<u8>,
    /// Its smallest key; not known at first on the left edge of the tree.
    smallest: Option<Smallest>,
}

/// The smallest key of a subtree, and who says so.
struct Smallest {
    key: Vec<u8>,
    /// The inner node whose right subtree begins with the key.
    from: NodeId,
}

/// What the next part of the old tree was.
pub(super) enum Opened {
    /// An inner node; its children are next.
    Inner,
    /// A leaf.
    Leaf { at: NodeId, key: Vec<u8> },
}

impl OldSide {
    pub fn new(old: Option<OldTree>) -> Result<OldSide, ProveError> {
        let stack = match old {
            Some(OldTree { root: at @ NodeId::Current(key), version }) if key.version > version => {
                return Err(ProveError::Shape { at, what: "it is newer than the tree it is the root of" });
            }
            Some(OldTree { root: at, .. }) => vec![Entry { at, above: None, smallest: None }],
            None => Vec::new(),
        };
        Ok(OldSide { stack, record: Vec::new() })
    }

    /// Leaves the next part out if it is the node `at`.
    pub fn skip<R: NodeReader>(&mut self, reader: &mut R, at: NodeId) -> Result<bool, ProveError> {
        let found = match self.stack.last().map(|next| next.at) {
            None => false,
            Some(next) if next.is_same(at) => true,
            Some(next) => match (next, at) {
                (NodeId::Legacy(hash), NodeId::Current(key)) | (NodeId::Current(key), NodeId::Legacy(hash)) => {
                    is_written_anew(reader, key, hash)?
                }
                _ => false,
            },
        };
        if found {
            self.stack.pop();
        }
        Ok(found)
    }

    /// Opens the next part; `None` at the end.
    pub fn open_next<R: NodeReader>(&mut self, reader: &mut R) -> Result<Option<Opened>, ProveError> {
        let Some(Entry { at, above, smallest }) = self.stack.pop() else { return Ok(None) };
        read(reader, at, &mut self.record)?;
        match decode(at, &self.record)? {
            (_, Node::Leaf { key, .. }) => {
                if let Some(Smallest { key: found, from }) = smallest
                    && found != key
                {
                    return Err(ProveError::InnerKey { at: from, expected: to_hex(key), found: to_hex(&found) });
                }
                Ok(Some(Opened::Leaf { at, key: key.to_vec() }))
            }
            (version, Node::Inner { height, key, left, right, .. }) => {
                check_height(at, height, above)?;
                let (left, right) = (check_version(at, version, left)?, check_version(at, version, right)?);
                let begins = Smallest { key: key.to_vec(), from: at };
                self.stack.push(Entry { at: right, above: Some(height), smallest: Some(begins) });
                self.stack.push(Entry { at: left, above: Some(height), smallest });
                Ok(Some(Opened::Inner))
            }
        }
    }

    /// The smallest key of what is still to come; `None` at the end.
    pub fn smallest<R: NodeReader>(&mut self, reader: &mut R) -> Result<Option<&[u8]>, ProveError> {
        let Some(next) = self.stack.last_mut() else { return Ok(None) };
        if next.smallest.is_none() {
            // The left edge of the tree, which is walked down once: its leaf is the smallest of all that follow on it.
            let (mut at, mut above) = (next.at, next.above);
            let key = loop {
                read(reader, at, &mut self.record)?;
                match decode(at, &self.record)? {
                    (_, Node::Leaf { key, .. }) => break key.to_vec(),
                    (version, Node::Inner { height, left, .. }) => {
                        check_height(at, height, above)?;
                        above = Some(height);
                        at = check_version(at, version, left)?;
                    }
                }
            };
            next.smallest = Some(Smallest { key, from: at });
        }
        Ok(next.smallest.as_ref().map(|smallest| smallest.key.as_slice()))
    }
}

/// Whether a key is another name of a legacy node: IAVL 1.x writes a legacy root anew, as (its version, 0), when it commits a
/// version without changes on top of it. What was there before goes on naming it by its hash.
pub(super) fn is_written_anew<R: NodeReader>(reader: &mut R, key: NodeKey, hash: Hash) -> Result<bool, ProveError> {
    if key.nonce > 1 {
        return Ok(false);
    }
    let mut record = Vec::new();
    read(reader, key.into(), &mut record)?;
    let found = match decode(key.into(), &record)? {
        (version, Node::Leaf { key, value }) => leaf_hash(version, key, value),
        (_, Node::Inner { hash, .. }) => hash,
    };
    Ok(found == hash)
}
