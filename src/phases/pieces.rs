//! Large values on their way into the target: proven nodes of neighbouring chunks, as they come, gathered until they are worth
//! writing. Owns what is gathered; hands out what makes it durable.

use super::{PhaseError, restore::NO_NONCE};
use crate::{
    iavl::{ProvenNode, numbering},
    model::{Chunk, Digest, RecordDigest, StoreKey},
    target::{Commitment, Landing, PairLoader, RecordRun, TargetError},
};

/// Takes the proven nodes of one chunk after the other.
pub(super) struct Pieces<'s, 'a> {
    pub(super) sc: Option<&'a dyn Commitment>,
    pub(super) store: &'s StoreKey,
    /// Records are written when there are so many bytes of them.
    pub(super) most: usize,
    /// Whether SC need not keep anything aside: [`Commitment::load`].
    pub(super) whole: bool,
    pub(super) records: &'s mut RecordRun,
    pub(super) pairs: Option<Box<dyn PairLoader<'a> + 'a>>,
    pub(super) digest: &'s mut RecordDigest,
    /// Of the next node.
    pub(super) ordinal: u64,
    /// Bytes of the pairs of the chunk.
    pub(super) bytes: u64,
    pub(super) landings: Vec<Landing<'a>>,
    pub(super) failed: Option<PhaseError>,
}

impl<'a> Pieces<'_, 'a> {
    /// The nodes of this chunk are the next ones.
    pub(super) fn begin(&mut self, chunk: &Chunk) {
        self.ordinal = chunk.first_ordinal;
        self.bytes = 0;
    }

    /// The bytes of the chunk's pairs, and their digest.
    pub(super) fn end(&mut self) -> (u64, Digest) {
        (self.bytes, self.digest.take())
    }

    /// Takes a node; false if it could not be written.
    pub(super) fn take(&mut self, node: &ProvenNode<'_>) -> bool {
        let taken = self.try_take(node);
        taken.map_err(|error| self.failed = Some(error)).is_ok()
    }

    fn try_take(&mut self, node: &ProvenNode<'_>) -> Result<(), PhaseError> {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        if self.sc.is_some() {
            self.records.push(|out| numbering::encode_record(node, ordinal, out)).ok_or(NO_NONCE)?;
            if self.records.size() >= self.most {
                // There is more to come.
                self.load_records(self.whole)?;
            }
        }
        if node.children.is_none() {
            self.bytes += (node.key.len() + node.value.len()) as u64;
            if let Some(pairs) = &mut self.pairs {
                pairs.put(node.key, node.value)?;
                self.digest.add(node.key);
                self.digest.add(node.value);
            }
        }
        Ok(())
    }

    fn load_records(&mut self, whole: bool) -> Result<(), TargetError> {
        if let Some(sc) = self.sc {
            self.landings.push(sc.load(self.store, &mut self.records.sorted(), whole)?);
            self.records.clear();
        }
        Ok(())
    }

    /// Writes what is left. `whole` says that all of the store was taken.
    pub(super) fn finish(mut self, whole: bool) -> Result<Vec<Landing<'a>>, PhaseError> {
        let whole = self.whole || whole && self.landings.is_empty();
        self.load_records(whole)?;
        if let Some(pairs) = self.pairs {
            self.landings.push(pairs.finish()?);
        }
        Ok(self.landings)
    }
}
