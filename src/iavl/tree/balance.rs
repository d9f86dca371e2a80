//! Keeping changed nodes true and the tree balanced (`calcHeightAndSize`, `balance` and the rotations of
//! `mutable_tree.go`).

use super::{
    super::{NodeReader, node::MAX_HEIGHT},
    TreeError,
    resident::{Body, Limit, Link, Resident, Source},
};

/// Height and size of the two children of an inner node.
pub(super) struct Pair {
    left: (u8, u64),
    right: (u8, u64),
}

impl Pair {
    fn height(&self) -> Result<u8, TreeError> {
        let height = self.left.0.max(self.right.0).saturating_add(1);
        if height > MAX_HEIGHT { Err(TreeError::TooLarge("its height would exceed 127")) } else { Ok(height) }
    }

    fn size(&self) -> Result<u64, TreeError> {
        let size = self.left.1.checked_add(self.right.1).filter(|size| i64::try_from(*size).is_ok());
        size.ok_or(TreeError::TooLarge("it would have more than 2^63 - 1 leaves"))
    }

    /// How much higher the left child is.
    fn balance(&self) -> i16 {
        i16::from(self.left.0) - i16::from(self.right.0)
    }
}

impl<R: NodeReader> Source<'_, R> {
    /// Makes `node` one of the version being made, after one of its children has changed by `leaves` leaves. Reads the
    /// other child, which will be needed for the hash at the latest. `below` is what the node promised before.
    pub fn renew(&mut self, node: &mut Resident, below: Limit, leaves: i64) -> Result<(), TreeError> {
        let pair = self.children(node, below)?;
        let size = pair.size()?;
        if node.size.checked_add_signed(leaves) != Some(size) {
            return Err(TreeError::Shape { at: node.at(), what: "its size is not the sum of its children's" });
        }
        node.height = pair.height()?;
        node.size = size;
        node.stored = None;
        Ok(())
    }

    /// Restores the balance of a node whose children differ in height by two. The node and its children are new or in
    /// memory; at most one grandchild's children are read.
    pub fn balance(&mut self, link: &mut Link) -> Result<(), TreeError> {
        let node = self.in_memory(link)?;
        let below = node.limit(self.newest);
        let balance = self.children(node, below)?.balance();
        if balance.abs() <= 1 {
            return Ok(());
        }
        let left_heavy = balance > 1;
        let heavy = child(node, left_heavy)?;
        let heavy_node = self.in_memory(heavy)?;
        let below = heavy_node.limit(self.newest);
        let heavy_balance = self.children(heavy_node, below)?.balance();
        // A heavy child that leans to the inside is turned outwards first.
        if left_heavy && heavy_balance < 0 || !left_heavy && heavy_balance > 0 {
            self.rotate(heavy, !left_heavy)?;
        }
        self.rotate(link, left_heavy)
    }

    /// Turns the node behind `link` below its left (`from_left`) or right child, which takes its place.
    fn rotate(&mut self, link: &mut Link, from_left: bool) -> Result<(), TreeError> {
        let Link::Loaded(mut node) = std::mem::take(link) else { return Err(TreeError::Broken) };
        let Link::Loaded(mut pivot) = std::mem::take(child(&mut node, from_left)?) else {
            return Err(TreeError::Broken);
        };
        let below = pivot.limit(self.newest);
        self.children(&mut pivot, below)?;
        let inside = std::mem::take(child(&mut pivot, !from_left)?);
        *child(&mut node, from_left)? = inside;
        self.refit(&mut node)?;
        *child(&mut pivot, !from_left)? = Link::Loaded(node);
        self.refit(&mut pivot)?;
        *link = Link::Loaded(pivot);
        Ok(())
    }

    /// Height and size anew from children that are in memory.
    fn refit(&mut self, node: &mut Resident) -> Result<(), TreeError> {
        let below = node.limit(self.newest);
        let pair = self.children(node, below)?;
        node.height = pair.height()?;
        node.size = pair.size()?;
        node.stored = None;
        Ok(())
    }

    /// Reads the children of an inner node, if need be.
    pub fn children(&mut self, node: &mut Resident, below: Limit) -> Result<Pair, TreeError> {
        let at = node.at();
        let Body::Inner { left, right } = &mut node.body else {
            return Err(TreeError::Shape { at, what: "an inner node was expected, it is a leaf" });
        };
        let left = self.load(left, below)?;
        let left = (left.height, left.size);
        let right = self.load(right, below)?;
        Ok(Pair { left, right: (right.height, right.size) })
    }

    fn in_memory<'l>(&self, link: &'l mut Link) -> Result<&'l mut Resident, TreeError> {
        link.node_mut().ok_or(TreeError::Broken)
    }
}

fn child(node: &mut Resident, left_one: bool) -> Result<&mut Link, TreeError> {
    let at = node.at();
    match &mut node.body {
        Body::Inner { left, right } => Ok(if left_one { left } else { right }),
        Body::Leaf { .. } => Err(TreeError::Shape { at, what: "an inner node was expected, it is a leaf" }),
    }
}
