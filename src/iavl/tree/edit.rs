//! Setting and removing one key (`Set` and `Remove` of `mutable_tree.go`), in place from the root down and back up.

use super::{
    super::NodeReader,
    Tree, TreeError,
    resident::{Body, Limit, Link, Resident, Source},
};
use std::cmp::Ordering;

/// What became of a subtree when a key was removed from it.
enum Removed {
    /// Nothing: the key is not in it.
    Absent,
    /// It was the leaf with that key.
    Whole,
    /// It lost the leaf. If that was its smallest, the smallest key now; only known until a parent takes it up.
    Part(Option<Box<[u8]>>),
}

impl Tree {
    pub(super) fn set<R: NodeReader>(&mut self, reader: &mut R, key: &[u8], value: &[u8]) -> Result<(), TreeError> {
        let (root, mut source) = self.split(reader);
        match root {
            Some(root) => {
                let limit = Limit::root(source.newest);
                source.set(root, limit, key, value)?;
            }
            None => {
                *root = Some(Link::Loaded(Box::new(Resident::new_leaf(key, value))));
                *source.resident += 1;
            }
        }
        Ok(())
    }

    pub(super) fn remove<R: NodeReader>(&mut self, reader: &mut R, key: &[u8]) -> Result<(), TreeError> {
        let (root, mut source) = self.split(reader);
        if let Some(link) = root {
            let limit = Limit::root(source.newest);
            if matches!(source.remove(link, limit, key)?, Removed::Whole) {
                *root = None;
            }
        }
        Ok(())
    }
}

impl<R: NodeReader> Source<'_, R> {
    /// Sets a key below `link`; whether a leaf was added. Depth of the recursion is bounded by the greatest height.
    fn set(&mut self, link: &mut Link, limit: Limit, key: &[u8], value: &[u8]) -> Result<bool, TreeError> {
        let newest = self.newest;
        let node = self.load(link, limit)?;
        let below = node.limit(newest);
        let Resident { key: node_key, body, .. } = node;
        let Body::Inner { left, right } = body else {
            let order = key.cmp(node_key);
            if order == Ordering::Equal {
                node.set_value(value);
                return Ok(false);
            }
            self.split_leaf(link, order, key, value);
            return Ok(true);
        };
        let child = if *key < **node_key { left } else { right };
        let added = self.set(child, below, key, value)?;
        self.renew(node, below, i64::from(added))?;
        if added {
            self.balance(link)?;
        }
        Ok(added)
    }

    /// Puts an inner node with the old leaf and a new one where the old leaf was.
    fn split_leaf(&mut self, link: &mut Link, order: Ordering, key: &[u8], value: &[u8]) {
        let old = std::mem::take(link);
        let new = Link::Loaded(Box::new(Resident::new_leaf(key, value)));
        let larger: Box<[u8]> = match old.node() {
            Some(old) if order == Ordering::Less => old.key.clone(),
            _ => key.into(),
        };
        let (left, right) = if order == Ordering::Less { (new, old) } else { (old, new) };
        let inner = Resident { stored: None, height: 1, size: 2, key: larger, body: Body::Inner { left, right } };
        *link = Link::Loaded(Box::new(inner));
        *self.resident += 2;
    }

    fn remove(&mut self, link: &mut Link, limit: Limit, key: &[u8]) -> Result<Removed, TreeError> {
        let newest = self.newest;
        let node = self.load(link, limit)?;
        let below = node.limit(newest);
        let Resident { key: node_key, body, .. } = node;
        let Body::Inner { left, right } = body else {
            if **node_key != *key {
                return Ok(Removed::Absent);
            }
            *self.resident = self.resident.saturating_sub(1);
            return Ok(Removed::Whole);
        };
        let goes_left = *key < **node_key;
        let removed = self.remove(if goes_left { &mut *left } else { &mut *right }, below, key)?;
        let smallest = match removed {
            Removed::Absent => return Ok(Removed::Absent),
            Removed::Whole => {
                // The sibling takes the place of this node. Its own key is the smallest on the right side.
                let (mut sibling, smallest) = if goes_left {
                    (std::mem::take(right), Some(std::mem::take(node_key)))
                } else {
                    (std::mem::take(left), None)
                };
                let (at, size) = (node.at(), node.size);
                if self.load(&mut sibling, below)?.size.checked_add(1) != Some(size) {
                    return Err(TreeError::Shape { at, what: "its size is not the sum of its children's" });
                }
                *link = sibling;
                *self.resident = self.resident.saturating_sub(1);
                return Ok(Removed::Part(smallest));
            }
            Removed::Part(smallest) => smallest,
        };
        let smallest = match smallest {
            Some(smallest) if !goes_left => {
                *node_key = smallest;
                None
            }
            smallest => smallest,
        };
        self.renew(node, below, -1)?;
        self.balance(link)?;
        Ok(Removed::Part(smallest))
    }
}
