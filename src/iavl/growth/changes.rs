//! The pairs that each version of a stretch set or removed: its new leaves, and the leaves it did not keep.

use super::{
    super::{NodeKey, ProveError, varint::Fields},
    Grown, Growth, Link, Place,
};
use crate::model::ChangeRef;

/// A node that no later version has.
const GONE: u32 = u32::MAX;

impl Growth {
    /// What a version, counted from 0, changed: in ascending order of keys, values set to what they were included, as
    /// [`crate::iavl::diff`] gives it.
    pub fn changes(&self, number: usize) -> impl Iterator<Item = ChangeRef<'_>> {
        let begin = number.checked_sub(1).and_then(|before| self.versions.get(before)).map_or(0, |stage| stage.gone);
        let end = self.versions.get(number).map_or(begin, |stage| stage.gone);
        let gone = self.gone.get(begin as usize..end as usize).unwrap_or_default();
        let mut removed = gone.iter().filter_map(|link| self.smallest(*link)).peekable();
        // In pre-order leaves come in the order of their keys.
        let nodes = self.nodes.get(self.range(number)).unwrap_or_default();
        let mut set = nodes.iter().filter(|node| node.height == 0).peekable();
        std::iter::from_fn(move || {
            loop {
                let key = set.peek().map(|node| self.key(node));
                match (removed.peek(), key) {
                    (Some(gone), Some(key)) if *gone == key => removed.next(),
                    (Some(gone), Some(key)) if *gone > key => break,
                    (Some(_), _) => return removed.next().map(|key| ChangeRef { key, value: None }),
                    (None, _) => break,
                };
            }
            set.next().map(|node| ChangeRef { key: self.key(node), value: Some(self.value(node)) })
        })
    }

    /// Finds, version by version, the leaves of the version before that it did not keep.
    pub(super) fn find_gone(&mut self) -> Result<(), ProveError> {
        let mut before = self.base.root();
        let mut unseen = Vec::new();
        for number in 0..self.versions.len() {
            let mark = number as u32 + 1;
            let nodes = self.range(number);
            for index in nodes.clone() {
                let Some(&Grown { left, right, .. }) = self.nodes.get(index) else { continue };
                for child in [left, right] {
                    // What it made itself was not there before.
                    if !matches!(child.place(), Place::Grown(child) if child >= nodes.start) {
                        self.set_kept(child, mark);
                    }
                }
            }
            let root = self.versions.get(number).map_or(Link::NONE, |stage| stage.root);
            self.set_kept(root, mark);
            unseen.push(std::mem::replace(&mut before, root));
            while let Some(link) = unseen.pop() {
                let (is_leaf, left, right) = match link.place() {
                    Place::Nowhere => continue,
                    Place::Grown(index) => self.nodes.get(index).map(|node| (node.height == 0, node.left, node.right)),
                    Place::Base(index) => self.base.children(index),
                }
                .unwrap_or((false, Link::NONE, Link::NONE));
                let kept = self.kept(link);
                match kept.as_deref() {
                    Some(kept) if *kept == mark => continue,
                    Some(&GONE) | None => {
                        return Err(ProveError::Shape {
                            at: NodeKey::root_of(self.from).into(),
                            what: "two parents name a node",
                        });
                    }
                    Some(_) => {}
                }
                if let Some(kept) = kept {
                    *kept = GONE;
                }
                if is_leaf {
                    self.gone.push(link);
                    continue;
                }
                unseen.push(right);
                unseen.push(left);
            }
            let gone = self.gone.len() as u32;
            if let Some(stage) = self.versions.get_mut(number) {
                stage.gone = gone;
            }
        }
        Ok(())
    }

    fn set_kept(&mut self, link: Link, mark: u32) {
        if let Some(kept) = self.kept(link) {
            *kept = mark;
        }
    }

    fn kept(&mut self, link: Link) -> Option<&mut u32> {
        match link.place() {
            Place::Nowhere => None,
            Place::Grown(index) => self.nodes.get_mut(index).map(|node| &mut node.kept),
            Place::Base(index) => self.base.kept(index),
        }
    }

    fn value(&self, node: &Grown) -> &[u8] {
        let behind = usize::from(node.key_at) + node.key_length as usize;
        Fields::new(self.record(node).get(behind..).unwrap_or_default()).bytes().unwrap_or_default()
    }
}
