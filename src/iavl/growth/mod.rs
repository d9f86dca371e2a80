//! What one store's tree grew by over a stretch of versions: read from the database that retains them, proven, and handed
//! on as SC records and as pairs.
//!
//! Owns the nodes that the versions of a stretch made, all in memory, and of the tree they grew on (`base`) only what
//! they touch: the nodes they replaced and the subtrees they kept. Native trees number the nodes of a version in pre-order, so
//! what a stretch made is one run of neighbouring records in store/v1, and the very records that SC needs: only where they
//! name a node of the base does SC know it by another key.
//!
//! Every hash is computed anew, from the new leaves and the hashes SC keeps of the subtrees that stay, up to each version's
//! root; inner keys, sizes and heights are checked against what lies below. So a stretch that proves is right whatever the
//! source was; one that does not tells little about who is at fault, which is for [`super::diff`] and [`super::tree`] to say.

mod base;
mod changes;
mod records;
#[cfg(test)]
mod tests;

use super::{
    Node, NodeId, NodeKey, NodeReader, ProveError, RootRecord,
    merkle::{inner_hash, leaf_hash},
    prove::{check_inner_key, check_shape, check_versions, decode, read_record},
};
use crate::model::{Hash, Version};
use base::Base;
use std::ops::Range;

/// The tree a stretch grew on.
#[derive(Clone, Copy, Debug)]
pub struct Trunk {
    /// Its version.
    pub version: Version,
    /// Its Merkle hash; [`Hash::EMPTY`] for the empty tree.
    pub hash: Hash,
    /// Where its root node lies in store/v1 and in SC; none for the empty tree. Without an SC both are where store/v1 has it.
    pub root: Option<(NodeId, NodeId)>,
}

/// Where records are read.
pub struct Readers<'a> {
    /// Of the versions of the stretch, in store/v1: in the order of their keys.
    pub grown: &'a mut dyn NodeReader,
    /// Of the tree they grew on, in store/v1.
    pub source: &'a mut dyn NodeReader,
    /// Of the same tree, in SC; or in store/v1, if there is no SC to write.
    pub target: &'a mut dyn NodeReader,
    /// Nodes of versions above it are taken to have the same keys in both, so that SC tells where they are in store/v1. If
    /// one has not, the stretch does not prove.
    pub same_after: Version,
}

/// A stretch of versions of one store. Buffers are kept from one stretch to the next.
#[derive(Default)]
pub struct Growth {
    from: Version,
    /// Records of leaves and keys of inner nodes, one after the other.
    bytes: Vec<u8>,
    nodes: Vec<Grown>,
    versions: Vec<Stage>,
    base: Base,
    /// Leaves that a version did not keep, by version and key.
    gone: Vec<Link>,
    /// What the base took last time, for every [`SHARE`] bytes of the versions.
    base_share: Option<usize>,
    /// Nodes of the version being read that are still to come, the next one last, and the height above them.
    unread: Vec<(Link, u8)>,
}

/// A node that a version of the stretch made.
#[derive(Clone, Copy)]
struct Grown {
    hash: Hash,
    size: u64,
    /// Where the record begins if it is a leaf, the key if it is an inner node.
    start: u32,
    length: u32,
    key_length: u32,
    left: Link,
    right: Link,
    /// The node that has the smallest key below.
    smallest: Link,
    /// The last version, counted from 1, whose new nodes keep it.
    kept: u32,
    key_at: u8,
    height: u8,
    /// Whether the newest version still has it.
    is_live: bool,
}

/// One version.
#[derive(Clone, Copy)]
struct Stage {
    root: Link,
    /// Where its nodes end in `nodes`.
    nodes: u32,
    /// Where the leaves it did not keep end in `gone`.
    gone: u32,
}

/// Names a node of the stretch, or one of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link(u32);

/// A link resolved.
enum Place {
    Nowhere,
    Grown(usize),
    Base(usize),
}

const BASE: u32 = 1 << 31;

impl Link {
    const NONE: Link = Link(u32::MAX);

    fn grown(index: usize) -> Link {
        Link(index as u32)
    }

    fn base(index: usize) -> Link {
        Link(index as u32 | BASE)
    }

    fn place(self) -> Place {
        match self {
            Link::NONE => Place::Nowhere,
            Link(index) if index & BASE == 0 => Place::Grown(index as usize),
            Link(index) => Place::Base((index ^ BASE) as usize),
        }
    }
}

/// The base's share of the memory is counted in this part of what the versions themselves take.
const SHARE: usize = 16;

/// Bytes that are enough for most records.
const ORDINARY_RECORD: usize = 4096;

/// What a node of the stretch costs beside its record.
const NODE_BYTES: usize = size_of::<Grown>() + size_of::<Link>();

impl Growth {
    /// Reads and proves the versions after the trunk, as many of them as fit the room in bytes, and returns how many; 0 if
    /// not even the first does. `roots` has their Merkle hashes as the chain recorded them.
    ///
    /// # Errors
    /// The first thing that does not prove, or has a form that only a reading node by node can follow (versions whose own
    /// nodes are legacy, trees numbered by an importer).
    pub fn read(
        &mut self,
        readers: &mut Readers<'_>,
        trunk: Trunk,
        roots: &[Hash],
        room: usize,
    ) -> Result<usize, ProveError> {
        self.from = trunk.version;
        self.bytes.clear();
        self.nodes.clear();
        self.versions.clear();
        self.gone.clear();
        self.base.clear();
        // What lies beyond 31 bits would need wider links; nobody has the memory to ask for it.
        let room = room.min(BASE as usize / 2);
        for number in 0..roots.len() {
            let at = Version(self.from.0 + number as u64 + 1);
            self.read_version(&mut *readers.grown, at, room)?;
            if self.size() > room {
                // The last one was not read to its end.
                self.keep_versions(number);
                break;
            }
            // What the base is going to take is known from the stretch before.
            let base = self.base_share.map_or(self.size(), |share| self.size() / SHARE * share);
            if self.size() + base > room {
                break;
            }
        }
        let grown = self.size();
        while !self.versions.is_empty() {
            self.mark_live();
            if self.base.read(readers, trunk, room.saturating_sub(self.size()))? {
                let base = self.size().saturating_sub(grown);
                // A little more than it took this time.
                self.base_share = Some(base / (grown / SHARE).max(1) + 2);
                self.prove(readers.target, roots)?;
                self.find_gone()?;
                return Ok(self.versions.len());
            }
            self.keep_versions(self.versions.len() / 2);
        }
        Ok(0)
    }

    /// How many records SC gets: one for each node, and one for each version that made none.
    #[must_use]
    pub fn record_count(&self) -> usize {
        let idle = (0..self.versions.len()).filter(|number| self.range(*number).is_empty());
        self.nodes.len() + idle.count()
    }

    /// About how many bytes they have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        const REST_OF_AN_INNER_NODE: usize = 48;
        self.bytes.len() + self.nodes.len() / 2 * REST_OF_AN_INNER_NODE
    }

    /// Bytes held.
    fn size(&self) -> usize {
        self.bytes.len() + self.nodes.len() * NODE_BYTES + self.base.size()
    }

    /// Forgets all but the first versions.
    fn keep_versions(&mut self, count: usize) {
        self.versions.truncate(count);
        let nodes = self.versions.last().map_or(0, |last| last.nodes as usize);
        let bytes = self.nodes.get(nodes).map(|first| first.start as usize);
        self.nodes.truncate(nodes);
        self.bytes.truncate(bytes.unwrap_or(self.bytes.len()));
    }

    /// The nodes of a version, counted from 0.
    fn range(&self, number: usize) -> Range<usize> {
        let begin = number.checked_sub(1).and_then(|before| self.versions.get(before)).map_or(0, |stage| stage.nodes);
        begin as usize..self.versions.get(number).map_or(begin, |stage| stage.nodes) as usize
    }

    /// Reads one version: its root, and the nodes it made, which lie one after the other.
    fn read_version(&mut self, reader: &mut dyn NodeReader, at: Version, room: usize) -> Result<(), ProveError> {
        let root_at = NodeId::Current(NodeKey::root_of(at));
        let start = self.bytes.len();
        read_record(reader, root_at, &mut self.bytes)?;
        let what = "its root record begins as a reference and is none";
        let record = self.bytes.get(start..).unwrap_or_default();
        let root = match RootRecord::decode(record).ok_or(ProveError::Shape { at: root_at, what })? {
            RootRecord::Empty => Link::NONE,
            RootRecord::Reference(target) => {
                self.bytes.truncate(start);
                if target.version >= at {
                    return Err(ProveError::Shape { at: root_at, what: "its root is not older than itself" });
                }
                self.link(target.into())?
            }
            RootRecord::Node => {
                let root = self.nodes.len();
                self.unread.clear();
                self.unread.push((Link::grown(root), u8::MAX));
                let mut record = Some(start);
                while let Some((next, above)) = self.unread.pop() {
                    // What comes next in pre-order must be what comes next in the order of numbers; otherwise nobody numbered
                    // this tree as it grew.
                    if next != Link::grown(self.nodes.len()) {
                        return Err(ProveError::Shape { at: root_at, what: "its nodes are not numbered in pre-order" });
                    }
                    let key = NodeKey::new(at, (self.nodes.len() - root) as u32 + 1);
                    let start = match record.take() {
                        Some(start) => start,
                        None => {
                            let start = self.bytes.len();
                            read_record(reader, key.into(), &mut self.bytes)?;
                            start
                        }
                    };
                    self.take(key, start, above)?;
                    if self.size() > room {
                        break;
                    }
                }
                Link::grown(root)
            }
        };
        self.versions.push(Stage { root, nodes: self.nodes.len() as u32, gone: 0 });
        Ok(())
    }

    /// Puts a node whose record was read to the others, and has those of its children read that are of the same version.
    fn take(&mut self, at: NodeKey, start: usize, above: u8) -> Result<(), ProveError> {
        let record = self.bytes.get(start..).unwrap_or_default();
        let key_at = |key: &[u8]| (key.as_ptr() as usize - record.as_ptr() as usize) as u8;
        let id = NodeId::Current(at);
        let large = |_| ProveError::Shape { at: id, what: "it is too large" };
        let mut node = Grown {
            hash: Hash::EMPTY,
            size: 1,
            start: u32::try_from(start).map_err(large)?,
            length: u32::try_from(record.len()).map_err(large)?,
            key_length: 0,
            left: Link::NONE,
            right: Link::NONE,
            smallest: Link::grown(self.nodes.len()),
            kept: 0,
            key_at: 0,
            height: 0,
            is_live: false,
        };
        match decode(id, record)?.1 {
            Node::Leaf { key, value } => {
                if record.len() != Node::leaf_len(key, value) {
                    return Err(ProveError::Shape { at: id, what: "its integers are longer than they need to be" });
                }
                (node.key_at, node.key_length) = (key_at(key), key.len() as u32);
                node.hash = leaf_hash(at.version, key, value);
            }
            Node::Inner { height, size, key, hash, left, right } => {
                let older = |child: NodeId| child.key().map_or(at.version, |key| key.version);
                check_versions(id, at.version, older(left), older(right))?;
                // All but the key is in the node from here on.
                let from = start + usize::from(key_at(key));
                (node.hash, node.size, node.height) = (hash, size, height);
                (node.key_length, node.length) = (key.len() as u32, key.len() as u32);
                self.bytes.copy_within(from..from + node.length as usize, start);
                self.bytes.truncate(start + node.length as usize);
                node.right = self.child(at, right, height)?;
                node.left = self.child(at, left, height)?;
            }
        }
        if node.height >= above {
            return Err(ProveError::Shape { at: id, what: "it is not lower than its parent" });
        }
        make_room(&mut self.nodes, 1);
        self.nodes.push(node);
        // For the next record.
        make_room(&mut self.bytes, ORDINARY_RECORD);
        Ok(())
    }

    /// A link to the child of a node. One of the same version is where it will be once it is read; it is read next.
    fn child(&mut self, at: NodeKey, child: NodeId, height: u8) -> Result<Link, ProveError> {
        let child = match child {
            NodeId::Current(child) if child.version == at.version => child,
            older => return self.link(older),
        };
        let what = "a child of its version is not numbered after it";
        let behind = child.nonce.checked_sub(at.nonce).filter(|behind| *behind > 0);
        let place = behind.and_then(|behind| (self.nodes.len() as u32).checked_add(behind));
        let link = place.filter(|place| *place < BASE).map(Link).ok_or(ProveError::Shape { at: at.into(), what })?;
        self.unread.push((link, height));
        Ok(link)
    }

    /// A link to a node of an older version. A legacy one is of the base.
    fn link(&mut self, older: NodeId) -> Result<Link, ProveError> {
        let of_stretch = |key: NodeKey| Some((key.version.0.checked_sub(self.from.0 + 1)?, key.nonce));
        let Some((number, nonce)) = older.key().and_then(of_stretch) else {
            return Ok(Link::base(self.base.want(older)));
        };
        let nodes = self.range(number as usize);
        let index = nodes.start + nonce.saturating_sub(1) as usize;
        if nodes.contains(&index) { Ok(Link::grown(index)) } else { Err(ProveError::Missing(older)) }
    }

    /// Marks what is still there in the newest version: nothing below such a node of the base was replaced.
    fn mark_live(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.is_live = false);
        self.base.forget_live();
        if let Some(root) = self.versions.last().map(|last| last.root) {
            self.set_live(root);
        }
        // The newest version first, and parents come before their children.
        for number in (0..self.versions.len()).rev() {
            for index in self.range(number) {
                if let Some(&Grown { is_live: true, left, right, .. }) = self.nodes.get(index) {
                    self.set_live(left);
                    self.set_live(right);
                }
            }
        }
    }

    fn set_live(&mut self, link: Link) {
        match link.place() {
            Place::Grown(index) => {
                if let Some(node) = self.nodes.get_mut(index) {
                    node.is_live = true;
                }
            }
            Place::Base(index) => self.base.set_live(index),
            Place::Nowhere => {}
        }
    }

    /// Proves every node from those below it, every version from the one before.
    fn prove(&mut self, target: &mut dyn NodeReader, roots: &[Hash]) -> Result<(), ProveError> {
        self.base.prove()?;
        for (number, expected) in (0..self.versions.len()).zip(roots) {
            let version = Version(self.from.0 + number as u64 + 1);
            let nodes = self.range(number);
            let first = nodes.start;
            // Children before their parents.
            for index in nodes.rev() {
                self.prove_node(target, NodeKey::new(version, (index - first) as u32 + 1), index)?;
            }
            let root = self.versions.get(number).map_or(Link::NONE, |stage| stage.root);
            let found = if root == Link::NONE { Hash::EMPTY } else { self.below(root)?.hash };
            if found != *expected {
                return Err(ProveError::HashMismatch {
                    at: NodeKey::root_of(version).into(),
                    expected: *expected,
                    found,
                });
            }
        }
        Ok(())
    }

    fn prove_node(&mut self, target: &mut dyn NodeReader, at: NodeKey, index: usize) -> Result<(), ProveError> {
        let id = NodeId::Current(at);
        let Some(&node) = self.nodes.get(index) else { return Err(ProveError::Missing(id)) };
        if node.height == 0 {
            return Ok(());
        }
        let (left, right) = (self.below(node.left)?, self.below(node.right)?);
        check_shape(id, node.height, node.size, (left.height, left.size), (right.height, right.size))?;
        let found = inner_hash(node.height, node.size, at.version, &left.hash, &right.hash);
        if found != node.hash {
            return Err(ProveError::HashMismatch { at: id, expected: node.hash, found });
        }
        if self.smallest(right.smallest).is_none() {
            self.base.find_first_key(target)?;
        }
        let smallest = self.smallest(right.smallest).ok_or(ProveError::Missing(id))?;
        check_inner_key(id, self.key(&node), smallest)?;
        if let Some(node) = self.nodes.get_mut(index) {
            node.smallest = left.smallest;
        }
        Ok(())
    }

    /// What a node's parent has to know of it.
    fn below(&self, link: Link) -> Result<Below, ProveError> {
        let nowhere = ProveError::Missing(NodeKey::root_of(self.from).into());
        match link.place() {
            Place::Nowhere => Err(nowhere),
            Place::Base(index) => self.base.below(index),
            Place::Grown(index) => self.nodes.get(index).ok_or(nowhere).map(|node| Below {
                hash: node.hash,
                size: node.size,
                height: node.height,
                smallest: node.smallest,
            }),
        }
    }

    /// The smallest key that a link for it leads to; none for the left edge of the base as long as nobody looked.
    fn smallest(&self, link: Link) -> Option<&[u8]> {
        match link.place() {
            Place::Nowhere => None,
            Place::Grown(index) => self.nodes.get(index).map(|node| self.key(node)),
            Place::Base(index) => self.base.smallest(index),
        }
    }

    fn record(&self, node: &Grown) -> &[u8] {
        let start = node.start as usize;
        self.bytes.get(start..start + node.length as usize).unwrap_or_default()
    }

    fn key(&self, node: &Grown) -> &[u8] {
        let start = usize::from(node.key_at);
        self.record(node).get(start..start + node.key_length as usize).unwrap_or_default()
    }
}

/// Makes a buffer a quarter larger when it is full: doubling would take memory that nobody counts.
fn make_room<T>(buffer: &mut Vec<T>, more: usize) {
    if buffer.capacity() - buffer.len() < more {
        buffer.reserve_exact(more.max(buffer.capacity() / 4));
    }
}

/// What a node's parent has to know of it.
struct Below {
    hash: Hash,
    size: u64,
    height: u8,
    smallest: Link,
}
