//! Reading back: every chunk is read from the target and proven there: its nodes against the Merkle hash, its pairs
//! against the digest taken when they were written.

use super::{PhaseError, Work, in_parallel, largest_first};
use crate::{
    iavl::{Access, Claim, LEAF_BYTES, NodeId, NodeReader, ProveError, ProvenNode, Sweep, Swept, numbering, prove},
    model::{Chunk, ChunkId, RecordDigest, Restored, StoreKey, Verdict, Version},
    progress::raise,
    target::{Storage, Target, TargetError},
};

/// One chunk to be read back.
pub struct Written {
    /// Its number.
    pub id: ChunkId,
    /// What the snapshot says of it.
    pub chunk: Chunk,
    /// What was written.
    pub restored: Restored,
    /// Whether it is its store's first chunk: then nothing may lie before its first key.
    pub opens_store: bool,
    /// First key of the next chunk of the store; none for its last.
    pub until: Option<Vec<u8>>,
}

/// Cuts a store's chunks as they were written, all of them and ascending, into spans of neighbours that one worker can prove at
/// a time; those only that `wanted` picks.
#[must_use]
pub fn spans(
    work: Work<'_>,
    chunks: Vec<(ChunkId, Chunk, Restored)>,
    wanted: impl Fn(ChunkId) -> bool,
) -> Vec<Vec<Written>> {
    /// Bytes of pairs in a span, unless one chunk has more: several workers share a store of large values.
    const MOST_BYTES: u64 = 128 << 20;
    let most = work.sweep_leaves();
    let opens_store = chunks.first().map(|(id, ..)| *id);
    let mut spans = Vec::new();
    let mut span: Vec<Written> = Vec::new();
    let (mut leaves, mut bytes) = (0, 0);
    for (id, chunk, restored) in chunks {
        let before = span.last_mut().filter(|before| before.id + 1 == id);
        let follows = before.is_some();
        if let Some(before) = before {
            before.until = Some(restored.first_key.clone());
        }
        if !wanted(id) {
            continue;
        }
        let full = leaves + chunk.leaves > most || bytes + restored.bytes > MOST_BYTES;
        if !span.is_empty() && (!follows || full) {
            spans.push(std::mem::take(&mut span));
            (leaves, bytes) = (0, 0);
        }
        leaves += chunk.leaves;
        bytes += restored.bytes;
        span.push(Written { id, chunk, restored, opens_store: opens_store == Some(id), until: None });
    }
    if !span.is_empty() {
        spans.push(span);
    }
    spans
}

/// What was found wrong with a chunk.
#[derive(Debug)]
pub struct Damage {
    /// Its number.
    pub id: ChunkId,
    /// Its store.
    pub store: StoreKey,
    /// What is wrong, in words.
    pub what: String,
}

impl From<Damage> for Verdict {
    fn from(damage: Damage) -> Verdict {
        Verdict::Chunk { chunk: damage.id, store: damage.store, what: damage.what }
    }
}

/// Reads chunks back, in any order, and hands the number of each good one to `done`. Chunks of one span are neighbours in
/// one store, ascending.
///
/// # Errors
/// The first chunk that does not prove is a [`PhaseError::Verdict`].
pub fn run(
    work: Work<'_>,
    target: &Target,
    height: Version,
    mut written: Vec<Vec<Written>>,
    done: &mut dyn FnMut(Vec<ChunkId>) -> Result<(), PhaseError>,
) -> Result<(), PhaseError> {
    if written.is_empty() {
        return Ok(());
    }
    let weight = |written: &Written| written.restored.bytes + written.chunk.leaves * LEAF_BYTES as u64;
    largest_first(&mut written, |span| span.iter().map(weight).sum());
    in_parallel(
        work,
        written,
        |buffers: &mut Sweep, span, report| {
            let mut proven = Vec::with_capacity(span.len());
            // Nothing later was ever written, so nothing later may be there.
            let at = (height, Version(u64::MAX));
            let checked = check(work, target, at, &span, buffers, &mut |written, damage| match damage {
                Some(damage) => Err(PhaseError::Verdict(damage.into())),
                None => {
                    raise(&work.progress.pairs_proven, written.chunk.leaves);
                    proven.push(written.id);
                    Ok(())
                }
            });
            if !proven.is_empty() {
                report(proven);
            }
            checked
        },
        done,
    )
}

/// Takes each chunk that was read back, and what is wrong with it.
pub type Each<'a> = &'a mut dyn FnMut(&Written, Option<Damage>) -> Result<(), PhaseError>;

/// Reads a span of chunks back and hands each to `each`, with what is wrong with it: that is an answer, not an error. `at` is the
/// snapshot's version, and the one up to which SS must have nothing that is newer.
///
/// # Errors
/// The target could not be read for a reason that another try may not meet; those of `each`; or the request to stop.
pub fn check(
    work: Work<'_>,
    target: &Target,
    at: (Version, Version),
    span: &[Written],
    buffers: &mut Sweep,
    each: Each<'_>,
) -> Result<(), PhaseError> {
    let Some(first) = span.first() else { return Ok(()) };
    let store = work.store(&first.chunk)?.name.clone();
    let trees = Trees::sweep(target, &store, span, buffers)?;
    for (nth, written) in span.iter().enumerate() {
        work.turn()?;
        let what = trees.wrong(work, target, &store, nth, written)?;
        let what = match what {
            Some(what) => Some(what),
            None => check_pairs(target, &store, at, written)?,
        };
        work.spend_chunks(target, 0, written.restored.bytes, written.chunk.leaves);
        each(written, what.map(|what| Damage { id: written.id, store: store.clone(), what }))?;
    }
    Ok(())
}

/// What a sweep over a span's trees leaves to be looked at closely.
pub(super) enum Trees {
    /// They are proven.
    Proven,
    /// Nothing is known.
    Unknown,
    /// At least one chunk is damaged, and it is this one if no other is.
    Suspect(usize, String),
}

impl Trees {
    /// Reads the trees of a span back in one walk, if they lie so.
    ///
    /// # Errors
    /// SC could not be read for a reason that another try may not meet.
    pub(super) fn sweep(
        target: &Target,
        store: &StoreKey,
        span: &[Written],
        buffers: &mut Sweep,
    ) -> Result<Trees, PhaseError> {
        let Some(sc) = &target.sc else { return Ok(Trees::Proven) };
        let chunks: Vec<Chunk> = span.iter().map(|written| written.chunk.clone()).collect();
        let mut records = sc.records(store)?;
        match buffers.prove(&mut *records, &chunks) {
            Ok(Swept::Proven) => Ok(Trees::Proven),
            Ok(Swept::Scattered) => Ok(Trees::Unknown),
            Err(ProveError::Read(error)) if !error.corrupt => Err(TargetError::Read(error).into()),
            Err(why) => {
                let suspect = why.at().and_then(|at| numbering::ordinal(at.key()?.nonce)).map_or(0, |ordinal| {
                    chunks.partition_point(|chunk| chunk.root_ordinal() < ordinal).min(chunks.len().saturating_sub(1))
                });
                Ok(Trees::Suspect(suspect, why.to_string()))
            }
        }
    }

    /// What is wrong with the tree of the span's n-th chunk.
    ///
    /// # Errors
    /// SC could not be read for a reason that another try may not meet.
    pub(super) fn wrong(
        &self,
        work: Work<'_>,
        target: &Target,
        store: &StoreKey,
        nth: usize,
        written: &Written,
    ) -> Result<Option<String>, PhaseError> {
        match self {
            Trees::Proven => Ok(None),
            Trees::Unknown => check_tree(work, target, store, written),
            // Asked for one by one, the records of a chunk may well be right: then it is one too many that is wrong.
            Trees::Suspect(suspect, why) => {
                Ok(check_tree(work, target, store, written)?
                    .or_else(|| (*suspect == nth).then(|| format!("SC: {why}"))))
            }
        }
    }
}

/// Proves one chunk's nodes in SC from its root down.
fn check_tree(
    work: Work<'_>,
    target: &Target,
    store: &StoreKey,
    written: &Written,
) -> Result<Option<String>, PhaseError> {
    let Some(sc) = &target.sc else { return Ok(None) };
    let chunk = &written.chunk;
    let Some(key) = numbering::node_key(chunk.version, chunk.root_ordinal()) else {
        return Err(PhaseError::Bug("a nonce does not fit although the store's size was checked"));
    };
    let mut nodes: Box<dyn NodeReader + Send + '_> = sc.nodes(store, Access::Runs)?;
    let mut ordinal = chunk.first_ordinal;
    let mut misplaced = None;
    let mut take = |node: &ProvenNode<'_>| {
        let expected = numbering::node_key(node.version, ordinal).map(NodeId::Current);
        ordinal += 1;
        if expected != Some(node.at) {
            misplaced = Some(format!("SC node {} lies where ordinal {} should not be", node.at, ordinal - 1));
            return false;
        }
        true
    };
    match prove(&mut nodes, Claim { at: key.into(), hash: chunk.hash }, work.gulp_bytes(), &mut take) {
        Err(ProveError::Read(error)) if !error.corrupt => Err(TargetError::Read(error).into()),
        Err(ProveError::Sink) => Ok(Some(misplaced.unwrap_or_default())),
        Err(why) => Ok(Some(format!("SC: {why}"))),
        Ok(proof) if proof.leaves != chunk.leaves => {
            Ok(Some(format!("SC has {} pairs where {} were written", proof.leaves, chunk.leaves)))
        }
        Ok(_) => Ok(None),
    }
}

/// What is wrong with the pairs of a chunk. `at` is as in [`check`].
///
/// # Errors
/// SS could not be read for a reason that another try may not meet.
pub(super) fn check_pairs(
    target: &Target,
    store: &StoreKey,
    at: (Version, Version),
    written: &Written,
) -> Result<Option<String>, PhaseError> {
    let (Some(ss), Some(expected)) = (&target.ss, written.restored.ss) else { return Ok(None) };
    match digest_pairs(ss.as_ref(), store, at, written) {
        Ok(Ok((digest, _))) if digest == expected => Ok(None),
        Ok(Ok((_, count))) => Ok(Some(format!(
            "SS has {count} pairs where {} were written, and their digest differs",
            written.chunk.leaves
        ))),
        Ok(Err(what)) => Ok(Some(what)),
        Err(TargetError::Corrupt { what, .. }) => Ok(Some(format!("SS: {what}"))),
        Err(error) => Err(error.into()),
    }
}

type Digested = Result<(crate::model::Digest, u64), String>;

fn digest_pairs(
    ss: &dyn Storage,
    store: &StoreKey,
    (height, newest): (Version, Version),
    written: &Written,
) -> Result<Digested, TargetError> {
    let mut digest = RecordDigest::new(super::restore::SS_DIGEST);
    let mut count = 0;
    // Up to where the next chunk begins, so that a pair that should not be between two chunks is noticed.
    let from: &[u8] = if written.opens_store { &[] } else { &written.restored.first_key };
    let mut pairs = ss.pairs(store, newest, from)?;
    while let Some(pair) = pairs.next()? {
        if written.until.as_deref().is_some_and(|until| pair.key >= until) {
            break;
        }
        if pair.version != height {
            return Ok(Err(format!(
                "SS pair {} has version {}, the snapshot is {height}",
                crate::model::to_hex(pair.key),
                pair.version
            )));
        }
        digest.add(pair.key);
        digest.add(pair.value);
        count += 1;
    }
    Ok(Ok((digest.take(), count)))
}
