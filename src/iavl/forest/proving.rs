//! Proving a forest that is in memory: hashes from the leaves up, and what no hash covers.
//!
//! Hashes are taken many at a time, see [`crate::iavl::merkle`].

use super::{BATCH, Forest, KEY_LINES, NONE, Slot};
use crate::{
    iavl::{
        Claim, NodeId, Proof, ProveError,
        merkle::{InnerNodes, MANY, leaf_hashes},
        prove::{KeyOrder, check_inner_key, check_shape},
    },
    model::{Hash, Version},
};

/// Checks what no hash covers, node by node in post-order: leaf keys ascend, and each inner key is the smallest key of its
/// right subtree.
struct Keys {
    /// The last leaf.
    last: Option<u32>,
    /// The first leaves of the subtrees that have no parent yet.
    smallest: Vec<u32>,
    /// The first thing that is wrong.
    wrong: Option<ProveError>,
}

impl Keys {
    #[inline]
    fn check(&mut self, forest: &Forest, index: u32, slot: &Slot) -> Result<(), ProveError> {
        let checked = if slot.left == NONE {
            self.smallest.push(index);
            match self.last.replace(index) {
                Some(before) => KeyOrder::compare(forest.at(slot), forest.key(slot), forest.key(forest.slot(before)?)),
                None => Ok(()),
            }
        } else {
            let right = self.smallest.pop().unwrap_or(NONE);
            check_inner_key(forest.at(slot), forest.key(slot), forest.key(forest.slot(right)?))
        };
        if let Err(why) = checked {
            self.wrong.get_or_insert(why);
        }
        Ok(())
    }
}

impl Forest {
    /// Hashes the leaves that were read since the last time, while their records are still near. What a legacy leaf is named by is
    /// its hash; those of others are proven by the nodes above.
    pub(super) fn hash_leaves(&mut self) -> Result<(), ProveError> {
        let mut leaves: [(Version, &[u8], &[u8]); MANY] = [(Version(0), &[], &[]); MANY];
        for (leaf, index) in leaves.iter_mut().zip(&self.unhashed) {
            let slot = self.slot(*index)?;
            let (key, value) = self.pair(slot);
            *leaf = (self.version(slot), key, value);
        }
        let mut hashes = [Hash::EMPTY; MANY];
        leaf_hashes(leaves.get(..self.unhashed.len()).unwrap_or_default(), &mut hashes);
        let mut unhashed = std::mem::take(&mut self.unhashed);
        for (index, hash) in unhashed.drain(..).zip(hashes) {
            let slot = self.slot_mut(index)?;
            if slot.is_legacy && slot.hash != hash {
                return Err(ProveError::HashMismatch {
                    at: NodeId::Legacy(slot.hash),
                    expected: slot.hash,
                    found: hash,
                });
            }
            slot.hash = hash;
        }
        self.unhashed = unhashed;
        Ok(())
    }

    /// Walks the trees in post-order: every inner node's hash, size and height follow from its children, and every root is
    /// the one that was claimed. So does what no hash covers; but a wrong hash tells more of what is wrong, so it goes first.
    pub(super) fn prove(&mut self, claims: &[Claim]) -> Result<(), ProveError> {
        let mut trees = std::mem::take(&mut self.trees);
        let mut inner = InnerNodes::default();
        let mut keys = Keys { last: None, smallest: Vec::with_capacity(256), wrong: None };
        for ((root, claim), tree) in (0..).zip(claims).zip(&mut trees) {
            for batch in self.order.get(tree.nodes.clone()).unwrap_or_default().chunks(BATCH) {
                self.look_ahead(batch, KEY_LINES);
                self.prove_hashes(batch, &mut inner)?;
                for &(index, _) in batch {
                    let slot = self.slot(index)?;
                    if slot.left != NONE {
                        self.prove_shape(slot)?;
                    }
                    keys.check(self, index, slot)?;
                }
            }
            let slot = self.slot(root)?;
            if slot.hash != claim.hash {
                return Err(ProveError::HashMismatch { at: claim.at, expected: claim.hash, found: slot.hash });
            }
            let first = keys.smallest.pop().unwrap_or(NONE);
            tree.proof = Proof {
                leaves: u64::from(slot.size),
                height: slot.height,
                first_key: self.key(self.slot(first)?).to_vec(),
                last_key: self.key(self.slot(keys.last.unwrap_or(NONE))?).to_vec(),
            };
        }
        self.trees = trees;
        keys.wrong.map_or(Ok(()), Err)
    }

    /// The hashes of the inner nodes among these: what a node says of its own is held against what its children say of theirs.
    fn prove_hashes(&self, nodes: &[(u32, u32)], inner: &mut InnerNodes) -> Result<(), ProveError> {
        for &(index, _) in nodes {
            let slot = self.slot(index)?;
            if slot.left != NONE {
                let (left, right) = (self.slot(slot.left)?, self.slot(slot.right())?);
                inner.push(slot.height, u64::from(slot.size), self.version(slot), &left.hash, &right.hash);
            }
        }
        let mut hashes = inner.hashes();
        for &(index, _) in nodes {
            let slot = self.slot(index)?;
            if slot.left == NONE {
                continue;
            }
            // There is one for each; if there were none, nothing would be proven.
            let found = hashes.next().unwrap_or(Hash::EMPTY);
            if found != slot.hash {
                return Err(ProveError::HashMismatch { at: self.at(slot), expected: slot.hash, found });
            }
        }
        Ok(())
    }

    fn prove_shape(&self, slot: &Slot) -> Result<(), ProveError> {
        let (left, right) = (self.slot(slot.left)?, self.slot(slot.right())?);
        let size = u64::from(slot.size);
        // Versions descend.
        if left.version.min(right.version) < slot.version {
            return Err(ProveError::Shape { at: self.at(slot), what: "a child is newer than its parent" });
        }
        let below = |child: &Slot| (child.height, u64::from(child.size));
        check_shape(self.at(slot), slot.height, size, below(left), below(right))
    }
}
