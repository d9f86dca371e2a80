//! Dropping nodes from memory: lowest levels first, which are the most and the least likely to be needed again; or all of them, bit by bit.

use super::{
    Tree,
    resident::{Body, Link, Resident},
};

impl Tree {
    /// Drops the tree, and asks after so many nodes whether to go on, which it returns; what is left then is dropped at once.
    ///
    /// Allocators sort what was freed when they are next asked for memory, on the thread that asks: of a million nodes that is noticed.
    pub fn dissolve(mut self, nodes: usize, go_on: &mut dyn FnMut() -> bool) -> bool {
        let mut dropped = 0usize;
        let mut left: Vec<Box<Resident>> = Vec::new();
        let take = |link: Link, left: &mut Vec<Box<Resident>>| {
            if let Link::Loaded(node) = link {
                left.push(node);
            }
        };
        self.root.take().into_iter().for_each(|root| take(root, &mut left));
        while let Some(node) = left.pop() {
            if let Body::Inner { left: below, right: beside } = node.body {
                take(beside, &mut left);
                take(below, &mut left);
            }
            dropped += 1;
            if dropped.is_multiple_of(nodes.max(1)) && !go_on() {
                return false;
            }
        }
        true
    }
}

/// Drops whole levels from the bottom until at most `keep` nodes are left; returns how many there are. The root and
/// nodes of an uncommitted version, with their children, always stay.
pub(super) fn trim(root: Option<&mut Link>, keep: usize) -> usize {
    let Some(root) = root else { return 0 };
    let mut levels = Vec::new();
    count(root, 0, &mut levels);
    let mut kept = 0usize;
    let depth = levels.iter().take_while(|&&nodes| {
        kept = kept.saturating_add(nodes);
        kept <= keep
    });
    let depth = depth.count().max(1);
    cut(root, depth)
}

/// Nodes in memory by depth.
fn count(link: &Link, depth: usize, levels: &mut Vec<usize>) {
    let Some(node) = link.node() else { return };
    match levels.get_mut(depth) {
        Some(level) => *level += 1,
        None => levels.push(1),
    }
    if let Body::Inner { left, right } = &node.body {
        count(left, depth + 1, levels);
        count(right, depth + 1, levels);
    }
}

/// Drops the stored nodes from `depth` levels below on; how many nodes are left.
fn cut(link: &mut Link, depth: usize) -> usize {
    let Link::Loaded(node) = link else { return 0 };
    if let (0, Some((at, _))) = (depth, node.stored) {
        *link = Link::Stored(at);
        return 0;
    }
    // A new node is hashed from its children at commit, so they stay with it.
    let below = if node.stored.is_none() { depth.saturating_sub(1).max(1) } else { depth.saturating_sub(1) };
    match &mut node.body {
        Body::Inner { left, right } => 1 + cut(left, below) + cut(right, below),
        Body::Leaf { .. } => 1,
    }
}
