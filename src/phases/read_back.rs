//! Reading back before all is restored: what has its final shape already, so that no worker waits for the last ones.
//!
//! Owns the parts this is done in, and what follows which. A store's trees come first, in as few walks as memory allows, since records
//! of all its chunks lie between each other; its pairs after them, in pieces so small that all workers end at about the same time.
//! What does not prove is left to [`super::prove::run`], which says what is wrong.

use super::{
    PhaseError, Work,
    prove::{Trees, Written, check_pairs, spans},
};
use crate::{
    iavl::Sweep,
    model::{Chunk, ChunkId, Restored, Version},
    progress::raise,
    target::Target,
};

/// Chunks of one store, neighbours, of which a part is to be read back.
pub(super) enum Part {
    Trees(Vec<Written>),
    Pairs(Vec<Written>),
}

/// What came of it.
pub(super) enum Outcome {
    /// This is to be read back too.
    Next(Vec<Part>),
    /// All is.
    Proven(Vec<ChunkId>),
}

/// Where to begin with the chunks of a store that are in their final shape: all it has.
pub(super) fn begin(work: Work<'_>, chunks: Vec<(ChunkId, Chunk, Restored)>) -> Vec<Part> {
    spans(work, chunks, |_| true).into_iter().map(Part::Trees).collect()
}

/// Reads a part back.
///
/// # Errors
/// The target could not be read; or the request to stop.
pub(super) fn carry_out(
    work: Work<'_>,
    target: &Target,
    height: Version,
    part: Part,
    buffers: &mut Sweep,
) -> Result<Outcome, PhaseError> {
    match part {
        Part::Trees(span) => read_trees(work, target, span, buffers).map(|good| Outcome::Next(pieces(work, good))),
        Part::Pairs(span) => read_pairs(work, target, height, &span).map(Outcome::Proven),
    }
}

fn read_trees(
    work: Work<'_>,
    target: &Target,
    span: Vec<Written>,
    buffers: &mut Sweep,
) -> Result<Vec<Written>, PhaseError> {
    let Some(first) = span.first() else { return Ok(span) };
    let store = work.store(&first.chunk)?.name.clone();
    let trees = Trees::sweep(target, &store, &span, buffers)?;
    let mut good = Vec::with_capacity(span.len());
    for (nth, written) in span.into_iter().enumerate() {
        work.turn()?;
        if trees.wrong(work, target, &store, nth, &written)?.is_none() {
            good.push(written);
        }
    }
    Ok(good)
}

/// Cuts what follows into pieces.
fn pieces(work: Work<'_>, span: Vec<Written>) -> Vec<Part> {
    /// Pieces that each worker would have if all was read back so.
    const EACH: u64 = 16;
    let most = work.manifest.leaves() / (EACH * work.tuning.workers.max(1) as u64);
    let (mut pieces, mut piece, mut leaves) = (Vec::new(), Vec::new(), 0);
    for written in span {
        if !piece.is_empty() && leaves + written.chunk.leaves > most {
            pieces.push(Part::Pairs(std::mem::take(&mut piece)));
            leaves = 0;
        }
        leaves += written.chunk.leaves;
        piece.push(written);
    }
    if !piece.is_empty() {
        pieces.push(Part::Pairs(piece));
    }
    pieces
}

fn read_pairs(work: Work<'_>, target: &Target, height: Version, span: &[Written]) -> Result<Vec<ChunkId>, PhaseError> {
    let Some(first) = span.first() else { return Ok(Vec::new()) };
    let store = work.store(&first.chunk)?.name.clone();
    let mut proven = Vec::with_capacity(span.len());
    for written in span {
        work.turn()?;
        // Nothing later was ever written, so nothing later may be there.
        if check_pairs(target, &store, (height, Version(u64::MAX)), written)?.is_none() {
            raise(&work.progress.pairs_proven, written.chunk.leaves);
            proven.push(written.id);
        }
        work.spend_chunks(target, 0, written.restored.bytes, written.chunk.leaves);
    }
    Ok(proven)
}
