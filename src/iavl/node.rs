//! One node of the tree: its record on disk.
//!
//! Records: leaf = zz height 0 ‖ zz size 1 ‖ bytes key ‖ bytes value; inner = zz height ‖ zz size ‖ bytes key ‖
//! bytes hash ‖ zz mode ‖ two children, each zz version ‖ zz nonce, or bytes hash where the mode says the child is
//! legacy (IAVL 1.x `node.go`). The node's own version and nonce are only in its key.

use super::{
    NodeId, NodeKey,
    varint::{Fields, put_bytes, put_zz, uv_len},
};
use crate::model::{Hash, Version};

/// Greatest height the format allows: it is kept in a signed byte.
pub const MAX_HEIGHT: u8 = 127;

/// A decoded record; keys and values are borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node<'a> {
    /// A pair.
    Leaf {
        /// The key.
        key: &'a [u8],
        /// The value; may be empty.
        value: &'a [u8],
    },
    /// A branch.
    Inner {
        /// Height above the leaves, from 1.
        height: u8,
        /// Leaves below.
        size: u64,
        /// Smallest key of the right subtree. In no hash.
        key: &'a [u8],
        /// The node's own Merkle hash, as recorded.
        hash: Hash,
        /// Left child.
        left: NodeId,
        /// Right child.
        right: NodeId,
    },
}

/// Why bytes are not a node record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a node record: {0}")]
pub struct NodeError(pub &'static str);

impl<'a> Node<'a> {
    /// Decodes a record. All of it must be consumed.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Result<Node<'a>, NodeError> {
        let mut fields = Fields::new(bytes);
        let (height, size) = height_and_size(&mut fields)?;
        let key = fields.bytes().ok_or(NodeError("key is cut short"))?;
        let node = if height == 0 {
            Node::Leaf { key, value: fields.bytes().ok_or(NodeError("value is cut short"))? }
        } else {
            let hash = fields.bytes().ok_or(NodeError("hash is cut short"))?;
            let hash = Hash(hash.try_into().map_err(|_| NodeError("hash is not 32 bytes"))?);
            let mode = fields.zz().ok_or(NodeError("mode is missing"))?;
            if !(0..=3).contains(&mode) {
                return Err(NodeError("mode is not 0 to 3"));
            }
            let left = decode_child(&mut fields, mode & 1 != 0)?;
            let right = decode_child(&mut fields, mode & 2 != 0)?;
            Node::Inner { height, size, key, hash, left, right }
        };
        if fields.rest().is_empty() { Ok(node) } else { Err(NodeError("bytes left over after the record")) }
    }

    /// Bytes of the record of a leaf as [`Node::encode`] writes it.
    #[inline]
    #[must_use]
    pub fn leaf_len(key: &[u8], value: &[u8]) -> usize {
        2 + uv_len(key.len() as u64) + key.len() + uv_len(value.len() as u64) + value.len()
    }

    /// The key and value in the record of a leaf as [`Node::encode`] writes it; nothing else of it is looked at.
    #[inline]
    #[must_use]
    pub fn leaf_pair(record: &[u8]) -> Option<(&[u8], &[u8])> {
        let mut fields = Fields::new(record.get(2..)?);
        Some((fields.bytes()?, fields.bytes()?))
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Node::Leaf { key, value } => {
                put_zz(out, 0);
                put_zz(out, 1);
                put_bytes(out, key);
                put_bytes(out, value);
            }
            Node::Inner { height, size, key, hash, left, right } => {
                put_zz(out, i64::from(height));
                put_zz(out, size as i64);
                put_bytes(out, key);
                put_bytes(out, &hash.0);
                let legacy = |child: NodeId| i64::from(matches!(child, NodeId::Legacy(_)));
                put_zz(out, legacy(left) | legacy(right) << 1);
                encode_child(left, out);
                encode_child(right, out);
            }
        }
    }
}

/// What every node record begins with, legacy ones too.
#[inline]
pub(super) fn height_and_size(fields: &mut Fields<'_>) -> Result<(u8, u64), NodeError> {
    let height = fields.zz().ok_or(NodeError("height is missing"))?;
    let height = u8::try_from(height).ok().filter(|h| *h <= MAX_HEIGHT).ok_or(NodeError("height is not 0 to 127"))?;
    let size = fields.zz().ok_or(NodeError("size is missing"))?;
    let size = u64::try_from(size).map_err(|_| NodeError("size is negative"))?;
    if height == 0 && size != 1 {
        return Err(NodeError("a leaf whose size is not 1"));
    }
    Ok((height, size))
}

fn decode_child(fields: &mut Fields<'_>, legacy: bool) -> Result<NodeId, NodeError> {
    if legacy {
        let hash = fields.bytes().ok_or(NodeError("legacy child is cut short"))?;
        return Ok(NodeId::Legacy(Hash(hash.try_into().map_err(|_| NodeError("legacy child is not 32 bytes"))?)));
    }
    let version = fields.zz().ok_or(NodeError("child version is missing"))?;
    let version = u64::try_from(version).map_err(|_| NodeError("child version is negative"))?;
    let nonce = fields.zz().ok_or(NodeError("child nonce is missing"))?;
    let nonce = u32::try_from(nonce).map_err(|_| NodeError("child nonce is not 0 to 2^32-1"))?;
    Ok(NodeId::Current(NodeKey::new(Version(version), nonce)))
}

fn encode_child(child: NodeId, out: &mut Vec<u8>) {
    match child {
        NodeId::Current(key) => {
            put_zz(out, key.version.0 as i64);
            put_zz(out, i64::from(key.nonce));
        }
        NodeId::Legacy(hash) => put_bytes(out, &hash.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iavl::leaf_hash;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn records_that_go_wrote_decode_hash_and_encode_to_the_same_bytes() {
        let vectors = include_str!("../../tests/vectors/iavl_v1_basic.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let mut nodes = 0;
        for record in vectors.as_array().unwrap().iter().filter_map(|step| step["Raw"].as_array()).flatten() {
            let text = |field: &str| unhex(record[field].as_str().unwrap());
            let Some(at) = NodeKey::from_bytes(&text("K")) else { continue };
            let raw = text("V");
            let decoded = &record["Decoded"];
            if decoded["size"].is_null() {
                continue; // an empty or reference root
            }
            let hash: Hash = decoded["hash"].as_str().unwrap().parse().unwrap();
            let node = Node::decode(&raw).unwrap();
            match node {
                Node::Leaf { key, value } => assert_eq!(leaf_hash(at.version, key, value), hash),
                Node::Inner { hash: recorded, .. } => assert_eq!(recorded, hash),
            }
            let mut again = Vec::new();
            node.encode(&mut again);
            assert_eq!(again, raw);
            nodes += 1;
        }
        assert!(nodes > 20, "the vectors have nodes");
    }

    #[test]
    fn a_record_cut_anywhere_or_with_a_byte_too_many_is_refused() {
        let mut record = Vec::new();
        let child = |nonce| NodeId::Current(NodeKey::new(Version(7), nonce));
        Node::Inner { height: 1, size: 2, key: b"key", hash: Hash::EMPTY, left: child(2), right: child(3) }
            .encode(&mut record);
        assert!(Node::decode(&record).is_ok());
        for length in 0..record.len() {
            assert!(Node::decode(&record[..length]).is_err(), "cut at {length}");
        }
        record.push(0);
        assert!(Node::decode(&record).is_err());
    }
}
