//! The nodes of an older tree that a newer one has no more: what goes when the older version is pruned.

use super::{NewSide, OldTree, Proof, check_height, check_version, new_side::Front, old_side::is_written_anew, read};
use crate::{
    iavl::{Claim, Node, NodeId, NodeReader, ProveError, prove::decode},
    model::Hash,
};

/// Hands to `sink` every node of the old tree that is not in the new one, parents before children. Of versions without another
/// one between them these are the nodes that no version after the old one needs (the rule of IAVL's `traverseOrphans`,
/// cosmos/iavl v1.2.2 `nodedb.go`): a node that is gone never comes back.
///
/// Reads what is in one tree only. Proves nothing: trees are compared by where their nodes are.
///
/// # Errors
/// A node is missing or malformed, or the new tree has a subtree as old as the old tree which is not in it. What `sink` was
/// given before is of no use then.
pub fn orphans<R: NodeReader>(
    reader: &mut R,
    old: OldTree,
    new: Option<NodeId>,
    sink: &mut dyn FnMut(NodeId),
) -> Result<(), ProveError> {
    let new = new.map(|at| Claim { at, hash: Hash::EMPTY });
    let mut new_side = NewSide::new(reader, new, Some(old.version), Proof::ByReplay)?;
    let mut old_side = Rest { stack: vec![(old.root, None)], record: Vec::new() };
    while let Some(front) = new_side.next(reader)? {
        let Front::Shared(at) = front else { continue };
        while !old_side.skip(reader, at)? {
            let Some(gone) = old_side.open_next(reader)? else {
                return Err(ProveError::Shape {
                    at,
                    what: "it is as old as the older tree, but not in it at its place",
                });
            };
            sink(gone);
        }
    }
    while let Some(gone) = old_side.open_next(reader)? {
        sink(gone);
    }
    Ok(())
}

/// The subtrees of the old tree that were not opened yet, the next one last, each with the height of the node above.
struct Rest {
    stack: Vec<(NodeId, Option<u8>)>,
    record: Vec<u8>,
}

impl Rest {
    /// Leaves the next subtree out if it is the node `at`.
    fn skip<R: NodeReader>(&mut self, reader: &mut R, at: NodeId) -> Result<bool, ProveError> {
        let found = match (self.stack.last().map(|(next, _)| *next), at) {
            (None, _) => false,
            (Some(next), at) if next.is_same(at) => true,
            (Some(NodeId::Legacy(hash)), NodeId::Current(key)) | (Some(NodeId::Current(key)), NodeId::Legacy(hash)) => {
                is_written_anew(reader, key, hash)?
            }
            _ => false,
        };
        if found {
            self.stack.pop();
        }
        Ok(found)
    }

    /// Opens the next subtree and tells its root; none at the end.
    fn open_next<R: NodeReader>(&mut self, reader: &mut R) -> Result<Option<NodeId>, ProveError> {
        let Some((at, above)) = self.stack.pop() else { return Ok(None) };
        read(reader, at, &mut self.record)?;
        if let (version, Node::Inner { height, left, right, .. }) = decode(at, &self.record)? {
            check_height(at, height, above)?;
            self.stack.push((check_version(at, version, right)?, Some(height)));
            self.stack.push((check_version(at, version, left)?, Some(height)));
        }
        Ok(Some(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        iavl::{
            NodeKey, NodeMap, RootRecord,
            tree::Tree,
            tree::tests::histories::{histories, put},
        },
        model::Version,
    };
    use std::collections::BTreeSet;

    /// All nodes below a root.
    fn reachable(nodes: &NodeMap, at: NodeKey, found: &mut BTreeSet<NodeKey>) {
        if !found.insert(at) {
            return;
        }
        if let Node::Inner { left, right, .. } = Node::decode(&nodes.records[&at]).unwrap() {
            [left, right].into_iter().for_each(|child| reachable(nodes, child.key().unwrap(), found));
        }
    }

    #[test]
    fn orphans_are_the_nodes_that_can_be_reached_from_the_older_root_only() {
        let mut checked = 0;
        for history in histories() {
            let (version, base) = &history.base;
            if !base.records.is_empty() {
                continue;
            }
            let (mut nodes, mut tree) = (base.clone(), Tree::load(None, *version));
            let mut before: Option<(Version, Option<NodeKey>)> = None;
            for step in &history.steps {
                tree.apply(&mut nodes, &step.changes).unwrap();
                let committed = tree.commit(&mut nodes, step.version).unwrap();
                put(&mut nodes, &committed);
                let mut new = BTreeSet::new();
                committed.root.into_iter().for_each(|root| reachable(&nodes, root, &mut new));
                if let Some((version, Some(root))) = before {
                    let mut old = BTreeSet::new();
                    reachable(&nodes, root, &mut old);
                    let mut found = BTreeSet::new();
                    let tree = OldTree { root: root.into(), version };
                    orphans(&mut nodes, tree, committed.root.map(NodeId::from), &mut |at| {
                        assert!(found.insert(at.key().unwrap()), "{at} twice");
                    })
                    .unwrap();
                    assert_eq!(found, old.difference(&new).copied().collect(), "{} at {}", history.name, step.version);
                    checked += found.len();
                }
                let reference = RootRecord::decode(&nodes.records[&NodeKey::root_of(step.version)]);
                assert!(reference.is_some());
                before = Some((step.version, committed.root));
            }
        }
        assert!(checked > 1000, "{checked} orphans");
    }
}
