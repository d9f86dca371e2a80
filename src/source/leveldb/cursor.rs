//! Owns point look-ups: the logs' entries first, then each run of tables by precedence.
//! Hands values to callers who ask for many keys, mostly near each other.

use std::sync::Arc;

use super::database::Inner;
use super::error::LeveldbError;
use super::key;
use super::track::{Track, Wanted};

/// Repeated look-ups, each starting where the last one ended. One per thread.
#[derive(Debug)]
pub struct Cursor {
    inner: Arc<Inner>,
    tracks: Vec<Track>,
    /// Position in the logs' entries: the first not below `memory_floor`.
    memory_at: usize,
    memory_floor: Vec<u8>,
}

impl Cursor {
    pub(super) fn new(inner: Arc<Inner>, once: bool) -> Cursor {
        let tracks = inner.runs.iter().map(|_| Track::new(once)).collect();
        Cursor { inner, tracks, memory_at: 0, memory_floor: Vec::new() }
    }

    /// Appends the newest live value of `key` to `out` and returns whether there is one;
    /// `out` is left as it is when not.
    ///
    /// # Errors
    /// Reading fails, or a block on the way to the key is damaged. The cursor stays usable.
    pub fn read_into(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, LeveldbError> {
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
        Ok(self.deliver(best, out))
    }

    fn deliver(&self, best: Option<(u64, Option<usize>)>, out: &mut Vec<u8>) -> bool {
        let Some((tag, place)) = best else {
            return false;
        };
        if key::is_put(tag) != Some(true) {
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
