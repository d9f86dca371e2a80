//! One version proven completely, every store's tree: chunk by chunk in gulps where all is well, by the walk that goes on
//! where it is not.

use super::{
    Examination, Interrupted,
    below::Known,
    blame::of_proof,
    fast_index::{Compared, Comparison},
    finding::{Finding, Kind},
    marks::{Marks, mark_whole},
    pool::in_order,
    walk::Walker,
    watch::Step,
};
use crate::{
    iavl::{Access, Claim, Cut, Fit, Forest, LeafBytes, NodeId, NodeReader, ProveError, cut, prove_in_pieces},
    model::{Chunk, Hash, StoreKey, Version},
    plan::CHUNK_LEAVES,
};
use std::collections::HashMap;

/// A tree to be proven.
pub(super) struct Tree<'a> {
    pub store: &'a StoreKey,
    pub root: NodeId,
    /// What its record claims.
    pub claimed: Hash,
    /// What the commit info says.
    pub expected: Hash,
    pub marks: Option<&'a Marks>,
    /// Whether there is a fast index to be compared with.
    pub is_indexed: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Grown {
    pub is_sound: bool,
    /// Pairs; proven if it is sound. None where its top is damaged.
    pub keys: Option<u64>,
    pub index: Compared,
}

/// Leaves that one worker is given at a stretch.
const SPAN_LEAVES: u64 = 1 << 17;

/// First ordinal, smallest and largest key of chunks.
type Ends = Vec<(u64, Vec<u8>, Vec<u8>)>;

/// What is known of one chunk.
struct Piece {
    tree: usize,
    chunk: Chunk,
    known: Known,
    last: Option<Vec<u8>>,
}

/// Chunks that were looked at together.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Piece>,
    index: Compared,
}

/// Proves the trees; what is wrong with them goes to the findings.
pub(super) fn prove(exam: &Examination<'_>, version: Version, trees: &[Tree<'_>]) -> Result<Vec<Grown>, Interrupted> {
    let mut grown = vec![Grown::default(); trees.len()];
    let mut cuts: Vec<Option<Cut>> = Vec::with_capacity(trees.len());
    in_order(exam.workers(), 0..trees.len(), || (), |(), index| cut_one(exam, trees, index), |cut| cuts.push(cut))?;
    let total = cuts.iter().flatten().flat_map(|cut| &cut.chunks).map(|chunk| chunk.leaves).sum();
    exam.watch.begin(Step::Proving, total);
    let mut known: Vec<HashMap<NodeId, Known>> = trees.iter().map(|_| HashMap::new()).collect();
    let mut spans: Vec<Vec<Chunk>> = cuts.iter().flatten().flat_map(|cut| spans(&cut.chunks)).collect();
    spans.sort_by_key(|span| std::cmp::Reverse(span.iter().map(|chunk| chunk.leaves).sum::<u64>()));
    let leaf_bytes = LeafBytes::new(trees.len());
    let mut ends: Vec<Ends> = trees.iter().map(|_| Vec::new()).collect();
    in_order(
        exam.workers(),
        spans.into_iter(),
        Forest::default,
        |forest, span| prove_span(exam, version, trees, forest, &span, &leaf_bytes),
        |found: Pieces| {
            let tree = found.pieces.first().map_or(0, |piece| piece.tree);
            if let Some(grown) = grown.get_mut(tree) {
                grown.index.add(found.index);
            }
            for piece in found.pieces {
                if let (Some(ends), Some(first), Some(last)) =
                    (ends.get_mut(piece.tree), &piece.known.first, piece.last)
                {
                    ends.push((piece.chunk.first_ordinal, first.clone(), last));
                }
                if let Some(known) = known.get_mut(piece.tree) {
                    known.insert(Claim::of(&piece.chunk).at.plain(), piece.known);
                }
            }
        },
    )?;
    let tops = trees.iter().zip(cuts).zip(known).zip(ends);
    let mut results = Vec::with_capacity(trees.len());
    in_order(
        exam.workers(),
        tops,
        || (),
        |(), (((tree, cut), known), ends)| top(exam, version, tree, cut.as_ref(), known, ends),
        |result| results.push(result),
    )?;
    for (grown, (is_sound, keys)) in grown.iter_mut().zip(results) {
        (grown.is_sound, grown.keys) = (is_sound, keys);
    }
    Ok(grown)
}

/// Cuts a tree; none if its top does not prove, which the walk will explain.
fn cut_one(exam: &Examination<'_>, trees: &[Tree<'_>], index: usize) -> Result<Option<Cut>, Interrupted> {
    exam.heed_stop()?;
    let Some(tree) = trees.get(index) else { return Ok(None) };
    let mut nodes = exam.source.nodes(tree.store, Access::Points);
    let number = u32::try_from(index).unwrap_or(u32::MAX);
    match cut(&mut nodes, Claim { at: tree.root, hash: tree.claimed }, number, CHUNK_LEAVES) {
        Ok(cut) => Ok(Some(cut)),
        Err(ProveError::Read(error)) if !error.corrupt => Err(Interrupted::Read(error)),
        Err(_) => Ok(None),
    }
}

/// Neighbouring chunks of one tree.
fn spans(chunks: &[Chunk]) -> Vec<Vec<Chunk>> {
    let mut spans: Vec<Vec<Chunk>> = Vec::new();
    let mut gathered = u64::MAX;
    for chunk in chunks {
        if gathered.saturating_add(chunk.leaves) > SPAN_LEAVES {
            spans.push(Vec::new());
            gathered = 0;
        }
        gathered += chunk.leaves;
        if let Some(span) = spans.last_mut() {
            span.push(chunk.clone());
        }
    }
    spans
}

fn prove_span(
    exam: &Examination<'_>,
    version: Version,
    trees: &[Tree<'_>],
    forest: &mut Forest,
    span: &[Chunk],
    leaf_bytes: &LeafBytes,
) -> Result<Pieces, Interrupted> {
    let number = span.first().map_or(0, |chunk| chunk.store as usize);
    let Some(tree) = trees.get(number) else { return Ok(Pieces::default()) };
    let mut nodes = exam.source.nodes(tree.store, Access::Runs);
    let mut rest = span;
    let mut found = Pieces::default();
    while let Some(first) = rest.first() {
        exam.heed_stop()?;
        let some = leaf_bytes.fitting(number, exam.gulp_bytes(), rest, |chunk| chunk.leaves);
        let claims: Vec<Claim> = some.iter().map(Claim::of).collect();
        let leaves: u64 = some.iter().map(|chunk| chunk.leaves).sum();
        match forest.read(&mut nodes, &claims, exam.gulp_bytes()) {
            Ok(Fit::Whole) => {
                leaf_bytes.fitted(number, forest.bytes(), leaves);
                take_whole(exam, tree, number, forest, some, &mut found)?;
            }
            Ok(Fit::TooLarge { expected }) if some.len() > 1 => {
                leaf_bytes.exceeded(number, exam.gulp_bytes(), expected, leaves);
                continue;
            }
            Ok(Fit::TooLarge { expected }) => {
                let one = take_in_pieces(exam, version, tree, number, forest, &mut nodes, first, expected)?;
                found.pieces.push(one);
                found.index.is_partial = true;
            }
            Err(ProveError::Read(error)) if !error.corrupt => return Err(Interrupted::Read(error)),
            Err(why) => {
                let said = exam.findings.count();
                for chunk in some {
                    found.pieces.push(walk_chunk(exam, version, tree, number, chunk)?);
                }
                found.index.is_partial = true;
                if exam.findings.count() == said && found.pieces.iter().rev().take(some.len()).all(|p| p.known.is_sound)
                {
                    // Each chunk is sound by itself: it is what lies between them.
                    exam.findings.add(of_proof(&why).store(tree.store).version(version));
                    found.pieces.iter_mut().rev().take(some.len()).for_each(|piece| piece.known.is_sound = false);
                }
            }
        }
        exam.watch.advance(Step::Proving, leaves);
        rest = rest.get(some.len()..).unwrap_or_default();
    }
    Ok(found)
}

/// All is well with these chunks.
fn take_whole(
    exam: &Examination<'_>,
    tree: &Tree<'_>,
    number: usize,
    forest: &Forest,
    chunks: &[Chunk],
    found: &mut Pieces,
) -> Result<(), Interrupted> {
    let mut comparison = tree.is_indexed.then(|| Comparison::new(exam.source, tree.store));
    for ((nth, chunk), proof) in chunks.iter().enumerate().zip(forest.proofs()) {
        if let Some(marks) = tree.marks {
            mark_whole(forest, nth, marks).map_err(|_| Interrupted::Stopped)?;
        }
        let mut failed = false;
        if let Some(comparison) = &mut comparison {
            for (key, value) in forest.pairs(nth) {
                match comparison.pair(key, value) {
                    Ok(()) => {}
                    Err(error) if error.is_corruption() => {
                        failed = true;
                        break;
                    }
                    Err(error) => return Err(Interrupted::Source(error)),
                }
            }
        }
        if failed {
            // The survey names what cannot be read.
            (comparison, found.index.is_partial) = (None, true);
        }
        let known = Known { is_sound: true, first: Some(proof.first_key.clone()) };
        found.pieces.push(Piece { tree: number, chunk: chunk.clone(), known, last: Some(proof.last_key.clone()) });
    }
    if let Some(comparison) = comparison {
        found.index.add(comparison.finish());
    }
    Ok(())
}

/// A chunk that memory does not hold.
#[expect(clippy::too_many_arguments, reason = "what one chunk is and what proves it")]
fn take_in_pieces(
    exam: &Examination<'_>,
    version: Version,
    tree: &Tree<'_>,
    number: usize,
    forest: &mut Forest,
    nodes: &mut (dyn NodeReader + Send),
    chunk: &Chunk,
    expected: u64,
) -> Result<Piece, Interrupted> {
    let proof = prove_in_pieces(forest, nodes, Claim::of(chunk), expected, exam.gulp_bytes() / 2, &mut |node| {
        if let Some(marks) = tree.marks {
            marks.mark(node.at, true);
        }
        true
    });
    match proof {
        Ok(proof) => {
            let known = Known { is_sound: true, first: Some(proof.first_key) };
            Ok(Piece { tree: number, chunk: chunk.clone(), known, last: Some(proof.last_key) })
        }
        Err(ProveError::Read(error)) if !error.corrupt => Err(Interrupted::Read(error)),
        Err(why) => {
            let said = exam.findings.count();
            let mut piece = walk_chunk(exam, version, tree, number, chunk)?;
            if exam.findings.count() == said && piece.known.is_sound {
                exam.findings.add(of_proof(&why).store(tree.store).version(version));
                piece.known.is_sound = false;
            }
            Ok(piece)
        }
    }
}

/// Names all that is wrong with a chunk.
fn walk_chunk(
    exam: &Examination<'_>,
    version: Version,
    tree: &Tree<'_>,
    number: usize,
    chunk: &Chunk,
) -> Result<Piece, Interrupted> {
    let nodes = exam.source.nodes(tree.store, Access::Points);
    let walker = Walker::new(tree.store, nodes, tree.marks, exam.findings, exam.stop);
    let known = walker.in_bulk(exam.gulp_bytes() / 2).subtree(version, Claim::of(chunk))?;
    Ok(Piece { tree: number, chunk: chunk.clone(), known, last: None })
}

/// The top of a tree, above the chunks that were looked at; all of it where it could not be cut. Whether the tree is sound,
/// and its keys.
fn top(
    exam: &Examination<'_>,
    version: Version,
    tree: &Tree<'_>,
    cut: Option<&Cut>,
    known: HashMap<NodeId, Known>,
    mut ends: Ends,
) -> Result<(bool, Option<u64>), Interrupted> {
    exam.heed_stop()?;
    let nodes = exam.source.nodes(tree.store, Access::Points);
    let mut walker = Walker::new(tree.store, nodes, tree.marks, exam.findings, exam.stop);
    if cut.is_none() {
        walker = walker.in_bulk(exam.gulp_bytes() / 2);
    }
    walker.known = known;
    let mut is_sound = walker.tree(version, tree.root, tree.expected)?;
    ends.sort_unstable();
    for pair in ends.windows(2) {
        if let [(_, _, last), (_, first, _)] = pair
            && last >= first
        {
            let words = format!("keys do not ascend: {} comes before {}", hex(last), hex(first));
            exam.findings.add(Finding::new(Kind::WrongOrder, words).store(tree.store).version(version));
            is_sound = false;
        }
    }
    let keys = cut.map(|cut| cut.chunks.iter().map(|chunk| chunk.leaves).sum());
    Ok((is_sound, keys))
}

fn hex(key: &[u8]) -> String {
    crate::model::to_hex(key)
}
