//! Reading nodes into memory before anything changes, for whoever is not to wait for reads when it does.

use super::{
    super::NodeReader,
    Tree, TreeError,
    resident::{Body, Limit, Link, Source},
};

impl Tree {
    /// Reads what setting or removing a key reads: the nodes on the way to it, and those beside them.
    ///
    /// # Errors
    /// As [`Tree::apply`].
    pub fn touch<R: NodeReader>(&mut self, reader: &mut R, key: &[u8]) -> Result<(), TreeError> {
        self.whole(|tree| {
            let (root, mut source) = tree.split(reader);
            let limit = Limit::root(source.newest);
            root.as_mut().map_or(Ok(()), |root| source.touch(root, limit, key))
        })
    }

    /// Reads one level after the other, from the root down, while no more than `most` nodes are in memory and `go_on` says so, which
    /// is asked before each read.
    ///
    /// # Errors
    /// As [`Tree::apply`].
    pub fn widen<R: NodeReader>(
        &mut self,
        reader: &mut R,
        most: usize,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), TreeError> {
        self.whole(|tree| {
            let (Some(root), mut source) = tree.split(reader) else { return Ok(()) };
            let limit = Limit::root(source.newest);
            let mut widening = Widening { source: &mut source, most, go_on };
            let mut depth = 0;
            while widening.level(root, limit, depth)? {
                depth += 1;
            }
            Ok(())
        })
    }
}

impl<R: NodeReader> Source<'_, R> {
    /// Depth of the recursion is bounded by the greatest height.
    fn touch(&mut self, link: &mut Link, limit: Limit, key: &[u8]) -> Result<(), TreeError> {
        let newest = self.newest;
        let node = self.load(link, limit)?;
        let below = node.limit(newest);
        if let Body::Leaf { .. } = node.body {
            return Ok(());
        }
        self.children(node, below)?;
        let goes_left = *key < *node.key;
        match &mut node.body {
            Body::Inner { left, right } => self.touch(if goes_left { left } else { right }, below, key),
            Body::Leaf { .. } => Ok(()),
        }
    }
}

struct Widening<'s, 'a, R> {
    source: &'s mut Source<'a, R>,
    most: usize,
    go_on: &'s dyn Fn() -> bool,
}

impl<R: NodeReader> Widening<'_, '_, R> {
    /// Has the nodes so far below a link in memory; whether there may be any below those, and room for them.
    fn level(&mut self, link: &mut Link, limit: Limit, depth: usize) -> Result<bool, TreeError> {
        if link.node().is_none() && (*self.source.resident >= self.most || !(self.go_on)()) {
            return Ok(false);
        }
        let newest = self.source.newest;
        let node = self.source.load(link, limit)?;
        let below = node.limit(newest);
        match &mut node.body {
            Body::Leaf { .. } => Ok(false),
            Body::Inner { .. } if depth == 0 => Ok(true),
            Body::Inner { left, right } => {
                let (left, right) = (self.level(left, below, depth - 1)?, self.level(right, below, depth - 1)?);
                Ok(left || right)
            }
        }
    }
}
