//! Takes checkpoints of a running node's database, one after the other, while the job is at work on an earlier one.
//!
//! Owns the trail, and the thread that makes it longer. Between two checkpoints a node may prune what only lay between them; so
//! checkpoints are taken often and let go of again as soon as their neighbours have all that they have. Hands out each one with
//! the versions it retains.

use super::cadence::Cadence;
use crate::{
    governor::{Gauge, Governor},
    model::Version,
    phases::snapshot::is_whole,
    plan::Tuning,
    progress::Stop,
    source::{
        self, IavlStores, Source, SourceError,
        checkpoint::{Checkpoint, Trail, fingerprint, is_in_use, written},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A checkpoint takes at most one part in so many of the time, while nobody waits for it,
const SELDOM: u32 = 20;
/// and one in so many while somebody does.
const OFTEN: u32 = 3;
/// The time between two is halved so often at most.
const MOST_HURRY: u32 = 6;

/// A checkpoint with what is in it.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Its place in the trail.
    pub number: u64,
    /// Where it is.
    pub checkpoint: Checkpoint,
    /// The oldest version from which on it has every version, as far as looking for it in halves tells.
    pub oldest: Version,
    /// The newest version it has.
    pub tip: Version,
}

/// The thread and what it shares with the job.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    source: PathBuf,
    trail: Trail,
    tuning: Tuning,
    memory_stores: bool,
    stop: Stop,
    governor: Governor,
    inner: Mutex<Inner>,
    /// Nobody needs another checkpoint any more: one in the making is given up.
    ended: AtomicBool,
    wake: Condvar,
}

#[derive(Default)]
struct Inner {
    kept: Vec<Kept>,
    /// The one the job reads; those before it are not needed.
    reading: u64,
    wanted: bool,
    /// When the last one was taken, or tried, and how long that took.
    last: Option<(Instant, Duration)>,
    /// What the database looked like before the newest checkpoint was taken.
    fingerprint: Option<blake3::Hash>,
    /// How often the time between two checkpoints was halved, because the node prunes faster than they overlap.
    hurry: u32,
    failure: Option<SourceError>,
    held: u64,
    cadence: Cadence,
}

impl Keeper {
    /// Begins to take checkpoints of this database, behind those that the trail has.
    pub fn start(
        source: &Path,
        trail: Trail,
        reading: u64,
        tuning: Tuning,
        memory_stores: bool,
        (stop, governor): (Stop, Governor),
    ) -> Keeper {
        let source = source.to_owned();
        let inner = Mutex::new(Inner { reading, ..Inner::default() });
        let ended = AtomicBool::new(false);
        let wake = Condvar::new();
        let shared = Arc::new(Shared { source, trail, tuning, memory_stores, stop, governor, inner, ended, wake });
        let keeping = shared.clone();
        let thread = std::thread::spawn(move || keeping.keep());
        Keeper { shared, thread: Some(thread) }
    }

    /// The first checkpoint after this one, and the newest one.
    pub fn after(&self, number: u64) -> Option<(Kept, Kept)> {
        let inner = self.shared.lock();
        let next = inner.kept.iter().find(|kept| kept.number > number)?;
        Some((next.clone(), inner.kept.last()?.clone()))
    }

    /// Says which one the job reads from now on; older ones go.
    pub fn read(&self, number: u64) {
        let mut inner = self.shared.lock();
        inner.reading = number;
        self.shared.thin(&mut inner);
    }

    /// Asks for a checkpoint as soon as it is due, and waits a moment for it.
    pub fn wait(&self, moment: Duration) {
        let mut inner = self.shared.lock();
        inner.wanted = true;
        self.shared.wake.notify_all();
        let newest = inner.kept.last().map(|kept| kept.number);
        let unchanged =
            |inner: &mut Inner| inner.kept.last().map(|kept| kept.number) == newest && inner.failure.is_none();
        drop(self.shared.wake.wait_timeout_while(inner, moment, unchanged).unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether a checkpoint has everything that the database has, and no process has it open.
    pub fn is_complete(&self, number: u64) -> bool {
        !is_in_use(&self.shared.source) && self.is_unchanged(number)
    }

    /// Whether the database is as it was when this checkpoint was taken, which is the newest one.
    pub fn is_unchanged(&self, number: u64) -> bool {
        let now = fingerprint(&self.shared.source);
        let inner = self.shared.lock();
        let newest = inner.kept.last().is_some_and(|kept| kept.number == number);
        newest && now.is_some() && inner.fingerprint == now
    }

    /// Why the last checkpoint could not be taken, once.
    pub fn failure(&self) -> Option<SourceError> {
        self.shared.lock().failure.take()
    }

    /// The newest checkpoint turned out not to have everything: another one is to be taken.
    pub fn distrust(&self) {
        self.shared.lock().fingerprint = None;
    }

    /// Whether no checkpoint will come any more.
    pub fn has_failed(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Takes no more checkpoints, and gives up the one in the making. Repeatable.
    pub fn end(&mut self) {
        {
            // With the lock, so that the thread is not between looking at this and waiting.
            let _inner = self.shared.lock();
            self.shared.ended.store(true, Ordering::SeqCst);
        }
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // It has panicked: nothing of the job depends on it.
            let _ = thread.join();
        }
    }

    /// How many checkpoints there are, bytes that only they hold on to, and seconds the last one took.
    pub fn standing(&self) -> (u64, u64, f64) {
        let inner = self.shared.lock();
        let took = inner.last.map_or(0.0, |(_, took)| took.as_secs_f64());
        (inner.kept.len() as u64, inner.held, took)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self) {
        self.take_stock();
        loop {
            let mut inner = self.lock();
            loop {
                if self.ended.load(Ordering::SeqCst) {
                    return;
                }
                let left = self.until_due(&inner);
                if left.is_zero() {
                    break;
                }
                inner = self.wake.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            let known = inner.fingerprint;
            drop(inner);
            self.look(known);
        }
    }

    /// What an earlier run left.
    fn take_stock(&self) {
        let found = self.trail.clear().and_then(|()| self.trail.list());
        for (number, checkpoint) in found.unwrap_or_default() {
            if let Ok(kept) = self.inspect(number, checkpoint) {
                self.lock().kept.push(kept);
            }
        }
    }

    fn until_due(&self, inner: &Inner) -> Duration {
        let Some((last, took)) = inner.last else { return Duration::ZERO };
        let seldom = if inner.wanted || inner.hurry > 0 { OFTEN } else { SELDOM };
        let pause = (took * seldom).max(self.tuning.every / 2u32.pow(inner.hurry));
        pause.saturating_sub(last.elapsed())
    }

    /// Takes another checkpoint if there is anything new.
    fn look(&self, known: Option<blake3::Hash>) {
        let began = Instant::now();
        let now = fingerprint(&self.source);
        let is_running = is_in_use(&self.source);
        let changed = now.is_none() || now != known;
        let taken = changed.then(|| {
            let (number, checkpoint) = self.trail.take(&self.source, self.tuning.reserve, Some(&self.ended))?;
            // Nobody would ever remove one that nobody knows of.
            self.inspect(number, checkpoint).inspect_err(|_| drop(self.trail.drop(number)))
        });
        let written = written(&self.source);
        let mut inner = self.lock();
        inner.last = Some((Instant::now(), began.elapsed()));
        inner.wanted = false;
        match taken {
            Some(Ok(kept)) => {
                if let Some(interval) = written.and_then(|at| inner.cadence.see(kept.tip.0, at)).filter(|_| is_running)
                {
                    self.governor.report(Gauge::BlockInterval, Some(interval));
                }
                tracing::debug!(number = kept.number, oldest = kept.oldest.0, tip = kept.tip.0, "took a checkpoint");
                if let Some(before) = inner.kept.last() {
                    // As long as neighbours share a third of what one of them retains, a checkpoint may come late.
                    let shared = (before.tip.0 + 1).saturating_sub(kept.oldest.0);
                    let retained = kept.tip.0 - kept.oldest.0 + 1;
                    let hurry = if shared < retained / 3 { inner.hurry + 1 } else { inner.hurry.saturating_sub(1) };
                    inner.hurry = hurry.min(MOST_HURRY);
                }
                inner.kept.push(kept);
                (inner.fingerprint, inner.failure) = (now, None);
            }
            Some(Err(_)) if self.ended.load(Ordering::SeqCst) => {}
            Some(Err(error)) => {
                tracing::warn!(%error, "a checkpoint could not be taken");
                inner.failure = Some(error);
            }
            None => {}
        }
        if !is_running {
            // A node that is not there cannot suffer, however late its blocks are.
            inner.cadence = Cadence::default();
            self.governor.forget(Gauge::BlockInterval);
        }
        self.thin(&mut inner);
        drop(inner);
        // Of what is left: the job is not to stop for checkpoints that have just gone.
        let held = self.trail.held();
        let mut inner = self.lock();
        inner.held = held.unwrap_or(inner.held);
        self.heed_budget(&inner);
        drop(inner);
        self.wake.notify_all();
    }

    fn inspect(&self, number: u64, checkpoint: Checkpoint) -> Result<Kept, SourceError> {
        let source = source::open(&checkpoint.path, self.tuning.source_cache())?;
        let source: Box<dyn Source> = if self.memory_stores { source } else { Box::new(IavlStores::of(source)) };
        let tip = source.latest()?;
        let (mut missing, mut there) = (0, tip.0);
        while missing + 1 < there {
            let middle = missing + (there - missing) / 2;
            // What cannot be read now is not to be relied on.
            if is_whole(source.as_ref(), Version(middle)).unwrap_or(false) { there = middle } else { missing = middle }
        }
        Ok(Kept { number, checkpoint, oldest: Version(there), tip })
    }

    /// Lets go of those that are done with, and of those whose neighbours have all that they have.
    fn thin(&self, inner: &mut Inner) {
        let mut gone: Vec<u64> = Vec::new();
        inner.kept.retain(|kept| {
            let done = kept.number < inner.reading;
            gone.extend(done.then_some(kept.number));
            !done
        });
        let mut at = 1;
        // The one that is read stays, and so does the newest.
        while let [before, middle, after, ..] = inner.kept.get(at - 1..).unwrap_or_default() {
            // The next version is applied to the one before, which has to be there too; and not as the oldest of all, which may be
            // half pruned.
            if after.oldest < before.tip && middle.number > inner.reading {
                gone.push(middle.number);
                inner.kept.remove(at);
            } else {
                at += 1;
            }
        }
        for number in gone {
            // It costs space and nothing else; the end of the job tries again.
            if let Err(error) = self.trail.drop(number) {
                tracing::warn!(%error, number, "a checkpoint that is done with could not be removed");
            }
        }
    }

    fn heed_budget(&self, inner: &Inner) {
        let Some(stat) = rustix::fs::statvfs(self.trail.directory()).ok() else { return };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let budget = self.tuning.checkpoints.unwrap_or((free + inner.held) / 4);
        if inner.held > budget {
            // Whatever the job is at: a long restore keeps all that are needed to go on from it.
            self.stop.ask(format!(
                "the checkpoints hold on to {} MiB that the node has done with, and may to {} MiB; give more with \
                 --checkpoints-mib, or have the node prune less often",
                inner.held >> 20,
                budget >> 20
            ));
        } else if inner.held > budget / 5 * 4 {
            tracing::warn!(held = inner.held, budget, "the checkpoints' disk budget is four fifths spent");
        }
    }
}
