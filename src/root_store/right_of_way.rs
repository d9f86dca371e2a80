//! Commits have the right of way: whoever reads the same database for a migration stands aside while one is made.
//!
//! Owns the sign that a commit is under way, and the engine that heeds it, read by read: a commit finds caches, memory and cores as if
//! it were alone. Nobody waits for a commit that takes long, so a disk that is slow stops nothing.

use crate::{
    iavl::Access,
    source::{Engine, Pair, PointReader, Scan, SourceError},
};
use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A commit that takes longer is not waited for any more: then it waits for a disk, not for a core.
const LONGEST: Duration = Duration::from_millis(100);

/// The end of a commit that was missed is noticed so much later.
const MISSED: Duration = Duration::from_millis(1);

/// The sign; clones share it.
#[derive(Clone, Debug, Default)]
pub struct RightOfWay(Arc<Sign>);

#[derive(Debug, Default)]
struct Sign {
    /// Begun and ended commits, counted together: odd while one is under way. There is one at a time.
    turns: AtomicU64,
    /// The turn of the last commit that was waited for in vain.
    slow: AtomicU64,
    waits: Mutex<()>,
    ended: Condvar,
}

/// A commit is under way while it lives.
pub(super) struct UnderWay<'a>(&'a Sign);

impl RightOfWay {
    /// A commit begins.
    pub(super) fn take(&self) -> UnderWay<'_> {
        self.0.turns.fetch_add(1, Ordering::Relaxed);
        UnderWay(&self.0)
    }

    /// Waits for the commit that is under way, if there is one.
    #[inline]
    fn give(&self) {
        let turn = self.0.turns.load(Ordering::Relaxed);
        if turn % 2 == 1 && self.0.slow.load(Ordering::Relaxed) != turn {
            self.wait(turn, LONGEST);
        }
    }

    #[cold]
    fn wait(&self, turn: u64, longest: Duration) {
        let (Sign { turns, slow, waits, ended }, began) = (&*self.0, Instant::now());
        let mut lock = waits.lock().unwrap_or_else(PoisonError::into_inner);
        while turns.load(Ordering::Relaxed) == turn {
            if began.elapsed() >= longest {
                slow.store(turn, Ordering::Relaxed);
                return;
            }
            // Commits do not take the lock to tell of their end, so that they never wait for it; it may be missed.
            lock = ended.wait_timeout(lock, MISSED).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.turns.fetch_add(1, Ordering::Relaxed);
        self.0.ended.notify_all();
    }
}

/// An engine that is read beside commits.
pub(super) struct Beside<E> {
    pub engine: E,
    pub way: RightOfWay,
}

impl<E: Engine> Engine for Beside<E> {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        self.way.give();
        self.engine.get(key)
    }

    fn reader(&self, access: Access) -> Box<dyn PointReader + Send + '_> {
        Box::new(Reading { of: self.engine.reader(access), way: &self.way })
    }

    fn scan(&self, from: &[u8], until: &[u8]) -> Box<dyn Scan + Send + '_> {
        Box::new(Reading { of: self.engine.scan(from, until), way: &self.way })
    }

    fn approximate_bytes(&self, start: &[u8], end: &[u8]) -> u64 {
        self.engine.approximate_bytes(start, end)
    }
}

struct Reading<'a, R: ?Sized> {
    of: Box<R>,
    way: &'a RightOfWay,
}

impl PointReader for Reading<'_, dyn PointReader + Send + '_> {
    fn read(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, SourceError> {
        self.way.give();
        self.of.read(key, out)
    }
}

impl Scan for Reading<'_, dyn Scan + Send + '_> {
    fn seek(&mut self, key: &[u8]) {
        self.way.give();
        self.of.seek(key);
    }

    fn next(&mut self) -> Result<Option<Pair<'_>>, SourceError> {
        self.way.give();
        self.of.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        root_store::{ChangeSet, MemoryDatabase, Options, RootStore, RootmultiLayout},
        target::Outage,
    };
    use std::sync::OnceLock;

    #[test]
    fn commits_take_the_way_while_they_write_and_a_stores_source_gives_it() {
        let way: Arc<OnceLock<RightOfWay>> = Arc::default();
        let (seen, taken) = (way.clone(), Arc::new(AtomicU64::new(0)));
        let counts = taken.clone();
        let outage = Outage::asking(move || {
            let under_way = seen.get().is_some_and(|way| way.0.turns.load(Ordering::SeqCst) % 2 == 1);
            counts.fetch_add(u64::from(under_way), Ordering::SeqCst);
            true
        });
        let layout = RootmultiLayout::new(Arc::new(MemoryDatabase::new(None, outage)));
        let store = RootStore::new(Arc::new(layout), Options::default()).unwrap();
        way.set(store.inner.way.clone()).unwrap();
        store.commit(ChangeSet::default()).unwrap();
        assert!(taken.load(Ordering::SeqCst) > 0, "a commit wrote without the way");
        let way = &store.inner.way;
        assert_eq!(way.0.turns.load(Ordering::SeqCst), 2, "and has let go of it");
        let commit = way.take();
        store.source().unwrap().latest().unwrap();
        assert_eq!(way.0.slow.load(Ordering::SeqCst), 3, "a read that waited for it in vain says so");
        drop(commit);
    }

    #[test]
    fn reads_wait_for_the_commit_under_way_to_end() {
        let way = RightOfWay::default();
        way.give();
        let commit = way.take();
        let over = std::sync::atomic::AtomicBool::new(false);
        let (waits, waiting) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let (way, over) = (&way, &over);
            let reader = scope.spawn(move || {
                waits.send(()).unwrap();
                way.wait(1, Duration::MAX);
                assert!(over.load(Ordering::SeqCst), "it went on while the commit was under way");
            });
            waiting.recv().unwrap();
            over.store(true, Ordering::SeqCst);
            drop(commit);
            reader.join().unwrap();
        });
        way.give();
    }

    #[test]
    fn a_commit_that_takes_too_long_is_waited_for_once_by_all_of_them() {
        let way = RightOfWay::default();
        let commit = way.take();
        way.wait(1, Duration::ZERO);
        assert_eq!(way.0.slow.load(Ordering::SeqCst), 1);
        // Would not return in a test's time if it waited.
        (0..1_000_000).for_each(|_| way.give());
        drop(commit);
        let _next = way.take();
        assert_ne!(way.0.slow.load(Ordering::SeqCst), way.0.turns.load(Ordering::SeqCst), "the next one is waited for");
    }
}
