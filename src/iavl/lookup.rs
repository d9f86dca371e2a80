//! Reading pairs out of a tree: one by its key, or those of a range in either order.
//!
//! Nothing is proven: what is read is checked for shape only, as whoever wrote a tree reads it. Reads no node but those on the
//! way to what is asked for, legacy ones too.

use super::{
    Node, NodeId, NodeReader, ProveError,
    node::MAX_HEIGHT,
    prove::{decode, read_record},
};
use crate::model::Version;
use std::ops::{Bound, RangeBounds as _};

/// The keys from one bound to another, the lower one first in either order.
pub type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A key and its value.
pub type OwnedPair = (Vec<u8>, Vec<u8>);

/// In which order pairs are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ascending keys.
    Ascending,
    /// Descending keys.
    Descending,
}

/// The value of a key in the tree whose root node is at `root` (not a reference to it).
///
/// # Errors
/// A node on the way is missing or malformed.
pub fn get<R: NodeReader + ?Sized>(reader: &mut R, root: NodeId, key: &[u8]) -> Result<Option<Vec<u8>>, ProveError> {
    let (mut at, mut record) = (Below::root(root), Vec::new());
    loop {
        match at.open(reader, &mut record)? {
            Opened::Leaf { key: found, value } => return Ok((found == key).then(|| value.to_vec())),
            Opened::Inner { begins, left, right } => at = if key < begins { left } else { right },
        }
    }
}

/// A walk over the pairs of a range.
#[derive(Debug)]
pub struct Pairs {
    /// The subtrees still to come, the next one last.
    stack: Vec<Below>,
    range: KeyRange,
    order: Order,
    record: Vec<u8>,
}

impl Pairs {
    /// The pairs of the tree whose root node is at `root`; `None` is the empty tree.
    #[must_use]
    pub fn new(root: Option<NodeId>, range: KeyRange, order: Order) -> Pairs {
        Pairs { stack: root.map(Below::root).into_iter().collect(), range, order, record: Vec::new() }
    }

    /// The next pair, key and value; none at the end, and after an error.
    ///
    /// # Errors
    /// A node is missing or malformed.
    pub fn next<R: NodeReader + ?Sized>(&mut self, reader: &mut R) -> Result<Option<OwnedPair>, ProveError> {
        let found = self.find(reader);
        if found.is_err() {
            self.stack.clear();
        }
        found
    }

    fn find<R: NodeReader + ?Sized>(&mut self, reader: &mut R) -> Result<Option<OwnedPair>, ProveError> {
        while let Some(next) = self.stack.pop() {
            match next.open(reader, &mut self.record)? {
                Opened::Leaf { key, value } => {
                    if self.range.contains(&key.to_vec()) {
                        return Ok(Some((key.to_vec(), value.to_vec())));
                    }
                }
                Opened::Inner { begins, left, right } => {
                    // The left subtree's keys are below the key, the right one's are not.
                    let left = match &self.range.0 {
                        Bound::Included(from) | Bound::Excluded(from) => (from.as_slice() < begins).then_some(left),
                        Bound::Unbounded => Some(left),
                    };
                    let right = match &self.range.1 {
                        Bound::Included(to) => (to.as_slice() >= begins).then_some(right),
                        Bound::Excluded(to) => (to.as_slice() > begins).then_some(right),
                        Bound::Unbounded => Some(right),
                    };
                    let (first, second) = match self.order {
                        Order::Ascending => (left, right),
                        Order::Descending => (right, left),
                    };
                    self.stack.extend(second);
                    self.stack.extend(first);
                }
            }
        }
        Ok(None)
    }
}

/// A subtree that was not read yet, and what the node above promised of it.
#[derive(Clone, Copy, Debug)]
struct Below {
    at: NodeId,
    /// The greatest height: heights fall strictly, so that a cycle of records ends.
    height: u8,
    /// The newest version.
    version: Version,
}

enum Opened<'r> {
    Leaf { key: &'r [u8], value: &'r [u8] },
    Inner { begins: &'r [u8], left: Below, right: Below },
}

impl Below {
    fn root(at: NodeId) -> Below {
        Below { at, height: MAX_HEIGHT, version: Version::MAX }
    }

    fn open<'r, R: NodeReader + ?Sized>(
        self,
        reader: &mut R,
        record: &'r mut Vec<u8>,
    ) -> Result<Opened<'r>, ProveError> {
        let Below { at, height: most, version: newest } = self;
        record.clear();
        read_record(reader, at, record)?;
        let (version, node) = decode(at, record)?;
        if version > newest {
            return Err(ProveError::Shape { at, what: "a child is newer than its parent" });
        }
        match node {
            Node::Leaf { key, value } => Ok(Opened::Leaf { key, value }),
            Node::Inner { height, .. } if height > most => {
                Err(ProveError::Shape { at, what: "it is not lower than its parent" })
            }
            Node::Inner { height, key, left, right, .. } => {
                let below = |at| Below { at, height: height.saturating_sub(1), version };
                Ok(Opened::Inner { begins: key, left: below(left), right: below(right) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        iavl::{NodeKey, NodeMap, tree::Tree},
        model::Change,
    };
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
        let key = prop::collection::vec(0u8..6, 0..3);
        (0..3, key).prop_map(|(kind, key)| match kind {
            0 => Bound::Unbounded,
            1 => Bound::Included(key),
            _ => Bound::Excluded(key),
        })
    }

    proptest! {
        #[test]
        fn a_tree_answers_as_an_ordered_map_does(
            keys in prop::collection::vec(prop::collection::vec(0u8..6, 1..3), 0..60),
            range in (bound(), bound()),
            asked in prop::collection::vec(0u8..6, 0..3),
        ) {
            let (mut nodes, mut tree) = (NodeMap::default(), Tree::load(None, Version(0)));
            let mut model = BTreeMap::new();
            for (value, key) in (0u8..).zip(&keys) {
                let change = Change { key: key.clone(), value: Some(vec![value]) };
                tree.apply(&mut nodes, &[change]).unwrap();
                model.insert(key.clone(), vec![value]);
            }
            let committed = tree.commit(&mut nodes, Version(1)).unwrap();
            nodes.records.extend(committed.records);
            let root = committed.root.map(NodeId::from);
            prop_assert_eq!(root.and_then(|root| get(&mut nodes, root, &asked).unwrap()), model.get(&asked).cloned());
            let expected: Vec<_> = model.into_iter().filter(|(key, _)| range.contains(key)).collect();
            for order in [Order::Ascending, Order::Descending] {
                let mut walk = Pairs::new(root, range.clone(), order);
                let mut found = Vec::new();
                while let Some(pair) = walk.next(&mut nodes).unwrap() {
                    found.push(pair);
                }
                if order == Order::Descending {
                    found.reverse();
                }
                prop_assert_eq!(&found, &expected);
            }
        }
    }

    #[test]
    fn a_cycle_of_records_ends_and_a_missing_node_is_said_to_be_missing() {
        let (at, child) = (NodeKey::new(Version(3), 1), NodeKey::new(Version(3), 2));
        let inner = |to: NodeKey| {
            let mut record = Vec::new();
            let hash = crate::model::Hash::EMPTY;
            Node::Inner { height: 5, size: 9, key: b"m", hash, left: to.into(), right: to.into() }.encode(&mut record);
            record
        };
        let mut nodes = NodeMap::default();
        nodes.records.insert(at, inner(child));
        assert!(matches!(get(&mut nodes, at.into(), b"k"), Err(ProveError::Missing(_))));
        nodes.records.insert(child, inner(at));
        assert!(matches!(get(&mut nodes, at.into(), b"k"), Err(ProveError::Shape { .. })));
        let mut walk = Pairs::new(Some(at.into()), (Bound::Unbounded, Bound::Unbounded), Order::Ascending);
        assert!(walk.next(&mut nodes).is_err());
        assert!(matches!(walk.next(&mut nodes), Ok(None)));
    }
}
