//! Owns point look-ups: the logs' entries first, then each run of tables by precedence.
//! Hands values to callers who ask for many keys, mostly near each other.

use std::sync::Arc;

use super::database::Inner;
use super::error::LsmError;
use super::key::PUT;
use super::track::{Track, Until, Wanted};

/// Repeated look-ups, each starting where the last one ended. One per thread.
#[derive(Debug)]
pub struct Cursor {
    inner: Arc<Inner>,
    tracks: Vec<Track>,
    /// Position in the logs' entries: the first not below `memory_floor`.
    memory_at: usize,
    memory_floor: Vec<u8>,
    calm: Option<Calm>,
}

/// A stretch of keys that only one run, and those below it, can have: neighbours are found there without asking the others.
#[derive(Debug)]
struct Calm {
    run: usize,
    /// Not included.
    above: Vec<u8>,
    /// Not included; `None` is the end of all keys.
    until: Option<Vec<u8>>,
}

impl Cursor {
    pub(crate) fn new(inner: Arc<Inner>, once: bool) -> Cursor {
        let tracks = inner.runs.iter().map(|_| Track::new(once)).collect();
        Cursor { inner, tracks, memory_at: 0, memory_floor: Vec::new(), calm: None }
    }

    /// Appends the newest live value of `key` to `out` and returns whether there is one;
    /// `out` is left as it is when not.
    ///
    /// # Errors
    /// Reading fails, or a block on the way to the key is damaged. The cursor stays usable.
    pub fn read_into(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, LsmError> {
        if let Some(tag) = self.read_calm(key)? {
            let run = self.calm.as_ref().map(|calm| calm.run);
            return Ok(self.deliver(Some((tag, run)), out));
        }
        // The tracks are about to move: if that fails half-way, nothing is known of what lies ahead of them.
        self.calm = None;
        let Cursor { inner, tracks, .. } = self;
        // Best hit so far: tag, and the run it is in (`None`: the logs).
        let mut best: Option<(u64, Option<usize>)> = None;
        if inner.memory.len() != 0 {
            let at = memory_seek(inner, &mut self.memory_at, &mut self.memory_floor, key);
            if inner.memory.user(at) == Some(key) {
                let tag = inner.memory.tag(at);
                best = Some((tag, None));
                if tag >> 8 > inner.last_sequence {
                    return Ok(self.deliver(best, out));
                }
            }
        }
        let mut wanted = Wanted::new(key);
        for (nth, (track, run)) in tracks.iter_mut().zip(&inner.runs).enumerate() {
            // Entries never cross levels, so that a hit in a table ends the search; but level-0
            // tables are not ordered by age, only their sequences are.
            let level = run.first().map_or(0, |table| table.level);
            if level > 0 && matches!(best, Some((_, Some(_)))) {
                break;
            }
            if let Some(tag) = track.find(inner, run, &mut wanted)?
                && best.is_none_or(|(seen, _)| tag > seen)
            {
                best = Some((tag, Some(nth)));
            }
        }
        self.calm = match best {
            Some((_, Some(run))) => self.calm_below(run, key),
            _ => None,
        };
        Ok(self.deliver(best, out))
    }

    /// Looks in the one run that the key can be in, if it is known and the key is there.
    #[inline]
    fn read_calm(&mut self, key: &[u8]) -> Result<Option<u64>, LsmError> {
        let Some(calm) = &self.calm else { return Ok(None) };
        let (Some(track), Some(run)) = (self.tracks.get_mut(calm.run), self.inner.runs.get(calm.run)) else {
            return Ok(None);
        };
        if calm.until.as_deref().is_some_and(|until| key >= until) {
            return Ok(None);
        }
        // The track has been at the begin of the stretch, so what lies ahead of it lies in the stretch.
        if let Some(tag) = track.step_to(key)? {
            return Ok(Some(tag));
        }
        if key <= calm.above.as_slice() { Ok(None) } else { track.find(&self.inner, run, &mut Wanted::new(key)) }
    }

    /// The stretch above `key`, which was found in this run, that has no entries in the runs before it.
    fn calm_below(&self, run: usize, key: &[u8]) -> Option<Calm> {
        // Tables of level 0 are runs of their own and not in order of age: there all have to be asked.
        if self.inner.runs.get(run)?.first()?.level == 0 {
            return None;
        }
        let mut until = match self.inner.memory.user(self.memory_at) {
            Some(next) if self.inner.memory.len() != 0 && next > key => Until::Key(next),
            Some(_) => return None,
            None => Until::End,
        };
        for (track, tables) in self.tracks.iter().zip(&self.inner.runs).take(run) {
            until = until.min(track.quiet_until(tables, key)?);
        }
        let until = match until {
            Until::Key(until) => Some(until.to_vec()),
            Until::End => None,
        };
        Some(Calm { run, above: key.to_vec(), until })
    }

    fn deliver(&self, best: Option<(u64, Option<usize>)>, out: &mut Vec<u8>) -> bool {
        let Some((tag, place)) = best else {
            return false;
        };
        if tag & 0xff != u64::from(PUT) {
            return false;
        }
        out.extend_from_slice(match place {
            None => self.inner.memory.value(self.memory_at),
            Some(nth) => self.tracks.get(nth).map_or(&[], Track::value),
        });
        true
    }
}

/// Position of the first log entry not below `key`, from the last position if that
/// already answers.
fn memory_seek(inner: &Inner, at: &mut usize, floor: &mut Vec<u8>, key: &[u8]) -> usize {
    let near = key >= floor.as_slice();
    let near = near && inner.memory.user(*at).is_none_or(|user| key <= user);
    if !near {
        *at = inner.memory.seek(key);
    }
    floor.clear();
    floor.extend_from_slice(key);
    *at
}
