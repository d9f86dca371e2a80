//! The phases: carrying out a step. Each takes what the machine asked for, works between source and target, and says
//! what has become true; the driver records it.
//!
//! Owns all work between source and target and every comparison between them. Knows no journal: what must survive goes
//! out through the callbacks and return values.

pub mod conclude;
mod error;
pub mod history;
pub mod join;
mod parallel;
mod pieces;
pub mod prove;
mod read_back;
pub mod restore;
pub mod snapshot;
pub mod switch;
pub mod sync;

use crate::{
    governor::{Governor, Stopped},
    iavl::LEAF_BYTES,
    model::{Chunk, ChunkId, Manifest, StoreEntry},
    plan::Tuning,
    progress::Progress,
    target::Target,
};

pub use error::PhaseError;
pub(crate) use parallel::in_parallel;

/// What every phase works with.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// The snapshot's stores.
    pub manifest: &'a Manifest,
    /// Raised as work gets done.
    pub progress: &'a Progress,
    /// Asked between units of work whether to go on, and when.
    pub governor: &'a Governor,
    /// How many hands, how much memory.
    pub tuning: Tuning,
}

impl Work<'_> {
    fn store(&self, chunk: &Chunk) -> Result<&StoreEntry, PhaseError> {
        self.manifest.stores.get(chunk.store as usize).ok_or(PhaseError::Bug("a chunk of a store that does not exist"))
    }

    /// Bytes one worker may hold of the subtrees it works on.
    fn gulp_bytes(&self) -> usize {
        self.tuning.gulps() / self.tuning.workers.max(1)
    }

    /// Leaves that one worker can prove in one sweep over the target, with keys of ordinary length.
    #[must_use]
    pub fn sweep_leaves(&self) -> u64 {
        const KEY_BYTES: usize = 64;
        (self.gulp_bytes() / (LEAF_BYTES + KEY_BYTES)) as u64
    }

    /// Asked between two units of work. What others need to go on is not held meanwhile: neither locks, nor results that are
    /// not handed over.
    fn turn(&self) -> Result<(), PhaseError> {
        Ok(self.governor.turn()?)
    }

    /// Says that chunks with so many bytes of pairs were moved: their trees `trees` times, and besides them what each part of the
    /// target has of them.
    fn spend_chunks(&self, target: &Target, trees: u64, pairs: u64, leaves: u64) {
        /// A leaf's record besides key and value, and that of an inner node, about.
        const NODES: u64 = 100;
        let tree = pairs + leaves * NODES;
        let trees = trees + u64::from(target.sc.is_some());
        self.governor.spend(tree * trees + if target.ss.is_some() { pairs } else { 0 });
    }

    /// Says that a tree's records were read, so many bytes of them, and what follows from them was written.
    fn spend_changes(&self, sc: bool, ss: bool, bytes: u64) {
        self.governor.spend(bytes * (1 + u64::from(sc) + u64::from(ss)));
    }
}

impl From<Stopped> for PhaseError {
    fn from(_: Stopped) -> PhaseError {
        PhaseError::Stopped
    }
}

/// Chunks that are done together by one worker: neighbours in one store.
type Span = Vec<(ChunkId, Chunk)>;

/// Puts work in the order in which to begin it: the largest first, so that no worker is left alone with it at the end.
fn largest_first<T>(work: &mut [T], leaves: impl Fn(&T) -> u64) {
    work.sort_by_key(|item| std::cmp::Reverse(leaves(item)));
}

/// Cuts open chunks, ascending by number, into spans of neighbours of at most about this weight.
fn spans(open: Vec<(ChunkId, Chunk)>, most: u64, weight: impl Fn(&Chunk) -> u64) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut gathered = 0;
    for (id, chunk) in open {
        let follows = spans
            .last()
            .and_then(|span| span.last())
            .is_some_and(|(last, before)| last + 1 == id && before.store == chunk.store);
        let weight = weight(&chunk);
        if !follows || gathered + weight > most {
            spans.push(Vec::new());
            gathered = 0;
        }
        gathered += weight;
        if let Some(span) = spans.last_mut() {
            span.push((id, chunk));
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Hash, Version};

    fn chunk(store: u32, leaves: u64) -> Chunk {
        Chunk { store, version: Version(1), nonce: Some(1), hash: Hash::EMPTY, height: 0, leaves, first_ordinal: 0 }
    }

    #[test]
    fn spans_are_neighbours_in_one_store_within_the_bound() {
        let open = [(0, 0, 10), (1, 0, 10), (2, 0, 10), (3, 1, 5), (5, 1, 5), (6, 1, 5), (7, 1, 500)];
        let open = open.map(|(id, store, leaves)| (id, chunk(store, leaves))).to_vec();
        let ids: Vec<Vec<u64>> = spans(open, 20, |chunk| chunk.leaves)
            .into_iter()
            .map(|span| span.into_iter().map(|(id, _)| id).collect())
            .collect();
        assert_eq!(ids, [vec![0, 1], vec![2], vec![3], vec![5, 6], vec![7]]);
    }
}
