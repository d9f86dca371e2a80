//! The root record of a version: what lies under (version, 1).

use super::NodeKey;
use crate::model::Version;

/// What the value under (version, 1) says the root is (IAVL 1.x `nodedb.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootRecord {
    /// A value of no bytes: the tree is empty.
    Empty,
    /// `s` ‖ BE8 version ‖ BE4 nonce, or in early builds `s` ‖ BE8 version: the root is that node.
    Reference(NodeKey),
    /// Anything else: the node itself. Heights are at most 127, so no node record begins with `s`.
    Node,
}

impl RootRecord {
    /// Tells what a value under (version, 1) is; `None` if it begins as a reference and is none.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<RootRecord> {
        match value {
            [] => Some(RootRecord::Empty),
            [b's', version @ ..] if version.len() == 8 => {
                Some(RootRecord::Reference(NodeKey::root_of(Version(u64::from_be_bytes(version.try_into().ok()?)))))
            }
            [b's', ..] => NodeKey::from_bytes(value).map(RootRecord::Reference),
            _ => Some(RootRecord::Node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_shapes_are_told_apart_and_a_broken_reference_is_none() {
        let key = NodeKey::new(Version(5), 9);
        assert_eq!(RootRecord::decode(&[]), Some(RootRecord::Empty));
        assert_eq!(RootRecord::decode(&key.to_bytes()), Some(RootRecord::Reference(key)));
        assert_eq!(RootRecord::decode(&key.to_bytes()[..9]), Some(RootRecord::Reference(NodeKey::root_of(Version(5)))));
        assert_eq!(RootRecord::decode(&[0, 2, 1, b'k', 0]), Some(RootRecord::Node));
        assert_eq!(RootRecord::decode(&key.to_bytes()[..12]), None);
    }
}
