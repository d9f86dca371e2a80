//! Restoring: chunks are read from store/v1, proven, and made durable in SC and SS, by several workers in any order.

use super::{PhaseError, Span, Work, in_parallel, spans};
use crate::{
    iavl::{Claim, NodeKey, ProveError, ProvenNode, numbering, prove},
    model::{Chunk, ChunkId, Digest, RecordDigest, Restored, StoreKey, Version},
    progress::raise,
    source::Source,
    target::{Commitment, PairLoader, RecordRun, Target, TargetError},
};

/// Leaves one worker does at a stretch: a sorted run of this size is worth a file, and a crash costs no more.
const SPAN_LEAVES: u64 = 131_072;

/// Names the streams that chunk digests are taken over.
pub(super) const SC_DIGEST: &str = "storeshift 2026 chunk of SC records";
/// See [`SC_DIGEST`].
pub(super) const SS_DIGEST: &str = "storeshift 2026 chunk of SS pairs";

/// Restores the open chunks and hands what is durable to `done`, several chunks at a time.
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
    let spans = spans(open, SPAN_LEAVES);
    in_parallel(
        work.tuning.workers,
        spans,
        |span: Span, report| {
            let mut span = SpanWork::new(work, source, target, height, &span)?;
            span.restore(report)
        },
        done,
    )
}

struct SpanWork<'a> {
    work: Work<'a>,
    source: &'a dyn Source,
    target: &'a Target,
    height: Version,
    chunks: &'a [(ChunkId, Chunk)],
    store: StoreKey,
}

impl<'a> SpanWork<'a> {
    fn new(
        work: Work<'a>,
        source: &'a dyn Source,
        target: &'a Target,
        height: Version,
        chunks: &'a [(ChunkId, Chunk)],
    ) -> Result<SpanWork<'a>, PhaseError> {
        let (_, first) = chunks.first().ok_or(PhaseError::Bug("an empty span"))?;
        let store = work.store(first)?.name.clone();
        Ok(SpanWork { work, source, target, height, chunks, store })
    }

    fn restore(&mut self, report: &mut dyn FnMut(Vec<(ChunkId, Restored)>) -> bool) -> Result<(), PhaseError> {
        let mut nodes = self.source.nodes(&self.store);
        let mut records = RecordRun::default();
        let mut digests = (RecordDigest::new(SC_DIGEST), RecordDigest::new(SS_DIGEST));
        let mut finished = Vec::new();
        let mut gathered = 0;
        let mut pairs = self.loader()?;
        for (id, chunk) in self.chunks {
            if self.work.stop.is_asked() {
                break;
            }
            let claim = Claim { key: NodeKey::new(chunk.version, chunk.nonce), hash: chunk.hash };
            let mut sink = ChunkSink {
                sc: self.target.sc.as_deref(),
                store: &self.store,
                run_bytes: self.work.run_bytes(),
                records: &mut records,
                pairs: pairs.as_deref_mut(),
                sc_digest: &mut digests.0,
                ss_digest: &mut digests.1,
                ordinal: chunk.first_ordinal,
                bytes: 0,
                failed: None,
            };
            let proof = prove(&mut nodes, claim, self.work.piece_bytes(), &mut |node| sink.take(node));
            let (bytes, failed) = (sink.bytes, sink.failed.take());
            let proof = match (proof, failed) {
                (Ok(proof), None) => proof,
                (Err(ProveError::Sink), Some(error)) => return Err(error),
                (Err(why), _) => return Err(PhaseError::unproven(&self.store, self.height, why)),
                (Ok(_), Some(error)) => return Err(error),
            };
            if proof.leaves != chunk.leaves {
                return Err(PhaseError::Bug("a chunk has another size than its spine said"));
            }
            let digest = |wanted: bool, digest: &mut RecordDigest| -> Option<Digest> {
                let taken = digest.take();
                wanted.then_some(taken)
            };
            let restored = Restored {
                sc: digest(self.target.sc.is_some(), &mut digests.0),
                ss: digest(self.target.ss.is_some(), &mut digests.1),
                bytes,
                first_key: proof.first_key,
                last_key: proof.last_key,
            };
            raise(&self.work.progress.pairs_read, chunk.leaves);
            finished.push((*id, restored));
            gathered += bytes;
            // Nearly full: the next chunk would be cut in two. Without SC there are no records, but a crash must not cost
            // more for that.
            if records.size().max(gathered as usize) >= self.work.run_bytes() / 8 * 7 {
                gathered = 0;
                self.make_durable(&mut records, pairs.take())?;
                if !report(std::mem::take(&mut finished)) {
                    return Ok(());
                }
                pairs = self.loader()?;
            }
        }
        self.make_durable(&mut records, pairs)?;
        if !finished.is_empty() {
            report(finished);
        }
        self.work.heed_stop()
    }

    fn loader(&self) -> Result<Option<Box<dyn PairLoader + 'a>>, PhaseError> {
        Ok(self.target.ss.as_deref().map(|ss| ss.loader(&self.store, self.height)).transpose()?)
    }

    /// Rule 1: only after this may the chunks gathered so far be recorded.
    fn make_durable(&self, records: &mut RecordRun, pairs: Option<Box<dyn PairLoader + 'a>>) -> Result<(), PhaseError> {
        if let Some(sc) = &self.target.sc {
            sc.load(&self.store, records)?;
            records.clear();
        }
        pairs.map_or(Ok(()), PairLoader::finish)?;
        Ok(())
    }
}

/// Takes the proven nodes of one chunk.
struct ChunkSink<'s, 'a> {
    sc: Option<&'a dyn Commitment>,
    store: &'s StoreKey,
    run_bytes: usize,
    records: &'s mut RecordRun,
    pairs: Option<&'s mut (dyn PairLoader + 'a)>,
    sc_digest: &'s mut RecordDigest,
    ss_digest: &'s mut RecordDigest,
    ordinal: u64,
    bytes: u64,
    failed: Option<PhaseError>,
}

impl ChunkSink<'_, '_> {
    fn take(&mut self, node: &ProvenNode<'_>) -> bool {
        let taken = self.try_take(node);
        taken.map_err(|error| self.failed = Some(error)).is_ok()
    }

    fn try_take(&mut self, node: &ProvenNode<'_>) -> Result<(), PhaseError> {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        if let Some(sc) = self.sc {
            let (key, record) = self
                .records
                .push(|out| numbering::encode_record(node, ordinal, out))
                .ok_or(PhaseError::Bug("a nonce does not fit although the store's size was checked"))?;
            self.sc_digest.add(&key.to_bytes());
            self.sc_digest.add(record);
            // Some values are megabytes: a chunk is bounded in leaves, not in bytes, so it may need several runs.
            if self.records.size() >= self.run_bytes {
                sc.load(self.store, self.records)?;
                self.records.clear();
            }
        }
        if node.children.is_none() {
            self.bytes += (node.key.len() + node.value.len()) as u64;
            if let Some(pairs) = &mut self.pairs {
                pairs.put(node.key, node.value)?;
                self.ss_digest.add(node.key);
                self.ss_digest.add(node.value);
            }
        }
        Ok(())
    }
}

/// Removes pairs by name and writes one chunk again, for `verify --repair`. The chunk comes out with the digests it had.
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
    let span = [(id, chunk.clone())];
    let mut restored = None;
    SpanWork::new(work, source, target, height, &span)?.restore(&mut |mut results| {
        restored = results.pop();
        true
    })?;
    restored.map(|(_, restored)| restored).ok_or(PhaseError::Target(TargetError::Order))
}
