//! Records of legacy nodes, as IAVL up to 0.20 wrote them.
//!
//! Leaf = zz height 0 ‖ zz size 1 ‖ zz version ‖ bytes key ‖ bytes value; inner = zz height ‖ zz size ‖ zz version ‖ bytes
//! key ‖ bytes left hash ‖ bytes right hash (cosmos/iavl v0.19 `node.go`). The node's own hash is only in its key, its
//! version only in its record; hashes are taken as those of current nodes.

use super::{
    Node, NodeError, NodeId,
    node::MAX_HEIGHT,
    varint::{Fields, put_bytes, put_zz},
};
use crate::model::{Hash, Version};

/// Decodes the record of a legacy node, which is kept under `hash`: an inner node comes out with that hash. All of it must be
/// consumed.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(hash: Hash, bytes: &[u8]) -> Result<(Version, Node<'_>), NodeError> {
    let mut fields = Fields::new(bytes);
    let height = fields.zz().ok_or(NodeError("height is missing"))?;
    let height = u8::try_from(height).ok().filter(|h| *h <= MAX_HEIGHT).ok_or(NodeError("height is not 0 to 127"))?;
    let size = fields.zz().ok_or(NodeError("size is missing"))?;
    let size = u64::try_from(size).map_err(|_| NodeError("size is negative"))?;
    let version = fields.zz().ok_or(NodeError("version is missing"))?;
    let version = Version(u64::try_from(version).map_err(|_| NodeError("version is negative"))?);
    let key = fields.bytes().ok_or(NodeError("key is cut short"))?;
    let node = if height == 0 {
        if size != 1 {
            return Err(NodeError("a leaf whose size is not 1"));
        }
        Node::Leaf { key, value: fields.bytes().ok_or(NodeError("value is cut short"))? }
    } else {
        let mut child = || -> Result<NodeId, NodeError> {
            let hash = fields.bytes().ok_or(NodeError("the hash of a child is cut short"))?;
            Ok(NodeId::Legacy(Hash(hash.try_into().map_err(|_| NodeError("the hash of a child is not 32 bytes"))?)))
        };
        Node::Inner { height, size, key, hash, left: child()?, right: child()? }
    };
    if fields.rest().is_empty() { Ok((version, node)) } else { Err(NodeError("bytes left over after the record")) }
}

/// Appends the record of a legacy node; none if it is an inner node with a child that is not legacy, which cannot be.
pub fn encode(version: Version, node: &Node<'_>, out: &mut Vec<u8>) -> Option<()> {
    match *node {
        Node::Leaf { key, value } => {
            put_zz(out, 0);
            put_zz(out, 1);
            put_zz(out, version.0 as i64);
            put_bytes(out, key);
            put_bytes(out, value);
        }
        Node::Inner { height, size, key, left: NodeId::Legacy(left), right: NodeId::Legacy(right), .. } => {
            put_zz(out, i64::from(height));
            put_zz(out, size as i64);
            put_zz(out, version.0 as i64);
            put_bytes(out, key);
            put_bytes(out, &left.0);
            put_bytes(out, &right.0);
        }
        Node::Inner { .. } => return None,
    }
    Some(())
}
