//! Legacy nodes of a forest: kept under their hashes, which lie in no order a tree could have.
//!
//! They are read level by level from the top, each level in the order of its hashes: so the reader goes over the store in one
//! direction, and what lies near each other is read together. All of them lie below the current nodes.

use super::Forest;
use crate::{
    iavl::{NodeId, NodeReader, ProveError},
    model::{Hash, Version},
};
use std::{cmp::Reverse, collections::HashMap};

/// The legacy nodes that are to be read next.
#[derive(Default)]
pub(super) struct Level {
    /// The beginning of the hash, which orders them nearly as the whole would, the slot, and the height to stay below.
    nodes: Vec<(u64, u32, u8)>,
    /// Where in the forest's versions each version is.
    versions: HashMap<Version, u32>,
    /// Memory for the nodes of two levels.
    most: usize,
}

impl Level {
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.versions.clear();
        self.most = 0;
    }

    pub fn push(&mut self, hash: &Hash, index: u32, below: u8) {
        let begin = hash.0.first_chunk().map_or(0, |begin| u64::from_be_bytes(*begin));
        self.nodes.push((begin, index, below));
        self.most = self.most.max(self.nodes.len());
    }

    /// What it takes beside the forest's own buffers.
    pub fn bytes(&self) -> usize {
        self.most * 2 * size_of::<(u64, u32, u8)>()
    }

    /// The place of a version among the versions of the forest.
    pub fn version(&mut self, version: Version, versions: &mut Vec<(Version, u32)>) -> u32 {
        *self.versions.entry(version).or_insert_with(|| {
            versions.push((version, 0));
            versions.len() as u32 - 1
        })
    }
}

impl Forest {
    /// Reads the legacy nodes that the current ones name, and all below; false if they do not fit the budget.
    pub(super) fn read_legacy<R: NodeReader + ?Sized>(
        &mut self,
        reader: &mut R,
        budget: usize,
    ) -> Result<bool, ProveError> {
        if self.legacy.nodes.is_empty() {
            return Ok(true);
        }
        let known = self.versions.iter().zip(0..).map(|((version, _), index)| (*version, index));
        self.legacy.versions.extend(known);
        let mut level = Vec::new();
        while !self.legacy.nodes.is_empty() {
            std::mem::swap(&mut level, &mut self.legacy.nodes);
            level.sort_unstable();
            for (_, index, below) in level.drain(..) {
                let hash = self.slot(index)?.hash;
                self.read_slot(reader, NodeId::Legacy(hash), 0, (index, below), false)?;
                if self.bytes() > budget && self.slots.len() > 1 {
                    return Ok(false);
                }
            }
        }
        self.sort_versions();
        Ok(true)
    }

    /// Puts the versions in the order that everything else relies on.
    fn sort_versions(&mut self) {
        let mut order: Vec<u32> = (0..self.versions.len() as u32).collect();
        let version = |index: &u32| self.versions.get(*index as usize).map(|(version, _)| *version);
        order.sort_unstable_by_key(|index| Reverse(version(index)));
        let mut places = vec![0; order.len()];
        for (place, index) in (0..).zip(&order) {
            if let Some(at) = places.get_mut(*index as usize) {
                *at = place;
            }
        }
        for slot in &mut self.slots {
            slot.version = places.get(slot.version as usize).copied().unwrap_or(0);
        }
        self.versions = order.iter().filter_map(|index| self.versions.get(*index as usize).copied()).collect();
    }
}
