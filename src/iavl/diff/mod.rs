//! The difference between two retained versions of one tree, as the changes that lead from the one to the other.
//!
//! Owns the double walk; reads both versions through one [`NodeReader`], since they share most of their nodes. Hands
//! the changes on in ascending order of keys, ready for [`super::tree::Tree::apply`].
//!
//! A node of the new tree that is not newer than the old version is part of the old tree too, under the same key, and
//! nothing below it differs (the rule of IAVL's `TraverseStateChanges`, cosmos/iavl v1.2.2 `diff.go`). Unlike Go, new
//! leaves are not gathered up to the next shared node: inner keys tell where the next part of the old tree begins, so
//! both trees are walked in step, and memory is bounded by the height of the trees whatever the size of the difference.

mod new_side;
mod old_side;
mod orphans;
#[cfg(test)]
mod tests;

use super::{
    Claim, Node, NodeId, NodeReader, ProveError,
    prove::{decode, read_record},
};
use crate::model::{Hash, Version, to_hex};
use new_side::{Begins, Front, NewSide};
use old_side::{OldSide, Opened};
use std::cmp::Ordering;

pub use orphans::orphans;

/// Takes the changes: a key with its new value, or with none if it was removed. Returns false to stop.
pub type ChangeSink<'s> = dyn FnMut(&[u8], Option<&[u8]>) -> bool + 's;

/// Who proves that the changes of a difference lead to the new tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The difference itself, before it hands them on.
    Here,
    /// Whoever applies them to a good copy of the old tree and compares the root, before anything is made of it.
    ByReplay,
}

/// The older tree of a difference. It must not be empty; the empty tree is `None` to [`diff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldTree {
    /// Where its root node is (not a reference to it).
    pub root: NodeId,
    /// Its version, which may be newer than the root node's.
    pub version: Version,
}

/// Hands to `sink` the changes that lead from the old tree to the new one, in strictly ascending order of keys: a set
/// for every leaf of the new tree that was written after the old version, whether its value differs or not, and a
/// removal for every other key of the old tree that the new tree lacks. `None` is the empty tree on either side.
///
/// For neighbouring versions and blocks written in ascending order this is what the block wrote (except removals of
/// absent keys), so replaying it reproduces the new root. Across several versions the contents come out right, but the
/// root may not, because the shape of the tree depends on what happened in between.
///
/// Reads every node that is in one tree only, the children of those of the new tree, and once the left edge of the old
/// tree; keeps one record for each level of the trees.
///
/// Every node read on the new side is proven against `new`, by recomputing the hashes from the leaves and the recorded
/// hashes of shared subtrees upwards to the root: so all keys and values handed on as sets, and which subtrees are
/// shared, are what the chain committed to; and its inner keys, which no hash covers, are the smallest keys of what is to their
/// right, by those of the old tree where that is shared. Not proven are the nodes of the old side (they are checked for shape and
/// order only): a wrong one can lead to wrong or missing removals. Whoever replays the changes over a good copy of the
/// old tree sees that in the new root.
///
/// # Errors
/// The first thing that does not prove, is malformed or is missing; [`ProveError::Shape`] also if the new tree has a
/// subtree as old as the old tree which is not in it. [`ProveError::Sink`] if `sink` stopped. What `sink` was given
/// before an error is of no use.
pub fn diff<R: NodeReader>(
    reader: &mut R,
    old: Option<OldTree>,
    new: Option<Claim>,
    sink: &mut ChangeSink<'_>,
) -> Result<(), ProveError> {
    walk(reader, old, new, Proof::Here, sink)
}

/// As [`diff`], but nothing is proven: what is handed on has to be replayed, and the root compared, before it is believed.
///
/// Subtrees that both trees share are not read at all then, and of the new tree only the nodes it does not share, each
/// once and in the order a native tree numbers them.
///
/// # Errors
/// As [`diff`], except for hashes. Only the proven difference can tell what an error means.
pub fn diff_to_replay<R: NodeReader>(
    reader: &mut R,
    old: Option<OldTree>,
    new: Option<NodeId>,
    sink: &mut ChangeSink<'_>,
) -> Result<(), ProveError> {
    walk(reader, old, new.map(|at| Claim { at, hash: Hash::EMPTY }), Proof::ByReplay, sink)
}

fn walk<R: NodeReader>(
    reader: &mut R,
    old: Option<OldTree>,
    new: Option<Claim>,
    proof: Proof,
    sink: &mut ChangeSink<'_>,
) -> Result<(), ProveError> {
    let mut emit = Emit { sink, last: None };
    let mut new_side = NewSide::new(reader, new, old.map(|old| old.version), proof)?;
    let mut old_side = OldSide::new(old)?;
    while let Some(front) = new_side.next(reader)? {
        let due = new_side.due();
        match front {
            Front::Shared(at) => skip_shared(reader, &mut old_side, at, due.as_ref(), &mut emit)?,
            Front::Leaf { at, record } => {
                let (_, Node::Leaf { key, value }) = decode(at, &record)? else { continue };
                check_begins(due.as_ref(), Some(key))?;
                pass(reader, &mut old_side, key, &mut emit)?;
                emit.change(at, key, Some(value))?;
            }
        }
    }
    while let Some(opened) = old_side.open_next(reader)? {
        emit.removed(opened)?;
    }
    Ok(())
}

/// Goes on in the old tree to the end of a subtree it shares with the new one. What comes before it is gone.
fn skip_shared<R: NodeReader>(
    reader: &mut R,
    old: &mut OldSide,
    at: NodeId,
    due: Option<&Begins>,
    emit: &mut Emit<'_, '_>,
) -> Result<(), ProveError> {
    loop {
        // By the inner keys of the old tree, which were proven when it was the new one.
        let smallest = if due.is_some() { old.smallest(reader)?.map(<[u8]>::to_vec) } else { None };
        if old.skip(reader, at)? {
            return check_begins(due, smallest.as_deref());
        }
        let Some(opened) = old.open_next(reader)? else {
            return Err(ProveError::Shape { at, what: "it is as old as the older tree, but not in it at its place" });
        };
        emit.removed(opened)?;
    }
}

/// Compares an inner key with the smallest key of what it leads to.
fn check_begins(due: Option<&Begins>, smallest: Option<&[u8]>) -> Result<(), ProveError> {
    match (due, smallest) {
        (Some(Begins { from, key }), Some(smallest)) if key != smallest => {
            Err(ProveError::InnerKey { at: *from, expected: to_hex(smallest), found: to_hex(key) })
        }
        _ => Ok(()),
    }
}

/// Goes on in the old tree to the first key above `key`. What comes before `key` is gone; `key` itself is replaced.
fn pass<R: NodeReader>(
    reader: &mut R,
    old: &mut OldSide,
    key: &[u8],
    emit: &mut Emit<'_, '_>,
) -> Result<(), ProveError> {
    loop {
        // A subtree is only opened if its smallest key is gone or replaced, so it is no shared one.
        let order = match old.smallest(reader)? {
            Some(smallest) => smallest.cmp(key),
            None => return Ok(()),
        };
        if order == Ordering::Greater {
            return Ok(());
        }
        match old.open_next(reader)? {
            Some(Opened::Leaf { .. }) if order == Ordering::Equal => return Ok(()),
            Some(opened) => emit.removed(opened)?,
            None => return Ok(()),
        }
    }
}

/// Hands changes on and sees to their order.
struct Emit<'a, 's> {
    sink: &'a mut ChangeSink<'s>,
    last: Option<Vec<u8>>,
}

impl Emit<'_, '_> {
    fn removed(&mut self, opened: Opened) -> Result<(), ProveError> {
        match opened {
            Opened::Leaf { at, key } => self.change(at, &key, None),
            Opened::Inner => Ok(()),
        }
    }

    fn change(&mut self, at: NodeId, key: &[u8], value: Option<&[u8]>) -> Result<(), ProveError> {
        match &mut self.last {
            Some(last) if key <= last.as_slice() => {
                return Err(ProveError::KeyOrder { at, key: to_hex(key), before: to_hex(last) });
            }
            Some(last) => {
                last.clear();
                last.extend_from_slice(key);
            }
            None => self.last = Some(key.to_vec()),
        }
        if (self.sink)(key, value) { Ok(()) } else { Err(ProveError::Sink) }
    }
}

fn read<R: NodeReader>(reader: &mut R, at: NodeId, out: &mut Vec<u8>) -> Result<(), ProveError> {
    out.clear();
    read_record(reader, at, out)
}

/// A child is never newer than the node above it. The version of a legacy one is known once it is read.
fn check_version(at: NodeId, version: Version, child: NodeId) -> Result<NodeId, ProveError> {
    match child {
        NodeId::Current(key) if key.version > version => {
            Err(ProveError::Shape { at, what: "a child is newer than its parent" })
        }
        child => Ok(child),
    }
}

/// Heights fall strictly, so that a cycle of records ends and stacks are bounded.
fn check_height(at: NodeId, height: u8, above: Option<u8>) -> Result<(), ProveError> {
    match above {
        Some(above) if height >= above => Err(ProveError::Shape { at, what: "it is not lower than its parent" }),
        _ => Ok(()),
    }
}
