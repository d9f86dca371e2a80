//! The tree a stretch of versions grew on, as far as they touch it: the nodes they replaced, and the roots of the subtrees
//! they kept.
//!
//! Owns the walk down that tree, in store/v1 and in SC at once: both have the same nodes under other keys. SC's records tell
//! hashes, sizes and keys, those of store/v1 only which node is which; a wrong one leads to hashes that do not prove. Whether
//! the walk goes on below a node is known before it is read: the newest version has it, or not.

use super::{
    super::{
        Node, NodeId, NodeKey, NodeReader, ProveError,
        merkle::{inner_hash, leaf_hash},
        prove::{check_inner_key, check_shape, decode, read_record},
    },
    Below, Link, Readers, Trunk, make_room,
};
use crate::model::{Hash, Version};
use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
pub(super) struct Base {
    nodes: Vec<Old>,
    /// Nodes of the base by their keys in store/v1, as far as the stretch names them.
    wanted: HashMap<NodeId, u32>,
    root: Option<u32>,
    /// Smallest keys, one after the other.
    keys: Vec<u8>,
    /// The smallest key of the tree.
    first_key: Option<Vec<u8>>,
    record: Vec<u8>,
    source_record: Vec<u8>,
}

/// A node of the base.
struct Old {
    source: NodeId,
    /// Legacy only where store/v1 itself is what the stretch grows on.
    target: NodeId,
    version: Version,
    hash: Hash,
    size: u64,
    left: Link,
    right: Link,
    /// Where its smallest key is in `keys`; none on the left edge of the tree.
    smallest: Option<(u32, u32)>,
    kept: u32,
    height: u8,
    is_live: bool,
    /// The height above it; none until the walk has come to its parent.
    above: Option<u8>,
    is_read: bool,
}

/// What a node of the base costs, its place in `wanted` included.
const OLD_BYTES: usize = size_of::<Old>() + 2 * size_of::<(NodeId, u32)>();

impl Base {
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.wanted.clear();
        self.forget();
    }

    /// Forgets what was read, not what is wanted.
    fn forget(&mut self) {
        let wanted = self.wanted.len();
        self.nodes.truncate(wanted);
        for node in &mut self.nodes {
            *node = Old { is_live: node.is_live, ..Old::new(node.source) };
        }
        self.root = None;
        self.keys.clear();
        self.first_key = None;
    }

    pub fn size(&self) -> usize {
        self.nodes.len() * OLD_BYTES + self.keys.len()
    }

    /// The index of a node that the stretch names.
    pub fn want(&mut self, source: NodeId) -> usize {
        let source = source.plain();
        let next = self.nodes.len() as u32;
        let index = *self.wanted.entry(source).or_insert(next);
        if index == next {
            make_room(&mut self.nodes, 1);
            self.nodes.push(Old::new(source));
        }
        index as usize
    }

    pub fn forget_live(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.is_live = false);
    }

    pub fn set_live(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.is_live = true;
        }
    }

    pub fn root(&self) -> Link {
        self.root.map_or(Link::NONE, |root| Link::base(root as usize))
    }

    /// Walks down from the root as far as the newest version differs; false if that does not fit the room.
    pub fn read(&mut self, readers: &mut Readers<'_>, trunk: Trunk, room: usize) -> Result<bool, ProveError> {
        self.forget();
        let Some((at, target_at)) = trunk.root else {
            if trunk.hash == Hash::EMPTY {
                return Ok(true);
            }
            // Nothing would be missed of a tree that nobody looked at.
            return Err(ProveError::Missing(NodeKey::root_of(trunk.version).into()));
        };
        let root = self.meet(at, target_at, u8::MAX, None)?;
        self.root = Some(root);
        // The newest version first: no child is newer than its parent. Within a version a node's children lie after it in pre-order,
        // before it in the post-order of what was migrated; what lies nearest is read next.
        let mut pending: BTreeMap<Version, Vec<(u32, u32)>> = BTreeMap::new();
        let (version, number) = place(target_at);
        pending.entry(version).or_default().push((number, root));
        let mut stack: Vec<(u32, u32)> = Vec::new();
        let mut ascends = true;
        while let Some((version, mut begins)) = pending.pop_last() {
            begins.sort_unstable();
            if !ascends {
                begins.reverse();
            }
            for begin in begins {
                stack.push(begin);
                while let Some((number, index)) = stack.pop() {
                    let before = stack.len();
                    for child in self.read_one(readers, index)?.into_iter().flatten() {
                        let Some(node) = self.nodes.get(child as usize) else { continue };
                        let (of_child, child_number) = place(node.target);
                        let at = (child_number, child);
                        if of_child == version {
                            ascends = child_number > number;
                            stack.push(at);
                        } else {
                            pending.entry(of_child).or_default().push(at);
                        }
                    }
                    if let Some([first, second]) = stack.get_mut(before..)
                        && first.0.abs_diff(number) < second.0.abs_diff(number)
                    {
                        std::mem::swap(first, second);
                    }
                    if self.size() > room {
                        return Ok(false);
                    }
                }
            }
        }
        match self.nodes.get(root as usize) {
            Some(root) if root.hash != trunk.hash => {
                Err(ProveError::HashMismatch { at: root.target, expected: trunk.hash, found: root.hash })
            }
            _ => Ok(true),
        }
    }

    /// Every node that was replaced follows from its children, down from the root's hash: so all of them are proven.
    pub fn prove(&self) -> Result<(), ProveError> {
        for node in &self.nodes {
            if node.left == Link::NONE {
                continue;
            }
            let of = |link: Link| match link.place() {
                super::Place::Base(index) => self.below(index),
                _ => Err(ProveError::Missing(node.target)),
            };
            let (left, right) = (of(node.left)?, of(node.right)?);
            let found = inner_hash(node.height, node.size, node.version, &left.hash, &right.hash);
            if found != node.hash {
                return Err(ProveError::HashMismatch { at: node.target, expected: node.hash, found });
            }
            check_shape(node.target, node.height, node.size, (left.height, left.size), (right.height, right.size))?;
        }
        Ok(())
    }

    pub fn below(&self, index: usize) -> Result<Below, ProveError> {
        match self.nodes.get(index) {
            Some(Old { hash, size, height, is_read: true, .. }) => {
                Ok(Below { hash: *hash, size: *size, height: *height, smallest: Link::base(index) })
            }
            Some(node) => {
                let what = "a newer node names it, but it is not in the tree before";
                Err(ProveError::Shape { at: node.source, what })
            }
            None => Err(ProveError::Sink),
        }
    }

    pub fn smallest(&self, index: usize) -> Option<&[u8]> {
        match self.nodes.get(index)?.smallest {
            Some((start, end)) => self.keys.get(start as usize..end as usize),
            None => self.first_key.as_deref(),
        }
    }

    /// Looks for the smallest key of the tree, down its left edge.
    pub fn find_first_key(&mut self, target: &mut dyn NodeReader) -> Result<(), ProveError> {
        let Some(root) = self.root.and_then(|root| self.nodes.get(root as usize)) else { return Ok(()) };
        let (mut at, mut above) = (root.target, u8::MAX);
        loop {
            self.record.clear();
            read_record(target, at, &mut self.record)?;
            match decode(at, &self.record)? {
                (_, Node::Leaf { key, .. }) => {
                    self.first_key = Some(key.to_vec());
                    return Ok(());
                }
                (_, Node::Inner { height, left, .. }) => {
                    check_height(at, height, above)?;
                    (at, above) = (left, height);
                }
            }
        }
    }

    /// Where a node is in store/v1 and in SC.
    pub fn keys(&self, index: usize) -> Option<(NodeId, NodeId)> {
        self.nodes.get(index).map(|node| (node.source, node.target))
    }

    /// Whether a node is a leaf, and its children otherwise.
    pub fn children(&self, index: usize) -> Option<(bool, Link, Link)> {
        self.nodes.get(index).map(|node| (node.height == 0, node.left, node.right))
    }

    pub fn kept(&mut self, index: usize) -> Option<&mut u32> {
        self.nodes.get_mut(index).map(|node| &mut node.kept)
    }

    /// The walk has come to the parent of a node.
    fn meet(
        &mut self,
        source: NodeId,
        target: NodeId,
        above: u8,
        smallest: Option<(u32, u32)>,
    ) -> Result<u32, ProveError> {
        let source = source.plain();
        if let (NodeId::Current(source_key), NodeId::Current(target)) = (source, target)
            && source_key.version != target.version
        {
            return Err(ProveError::Shape {
                at: source,
                what: "it has another version than the node at its place in SC",
            });
        }
        let index = match self.wanted.get(&source) {
            Some(index) => *index,
            None => {
                make_room(&mut self.nodes, 1);
                self.nodes.push(Old::new(source));
                self.nodes.len() as u32 - 1
            }
        };
        match self.nodes.get_mut(index as usize) {
            Some(node) if node.above.is_none() => {
                (node.target, node.above, node.smallest) = (target, Some(above), smallest);
                Ok(index)
            }
            _ => Err(ProveError::Shape { at: source, what: "two parents name it" }),
        }
    }

    /// Reads a node, and returns its children in the order of SC's keys if the walk is to go on below it.
    fn read_one(&mut self, readers: &mut Readers<'_>, index: u32) -> Result<Option<[u32; 2]>, ProveError> {
        let Some(&Old { source: source_at, target: at, above, smallest, is_live, .. }) = self.nodes.get(index as usize)
        else {
            return Ok(None);
        };
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        read_record(readers.target, at, &mut record)?;
        let children = match decode(at, &record)? {
            (version, Node::Leaf { key, value }) => {
                if let Some((start, end)) = smallest {
                    check_inner_key(at, self.keys.get(start as usize..end as usize).unwrap_or_default(), key)?;
                }
                let (hash, key) = (leaf_hash(version, key, value), self.keep_key(key));
                if let Some(node) = self.nodes.get_mut(index as usize) {
                    (node.hash, node.size, node.height, node.is_read) = (hash, 1, 0, true);
                    (node.smallest, node.version) = (Some(key), version);
                }
                None
            }
            (version, Node::Inner { height, size, key, hash, left, right }) => {
                check_height(at, height, above.unwrap_or(u8::MAX))?;
                if let Some(node) = self.nodes.get_mut(index as usize) {
                    node.version = version;
                    (node.hash, node.size, node.height, node.is_read) = (hash, size, height, true);
                }
                if is_live {
                    None
                } else {
                    let key = self.keep_key(key);
                    let is_same = |child: NodeId| child.key().is_none_or(|key| key.version > readers.same_after);
                    let (source_left, source_right) = if is_same(left) && is_same(right) {
                        (left, right)
                    } else {
                        self.children_in_source(readers.source, source_at)?
                    };
                    let left = self.meet(source_left, left, height, smallest)?;
                    let right = self.meet(source_right, right, height, Some(key))?;
                    if let Some(node) = self.nodes.get_mut(index as usize) {
                        (node.left, node.right) = (Link::base(left as usize), Link::base(right as usize));
                    }
                    Some([left, right])
                }
            }
        };
        self.record = record;
        Ok(children)
    }

    /// Where store/v1 has the children of a node.
    fn children_in_source(&mut self, source: &mut dyn NodeReader, at: NodeId) -> Result<(NodeId, NodeId), ProveError> {
        self.source_record.clear();
        read_record(source, at, &mut self.source_record)?;
        match decode(at, &self.source_record)? {
            (_, Node::Inner { left, right, .. }) => Ok((left, right)),
            (_, Node::Leaf { .. }) => Err(ProveError::Shape { at, what: "it is a leaf, and an inner node in SC" }),
        }
    }

    fn keep_key(&mut self, key: &[u8]) -> (u32, u32) {
        make_room(&mut self.keys, key.len());
        let start = self.keys.len() as u32;
        self.keys.extend_from_slice(key);
        (start, self.keys.len() as u32)
    }
}

impl Old {
    fn new(source: NodeId) -> Old {
        Old {
            source,
            target: source,
            version: Version(0),
            hash: Hash::EMPTY,
            size: 0,
            left: Link::NONE,
            right: Link::NONE,
            smallest: None,
            kept: 0,
            height: 0,
            is_live: false,
            above: None,
            is_read: false,
        }
    }
}

/// Where a record lies: by version and nonce; legacy ones, which are below all others, by the beginning of their hash.
fn place(at: NodeId) -> (Version, u32) {
    match at {
        NodeId::Current(key) => (key.version, key.nonce),
        NodeId::Legacy(hash) => (Version(0), hash.0.first_chunk().map_or(0, |begin| u32::from_be_bytes(*begin))),
    }
}

/// Heights fall strictly, so that a cycle of records ends.
fn check_height(at: NodeId, height: u8, above: u8) -> Result<(), ProveError> {
    if height < above { Ok(()) } else { Err(ProveError::Shape { at, what: "it is not lower than its parent" }) }
}
