//! The proof of one key in one tree, as IAVL gives it (cosmos/iavl v1.2 `proof_ics23.go`).
//!
//! Owns the way from the root down to a leaf. For an absent key that leaf is one of its two neighbours, and the other one is at the
//! near edge of the subtree beside the way.

use super::wire::{CommitmentProof, ExistenceProof, InnerOp, NonExistenceProof};
use crate::{
    iavl::{
        Claim, Node, NodeId, NodeReader, ProveError,
        merkle::{inner_hash, leaf_hash},
        prove::{check_shape, check_versions, decode, read_record},
        varint::put_zz,
    },
    model::{Hash, Sibling, Version},
};
use std::cmp::Ordering;

/// What stands before a hash where IAVL hashes one.
const HASH_LENGTH: &[u8] = &[32];

/// Proves that a key has a value in the tree under `root`, or none; `root` is none for the empty tree.
///
/// `root` is the node itself: references are resolved. Reads the nodes on the way down and their siblings, so two at each level,
/// and for an absent key about as many again.
///
/// # Errors
/// The store could not be read, or what was read does not lead to the root: [`ProveError::Missing`],
/// [`ProveError::Malformed`], [`ProveError::HashMismatch`] and [`ProveError::Shape`], as in [`prove`](crate::iavl::prove()). No
/// proof is given then, though the key may well be there.
pub fn prove_key<R: NodeReader + ?Sized>(
    reader: &mut R,
    root: Option<Claim>,
    key: &[u8],
) -> Result<CommitmentProof, ProveError> {
    let nonexist = |left, right| CommitmentProof::Nonexist(NonExistenceProof { key: key.to_vec(), left, right });
    let Some(root) = root else { return Ok(nonexist(None, None)) };
    let mut way = Vec::new();
    let towards = |inner: &[u8]| if key < inner { Side::Left } else { Side::Right };
    let found = descend(reader, root, &mut way, &towards)?;
    let order = found.key.as_slice().cmp(key);
    let neighbour = match order {
        Ordering::Equal => return Ok(CommitmentProof::Exist(found.proof(&way))),
        Ordering::Less => beside(reader, &way, Side::Right)?,
        Ordering::Greater => beside(reader, &way, Side::Left)?,
    };
    let other = neighbour.map(|(leaf, way)| leaf.proof(&way));
    let found = Some(found.proof(&way));
    let (left, right) = if order == Ordering::Less { (found, other) } else { (other, found) };
    // Inner keys are in no hash, and a wrong one sends the search astray. Between its neighbours the key is not, wherever
    // the search went.
    let is_below = |proof: &ExistenceProof| proof.key.as_slice() < key;
    let is_above = |proof: &ExistenceProof| proof.key.as_slice() > key;
    if !left.as_ref().is_none_or(is_below) || !right.as_ref().is_none_or(is_above) {
        return Err(ProveError::Shape { at: root.at, what: "an inner key below it sends searches the wrong way" });
    }
    Ok(nonexist(left, right))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// An inner node on the way down, proven, and the side the way takes.
#[derive(Clone)]
struct Step {
    height: u8,
    size: u64,
    version: Version,
    left: Claim,
    right: Claim,
    taken: Side,
}

impl Step {
    fn taken(&self) -> Claim {
        match self.taken {
            Side::Left => self.left,
            Side::Right => self.right,
        }
    }

    fn op(&self) -> InnerOp {
        let sibling = match self.taken {
            Side::Left => Sibling::Right(self.right.hash),
            Side::Right => Sibling::Left(self.left.hash),
        };
        let mut head = Vec::with_capacity(20);
        put_zz(&mut head, i64::from(self.height));
        put_zz(&mut head, self.size as i64);
        put_zz(&mut head, self.version.0 as i64);
        InnerOp::new(&head, HASH_LENGTH, sibling)
    }
}

/// The leaf at the end of a way, proven.
struct Leaf {
    version: Version,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Leaf {
    fn proof(self, way: &[Step]) -> ExistenceProof {
        let mut leaf_prefix = Vec::with_capacity(12);
        put_zz(&mut leaf_prefix, 0);
        put_zz(&mut leaf_prefix, 1);
        put_zz(&mut leaf_prefix, self.version.0 as i64);
        let path = way.iter().rev().map(Step::op).collect();
        ExistenceProof { key: self.key, value: self.value, leaf_prefix, path }
    }
}

/// Goes down to a leaf by what `choose` says to each inner key, and adds the steps to `way`.
fn descend<R: NodeReader + ?Sized>(
    reader: &mut R,
    from: Claim,
    way: &mut Vec<Step>,
    choose: &dyn Fn(&[u8]) -> Side,
) -> Result<Leaf, ProveError> {
    let mut claim = from;
    let mut record = Vec::new();
    read_record(reader, claim.at, &mut record)?;
    loop {
        let at = claim.at;
        let differs = |found| Err(ProveError::HashMismatch { at, expected: claim.hash, found });
        let (version, node) = decode(at, &record)?;
        let step = match node {
            Node::Leaf { key, value } => {
                let found = leaf_hash(version, key, value);
                if found != claim.hash {
                    return differs(found);
                }
                return Ok(Leaf { version, key: key.to_vec(), value: value.to_vec() });
            }
            Node::Inner { hash, .. } if hash != claim.hash => return differs(hash),
            Node::Inner { height, size, key, left, right, .. } => {
                let taken = choose(key);
                let (left, right) = (Child::read(reader, left)?, Child::read(reader, right)?);
                check_versions(at, version, left.version, right.version)?;
                check_shape(at, height, size, (left.height, left.size), (right.height, right.size))?;
                let found = inner_hash(height, size, version, &left.claim.hash, &right.claim.hash);
                if found != claim.hash {
                    return differs(found);
                }
                let step = Step { height, size, version, left: left.claim, right: right.claim, taken };
                record = if taken == Side::Left { left.record } else { right.record };
                step
            }
        };
        claim = step.taken();
        way.push(step);
    }
}

/// The leaf next to the one at the end of `way`, to one side, with the way to it; none if that one is the outermost.
fn beside<R: NodeReader + ?Sized>(
    reader: &mut R,
    way: &[Step],
    side: Side,
) -> Result<Option<(Leaf, Vec<Step>)>, ProveError> {
    let Some(fork) = way.iter().rposition(|step| step.taken != side) else { return Ok(None) };
    let mut beside: Vec<Step> = way.iter().take(fork + 1).cloned().collect();
    let Some(step) = beside.last_mut() else { return Ok(None) };
    let back = std::mem::replace(&mut step.taken, side);
    let from = step.taken();
    let leaf = descend(reader, from, &mut beside, &|_| back)?;
    Ok(Some((leaf, beside)))
}

/// A child as its record has it: the parent's hash covers the hash alone.
struct Child {
    claim: Claim,
    version: Version,
    height: u8,
    size: u64,
    record: Vec<u8>,
}

impl Child {
    fn read<R: NodeReader + ?Sized>(reader: &mut R, at: NodeId) -> Result<Child, ProveError> {
        let mut record = Vec::new();
        read_record(reader, at, &mut record)?;
        let (version, node) = decode(at, &record)?;
        let (height, size, hash): (u8, u64, Hash) = match node {
            Node::Leaf { key, value } => (0, 1, leaf_hash(version, key, value)),
            Node::Inner { height, size, hash, .. } => (height, size, hash),
        };
        Ok(Child { claim: Claim { at, hash }, version, height, size, record })
    }
}
