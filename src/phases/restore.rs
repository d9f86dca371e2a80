//! Restoring: chunks are read from store/v1, proven, and made durable in SC and SS, by several workers in any order.

use super::{PhaseError, Span, Work, largest_first, parallel::in_parallel_growing, pieces::Pieces, read_back, spans};
use crate::{
    iavl::{Access, Claim, Fit, Forest, LeafBytes, NodeReader, Proof, ProvenNode, Sweep, prove_in_pieces},
    model::{Chunk, ChunkId, Digest, RecordDigest, Restored, StoreKey, Version},
    progress::raise,
    source::Source,
    target::{Landing, PairLoader, RecordRun, Target},
};
use std::{slice, time::Instant};

/// Leaves one worker is given at a stretch, of which it takes as many at a time as its memory holds.
const SPAN_LEAVES: u64 = 1 << 18;

/// Chunks of large values one worker is given at a stretch: few, since nothing tells which of them are the largest.
const SPAN_CHUNKS: u64 = 64;

/// Bytes of large values that are made durable together, at least.
const LEAST_IN_TURN: u64 = 8 << 20;

/// Names the stream that chunk digests are taken over.
pub(super) const SS_DIGEST: &str = "storeshift 2026 chunk of SS pairs";

/// From where to where.
#[derive(Clone, Copy)]
pub struct Route<'a> {
    /// Where chunks are read.
    pub source: &'a dyn Source,
    /// Where they are written.
    pub target: &'a Target,
    /// The snapshot's version.
    pub height: Version,
}

/// Restores the open chunks and hands what is durable to `done`, several chunks at a time.
///
/// Workers write files beside the engines; the calling thread has the engines take them over, which waits for the disk,
/// and then calls `done`.
///
/// Once there is nothing left to be restored, workers read back what has its final shape already: the stores that fit a worker's
/// memory, so that nobody waits for the last ones. Their good chunks are added to `proven`; the others are left to [`super::prove::run`].
///
/// # Errors
/// The first failure; everything handed to `done` before stays true, and `proven` too.
pub fn run(
    work: Work<'_>,
    route: Route<'_>,
    large: &Large,
    open: Vec<(ChunkId, Chunk)>,
    proven: &mut Vec<ChunkId>,
    done: &mut dyn FnMut(Vec<(ChunkId, Restored)>) -> Result<(), PhaseError>,
) -> Result<(), PhaseError> {
    run_or_repair(work, route, Some(large), open, proven, done)
}

/// With `large` chunks are restored, without they are written again.
fn run_or_repair(
    work: Work<'_>,
    route: Route<'_>,
    large: Option<&Large>,
    open: Vec<(ChunkId, Chunk)>,
    proven: &mut Vec<ChunkId>,
    done: &mut dyn FnMut(Vec<(ChunkId, Restored)>) -> Result<(), PhaseError>,
) -> Result<(), PhaseError> {
    let leaf_bytes = LeafBytes::new(work.manifest.stores.len());
    let repair = large.is_none();
    let is_large = |chunk: &Chunk| large.is_some_and(|large| large.has(chunk));
    let weight = |chunk: &Chunk| if is_large(chunk) { SPAN_LEAVES / SPAN_CHUNKS } else { chunk.leaves };
    let mut spans = spans(open, SPAN_LEAVES, weight);
    largest_first(&mut spans, |span| span.iter().map(|(_, chunk)| weight(chunk)).sum());
    in_parallel_growing(
        work,
        spans.into_iter().map(Item::Restore).collect(),
        |buffers: &mut Buffers, item, report| match item {
            Item::Restore(span) => {
                let mut report = |loaded| report(Made::Loaded(loaded));
                let large = span.first().is_some_and(|(_, chunk)| is_large(chunk));
                let mut span = SpanWork::new(work, route, &span, repair, &leaf_bytes)?;
                if large { span.restore_in_turn(buffers, &mut report) } else { span.restore(buffers, &mut report) }
            }
            Item::ReadBack(part) => {
                // It comes after all that is to be restored, and has the worker's share of memory for itself.
                (buffers.forest, buffers.records) = Default::default();
                report(Made::ReadBack(read_back::carry_out(
                    work,
                    route.target,
                    route.height,
                    part,
                    &mut buffers.sweep,
                )?));
                Ok(())
            }
        },
        |made: Made<'_>| match made {
            Made::Loaded(loaded) => {
                let began = Instant::now();
                // Rule 1: only after this may the chunks be recorded.
                for landing in loaded.landings {
                    landing()?;
                }
                tracing::debug!(chunks = loaded.chunks.len(), landing = ?began.elapsed(), "durable");
                let written = loaded.chunks.iter().zip(loaded.whole);
                let written = written.map(|((id, restored), chunk)| (*id, chunk, restored.clone())).collect();
                let next = read_back::begin(work, written);
                done(loaded.chunks)?;
                Ok(next.into_iter().map(Item::ReadBack).collect())
            }
            Made::ReadBack(read_back::Outcome::Next(parts)) => Ok(parts.into_iter().map(Item::ReadBack).collect()),
            Made::ReadBack(read_back::Outcome::Proven(chunks)) => {
                proven.extend(chunks);
                Ok(Vec::new())
            }
        },
    )
}

/// What a worker is given.
enum Item {
    Restore(Span),
    ReadBack(read_back::Part),
}

/// What it makes of it.
enum Made<'a> {
    Loaded(Loaded<'a>),
    ReadBack(read_back::Outcome),
}

/// What a worker keeps from span to span.
#[derive(Default)]
struct Buffers {
    forest: Forest,
    records: RecordRun,
    sweep: Sweep,
}

/// The stores of large values, by number. Their chunks are of so few leaves that they have about a MiB.
#[derive(Clone, Debug, Default)]
pub struct Large(Vec<bool>);

impl Large {
    /// Finds them among all chunks of the snapshot: in a store that was cut as the plan says, at least one chunk has more than
    /// half of the leaves that it allows.
    #[must_use]
    pub fn find(chunks: &[Chunk], chunk_leaves: u64) -> Large {
        let of_store = chunks.chunk_by(|one, next| one.store == next.store);
        let mut large = Vec::new();
        for chunks in of_store {
            let store = chunks.first().map_or(0, |chunk| chunk.store as usize);
            large.resize(large.len().max(store + 1), false);
            // A tree of fewer leaves is one chunk.
            if let Some(large) = large.get_mut(store) {
                *large = chunks.len() > 1 && chunks.iter().all(|chunk| chunk.leaves <= chunk_leaves / 2);
            }
        }
        Large(large)
    }

    fn has(&self, chunk: &Chunk) -> bool {
        self.0.get(chunk.store as usize).copied().unwrap_or(false)
    }
}

/// Chunks that are written beside the engines, and what makes them durable.
struct Loaded<'a> {
    landings: Vec<Landing<'a>>,
    chunks: Vec<(ChunkId, Restored)>,
    /// The same as they are in the snapshot, if they are all of a store and so in their final shape.
    whole: Vec<Chunk>,
}

struct SpanWork<'w, 'a> {
    work: Work<'w>,
    route: Route<'a>,
    chunks: &'w [(ChunkId, Chunk)],
    store: StoreKey,
    store_chunks: u64,
    /// Whether the store is in its final shape already, so that nothing may be kept aside.
    repair: bool,
    /// Its place among the stores.
    store_index: usize,
    leaf_bytes: &'w LeafBytes,
    digest: RecordDigest,
}

impl<'w, 'a> SpanWork<'w, 'a> {
    fn new(
        work: Work<'w>,
        route: Route<'a>,
        chunks: &'w [(ChunkId, Chunk)],
        repair: bool,
        leaf_bytes: &'w LeafBytes,
    ) -> Result<SpanWork<'w, 'a>, PhaseError> {
        let (_, first) = chunks.first().ok_or(PhaseError::Bug("an empty span"))?;
        let entry = work.store(first)?;
        let (store, store_chunks) = (entry.name.clone(), entry.chunks);
        let store_index = first.store as usize;
        let digest = RecordDigest::new(SS_DIGEST);
        Ok(SpanWork { work, route, chunks, store, store_chunks, repair, store_index, leaf_bytes, digest })
    }

    fn restore(&mut self, buffers: &mut Buffers, report: &mut dyn FnMut(Loaded<'a>) -> bool) -> Result<(), PhaseError> {
        let mut nodes = self.route.source.nodes(&self.store, Access::Runs);
        let mut rest = self.chunks;
        while let Some(one) = rest.first() {
            self.work.turn()?;
            let budget = self.work.gulp_bytes();
            let some = self.leaf_bytes.fitting(self.store_index, budget, rest, |(_, chunk)| chunk.leaves);
            let claims: Vec<Claim> = some.iter().map(|(_, chunk)| Claim::of(chunk)).collect();
            let leaves: u64 = some.iter().map(|(_, chunk)| chunk.leaves).sum();
            let began = Instant::now();
            let Buffers { forest, .. } = buffers;
            let fit = forest.read(&mut nodes, &claims, budget);
            let fit = fit.map_err(|why| PhaseError::unproven(&self.store, self.route.height, why))?;
            tracing::debug!(store = %self.store, leaves, bytes = forest.bytes(), ?fit, reading = ?began.elapsed(), "proven");
            let loaded = match fit {
                Fit::Whole => {
                    self.leaf_bytes.fitted(self.store_index, forest.bytes(), leaves);
                    self.load(forest, some)?
                }
                Fit::TooLarge { expected } if some.len() > 1 => {
                    self.leaf_bytes.exceeded(self.store_index, budget, expected, leaves);
                    continue;
                }
                Fit::TooLarge { expected } => self.load_in_turn(buffers, &mut nodes, slice::from_ref(one), expected)?,
            };
            tracing::debug!(store = %self.store, leaves, all = ?began.elapsed(), "written");
            self.count(&loaded, loaded.chunks.iter().zip(some).map(|(_, (_, chunk))| chunk.leaves).sum());
            rest = rest.get(loaded.chunks.len()..).unwrap_or_default();
            if !report(loaded) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes the chunks that are in memory.
    fn load(&mut self, forest: &Forest, chunks: &[(ChunkId, Chunk)]) -> Result<Loaded<'a>, PhaseError> {
        let is_whole = !self.repair && chunks.len() as u64 == self.store_chunks;
        let whole = if is_whole { chunks.iter().map(|(_, chunk)| chunk.clone()).collect() } else { Vec::new() };
        let mut loaded = Loaded { landings: Vec::new(), chunks: Vec::with_capacity(chunks.len()), whole };
        let mut pairs = self.loader()?;
        for (tree, ((id, chunk), proof)) in chunks.iter().zip(forest.proofs()).enumerate() {
            let mut bytes = 0;
            for (key, value) in forest.pairs(tree) {
                bytes += (key.len() + value.len()) as u64;
                if let Some(pairs) = &mut pairs {
                    pairs.put(key, value)?;
                    self.digest.add(key);
                    self.digest.add(value);
                }
            }
            let digest = self.digest.take();
            loaded.chunks.push((*id, restored(chunk, proof, bytes, self.route.target.ss.is_some().then_some(digest))?));
        }
        if let Some(pairs) = pairs {
            loaded.landings.push(pairs.finish()?);
        }
        if let Some(sc) = &self.route.target.sc {
            let ordinals: Vec<u64> = chunks.iter().map(|(_, chunk)| chunk.first_ordinal).collect();
            let mut records = forest.records(&ordinals).ok_or(NO_NONCE)?;
            loaded.landings.push(sc.load(&self.store, &mut records, self.repair || is_whole)?);
        }
        Ok(loaded)
    }

    /// As [`SpanWork::restore`], for a store of large values: nothing tells how much memory a chunk takes before it is read,
    /// nor is anything lost by reading one after the other.
    fn restore_in_turn(
        &mut self,
        buffers: &mut Buffers,
        report: &mut dyn FnMut(Loaded<'a>) -> bool,
    ) -> Result<(), PhaseError> {
        let mut nodes = self.route.source.nodes(&self.store, Access::Runs);
        let mut rest = self.chunks;
        while !rest.is_empty() {
            self.work.turn()?;
            let began = Instant::now();
            let loaded = self.load_in_turn(buffers, &mut nodes, rest, 0)?;
            let (some, later) = rest.split_at_checked(loaded.chunks.len()).unwrap_or((rest, &[]));
            let leaves = some.iter().map(|(_, chunk)| chunk.leaves).sum();
            tracing::debug!(store = %self.store, leaves, all = ?began.elapsed(), "written in turn");
            self.count(&loaded, leaves);
            rest = later;
            if !report(loaded) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Proves and writes one chunk after the other, each piece by piece if memory does not hold it, until there is enough to
    /// be made durable together. `expected` are the bytes of the first one, as far as is known.
    fn load_in_turn(
        &mut self,
        buffers: &mut Buffers,
        nodes: &mut (dyn NodeReader + Send + 'a),
        chunks: &[(ChunkId, Chunk)],
        mut expected: u64,
    ) -> Result<Loaded<'a>, PhaseError> {
        // One half for what is being proven, one for what is gathered.
        let budget = self.work.gulp_bytes() / 2;
        // The disk is to have something to do soon; but the larger the store, the fewer files it should be in. Its chunks are
        // of a MiB, or more.
        let enough = (self.store_chunks << 20) / 32;
        let enough = enough.clamp(LEAST_IN_TURN.min(budget as u64), budget as u64);
        let pairs = self.loader()?;
        buffers.records.clear();
        let mut pieces = Pieces {
            sc: self.route.target.sc.as_deref(),
            store: &self.store,
            most: budget,
            whole: self.repair,
            records: &mut buffers.records,
            pairs,
            digest: &mut self.digest,
            ordinal: 0,
            bytes: 0,
            landings: Vec::new(),
            failed: None,
        };
        let (mut loaded, mut gathered) = (Vec::new(), 0);
        for (id, chunk) in chunks {
            pieces.begin(chunk);
            let mut take = |node: &ProvenNode<'_>| pieces.take(node);
            let proof = prove_in_pieces(&mut buffers.forest, nodes, Claim::of(chunk), expected, budget, &mut take);
            let proof = match (proof, pieces.failed.take()) {
                (_, Some(error)) => return Err(error),
                (Err(why), None) => return Err(PhaseError::unproven(&self.store, self.route.height, why)),
                (Ok(proof), None) => proof,
            };
            let (bytes, digest) = pieces.end();
            loaded.push((*id, restored(chunk, &proof, bytes, self.route.target.ss.is_some().then_some(digest))?));
            expected = 0;
            gathered += bytes;
            if gathered >= enough {
                break;
            }
        }
        let landings = pieces.finish(loaded.len() as u64 == self.store_chunks)?;
        Ok(Loaded { landings, chunks: loaded, whole: Vec::new() })
    }

    /// Says what was read and written.
    fn count(&self, loaded: &Loaded<'_>, leaves: u64) {
        raise(&self.work.progress.pairs_read, leaves);
        let pairs = loaded.chunks.iter().map(|(_, restored)| restored.bytes).sum();
        self.work.spend_chunks(self.route.target, 1, pairs, leaves);
    }

    fn loader(&self) -> Result<Option<Box<dyn PairLoader<'a> + 'a>>, PhaseError> {
        Ok(self.route.target.ss.as_deref().map(|ss| ss.loader(&self.store, self.route.height)).transpose()?)
    }
}

/// What is to be recorded of a chunk.
fn restored(chunk: &Chunk, proof: &Proof, bytes: u64, ss: Option<Digest>) -> Result<Restored, PhaseError> {
    if proof.leaves != chunk.leaves {
        return Err(PhaseError::Bug("a chunk has another size than its spine said"));
    }
    Ok(Restored { ss, bytes, first_key: proof.first_key.clone(), last_key: proof.last_key.clone() })
}

pub(super) const NO_NONCE: PhaseError = PhaseError::Bug("a nonce does not fit although the store's size was checked");

/// Writes one chunk again, for `verify --repair`. The chunk comes out with the digest it had.
///
/// # Errors
/// As [`run`].
pub fn redo(work: Work<'_>, route: Route<'_>, id: ChunkId, chunk: &Chunk) -> Result<Restored, PhaseError> {
    let mut redone = None;
    let open = vec![(id, chunk.clone())];
    run_or_repair(work, route, None, open, &mut Vec::new(), &mut |mut restored| {
        redone = restored.pop();
        Ok(())
    })?;
    redone.map(|(_, restored)| restored).ok_or(PhaseError::Stopped)
}
