//! Owns the merge of a store's runs into one ascending stream, and the cutting of that stream into parts that can be
//! merged side by side and each on its own.
//!
//! A run that is damaged ends where the damage is, for the part that comes to it; what it had from there on is missing in the engine, as
//! if the run had never been. Proving finds that out chunk by chunk, and those chunks alone are redone. To stop here instead would leave
//! nothing to do but to redo all.

use super::reader::Reader;
use crate::{iavl::NodeKey, target::TargetError};
use std::{cmp::Reverse, collections::BinaryHeap, path::PathBuf};

/// Bytes of a part at most, about: what a crash in the middle costs.
const PART: u64 = 1 << 30;

/// What all readers of a merge have for windows together.
const WINDOWS: usize = 8 << 20;
const SMALLEST_WINDOW: usize = 16 << 10;
const LARGEST_WINDOW: usize = 256 << 10;

/// A part of a store's records: from a key on, up to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Part {
    /// Its first key or one below; none for the first part.
    pub(in super::super) from: Option<NodeKey>,
    /// Not included; none for the last part.
    pub(in super::super) until: Option<NodeKey>,
}

/// Cuts what these runs hold into at least `least` parts of about the same size, as far as there is anything to cut. The
/// same runs are always cut the same way.
pub(in super::super) fn parts(runs: &[PathBuf], least: usize) -> Result<Vec<Part>, TargetError> {
    let mut samples = Vec::new();
    let mut bytes = 0;
    for run in runs {
        let Some(reader) = sound(Reader::open(run, SMALLEST_WINDOW))? else { continue };
        samples.extend(reader.samples());
        bytes += reader.bytes();
    }
    samples.sort_unstable();
    let count = (bytes.div_ceil(PART) as usize).max(least).max(1);
    let mut bounds: Vec<NodeKey> =
        (1..count).filter_map(|nth| samples.get(nth * samples.len() / count).copied()).collect();
    bounds.dedup();
    let from = std::iter::once(None).chain(bounds.iter().copied().map(Some));
    let until = bounds.iter().copied().map(Some).chain([None]);
    Ok(from.zip(until).map(|(from, until)| Part { from, until }).collect())
}

/// The records of one part, ascending; what lies in several runs comes once.
pub(in super::super) struct Merge {
    readers: Vec<Reader>,
    /// Readers by their current keys, but for the first one.
    heap: BinaryHeap<Reverse<(NodeKey, usize)>>,
    first: Option<usize>,
    /// Up to where the first reader can go on without asking the others; not included.
    alone_until: Option<NodeKey>,
    part: Part,
    last: Option<NodeKey>,
    started: bool,
}

impl Merge {
    pub(in super::super) fn open(runs: &[PathBuf], part: Part) -> Result<Merge, TargetError> {
        let window = (WINDOWS / runs.len().max(1)).clamp(SMALLEST_WINDOW, LARGEST_WINDOW);
        let mut merge = Merge {
            readers: Vec::with_capacity(runs.len()),
            heap: BinaryHeap::new(),
            first: None,
            alone_until: None,
            part,
            last: None,
            started: false,
        };
        for run in runs {
            let Some(mut reader) = sound(Reader::open(run, window))? else { continue };
            let stepped = match part.from {
                Some(from) => reader.seek(from),
                None => reader.step(),
            };
            if sound(stepped)?.is_none() {
                continue;
            }
            merge.heap.extend(reader.key().map(|key| Reverse((key, merge.readers.len()))));
            merge.readers.push(reader);
        }
        merge.choose();
        Ok(merge)
    }

    /// The next record, or none at the end of the part.
    ///
    /// # Errors
    /// A run could not be read.
    pub(in super::super) fn next(&mut self) -> Result<Option<(NodeKey, &[u8])>, TargetError> {
        loop {
            if std::mem::replace(&mut self.started, true) {
                self.step()?;
            }
            let Some(reader) = self.first.and_then(|first| self.readers.get(first)) else { return Ok(None) };
            let Some(key) = reader.key().filter(|key| self.part.until.is_none_or(|until| *key < until)) else {
                return Ok(None);
            };
            if self.last == Some(key) {
                // Work that a crash cut off was done again: both wrote the same.
                continue;
            }
            self.last = Some(key);
            break;
        }
        let reader = self.first.and_then(|first| self.readers.get(first));
        Ok(reader.and_then(|reader| Some((reader.key()?, reader.record()))))
    }

    fn step(&mut self) -> Result<(), TargetError> {
        let Some((first, reader)) = self.first.and_then(|first| Some((first, self.readers.get_mut(first)?))) else {
            return Ok(());
        };
        match sound(reader.step())?.and_then(|()| reader.key()) {
            // The runs of a store are made of neighbouring subtrees, so a stretch of one version is all in one of them.
            Some(key) if self.alone_until.is_none_or(|until| key < until) => {}
            Some(key) => {
                self.heap.push(Reverse((key, first)));
                self.choose();
            }
            None => self.choose(),
        }
        Ok(())
    }

    fn choose(&mut self) {
        self.first = self.heap.pop().map(|Reverse((_, reader))| reader);
        self.alone_until = self.heap.peek().map(|Reverse((key, _))| *key);
    }
}

/// What was read, or nothing if it is damaged.
fn sound<T>(read: Result<T, TargetError>) -> Result<Option<T>, TargetError> {
    match read {
        Err(damaged @ TargetError::Corrupt { .. }) => {
            tracing::warn!("{damaged}; what is missing for it will be named chunk by chunk when the stores are proven");
            Ok(None)
        }
        read => read.map(Some),
    }
}
