//! Restoring: chunks are read from store/v1, proven, and made durable in SC and SS, by several workers in any order.

use super::{PhaseError, Span, Work, in_parallel, largest_first, spans};
use crate::{
    iavl::{Access, Claim, Fit, Forest, NodeReader, Proof, ProvenNode, numbering, prove_in_pieces},
    model::{Chunk, ChunkId, Digest, RecordDigest, Restored, StoreKey, Version},
    progress::raise,
    source::Source,
    target::{Commitment, Landing, PairLoader, RecordRun, Target, TargetError},
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// Leaves one worker is given at a stretch, of which it takes as many at a time as its memory holds.
const SPAN_LEAVES: u64 = 1 << 18;

/// Memory for a leaf, its share of inner nodes included, before any was measured.
const FIRST_GUESS: u64 = 500;

/// Names the stream that chunk digests are taken over.
pub(super) const SS_DIGEST: &str = "storeshift 2026 chunk of SS pairs";

/// Restores the open chunks and hands what is durable to `done`, several chunks at a time.
///
/// Workers write files beside the engines; the calling thread has the engines take them over, which waits for the disk,
/// and then calls `done`.
///
/// # Errors
/// The first failure; everything handed to `done` before stays true.
pub fn run(
    work: Work<'_>,
    source: &dyn Source,
    target: &Target,
    height: Version,
    open: Vec<(ChunkId, Chunk)>,
    done: &mut dyn FnMut(Vec<(ChunkId, Restored)>) -> Result<(), PhaseError>,
) -> Result<(), PhaseError> {
    run_or_repair(work, source, target, height, open, false, done)
}

fn run_or_repair(
    work: Work<'_>,
    source: &dyn Source,
    target: &Target,
    height: Version,
    open: Vec<(ChunkId, Chunk)>,
    repair: bool,
    done: &mut dyn FnMut(Vec<(ChunkId, Restored)>) -> Result<(), PhaseError>,
) -> Result<(), PhaseError> {
    let leaf_bytes = LeafBytes::new(work.manifest.stores.len());
    let mut spans = spans(open, SPAN_LEAVES);
    largest_first(&mut spans, |span| span.iter().map(|(_, chunk)| chunk.leaves).sum());
    in_parallel(
        work.tuning.workers,
        spans,
        |forest: &mut Forest, span: Span, report| {
            SpanWork::new(work, source, target, height, &span, repair, &leaf_bytes)?.restore(forest, report)
        },
        |loaded: Loaded<'_>| {
            let began = Instant::now();
            // Rule 1: only after this may the chunks be recorded.
            for landing in loaded.landings {
                landing()?;
            }
            tracing::debug!(chunks = loaded.chunks.len(), landing = ?began.elapsed(), "durable");
            done(loaded.chunks)
        },
    )
}

/// Memory that leaves take, their share of inner nodes included, as far as was measured: by store, and in the store that
/// was measured last.
struct LeafBytes {
    stores: Vec<AtomicU64>,
    last: AtomicU64,
}

impl LeafBytes {
    fn new(stores: usize) -> LeafBytes {
        LeafBytes { stores: (0..stores).map(|_| AtomicU64::new(0)).collect(), last: AtomicU64::new(FIRST_GUESS) }
    }

    fn get(&self, store: usize) -> u64 {
        let own = self.stores.get(store).map_or(0, |bytes| bytes.load(Ordering::Relaxed));
        if own > 0 { own } else { self.last.load(Ordering::Relaxed) }
    }

    fn set(&self, store: usize, bytes: u64) {
        if let Some(own) = self.stores.get(store) {
            own.store(bytes, Ordering::Relaxed);
        }
        self.last.store(bytes, Ordering::Relaxed);
    }
}

/// Chunks that are written beside the engines, and what makes them durable.
struct Loaded<'a> {
    landings: Vec<Landing<'a>>,
    chunks: Vec<(ChunkId, Restored)>,
}

struct SpanWork<'w, 'a> {
    work: Work<'w>,
    source: &'a dyn Source,
    target: &'a Target,
    height: Version,
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
        source: &'a dyn Source,
        target: &'a Target,
        height: Version,
        chunks: &'w [(ChunkId, Chunk)],
        repair: bool,
        leaf_bytes: &'w LeafBytes,
    ) -> Result<SpanWork<'w, 'a>, PhaseError> {
        let (_, first) = chunks.first().ok_or(PhaseError::Bug("an empty span"))?;
        let entry = work.store(first)?;
        let (store, store_chunks) = (entry.name.clone(), entry.chunks);
        let store_index = first.store as usize;
        let digest = RecordDigest::new(SS_DIGEST);
        Ok(SpanWork {
            work,
            source,
            target,
            height,
            chunks,
            store,
            store_chunks,
            repair,
            store_index,
            leaf_bytes,
            digest,
        })
    }

    fn restore(&mut self, forest: &mut Forest, report: &mut dyn FnMut(Loaded<'a>) -> bool) -> Result<(), PhaseError> {
        let mut nodes = self.source.nodes(&self.store, Access::Runs);
        let mut rest = self.chunks;
        while let Some(one) = rest.first() {
            self.work.heed_stop()?;
            let some = self.as_many_as_fit(rest);
            let claims: Vec<Claim> = some.iter().map(|(_, chunk)| Claim::of(chunk)).collect();
            let leaves: u64 = some.iter().map(|(_, chunk)| chunk.leaves).sum();
            let began = Instant::now();
            let fit = forest.read(&mut nodes, &claims, self.work.gulp_bytes());
            let fit = fit.map_err(|why| PhaseError::unproven(&self.store, self.height, why))?;
            tracing::debug!(store = %self.store, leaves, bytes = forest.bytes(), ?fit, reading = ?began.elapsed(), "proven");
            let loaded = match fit {
                Fit::Whole => {
                    let measured = forest.bytes() as u64 / leaves.max(1) + 1;
                    self.leaf_bytes.set(self.store_index, measured + measured / 32);
                    self.load(forest, some)?
                }
                Fit::TooLarge { .. } if some.len() > 1 => {
                    let doubled = self.work.gulp_bytes() as u64 * 2 / leaves.max(1) + 1;
                    self.leaf_bytes.set(self.store_index, doubled.max(self.leaf_bytes.get(self.store_index)));
                    continue;
                }
                Fit::TooLarge { expected } => self.load_in_pieces(forest, &mut nodes, one, expected)?,
            };
            tracing::debug!(store = %self.store, leaves, all = ?began.elapsed(), "written");
            raise(
                &self.work.progress.pairs_read,
                loaded.chunks.iter().zip(some).map(|(_, (_, chunk))| chunk.leaves).sum(),
            );
            rest = rest.get(loaded.chunks.len()..).unwrap_or_default();
            if !report(loaded) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The first of these chunks that memory is expected to hold together; at least one.
    fn as_many_as_fit<'c>(&self, chunks: &'c [(ChunkId, Chunk)]) -> &'c [(ChunkId, Chunk)] {
        let mut room = self.work.gulp_bytes() as u64 / self.leaf_bytes.get(self.store_index).max(1);
        let fitting = chunks.iter().take_while(|(_, chunk)| {
            let fits = chunk.leaves <= room;
            room = room.saturating_sub(chunk.leaves);
            fits
        });
        let count = fitting.count().max(1);
        chunks.get(..count).unwrap_or(chunks)
    }

    /// Writes the chunks that are in memory.
    fn load(&mut self, forest: &Forest, chunks: &[(ChunkId, Chunk)]) -> Result<Loaded<'a>, PhaseError> {
        let mut loaded = Loaded { landings: Vec::new(), chunks: Vec::with_capacity(chunks.len()) };
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
            loaded.chunks.push((*id, self.restored(chunk, proof, bytes)?));
        }
        if let Some(pairs) = pairs {
            loaded.landings.push(pairs.finish()?);
        }
        if let Some(sc) = &self.target.sc {
            let ordinals: Vec<u64> = chunks.iter().map(|(_, chunk)| chunk.first_ordinal).collect();
            let mut records = forest.records(&ordinals).ok_or(NO_NONCE)?;
            let whole = self.repair || chunks.len() as u64 == self.store_chunks;
            loaded.landings.push(sc.load(&self.store, &mut records, whole)?);
        }
        Ok(loaded)
    }

    /// Some values are megabytes: a chunk is bounded in leaves, not in bytes, so one that no memory holds is proven and
    /// written piece by piece.
    fn load_in_pieces(
        &mut self,
        forest: &mut Forest,
        nodes: &mut (dyn NodeReader + Send + 'a),
        (id, chunk): &(ChunkId, Chunk),
        expected: u64,
    ) -> Result<Loaded<'a>, PhaseError> {
        let mut sink = PieceSink {
            sc: self.target.sc.as_deref(),
            store: &self.store,
            run_bytes: self.work.gulp_bytes() / 2,
            repair: self.repair,
            records: RecordRun::default(),
            pairs: self.loader()?,
            digest: &mut self.digest,
            ordinal: chunk.first_ordinal,
            bytes: 0,
            landings: Vec::new(),
            failed: None,
        };
        let budget = self.work.gulp_bytes() / 2;
        let proof = prove_in_pieces(forest, nodes, Claim::of(chunk), expected, budget, &mut |node| sink.take(node));
        let proof = match (proof, sink.failed.take()) {
            (_, Some(error)) => return Err(error),
            (Err(why), None) => return Err(PhaseError::unproven(&self.store, self.height, why)),
            (Ok(proof), None) => proof,
        };
        let (bytes, landings) = sink.finish()?;
        Ok(Loaded { landings, chunks: vec![(*id, self.restored(chunk, &proof, bytes)?)] })
    }

    fn restored(&mut self, chunk: &Chunk, proof: &Proof, bytes: u64) -> Result<Restored, PhaseError> {
        if proof.leaves != chunk.leaves {
            return Err(PhaseError::Bug("a chunk has another size than its spine said"));
        }
        let digest: Digest = self.digest.take();
        Ok(Restored {
            ss: self.target.ss.is_some().then_some(digest),
            bytes,
            first_key: proof.first_key.clone(),
            last_key: proof.last_key.clone(),
        })
    }

    fn loader(&self) -> Result<Option<Box<dyn PairLoader<'a> + 'a>>, PhaseError> {
        Ok(self.target.ss.as_deref().map(|ss| ss.loader(&self.store, self.height)).transpose()?)
    }
}

const NO_NONCE: PhaseError = PhaseError::Bug("a nonce does not fit although the store's size was checked");

/// Takes the proven nodes of one chunk that memory does not hold.
struct PieceSink<'s, 'a> {
    sc: Option<&'a dyn Commitment>,
    store: &'s StoreKey,
    run_bytes: usize,
    repair: bool,
    records: RecordRun,
    pairs: Option<Box<dyn PairLoader<'a> + 'a>>,
    digest: &'s mut RecordDigest,
    ordinal: u64,
    bytes: u64,
    landings: Vec<Landing<'a>>,
    failed: Option<PhaseError>,
}

impl<'a> PieceSink<'_, 'a> {
    fn take(&mut self, node: &ProvenNode<'_>) -> bool {
        let taken = self.try_take(node);
        taken.map_err(|error| self.failed = Some(error)).is_ok()
    }

    fn try_take(&mut self, node: &ProvenNode<'_>) -> Result<(), PhaseError> {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        if self.sc.is_some() {
            self.records.push(|out| numbering::encode_record(node, ordinal, out)).ok_or(NO_NONCE)?;
            if self.records.size() >= self.run_bytes {
                self.load_records()?;
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

    fn load_records(&mut self) -> Result<(), TargetError> {
        if let Some(sc) = self.sc {
            self.landings.push(sc.load(self.store, &mut self.records.sorted(), self.repair)?);
            self.records.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(u64, Vec<Landing<'a>>), PhaseError> {
        self.load_records()?;
        if let Some(pairs) = self.pairs {
            self.landings.push(pairs.finish()?);
        }
        Ok((self.bytes, self.landings))
    }
}

/// Writes one chunk again, for `verify --repair`. The chunk comes out with the digest it had.
///
/// # Errors
/// As [`run`].
pub fn redo(
    work: Work<'_>,
    source: &dyn Source,
    target: &Target,
    height: Version,
    id: ChunkId,
    chunk: &Chunk,
) -> Result<Restored, PhaseError> {
    let mut redone = None;
    run_or_repair(work, source, target, height, vec![(id, chunk.clone())], true, &mut |mut restored| {
        redone = restored.pop();
        Ok(())
    })?;
    redone.map(|(_, restored)| restored).ok_or(PhaseError::Stopped)
}
