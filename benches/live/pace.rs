//! Commits at fixed times, whether or not the last one is done: what a commit takes counts from when it was due, so that one that is
//! held up delays no clock, and those behind it are late as well.

use super::blocks::Chain;
use std::time::{Duration, Instant};
use storeshift::{live::LiveStore, model::Hash};

/// One commit.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    pub height: u64,
    pub hash: Hash,
    /// From when it was due.
    pub latency: Duration,
    /// By how much later than due it was begun.
    pub late: Duration,
    /// Whether the store was on store/v2 when it was done.
    pub is_v2: bool,
}

/// Times at which commits are due.
pub struct Pace {
    due: Instant,
    every: Duration,
}

impl Pace {
    pub fn new(every: Duration) -> Pace {
        Pace { due: Instant::now(), every }
    }

    /// Commits the next block when it is due. The block is made before.
    pub fn commit(&mut self, store: &LiveStore, chain: &Chain) -> Result<Committed, String> {
        let height = store.latest().map_or(0, |info| info.version.0) + 1;
        let block = chain.block(height);
        self.due += self.every;
        std::thread::sleep(self.due.saturating_duration_since(Instant::now()));
        let late = self.due.elapsed();
        let info = store.commit(block).map_err(|error| format!("height {height}: {error}"))?;
        let latency = self.due.elapsed();
        if info.version.0 != height {
            return Err(format!("height {height} became version {}", info.version));
        }
        Ok(Committed { height, hash: info.app_hash(), latency, late, is_v2: store.source().is_none() })
    }
}
